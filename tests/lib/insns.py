"""Which instructions a guest executes, one by one: QEMU logs each translation block, and makes each one instruction."""
import re
import subprocess
from bisect import bisect_right
from contextlib import contextmanager

from lib.guest import BUILD

_TRACE = re.compile(r"^Trace \d+: \S+ \[[0-9a-f]+/([0-9a-f]+)/", re.M)


class Image:
    """The disassembly of a kernel: address -> (mnemonic and operands), and the functions."""

    def __init__(self, name="barewire.elf"):
        out = subprocess.run(["objdump", "-d", "--no-show-raw-insn", BUILD / name], text=True, check=True,
                             stdout=subprocess.PIPE).stdout
        self.insns, self.order, self.functions = {}, [], {}
        for line in out.splitlines():
            if m := re.match(r"([0-9a-f]{16}) <(.+)>:$", line):
                self.functions.setdefault(m[2], int(m[1], 16))
            elif m := re.match(r"\s+([0-9a-f]+):\t(.*)", line):
                self.order.append(int(m[1], 16))
                self.insns[self.order[-1]] = m[2].strip()
        self._starts = sorted((at, name) for name, at in self.functions.items())

    def function_of(self, at):
        """The name of the function in which the address lies."""
        return self._starts[bisect_right(self._starts, (at, "\xff")) - 1][1]

    def next(self, at):
        """The address of the instruction behind this one."""
        return self.order[bisect_right(self.order, at)]


@contextmanager
def logged(guest, file):
    """While this is entered, the guest's instructions go to the file. Yields a function that returns their addresses
    afterwards, a string instruction once, however often it repeats."""
    # QEMU 8.1 has another name for it.
    step = "singlestep" if "unknown command" not in guest.hmp("help singlestep") else "one-insn-per-tb"
    said = guest.hmp(f"{step} on") + guest.hmp(f"logfile {file}") + guest.hmp("log exec,nochain")
    assert not said, said
    seen = []

    def addresses():
        return [a for n, a in enumerate(seen) if not n or a != seen[n - 1]]

    try:
        yield addresses
    finally:
        guest.hmp("log none")
        guest.hmp(f"{step} off")
    seen += (int(m[1], 16) for m in _TRACE.finditer(file.read_text(errors="replace")))
    assert seen, "QEMU logged no instruction"
    file.unlink()


def wakeups(addresses, image):
    """The instructions between one hlt and the next, as lists."""
    runs, run = [], []
    for at in addresses:
        run.append(at)
        if image.insns.get(at, "").startswith("hlt"):
            runs.append(run)
            run = []
    return runs
