"""The guests that are measured: how each one is started, and what is asked of it while it runs."""
import json
import os
import re
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from lib import proc
from lib.guest import BUILD, MAC
from lib.lan import GUEST_IP, STATIC_IP, Lan
from lib.wait import wait_until

OUT = BUILD / "bench"
COUNTERS = ["insns", "rep", "hlt", "pio", "wrmsr", "iret", "mmio", "blocks", "rdmsr", "cpuid"]
# QEMU on one CPU and the load on another, always the same ones: side by side means under the same conditions.
_CPUS = sorted(os.sched_getaffinity(0))
QEMU_CPU, LOAD_CPU = _CPUS[0], _CPUS[-1]
BOOT_TIMEOUT = 90


class Dead(Exception):
    """A guest that does not come up, or a load that it does not serve."""


@dataclass
class Sut:
    """A system under test. start: an executable of somebody else's that execs QEMU, given TAP, MAC, MEM, SERIAL and
    QEMU_EXTRA in its environment; the guest has the address 10.0.2.2 and serves what docs/interface.md lists."""
    name: str
    kernel: Path = None
    machine: str = "pc"
    append: str = ""
    nic: str = ""
    initrd: Path = None
    mem: int = 256
    start: Path = None
    options: list = field(default_factory=list)

    def command(self, tap, serial, extra):
        """QEMU's command line, and what is added to the environment."""
        extra = [*self.options, *extra]
        if self.start:
            return [self.start], {"TAP": tap, "MAC": MAC, "MEM": str(self.mem), "SERIAL": str(serial),
                                  "QEMU_EXTRA": " ".join(map(str, extra))}
        cmd = ["qemu-system-x86_64", "-name", self.name, "-accel", "tcg", "-cpu", "max", "-M", self.machine, "-smp", 1,
               "-m", self.mem, "-no-reboot", "-nodefaults", "-no-user-config", "-display", "none",
               "-serial", f"file:{serial}", "-kernel", self.kernel, "-append", self.append]
        if self.initrd:
            cmd += ["-initrd", self.initrd]
        cmd += ["-netdev", f"tap,id=n0,ifname={tap},script=no,downscript=no,vhost=off",
                "-device", f"virtio-net-pci,netdev=n0,mac={MAC},disable-legacy=on,romfile=" + (f",{self.nic}" if self.nic else "")]
        return [*cmd, *extra], {}


def barewire(machine="pc", append="", name="Barewire", mem=256):
    """The release image as it is built."""
    return Sut(name, BUILD / "barewire.elf", machine, f"{STATIC_IP} {append}".strip(), mem=mem)


def linux(nic="", name="Linux"):
    """Debian's cloud kernel with linux/server.c for its only process."""
    return Sut(name, OUT / "linux" / "bzImage", append="console=ttyS0 quiet panic=-1", nic=nic,
               initrd=OUT / "linux" / "initramfs.gz")


def peer(folder):
    """Somebody else's guest: a folder with an executable `start`."""
    start = Path(folder).resolve() / "start"
    if not os.access(start, os.X_OK):
        raise Dead(f"no executable {start}")
    return Sut(start.parent.name, start=start)


def bench_lan():
    """One tap, IPv4 only: what the host says of itself by IPv6 is no part of the work measured."""
    lan = Lan()
    try:
        lan.ns.sysctl(ipv6__conf__all__disable_ipv6=1, ipv4__ip_local_port_range="10000 65000", ipv4__tcp_tw_reuse=1)
        # Few packets wait for a guest that is still booting, and no ARP retry is in its boot time.
        lan.ns.ip("link set tap0 txqueuelen 4", f"neigh replace {GUEST_IP} lladdr {MAC} dev tap0 nud permanent")
    except BaseException:
        lan.close()
        raise
    return lan


