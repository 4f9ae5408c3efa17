/* Where a block of virtio-mmio registers is: what virtio_mmio_scan.c finds and virtio_mmio.c
 * probes. */
#ifndef DRIVERS_VIRTIO_VIRTIO_MMIO_DEV_H
#define DRIVERS_VIRTIO_VIRTIO_MMIO_DEV_H

#include "kernel/irq.h"
#include "kernel/mm.h"

#define VM_MIN_SIZE 0x108u /* the registers, and something of a configuration */

struct vm_slot {
	phys_addr_t base;
	u32 size;
	u32 gsi;
	enum irq_trigger trigger;
	enum irq_polarity polarity;
	bool named; /* by the command line: something ought to be there */
};

/*
 * Registers the device of the slot, if there is one. 0, -ENODEV (none, or none for us) or another
 * error; logged, but for an empty slot that nobody named.
 */
int virtio_mmio_probe(const struct vm_slot *slot);

#endif
