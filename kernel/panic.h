/* panic() for those that have registers to show, and stack walking. Any context. */
#ifndef KERNEL_PANIC_H
#define KERNEL_PANIC_H

#include "kernel/bug.h"

struct pt_regs;

/*
 * As panic_with(), for a CPU exception: adds vec=, err=, cr2=, rip= to the line, registers and the
 * stack from regs.
 */
void __noreturn panic_regs(enum panic_class cls, const char *reason, const struct pt_regs *regs,
			   u64 cr2);

/*
 * Follows frame pointers from rbp, the frame of the function in which rip lies, and calls each(arg,
 * address, exact) for every caller, at most max of them. exact: the address is where an interrupt
 * hit; else it is a return address, which lies behind its call. Reads only memory of our stacks, so
 * a broken chain ends the walk and nothing worse.
 */
void walk_stack(u64 rip, u64 rbp, unsigned int max, void (*each)(void *arg, u64 addr, bool exact),
		void *arg);

#endif
