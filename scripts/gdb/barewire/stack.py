"""bt-rx and bt-tx: on to the next packet, then the way it came, by name and leaf first."""
import gdb
from gdb.FrameDecorator import FrameDecorator

from barewire.common import Trouble, command, virtnets

RX, TX = ("napi_gro_receive",), ("vp_notify", "vm_notify")
DEEPEST = 256


def names(calls_only=False):
    """The functions of the selected thread's stack, leaf first. calls_only: without what the compiler put into its
    caller, so what a walk along the frame pointers sees."""
    found, frame = [], gdb.newest_frame()
    while frame and len(found) < DEEPEST:
        if not (calls_only and frame.type() == gdb.INLINE_FRAME):
            found.append(frame.name() or f"?? ({frame.pc():#x})")
        older = frame.older()
        if not older and frame.unwind_stop_reason() not in (gdb.FRAME_UNWIND_OUTERMOST, gdb.FRAME_UNWIND_NO_REASON):
            found.append(f"?? ({gdb.frame_stop_reason_string(frame.unwind_stop_reason())})")
        frame = older
    return found


class _InterruptFrame(FrameDecorator):
    """The frame of an interrupt: gdb's own words for it are "<signal handler called>"."""

    def function(self):
        """The name in entry.asm."""
        frame = self.inferior_frame()
        return frame.name() or super().function() if frame.type() == gdb.SIGTRAMP_FRAME else super().function()


class _InterruptFilter:
    """Makes `bt` itself say asm_common_interrupt."""

    def __init__(self):
        self.name, self.priority, self.enabled = "barewire-interrupts", 100, True
        gdb.frame_filters[self.name] = self

    def filter(self, frames):
        """gdb calls this with the frames of a backtrace."""
        return map(_InterruptFrame, frames)


_InterruptFilter()


class _PacketBreakpoint(gdb.Breakpoint):
    """Stops at a function. The doorbell is also rung for receive buffers: there only transmit queues count."""

    def __init__(self, function, condition):
        super().__init__(function, type=gdb.BP_HARDWARE_BREAKPOINT, internal=True)
        self.silent = True
        self.condition = condition
        self.function = function
        self.stopped = False

    def stop(self):
        """gdb asks whether this is it."""
        if self.function in TX:
            vq = int(gdb.selected_frame().read_var("vq"))
            if vq not in [int(sq["vq"]) for _, vi in virtnets() for sq in _queues(vi["sq"])]:
                return False
        self.stopped = True
        return True


def _queues(field):
    return [field[i] for i in range(field.type.range()[1] + 1)]


def existing(functions):
    """Those that the image has."""
    return [f for f in functions if gdb.lookup_global_symbol(f) or gdb.lookup_static_symbol(f)]


def run_to(functions, condition=None):
    """Continues until one of the functions is entered for a packet, with a condition on its parameters."""
    found = existing(functions)
    if not found:
        raise Trouble(f"the image has no function {' or '.join(functions)}")
    breakpoints = [_PacketBreakpoint(f, condition) for f in found]
    try:
        gdb.execute("continue", to_string=True)
        if not gdb.selected_inferior().pid:
            raise Trouble("the guest has ended")
        if not any(b.stopped for b in breakpoints):
            raise Trouble(f"stopped elsewhere, at {gdb.newest_frame().name() or '??'}, before the next packet")
    finally:
        for b in breakpoints:
            b.delete()


def backtrace(default, words):
    """bt-rx and bt-tx."""
    words, condition = list(words), None
    if "if" in words:
        condition = " ".join(words[words.index("if") + 1:])
        words = words[:words.index("if")]
    calls_only = "calls" in words
    if calls_only:
        words.remove("calls")
    if len(words) > 1:
        raise Trouble("one function, please")
    run_to(words or default, condition)
    for name in names(calls_only):
        print(name)


@command("bt-rx")
def bt_rx(*words):
    """bt-rx [FUNCTION] [calls] [if CONDITION]: on to the next packet at napi_gro_receive (or FUNCTION), then the stack.

One name a line, leaf first; `calls` leaves out functions that the compiler merged into their callers."""
    backtrace(RX, words)


@command("bt-tx")
def bt_tx(*words):
    """bt-tx [FUNCTION] [calls] [if CONDITION]: on to the next doorbell of a transmit queue (or FUNCTION), then the stack.

One name a line, leaf first; `calls` leaves out functions that the compiler merged into their callers."""
    backtrace(TX, words)
