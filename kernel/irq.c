/*
 * Vectors, and who wants them. A number is its vector; the data path is common_interrupt(): count,
 * handlers, EOI, and on the way out the softirqs.
 */
#include "kernel/irq.h"

#define pr_fmt(fmt) "irq: " fmt
#include "kernel/lib/errno.h"
#include "kernel/printk.h"
#include "kernel/slab.h"
#include "kernel/softirq.h"
#include "kernel/stats.h"
#include "kernel/trace.h"
#include "kernel/x86/apic.h"
#include "kernel/x86/entry.h"
#include "kernel/x86/ioapic.h"
#include "kernel/x86/irqflags.h"

#define FIRST_DEVICE_VECTOR 0x30
#define LAST_DEVICE_VECTOR (LOCAL_TIMER_VECTOR - 1)
#define NR_VECTORS 256
#define NO_GSI (~0u)
#define MSI_ADDRESS 0xfee00000u /* SDM vol. 3A, "Message Address Register Format" */

struct irqaction {
	struct irqaction *next;
	irq_handler_t handler;
	void *dev_id;
	const char *name;
	unsigned int flags;
};

static struct irq_desc {
	struct irqaction *action;
	u64 count;
	u32 gsi;
	bool taken;
} irq_desc[NR_VECTORS];

static u64 spurious;

static bool valid(int irq)
{
	return irq >= FIRST_DEVICE_VECTOR && irq <= LAST_DEVICE_VECTOR && irq_desc[irq].taken;
}

static int alloc_vector(u32 gsi)
{
	for (int v = FIRST_DEVICE_VECTOR; v <= LAST_DEVICE_VECTOR; v++) {
		if (!irq_desc[v].taken) {
			irq_desc[v] = (struct irq_desc){ .taken = true, .gsi = gsi };
			return v;
		}
	}
	return -ENOSPC;
}

int irq_alloc_msi(struct msi_msg *msg)
{
	int v = alloc_vector(NO_GSI);

	if (v < 0)
		return v;
	msg->address = MSI_ADDRESS | (u64)apic_id() << 12;
	msg->data = (u32)v;
	return v;
}

void irq_free_msi(int irq)
{
	if (valid(irq))
		irq_desc[irq].taken = false;
}

int acpi_register_gsi(u32 gsi, enum irq_trigger trigger, enum irq_polarity polarity)
{
	int v;

	if (!ioapic_has_gsi(gsi))
		return -ENODEV;
	for (v = FIRST_DEVICE_VECTOR; v <= LAST_DEVICE_VECTOR; v++) {
		if (irq_desc[v].taken && irq_desc[v].gsi == gsi)
			return v;
	}
	v = alloc_vector(gsi);
	if (v > 0)
		ioapic_route(gsi, (u8)v, trigger, polarity);
	return v;
}

int request_irq(int irq, irq_handler_t handler, unsigned int flags, const char *name, void *dev_id)
{
	struct irqaction *a, **end;
	unsigned long saved;

	if (!valid(irq) || !handler)
		return -EINVAL;
	for (end = &irq_desc[irq].action; *end; end = &(*end)->next) {
		if (!(flags & (*end)->flags & IRQF_SHARED))
			return -EBUSY;
	}
	a = kzalloc(sizeof(*a));
	if (!a)
		return -ENOMEM;
	*a = (struct irqaction){
		.handler = handler, .flags = flags, .name = name, .dev_id = dev_id
	};
	saved = local_irq_save();
	*end = a;
	local_irq_restore(saved);
	if (irq_desc[irq].gsi != NO_GSI && irq_desc[irq].action == a)
		ioapic_mask(irq_desc[irq].gsi, false);
	return 0;
}

void free_irq(int irq, void *dev_id)
{
	struct irqaction **link, *a;
	unsigned long saved;

	if (!valid(irq))
		return;
	for (link = &irq_desc[irq].action; *link && (*link)->dev_id != dev_id;
	     link = &(*link)->next)
		;
	a = *link;
	if (!a)
		return;
	saved = local_irq_save();
	*link = a->next;
	local_irq_restore(saved);
	if (irq_desc[irq].gsi != NO_GSI && !irq_desc[irq].action)
		ioapic_mask(irq_desc[irq].gsi, true);
	kfree(a);
}

/* Asks every handler on the wire: with INTx several devices may have pulled it. */
static noinline void handle_irq(struct irq_desc *desc, int irq)
{
	bool wanted = false;

	desc->count++;
	for (struct irqaction *a = desc->action; a; a = a->next)
		wanted |= a->handler(irq, a->dev_id) == IRQ_HANDLED;
	if (unlikely(!wanted))
		spurious++;
}

/* From asm_common_interrupt, interrupts off. */
void common_interrupt(u32 vector)
{
	trace_irq();
	irq_enter();
	handle_irq(&irq_desc[vector], (int)vector);
	apic_eoi();
	irq_exit();
}

static void irq_stats(struct stats_sink *s)
{
	u64 total = 0;

	for (int v = 0; v < NR_VECTORS; v++)
		total += irq_desc[v].count;
	stats_u64(s, NULL, "irq_total", total);
	stats_u64(s, NULL, "irq_spurious", spurious);
}
STATS_PROVIDER(irq_stats);
