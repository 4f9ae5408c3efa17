"""Initial sequence numbers cannot be foretold (RFC 6528)."""
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import ARP, Ether

from lib.lan import Lan


def isns(lan, count):
    """The guest's ISN for `count` different source ports; each half-open connection is reset at once."""
    port = lan.port()
    mac = port.arp("10.0.2.2", "10.0.2.1")
    # An address the host's kernel does not own, so that it does not answer for us; the guest learns it by our ARP.
    src = "10.0.2.200"
    port.send(Ether(dst=mac, src=port.mac) / ARP(op=1, hwsrc=port.mac, psrc=src, pdst="10.0.2.2"))
    numbers = []
    for n in range(count):
        sport = 20000 + n
        syn = Ether(dst=mac, src=port.mac) / IP(src=src, dst="10.0.2.2") / TCP(sport=sport, dport=7, flags="S", seq=1)
        port.send(syn)
        reply = port.expect(lambda p, s=sport: TCP in p and p[TCP].dport == s and p[TCP].flags == "SA")
        assert reply is not None, f"no SYN-ACK for connection {n}"
        numbers.append(reply[TCP].seq)
        rst = syn.copy()
        rst[TCP].flags, rst[TCP].seq = "R", 2
        port.send(rst)
    return numbers


def test_spread_over_the_whole_range(lan, boot):
    """Across source ports the numbers share no order: bits are balanced, differences do not repeat."""
    boot(lan).ready()
    numbers = isns(lan, 300)
    assert len(set(numbers)) == 300
    gaps = [(b - a) % 2**32 for a, b in zip(numbers, numbers[1:])]
    assert len(set(gaps)) >= 298, "differences repeat"
    for bit in range(32):
        ones = sum(n >> bit & 1 for n in numbers)
        # 300 fair coins: below 100 or above 200 has a probability of 1e-8.
        assert 100 < ones < 200, f"bit {bit} is set in {ones} of 300"


def test_another_boot_has_another_secret(_tun, boot):
    """The same connection after another boot has another number."""
    seen = []
    for _ in range(3):
        net = Lan()
        g = boot(net)
        g.ready()
        seen.append(isns(net, 3))
        g.close()
        net.close()
    assert len({n for run in seen for n in run}) == 9
    gaps = [(b[0] - a[0]) % 2**32 for a, b in zip(seen, seen[1:])]
    assert all(2**20 < gap < 2**32 - 2**20 for gap in gaps), gaps


def test_same_tuple_goes_forward(lan, boot):
    """RFC 6528: for one connection's addresses and ports the number follows a clock, so it moves on by little."""
    boot(lan).ready()
    port = lan.port()
    first = isns(lan, 1)[0]
    port.drain()
    second = isns(lan, 1)[0]
    assert 0 < (second - first) % 2**32 < 2**30
