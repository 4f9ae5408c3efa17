#!/usr/bin/python3
"""make bench: Barewire beside a Linux guest, in counts of guest instructions and exits and in time.

    tests/bench/bench.py [--quick] [--peer DIR]... [--rounds 3] [--secs 1.5]

The results go to build/bench/: results.md, results.json, *.svg. --quick: counts of Barewire only. --peer: somebody else's
guest as well, a folder with an executable `start` (tests/bench/vm.py: Sut). docs/performance.md explains the figures.
"""
import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True
sys.path[0] = str(Path(__file__).resolve().parents[1])

from bench import passes, profile, report  # noqa: E402
from bench.passes import MASKS, attempt, note  # noqa: E402
from bench.vm import OUT, barewire, linux, peer  # noqa: E402
from lib import sandbox  # noqa: E402

CONNECTIONS = [1, 10, 100, 1000, 10000]
MICROVM = "microvm,pcie=on"


def first_line(*cmd):
    """A program's version."""
    return subprocess.run(cmd, check=True, capture_output=True, text=True).stdout.splitlines()[0]


class Bench:
    """The passes in order; every result goes to the JSON at once."""

    def __init__(self, suts, args):
        self.suts, self.args, self.began = suts, args, time.monotonic()
        self.data = {"suts": [s.name for s in suts], "started": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
                     "qemu": first_line("qemu-system-x86_64", "--version"), "compiler": first_line("gcc", "--version"),
                     "loadavg": [os.getloadavg()[0]] * 2, "count": {}, "exits": {}, "time": {}, "boot_microvm": [], "boot_s": {},
                     "flat": {}, "masks": {}, "profile": {}, "errors": {}}

    def run(self, what, function, *args):
        """One measurement with a line of progress; None if it failed."""
        note(f"{time.monotonic() - self.began:4.0f} s: {what}")
        value = attempt(self.data["errors"], what, function, *args)
        self.save()
        return value

    def save(self):
        """The JSON as it is so far."""
        self.data["loadavg"][1] = os.getloadavg()[0]
        (OUT / "results.json").write_text(json.dumps(self.data, indent=1), encoding="utf-8")

    def in_turn(self, kind, rounds, function, *args):
        """Every SUT once per round: A B A B."""
        for n in range(rounds):
            for sut in self.suts:
                if value := self.run(f"{kind}, round {n + 1} of {rounds}: {sut.name}", function, sut, *args):
                    self.data[kind].setdefault(sut.name, []).append(value)

    def counts(self):
        """Instructions; and of a boot on microvm."""
        a = self.args
        self.in_turn("count", a.count_rounds, passes.counting_pass, "", a.n, a.count_reps)
        for n in range(5):
            if value := self.run(f"boot, {n + 1} of 5: {MICROVM}", passes.boot_pass, barewire(MICROVM)):
                self.data["boot_microvm"].append(value)

    def boots(self):
        """Seconds, in turn with a kernel that does nothing."""
        for machine in ("pc", MICROVM):
            rows = self.data["boot_s"][machine] = {"floor": [], "Barewire": []}
            for n in range(5):
                for name, job in (("floor", (passes.floor_pass, machine)), ("Barewire", (passes.boot_pass, barewire(machine), None))):
                    if value := self.run(f"boot in seconds, {n + 1} of 5: {name} on {machine}", *job):
                        rows[name].append(value)

    def flat(self):
        """Cost against the number of connections."""
        for sut in self.suts:
            for conns in CONNECTIONS:
                if value := self.run(f"{conns} connections: {sut.name}", passes.flat_pass, sut, conns, 1000):
                    self.data["flat"].setdefault(sut.name, []).append([conns, value])

    def masks(self):
        """Each offload's effect."""
        rows = self.data["masks"] = {mask: {"counts": {}, "rates": []} for mask in MASKS}
        for mask, append in MASKS.items():
            if value := self.run(f"offloads, counts: {mask}", passes.mask_counts, append):
                rows[mask]["counts"] = value
        for n in range(self.args.rounds):
            for mask, append in MASKS.items():
                if value := self.run(f"offloads, round {n + 1} of {self.args.rounds}: {mask}", passes.mask_rates, append, 1):
                    rows[mask]["rates"].append(value)

    def profiles(self):
        """One ping and one HTTP request."""
        def measure(what):
            with profile.Profiler() as profiler:
                return profiler.measure(what)

        for what in ("ping", "http"):
            if rows := self.run(f"profile: {what}", measure, what):
                self.data["profile"][what] = rows

    def finish(self):
        """Tables to standard output, and all of it into files."""
        self.save()
        text = report.markdown(self.data)
        (OUT / "results.md").write_text(text, encoding="utf-8")
        for name, svg in report.plots(self.data).items():
            (OUT / name).write_text(svg, encoding="utf-8")
        print(text)
        note(f"{time.monotonic() - self.began:.0f} s in all; {os.path.relpath(OUT)}/: results.md results.json "
             + " ".join(sorted(p.name for p in OUT.glob("*.svg"))))


def arguments():
    """Of the command line; QUICK and PEERS are make's way to say the same."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", default=os.environ.get("QUICK", "") not in ("", "0"))
    parser.add_argument("--peer", action="append", default=os.environ.get("PEERS", "").split(), metavar="DIR")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of timings")
    parser.add_argument("--secs", type=float, default=1.5, help="length of each timed test")
    parser.add_argument("--count-rounds", type=int, default=2, help="boots for counts")
    parser.add_argument("--count-reps", type=int, default=2, help="repetitions within each of those")
    parser.add_argument("--n", type=int, default=1000, help="operations per count")
    args = parser.parse_args()
    if args.quick:
        args.count_rounds, args.n = 1, 500
    return args


def interrupt(*_):
    """SIGTERM unwinds like Ctrl-C, so that guests are ended."""
    raise KeyboardInterrupt


def main():
    """Status 1 if anything could not be measured."""
    args = arguments()
    signal.signal(signal.SIGTERM, interrupt)
    if why := sandbox.enter() or sandbox.tun_missing():
        sys.exit(f"bench: {why}")
    OUT.mkdir(parents=True, exist_ok=True)
    for stale in OUT.glob("*.svg"):
        stale.unlink()
    bench = Bench([barewire()] if args.quick else [barewire(), linux(), *map(peer, args.peer)], args)
    bench.counts()
    if not args.quick:
        bench.in_turn("exits", 1, passes.exits_pass)
        bench.boots()
        bench.in_turn("time", args.rounds, passes.timing_pass, args.secs)
        bench.flat()
        bench.masks()
    bench.profiles()
    bench.finish()
    return 1 if report.errors(bench.data) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
