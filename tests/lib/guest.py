"""A guest in QEMU: how it is started, what it said, how it ended."""
import os
import re
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lib import proc
from lib.lan import STATIC_IP
from lib.qmp import Qmp, QmpError
from lib.serial_log import SerialLog

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("BAREWIRE_BUILD", ROOT / "build"))
OVMF = "/usr/share/ovmf/OVMF.fd"
MAC = "52:54:00:12:34:56"

# Exit statuses of QEMU with isa-debug-exit (interface.md, "Serial log").
POWER_OFF, ASSERTION, UBSAN, EXCEPTION, GUARD_PAGE, CANARY, WATCHDOG = 33, 65, 67, 69, 71, 73, 75

READY = re.compile(r"^barewire: ready ip=(?P<ip>[0-9.]+)/(?P<prefix>\d+) gw=(?P<gw>[0-9.]+)"
                   r" mac=(?P<mac>(?:[0-9a-f]{2}:){5}[0-9a-f]{2}) apps=(?P<apps>\S*)$")
PANIC = re.compile(r"^barewire: panic: (?P<reason>.*?)(?: vec=(?P<vec>\S+) err=(?P<err>\S+) cr2=(?P<cr2>\S+)"
                   r" rip=(?P<rip>\S+))?$")


@dataclass
class Ready:
    """The ready line, taken apart."""
    ip: str
    prefix: int
    gw: str
    mac: str
    apps: list


def nic_mac(n):
    """The MAC of the n-th guest on a LAN."""
    return MAC[:-2] + f"{0x56 + n:02x}"


