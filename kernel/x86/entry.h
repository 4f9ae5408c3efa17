/* What kernel/x86/entry.asm calls. Interrupts are off. */
#ifndef KERNEL_X86_ENTRY_H
#define KERNEL_X86_ENTRY_H

#include "kernel/lib/types.h"

void common_interrupt(u32 vector);
void sysvec_apic_timer_interrupt(void);

#endif
