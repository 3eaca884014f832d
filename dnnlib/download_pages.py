"""Pages that servers send in place of files: Google Drive's, which are passed where that is meant, and others."""

import contextlib
import html.parser
import re
import urllib.parse

from dnnlib.addresses import DownloadError, keeps_secrecy

_MAX_PAGE_BYTES = 1 << 18


def is_html(response):
    """Whether an answer says that it is a page."""
    return response.headers.get('Content-Type', '').split(';')[0].strip().lower() in ('text/html',
                                                                                      'application/xhtml+xml')


def read_page(response):
    """The beginning of a page, as text."""
    data = b''
    for chunk in response.iter_content(1 << 14):
        data += chunk
        if len(data) > _MAX_PAGE_BYTES:
            break
    return data.decode('utf-8', 'replace')


def is_quota_page(page):
    """Whether Google Drive says that a file was downloaded too often."""
    text = page.lower()
    return 'quota exceeded' in text or 'too many users have viewed or downloaded' in text


def quota(url):
    """The error for such a page."""
    return DownloadError('quota', f'{url}: Google Drive says that the file was downloaded too often lately; wait a day,'
                                  ' or open the address in a browser while logged in')


class _FormParser(html.parser.HTMLParser):
    """Collects the forms of a page as (action, {name: value}) and its links."""

    def __init__(self):
        super().__init__()
        self.forms = []
        self.links = []

    def handle_starttag(self, tag, attrs):
        attrs = {key: value or '' for key, value in attrs}
        if tag == 'form':
            self.forms.append((attrs.get('action', ''), {}))
        elif tag == 'input' and self.forms and attrs.get('name'):
            self.forms[-1][1][attrs['name']] = attrs.get('value', '')
        elif tag == 'a':
            self.links.append(attrs.get('href', ''))


def confirmed_address(page, response):
    """Where the confirmation page of Google Drive leads. Raises DownloadError for every other page."""
    if is_quota_page(page):
        raise quota(response.url)
    parser = _FormParser()
    with contextlib.suppress(Exception):  # older versions of the parser raise several on pages that are none
        parser.feed(page)
    candidates = [(action, urllib.parse.urlencode(fields)) for action, fields in parser.forms if 'confirm' in fields]
    candidates += [(link, '') for link in parser.links if re.search(r'[?&]confirm=', link)]
    for cookie, token in response.cookies.items():
        if cookie.startswith('download_warning'):
            candidates.append((response.url, urllib.parse.urlencode({'confirm': token})))
    for address, query in candidates:
        with contextlib.suppress(ValueError):  # an impossible address
            address = urllib.parse.urljoin(response.url, address)
            if query:
                address += ('&' if urllib.parse.urlparse(address).query else '?') + query
            if _may_follow(response.url, address):
                return address
    raise DownloadError('html', f'{response.url}: the server sends a web page in place of the file')


def _may_follow(page_url, address):
    """A page may send us on within its own host, or within Google's."""
    old, new = urllib.parse.urlparse(page_url), urllib.parse.urlparse(address)
    google = ('.google.com', '.googleusercontent.com')
    return new.scheme in ('http', 'https') and keeps_secrecy(page_url, address) and (
        new.netloc == old.netloc
        or new.scheme == 'https' and (old.hostname or '').endswith(google) and (new.hostname or '').endswith(google))
