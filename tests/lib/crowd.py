"""Many TCP connections to one port of the guest, from several addresses: more than one process may have files open, so a
few of them hold them (this file, run as a program)."""
import itertools
import resource
import select
import socket
import subprocess
import sys
from pathlib import Path

from lib import proc

PORTS_EACH = 12000  # connections of one process, on an address of its own
FIRST_PORT = 2000
AT_ONCE = 100       # below the guest's backlog of 255
ADDRESSES = 100     # 10.0.2.100 to .199


def _each():
    """As many as one process may have files open, less its own."""
    return min(PORTS_EACH, resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 64)


def impossible(count):
    """Why so many connections cannot be opened here, or None."""
    if count <= _each() * ADDRESSES:
        return None
    return f"{count} connections: a process may open no more than {_each() + 64} files here (ulimit -Hn)"


class Crowd:
    """Opens `count` connections in the LAN's namespace. Orders go to the processes in turn."""

    def __init__(self, lan, count, ip="10.0.2.2", port=7):
        self.count, self.workers = 0, []
        self._turn = None
        each = _each()
        shares = [each] * (count // each) + [count % each] * (count % each > 0)
        lan.ns.ip(*[f"address add 10.0.2.{100 + n}/24 dev {lan.iface}" for n in range(len(shares))])
        try:
            for n, share in enumerate(shares):
                self.workers.append(lan.ns.spawn(
                    [sys.executable, __file__, f"10.0.2.{100 + n}", str(share), ip, str(port)],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                    env={"PYTHONPATH": str(Path(__file__).parents[1]), "PYTHONDONTWRITEBYTECODE": "1"}))
                # One after the other: together they would overrun the backlog.
                self._expect(self.workers[-1], f"open {share}")
                self.count += share
        except BaseException:
            self.close()
            raise
        self._turn = itertools.cycle(self.workers)

    @staticmethod
    def _expect(worker, answer):
        line = worker.stdout.readline().strip()
        assert line == answer, f"the peers' process says {line!r}, not {answer!r}"

    def order(self, what, number):
        """echo N: a byte there and back on N connections in turn. churn N: N times connect, echo, close."""
        worker = next(self._turn)
        worker.stdin.write(f"{what} {number}\n")
        worker.stdin.flush()
        self._expect(worker, "done")

    def close(self):
        """Ends the processes, and with them the connections."""
        for w in self.workers:
            proc.stop(w)
            w.stdin.close()
            w.stdout.close()
        self.workers = []


# ---- the program ----

def _quickack(sock):
    """Acknowledges what came now: with every echo, or the first ones of a connection would cost more than the later."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def _echo(sock):
    sock.send(b"x")
    assert sock.recv(1) == b"x"
    _quickack(sock)


def _open_all(src, count, dst):
    """As many connections, AT_ONCE of them under way."""
    poll, socks, waiting = select.epoll(), [], {}
    ports = iter(range(FIRST_PORT, FIRST_PORT + count))
    while len(socks) < count:
        for port in itertools.islice(ports, AT_ONCE - len(waiting)):
            s = socket.socket()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((src, port))
            s.setblocking(False)
            s.connect_ex(dst)
            waiting[s.fileno()] = s
            poll.register(s, select.EPOLLOUT)
        for fd, _ in poll.poll(60):
            s = waiting.pop(fd)
            poll.unregister(fd)
            err = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            assert err == 0, f"connect: error {err} after {len(socks)} connections"
            s.settimeout(30)
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            socks.append(s)
    poll.close()
    return socks


def _churn(src, dst):
    with socket.socket() as s:
        s.bind((src, 0))
        s.settimeout(30)
        s.connect(dst)
        _echo(s)
        s.shutdown(socket.SHUT_WR)
        assert s.recv(1) == b""


def _main(src, count, ip, port):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    dst = (ip, int(port))
    socks = _open_all(src, int(count), dst)
    print("open", len(socks), flush=True)
    turn = itertools.cycle(socks)
    for line in sys.stdin:
        what, number = line.split()
        for _ in range(int(number)):
            if what == "echo":
                _echo(next(turn))
            else:
                _churn(src, dst)
        print("done", flush=True)


if __name__ == "__main__":
    _main(*sys.argv[1:])
