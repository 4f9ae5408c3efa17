"""What every attachment of a guest must do, whatever is between it and the host: ping, TCP both ways, UDP, and a link
that goes and comes back. A station is whatever has a namespace (.ns) from which the guest can be asked."""
import contextlib
import os
import socket
import struct

from lib import netstat, tcp
from lib.frames import ETH_P_ALL
from lib.netns import NetNs
from lib.ping import assert_lossless, ping
from lib.wait import wait_until

MIB = 1 << 20
BULK = 4 * MIB
SOL_PACKET, PACKET_AUXDATA, TP_STATUS_CSUMNOTREADY = 263, 8, 1 << 3


class Station:
    """A namespace to ask from, with nothing in it yet but lo. taps: Guest looks there for a tap, and finds none."""

    def __init__(self):
        self.ns, self.taps = NetNs(), [None]
        self.ns.sysctl(ipv6__conf__default__accept_dad=0, ipv6__conf__default__router_solicitations=0)

    def path(self):
        """The namespace as ip(8) takes it after `netns`."""
        return f"/proc/{os.getpid()}/fd/{self.ns.fd}"

    def close(self):
        """The namespace goes with its last process."""
        self.ns.close()


def checksum_errors(station, stat):
    """Packets with a wrong checksum: those the guest counted (a reading of its netstat), and those our side did."""
    found = {name: value for name, value in stat.counters.items() if name.endswith("_chkerr") and value}
    lines = station.ns.check(["cat", "/proc/net/snmp"]).splitlines()
    for names, values in zip(lines[::2], lines[1::2]):
        for name, value in zip(names.split()[1:], values.split()[1:]):
            if name == "InCsumErrors" and int(value):
                found[names.split(":")[0] + name] = int(value)
    return found


def exercise(station, guest, ip="10.0.2.2", icmp=True, bulk=BULK):
    """Ping, 4 MiB of TCP in, out and back again byte for byte, UDP of several sizes; and no packet with a wrong
    checksum on either side, no error counter, nothing left in any pool. icmp=False: the attachment passes no ping."""
    with netstat.leaves_no_trace(guest, ip):
        if icmp:
            assert_lossless(station, ip, "-i", "0.01", "-s", "1472", count=20, timeout=60)
        with tcp.connect(station, tcp.ECHO, ip) as sock:
            tcp.echo_stream(sock, bulk, seed=3)
        with tcp.connect(station, tcp.DISCARD, ip) as sock:
            sock.sendall(tcp.Pattern(4).take(bulk))
            sock.shutdown(socket.SHUT_WR)
            assert tcp.recv_all(sock) == b""
        with tcp.connect(station, tcp.CHARGEN, ip) as sock:
            got = tcp.recv_exact(sock, bulk)
            want = b"".join(map(tcp.chargen_line, range(95)))
            assert got == (want * (bulk // len(want) + 1))[:bulk]
        udp_echo(station, ip)
    errors = checksum_errors(station, netstat.read(station, ip))
    assert not errors, errors


def udp_echo(station, ip):
    """Datagrams of several sizes come back. UDP may lose one: each is sent until it does, a few times at most."""
    with tcp.udp_socket(station, timeout=2) as sock:
        sock.connect((ip, 7))
        for size in (1, 18, 512, 1472):
            data = tcp.Pattern(size).take(size)
            for _ in range(5):
                sock.send(data)
                with contextlib.suppress(socket.timeout):
                    while (back := sock.recv(65536)) != data:
                        assert len(back) != size, f"{size} bytes came back changed"
                    break
            else:
                raise AssertionError(f"no echo of {size} bytes in five attempts")


def link_goes_and_comes(station, guest, down, up, ip="10.0.2.2", icmp=True):
    """down() cuts the link: nothing passes. up() mends it: the same connection goes on where it was, and a new one and
    a ping are answered."""
    with tcp.connect(station, tcp.ECHO, ip, timeout=60) as sock:
        sock.sendall(b"before")
        assert tcp.recv_exact(sock, 6) == b"before"
        down()
        sock.sendall(b"while the link is down")
        assert tcp.silent(sock, 1), "the link is down, and still something comes through it"
        if icmp:
            # Status 1: no answer. 2: the host knows of no way any more, as its own end is down.
            assert station.ns.run(["ping", "-n", "-c", "1", "-W", "1", ip]).returncode in (1, 2)
        up()
        assert tcp.recv_exact(sock, 22) == b"while the link is down"
    if icmp:
        wait_until(lambda: ping(station, ip, "-W", "1", count=1).received, 30, "ping is answered again")
    tcp.assert_echo(station, ip, size=100_000)
    assert guest.alive()


def link_by_qemu(station, guest, ip="10.0.2.2", icmp=True):
    """The same by QEMU's set_link, which pulls the guest's cable: the guest says so, too."""
    mark = guest.log.mark()

    def cable(plugged):
        guest.qmp.cmd("set_link", name="n0", up=plugged)
        guest.wait_line(r"eth0: link " + ("up" if plugged else "down"), 10, mark)

    link_goes_and_comes(station, guest, lambda: cable(False), lambda: cable(True), ip, icmp)


class PartialChecksums:
    """Counts the TCP frames that come in by an interface of the calling thread's namespace, and of them those whose
    checksum is still to be completed (CHECKSUM_PARTIAL in Linux, NEEDS_CSUM in virtio)."""

    def __init__(self, iface):
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 20)
        self.sock.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self.sock.bind((iface, ETH_P_ALL))
        self.sock.setblocking(False)

    def count(self):
        """(TCP frames, of them partial) so far; closes."""
        frames = partial = 0
        with self.sock:
            while True:
                try:
                    data, ancillary, _, addr = self.sock.recvmsg(64, 64)
                except BlockingIOError:
                    return frames, partial
                if addr[2] == socket.PACKET_OUTGOING or data[12:14] != b"\x08\x00" or data[23] != 6:
                    continue
                frames += 1
                for level, kind, value in ancillary:
                    if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
                        partial += bool(struct.unpack_from("I", value)[0] & TP_STATUS_CSUMNOTREADY)
