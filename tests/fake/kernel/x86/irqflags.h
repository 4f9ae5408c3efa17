/*
 * The interrupt flag on the host: a variable of the thread. Found before kernel/x86/irqflags.h in
 * the include path of the unit tests. Enabling delivers what fake_irq_raise() had to hold back.
 */
#ifndef KERNEL_X86_IRQFLAGS_H
#define KERNEL_X86_IRQFLAGS_H

#include "kernel/lib/types.h"

#define X86_EFLAGS_IF 0x200ul

extern _Thread_local bool fake_irqs_off;
void fake_irq_deliver(void);

static inline void local_irq_disable(void)
{
	fake_irqs_off = true;
}

static inline void local_irq_enable(void)
{
	fake_irqs_off = false;
	fake_irq_deliver();
}

static inline unsigned long local_save_flags(void)
{
	return fake_irqs_off ? 0 : X86_EFLAGS_IF;
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
	return fake_irqs_off;
}

#endif
