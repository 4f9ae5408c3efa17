"""make doctor: every cause is provoked for real, and doctor names it first; and it is silent when all is well."""
import contextlib
import re
import socket
import subprocess

import pytest

from lib import proc
from lib.attach import Station
from lib.guest import BUILD, ROOT, Guest
from lib.lan import Lan
from lib.make_run import DOCTOR, RUN, clean_env, run_qemu
from lib.wait import wait_until


@pytest.fixture(autouse=True)
def _own_run_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("BAREWIRE_RUN_DIR", str(tmp_path / "run"))


def doctor(ns=None, cmd=(DOCTOR,), **env):
    """Runs it; returns CompletedProcess."""
    return run_qemu(env, 60, cmd, ns)


def assert_names(res, pattern):
    """Status 1, and the first finding is the right one; every line says what to do."""
    lines = res.stdout.splitlines()
    assert res.returncode == 1 and lines, res.stdout
    assert re.search(pattern, lines[0]), f"wanted /{pattern}/:\n{res.stdout}"
    assert all(re.fullmatch(r"wrong: .+\. To do: .+", line) for line in lines), res.stdout


def assert_well(res):
    """Status 0 and one line."""
    assert res.returncode == 0 and re.fullmatch(r"all is well: .*\n", res.stdout), res.stdout


@pytest.fixture(scope="module")
def house(_tun):
    """A LAN with one guest on tap0, which each test leaves as it found it."""
    net = Lan()
    with Guest(net) as g:
        g.ready()
        yield net
    net.close()


# A second interface to go wrong with.
VETH = ["ip link add veth0 type veth peer name veth1", "ip link set veth1 up", "ip link set veth0 up"]
# What to do, how to undo it, what doctor has to say first.
SICK = {
    "down": (["ip link set tap0 down"], ["ip link set tap0 up"], r"interface tap0 is down.*ip link set tap0 up"),
    "no_address": (["ip address flush dev tap0"], ["ip address add 10.0.2.1/24 dev tap0"],
                   r"tap0 has no IPv4 address.*ip address add 10\.0\.2\.1/24 dev tap0"),
    "wrong_subnet": (["ip address flush dev tap0", "ip address add 10.0.3.1/24 dev tap0"],
                     ["ip address flush dev tap0", "ip address add 10.0.2.1/24 dev tap0"], r"wrong subnet: tap0 has 10\.0\.3\.1/24"),
    "own_address": (["ip address add 10.0.2.2/32 dev lo"], ["ip address del 10.0.2.2/32 dev lo"], r"10\.0\.2\.2.* is this host's own"),
    "other_route": ([*VETH, "ip route add 10.0.2.2/32 dev veth0"],
                    ["ip link del veth0"], r"route to 10\.0\.2\.2 goes by veth0 and not by tap0"),
    "mac_clash": ([*VETH, "ip link set veth0 address 52:54:00:12:34:56"], ["ip link del veth0"], r"MAC clash: the interface veth0"),
    "filter_out": (["nft add table inet wall", "nft add chain inet wall out { type filter hook output priority 0 ; }",
                    "nft add rule inet wall out oifname tap0 ip daddr 10.0.2.0/24 meta l4proto icmp drop"],
                   ["nft delete table inet wall"],
                   r"ping does not leave this host.*packet filter.*nft inet wall out: .*l4proto icmp drop.*nft delete rule inet wall out"),
    "filter_in": (["iptables -A INPUT -i tap0 -p tcp --sport 80 -j DROP"], ["iptables -F INPUT"],
                  r"answers TCP, but a packet filter of this host drops the answer: it is the rule .*nft ip filter INPUT.*drop"),
    "filter_policy": (["nft add table ip wall", "nft add chain ip wall in { type filter hook input priority 0 ; policy drop ; }"],
                      ["nft delete table ip wall"], r"answers ping, but .*policy `drop` of the chain `nft ip wall in`"),
    "filter_jump": (["nft add table inet wall", "nft add chain inet wall guests", "nft add chain inet wall in "
                     "{ type filter hook input priority 0 ; }", "nft add rule inet wall in ct mark 99 drop",
                     "nft add rule inet wall in ip saddr != 10.9.0.0/16 jump guests",
                     "nft add rule inet wall guests iifname { tap0, tap1 } tcp sport 1-1023 counter reject"],
                    ["nft delete table inet wall"], r"answers TCP, but .* it is the rule `nft inet wall guests: .*reject"),
    "filter_unknown": (["nft add table inet wall", "nft add chain inet wall in { type filter hook input priority 0 ; }",
                        "nft add rule inet wall in ip ttl 64 drop"], ["nft delete table inet wall"],
                       r"answers ping, but .* it may be the rule `nft inet wall in: ip ttl 64 drop`"),
    "filter_arp": (["nft add table arp wall", "nft add chain arp wall in { type filter hook input priority 0 ; }",
                    "nft add rule arp wall in drop", "ip neigh flush dev tap0"], ["nft delete table arp wall"],
                   r"own ARP is dropped by a packet filter.*nft arp wall in: drop"),
    "rp_filter": ([*VETH, "sysctl -qw net.ipv4.conf.tap0.rp_filter=1",
                   "ip route add 10.0.2.0/24 dev veth0 table 100", "ip rule add from 10.0.2.1 to 10.0.2.2 lookup 100"],
                  ["ip rule del lookup 100", "ip link del veth0", "sysctl -qw net.ipv4.conf.tap0.rp_filter=0"],
                  r"answers ping, and this host drops the answer: rp_filter is strict"),
}


