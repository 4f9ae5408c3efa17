/* The I/O APICs: wires (global system interrupts) to vectors (82093AA data sheet). Task context. */
#ifndef KERNEL_X86_IOAPIC_H
#define KERNEL_X86_IOAPIC_H

#include "kernel/irq.h"

/* Maps those of the MADT, or the one of a machine without, and masks every input. */
void ioapic_init(void);
/* False: no I/O APIC has this GSI. */
bool ioapic_has_gsi(u32 gsi);
/* Points the wire to vector on this CPU, masked. */
void ioapic_route(u32 gsi, u8 vector, enum irq_trigger trigger, enum irq_polarity polarity);
void ioapic_mask(u32 gsi, bool masked);

#endif
