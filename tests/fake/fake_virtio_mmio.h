/*
 * The device side of virtio over MMIO (VIRTIO 1.2, 4.2): blocks of registers anywhere in the
 * address space, behind readl() and writel(). Rings are the test's (fake_virtio.h). Strict: what a
 * driver MUST NOT do goes to fake_violation. The lies are the fields below the line.
 */
#ifndef TESTS_FAKE_FAKE_VIRTIO_MMIO_H
#define TESTS_FAKE_FAKE_VIRTIO_MMIO_H

#include "tests/fake/fake_virtio.h"

#define FAKE_VM_MAX_VQS 4
#define FAKE_VM_MAX_BLOCKS 32

struct fake_vm_queue {
	u32 num_max, num, ready;
	u64 desc, driver, device;
	unsigned int notified;
};

struct fake_vm {
	u64 base;
	u32 magic, version, device_id;
	u64 features, accepted;
	u32 dfsel, gfsel, qsel, status, isr, generation;
	u8 config[64];
	struct fake_vm_queue vq[FAKE_VM_MAX_VQS];
	unsigned int reads, resets;
	bool reread; /* FEATURES_OK was read back */
	/* ---- lies ---- */
	bool refuse_ready;     /* QueueReady does not stay */
	bool stuck_reset;      /* the status never reads 0 */
	bool gone;             /* all ones */
	unsigned int restless; /* the configuration changes during the next so many reads */
};

/* A version 2 device at base; device_id 0: an empty slot. Queues of 256. */
struct fake_vm *fake_vm_add(u64 base, u32 device_id);
void fake_vm_reset(void);

#endif
