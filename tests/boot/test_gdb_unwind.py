"""gdb unwinds through entry.asm at every single instruction, by the call frame information that kernel/x86/cfi.inc writes:
the frame above the assembly is the interrupted one, with every register that it had."""
import json
import re
import subprocess
import threading

import pytest

from lib import gdb, proc

# Stopped at a stub's first instruction, with `error_code` bytes on top of the CPU's frame. Steps to the iretq and over it. The
# C function that the assembly calls is run through, or, if it does not return, left out.
STEPS = """
python
import json, struct
REGISTERS = "rax rbx rcx rdx rsi rdi rbp r8 r9 r10 r11 r12 r13 r14 r15".split()
frame = gdb.newest_frame()
top = int(frame.read_register("rsp")) + error_code
rip, cs, flags, rsp, ss = struct.unpack("<5Q", bytes(gdb.selected_inferior().read_memory(top, 40)))
truth = {r: int(frame.read_register(r)) & (1 << 64) - 1 for r in REGISTERS}
truth.update(rip=rip, rsp=rsp, eflags=flags)
log = []

def stack():
    found, frame = [], gdb.newest_frame()
    while frame:
        found.append(frame.name() or "??")
        frame = frame.older()
    return found

def assembly(frame):
    return bool(frame) and (frame.name() or "").startswith(("asm_", "irq_entries"))

def look():
    frame = gdb.newest_frame()
    while not assembly(frame):
        frame = frame.older()
    above = frame.older()
    got = {r: int(above.read_register(r)) & (1 << 64) - 1 for r in truth}
    wrong = {r: [hex(got[r]), hex(truth[r])] for r in truth if got[r] != truth[r]}
    log.append([gdb.execute("x/i $pc", to_string=True).strip(), stack(), wrong])

while assembly(gdb.newest_frame()):
    look()
    if "call" not in log[-1][0]:
        gdb.execute("stepi", to_string=True)
        continue
    back = int(gdb.parse_and_eval("$pc")) + 5
    if returns:
        gdb.execute("stepi", to_string=True)
        look()
        gdb.execute(f"thbreak *{back}", to_string=True)
        gdb.execute("continue", to_string=True)
    else:
        gdb.execute(f"set $pc = {back}")
end_at = gdb.newest_frame()
log.append(["after iretq", stack(), {r: [hex(int(end_at.read_register(r)) & (1 << 64) - 1), hex(truth[r])] for r in truth
            if int(end_at.read_register(r)) & (1 << 64) - 1 != truth[r]}])
print("LOG " + json.dumps(log))
"""


@pytest.fixture
def stub():
    """A place for a guest to listen at."""
    s = gdb.Stub()
    yield s
    s.close()


def walk(stub, tmp_path, before, error_code, returns):
    """Runs the commands in `before`, which stop at a stub, then STEPS. Returns its log: instruction, stack, registers that are
    wrong."""
    script = tmp_path / "steps"
    lines = STEPS.replace("import json", f"error_code, returns = {error_code}, {returns}\nimport json", 1)
    script.write_text(before + lines + "end\n", encoding="ascii")
    out = gdb.run(stub, f"source {script}")[0]
    m = re.search(r"^LOG (.*)$", out, re.M)
    assert m, out
    return json.loads(m[1])


def check(log, pushes, interrupted=None):
    """Every instruction was seen, and the stack and the registers above were right at each."""
    assembly = [insn for insn, stack, _ in log if stack[0].startswith(("asm_", "irq_entries"))]
    assert sum("push" in insn for insn in assembly) == pushes and "iret" in assembly[-1], assembly
    for insn, stack, wrong in log:
        assert not wrong, f"{insn}: {wrong} (found, right)"
        assert "??" not in stack and stack[-2:] == ["start_kernel", "pvh_start"], f"{insn}: {stack}"
        assert interrupted is None or stack[-len(interrupted):] == interrupted, f"{insn}: {stack}"


@pytest.mark.parametrize("stop", [
    # The vector of the NIC's queue, then the stub of that vector.
    "hbreak common_interrupt\ncontinue\nset $at = (long)&irq_entries_start + ($rdi - 32) * 16\ndelete\nhbreak *$at\ncontinue\n",
    "hbreak *(long)&asm_sysvec_apic_timer_interrupt\ncontinue\n"], ids=["device", "timer"])
def test_interrupt(lan, boot, stub, tmp_path, stop):
    """From the first instruction of the stub to the iretq and behind it, out of the idle loop."""
    g = boot(lan, image="test", extra=stub.qemu)
    g.ready()
    # Answers wake a timer too: the one that looks after what was sent.
    ping = lan.ns.spawn(["ping", "-n", "-i", "0.5", "10.0.2.2"], stdout=subprocess.DEVNULL)
    try:
        log = walk(stub, tmp_path, stop + "delete\n", 0, True)
    finally:
        proc.stop(ping)
    check(log, 10)
    # Once, in C, with the assembly in between.
    assert [stack for insn, stack, _ in log if stack[0] in ("common_interrupt", "sysvec_apic_timer_interrupt")]
    assert g.alive()


@pytest.mark.parametrize("case,entry,error_code", [
    ("divide", "asm_exc_divide_error", 0), ("null_read", "asm_exc_page_fault", 8), ("undefined", "asm_exc_invalid_op", 0),
    ("noncanonical", "asm_exc_general_protection", 8)])
def test_exception(boot, stub, tmp_path, case, entry, error_code):
    """The same for exceptions, with an error code and without, on the interrupted stack and on one of their own (#PF). Since
    do_exception() does not return from these, its call is left out."""
    g = boot(image="test", append=f"crash={case}", extra=stub.qemu, paused=True)
    stop = f"hbreak *(long)&{entry}\ncontinue\ndelete\n"
    log = walk(stub, tmp_path, stop, error_code, False)
    check(log, 16 if error_code else 17)
    assert all(f"crash_{case}" in stack for _, stack, _ in log), log
    g.close()


def test_breakpoint(lan, boot, stub, tmp_path):
    """The same for the one exception that returns: a breakpoint of the kernel's own, which /stack sets (apps/diag)."""
    g = boot(lan, image="test", append="diag", extra=stub.qemu)
    g.ready()
    end, answers = threading.Event(), []

    def ask():  # again and again: the first may have its answer before gdb looks
        while not end.is_set():
            answers.append(lan.ns.run(["curl", "-s", "-m", "60", "http://10.0.2.2:9100/stack/icmp_input"], 90).stdout)

    ping = lan.ns.spawn(["ping", "-n", "-i", "0.2", "10.0.2.2"], stdout=subprocess.DEVNULL)
    asking = threading.Thread(target=ask)
    asking.start()
    try:
        log = walk(stub, tmp_path, "hbreak *(long)&asm_exc_debug\ncontinue\ndelete\n", 0, True)
    finally:
        end.set()
        asking.join()
        proc.stop(ping)
    resume = 0x10000  # RF: go on behind the breakpoint
    for _, _, wrong in log:
        if "eflags" in wrong and int(wrong["eflags"][0], 0) == int(wrong["eflags"][1], 0) | resume:
            del wrong["eflags"]
    check(log, 17)
    assert all("icmp_input" in stack for _, stack, _ in log)
    assert all(text.startswith("[0] icmp_input\n") for text in answers), answers
    assert g.alive()
