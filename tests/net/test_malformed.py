"""Frames that lie or end too early: nothing comes of them, and service goes on."""
import random

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (ICMPv6ND_NA, ICMPv6NDOptDstLLAddr, ICMPv6PacketTooBig, IPv6, IPv6ExtHdrFragment,
                                defragment6)
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

from lib import netstat, tcp
from lib.lan import Lan
from lib.guest import MAC, Guest
from lib.ping import assert_answers
from lib.wire import Wire

HOST_MAC = "52:54:00:00:00:01"


@pytest.fixture
def wired(_tun):
    """A guest at the end of a wire that takes frames of any length."""
    net = Lan()
    wire = Wire(net)
    g = Guest(net, image="test", append="diag", capture=True, **wire.netdev())
    try:
        g.ready()
        yield net, wire, g
    finally:
        g.close()
        wire.close()
        net.close()


def serves(net):
    """Ping and TCP from a fresh connection."""
    assert_answers(net, "10.0.2.2")
    tcp.assert_echo(net)


def to_guest(*layers):
    """A frame for the guest from a station that is not the host's kernel."""
    pkt = Ether(dst=MAC, src=HOST_MAC)
    for layer in layers:
        pkt = pkt / layer
    return bytes(pkt)


# One whole, sensible frame of each kind, cut at every length. An answer to the cut one would be a read past its end.
WHOLE = {
    "arp": to_guest(ARP(op=1, hwsrc=HOST_MAC, psrc="10.0.2.66", pdst="10.0.2.2")),
    "ipv4": to_guest(IP(src="10.0.2.1", dst="10.0.2.2") / ICMP(id=5) / Raw(bytes(40))),
    "ipv4-tcp": to_guest(IP(src="10.0.2.1", dst="10.0.2.2") / TCP(sport=1234, dport=7, flags="S") / Raw(bytes(20))),
    "ipv6": to_guest(Raw(bytes.fromhex("6000000000203a40") + bytes.fromhex("fe80" + "00" * 13 + "01")
                         + bytes.fromhex("fe80000000000000505400fffe123456") + bytes(32))),
    "vlan": to_guest(Raw(bytes.fromhex("00010800") + bytes(IP(src="10.0.2.1", dst="10.0.2.2") / ICMP()) + bytes(40))),
    "other": to_guest(Raw(bytes(60))),
}
ETHERTYPE = {"arp": 0x0806, "ipv4": 0x0800, "ipv4-tcp": 0x0800, "ipv6": 0x86DD, "vlan": 0x8100, "other": 0x88B5}


def of_kind(kind):
    """The whole frame with its ethertype."""
    frame = bytearray(WHOLE[kind])
    frame[12:14] = ETHERTYPE[kind].to_bytes(2, "big")
    return bytes(frame)


@pytest.mark.parametrize("broadcast", [False, True])
def test_every_short_length(wired, broadcast):
    """Lengths 1 to 60 of every kind, to the guest's address and to everybody. (The 0-byte frame is a unit test:
    QEMU's back ends have none.)"""
    net, wire, g = wired
    before = netstat.read(net)
    for kind in WHOLE:
        frame = of_kind(kind)
        if broadcast:
            frame = b"\xff" * 6 + frame[6:]
        for length in range(1, 61):
            wire.inject(frame[:length])
        serves(net)
        assert g.alive(), f"after {kind}"
    netstat.settled(net, before)


def test_short_arp_is_not_answered(wired):
    """An ARP request cut below its 28 bytes has no sender to answer; the whole one is answered."""
    net, wire, _ = wired
    port = net.port()
    frame = of_kind("arp")
    for length in range(14, 42):
        wire.inject(frame[:length])
    wire.inject(frame)
    # The answer to one more, from another sender, says that all before it have been seen.
    last = bytearray(frame)
    last[31] = 67
    wire.inject(bytes(last))
    told = []
    for pkt in map(Ether, port.frames(10)):
        if ARP in pkt and pkt[ARP].op == 2 and pkt[ARP].psrc == "10.0.2.2":
            told.append(pkt[ARP].pdst)
            if told[-1] == "10.0.2.67":
                break
    assert told == ["10.0.2.66", "10.0.2.67"]


