#!/usr/bin/python3
"""Where the instructions of one operation go, function by function and layer by layer.

    tests/bench/profile.py ping|tcp|tcp1k|udp|http|connect|discard|chargen|echo|idle [-n N] [--append WORDS] [--machine pc]
                           [--top 40] [--code FUNCTION]

A QEMU plugin counts executed instructions by address; the image's own symbols and line numbers name them. What the guest
does anyway meanwhile (its timers) is subtracted. `make bench-tools` builds what it needs.
"""
import argparse
import array
import bisect
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from bench.vm import OUT, Vm, barewire  # noqa: E402
from lib import sandbox  # noqa: E402

# name -> the load for n operations, and what one is
LOADS = {
    "ping": (lambda n: ("icmp_rr", n, 60), 1000, "ICMP echo"),
    "tcp": (lambda n: ("tcp_rr", 1, n, 60), 1000, "TCP round trip of 1 B"),
    "tcp1k": (lambda n: ("tcp_rr", 1024, n, 60), 1000, "TCP round trip of 1 KiB"),
    "udp": (lambda n: ("udp_rr", 1, n, 60), 1000, "UDP round trip of 1 B"),
    "http": (lambda n: ("http_rr", n, 60), 1000, "HTTP request of 1 KiB"),
    "connect": (lambda n: ("tcp_crr", n, 60), 250, "TCP connect, 1 B each way, close"),
    "discard": (lambda n: ("tcp_send", n, 60), 64, "MiB host to guest"),
    "echo": (lambda n: ("echo", n, 12345), 16, "MiB echoed"),
    "idle": (lambda n: ("idle", n), 10, "idle second"),
    "chargen": (lambda n: ("tcp_recv", n, 60), 64, "MiB guest to host"),
}
LAYERS = [  # the first that the source's path begins with
    ("lwip/", "lwIP"), ("net/lwip/", "lwIP's glue"), ("net/", "net: devices, queues"), ("drivers/net/", "virtio-net driver"),
    ("drivers/virtio/", "virtio ring and transport"), ("drivers/", "other drivers"), ("apps/", "apps"),
    ("kernel/x86/", "interrupts and CPU"), ("kernel/lib/", "memcpy and its like"), ("kernel/", "kernel: softirq, time, memory"),
]


class Image:
    """The image's functions, with the layer each one is of."""

    def __init__(self, elf):
        self.elf = elf
        self.starts, self.names, self.layers = [], [], []
        out = subprocess.run(["nm", "-n", "-l", elf], check=True, capture_output=True, text=True).stdout
        self.base = self.end = None
        for line in out.splitlines():
            m = re.match(r"([0-9a-f]+) ([tT]) (\S+)(?:\t(\S+):\d+)?", line)
            if m and not m[3].startswith("."):
                self.starts.append(int(m[1], 16))
                self.names.append(m[3])
                # The assembler writes no line numbers; of its functions only the interrupts' run in an operation.
                self.layers.append(self.layer(m[4] or ("kernel/x86/" if m[3].startswith("asm_") else "")))
        self.base, self.end = self.starts[0] & ~0xFFF, (self.starts[-1] + 0x2000) & ~0xFFF

    @staticmethod
    def layer(path):
        """By the source's path, as the compiler knew it."""
        path = re.sub(r"^(\./)?(build/)?(?=lwip/)|^\./", "", path)
        return next((name for start, name in LAYERS if path.startswith(start)), "other")

    def by_function(self, counts):
        """{(function, layer): instructions} of counts per address; the last one is everything outside of the image."""
        sums = defaultdict(float)
        for offset, count in enumerate(counts[:-1]):
            if count:
                n = bisect.bisect_right(self.starts, self.base + offset) - 1
                sums[(self.names[n], self.layers[n])] += count
        if counts[-1]:
            sums[("(firmware)", "other")] += counts[-1]
        return sums


