/*
 * The local APIC: end of interrupt, one-shot timer (SDM vol. 3A, "Advanced Programmable Interrupt
 * Controller").
 */
#ifndef KERNEL_X86_APIC_H
#define KERNEL_X86_APIC_H

#include "kernel/lib/types.h"

#define LOCAL_TIMER_VECTOR 0xef
#define SPURIOUS_APIC_VECTOR 0xff

/*
 * Enables it, masks its inputs and the two 8259s. Panics if there is none: nothing would ever
 * arrive. Task, once.
 */
void apic_init(void);
/* Hard IRQ. */
void apic_eoi(void);
u8 apic_id(void);

/*
 * The timer counts down from count at its own frequency and then raises LOCAL_TIMER_VECTOR once; 0
 * stops it.
 */
void apic_timer_set(u32 count);
u32 apic_timer_current(void);

#endif