class Vm:
    """One boot of a SUT, from power-on to the first ping reply and on. plugin: None, or insncount.so's arguments after
    out=, as ''or ',mmio=on'; or a function that is given the file for the counters and returns the whole -plugin value."""

    def __init__(self, sut, plugin=None, settle=1.0):
        self.sut, self.plugin, self.proc = sut, plugin, None
        OUT.mkdir(parents=True, exist_ok=True)
        self.serial, self.counter_file = OUT / f"serial.{os.getpid()}", OUT / f"counters.{os.getpid()}"
        self.lan = bench_lan()
        try:
            self._boot()
            self.lan.ns.ip("link set tap0 txqueuelen 1000")
            # Another guest's server may come up after its network.
            wait_until(lambda: "error" not in self.try_load("tcp_crr", 1, 1), BOOT_TIMEOUT, f"{sut.name}: no echo on port 7", 0.1)
            # What a guest still does after its boot (IPv6's duplicate address detection) is not in its idle figure.
            time.sleep(settle)
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def _boot(self):
        extra = []
        if callable(self.plugin):
            extra = ["-plugin", self.plugin(self.counter_file)]
        elif self.plugin is not None:
            extra = ["-plugin", f"{OUT}/insncount.so,out={self.counter_file}{self.plugin}"]
        cmd, env = self.sut.command("tap0", self.serial, extra)
        # The pings begin first: what is measured is from the start of QEMU to the first reply.
        probe = self.lan.ns.spawn(["taskset", "-c", LOAD_CPU, OUT / "load", "boot", GUEST_IP, BOOT_TIMEOUT * 1000],
                                  stdout=subprocess.PIPE, text=True)
        try:
            probe.stdout.readline()
            began = time.monotonic_ns()
            with open(f"{self.serial}.qemu", "w", encoding="utf-8") as err:
                self.proc = self.lan.ns.spawn(["taskset", "-c", QEMU_CPU, *cmd], stdout=err, stderr=err,
                                              env={**os.environ, **env})
            wait_until(lambda: probe.poll() is not None or self.proc.poll() is not None, BOOT_TIMEOUT + 10, "no end of the boot")
            if self.proc.poll() is not None:
                raise Dead(f"{self.sut.name}: QEMU ended: " + Path(f"{self.serial}.qemu").read_text(encoding="utf-8")[-500:])
            answer = json.loads(probe.stdout.read())
            if "error" in answer:
                raise Dead(f"{self.sut.name}: {answer['error']}")
            self.boot_seconds = (answer["mono_ns"] - began) / 1e9
            self.booted = time.monotonic()
            self.boot_counters = self.counters()
        finally:
            proc.stop(probe)
            probe.stdout.close()

    def counters(self):
        """The counters now, by name; None without insncount."""
        if self.plugin is None or callable(self.plugin):
            return None
        data = self.counter_file.read_bytes()[:8 * len(COUNTERS)]
        return {name: int.from_bytes(data[8 * n:8 * n + 8], "little") for n, name in enumerate(COUNTERS)}

    def load_command(self, *args, pace=0, **env):
        """The load generator's command line and environment."""
        env = {**os.environ, "BENCH_PID": str(self.proc.pid), "BENCH_PACE": str(pace), **env}
        if self.plugin is not None and not callable(self.plugin):
            env["BENCH_CTR"] = str(self.counter_file)
        return ["taskset", "-c", LOAD_CPU, OUT / "load", args[0], GUEST_IP, *args[1:]], env

    def try_load(self, *args, pace=0, timeout=120):
        """Runs a load to its end: its result, or {'error': ...}."""
        cmd, env = self.load_command(*args, pace=pace)
        try:
            res = self.lan.ns.run(cmd, timeout, env=env)
            return json.loads(res.stdout)
        except subprocess.TimeoutExpired:
            return {"error": f"no end in {timeout} s"}
        except ValueError:
            return {"error": f"status {res.returncode}: {res.stdout.strip()}"}

    def load(self, *args, pace=0, timeout=120):
        """Runs a load to its end; Dead if the guest does not serve it."""
        res = self.try_load(*args, pace=pace, timeout=timeout)
        if "error" in res:
            raise Dead(f"{self.sut.name}: {' '.join(map(str, args))}: {res['error']}")
        return res

    def quiet(self):
        """Waits until the guest does nothing more by itself: IPv6 looks for routers three times, 4 s apart (RFC 4861, 10)."""
        time.sleep(max(0.0, self.booted + 15 - time.monotonic()))

    def idle(self, seconds):
        """The counters' rates while nothing is asked of the guest."""
        res = self.load("idle", seconds)
        return {c: v / res["window"] for c, v in zip(COUNTERS, res["ctr"])}

    def count(self, idle, *args, pace=2000):
        """A counted load: each counter per operation, without what would have happened meanwhile anyway. `net` is the
        figure that everything here is about: instructions, a REP instruction as one."""
        res = self.load(*args, pace=pace)
        raw = dict(zip(COUNTERS, res["ctr"]))
        per_op = {c: (v - idle[c] * res["window"]) / res["ops"] for c, v in raw.items()}
        per_op["net"] = per_op["insns"] - per_op["rep"]
        per_op["raw"] = {c: v / res["ops"] for c, v in raw.items()}
        return per_op

    def cpu_seconds(self):
        """The CPU time QEMU has used."""
        return time.clock_gettime((~self.proc.pid << 3) | 2)

    def tool(self, *cmd, timeout=60):
        """Runs a tool beside the load generator: its output and the CPU time QEMU used meanwhile."""
        before = self.cpu_seconds()
        res = self.lan.ns.run(["taskset", "-c", LOAD_CPU, *cmd], timeout)
        return res.stdout, self.cpu_seconds() - before

    def memory_mib(self):
        """The guest's RAM that has been touched."""
        size, touched = None, 0
        for line in Path(f"/proc/{self.proc.pid}/smaps").read_text(encoding="ascii").splitlines():
            if m := re.match(r"(Size|Rss):\s+(\d+) kB", line):
                if m[1] == "Size":
                    size = int(m[2])
                elif size == self.sut.mem * 1024:
                    touched = max(touched, int(m[2]))
        return touched / 1024

    def close(self):
        """Ends QEMU and what hangs on it."""
        if self.proc:
            proc.stop(self.proc)
        self.lan.close()
        for path in (self.serial, Path(f"{self.serial}.qemu"), self.counter_file):
            path.unlink(missing_ok=True)
