"""UDP echo and discard."""
import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from lib import netstat, tcp


@pytest.mark.parametrize("size", [0, 1, 18, 1472, 1473, 8000, 65507])
def test_echo(module_lan, module_guest, size):
    """Every size of datagram comes back whole."""
    with netstat.leaves_no_trace(module_guest), tcp.udp_socket(module_lan) as sock:
        data = tcp.Pattern(size).take(size)
        sock.sendto(data, ("10.0.2.2", 7))
        back, peer = sock.recvfrom(65536)
        assert back == data and peer == ("10.0.2.2", 7)


def test_echo_many(module_lan, module_guest):
    """5,000 datagrams, one after the other."""
    with netstat.leaves_no_trace(module_guest), tcp.udp_socket(module_lan) as sock:
        sock.connect(("10.0.2.2", 7))
        for n in range(5000):
            data = n.to_bytes(4, "big") * 16
            sock.send(data)
            assert sock.recv(2048) == data, n


def test_discard_is_silent(module_lan, module_guest):
    """Port 9 answers nothing, not even that it is closed; the echo behind it shows that the datagram has been seen."""
    with netstat.leaves_no_trace(module_guest), tcp.udp_socket(module_lan) as quiet, tcp.udp_socket(module_lan) as sock:
        quiet.connect(("10.0.2.2", 9))
        quiet.send(b"x" * 1000)
        sock.sendto(b"after", ("10.0.2.2", 7))
        assert sock.recv(100) == b"after"
        assert tcp.silent(quiet, 0.5)


def test_no_udp_chargen(module_lan, module_guest):
    """Port 19 over UDP is an amplifier; it is closed, and says so (RFC 1122, 4.1.3.1)."""
    with tcp.udp_socket(module_lan) as sock:
        sock.connect(("10.0.2.2", 19))
        sock.send(b"x")
        with pytest.raises(ConnectionRefusedError):
            sock.recv(100)
    assert module_guest.alive()


def test_port_unreachable_quotes_the_request(module_lan, module_guest):
    """A closed port's ICMP error holds the header that caused it."""
    port = module_lan.port()
    mac = port.arp("10.0.2.2", "10.0.2.1")
    port.send(Ether(dst=mac, src=port.mac) / IP(src="10.0.2.1", dst="10.0.2.2", id=321)
              / UDP(sport=5555, dport=4242) / Raw(b"payload"))
    pkt = port.expect(lambda p: ICMP in p and p[ICMP].type == 3)
    assert pkt is not None and pkt[ICMP].code == 3
    quoted = IP(bytes(pkt[ICMP].payload))
    assert quoted.id == 321 and quoted.dst == "10.0.2.2" and bytes(quoted.payload)[:4] == bytes.fromhex("15b31092")
    assert module_guest.alive()


@pytest.mark.parametrize("change", ["checksum", "length_long", "length_short"])
def test_bad_datagrams_are_dropped(module_lan, module_guest, change):
    """A wrong checksum or a length that lies draws no echo; a good datagram behind it does."""
    port = module_lan.port()
    mac = port.arp("10.0.2.2", "10.0.2.1")

    def datagram(text):
        return bytearray(bytes(Ether(dst=mac, src=port.mac) / IP(src="10.0.2.1", dst="10.0.2.2")
                               / UDP(sport=5556, dport=7) / Raw(text)))
    bad = datagram(b"bad!" * 10)
    if change == "checksum":
        bad[40] ^= 0x55
    else:
        bad[38:40] = (2000 if change == "length_long" else 5).to_bytes(2, "big")
        bad[40:42] = b"\0\0"  # no checksum: only the length is wrong
    port.drain()
    port.send(bad)
    port.send(datagram(b"good" * 10))
    pkt = port.expect(lambda p: UDP in p and p[UDP].sport == 7 and p[IP].src == "10.0.2.2")
    assert pkt is not None and bytes(pkt[UDP].payload)[:4] == b"good"
    assert module_guest.alive()