@pytest.mark.parametrize("what", SICK)
def test_names_the_cause(house, what):
    """In the house of a healthy guest one thing goes wrong, and is put right again: then all is well."""
    provoke, undo, pattern = SICK[what]
    try:
        for line in provoke:
            house.ns.check(line.split())
        assert_names(doctor(house.ns, NET="tap:tap0"), pattern)
    finally:
        for line in undo:
            house.ns.check(line.split())
    assert_well(doctor(house.ns, NET="tap:tap0"))


def test_iptables_legacy(house):
    """The old iptables has tables of its own, which nft does not show."""
    if house.ns.run(["iptables-legacy", "-S"]).returncode:
        pytest.skip("this kernel has no ip_tables")
    rule = ["INPUT", "-i", "tap0", "!", "-s", "10.9.0.0/16", "-p", "icmp", "-j", "DROP"]
    house.ns.check(["iptables-legacy", "-A", *rule])
    try:
        assert_names(doctor(house.ns, NET="tap:tap0"), r"answers ping, but .*it is the rule `iptables-legacy -A INPUT "
                     r".*To do: iptables-legacy -t filter -D INPUT .*-j DROP$")
    finally:
        house.ns.check(["iptables-legacy", "-D", *rule])
    assert_well(doctor(house.ns, NET="tap:tap0"))


def test_no_arp_and_no_interface(house):
    """An address that nobody has; an interface that is not there."""
    assert_names(doctor(house.ns, NET="tap:tap0", GUEST="10.0.2.77"), r"no ARP answer: nobody on tap0 .*10\.0\.2\.77")
    assert_names(doctor(house.ns, NET="tap:tap9"), r"no interface tap9.*ip tuntap add dev tap9 mode tap")
    assert_names(doctor(house.ns, NET="bridge:tap0"), r"tap0 is no bridge")
    assert_names(doctor(house.ns, NET="macvtap:macvtap0"), r"no interface macvtap0.*type macvtap mode bridge")


def test_bridge(_tun):
    """Nobody on the tap; a bridge that drops what crosses it; a port down; two guests with one MAC."""
    net = Lan(taps=2)
    try:
        assert_names(doctor(net.ns, NET="tap:tap0"), r"nobody has tap0 open: QEMU is not running on it")
        with Guest(net) as g:
            g.ready()
            assert_well(doctor(net.ns, NET="bridge:br0"))
            net.ns.check(["sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=1"])
            net.ns.check(["iptables", "-P", "FORWARD", "DROP"])
            assert_names(doctor(net.ns, NET="bridge:br0"), r"bridge netfilter: .*policy `drop` of the chain `nft ip filter FORWARD`")
            net.ns.check(["sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=0"])
            assert_well(doctor(net.ns, NET="bridge:br0"))
            for line in ("add table bridge wall", "add chain bridge wall out { type filter hook output priority 0 ; }",
                         "add rule bridge wall out ether type arp drop"):
                net.ns.check(["nft", *line.split()])
            assert_names(doctor(net.ns, NET="bridge:br0"), r"no ARP answer .*it is the rule `nft bridge wall out: .*arp drop`")
            net.ns.check(["nft", "delete", "table", "bridge", "wall"])
            net.ns.ip("link set br0 type bridge stp_state 1 forward_delay 3000", "link set tap0 down", "link set tap0 up")
            assert_names(doctor(net.ns, NET="bridge:br0"), r"port tap0 of the bridge br0 does not forward yet \(.*ing\)")
            net.ns.ip("link set br0 type bridge stp_state 0", "link set br0 type bridge forward_delay 0", "link set tap0 down")
            assert_names(doctor(net.ns, NET="bridge:br0"), r"port tap0 of the bridge br0 is down")
            net.ns.ip("link set tap0 up", "address add 10.0.2.3/24 dev tap0")
            assert_names(doctor(net.ns, NET="tap:tap0"), r"tap0 has an address of its own, but is a port of br0")
            net.ns.ip("address flush dev tap0")
            with Guest(net, tap="tap1", ip="ip=10.0.2.3::10.0.2.1:255.255.255.0::eth0:off") as twin:
                twin.ready()
                assert_names(doctor(net.ns, NET="tap:tap0"), r"MAC clash: 2 guests on br0 have the MAC 52:54:00:12:34:56")
            with Guest(net, tap="tap1", mac="52:54:00:00:00:02") as rival:
                rival.ready()
                assert_names(doctor(net.ns, NET="tap:tap0"), r"address clash: 52:54:00:00:00:02 and 52:54:00:12:34:56 both say")
    finally:
        net.close()


