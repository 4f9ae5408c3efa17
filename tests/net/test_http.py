"""HTTP: by curl, wrk and ApacheBench, and request by request over a plain socket."""
import re
import socket
import time

import pytest

from lib import http, netstat, tcp

URL = "http://10.0.2.2"


def test_curl(module_lan, module_guest, tmp_path):
    """curl fetches the page about this guest and 1,024 bytes."""
    with netstat.leaves_no_trace(module_guest):
        page = module_lan.ns.check(["curl", "-sS", "--fail", "-m", "20", "-D", tmp_path / "head", URL + "/"])
        head = (tmp_path / "head").read_text(encoding="latin-1").lower()
        assert head.startswith("http/1.1 200") and "content-type: text/html" in head
        assert "10.0.2.2" in page and "arewire" in page
        out = module_lan.ns.check(["curl", "-sS", "--fail", "-m", "20", "-o", tmp_path / "1k", "-w",
                                   "%{http_code} %{size_download} %{content_type}", URL + "/1k"])
        assert out == "200 1024 application/octet-stream"
        assert (tmp_path / "1k").stat().st_size == 1024


def test_curl_many_over_one_connection(module_lan, module_guest):
    """curl reuses the connection."""
    with netstat.leaves_no_trace(module_guest):
        out = module_lan.ns.check(["curl", "-sS", "-m", "20", "-o", "/dev/null", "-w", "%{http_code} %{num_connects}\\n",
                                   *[arg for _ in range(20) for arg in ("-o", "/dev/null")], *[URL + "/1k"] * 20])
        lines = out.split("\n")[:20]
        assert lines == ["200 1"] + ["200 0"] * 19


def test_wrk(lan, guest):
    """wrk, 8 connections, three seconds: no error, and everything given back."""
    with netstat.leaves_no_trace(guest):
        out = lan.ns.check(["wrk", "-t1", "-c8", "-d3s", "--timeout", "20s", URL + "/1k"])
        assert "Socket errors" not in out and "Non-2xx" not in out, out
        assert int(re.search(r"(\d+) requests in", out)[1]) > 100, out


@pytest.mark.parametrize("keep_alive", [False, True])
def test_ab(lan, guest, keep_alive):
    """ApacheBench, with and without keep-alive: every request complete."""
    with netstat.leaves_no_trace(guest):
        out = lan.ns.check(["ab", "-q", *(["-k"] if keep_alive else []), "-s", "30", "-n", "2000", "-c", "10", URL + "/1k"],
                           timeout=120)
        assert re.search(r"Complete requests:\s+2000\n", out), out
        assert re.search(r"Failed requests:\s+0\n", out), out
        assert "Non-2xx" not in out, out
        if keep_alive:
            assert int(re.search(r"Keep-Alive requests:\s+(\d+)", out)[1]) == 2000, out


def test_keep_alive(module_lan, module_guest):
    """Ten requests over one connection, which stays open; HTTP/1.0 and Connection: close end it."""
    with netstat.leaves_no_trace(module_guest):
        with http.Connection(module_lan) as c:
            for _ in range(10):
                res = c.get("/1k")
                assert (res.status, len(res.body), res.headers["content-type"]) == (200, 1024, "application/octet-stream")
            assert c.get("/1k", headers="Connection: close\r\n").status == 200
            assert c.closed_by_peer()
        with http.Connection(module_lan) as c:
            c.send(b"GET /1k HTTP/1.0\r\n\r\n")
            assert len(c.read().body) == 1024
            assert c.closed_by_peer()


def test_head_has_no_body(module_lan, module_guest):
    """HEAD: the length without the bytes, or 405 with Allow; either way the connection stays in step."""
    with netstat.leaves_no_trace(module_guest), http.Connection(module_lan) as c:
        res = c.get("/1k", "HEAD")
        if res.status == 200:
            assert res.headers["content-length"] == "1024"
        else:
            assert res.status == 405 and "GET" in res.headers["allow"]
        assert len(c.get("/1k").body) == 1024


def test_pipelining(module_lan, module_guest):
    """Requests sent without waiting are answered in order, all of them."""
    with netstat.leaves_no_trace(module_guest), http.Connection(module_lan) as c:
        paths = ["/1k", "/", "/nothing-here", "/1k"] * 5
        c.send("".join(f"GET {p} HTTP/1.1\r\nHost: guest\r\n\r\n" for p in paths).encode())
        statuses = []
        for path in paths:
            res = c.read()
            statuses.append(res.status)
            assert (len(res.body) == 1024) == (path == "/1k")
        assert statuses == [200, 200, 404, 200] * 5


def test_request_in_single_bytes(module_lan, module_guest):
    """A request torn into one-byte segments is the same request."""
    with netstat.leaves_no_trace(module_guest), http.Connection(module_lan) as c:
        for byte in b"GET /1k HTTP/1.1\r\nHost: guest\r\n\r\n":
            c.send(bytes([byte]))
        assert len(c.read().body) == 1024


