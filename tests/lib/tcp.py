"""TCP and UDP peers on the host's side."""
import random
import select
import socket
import struct
import threading
import time

ECHO, DISCARD, CHARGEN, HTTP = 7, 9, 19, 80


def connect(lan, port, ip="10.0.2.2", timeout=30, rcvbuf=None):
    """A connected socket in the LAN's namespace."""
    with lan.ns.entered():
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if rcvbuf:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        sock.settimeout(timeout)
        sock.connect((ip, port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        sock.close()
        raise
    return sock


def reset(sock):
    """Closes with a RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def recv_exact(sock, count):
    """Exactly count bytes; fewer only if the peer closed."""
    data = bytearray()
    while len(data) < count:
        part = sock.recv(min(count - len(data), 1 << 18))
        if not part:
            break
        data += part
    return bytes(data)


def recv_all(sock):
    """Everything until the peer closes."""
    data = bytearray()
    while part := sock.recv(1 << 18):
        data += part
    return bytes(data)


class Pattern:
    """A reproducible pseudo-random stream; two with one seed give the same bytes in any portions."""

    def __init__(self, seed):
        self._rng = random.Random(seed)
        self._rest = b""

    def take(self, count):
        """The next count bytes."""
        while len(self._rest) < count:
            self._rest += self._rng.randbytes(1 << 17)
        data, self._rest = self._rest[:count], self._rest[count:]
        return data


def echo_stream(sock, total, seed=1, pause_after=None, pause=0):
    """Sends total pseudo-random bytes while reading and comparing what comes back, then closes our half and expects
    nothing but the end. pause_after: stops *reading* there for pause seconds; sending goes on as far as it can.
    Returns how many bytes had been sent when reading resumed (0 without a pause)."""
    sent, failure = [0], []

    def feed():
        out = Pattern(seed)
        try:
            while sent[0] < total:
                part = out.take(min(1 << 16, total - sent[0]))
                sock.sendall(part)
                sent[0] += len(part)
            sock.shutdown(socket.SHUT_WR)
        except OSError as e:
            failure.append(f"sending stopped after {sent[0]} bytes: {e}")

    feeder = threading.Thread(target=feed, daemon=True)
    feeder.start()
    expected, got, at_resume = Pattern(seed), 0, 0
    while got < total:
        if pause_after is not None and got >= pause_after:
            pause_after = None
            # The length of the pause is what is tested, not a condition to wait for.
            time.sleep(pause)
            at_resume = sent[0]
        try:
            part = sock.recv(1 << 16)
        except OSError as e:
            raise AssertionError(f"no echo after {got} of {total} bytes ({sent[0]} sent): {e} {failure}") from e
        assert part, f"the guest closed after {got} of {total} bytes ({sent[0]} sent) {failure}"
        want = expected.take(len(part))
        if part != want:
            first = next(i for i, (a, b) in enumerate(zip(part, want)) if a != b)
            raise AssertionError(f"byte {got + first} came back as {part[first]:#x}, was {want[first]:#x}")
        got += len(part)
    rest = sock.recv(1)
    feeder.join(30)
    assert not failure and not feeder.is_alive(), failure
    assert rest == b"", "bytes after the end of the echo"
    return at_resume


def assert_echo(lan, ip="10.0.2.2", size=1024, seed=1):
    """A fresh connection echoes size bytes and closes in order."""
    with connect(lan, ECHO, ip) as sock:
        echo_stream(sock, size, seed)


def chargen_line(n):
    """Line n of RFC 864's recommended pattern: 72 of the 95 printing characters, rotating, CR LF."""
    return bytes(32 + (n + i) % 95 for i in range(72)) + b"\r\n"


def udp_socket(lan, timeout=5):
    """A UDP socket in the LAN's namespace."""
    with lan.ns.entered():
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(timeout)
    return sock


def silent(sock, seconds):
    """True if nothing becomes readable for that long."""
    return not select.select([sock], [], [], seconds)[0]