def test_long_frames(wired):
    """Longer than the MTU: dropped or cut, never more than one buffer."""
    net, wire, g = wired
    before = netstat.read(net)
    for length in (1514, 1515, 1518, 1519, 1600, 2000, 4096, 9000, 16000):
        wire.inject(of_kind("ipv4")[:42] + bytes(length - 42))
    serves(net)
    assert g.alive()
    netstat.settled(net, before)


def headers():
    """Broken IPv4, TCP, UDP, ICMP and ARP headers, all of full length."""
    ip = {"src": "10.0.2.1", "dst": "10.0.2.2"}
    for version in (0, 5, 6, 15):
        yield to_guest(IP(version=version, **ip) / ICMP() / Raw(bytes(40)))
    for ihl in (0, 1, 4, 6, 15):
        yield to_guest(IP(ihl=ihl, **ip) / ICMP() / Raw(bytes(40)))
    for length in (0, 1, 19, 20, 21, 27, 28, 100, 1500, 65535):
        yield to_guest(IP(len=length, **ip) / ICMP() / Raw(bytes(40)))
        yield to_guest(IP(len=length, **ip) / UDP(dport=7) / Raw(bytes(40)))
    for frag, flags in ((8191, 0), (8191, 1), (1, 1), (0, 5), (8189, 0)):
        yield to_guest(IP(frag=frag, flags=flags, **ip) / ICMP() / Raw(bytes(40)))
    for proto in range(256):
        yield to_guest(IP(proto=proto, **ip) / Raw(bytes(24)))
    for offset in range(16):
        yield to_guest(IP(**ip) / TCP(dport=7, dataofs=offset, flags="S"))
    for flags in range(256):
        yield to_guest(IP(**ip) / TCP(sport=3333, dport=7, flags=flags, seq=flags))
    for length in (0, 1, 7, 8, 9, 65535):
        yield to_guest(IP(**ip) / UDP(dport=7, len=length, chksum=0) / Raw(bytes(20)))
    for kind in range(256):
        yield to_guest(IP(**ip) / ICMP(type=kind) / Raw(bytes(40)))
    for hwlen, plen, hwtype, ptype, op in ((0, 4, 1, 0x800, 1), (6, 0, 1, 0x800, 1), (255, 255, 1, 0x800, 1),
                                           (6, 4, 9, 0x800, 1), (6, 4, 1, 0x86DD, 1), (6, 4, 1, 0x800, 99)):
        yield to_guest(ARP(hwlen=hwlen, plen=plen, hwtype=hwtype, ptype=ptype, op=op, hwsrc=HOST_MAC,
                           psrc="10.0.2.66", pdst="10.0.2.2"))
    options = [b"\x07", b"\x07\x00", b"\x07\xff", b"\x44\x01", b"\x83\x03", b"\x83\xff\x04", b"\x01" * 40, b"\x94\x04\0\0"]
    for option in options:
        padded = option.ljust(-(-len(option) // 4) * 4, b"\0")
        head = bytearray(bytes(IP(**ip, ihl=5 + len(padded) // 4, len=20 + len(padded) + 8, proto=1, chksum=0))[:20])
        body = bytes(head) + padded
        total = sum(int.from_bytes(body[n:n + 2], "big") for n in range(0, len(body), 2))
        total = (total & 0xffff) + (total >> 16)
        total = (total & 0xffff) + (total >> 16)
        head[10:12] = (~total & 0xffff).to_bytes(2, "big")
        yield to_guest(Raw(bytes(head) + padded + bytes(ICMP())))[:12] + b"\x08\x00" + bytes(head) + padded + bytes(ICMP())


def test_broken_headers(wired):
    """Each is dropped; the guest lives, serves and has every buffer back."""
    net, wire, g = wired
    before = netstat.read(net)
    for n, frame in enumerate(headers()):
        wire.inject(frame)
        if n % 100 == 99:
            assert_answers(net, "10.0.2.2", count=1)
    serves(net)
    assert g.alive()
    netstat.settled(net, before)


def test_headers_of_ipv6(wired):
    """Extension headers that run past the packet, and neighbour discovery options of length 0 or too long."""
    net, wire, g = wired
    before = netstat.read(net)
    me, guest_ll = bytes.fromhex("fe80" + "00" * 13 + "01"), bytes.fromhex("fe80000000000000505400fffe123456")
    all_nodes = bytes.fromhex("ff02" + "00" * 13 + "01")

    def ip6(next_header, payload, dst=guest_ll, hops=255):
        return (to_guest(Raw(b""))[:12] + b"\x86\xdd\x60\0\0\0" + len(payload).to_bytes(2, "big")
                + bytes([next_header, hops]) + me + dst + payload)

    def icmp6(payload, dst):
        pseudo = me + dst + len(payload).to_bytes(4, "big") + b"\0\0\0\x3a" + payload + b"\0" * (len(payload) % 2)
        total = sum(int.from_bytes(pseudo[n:n + 2], "big") for n in range(0, len(pseudo), 2))
        while total >> 16:
            total = (total & 0xffff) + (total >> 16)
        return payload[:2] + (~total & 0xffff).to_bytes(2, "big") + payload[4:]

    for header in (0, 43, 44, 51, 60, 135, 59, 255):
        for length in (0, 1, 31, 255):
            for present in (0, 1, 7, 8, 9, 40):
                wire.inject(ip6(header, (bytes([header, length]) + bytes(38))[:present]))
    for kind, fixed in ((133, 8), (134, 16), (135, 24), (136, 24), (137, 40)):
        for option in range(6):
            for length in (0, 1, 2, 4, 255):
                for dst in (guest_ll, all_nodes):
                    body = bytes([kind, 0, 0, 0]) + bytes(fixed - 4) + bytes([option, length]) + bytes(6)
                    if kind in (135, 136):
                        body = body[:8] + guest_ll + body[24:]
                    wire.inject(ip6(58, icmp6(body, dst), dst))
                    wire.inject(ip6(58, icmp6(body[:fixed + 1], dst), dst))
    serves(net)
    assert g.alive()
    netstat.settled(net, before)


def segment(options, dataofs, flags="S", payload=b"", **kw):
    """A TCP segment whose options are these raw bytes, with a right checksum."""
    head = bytes(TCP(**{"sport": 4000, "dport": 7, "seq": 1000, "flags": flags, "dataofs": dataofs, "chksum": 0, **kw}))[:20]
    ip = IP(src="10.0.2.1", dst="10.0.2.2", proto=6)
    whole = head + options + payload
    pseudo = bytes.fromhex("0a0002010a0002020006") + len(whole).to_bytes(2, "big") + whole + b"\0" * (len(whole) % 2)
    total = sum(int.from_bytes(pseudo[n:n + 2], "big") for n in range(0, len(pseudo), 2))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    whole = whole[:16] + (~total & 0xffff).to_bytes(2, "big") + whole[18:]
    return to_guest(ip / Raw(whole))


def test_tcp_options_past_the_end(wired):
    """Options that end in the middle, claim more than there is, or have length 0 or 1 (upstream lwIP 3d896ba0): no
    read past the packet, no endless loop."""
    net, wire, g = wired
    before = netstat.read(net)
    bad = [bytes([kind, length]) for kind in (2, 3, 4, 5, 8, 254) for length in (0, 1, 2, 3, 4, 10, 40, 255)]
    bad += [bytes([kind]) for kind in (2, 3, 4, 5, 8, 254)]
    sport = 10000
    for option in bad:
        for room in (4, 8, 40):
            sport += 1
            tail = (b"\x01" * (room - len(option)) + option)[-room:]
            wire.inject(segment(tail, 5 + room // 4, sport=sport))
            wire.inject(segment(option.ljust(room, b"\x01"), 5 + room // 4, sport=sport))
            # The header says there are options; the packet ends before them.
            wire.inject(segment(b"", 5 + room // 4, sport=sport))
        assert_answers(net, "10.0.2.2", count=1)
    serves(net)
    assert g.alive()
    netstat.settled(net, before)


def test_random_frames(wired):
    """20,000 frames of noise with plausible beginnings, from a fixed seed."""
    net, wire, g = wired
    before = netstat.read(net)
    rng = random.Random(20260101)
    for n in range(20000):
        kind = rng.choice(list(WHOLE))
        frame = bytearray(of_kind(kind) + rng.randbytes(rng.randrange(200)))
        for _ in range(rng.randrange(1, 6)):
            frame[rng.randrange(12, len(frame))] = rng.randrange(256)
        wire.inject(bytes(frame[:rng.randrange(14, len(frame))]))
        if n % 1000 == 999:
            assert_answers(net, "10.0.2.2", count=1)
    serves(net)
    assert g.alive()
    netstat.settled(net, before)


def test_address_configuration_is_still_ours(wired):
    """After all kinds of ARP noise the host's entry is right: no packet of another took it over for good."""
    net, wire, _ = wired
    for n in range(3, 255):
        wire.inject(to_guest(ARP(op=2, hwsrc=HOST_MAC, psrc=f"10.0.2.{n}", hwdst=MAC, pdst="10.0.2.2")))
        wire.inject(to_guest(ARP(op=1, hwsrc=HOST_MAC, psrc=f"10.0.2.{n}", pdst="10.0.2.2")))
    serves(net)


def test_path_mtu_shrinks_under_a_segment(lan, boot):
    """Packet Too Big for a TCP segment that is out (RFC 8201): it is sent again in fragments, as often as it takes,
    and they are whole each time."""
    guest_ip, peer_ip, mac = "fe80::5054:ff:fe12:3456", "fe80::66", "52:54:00:00:00:66"
    g = boot(lan, append="diag")
    g.ready()
    g.wait_line(rf"IPv6 address {guest_ip} is valid")
    port = lan.port()
    head = Ether(dst=MAC, src=mac) / IPv6(src=peer_ip, dst=guest_ip, hlim=255)
    port.send(head / ICMPv6ND_NA(tgt=peer_ip, R=0, S=0, O=1) / ICMPv6NDOptDstLLAddr(lladdr=mac))
    port.send(head / TCP(sport=4000, dport=19, flags="S", seq=1, options=[("MSS", 1440)], window=65535))

    def answer(pkt):
        """A frame for the peer, with its neighbour solicitations answered."""
        if IPv6 in pkt and pkt[IPv6].nh == 58 and pkt[IPv6].payload.type == 135 and pkt[IPv6].payload.tgt == peer_ip:
            port.send(head / ICMPv6ND_NA(tgt=peer_ip, R=0, S=1, O=1) / ICMPv6NDOptDstLLAddr(lladdr=mac))
        return pkt.dst == mac and IPv6 in pkt

    synack = port.expect(lambda p: answer(p) and TCP in p and p[TCP].flags == "SA")
    ack = synack[TCP].seq + 1
    port.send(head / TCP(sport=4000, dport=19, flags="A", seq=2, ack=ack, window=65535))
    first = port.expect(lambda p: answer(p) and TCP in p and len(p[TCP].payload) > 1280)
    assert first is not None and first[TCP].seq == ack
    text = bytes(first[TCP].payload)
    port.send(head / ICMPv6PacketTooBig(mtu=1280) / Raw(bytes(first[IPv6])[:1200]))
    fragments, times = [], 0
    for frame in port.frames(30):
        pkt = Ether(frame)
        if not answer(pkt) or IPv6ExtHdrFragment not in pkt:
            continue
        assert len(frame) <= 14 + 1280
        fragments.append(pkt[IPv6])
        if pkt[IPv6ExtHdrFragment].m:
            continue
        whole = IPv6(bytes(defragment6(fragments)))
        fragments = []
        if whole[TCP].seq != ack:
            continue
        assert bytes(whole[TCP].payload) == text
        summed = whole.copy()
        del summed[TCP].chksum
        assert IPv6(bytes(summed))[TCP].chksum == whole[TCP].chksum
        times += 1
        if times == 3:
            break
    assert times == 3, f"sent again {times} times"
    serves(lan)
    assert g.alive()
