"""The control queue: whose frames come in, and announcements."""
import pytest
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

from lib import netstat
from lib.guest import MAC
from lib.ping import assert_answers
from lib.wait import wait_until

PACKED = "packed=on,disable-legacy=on"
FOREIGN = "52:54:00:aa:bb:cc"
COUNT = 200


def foreign_frames_seen(lan, guest):
    """How many of COUNT frames for another address reach the guest's driver."""
    assert_answers(lan, "10.0.2.2")
    guest.wait_line(r"IPv6 address \S+ is valid")  # its own traffic has ended
    port = lan.port()
    try:
        before = netstat.read(lan)["eth0_rx_packets"]
        for _ in range(COUNT):
            port.send(Ether(dst=FOREIGN, src=port.mac, type=0x88b5) / Raw(bytes(46)))
        # What is read behind them arrives behind them. The reading itself takes a few dozen packets at most.
        return netstat.read(lan)["eth0_rx_packets"] - before
    finally:
        port.close()


@pytest.mark.parametrize("nic", ["", PACKED, "disable-modern=on,disable-legacy=off"])
def test_frames_for_others_stay_outside(lan, boot, nic):
    """The device is told not to be promiscuous: frames for somebody else cost the guest nothing."""
    g = boot(lan, append="diag", nic=nic)
    g.ready()
    stat = netstat.read(lan)
    assert {"ctrl_vq", "ctrl_rx"} <= set(stat.texts["eth0_features"].split(","))
    assert (stat["eth0_ctrl_commands"], stat["eth0_ctrl_errors"]) == (2, 0)
    assert foreign_frames_seen(lan, g) < COUNT / 2


@pytest.mark.parametrize("words,nic", [("virtio_net.ctrl_vq=0", ""), ("", "ctrl_vq=off"), ("", "ctrl_rx=off")])
def test_without_it_they_come_in(lan, boot, words, nic):
    """Masked, or not offered: the device lets everything through, and the guest drops it."""
    g = boot(lan, append=f"diag {words}", nic=nic)
    g.ready()
    assert "ctrl_rx" not in netstat.read(lan).texts["eth0_features"].split(",")
    assert foreign_frames_seen(lan, g) >= COUNT


@pytest.mark.parametrize("nic", ["", PACKED])
def test_multicast_comes_in(lan, boot, nic):
    """Every group does: a neighbour solicitation, for one, goes to a group of the guest's own."""
    g = boot(lan, append="diag", nic=nic)
    g.ready()
    g.wait_line(r"IPv6 address fe80::5054:ff:fe12:3456 is valid")
    assert_answers(lan, f"fe80::5054:ff:fe12:3456%{lan.taps[0]}")


@pytest.mark.parametrize("nic", ["", PACKED])
def test_announce(lan, boot, nic):
    """What QEMU asks for after a migration: a gratuitous ARP. The device hears that it was done, and asks no more."""
    g = boot(lan, append="diag", nic=nic)
    g.ready()
    assert "guest_announce" in netstat.read(lan).texts["eth0_features"].split(",")
    assert_answers(lan, "10.0.2.2")
    before = netstat.read(lan)
    port = lan.port()
    try:
        port.drain()
        g.qmp.cmd("announce-self", initial=10, max=10, rounds=1, step=0)
        arp = port.expect(lambda p: ARP in p and p[ARP].psrc == p[ARP].pdst == "10.0.2.2" and p[ARP].hwsrc == MAC)
        assert arp, "no gratuitous ARP"
    finally:
        port.close()

    def acknowledged():
        stat = netstat.read(lan)
        return stat["eth0_announces"] > before["eth0_announces"] and stat["eth0_ctrl_commands"] > before["eth0_ctrl_commands"]
    wait_until(acknowledged, 10, "the announcement is counted and acknowledged")
    stat = netstat.read(lan)
    assert stat["eth0_ctrl_errors"] == 0
    assert stat["eth0_ctrl_commands"] == 2 + stat["eth0_announces"]
    assert g.alive()
