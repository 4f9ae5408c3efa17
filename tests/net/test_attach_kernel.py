"""The host's kernel between guest and peer: a tap, a bridge with two guests and a veth host, macvtap on a veth pair,
vhost in the kernel."""
import json
import os
import re
import stat

import pytest

from lib import netstat
from lib.attach import PartialChecksums, Station, checksum_errors, exercise, link_by_qemu, link_goes_and_comes
from lib.guest import Guest, nic_mac
from lib.lan import Lan
from lib.ping import assert_answers
from lib.tcp import assert_echo

BRIDGE_IPS = ["10.0.2.2", "10.0.2.3"]


def host_side(net, iface):
    """Functions that take an interface down and up again."""
    return (lambda: net.ns.ip(f"link set {iface} down")), (lambda: net.ns.ip(f"link set {iface} up"))


def test_tap(lan, guest):
    """The host's address on the tap itself."""
    exercise(lan, guest)
    link_by_qemu(lan, guest)
    link_goes_and_comes(lan, guest, *host_side(lan, "tap0"))


@pytest.fixture
def bridge(_tun):
    """(the bridge's LAN, the station behind a veth pair, two guests)."""
    net, far, guests = Lan(taps=2), Station(), []
    try:
        net.ns.ip(f"link add veth0 type veth peer name eth0 netns {far.path()}", "link set veth0 master br0 up")
        far.ns.ip("address add 10.0.2.9/24 dev eth0", "link set eth0 up")
        for n, ip in enumerate(BRIDGE_IPS):
            guests.append(Guest(net, tap=net.taps[n], mac=nic_mac(n), image="test", append="diag",
                                ip=f"ip={ip}::10.0.2.1:255.255.255.0::eth0:off"))
        for g in guests:
            g.ready()
            g.lan = far
        yield net, far, guests
    finally:
        for g in guests:
            g.close()
        far.close()
        net.close()


def test_bridge(bridge):
    """A host behind a veth pair leaves the checksums of what it sends to the device, as every Linux does. Such frames
    cross the bridge unfinished, and arrive at each guest with a checksum that is right. (What the guests say to each
    other: test_two_guests.py.)"""
    net, far, guests = bridge
    assert "tx-checksumming: on" in far.ns.check(["ethtool", "-k", "eth0"])
    with net.ns.entered():
        entering = PartialChecksums("veth0")
    exercise(far, guests[0], BRIDGE_IPS[0])
    frames, partial = entering.count()
    print(f"{partial} of {frames} TCP frames entered the bridge with a checksum to complete")
    assert partial > 100, (partial, frames)
    assert_answers(far, BRIDGE_IPS[1])
    assert_echo(far, BRIDGE_IPS[1], size=1_000_000)
    for ip in BRIDGE_IPS:
        errors = checksum_errors(far, netstat.read(far, ip))
        assert not errors, (ip, errors)
    link_by_qemu(far, guests[0], BRIDGE_IPS[0])
    link_goes_and_comes(far, guests[1], *host_side(net, "tap1"), ip=BRIDGE_IPS[1])
    link_goes_and_comes(far, guests[0], *host_side(net, "veth0"), ip=BRIDGE_IPS[0])


@pytest.fixture
def macvtap(_tun, tmp_path):
    """(near station with macvtap0 on veth0, far station with the other end, macvtap0's MAC, its device opened)."""
    near, far, fd = Station(), Station(), -1
    try:
        near.ns.ip(f"link add veth0 type veth peer name eth0 netns {far.path()}", "link set veth0 up",
                   "link add link veth0 name macvtap0 type macvtap mode bridge", "link set macvtap0 up")
        far.ns.ip("address add 10.0.2.1/24 dev eth0", "link set eth0 up")
        mac = json.loads(near.ns.check(["ip", "-json", "link", "show", "macvtap0"]))[0]["address"]
        try:
            fd = open_macvtap(near, tmp_path / "macvtap0")
        except OSError as e:
            pytest.skip(f"the device of a macvtap cannot be opened here: {e}")
        yield near, far, mac, fd
    finally:
        if fd >= 0:
            os.close(fd)
        near.close()
        far.close()


def open_macvtap(near, node):
    """Opens the device of macvtap0. Nobody runs udev in our namespace, so the node is made here, in a folder of the test's
    own; its number is below /sys as seen from that namespace, hence the mount, which goes with its process."""
    res = near.ns.run(["unshare", "--mount", "sh", "-c", "mount -t sysfs sysfs /sys && cat /sys/class/net/macvtap0/macvtap/*/dev"])
    if not re.fullmatch(r"\d+:\d+\n", res.stdout):
        raise OSError(f"its number is not to be had: {res.stdout.strip()}")
    os.mknod(node, stat.S_IFCHR | 0o600, os.makedev(*map(int, res.stdout.split(":"))))
    return os.open(node, os.O_RDWR)


def test_macvtap(macvtap, boot):
    """Bridge mode: the guest is a station of its own on the parent's wire, with the interface's MAC."""
    near, far, mac, fd = macvtap
    g = boot(far, image="test", append="diag", mac=mac, netdev=f"tap,id=n0,fd={fd}", fds=(fd,))
    assert g.ready().mac == mac
    exercise(far, g)
    link_by_qemu(far, g)
    link_goes_and_comes(far, g, *host_side(near, "macvtap0"))


def test_vhost(lan, boot):
    """The kernel is the device. Without MSI-X: QEMU 7.2 under TCG crashes with both."""
    try:
        os.close(os.open("/dev/vhost-net", os.O_RDWR))
    except OSError as e:
        pytest.skip(f"/dev/vhost-net cannot be opened: {e.strerror}")
    g = boot(lan, image="test", append="diag", nic="vectors=0",
             netdev=f"tap,id=n0,ifname={lan.taps[0]},script=no,downscript=no,vhost=on")
    g.ready()
    exercise(lan, g)
    link_by_qemu(lan, g)
    link_goes_and_comes(lan, g, *host_side(lan, "tap0"))
