"""ICMP echo: counts, sizes, floods, and what must not be answered."""
import re

import pytest
from scapy.layers.inet import ICMP, IP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from lib import netstat
from lib.ping import assert_answers, assert_lossless, ping


def test_thousand_without_a_loss(lan, guest):
    """ping -c 1000 -i 0.002."""
    with netstat.leaves_no_trace(guest):
        assert_lossless(lan, "10.0.2.2", "-i", "0.002", count=1000)


def test_flood(lan, guest):
    """ping -f, 20,000 packets: fewer than one in a thousand lost, and the guest lives."""
    with netstat.leaves_no_trace(guest):
        p = ping(lan, "10.0.2.2", "-q", "-f", count=20000, timeout=240)
        assert p.sent == 20000 and p.lost < 20, p.text
    assert_answers(lan, "10.0.2.2")


def test_preloaded_flood(lan, guest):
    """Bursts longer than the receive ring: some may be lost, nothing may be stuck."""
    with netstat.leaves_no_trace(guest):
        p = ping(lan, "10.0.2.2", "-q", "-f", "-l", "2000", "-s", "1000", count=20000, timeout=240)
        assert p.received > 2000, p.text
    assert_answers(lan, "10.0.2.2")


@pytest.mark.parametrize("size", [0, 1, 17, 18, 56, 1471, 1472, 1473, 2952, 2953, 8000, 65507])
def test_sizes(module_lan, module_guest, size):
    """Every size comes back, whole (ping compares the bytes), fragmented above 1472."""
    with netstat.leaves_no_trace(module_guest):
        assert_answers(module_lan, "10.0.2.2", "-s", str(size), count=5)


def test_large_pings_in_a_row(lan, guest):
    """Reassembly gives back everything it took."""
    with netstat.leaves_no_trace(guest):
        assert_lossless(lan, "10.0.2.2", "-i", "0.01", "-s", "65507", count=200)


def test_fragments_never_completed(lan, guest):
    """Fragments whose rest never comes are dropped again, and do not keep others out."""
    port = lan.port()
    mac = port.arp("10.0.2.2", "10.0.2.1")
    with netstat.leaves_no_trace(guest):
        for ident in range(2000):
            port.send(Ether(dst=mac, src=port.mac) / IP(src="10.0.2.1", dst="10.0.2.2", id=ident, flags="MF", proto=1)
                      / Raw(bytes(1480)))
        assert_answers(lan, "10.0.2.2", "-s", "3000")


def test_fragments_out_of_order(module_lan, module_guest):
    """The last fragment first, and each of them twice."""
    port = module_lan.port()
    mac = port.arp("10.0.2.2", "10.0.2.1")
    data = bytes(n * 7 & 0xff for n in range(5000))
    payload = bytes(IP(bytes(IP(src="10.0.2.1", dst="10.0.2.2") / ICMP(id=77, seq=1) / Raw(data)))[ICMP])
    with netstat.leaves_no_trace(module_guest):
        offsets = list(range(0, len(payload), 1480))
        port.drain()
        for off in reversed(offsets):
            for _ in range(2 if off else 1):
                port.send(Ether(dst=mac, src=port.mac)
                          / IP(src="10.0.2.1", dst="10.0.2.2", id=4711, proto=1, frag=off // 8,
                               flags="MF" if off != offsets[-1] else 0) / Raw(payload[off:off + 1480]))
        back, deadline_frames = {}, port.frames(10)
        for frame in deadline_frames:
            pkt = Ether(frame)
            if IP in pkt and pkt[IP].src == "10.0.2.2" and pkt[IP].proto == 1:
                back[pkt[IP].frag * 8] = bytes(pkt[IP].payload)[:pkt[IP].len - pkt[IP].ihl * 4]
                if sum(map(len, back.values())) >= len(payload):
                    break
        whole = b"".join(back[k] for k in sorted(back))
        assert whole[8:] == payload[8:] and whole[0] == 0, f"{len(whole)} of {len(payload)} bytes"


def test_rtt_is_sane(module_lan, module_guest):
    """An idle guest answers from its sleep: no answer waits for a tick. (Some may wait for a busy host.)"""
    p = assert_lossless(module_lan, "10.0.2.2", "-i", "0.05", count=40)
    times = sorted(float(t) for t in re.findall(r"time=([\d.]+) ms", p.text))
    assert len(times) >= 40
    assert times[10] < 10, f"a quarter within {times[10]} ms"


def echo_request(port, mac, **ip):
    """A request with a payload of our own."""
    return Ether(dst=mac, src=port.mac) / IP(**{"src": "10.0.2.1", "dst": "10.0.2.2", **ip}) / ICMP(id=99, seq=3) / Raw(b"bw" * 30)


