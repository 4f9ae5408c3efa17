/*
 * Interrupts as drivers see them: a number, a handler. The number comes from irq_alloc_msi() (one
 * message, one number) or acpi_register_gsi() (a wire, shared). Handlers run in hard IRQ context
 * with interrupts off; they acknowledge and schedule, nothing more. request_irq() and friends:
 * task.
 */
#ifndef KERNEL_IRQ_H
#define KERNEL_IRQ_H

#include "kernel/lib/types.h"

enum irqreturn {
	IRQ_NONE = 0, /* not from this device: the next handler on the wire is asked */
	IRQ_HANDLED = 1,
};
typedef enum irqreturn irqreturn_t;
typedef irqreturn_t (*irq_handler_t)(int irq, void *dev_id);

#define IRQF_SHARED 0x80u /* others may be on the same number (Linux's value) */

/*
 * What an MSI-X table entry (or MSI capability) must hold to raise an interrupt (PCI 3.0, 6.8.2).
 */
struct msi_msg {
	u64 address;
	u32 data;
};

/* Reserves a vector. Returns its number (> 0) and fills *msg, or -ENOSPC. */
int __must_check irq_alloc_msi(struct msi_msg *msg);
void irq_free_msi(int irq);

enum irq_trigger { IRQ_EDGE, IRQ_LEVEL };
enum irq_polarity { IRQ_ACTIVE_HIGH, IRQ_ACTIVE_LOW };
/*
 * Routes a global system interrupt to a vector, masked until the first request_irq(). Asking again
 * for the same GSI gives the same number. Returns it (> 0), -ENODEV if no I/O APIC has that GSI,
 * -ENOSPC.
 */
int __must_check acpi_register_gsi(u32 gsi, enum irq_trigger trigger, enum irq_polarity polarity);
/* The GSI, trigger and polarity of legacy IRQ 0..15, after the MADT's overrides. */
void acpi_isa_irq_to_gsi(u8 isa_irq, u32 *gsi, enum irq_trigger *trigger, enum irq_polarity *pol);

/* name is kept, not copied. Returns 0, -EINVAL, -EBUSY (taken and not shared) or -ENOMEM. */
int __must_check request_irq(int irq, irq_handler_t handler, unsigned int flags, const char *name,
			     void *dev_id);
void free_irq(int irq, void *dev_id);

#endif
