"""Two guests on one bridge exchange packets with each other.

Guests start no ping of their own. So a third station on the bridge sends guest A requests that carry guest B's
addresses as their sender: A asks by ARP who B is, and answers to B; what B does with it is seen on B's own port.
"""
import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

from lib.guest import Guest, nic_mac
from lib.lan import Lan
from lib.ping import assert_answers
from lib.tcp import assert_echo

IPS = ["10.0.2.2", "10.0.2.3"]


@pytest.fixture
def pair(_tun):
    """A bridge, two guests on it, and a raw port on each guest's tap."""
    net = Lan(taps=2)
    guests = []
    try:
        for n, ip in enumerate(IPS):
            guests.append(Guest(net, tap=net.taps[n], mac=nic_mac(n), image="test", append="diag",
                                ip=f"ip={ip}::10.0.2.1:255.255.255.0::eth0:off"))
        for n, g in enumerate(guests):
            ready = g.ready()
            assert (ready.ip, ready.mac) == (IPS[n], nic_mac(n))
        yield net, guests
    finally:
        for g in guests:
            g.close()
        net.close()


def leaving(net, n):
    """What guest n sends, seen where its tap enters the bridge."""
    return net.port(net.taps[n])


def test_host_reaches_both(pair):
    """Ping and echo of both, through the bridge."""
    net, guests = pair
    for ip in IPS:
        assert_answers(net, ip, count=10)
        assert_echo(net, ip, size=500_000)
    assert all(g.alive() for g in guests)


@pytest.mark.parametrize("a,b", [(0, 1), (1, 0)])
def test_ping_between_guests(pair, a, b):
    """A's echo reply goes to B, after each has resolved the other by ARP."""
    net, guests = pair
    out_a, out_b, host = leaving(net, a), leaving(net, b), net.port()
    host.send(Ether(dst=nic_mac(a), src=host.mac) / IP(src=IPS[b], dst=IPS[a]) / ICMP(id=21, seq=1) / Raw(b"ping" * 10))
    asked = out_a.expect(lambda p: ARP in p and p[ARP].op == 1 and p[ARP].pdst == IPS[b])
    assert asked is not None, "A asks who B is"
    told = out_b.expect(lambda p: ARP in p and p[ARP].op == 2 and p[ARP].pdst == IPS[a])
    assert told is not None and told.dst == nic_mac(a) and told[ARP].hwsrc == nic_mac(b), "B tells A"
    reply = out_a.expect(lambda p: ICMP in p and p[ICMP].type == 0)
    assert reply is not None and (reply.dst, reply[IP].dst) == (nic_mac(b), IPS[b]), "A's reply goes to B"
    assert bytes(reply[ICMP].payload)[:40] == b"ping" * 10
    assert all(g.alive() for g in guests)


@pytest.mark.parametrize("a,b", [(0, 1), (1, 0)])
def test_udp_echo_between_guests(pair, a, b):
    """A echoes a datagram to a closed port of B, and B tells A so: data from A to B, and an answer of B's to it."""
    net, guests = pair
    out_a, out_b, host = leaving(net, a), leaving(net, b), net.port()
    host.send(Ether(dst=nic_mac(a), src=host.mac) / IP(src=IPS[b], dst=IPS[a]) / UDP(sport=40000, dport=7)
              / Raw(b"between guests"))
    echo = out_a.expect(lambda p: UDP in p and p[UDP].sport == 7)
    assert echo is not None and echo.dst == nic_mac(b) and bytes(echo[UDP].payload)[:14] == b"between guests"
    error = out_b.expect(lambda p: ICMP in p and p[ICMP].type == 3)
    assert error is not None and error.dst == nic_mac(a) and error[IP].dst == IPS[a] and error[ICMP].code == 3
    assert all(g.alive() for g in guests)
