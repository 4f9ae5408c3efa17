"""Counts a guest's instructions: a TCG plugin (insn_count.c) adds them up in a file that is mapped here."""
import mmap
import struct
import time
from pathlib import Path

from lib import proc
from lib.wait import wait_until


class Counter:
    """extra: what goes to Guest(extra=...). folder: a directory of the test's own."""

    def __init__(self, folder):
        source, plugin, out = Path(__file__).with_name("insn_count.c"), folder / "insn_count.so", folder / "insn_count"
        proc.check(["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", plugin, source])
        out.write_bytes(bytes(mmap.PAGESIZE))
        with out.open("r+b") as f:
            self._map = mmap.mmap(f.fileno(), mmap.PAGESIZE)
        self.extra = ["-plugin", f"{plugin},out={out}"]

    def read(self):
        """Instructions so far."""
        return struct.unpack_from("=Q", self._map)[0]

    def settled(self):
        """Instructions so far, once the guest has come to rest: between two of its timers' ticks."""
        last = [None]

        def rests():
            before, last[0] = last[0], self.read()
            return before == last[0]

        wait_until(rests, 60, "a guest that rests for 20 ms", every=0.02)
        return last[0]

    def per_second(self, seconds):
        """The guest's rate over that long, in which nobody asks it for anything."""
        began, count = time.monotonic(), self.settled()
        time.sleep(seconds)  # the length of time is what is measured, not a condition
        count = self.settled() - count
        return count / (time.monotonic() - began)

    def of(self, work, idle):
        """Instructions that work() costs, less what an idle guest (idle: per second) would have done meanwhile."""
        began, count = time.monotonic(), self.settled()
        work()
        count = self.settled() - count
        return count - idle * (time.monotonic() - began)

    def close(self):
        """Unmaps."""
        self._map.close()
