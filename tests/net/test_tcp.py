"""TCP: bytes come back exact, whatever the peer does; and everything is given back afterwards."""
import select
import socket
import threading
import time

import pytest
from scapy.layers.inet import TCP

from lib import netstat, tcp
from lib.ping import assert_answers
from lib.wait import wait_until

MIB = 1 << 20


def test_echo_64_mib(lan, guest):
    """64 MiB of a pseudo-random stream, byte-exact."""
    with netstat.leaves_no_trace(guest):
        with tcp.connect(lan, tcp.ECHO, timeout=60) as sock:
            tcp.echo_stream(sock, 64 * MIB)


def test_echo_200_connections(lan, guest):
    """200 connections at once, each with its own bytes."""
    with netstat.leaves_no_trace(guest):
        socks = [tcp.connect(lan, tcp.ECHO, timeout=60) for _ in range(200)]
        failures = []

        def one(n, sock):
            try:
                tcp.echo_stream(sock, 64 * 1024, seed=n)
            except (AssertionError, OSError) as e:
                failures.append(f"connection {n}: {e}")

        threads = [threading.Thread(target=one, args=item) for item in enumerate(socks)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        for sock in socks:
            sock.close()
        assert not failures, failures[:5]


@pytest.mark.parametrize("size", [0, 1, 535, 536, 1459, 1460, 1461, 5000])
def test_echo_small(module_lan, module_guest, size):
    """Sizes about the segment size, and none at all."""
    with netstat.leaves_no_trace(module_guest):
        tcp.assert_echo(module_lan, size=size)


def test_half_close(lan, guest):
    """A peer that has sent its FIN still gets all its bytes, and then the guest's FIN."""
    with netstat.leaves_no_trace(guest):
        # More than the windows hold, and nothing read before the FIN is sent.
        with tcp.connect(lan, tcp.ECHO) as sock:
            data = tcp.Pattern(5).take(12_000)
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            assert tcp.recv_all(sock) == data


def test_half_close_and_a_pause(lan, guest):
    """A peer that sends its FIN, reads nothing for longer than 2 MSL (10 s in test images), and then gets the rest."""
    with netstat.leaves_no_trace(guest):
        with tcp.connect(lan, tcp.ECHO, rcvbuf=8192) as sock:
            data = tcp.Pattern(6).take(120_000)
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            # The length of the pause is what is tested, not a condition to wait for.
            time.sleep(15)
            assert tcp.recv_all(sock) == data


def test_reset_in_mid_stream(lan, guest):
    """Peers that reset with data on its way in both directions."""
    with netstat.leaves_no_trace(guest):
        for n in range(50):
            sock = tcp.connect(lan, tcp.ECHO)
            sock.setblocking(False)
            try:
                sock.send(tcp.Pattern(n).take(100_000))
            except BlockingIOError:
                pass
            select.select([sock], [], [], 5)
            tcp.reset(sock)
        tcp.assert_echo(lan)


def test_peer_stops_reading(lan, guest):
    """A peer that stops reading for 10 s and goes on: the guest's window closes, memory stays bounded, and every byte
    is there at the end."""
    with netstat.leaves_no_trace(guest):
        with tcp.connect(lan, tcp.ECHO, timeout=60, rcvbuf=32768) as sock:
            sent = tcp.echo_stream(sock, 8 * MIB, pause_after=256 * 1024, pause=10)
        assert sent < 8 * MIB, "the guest took everything: its memory is not bounded"


def test_peer_stops_reading_does_not_stop_others(lan, guest):
    """While some peers do not read, ping and other connections are served."""
    with netstat.leaves_no_trace(guest):
        stuck = []
        for _ in range(20):
            sock = tcp.connect(lan, tcp.ECHO, rcvbuf=4096)
            sock.setblocking(False)
            stuck.append(sock)
        data = tcp.Pattern(1).take(MIB)
        for sock in stuck:
            try:
                sock.send(data)
            except BlockingIOError:
                pass
        # Two at once: service while the stuck ones hold what they can.
        for n in range(2):
            tcp.assert_echo(lan, size=300_000, seed=n)
        assert_answers(lan, "10.0.2.2", count=20)
        for sock in stuck:
            tcp.reset(sock)


def test_chargen_into_a_slow_reader(lan, guest):
    """RFC 864's pattern, unbroken, into a reader of a few hundred bytes at a time; then the peer just goes away."""
    with netstat.leaves_no_trace(guest):
        with tcp.connect(lan, tcp.CHARGEN, rcvbuf=4096) as sock:
            got = bytearray()
            while len(got) < 200_000:
                part = sock.recv(300)
                assert part
                got += part
            want = b"".join(tcp.chargen_line(n % 95) for n in range(len(got) // 74 + 2))
            assert bytes(got) == want[:len(got)]
            tcp.reset(sock)


def test_chargen_closed_in_order(lan, guest):
    """A reader that sends its FIN while the guest still talks."""
    with netstat.leaves_no_trace(guest):
        with tcp.connect(lan, tcp.CHARGEN) as sock:
            assert len(tcp.recv_exact(sock, MIB)) == MIB
            sock.shutdown(socket.SHUT_WR)
            tcp.recv_exact(sock, 1000)


def test_discard(lan, guest):
    """Port 9 takes everything and says nothing."""
    with netstat.leaves_no_trace(guest):
        with tcp.connect(lan, tcp.DISCARD) as sock:
            sock.sendall(tcp.Pattern(2).take(4 * MIB))
            sock.shutdown(socket.SHUT_WR)
            assert tcp.recv_all(sock) == b""


def test_5000_connections_in_a_row(lan, guest):
    """5,000 times connect, one byte, close."""
    with netstat.leaves_no_trace(guest):
        for n in range(5000):
            with tcp.connect(lan, tcp.ECHO) as sock:
                byte = bytes([n & 0xff])
                sock.sendall(byte)
                assert sock.recv(1) == byte, f"connection {n}"


def test_connect_and_reset_in_a_row(lan, guest):
    """The same without manners."""
    with netstat.leaves_no_trace(guest):
        for _ in range(2000):
            tcp.reset(tcp.connect(lan, tcp.ECHO))


def test_closed_port_refuses(module_lan, module_guest):
    """A port without a service answers with a RST, at once."""
    with pytest.raises(ConnectionRefusedError):
        tcp.connect(module_lan, 4242)
    assert module_guest.alive()


def test_window_scaling_and_mss(module_lan, module_guest):
    """The guest's SYN-ACK offers window scaling and the MSS of the link."""
    port = module_lan.port()
    with tcp.connect(module_lan, tcp.ECHO):
        syn_ack = port.expect(lambda p: TCP in p and p[TCP].sport == tcp.ECHO and p[TCP].flags == "SA")
    options = dict(o for o in syn_ack[TCP].options if o[0] in ("MSS", "WScale"))
    assert options["MSS"] == 1460
    assert "WScale" in options, syn_ack[TCP].options
    assert module_guest.alive()


def test_idle_connections_are_few_resources(lan, guest):
    """Open connections show in the pool of PCBs, so that the leak check above reads something real."""
    before = netstat.read(lan)
    socks = [tcp.connect(lan, tcp.ECHO) for _ in range(30)]
    now = netstat.read(lan)
    rise = now.pools["memp_tcp_pcb"].used - before.pools["memp_tcp_pcb"].used
    assert 30 <= rise <= 32, rise
    for sock in socks:
        sock.close()
    wait_until(lambda: netstat.read(lan).pools["memp_tcp_pcb"].used <= before.pools["memp_tcp_pcb"].used, 40,
               "PCBs go back", every=0.5)
