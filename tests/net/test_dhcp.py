"""DHCP against dnsmasq: lease, renewal, NAK, no server at all, and the link going away."""
import pytest
from scapy.layers.inet import UDP

from lib.dhcp import Dnsmasq
from lib.ping import assert_answers
from lib.serial_log import NoLine
from lib.tcp import assert_echo


def in_range(ip, first, last):
    """Whether ip is 10.0.2.first..last."""
    net, host = ip.rsplit(".", 1)
    return net == "10.0.2" and first <= int(host) <= last


@pytest.mark.parametrize("ip", ["ip=dhcp", "", "ip=:::::eth0:dhcp"])
def test_lease(lan, boot, ip):
    """An address, a mask and a gateway from dnsmasq; no ip= at all means DHCP too."""
    with Dnsmasq(lan) as server:
        g = boot(lan, ip=ip, capture=True)
        ready = g.ready()
        ack = server.log.wait(r"DHCPACK\(tap0\) (\S+) (\S+)", 10)
        assert (ready.ip, ready.mac) == (ack[1], ack[2])
        assert in_range(ready.ip, 50, 60) and ready.prefix == 24 and ready.gw == "10.0.2.1"
        assert_answers(lan, ready.ip)
        assert_echo(lan, ready.ip)


@pytest.mark.parametrize("door,machine", [("uefi", "q35"), ("pvh", "microvm"), ("pvh", "pc")])
def test_lease_elsewhere(lan, boot, door, machine):
    """The same through other doors."""
    with Dnsmasq(lan):
        ready = boot(lan, ip="ip=dhcp", door=door, machine=machine).ready()
        assert in_range(ready.ip, 50, 60)
        assert_answers(lan, ready.ip)


def test_no_server_then_one(lan, boot):
    """Nobody answers: the guest keeps asking and says so, is not ready, and takes the lease when a server comes."""
    g = boot(lan, ip="ip=dhcp")
    port = lan.port()
    g.wait_line(r"(?i)dhcp.*(no (answer|offer|server|lease|reply)|still|retry|trying|waiting)", 60)
    # Two more requests after that line: it keeps trying.
    for _ in range(2):
        assert port.expect(lambda p: UDP in p and p[UDP].dport == 67, 40) is not None, "no DISCOVER within 40 s"
    assert not g.log.find(r"^barewire: ready")
    with Dnsmasq(lan):
        ready = g.ready(90)
        assert in_range(ready.ip, 50, 60)
        assert_answers(lan, ready.ip)


@pytest.mark.slow
def test_renewal_and_loss_of_lease(lan, boot):
    """A lease of two minutes is renewed after one, with the same address. Then the server refuses (NAK): the guest
    drops the address, asks anew, and is ready again with another one."""
    g = boot(lan, ip="ip=dhcp")
    with Dnsmasq(lan) as server:
        ready = g.ready()
        seen = server.log.mark()
        server.log.wait(r"DHCPREQUEST\(tap0\) " + ready.ip, 100, seen)
        server.log.wait(r"DHCPACK\(tap0\) " + ready.ip, 10, seen)
        assert not server.log.find(r"DHCPDISCOVER", seen), "renewed, not asked anew"
        assert_answers(lan, ready.ip)
    seen = g.log.mark()
    with Dnsmasq(lan, 100, 110) as server:
        server.log.wait(r"DHCPNAK", 100)
        again = g.ready(60, seen)
        assert in_range(again.ip, 100, 110)
        assert_answers(lan, again.ip)
        assert_echo(lan, again.ip)


def test_refused_after_link_loss(lan, boot):
    """The cable is pulled and put into another network: the old address is refused, a new one is taken."""
    g = boot(lan, ip="ip=dhcp")
    with Dnsmasq(lan):
        first = g.ready()
        assert_answers(lan, first.ip)
        g.qmp.cmd("set_link", name="nic0", up=False)
        g.wait_line(r"(?i)link.*(down|lost|is down)")
    seen = g.log.mark()
    with Dnsmasq(lan, 100, 110) as server:
        g.qmp.cmd("set_link", name="nic0", up=True)
        server.log.wait(r"DHCPNAK|DHCPDISCOVER", 40)
        ready = g.ready(60, seen)
        assert in_range(ready.ip, 100, 110)
        assert_answers(lan, ready.ip)


def test_static_address_sends_no_dhcp(lan, boot):
    """ip=...:off is taken at its word."""
    with Dnsmasq(lan) as server:
        g = boot(lan)
        g.ready()
        assert_answers(lan, "10.0.2.2")
        with pytest.raises(NoLine):
            server.log.wait(r"DHCPDISCOVER", 2)


def test_link_down_and_up(lan, boot):
    """set_link off and on: said in the log, and service back."""
    g = boot(lan)
    g.ready()
    for _ in range(3):
        seen = g.log.mark()
        g.qmp.cmd("set_link", name="nic0", up=False)
        g.wait_line(r"(?i)link.*(down|lost)", after=seen)
        seen = g.log.mark()
        g.qmp.cmd("set_link", name="nic0", up=True)
        g.wait_line(r"(?i)link.*up", after=seen)
        assert_answers(lan, "10.0.2.2")
    assert_echo(lan)