def test_404_and_405(module_lan, module_guest):
    """No such page; no such method, with the ones there are."""
    with netstat.leaves_no_trace(module_guest):
        assert http.get(module_lan, "/nothing-here").status == 404
        for method in ("DELETE", "PUT", "OPTIONS"):
            res = http.get(module_lan, "/1k", method=method)
            assert res.status == 405 and "GET" in res.headers["allow"], res
        with http.Connection(module_lan) as c:
            c.send(b"POST /1k HTTP/1.1\r\nHost: guest\r\nContent-Length: 3\r\n\r\nabc")
            assert c.read().status == 405


BAD_REQUESTS = {
    "long field": (b"GET /1k HTTP/1.1\r\nHost: guest\r\nX-Long: " + b"a" * 20000 + b"\r\n\r\n", {431}),
    "many fields": (b"GET /1k HTTP/1.1\r\nHost: guest\r\n" + b"X-Many: 1\r\n" * 3000 + b"\r\n", {431}),
    "long target": (b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\nHost: guest\r\n\r\n", {414, 431}),
    "one word": (b"hello\r\n\r\n", {400}),
    "no target": (b"GET\r\n\r\n", {400}),
    "no version": (b"GET /1k\r\n\r\n", {400}),
    "unknown version": (b"GET /1k HTTP/9.9\r\nHost: guest\r\n\r\n", {400, 505}),
    "no slash": (b"GET 1k HTTP/1.1\r\nHost: guest\r\n\r\n", {400}),
    "no colon": (b"GET /1k HTTP/1.1\r\nHost guest\r\n\r\n", {400}),
    "space before colon": (b"GET /1k HTTP/1.1\r\nHost : guest\r\n\r\n", {400}),
    "no Host (RFC 9112, 3.2)": (b"GET /1k HTTP/1.1\r\n\r\n", {400}),
    "two lengths (RFC 9112, 6.3)": (b"GET /1k HTTP/1.1\r\nHost: g\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", {400}),
    "binary": (b"\0\1\2\3\4\r\n\r\n", {400}),
    "empty lines": (b"\r\n" * 5000, {400, 431}),
}


def test_bad_requests(module_lan, module_guest):
    """Oversized and malformed requests get their 4xx, and the connection is closed."""
    with netstat.leaves_no_trace(module_guest):
        for name, (request, statuses) in BAD_REQUESTS.items():
            with http.Connection(module_lan) as c:
                try:
                    c.send(request)
                except (BrokenPipeError, ConnectionResetError):
                    pass  # closed before we had said it all; the answer is there to read
                res = c.read()
                assert res.status in statuses, f"{name}: {res}"
                assert c.closed_by_peer(), f"{name}: not closed"


def test_endless_request_is_bounded(lan, guest):
    """Megabytes of header never end up in the guest's memory: it answers and closes."""
    with netstat.leaves_no_trace(guest), tcp.connect(lan, tcp.HTTP) as sock:
        sent = 0
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            sock.sendall(b"GET / HTTP/1.1\r\n")
            while sent < 32 << 20:
                sent += sock.send(b"X: " + b"a" * 65000 + b"\r\n")
        assert sent < 32 << 20


@pytest.mark.slow
def test_slow_clients_are_timed_out(lan, guest):
    """A header that trickles in for ever, one that never comes, and a peer that reads no response: each is given up
    within two minutes, and nobody else waits for them."""
    unread = tcp.connect(lan, tcp.HTTP, rcvbuf=2048)
    with netstat.leaves_no_trace(guest, timeout=90):
        trickle, mute = tcp.connect(lan, tcp.HTTP), tcp.connect(lan, tcp.HTTP)
        unread.setblocking(False)
        try:
            for _ in range(2000):
                unread.send(b"GET /1k HTTP/1.1\r\nHost: guest\r\n\r\n")
        except BlockingIOError:
            pass
        trickle.sendall(b"GET /1k HTTP/1.1\r\n")
        closed, began = set(), time.monotonic()
        mute.settimeout(0.05)
        trickle.settimeout(0.5)
        while len(closed) < 2 and time.monotonic() - began < 120:
            for sock in {trickle, mute} - closed:
                try:
                    if sock is trickle:
                        sock.send(b"X: y\r\n")  # the pace of a slow client is set by its timeout
                    while sock.recv(4096):  # perhaps a 408
                        pass
                    closed.add(sock)
                except socket.timeout:
                    pass
                except (BrokenPipeError, ConnectionResetError):
                    closed.add(sock)
            assert http.get(lan, "/1k").status == 200
        assert len(closed) == 2, f"{len(closed)} of 2 slow clients were closed"
        trickle.close()
        mute.close()
    # Only the guest can have ended it: on our side it is still open.
    unread.close()


def test_connections_opened_and_left(lan, guest):
    """100 connections without a word: others are served."""
    with netstat.leaves_no_trace(guest):
        socks = [tcp.connect(lan, tcp.HTTP) for _ in range(100)]
        assert http.get(lan, "/1k").status == 200
        for sock in socks:
            sock.close()
