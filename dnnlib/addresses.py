"""Addresses of files on the network: what is one, how it is shown, and the error of those that give no file."""

import re
import urllib.parse

from dnnlib.errors import UserError


class DownloadError(UserError):
    """An address that did not give the file. Passwords in the sentence are hidden.

    Args:
        reason: one word for programs.
        sentence: for people.
        temporary: whether another attempt may help.
        wait: seconds that the server asks for before it.
        patience: attempts after which there is little hope, where nothing has come yet; None: as many as were allowed.
    """

    def __init__(self, reason, sentence, temporary=False, wait=None, patience=None):
        super().__init__(without_passwords(sentence))
        self.reason = reason
        self.temporary = temporary
        self.wait = wait
        self.patience = patience


def is_url(obj):
    """True for a string that is an http(s) address with a host."""
    if not isinstance(obj, str) or re.search(r'[\s\x00-\x20\x7f\ud800-\udfff]', obj):
        return False
    try:
        parts = urllib.parse.urlparse(obj)
        return parts.scheme in ('http', 'https') and bool(parts.hostname) and parts.port != 0
    except ValueError:  # also from `port`
        return False


def check_address(url):
    """Raises DownloadError unless `url` is an http(s) address with a host."""
    if not is_url(url):
        raise DownloadError('address', f"'{url}' is not an http or https address")


def without_passwords(text):
    """`text` with the passwords of the addresses in it hidden: user names, and parameters that are called like one."""
    text = re.sub(r'(?i)\b([a-z][a-z0-9+.-]{1,20}://)[^/?#\s]*@', r'\1***@', text)
    return re.sub(r'(?i)([?&;][^=&;#\s]*(?:token|secret|passw|pwd|signature|credential|auth|api_?key|access_?key)'
                  r'[^=&;#\s]*=)[^&;#\s]+', r'\1***', text)


def keeps_secrecy(old, new):
    """False where the way from one address to the next leaves an encrypted connection for an open one."""
    return not (old.lower().startswith('https:') and new.lower().startswith('http:'))


def last_part(url):
    """What an address has in place of a file name; may be empty."""
    return re.match(r'[^?#]*', url).group(0).rpartition('/')[2]
