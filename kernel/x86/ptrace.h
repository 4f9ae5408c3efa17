/* The registers of an interrupted program, as kernel/x86/entry.asm pushes them. */
#ifndef KERNEL_X86_PTRACE_H
#define KERNEL_X86_PTRACE_H

#include "kernel/lib/types.h"

struct pt_regs {
	u64 r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
	u64 vector, error_code;
	u64 rip, cs, rflags, rsp, ss; /* by the CPU */
};
_Static_assert(sizeof(struct pt_regs) == 22 * 8, "entry.asm pushes 22 words");

#endif
