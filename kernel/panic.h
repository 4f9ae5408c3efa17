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
 * Follows frame pointers from rbp, calls each(arg, address) with every return address, at most max
 * of them. Reads only memory of our stacks, so a broken chain ends the walk and nothing worse.
 */
void walk_stack(u64 rbp, unsigned int max, void (*each)(void *arg, u64 addr), void *arg);

#endif
