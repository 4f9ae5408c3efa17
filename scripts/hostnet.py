"""The host's side of a guest's network: what NET= says, how QEMU is attached to it, and where a running make run is.

For scripts/run-qemu and scripts/doctor. Standard library only.
"""
import ctypes
import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
import struct
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RUN_DIR = Path(os.environ.get("BAREWIRE_RUN_DIR", ROOT / "build" / "run"))
PID_FILE, SERIAL_LOG, RUN_FILE = RUN_DIR / "pid", RUN_DIR / "serial.log", RUN_DIR / "run.json"
HOST_IP, GUEST_IP = "10.0.2.1", "10.0.2.2"
QEMU_MAC = "52:54:00:12:34:56"  # what QEMU gives a first NIC of whom nothing else is said
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
TUN = "/dev/net/tun"
TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
FORMS = "tap tap:IFNAME bridge:BR macvtap:IF user none stream:OPTIONS vhost-user:SOCKET"


class Refused(Exception):
    """A setting that cannot be; ends with status 2."""


class Failed(Exception):
    """The guest did not answer; ends with status 1."""


def say(text):
    """A line of ours, told apart from the guest's."""
    print(f"==> {text}", flush=True)


def net_setting(value):
    """A value of NET= as (kind, what comes after the colon)."""
    kind, _, rest = value.partition(":")
    plain, with_rest = ("tap", "user", "none"), ("tap", "bridge", "macvtap", "stream", "vhost-user")
    if (rest and kind in with_rest) or (not rest and value in plain):
        return kind, rest
    raise Refused(f"NET={value} is not one of: {FORMS}")


# ------------------------------------------------------------------ interfaces

def links():
    """The interfaces of our network namespace by name, as `ip -json -details link` has them."""
    out = subprocess.run(["ip", "-json", "-details", "link"], stdout=subprocess.PIPE, check=True, text=True).stdout
    return {link["ifname"]: link for link in json.loads(out or "[]") if "ifname" in link}


def kind_of(link):
    """tun, bridge, macvtap, veth ...; an empty text for a real one."""
    return link.get("linkinfo", {}).get("info_kind", "")


def macvtap_device(name, link):
    """(path, device number) of the character device behind a macvtap interface. /sys shows the namespace in which it
    was mounted, which need not be ours; then the name is the one the kernel gives, and the number that node's."""
    path = f"/dev/tap{link['ifindex']}"
    try:
        number = Path(f"/sys/class/net/{name}/macvtap/tap{link['ifindex']}/dev").read_text(encoding="ascii")
        major, minor = map(int, number.split(":"))
        return path, os.makedev(major, minor)
    except (OSError, ValueError):
        return path, os.stat(path).st_rdev if os.path.exists(path) else None


def open_macvtap(name):
    """The macvtap interface as (file descriptor, its MAC): the frames come to whoever has the device open, and those
    for its MAC only."""
    link = links().get(name)
    if not link:
        raise Refused(f"NET=macvtap:{name}: there is no such interface; "
                      f"make it: ip link add link ETH name {name} type macvtap mode bridge, and set it up")
    if kind_of(link) != "macvtap":
        raise Refused(f"NET=macvtap:{name}: {name} is no macvtap interface; "
                      f"make one on it: ip link add link {name} name macvtap0 type macvtap mode bridge")
    path, number = macvtap_device(name, link)
    try:
        fd = os.open(path, os.O_RDWR)
    except OSError as e:
        raise Failed(f"{path}, the device of {name}, cannot be opened ({e.strerror}): make it yours (chown), or be root") from e
    found = os.fstat(fd)
    if not stat.S_ISCHR(found.st_mode) or found.st_rdev != number:
        os.close(fd)
        raise Failed(f"{path} is not the device of {name}")
    return fd, link["address"]


def open_bridge_tap(bridge):
    """A new tap on a bridge as (file descriptor, its name); it goes when the descriptor is closed. None without the
    right to make one."""
    link = links().get(bridge)
    if not link:
        raise Refused(f"NET=bridge:{bridge}: there is no such bridge; make it: ip link add {bridge} type bridge")
    if kind_of(link) != "bridge":
        raise Refused(f"NET=bridge:{bridge}: {bridge} is no bridge")
    fd = -1
    try:
        fd = os.open(TUN, os.O_RDWR)
        name = fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", b"barewire%d", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
    except OSError:
        if fd >= 0:
            os.close(fd)
        return None
    name = name[:16].rstrip(b"\0").decode()
    lines = f"link set {name} master {bridge}\nlink set {name} up\n"
    if subprocess.run(["ip", "-batch", "-"], input=lines, text=True, check=False).returncode:
        os.close(fd)
        raise Failed(f"{name}, a new tap, cannot be put on {bridge}")
    return fd, name


