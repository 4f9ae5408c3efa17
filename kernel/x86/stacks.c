#include "kernel/x86/stacks.h"

#include "kernel/mm.h"
#include "kernel/x86/sections.h"

#define STACK(text, symbol)                                \
	{                                                  \
		text, symbol##_guard, symbol, symbol##_top \
	}

const struct kernel_stack kernel_stacks[NR_KERNEL_STACKS] = {
	STACK("task", start_stack),
	STACK("double fault", double_fault_stack),
	STACK("NMI", nmi_stack),
	STACK("machine check", machine_check_stack),
	STACK("page fault", page_fault_stack),
};

static bool in_page(u64 addr, const u8 *page)
{
	return ALIGN_DOWN(addr, PAGE_SIZE) == (u64)(uintptr_t)page;
}

const char *stack_guard_hit(u64 addr)
{
	for (size_t i = 0; i < NR_KERNEL_STACKS; i++) {
		if (in_page(addr, kernel_stacks[i].guard))
			return kernel_stacks[i].name;
	}
	/* Above the last one: an underflow, which only a wild stack pointer brings about. */
	return in_page(addr, last_guard) ? kernel_stacks[NR_KERNEL_STACKS - 1].name : NULL;
}

bool on_a_stack(u64 p)
{
	for (size_t i = 0; i < NR_KERNEL_STACKS; i++) {
		if (p >= (u64)(uintptr_t)kernel_stacks[i].start &&
		    p + 16 <= (u64)(uintptr_t)kernel_stacks[i].top)
			return (p & 7) == 0;
	}
	return false;
}