class Guest:
    """Starts QEMU at once. lan=None: no network. nic: more properties of virtio-net-pci, 'vectors=0,...'; nic=None:
    no NIC. root_port: puts the NIC behind a PCIe root port. mmio: microvm without PCI, every device on virtio-mmio, of
    that version (1 or 2). machine may carry options: 'microvm,acpi=off'. netdev, fds: another back end than the LAN's tap.
    esp: a folder that the firmware boots from as a disk, without ip and append.
    paused: the CPU waits for go_on(), so that no QMP event is missed."""

    live = []  # every guest not yet closed, for the report of a failing test

    def __init__(self, lan=None, *, door="pvh", machine="q35", image="release", ip=STATIC_IP, append="", mem=256,
                 cpu="max", nic="", mac=MAC, tap=None, root_port=False, rng=True, debug_exit=True, reboot=False,
                 netdev=None, fds=(), mmio=0, capture=False, paused=False, esp=None, extra=()):
        self.lan, self.door, self.machine = lan, door, machine
        self.boot_timeout = 90 if door == "uefi" else 30
        self.pcap = None
        name = {"release": "barewire", "test": "barewire-test"}[image]
        kernel = BUILD / (name + {"pvh": ".elf", "uefi": ".efi"}[door])
        assert kernel.exists(), f"{kernel} is not built"
        mine, theirs = socket.socketpair()
        self.qmp = Qmp(mine)

        cmd = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-accel", "tcg", "-smp", 1]
        cmd += ["-M", machine + (",pcie=on" if machine == "microvm" and not mmio else ""), "-cpu", cpu, "-m", mem]
        if esp:
            cmd += ["-drive", f"file=fat:{esp},format=raw,if=none,id=esp0,readonly=on", "-device", "virtio-blk-pci,drive=esp0"]
        else:
            cmd += ["-kernel", kernel, "-append", f"{ip} {append}".strip()]
        if door == "uefi":
            cmd += ["-bios", OVMF]
        if paused:
            cmd += ["-S"]
        if not reboot:
            cmd += ["-no-reboot"]
        if debug_exit:
            cmd += ["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]
        if mmio:
            cmd += ["-global", f"virtio-mmio.force-legacy={'true' if mmio == 1 else 'false'}"]
        bus = "device" if mmio else "pci"
        if rng:
            cmd += ["-device", f"virtio-rng-{bus}"]
        if root_port:
            cmd += ["-device", "pcie-root-port,id=rp0,chassis=1,slot=1"]
        if nic is not None and (lan or netdev):
            tap = tap or (lan.taps[0] if lan else None)
            cmd += ["-netdev", netdev or f"tap,id=n0,ifname={tap},script=no,downscript=no"]
            # romfile=: no boot ROM, whose PXE attempts would only cost time.
            cmd += ["-device", ",".join(filter(None, [f"virtio-net-{bus},id=nic0,netdev=n0", f"mac={mac}",
                                                      "" if mmio else "romfile=",
                                                      "bus=rp0" if root_port else "", nic]))]
            if capture:
                with tempfile.NamedTemporaryFile(prefix="barewire-", suffix=".pcap", delete=False) as f:
                    self.pcap = Path(f.name)
                cmd += ["-object", f"filter-dump,id=cap0,netdev=n0,file={self.pcap}"]
        cmd += ["-chardev", f"socket,id=qmp0,fd={theirs.fileno()}", "-mon", "chardev=qmp0,mode=control"]
        cmd += ["-chardev", "stdio,id=ser0,signal=off", "-serial", "chardev:ser0", *extra]
        self.cmd = [str(c) for c in cmd]

        self.errors = tempfile.TemporaryFile()  # pylint: disable=consider-using-with
        spawn = lan.ns.spawn if lan else proc.spawn
        try:
            self.proc = spawn(self.cmd, stdout=subprocess.PIPE, stderr=self.errors,
                              pass_fds=[theirs.fileno(), *fds])
        finally:
            theirs.close()
        self.log = SerialLog(self.proc.stdout.fileno(), self._state)
        Guest.live.append(self)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def _state(self):
        status = self.proc.poll()
        state = "" if status is None else f" (QEMU's status {status})"
        errors = self.qemu_errors().strip()
        return state + (f"\nQEMU says: {errors}" if errors else "")

    def qemu_errors(self):
        """What QEMU wrote to its standard error."""
        self.errors.seek(0)
        return self.errors.read().decode("utf-8", "replace")

    def wait_line(self, pattern, timeout=None, after=0):
        """The match of the first serial line from position `after` on; fails with the log's tail."""
        return self.log.wait(pattern, timeout or self.boot_timeout, after)

    def ready(self, timeout=None, after=0):
        """Waits for the ready line."""
        m = self.wait_line(READY.pattern, timeout, after)
        apps = m["apps"].split(",") if m["apps"] else []
        return Ready(m["ip"], int(m["prefix"]), m["gw"], m["mac"], apps)

    def panic(self, timeout=None):
        """Waits for the panic line; returns its match (groups of PANIC)."""
        return PANIC.match(self.wait_line(PANIC.pattern, timeout).string)

    def panics(self):
        """The panic lines so far."""
        return [m.string for m in self.log.find(PANIC.pattern)]

    def exit_status(self, timeout=None):
        """Waits for QEMU's end; returns its status, with the whole serial output read."""
        try:
            status = self.proc.wait(timeout or self.boot_timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"QEMU did not end within {timeout or self.boot_timeout} s\n{self.log.tail()}") from None
        self.log.join()
        return status

    def alive(self):
        """QEMU runs and there was no panic."""
        return self.proc.poll() is None and not self.panics()

    def go_on(self):
        """Starts the CPU of a guest made with paused=True; from here on QMP events are kept."""
        self.qmp.cmd("cont")

    def power_button(self):
        """Presses the ACPI power button. A quick guest may be off before QEMU has answered."""
        try:
            self.qmp.cmd("system_powerdown")
        except QmpError:
            pass

    def hmp(self, line):
        """A command of QEMU's human monitor."""
        return self.qmp.hmp(line)

    def close(self):
        """Ends QEMU. Idempotent."""
        if self in Guest.live:
            Guest.live.remove(self)
        proc.stop(self.proc)
        self.log.join()
        self.qmp.close()
        self.proc.stdout.close()
        self.errors.close()
        if self.pcap:
            self.pcap.unlink(missing_ok=True)

    def save(self, folder, n):
        """Writes what is known of this guest into folder, for a failing test."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"guest{n}-serial.log").write_bytes(bytes(self.log.raw))
        (folder / f"guest{n}-qemu.txt").write_text(" ".join(self.cmd) + f"\n{self._state()}\n", encoding="utf-8")
        if self.pcap and self.pcap.exists():
            (folder / f"guest{n}.pcap").write_bytes(self.pcap.read_bytes())
