"""W^X, the null page and user pages: by QEMU's own walk of the guest's page tables and in the files."""
import re

import pytest

from lib import proc
from lib.guest import ASSERTION, BUILD

TLB_LINE = re.compile(r"^([0-9a-f]{16}): ([0-9a-f]{16}) ([XGPDACTUW-]{9})\s*$")


@pytest.mark.parametrize("door,machine,cpu", [
    ("pvh", "q35", "max"), ("pvh", "pc", "max"), ("pvh", "microvm", "max"), ("uefi", "q35", "max"), ("pvh", "q35", "qemu64")])
def test_page_tables(lan, boot, door, machine, cpu):
    """No page is writable and executable, none is the user's, page 0 is not mapped."""
    g = boot(lan, door=door, machine=machine, cpu=cpu)
    g.ready()
    assert g.log.find(r"WX pages: 0, user pages: 0, null mapped: no$"), "the guest's own claim, checked here from outside"
    maps = [TLB_LINE.match(line.strip("\r")) for line in g.hmp("info tlb").splitlines() if line.strip()]
    assert all(maps), "info tlb changed its form"
    pages = [(int(m[1], 16), int(m[2], 16), m[3]) for m in maps]
    executable = [p for p in pages if p[2][0] == "-"]
    writable = [p for p in pages if p[2][8] == "W"]
    assert executable and writable, "something runs and something is written"
    assert not [p for p in executable if p[2][8] == "W"], "writable and executable"
    assert not [p for p in pages if p[2][7] == "U"], "user pages"
    assert not [p for p in pages if p[0] == 0], "page 0 is mapped"
    # No second, writable view of what is executable.
    code = {p[1] for p in executable}
    assert not [hex(p[1]) for p in writable if p[1] in code], "code is writable at another address"


def test_control_registers(lan, boot):
    """CR0.WP, EFER.NXE and, since -cpu max has them, SMEP, SMAP and UMIP."""
    g = boot(lan)
    g.ready()
    regs = g.hmp("info registers")
    cr0, cr4, efer = (int(re.search(rf"{r}=([0-9a-f]+)", regs)[1], 16) for r in ("CR0", "CR4", "EFER"))
    assert cr0 & 1 << 16, "CR0.WP"
    assert efer & 1 << 11, "EFER.NXE"
    assert cr4 & 1 << 20 and cr4 & 1 << 21 and cr4 & 1 << 11, f"SMEP, SMAP, UMIP in CR4={cr4:#x}"


def test_without_nx(boot):
    """A CPU that cannot keep data from being executed is refused with a clear line."""
    g = boot(cpu="max,-nx")
    assert "NX" in g.panic()["reason"]
    assert g.exit_status() == ASSERTION


@pytest.mark.parametrize("name", ["barewire.elf", "barewire-test.elf"])
def test_elf_segments(name):
    """No segment is writable and executable, the stack is not executable, and there is a PVH note."""
    out = proc.check(["readelf", "-lWn", BUILD / name])
    segments = re.findall(r"^\s+(\w+)\s+0x\w+ 0x\w+ 0x\w+ 0x\w+ 0x\w+ ([RWE ]{3}) ", out, re.M)
    assert any(kind == "LOAD" and "E" in flags for kind, flags in segments), out
    assert not [s for s in segments if "W" in s[1] and "E" in s[1]], out
    assert "Xen" in out


@pytest.mark.parametrize("name", ["barewire.efi", "barewire-test.efi"])
def test_efi_sections(name):
    """No section of the UEFI application is writable and executable."""
    data = (BUILD / name).read_bytes()
    pe = int.from_bytes(data[0x3C:0x40], "little")
    assert data[:2] == b"MZ" and data[pe:pe + 4] == b"PE\0\0"
    count = int.from_bytes(data[pe + 6:pe + 8], "little")
    table = pe + 24 + int.from_bytes(data[pe + 20:pe + 22], "little")
    assert int.from_bytes(data[pe + 24 + 68:pe + 24 + 70], "little") == 10, "subsystem: EFI application"
    flags = [int.from_bytes(data[table + 40 * n + 36:table + 40 * n + 40], "little") for n in range(count)]
    execute, write = 0x20000000, 0x80000000
    assert any(f & execute for f in flags)
    assert not [hex(f) for f in flags if f & execute and f & write]
