"""A page in the browser that steers a generator.

`state` is what a request asks for, `render` makes pictures of it, `worker` lets one thread do so, `server` answers the
browser, `serving` starts and ends it all. The command line explore.py stands on these.
"""