def own_mac(what):
    """A MAC that stays the same for one attachment of one machine, and differs from all others: on a shared network
    QEMU's default would be there twice with the second guest."""
    try:
        machine = Path("/etc/machine-id").read_text(encoding="ascii").strip()
    except OSError:
        machine = os.uname().nodename
    return "52:54:00:" + hashlib.sha256(f"{machine} {what}".encode()).digest()[:3].hex(":")


class Attachment:
    """What QEMU is told about the guest's network: back end, properties of the NIC, descriptors it inherits."""

    def __init__(self, kind, arg, vhost, tcg):
        self.kind, self.arg = kind, arg
        self.netdev = self.mac = None
        self.args, self.fds, self.properties = [], [], []
        self.shared_memory = kind == "vhost-user"
        if vhost:
            self.check_vhost()
        self.vhost = ",vhost=on" if vhost else ""
        getattr(self, kind.replace("-", "_"))()
        if tcg and (vhost or kind == "vhost-user"):
            # QEMU 7.2 dereferences an irqfd there that only KVM makes (msix_set_vector_notifiers).
            self.properties.append("vectors=0")
            say(f"{'vhost-user' if self.shared_memory else 'vhost'} without KVM: QEMU crashes if the NIC has MSI-X there, "
                "so it gets vectors=0 and interrupts by INTx")

    def check_vhost(self):
        """VHOST=on is refused where it cannot be; QEMU's own words would be about a file descriptor."""
        if self.kind not in ("tap", "bridge", "macvtap"):
            raise Refused(f"VHOST=on goes with a tap, a bridge or a macvtap, not with NET={self.kind}")
        try:
            os.close(os.open("/dev/vhost-net", os.O_RDWR))
        except OSError as e:
            raise Refused(f"VHOST=on needs /dev/vhost-net, which cannot be opened here ({e.strerror}): "
                          "modprobe vhost_net, or leave VHOST=on away") from e

    def tap(self):
        """An interface that is there, or the private one that enter_namespace() makes."""
        if self.arg:
            if self.arg not in links():
                raise Refused(f"NET=tap:{self.arg}: there is no such interface; make it: ip tuntap add dev {self.arg} mode tap")
            self.mac = own_mac(self.arg)
        self.netdev = f"tap,id=n0,ifname={self.arg or 'tap0'},script=no,downscript=no{self.vhost}"

    def bridge(self):
        """A tap of our own on the bridge; without the right to make it, QEMU's setuid helper does (its own list of
        permitted bridges decides: /etc/qemu/bridge.conf)."""
        made = open_bridge_tap(self.arg)
        if made:
            self.fds.append(made[0])
            self.mac = own_mac(made[1])
            self.netdev = f"tap,id=n0,fd={made[0]}{self.vhost}"
        else:
            self.mac = own_mac(f"{self.arg} {os.getuid()} {ROOT}")
            self.netdev = f"bridge,id=n0,br={self.arg}"

    def macvtap(self):
        """The interface's device, opened by us: QEMU knows taps by name only below /dev/net/tun."""
        fd, self.mac = open_macvtap(self.arg)
        self.fds.append(fd)
        self.netdev = f"tap,id=n0,fd={fd}{self.vhost}"

    def user(self):
        """QEMU's own NAT; nothing of the host's network is touched."""
        self.netdev = "user,id=n0,hostfwd=tcp:127.0.0.1:8080-:80,hostfwd=tcp:127.0.0.1:7007-:7"

    def none(self):
        """No NIC."""

    def stream(self):
        """QEMU's frames over a stream socket, whose options the user knows."""
        self.mac = own_mac(self.arg)
        self.netdev = f"stream,id=n0,{self.arg}"

    def vhost_user(self):
        """Another process is the device; it reads the rings and buffers in the guest's memory, hence shared_memory."""
        if not os.path.exists(self.arg):
            raise Refused(f"NET=vhost-user:{self.arg}: there is no such socket; start the back end first "
                          "(dpdk-testpmd, Open vSwitch ...)")
        self.mac = own_mac(os.path.abspath(self.arg))
        self.args = ["-chardev", f"socket,id=vu0,path={self.arg}"]
        self.netdev = "vhost-user,id=n0,chardev=vu0"

    def machine(self, name, mem):
        """Arguments for the machine, with its memory shared where another process must see it."""
        if not self.shared_memory:
            return ["-M", name]
        size = mem if mem[-1].isalpha() else mem + "M"
        return ["-object", f"memory-backend-memfd,id=mem0,size={size},share=on", "-M", f"{name},memory-backend=mem0"]

    def nic(self):
        """Arguments for back end and NIC."""
        if not self.netdev:
            return []
        mac = [f"mac={self.mac}"] if self.mac else []
        return [*self.args, "-netdev", self.netdev,
                "-device", ",".join(["virtio-net-pci,netdev=n0,romfile=", *mac, *self.properties])]

    def close(self):
        """Our copies of the descriptors, once QEMU has its own: with the last one a tap goes."""
        for fd in self.fds:
            os.close(fd)
        self.fds = []


