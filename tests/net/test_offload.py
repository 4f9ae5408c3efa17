"""Checksums and segments left to the device, and taken from it: negotiated as asked, byte-exact under every mask, on a
path that loses, between guests, with large frames and with little memory."""
import os
import socket
from types import SimpleNamespace

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether

from lib import netstat, tcp
from lib.guest import nic_mac
from lib.lan import Lan
from lib.netns import NetNs
from lib.ping import assert_answers

MIB = 1 << 20
SIZE = 4 * MIB
SEND = {"csum", "host_tso4", "host_tso6"}
RECEIVE = {"guest_csum", "guest_tso4", "guest_tso6", "mrg_rxbuf"}
WORDS = ["csum", "guest_csum", "host_tso", "guest_tso", "mrg_rxbuf"]
# What goes with a word, since it needs it (VIRTIO 1.2, 5.1.3.1 and 5.1.6.3.1).
WITHOUT = {
    "csum": SEND,
    "host_tso": {"host_tso4", "host_tso6"},
    "guest_csum": {"guest_csum", "guest_tso4", "guest_tso6"},
    "guest_tso": {"guest_tso4", "guest_tso6"},
    "mrg_rxbuf": {"mrg_rxbuf", "guest_tso4", "guest_tso6"},
}
ALL_OFF = " ".join(f"virtio_net.{w}=0" for w in WORDS)


def features(stat):
    """Of those that this file is about, what was negotiated."""
    return set(stat.texts["eth0_features"].split(",")) & (SEND | RECEIVE)


def counted(before, after, *names):
    """How much counters have risen."""
    return [after[name] - before[name] for name in names]


def chargen(lan, size):
    """Reads so much of RFC 864's pattern, and compares."""
    with tcp.connect(lan, tcp.CHARGEN, timeout=60) as sock:
        got = tcp.recv_exact(sock, size)
        tcp.reset(sock)
    want = b"".join(tcp.chargen_line(n) for n in range(95))
    want *= size // len(want) + 1
    assert got == want[:size]


def discard(lan, size):
    """Sends so much, all of which is taken."""
    with tcp.connect(lan, tcp.DISCARD, timeout=60) as sock:
        sock.sendall(bytes(size))
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(1) == b""


def udp(lan, size):
    """A datagram comes back whole."""
    with tcp.udp_socket(lan) as sock:
        data = tcp.Pattern(size).take(size)
        sock.sendto(data, ("10.0.2.2", 7))
        assert sock.recv(65536) == data


def exercise(lan, guest, size=SIZE):
    """Everything once, every byte. Returns frames received for `size` bytes and sent for as many."""
    with netstat.leaves_no_trace(guest) as before:
        assert_answers(lan, "10.0.2.2", count=5)
        assert_answers(lan, "10.0.2.2", "-s", "8000", count=5)
        for n in (1, 1472, 8000):
            udp(lan, n)
        tcp.assert_echo(lan, size=size)
        start = netstat.read(lan)
        discard(lan, size)
        middle = netstat.read(lan)
        chargen(lan, size)
        end = netstat.read(lan)
        wrong = {n: v for n, v in end.counters.items() if "chkerr" in n and v != before.counters.get(n, 0)}
        assert not wrong, wrong
    return counted(start, middle, "eth0_rx_packets") + counted(middle, end, "eth0_tx_packets")


@pytest.mark.parametrize("off", [*WORDS, "all", "none"])
def test_masks(lan, boot, off):
    """Each word of the command line takes its features away, and those that need them; large frames come and go only
    with theirs."""
    words = {"all": ALL_OFF, "none": ""}.get(off, f"virtio_net.{off}=0")
    gone = {"all": SEND | RECEIVE, "none": set()}.get(off) if off in ("all", "none") else WITHOUT[off]
    g = boot(lan, image="test", append=f"diag {words}")
    g.ready()
    have = features(netstat.read(lan))
    assert have == (SEND | RECEIVE) - gone
    received, sent = exercise(lan, g)
    segments = SIZE // 1460
    print(f"{off} off: {received} frames received, {sent} sent, {segments} segments")
    assert (received < segments / 2) == ("guest_tso4" in have), received
    assert (sent < segments / 2) == ("host_tso4" in have), sent


@pytest.mark.parametrize("words", ["", "virtio_net.mrg_rxbuf=0", "virtio_net.guest_tso=0"])
def test_legacy(lan, boot, words):
    """The legacy interface, whose header is shorter without MRG_RXBUF (VIRTIO 1.2, 5.1.6.1)."""
    g = boot(lan, image="test", nic="disable-modern=on,disable-legacy=off", append=f"diag {words}")
    g.ready()
    stat = netstat.read(lan)
    assert "version_1" not in stat.texts["eth0_features"].split(",")
    assert ("mrg_rxbuf" in features(stat)) == ("mrg_rxbuf" not in words)
    exercise(lan, g, MIB)


def test_device_offers_less(lan, boot):
    """A device without TSO towards us, and without what TSO needs."""
    g = boot(lan, image="test", nic="csum=off,guest_csum=off", append="diag")
    g.ready()
    assert features(netstat.read(lan)) == {"mrg_rxbuf"}
    exercise(lan, g, MIB)


