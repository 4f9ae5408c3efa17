/*
 * The CPU's four debug registers as breakpoints on functions (SDM vol. 3B, "Debug Registers"). The
 * code is not touched, so .text stays read-only, and a breakpoint that is not set costs nothing.
 */
#ifndef KERNEL_X86_HW_BREAKPOINT_H
#define KERNEL_X86_HW_BREAKPOINT_H

#include "kernel/lib/types.h"

struct pt_regs;

#define NR_HW_BREAKPOINTS 4

/* On the way from the CPU's exception to hw_breakpoint_handle(): a breakpoint there would never
 * end. (Linux's name; entry.asm is as a whole.) */
#define noinstr noinline __attribute__((section(".noinstr.text")))

/*
 * hit is called when the CPU is about to execute the instruction at addr, with the registers of
 * that moment, in whatever context that is, with interrupts off: it may look, and call what any
 * context may. True: that was all, and the breakpoint is gone; false: it stays. Returns the slot,
 * or -EBUSY: all are in use, or -EINVAL: not there, it is where breakpoints are handled (noinstr).
 * Task or softirq context.
 */
int hw_breakpoint_install(u64 addr, bool (*hit)(void *ctx, const struct pt_regs *regs), void *ctx);
/* Takes away one that is still there. */
void hw_breakpoint_uninstall(int slot);
/* From do_exception(), on #DB: false if it was none of these. */
bool hw_breakpoint_handle(struct pt_regs *regs);

#endif
