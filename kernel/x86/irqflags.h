/* The interrupt flag. Any context. tests/fake has a file of this name for the host. */
#ifndef KERNEL_X86_IRQFLAGS_H
#define KERNEL_X86_IRQFLAGS_H

#include "kernel/lib/types.h"

#define X86_EFLAGS_IF 0x200ul

static inline void local_irq_disable(void)
{
	__asm__ volatile("cli" ::: "memory");
}
static inline void local_irq_enable(void)
{
	__asm__ volatile("sti" ::: "memory");
}

static inline unsigned long local_save_flags(void)
{
	unsigned long flags;
	__asm__ volatile("pushfq; popq %0" : "=r"(flags) : : "memory");
	return flags;
}

static inline unsigned long local_irq_save(void)
{
	unsigned long flags = local_save_flags();
	local_irq_disable();
	return flags;
}

static inline void local_irq_restore(unsigned long flags)
{
	if (flags & X86_EFLAGS_IF)
		local_irq_enable();
}

static inline bool irqs_disabled(void)
{
	return !(local_save_flags() & X86_EFLAGS_IF);
}

#endif
