/* The stacks of entry.asm: where each lies, and the pages between them that are not there. Any
 * context. */
#ifndef KERNEL_X86_STACKS_H
#define KERNEL_X86_STACKS_H

#include "kernel/lib/types.h"

struct kernel_stack {
	const char *name; /* "task", "NMI", ... */
	u8 *guard;        /* the unmapped page below it */
	u8 *start, *top;
};

#define NR_KERNEL_STACKS 5
extern const struct kernel_stack kernel_stacks[NR_KERNEL_STACKS];

/* The stack that ran into the guard page in which addr lies; NULL: none. */
const char *stack_guard_hit(u64 addr);
/* 16 bytes from p on lie on one of the stacks, aligned. */
bool on_a_stack(u64 p);

#endif
