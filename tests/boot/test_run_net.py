"""make run on a network that is there already: NET=tap:IFNAME, bridge:BR, macvtap:IF, vhost-user:SOCKET, stream:..., and VHOST=on."""
import os
import re
import subprocess

import pytest

from lib import proc
from lib.attach import Station
from lib.guest import ROOT
from lib.lan import Lan
from lib.make_run import RUN, clean_env, run_qemu
from lib.testpmd import Pmd

SETTINGS = {"BOOT": "pvh", "APPEND": "ip=10.0.2.2/24"}


@pytest.fixture(autouse=True)
def _own_run_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("BAREWIRE_RUN_DIR", str(tmp_path / "run"))


@pytest.fixture
def station(_tun):
    """A namespace with lo only."""
    s = Station()
    yield s
    s.close()


def assert_answered(res):
    """The guest was pinged and gave a page; returns its MAC."""
    assert res.returncode == 0, res.stdout
    assert "3 packets transmitted, 3 received" in res.stdout and "200 OK" in res.stdout, res.stdout
    return re.search(r"^barewire: ready .* mac=(\S+)", res.stdout, re.M)[1]


def test_tap_and_bridge(_tun):
    """Taps and a bridge of the user's. Guests on one bridge have MACs of their own: QEMU's default would clash."""
    net = Lan(taps=2)
    try:
        macs = {assert_answered(run_qemu({**SETTINGS, "NET": what}, ns=net.ns)) for what in ("tap:tap0", "tap:tap1", "bridge:br0")}
        assert len(macs) == 3 and "52:54:00:12:34:56" not in macs, macs
        assert "barewire0" not in net.ns.check(["ip", "link"]), "the tap went with the guest"
    finally:
        net.close()


def test_macvtap(station):
    """The guest has the interface's MAC, and answers the other end of the parent's wire (which is here in one namespace
    with it; so nothing but the route says which way to ask)."""
    station.ns.ip("link add veth0 type veth peer name veth1", "link set veth0 up", "link set veth1 up",
                  "address add 10.0.2.1/24 dev veth1", "link add link veth0 name macvtap0 type macvtap mode bridge",
                  "link set macvtap0 up")
    index, mac = re.search(r"^(\d+): macvtap0@.*\n.*link/ether (\S+)", station.ns.check(["ip", "link"]), re.M).groups()
    if not os.access(f"/dev/tap{index}", os.R_OK | os.W_OK):
        pytest.skip(f"/dev/tap{index} is not there or not ours: no devtmpfs, or not root")
    mounted = ["unshare", "--mount", "sh", "-c", f"mount -t sysfs sysfs /sys && exec {RUN}"]
    assert assert_answered(run_qemu({**SETTINGS, "NET": "macvtap:macvtap0"}, cmd=mounted, ns=station.ns)) == mac
    # From the parent itself there is no way to it; that is said, and is no failure.
    station.ns.ip("address del 10.0.2.1/24 dev veth1", "address add 10.0.2.1/24 dev veth0")
    res = run_qemu({**SETTINGS, "NET": "macvtap:macvtap0"}, cmd=mounted, ns=station.ns)
    assert res.returncode == 0 and "veth0 cannot talk with what is attached to itself" in res.stdout, res.stdout


def test_vhost_user(station, tmp_path):
    """testpmd is the device; without KVM the NIC gets no MSI-X, and make run says so."""
    with Pmd(station, tmp_path) as pmd:
        res = run_qemu({**SETTINGS, "NET": f"vhost-user:{pmd.socket}"}, ns=station.ns)
        assert_answered(res)
        assert re.search(r"==> vhost-user without KVM: .*vectors=0", res.stdout), res.stdout
        assert re.search(r"virtio_net: eth0: .* intx", res.stdout), res.stdout


def test_vhost(_tun):
    """VHOST=on serves where the kernel has vhost-net, and is refused with the reason elsewhere."""
    res = run_qemu({"BOOT": "pvh", "VHOST": "on"})
    if os.access("/dev/vhost-net", os.R_OK | os.W_OK):
        assert_answered(res)
        assert "vhost=on" in res.stdout
    else:
        assert res.returncode == 2 and re.search(r"VHOST=on needs /dev/vhost-net, which .*modprobe", res.stdout), res.stdout


def test_stream(tmp_path):
    """Two guests, one wire between them: each is ready, and says that from here it cannot be asked."""
    there = f"addr.type=unix,addr.path={tmp_path}/wire"
    listening = proc.spawn([RUN], env={**clean_env(), **SETTINGS, "NET": f"stream:server=on,{there}", "RUN_SECONDS": "60"},
                           cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        first = next(m[1] for line in listening.stdout if (m := re.search(r"^barewire: ready .* mac=(\S+)", line)))
        res = run_qemu({**SETTINGS, "APPEND": "ip=10.0.2.3/24", "NET": f"stream:server=off,{there}"})
        assert res.returncode == 0 and "NET=stream: nobody on this side can ask the guest" in res.stdout, res.stdout
        assert re.search(r"^barewire: ready ip=10\.0\.2\.3/24 .* mac=(\S+)", res.stdout, re.M)[1] != first
    finally:
        proc.stop(listening, 20)
        listening.stdout.close()
