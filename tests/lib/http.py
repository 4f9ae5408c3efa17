"""A plain HTTP client that shows exactly what came over the wire."""
from dataclasses import dataclass

from lib import tcp


@dataclass
class Response:
    """status, headers with lower-case names, body."""
    status: int
    headers: dict
    body: bytes


class Connection:
    """One connection; requests may be pipelined by calling send() several times before read()."""

    def __init__(self, lan, port=tcp.HTTP, ip="10.0.2.2", timeout=30):
        self.sock = tcp.connect(lan, port, ip, timeout)
        self.buf = b""

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.sock.close()

    def send(self, data):
        """Raw bytes of a request."""
        self.sock.sendall(data)

    def get(self, path, method="GET", headers=""):
        """One request and its response."""
        self.send(f"{method} {path} HTTP/1.1\r\nHost: guest\r\n{headers}\r\n".encode())
        return self.read(head=method == "HEAD")

    def _more(self):
        data = self.sock.recv(65536)
        self.buf += data
        return bool(data)

    def _until(self, end, what):
        while end not in self.buf:
            assert self._more(), f"connection closed within {what}: {self.buf[-200:]!r}"
        part, self.buf = self.buf.split(end, 1)
        return part

    def chunk(self):
        """The next chunk (RFC 9112, 7.1); b"" is the last. Waits for it."""
        size = int(self._until(b"\r\n", "a chunk's size"), 16)
        while len(self.buf) < size + 2:
            assert self._more(), f"connection closed within a chunk of {size}: {self.buf[-200:]!r}"
        data, end, self.buf = self.buf[:size], self.buf[size:size + 2], self.buf[size + 2:]
        assert end == b"\r\n", end
        return data

    def chunks(self):
        """All of them, to the end of the body."""
        return b"".join(iter(self.chunk, b""))

    def read_head(self):
        """Status and headers of the next response; its body is still to be read."""
        top = self._until(b"\r\n\r\n", "a response head")
        first, *rest = top.decode("latin-1").split("\r\n")
        version, status, *_ = first.split(" ", 2)
        assert version in ("HTTP/1.1", "HTTP/1.0"), first
        headers = {k.strip().lower(): v.strip() for k, v in (line.split(":", 1) for line in rest)}
        return int(status), headers

    def read(self, head=False):
        """The next response. head: it has no body, whatever its length says."""
        status, headers = self.read_head()
        body = b""
        if not head and headers.get("transfer-encoding") == "chunked":
            body = self.chunks()
        elif not head and "content-length" in headers:
            length = int(headers["content-length"])
            while len(self.buf) < length:
                assert self._more(), f"connection closed within a body: {len(self.buf)} of {length} bytes"
            body, self.buf = self.buf[:length], self.buf[length:]
        elif not head and "content-length" not in headers:
            while self._more():
                pass
            body, self.buf = self.buf, b""
        return Response(status, headers, body)

    def closed_by_peer(self):
        """Waits for the peer's end of the connection; True if it came by FIN or RST with nothing more to read."""
        try:
            return self.buf == b"" and self.sock.recv(1) == b""
        except ConnectionResetError:
            return True


def get(lan, path, port=tcp.HTTP, ip="10.0.2.2", method="GET", timeout=30):
    """One request on a connection of its own. We close first, so TIME_WAIT is our kernel's and not the guest's."""
    with Connection(lan, port, ip, timeout) as c:
        return c.get(path, method)
