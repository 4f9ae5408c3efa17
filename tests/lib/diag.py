"""The guest's diagnostics port (`diag` on its command line): files that answer at once, and such that wait."""
import contextlib

from lib import http
from lib.netstat import DIAG_PORT


def get(lan, path, timeout=60, ip="10.0.2.2"):
    """Text of a file that is read to its end; fails unless the status is 200."""
    res = http.get(lan, path, DIAG_PORT, ip, timeout=timeout)
    assert res.status == 200, f"{path}: {res.status} {res.body!r}"
    return res.body.decode("utf-8")


def refused(lan, path):
    """(status, text) of a request that is refused."""
    res = http.get(lan, path, DIAG_PORT)
    assert res.status != 200, f"{path}: {res.body!r}"
    return res.status, res.body.decode("utf-8")


class Stream(http.Connection):
    """A file that is open, and armed: its head has been read."""

    def __init__(self, lan, path, timeout=60):
        super().__init__(lan, DIAG_PORT, timeout=timeout)
        self.send(f"GET {path} HTTP/1.1\r\nHost: guest\r\n\r\n".encode())
        self.status, self.headers = self.read_head()

    def text(self):
        """All of it."""
        return self.chunks().decode("utf-8")


@contextlib.contextmanager
def opened(lan, path, timeout=60):
    """A Stream, with status 200."""
    with Stream(lan, path, timeout) as s:
        assert s.status == 200, f"{path}: {s.status}"
        yield s