class Profiler:
    """One guest with the plugin; measure() may be called again and again."""

    def __init__(self, machine="pc", append=""):
        self.image = Image(barewire().kernel)
        self.vm = Vm(barewire(machine, append), lambda out: f"{OUT}/insnprof.so,out={out},base={self.image.base:#x},"
                                                            f"end={self.image.end:#x}")

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.vm.close()

    def _snapshot(self):
        counts = array.array("Q")
        counts.frombytes(self.vm.counter_file.read_bytes())
        return counts

    def _run(self, *load, pace=2000):
        """The load's result, and the counts between its two holds."""
        cmd, env = self.vm.load_command(*load, pace=pace, BENCH_HOLD="1")
        child = self.vm.lan.ns.spawn(cmd, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        with child:
            shots = []
            for line in child.stdout:
                if line.strip() != "hold":
                    result = line
                    break
                shots.append(self._snapshot())
                child.stdin.write("\n")
                child.stdin.flush()
            else:
                result = "no result"
        m = re.search(r'"ops": ([\d.]+).*"window": ([\d.]+)', result)
        assert m and len(shots) == 2, f"{' '.join(map(str, load))}: {result}"
        return float(m[1]), float(m[2]), [after - before for before, after in zip(*shots)]

    def measure(self, what, n=None):
        """[(function, layer, instructions per operation)], the dearest first."""
        load, usual, _ = LOADS[what]
        self.vm.load(*load(n or usual) if what != "idle" else ("idle", 5))
        _, idle_window, idle = self._run("idle", 2)
        ops, window, counts = self._run(*load(n or usual))
        share = window / idle_window if what != "idle" else 0
        self.counts = [(c - i * share) / ops for c, i in zip(counts, idle)]
        sums = self.image.by_function(self.counts)
        return sorted(((f, layer, c) for (f, layer), c in sums.items() if c >= 0.05), key=lambda row: -row[2])


def by_layer(rows):
    """[(layer, instructions)], the dearest first."""
    sums = defaultdict(float)
    for _, layer, count in rows:
        sums[layer] += count
    return sorted(sums.items(), key=lambda item: -item[1])


def markdown(what, rows, top):
    """Two tables."""
    total = sum(count for _, _, count in rows)
    title = LOADS[what][2]
    out = [f"### One {title}: {total:,.0f} instructions", "", "| layer | instructions | share |", "| --- | ---: | ---: |"]
    out += [f"| {layer} | {count:,.0f} | {count / total:.1%} |" for layer, count in by_layer(rows)]
    out += ["", "| function | layer | instructions |", "| --- | --- | ---: |"]
    out += [f"| `{name}` | {layer} | {count:,.1f} |" for name, layer, count in rows[:top]]
    if rest := sum(count for _, _, count in rows[top:]):
        out += [f"| {len(rows) - top} more | | {rest:,.1f} |"]
    return "\n".join(out)


def show_code(profiler, function):
    """A function's instructions, each with how often it runs in one operation."""
    out = subprocess.run(["objdump", "-dl", "--no-show-raw-insn", f"--disassemble={function}", profiler.image.elf], check=True,
                         capture_output=True, text=True).stdout
    for line in out.splitlines():
        m = re.match(r"\s*([0-9a-f]+):\t", line)
        at = int(m[1], 16) - profiler.image.base if m else -1
        if 0 <= at < len(profiler.counts):
            print(f"{profiler.counts[at]:9.2f} {line.strip()}")
        elif line.strip():
            print(f"{'':9} {line.strip()}")


def main():
    """One profile on standard output."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=LOADS)
    parser.add_argument("-n", type=int, help="operations")
    parser.add_argument("--machine", default="pc")
    parser.add_argument("--append", default="", help="more words for the kernel")
    parser.add_argument("--top", type=int, default=40, help="functions shown")
    parser.add_argument("--code", metavar="FUNCTION", help="its instructions as well")
    args = parser.parse_args()
    if why := sandbox.enter() or sandbox.tun_missing():
        sys.exit(f"profile: {why}")
    if not (OUT / "insnprof.so").exists():
        sys.exit("profile: build/bench/insnprof.so is not built: make bench-tools")
    with Profiler(args.machine, args.append) as profiler:
        print(markdown(args.what, profiler.measure(args.what, args.n), args.top))
        if args.code:
            print()
            show_code(profiler, args.code)


if __name__ == "__main__":
    main()