def answered(port, frame):
    """Whether the frame draws an echo reply. A good request right behind it bounds the wait by more than time: its
    answer must come, and come alone."""
    port.drain()
    port.send(frame)
    good = echo_request(port, port.guest_mac)
    good[ICMP].id = 100
    port.send(good)
    seen = []
    for data in port.frames(10):
        pkt = Ether(data)
        if ICMP in pkt and pkt[ICMP].type == 0:
            seen.append(pkt[ICMP].id)
            if pkt[ICMP].id == 100:
                break
    assert 100 in seen, "the good request was not answered either"
    return 99 in seen


@pytest.fixture
def port(module_lan, module_guest):
    """A raw port that knows the guest's MAC."""
    p = module_lan.port()
    p.guest_mac = p.arp("10.0.2.2", "10.0.2.1")
    assert p.guest_mac == "52:54:00:12:34:56"
    return p


def test_a_good_request_is_answered(port):
    """The method of the tests below sees an answer where there is one."""
    assert answered(port, echo_request(port, port.guest_mac))


@pytest.mark.parametrize("dst", ["10.0.2.255", "255.255.255.255", "224.0.0.1"])
def test_broadcast_ping_is_not_answered(port, dst):
    """RFC 1122, 3.2.2.6 permits silence; an amplifier it shall not be."""
    assert not answered(port, echo_request(port, "ff:ff:ff:ff:ff:ff", dst=dst))


def test_foreign_addresses_are_not_answered(port):
    """Not our IP address, and not our MAC."""
    assert not answered(port, echo_request(port, port.guest_mac, dst="10.0.2.77"))
    other = echo_request(port, port.guest_mac)
    other.dst = "52:54:00:99:99:99"
    assert not answered(port, other)


@pytest.mark.parametrize("layer", ["ip", "icmp"])
def test_bad_checksums_are_not_answered(port, module_guest, layer):
    """A wrong IP header checksum, a wrong ICMP checksum."""
    frame = bytearray(bytes(echo_request(port, port.guest_mac)))
    frame[24 if layer == "ip" else 36] ^= 0x55
    assert not answered(port, bytes(frame))
    assert module_guest.alive()


@pytest.mark.parametrize("src", ["10.0.2.255", "224.0.0.1", "255.255.255.255", "127.0.0.1", "10.0.2.2"])
def test_impossible_sources_are_not_answered(port, src):
    """A request from a broadcast, multicast, loopback or the guest's own address draws no reply."""
    assert not answered(port, echo_request(port, port.guest_mac, src=src))


def test_arping(module_lan, module_guest):
    """arping, answered with the right address, once each."""
    out = module_lan.ns.check(["arping", "-I", "tap0", "-c", "3", "-w", "10", "10.0.2.2"])
    assert "3 response(s)" in out or "Received 3 response" in out, out
    assert "52:54:00:12:34:56" in out.lower()
    assert module_guest.alive()


def test_no_arp_for_others(port):
    """The guest answers for its own address only."""
    assert port.arp("10.0.2.77", "10.0.2.1", timeout=1) is None
    assert port.arp("10.0.2.2", "10.0.2.1") == "52:54:00:12:34:56"


def link_local(mac):
    """The EUI-64 link-local address of a MAC (RFC 4291, appendix A)."""
    b = bytes.fromhex(mac.replace(":", ""))
    e = bytes([b[0] ^ 2]) + b[1:3] + b"\xff\xfe" + b[3:]
    return "fe80::" + ":".join(f"{e[n] << 8 | e[n + 1]:x}" for n in range(0, 8, 2))


def test_ipv6_link_local(lan, guest):
    """IPv6 ping of the link-local address, which the log names; also with fragments, also large."""
    m = guest.wait_line(r"((?i:fe80)::[0-9a-fA-F:]+)")
    addr = link_local("52:54:00:12:34:56")
    assert m[1] == addr, "the address as RFC 5952 writes it"
    # The guest may still be busy with duplicate address detection: ping waits for the first answer.
    first = ping(lan, addr + "%tap0", "-i", "0.2", count=1, deadline=20, timeout=30)
    assert first.received == 1, first.text
    with netstat.leaves_no_trace(guest):
        for size in (0, 56, 1452, 1453, 8000):
            assert_answers(lan, addr + "%tap0", "-s", str(size), count=5)


def test_ipv6_neighbour(lan, guest):
    """Neighbour discovery by another program than the kernel."""
    guest.wait_line(r"(?i:fe80)::[0-9a-fA-F:]+")
    addr = link_local("52:54:00:12:34:56")
    out = lan.ns.check(["ndisc6", "-r", "20", "-w", "500", addr, "tap0"])
    assert "52:54:00:12:34:56" in out.lower(), out
