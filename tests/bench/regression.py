#!/usr/bin/python3
"""What one operation costs, in guest instructions, for the guard in test_regression.py.

    tests/bench/regression.py      (make bench-record) measures and writes regression.json

The figure of an operation is the lowest of some repetitions: whatever a busy machine adds (a late acknowledgement, a
timer) is not the guest's.
"""
import json
import os
import subprocess
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bench.passes import OPERATIONS  # noqa: E402
from bench.vm import Vm, barewire  # noqa: E402
from lib import sandbox  # noqa: E402

RECORD = Path(__file__).with_name("regression.json")
GUARDED = {"icmp": "ICMP echo", "tcp1": "TCP round trip, 1 B", "http": "HTTP GET 1 KiB, keep-alive"}
REPETITIONS, COUNT = 4, 400
PACE_US = 1500  # the guest halts between two operations, so that each one pays for its interrupt


def compiler():
    """What the image is built with, as far as it matters here: `gcc 12.2.0`."""
    cc = os.environ.get("CC", "gcc")
    version = subprocess.run([cc, "-dumpfullversion", "-dumpversion"], check=True, capture_output=True, text=True).stdout
    return f"{Path(cc).name} {version.strip()}"


def measure():
    """{operation: instructions} of the release image on pc."""
    with Vm(barewire(), "") as vm:
        for name in GUARDED:
            vm.load(*OPERATIONS[name](1000))
        idle = min((vm.idle(0.5) for _ in range(3)), key=lambda rates: rates["insns"])
        return {name: min(vm.count(idle, *OPERATIONS[name](COUNT), pace=PACE_US)["net"] for _ in range(REPETITIONS))
                for name in GUARDED}


def main():
    """Records."""
    if why := sandbox.enter() or sandbox.tun_missing():
        sys.exit(f"regression: {why}")
    figures = {name: round(count) for name, count in measure().items()}
    RECORD.write_text(json.dumps({"compiler": compiler(), "instructions": figures}, indent=2) + "\n", encoding="ascii")
    for name, count in figures.items():
        print(f"{GUARDED[name]}: {count:,} guest instructions")
    print(f"written: {RECORD.relative_to(Path.cwd()) if RECORD.is_relative_to(Path.cwd()) else RECORD}")


if __name__ == "__main__":
    main()
