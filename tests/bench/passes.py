"""What is measured, pass by pass. Each function takes a Vm or a Sut and returns plain dicts for the JSON."""
import os
import re
import statistics
import subprocess
import sys
import time

from bench import vm as bench_vm
from bench.vm import Dead, Vm, barewire
from lib import proc
from lib.lan import GUEST_IP

# name -> the load's arguments for n operations. The bulk ones move fewer MiB.
OPERATIONS = {
    "icmp": lambda n: ("icmp_rr", n, 60),
    "tcp1": lambda n: ("tcp_rr", 1, n, 60),
    "tcp1k": lambda n: ("tcp_rr", 1024, n, 60),
    "udp1": lambda n: ("udp_rr", 1, n, 60),
    "crr": lambda n: ("tcp_crr", max(n // 4, 20), 60),
    "http": lambda n: ("http_rr", n, 60),
    "send": lambda n: ("tcp_send", max(n // 16, 16), 60),
    "recv": lambda n: ("tcp_recv", max(n // 16, 16), 60),
    "echo": lambda n: ("echo", 16, 12345),
}
# What a mask switches off, widening from row to row where one feature needs another.
MASKS = {
    "all on": "",
    "no MRG_RXBUF": "virtio_net.mrg_rxbuf=0",
    "no GRO": "virtio_net.gro=0",
    "no GUEST_TSO": "virtio_net.guest_tso=0",
    "no GUEST_CSUM": "virtio_net.guest_tso=0 virtio_net.guest_csum=0",
    "no HOST_TSO": "virtio_net.host_tso=0",
    "no CSUM": "virtio_net.host_tso=0 virtio_net.csum=0",
    "all off": " ".join(f"virtio_net.{f}=0" for f in ("csum", "guest_csum", "host_tso", "guest_tso", "mrg_rxbuf", "event_idx",
                                                      "indirect", "packed", "gro")),
}


def note(text):
    """Progress."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


def attempt(errors, name, function, *args):
    """A measurement that a guest may fail: None then, and the reason kept."""
    try:
        return function(*args)
    except (Dead, AssertionError, subprocess.TimeoutExpired) as e:
        errors[name] = str(e)
        note(f"  {name} failed: {e}")
        return None


# ---- counts ----

def counting_pass(sut, plugin, n, reps):
    """Boot, idle, and each operation: its counters per repetition."""
    with Vm(sut, plugin, settle=0) as vm:
        boot = vm.boot_counters
        # The first thousand operations cost up to 40 % more: caches of the guest's own fill.
        for operation in OPERATIONS.values():
            vm.try_load(*operation(n))
        vm.quiet()
        idle = vm.idle(5)
        result = {"boot": {**boot, "net": boot["insns"] - boot["rep"]}, "idle": {**idle, "net": idle["insns"] - idle["rep"]},
                  "operations": {}, "errors": {}}
        for _ in range(reps):
            for name, operation in OPERATIONS.items():
                if count := attempt(result["errors"], name, vm.count, idle, *operation(n)):
                    result["operations"].setdefault(name, []).append(count)
        return result


def exits_pass(sut):
    """counting_pass with a callback at each access to a device; and the pings of a flood, one after the other and 64 at a
    time."""
    result = counting_pass(sut, ",mmio=on", 250, 1)
    with Vm(sut, ",mmio=on") as vm:
        for name, preload in (("flood", 1), ("flood64", 64)):
            before = vm.counters()
            out, _ = vm.tool("ping", "-n", "-q", "-f", "-l", preload, "-c", 5000, "-w", 30, GUEST_IP)
            after = vm.counters()
            if m := re.search(r" (\d+) received", out):
                result["operations"][name] = [{"raw": {c: (after[c] - before[c]) / int(m[1]) for c in after}}]
            else:
                result["errors"][name] = out.strip()[-200:]
    return result


def boot_pass(sut, plugin=""):
    """Instructions from reset to the first ping reply, or seconds (plugin=None)."""
    with Vm(sut, plugin, settle=0) as vm:
        if plugin is None:
            return vm.boot_seconds
        return vm.boot_counters["insns"] - vm.boot_counters["rep"]


def floor_pass(machine):
    """Seconds from the start of QEMU to the first instruction of a kernel, with the devices that a guest here has."""
    sut = bench_vm.Sut("floor", bench_vm.OUT / "floor.elf", machine)
    lan = bench_vm.bench_lan()
    try:
        cmd, _ = sut.command("tap0", "/dev/null", ["-chardev", "stdio,id=c0,signal=off", "-device", "isa-debugcon,iobase=0xe9,chardev=c0"])
        began = time.monotonic()
        child = lan.ns.spawn(["taskset", "-c", bench_vm.QEMU_CPU, *cmd], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            byte = child.stdout.read(1)
            seconds = time.monotonic() - began
            if byte != b"!":
                raise Dead(f"floor: QEMU ended with {child.wait()}")
            return seconds
        finally:
            proc.stop(child)
            child.stdout.close()
    finally:
        lan.close()


def flat_pass(sut, conns, n):
    """Instructions of a TCP round trip on one of so many connections, each in turn; and of a second with all idle."""
    with Vm(sut, "", settle=0) as vm:
        vm.try_load("tcp_rr", 1, 1000, 20)
        vm.quiet()
        res = vm.load("tcp_many", conns, 1, n, 60, pace=2000, timeout=400)
        raw = dict(zip(bench_vm.COUNTERS, res["ctr"]))
        return {"per_op": (raw["insns"] - raw["rep"] - res["idle_per_s"] * res["window"]) / res["ops"],
                "idle_per_s": res["idle_per_s"], "ram_mib": vm.memory_mib()}


def mask_rates(append, secs):
    """Bulk throughput, MiB/s, with the offloads that a command line leaves."""
    result = {"errors": {}}
    with Vm(barewire(append=append), settle=0) as vm:
        for name in ("send", "recv"):
            kind = OPERATIONS[name](0)[0]
            vm.try_load(kind, 8, 30)
            if res := attempt(result["errors"], name, vm.load, kind, 0, secs):
                result[name] = res["ops"] / res["secs"]
    return result


def mask_counts(append):
    """The same in guest instructions per MiB; the bytes echoed are compared."""
    result = {"errors": {}}
    with Vm(barewire(append=append), "", settle=0) as vm:
        for name in ("send", "recv"):
            vm.try_load(*OPERATIONS[name](256))
        idle = vm.idle(1)
        for name in ("send", "recv", "echo"):
            if count := attempt(result["errors"], name, vm.count, idle, *OPERATIONS[name](512)):
                result[name] = count["net"]
    return result


# ---- wall clock ----

def _flood(vm, secs):
    out, cpu = vm.tool("ping", "-n", "-q", "-f", "-c", "1000000", "-w", str(max(1, round(secs))), GUEST_IP)
    m = re.search(r"(\d+) packets transmitted, (\d+) received.*time (\d+)ms", out)
    if not m or not int(m[2]):
        raise Dead(f"flood: {out.strip()[-200:]}")
    return {"flood_rate": int(m[2]) / (int(m[3]) / 1000), "flood_cpu_us": cpu / int(m[2]) * 1e6}


def _wrk(vm, connections, secs):
    out, cpu = vm.tool("wrk", "-t1", f"-c{connections}", f"-d{max(1, round(secs))}s", f"http://{GUEST_IP}/1k")
    m = re.search(r"(\d+) requests in ([\d.]+)s", out)
    bad = re.search(r"Socket errors:.*|Non-2xx.*", out)
    if not m or not int(m[1]) or bad:
        raise Dead(f"wrk: {bad[0] if bad else out.strip()[-200:]}")
    return {f"http{connections}_rate": int(m[1]) / float(m[2]), f"http{connections}_cpu_us": cpu / int(m[1]) * 1e6}


def _rate(vm, name, *load):
    res = vm.load(*load)
    rates = {f"{name}_rate": res["ops"] / res["secs"], f"{name}_cpu_us": res["cpu"] / res["ops"] * 1e6}
    return {**rates, **({f"{name}_p50_us": res["p50_us"]} if "p50_us" in res else {})}


def timing_pass(sut, secs):
    """Rates, latencies and QEMU's CPU time, without a plugin. Load average: how busy the machine was with others."""
    with Vm(sut) as vm:
        result = {"boot_s": vm.boot_seconds, "loadavg": os.getloadavg()[0], "errors": {}}
        before, began = vm.cpu_seconds(), time.monotonic()
        time.sleep(1)
        result["idle_cpu_pct"] = (vm.cpu_seconds() - before) / (time.monotonic() - began) * 100
        jobs = {"flood": (_flood, vm, secs),
                "icmp": (_rate, vm, "icmp", "icmp_rr", 0, secs), "tcp1": (_rate, vm, "tcp1", "tcp_rr", 1, 0, secs),
                "tcp1k": (_rate, vm, "tcp1k", "tcp_rr", 1024, 0, secs), "udp1": (_rate, vm, "udp1", "udp_rr", 1, 0, secs),
                "crr": (_rate, vm, "crr", "tcp_crr", 5000, secs), "send": (_rate, vm, "send", "tcp_send", 0, secs),
                "recv": (_rate, vm, "recv", "tcp_recv", 0, secs), "echo": (_rate, vm, "echo", "echo", 16, 12345),
                "http1": (_wrk, vm, 1, secs), "http16": (_wrk, vm, 16, secs)}
        for name, job in jobs.items():
            result.update(attempt(result["errors"], name, *job) or {})
        result["ram_mib"] = vm.memory_mib()
        return result


def median(values):
    """Of those there are; None of none."""
    values = [v for v in values if v is not None]
    return statistics.median(values) if values else None