def test_macvtap(_tun):
    """The parent's other end is down; private mode."""
    station = Station()
    try:
        station.ns.ip("link add veth0 type veth peer name veth1", "link set veth0 up",
                      "link add link veth0 name macvtap0 type macvtap mode private", "link set macvtap0 up")
        assert_names(doctor(station.ns, NET="macvtap:macvtap0"), r"veth0, on which macvtap0 sits, has no carrier")
        station.ns.ip("link set veth1 up")
        assert_names(doctor(station.ns, NET="macvtap:macvtap0"), r"macvtap0 is in mode private")
        station.ns.ip("link set veth0 down")
        assert_names(doctor(station.ns, NET="macvtap:macvtap0"), r"veth0, on which macvtap0 sits, is down|macvtap0 is down")
    finally:
        station.close()


@contextlib.contextmanager
def make_run(until, **env):
    """A make run in the background, from the line `until` on."""
    running = proc.spawn([RUN], env={**clean_env(), "BOOT": "pvh", "RUN_SECONDS": "90", **env}, cwd=ROOT,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    try:
        seen = []
        for line in running.stdout:
            seen.append(line)
            if re.search(until, line):
                break
        else:
            raise AssertionError(f"no /{until}/:\n{''.join(seen)}")
        yield running
    finally:
        proc.stop(running, 20)
        running.stdout.close()


def tell_monitor(path, command):
    """A command on QEMU's monitor, executed when this returns."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20)
        sock.connect(str(path))
        for text in (b"", command + b"\n"):
            sock.sendall(text)
            heard = b""
            while not heard.endswith(b"(qemu) "):
                heard += sock.recv(4096)


def test_running_make_run(_tun, tmp_path):
    """Nothing runs; a make run does, in a network of its own, and all is well; its cable is pulled."""
    assert_names(doctor(), r"QEMU is not running: no `make run` goes on here.*start `make run`")
    monitor = tmp_path / "monitor"
    with make_run(r"until 90 s are over", QEMU_ARGS=f"-monitor unix:{monitor},server=on,wait=off"):
        res = doctor(cmd=["make", "--no-print-directory", "doctor"])
        assert_well(res)
        assert "10.0.2.2 (52:54:00:12:34:56)" in res.stdout
        tell_monitor(monitor, b"set_link n0 off")
        log = tmp_path / "run" / "serial.log"
        wait_until(lambda: b"link down" in log.read_bytes(), 10, "the guest sees it")
        res = doctor(cmd=["make", "--no-print-directory", "doctor"])
        assert_names(res, r"guest's cable is out: it says `eth0: link down`")
    assert_names(doctor(), r"QEMU is not running")


@pytest.mark.parametrize("env,until,pattern", [
    ({"APPEND": "ip=dhcp"}, r"DHCP: asking", r"waits for an address and no DHCP server answers.*DHCP"),
    ({"NET": "none"}, r"no network device", r"no network device"),
    ({"QEMU_ARGS": "-S"}, r"^==> qemu", r"not said a word yet"),
    ({"QEMU_ARGS": f"-kernel {BUILD}/barewire-test.elf", "APPEND": "crash=undefined panic=0"}, r"end of panic|^barewire: panic",
     r"the guest panicked: it says `barewire: panic: "),
], ids=["dhcp", "no_nic", "silent", "panic"])
def test_guest_says(_tun, env, until, pattern):
    """What the guest's own log says comes first."""
    with make_run(until, **env):
        assert_names(wait_until(lambda: res if (res := doctor()).returncode and re.search(pattern, res.stdout) else None, 20,
                                lambda: doctor().stdout), pattern)


def test_user_network():
    """QEMU's own NAT: all is well as long as QEMU runs."""
    with make_run(r"until 90 s are over", NET="user"):
        assert_well(doctor())
    assert_names(doctor(NET="user"), r"QEMU is not running")


def test_vhost_user_back_end(tmp_path):
    """No socket, and one that nobody listens on any more."""
    path = tmp_path / "vhost-user.sock"
    assert_names(doctor(NET=f"vhost-user:{path}"), r"No such file or directory.*start the vhost-user back end")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen()
        assert_well(doctor(NET=f"vhost-user:{path}"))
    assert_names(doctor(NET=f"vhost-user:{path}"), r"nobody listens on .*the back end has ended")


def test_no_tun():
    """Without /dev/net/tun nothing of this starts, and that is said."""
    res = doctor(cmd=["unshare", "--mount", "sh", "-c", f"mount -t tmpfs none /dev/net && exec {DOCTOR}"])
    assert res.returncode == 1
    assert re.search(r"wrong: /dev/net/tun cannot be opened \(No such file or directory\).*NET=user", res.stdout), res.stdout


def test_wrong_setting():
    """A mistake has a status of its own."""
    res = doctor(NET="wlan")
    assert res.returncode == 2 and "bridge:BR" in res.stdout, res.stdout
