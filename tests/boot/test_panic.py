"""Every class of fault reaches the serial port decoded, and ends QEMU with the status of its class."""
import re
import time

import pytest

from lib import guest as q

# case: vector, error code, exit status. None: not an exception the panic line decodes, or not predictable.
PF, GP, UD, DE, DF = 14, 13, 6, 0, 8
FAULTS = {
    "write_text": (PF, 3, q.EXCEPTION),
    "write_rodata": (PF, 3, q.EXCEPTION),
    "exec_data": (PF, 0x11, q.EXCEPTION),
    "exec_bss": (PF, 0x11, q.EXCEPTION),
    "exec_stack": (PF, 0x11, q.EXCEPTION),
    "exec_heap": (PF, 0x11, q.EXCEPTION),
    "null_read": (PF, 0, q.EXCEPTION),
    "null_write": (PF, 2, q.EXCEPTION),
    "null_call": (PF, 0x10, q.EXCEPTION),
    "divide": (DE, 0, q.EXCEPTION),
    "undefined": (UD, 0, q.EXCEPTION),
    "noncanonical": (GP, 0, q.EXCEPTION),
    "stack_overflow": (None, None, q.GUARD_PAGE),
    "stack_smash": (None, None, q.CANARY),
    "df_nested": (DF, 0, q.GUARD_PAGE),
    "assert": (None, None, q.ASSERTION),
    "oom_fatal": (None, None, q.ASSERTION),
    "ubsan_overflow": (None, None, q.UBSAN),
    "ubsan_shift": (None, None, q.UBSAN),
    "ubsan_bounds": (None, None, q.UBSAN),
}
FRAME = re.compile(r"\b([A-Za-z_][\w.]*)\+0x[0-9a-f]+")


def check_report(g, case):
    """The panic line and what follows it."""
    vec, err, status = FAULTS[case]
    line = g.panic()
    assert g.exit_status(20) == status, g.log.tail()
    assert len(g.panics()) == 1, "one panic, not a panic within a panic"
    after = g.log.lines[next(n for n, text in enumerate(g.log.lines) if text == line.string):]
    frames = [m[1] for text in after[1:] for m in FRAME.finditer(text)]
    assert len(frames) >= 3, f"at least three symbolized frames: {after}"
    assert any(name.split(".")[0] == f"crash_{case}" for name in frames), f"the culprit is named: {after}"
    assert any(re.search(r"\bRAX: [0-9a-f]{16}\b", text) for text in after), "registers"
    if vec is not None:
        assert line["vec"] is not None, f"no vec= err= cr2= rip= in {line.string!r}"
        assert int(line["vec"], 0) == vec, line.string
        assert int(line["err"], 0) == err, line.string
        if case.startswith("null_"):
            assert int(line["cr2"], 0) < 4096, line.string
        if case in ("write_text", "write_rodata", "null_read", "null_write", "divide", "undefined", "noncanonical"):
            name = FRAME.match(line["rip"])
            assert name and name[1] == f"crash_{case}", f"rip= names the function that faulted: {line.string!r}"
    if case == "stack_overflow":
        assert "stack" in line["reason"], f"the reason names the stack: {line.string!r}"
    return line


@pytest.mark.parametrize("case", FAULTS)
def test_panic_pvh(boot, case):
    """By PVH on q35."""
    check_report(boot(None, image="test", append=f"crash={case}"), case)


# Some through the other doors; the page tables and the IDT are the same code everywhere.
@pytest.mark.parametrize("case", ["write_text", "stack_overflow"])
@pytest.mark.parametrize("door,machine", [("uefi", "q35"), ("pvh", "pc"), ("pvh", "microvm")])
def test_panic_doors(boot, door, machine, case):
    """Through the other doors."""
    check_report(boot(None, image="test", door=door, machine=machine, append=f"crash={case}"), case)


@pytest.mark.parametrize("case", ["write_text", "exec_data", "null_read", "stack_overflow", "divide"])
def test_panic_plain_cpu(boot, case):
    """The same protection on a CPU with nothing but NX."""
    check_report(boot(None, image="test", cpu="qemu64", append=f"crash={case}"), case)


@pytest.mark.parametrize("case", ["assert", "divide"])
def test_panic_at_loglevel_0(boot, case):
    """A panic is printed at every loglevel."""
    check_report(boot(None, image="test", append=f"loglevel=0 crash={case}"), case)


def test_release_image_does_not_crash_on_request(lan, boot):
    """crash= is a word of test images only."""
    g = boot(lan, append="crash=divide")
    g.ready()
    assert g.alive()


@pytest.mark.parametrize("machine", ["pc", "q35", "microvm"])
def test_panic_resets(boot, machine):
    """panic=-1 (the default) resets at once: with -no-reboot QEMU ends, with status 0."""
    g = boot(None, image="test", machine=machine, debug_exit=False, paused=True, append="crash=divide")
    g.go_on()
    g.panic()
    assert g.qmp.wait_event("SHUTDOWN")["data"]["reason"] == "guest-reset"
    assert g.exit_status(20) == 0


@pytest.mark.parametrize("machine", ["pc", "q35", "microvm"])
def test_panic_comes_back(boot, machine):
    """Where a reset is allowed, the guest boots again after a panic."""
    g = boot(None, image="test", machine=machine, debug_exit=False, reboot=True, append="crash=divide")
    g.panic()
    first = g.log.mark()
    g.wait_line(r"^barewire: \S+ booted by pvh$", after=first)


def test_panic_after_seconds(boot):
    """panic=2 waits two seconds before the reset."""
    # Counted from before the boot: on a busy machine the panic line may reach us late.
    began = time.monotonic()
    g = boot(None, image="test", debug_exit=False, append="crash=divide panic=2")
    g.panic()
    assert g.exit_status(20) == 0
    assert time.monotonic() - began >= 2


def test_panic_halts(boot):
    """panic=0 halts: the machine stays, and stays silent."""
    g = boot(None, image="test", debug_exit=False, append="crash=divide panic=0")
    g.panic()
    # Two seconds in which nothing must happen: no end, no second report.
    try:
        g.exit_status(2)
    except AssertionError:
        pass
    else:
        raise AssertionError("the guest did not halt")
    assert len(g.panics()) == 1
    assert "HLT=1" in g.hmp("info registers"), "halted, not spinning"
