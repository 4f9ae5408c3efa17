"""gdb, driven as `make gdb` drives it: a batch of commands for a guest that listens on a socket of its own."""
import shutil
import tempfile
from pathlib import Path

from lib import proc
from lib.guest import BUILD, ROOT
from lib.wait import wait_until


class Stub:
    """Where a guest listens for gdb: Guest(..., extra=stub.qemu). A socket's path must be short, so not in tmp_path."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="bwgdb-"))
        self.path = self.folder / "s"
        self.qemu = ("-gdb", f"unix:{self.path},server=on,wait=off")

    def close(self):
        """Takes the folder away."""
        shutil.rmtree(self.folder, ignore_errors=True)


def start(image="test"):
    """The beginning of a command line: gdb with the image's symbols and the tree's commands."""
    name = {"release": "barewire", "test": "barewire-test"}[image]
    return ["gdb", "-q", "-nh", "-batch", "-iex", "set auto-load local-gdbinit off", BUILD / f"{name}.elf", "-x", ".gdbinit"]


def run(stub, *commands, image="test", timeout=60):
    """Commands one after the other on the stopped guest, which goes on when gdb has ended. Returns what each of them
    printed, as a list of texts. No command may end in a Python traceback or without an answer."""
    wait_until(stub.path.exists, 30, "QEMU listens for gdb")
    cmd = start(image) + ["-ex", f"target remote {stub.path}"]
    for n, command in enumerate(commands):
        cmd += ["-ex", rf"echo \n<<{n}>>\n", "-ex", command]
    res = proc.run([*cmd, "-ex", r"echo \n<<end>>\n"], timeout, cwd=ROOT)
    assert "<<end>>" in res.stdout and "Traceback" not in res.stdout and "Python Exception" not in res.stdout, res.stdout
    parts = res.stdout.split("\n<<")[1:]
    return [part.split(">>\n", 1)[1].strip("\n") for part in parts[:-1]]
