#include "kernel/x86/crash_ops.h"

#include "kernel/lib/types.h"

void crash_divide(void)
{
	u32 zero = 0, high = 0, low = 1;

	__asm__ volatile("divl %2" : "+a"(low), "+d"(high) : "r"(zero));
}

void crash_undefined(void)
{
	__asm__ volatile("ud2");
}

void crash_df_nested(void)
{
	/*
	 * A contributory exception whose frame cannot be pushed (SDM vol. 3A, "Double Fault
	 * Exception"). With rsp = 0 it would be a page fault, which has a stack of its own and is
	 * reported as that.
	 */
	__asm__ volatile("xorl %%edx, %%edx; xorl %%ecx, %%ecx; movl $1, %%eax\n\t"
			 "movabsq $0x8000000000000000, %%rsp; divl %%ecx" ::
				 : "memory", "rax", "rcx", "rdx");
}