def route(ip):
    """The way of our host to an address, as `ip -json route get` has it; {} if there is none."""
    res = subprocess.run(["ip", "-json", "route", "get", ip], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                         check=False)
    try:
        return json.loads(res.stdout)[0]
    except (ValueError, IndexError):
        return {}


def nobody_can_ask(kind, arg, ip):
    """Why a guest attached that way cannot be asked from this host, or None."""
    if kind == "stream":
        return "NET=stream: nobody on this side can ask the guest"
    if kind not in ("macvtap", "vhost-user"):
        return None
    way = route(ip)
    if "gateway" in way or "dev" not in way:
        return f"NET={kind}: this host has no interface in the guest's network to ask it from"
    if kind == "macvtap" and way["dev"] == links().get(arg, {}).get("link"):
        return f"NET=macvtap: {way['dev']} cannot talk with what is attached to itself; ask the guest from another machine"
    return None


# -------------------------------------------------------------- private network

def tun_trouble():
    """Why /dev/net/tun makes no tap, or None."""
    try:
        os.close(os.open(TUN, os.O_RDWR))
    except OSError as e:
        return f"{TUN} cannot be opened ({e.strerror})"
    return None


def enter_namespace():
    """A network namespace of our own, with tap0 in it as 10.0.2.1/24; it goes when we and QEMU are gone. Whoever is
    not root gets a user namespace first, in which they are."""
    if why := tun_trouble():
        raise Failed(f"{why}, and NET=tap needs it. Without it: make run NET=user")
    libc = ctypes.CDLL(None, use_errno=True)
    uid, gid = os.getuid(), os.getgid()
    if libc.unshare(CLONE_NEWNET | (CLONE_NEWUSER if uid else 0)):
        raise Failed(f"no private network namespace here ({os.strerror(ctypes.get_errno())}). Without it: make run NET=user")
    if uid:
        for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
            Path("/proc/self", name).write_text(text, encoding="ascii")
    lines = ["link set lo up", "tuntap add dev tap0 mode tap", f"address add {HOST_IP}/24 dev tap0", "link set tap0 up"]
    subprocess.run(["ip", "-batch", "-"], input="\n".join(lines) + "\n", text=True, check=True)


def into_namespace_of(pid, *program):
    """Becomes a program in the network of that process."""
    user = [] if os.getuid() == 0 else ["-U", "--preserve-credentials"]
    os.execvp("nsenter", ["nsenter", "-t", str(pid), *user, "-n", "--", *program])


# ------------------------------------------------------------ a run and its traces

def remember_run(**facts):
    """Leaves our pid and what doctor wants to know. Returns the file for the serial log, or None."""
    try:
        RUN_DIR.mkdir(parents=True, exist_ok=True)
        PID_FILE.write_text(f"{os.getpid()}\n", encoding="ascii")
        RUN_FILE.write_text(json.dumps(facts) + "\n", encoding="utf-8")
        # A new file: another make run that still goes on keeps writing to its own.
        SERIAL_LOG.unlink(missing_ok=True)
        return SERIAL_LOG.open("wb", buffering=0)
    except OSError as e:
        say(f"make shell and make doctor will not find this run: {e.filename} cannot be written ({e.strerror})")
        return None


def forget_run():
    """Takes away what remember_run() left."""
    for path in (PID_FILE, RUN_FILE, SERIAL_LOG):
        path.unlink(missing_ok=True)


def running_pid():
    """The process of the make run, make gdb or make journey that goes on, or None."""
    try:
        pid = int(PID_FILE.read_text(encoding="ascii"))
        ours = re.search(rb"scripts/(run-qemu|run-gdb|journey)\0", Path(f"/proc/{pid}/cmdline").read_bytes())
        return pid if ours else None
    except (OSError, ValueError):
        return None


def last_run():
    """What remember_run() was told, and {} if there was no run."""
    try:
        facts = json.loads(RUN_FILE.read_text(encoding="utf-8"))
        return facts if isinstance(facts, dict) else {}
    except (OSError, ValueError):
        return {}


def serial_lines():
    """The lines of the last run's serial log."""
    try:
        text = SERIAL_LOG.read_bytes().decode("utf-8", "replace")
    except OSError:
        return []
    return [re.sub(r"\x1b(\[[0-9;?=]*[A-Za-z]|[()][A-Z0-9])", "", line).rstrip("\r") for line in text.split("\n")]


def have(tool):
    """Whether a program is installed; those of an administrator may not be in a user's PATH."""
    return shutil.which(tool, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