def test_16_mib(lan, boot):
    """The smallest memory that is promised has room for frames of 64 KiB."""
    g = boot(lan, image="test", mem=16, append="diag")
    g.ready()
    assert features(netstat.read(lan)) == SEND | RECEIVE
    exercise(lan, g)


def test_mtu_9000(_tun, boot):
    """Jumbo frames beside large segments, IPv4 and IPv6."""
    net = Lan(mtu=9000)
    g = boot(net, image="test", nic="host_mtu=9000", append="diag")
    try:
        g.ready()
        with netstat.leaves_no_trace(g):
            for size in (1472, 8000, 8972):
                assert_answers(net, "10.0.2.2", "-M", "do", "-s", size, count=5)
            for size in (1452, 8000, 8952):
                assert_answers(net, "fe80::5054:ff:fe12:3456%tap0", "-M", "do", "-s", size, count=5)
            udp(net, 8972)
            tcp.assert_echo(net, size=MIB)
            chargen(net, MIB)
    finally:
        g.close()
        net.close()


# ---- a path that loses ----

@pytest.fixture
def far(lan):
    """A host behind the LAN's, on a path that drops one frame of a hundred each way. Each of them is a segment of its
    own: what a tap brings is up to 64 KiB, and is cut on its way to the far host; what the far host sends is cut
    there."""
    ns = NetNs()
    drop = ["table inet path {{", "chain lose {{", "type filter hook {hook} priority 0;",
            "{rule} numgen random mod 100 == 0 counter drop", "}}", "}}"]
    rules = "\n".join(drop)
    try:
        lan.ns.ip(f"link add veth0 type veth peer name veth1 netns /proc/{os.getpid()}/fd/{ns.fd}",
                  "address add 10.0.3.1/24 dev veth0", "link set veth0 up")
        ns.ip("address add 10.0.3.2/24 dev veth1", "link set veth1 up", "route add default via 10.0.3.1")
        lan.ns.sysctl(ipv4__ip_forward=1)
        for space, dev in ((lan.ns, "veth0"), (ns, "veth1")):
            space.check(["ethtool", "-K", dev, "tso", "off", "gso", "off", "gro", "off"])
        lan.ns.check(["nft", "-f", "-"], stdin=None, input=rules.format(hook="prerouting", rule="iifname veth0"))
        ns.check(["nft", "-f", "-"], stdin=None, input=rules.format(hook="prerouting", rule="iifname veth1"))
        yield SimpleNamespace(ns=ns)
    finally:
        ns.close()


@pytest.mark.parametrize("words", ["", ALL_OFF], ids=["on", "off"])
def test_loss(lan, far, boot, words):
    """One segment of a hundred is lost each way: every byte arrives, in bounded time."""
    g = boot(lan, image="test", append=f"diag {words}")
    g.ready()
    with netstat.leaves_no_trace(g):
        with tcp.connect(far, tcp.ECHO, timeout=120) as sock:
            tcp.echo_stream(sock, MIB)
        chargen(far, MIB)
        discard(far, MIB)
    for space, name in ((lan.ns, "to"), (far.ns, "from")):
        text = space.check(["nft", "list", "ruleset"])
        assert "counter packets 0 " not in text, f"nothing was lost on the way {name} the guest"


# ---- guests among themselves ----

def test_partial_checksum_between_guests(_tun, boot):
    """A segment of one guest comes to the other with its checksum not completed: between them there is no wire that
    would need it. The other believes the device, and answers. (A third station asks the first in the second's name.)"""
    ips = ["10.0.2.2", "10.0.2.3"]
    net = Lan(taps=2)
    guests = []
    try:
        for n, ip in enumerate(ips):
            guests.append(boot(net, tap=net.taps[n], mac=nic_mac(n), image="test", append="diag",
                               ip=f"ip={ip}::10.0.2.1:255.255.255.0::eth0:off"))
        for g in guests:
            g.ready()
        before = [netstat.read(net, ip) for ip in ips]
        assert all(features(stat) == SEND | RECEIVE for stat in before)
        for a, b in ((0, 1), (1, 0)):
            out_a, out_b, host = net.port(net.taps[a]), net.port(net.taps[b]), net.port()
            host.send(Ether(dst=nic_mac(a), src=host.mac)
                      / IP(src=ips[b], dst=ips[a]) / TCP(sport=4000 + a, dport=7, flags="S", seq=99))
            synack = out_a.expect(lambda p: TCP in p and p[TCP].flags == "SA")
            assert synack is not None and (synack.dst, synack[IP].dst) == (nic_mac(b), ips[b])
            seen = synack[TCP].chksum
            del synack[TCP].chksum
            whole = Ether(bytes(synack))[TCP].chksum
            assert seen != whole, "the checksum was completed on the way: this tests nothing"
            rst = out_b.expect(lambda p: TCP in p and "R" in p[TCP].flags)
            assert rst is not None and (rst.dst, rst[TCP].dport) == (nic_mac(a), 7), "B says that it knows nothing of it"
        for n, ip in enumerate(ips):
            after = netstat.read(net, ip)
            wrong = {c: v for c, v in after.counters.items() if ("chkerr" in c or "rx_bad" in c)
                     and v != before[n].counters.get(c, 0)}
            assert not wrong, f"guest {n}: {wrong}"
            tcp.assert_echo(net, ip, size=MIB)
        assert all(g.alive() for g in guests)
    finally:
        for g in guests:
            g.close()
        net.close()
