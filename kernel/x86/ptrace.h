/* The registers of an interrupted program, as kernel/x86/entry.asm pushes them. */
#ifndef KERNEL_X86_PTRACE_H
#define KERNEL_X86_PTRACE_H

#include "kernel/lib/types.h"

struct pt_regs {
	u64 r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
	u64 vector, error_code;
	u64 rip, cs, rflags, rsp, ss; /* by the CPU */
};
/*
 * The registers here and now, as far as a call leaves them what they were: for a panic that no
 * exception caused. rip is the caller's to fill in; vector and error code are 0.
 */
static inline __attribute__((always_inline)) void capture_regs(struct pt_regs *regs)
{
	__asm__ volatile("movq %%r15, 0(%0)\n\t"
			 "movq %%r14, 8(%0)\n\t"
			 "movq %%r13, 16(%0)\n\t"
			 "movq %%r12, 24(%0)\n\t"
			 "movq %%rbp, 32(%0)\n\t"
			 "movq %%rbx, 40(%0)\n\t"
			 "movq %%r11, 48(%0)\n\t"
			 "movq %%r10, 56(%0)\n\t"
			 "movq %%r9, 64(%0)\n\t"
			 "movq %%r8, 72(%0)\n\t"
			 "movq %%rax, 80(%0)\n\t"
			 "movq %%rcx, 88(%0)\n\t"
			 "movq %%rdx, 96(%0)\n\t"
			 "movq %%rsi, 104(%0)\n\t"
			 "movq %%rdi, 112(%0)\n\t"
			 "movq $0, 120(%0)\n\t"
			 "movq $0, 128(%0)\n\t"
			 "movq $0, 136(%0)\n\t"
			 "movl %%cs, %%eax\n\t"
			 "movq %%rax, 144(%0)\n\t"
			 "pushfq\n\t"
			 "popq 152(%0)\n\t"
			 "movq %%rsp, 160(%0)\n\t"
			 "movl %%ss, %%eax\n\t"
			 "movq %%rax, 168(%0)"
			 :
			 : "D"(regs)
			 : "rax", "memory");
}
_Static_assert(sizeof(struct pt_regs) == 22 * 8, "entry.asm pushes 22 words");

#endif
