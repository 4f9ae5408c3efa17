/*
 * A model of the *device* side of virtio, in two layers: struct fake_vring is the device's end of a
 * queue, split or packed (no global state: it may run on a thread of its own), struct fake_virtio a
 * whole device behind struct virtio_config_ops. Strict by default: each "driver MUST" of VIRTIO 1.2
 * that can be seen from here is checked, and a violation names its clause and ends the test
 * (fake_violation). It can also lie: the *_raw calls write what they are told.
 */
#ifndef TESTS_FAKE_FAKE_VIRTIO_H
#define TESTS_FAKE_FAKE_VIRTIO_H

#include "drivers/virtio/virtio_config.h"

/* Called with "VIRTIO 1.2, <clause>: <what>". Default: print and abort. */
extern void (*fake_violation)(const char *text);

#define FAKE_MAX_SG 32

/* A buffer that the driver made available: pieces to read, then pieces to write. */
struct fake_buf {
	u16 head;
	unsigned int nr_out, nr_in;
	u32 out_len, in_len;
	struct {
		u8 *addr;
		u32 len;
	} sg[FAKE_MAX_SG];
};

struct fake_vring {
	u16 num;
	struct virtq_desc *desc;
	struct virtq_avail *avail;
	struct virtq_used *used;
	u16 last_avail, used_idx;
	struct virtq_desc *shadow; /* descriptors as they were when popped */
	struct virtq_desc **table; /* ... and their tables; NULL: not indirect */
	u8 *owned;                 /* 1: popped and not used yet */
	unsigned int in_flight;
	bool event, indirect; /* EVENT_IDX, INDIRECT_DESC were negotiated */
	u16 signalled;        /* used_idx when an interrupt was last thought of */

	/* Packed: the three parts; last_avail, used_idx and signalled are places in two laps. */
	bool packed;
	struct fake_packed_desc *pdesc;
	u32 *driver_event, *device_event;
	u16 *ndesc;         /* descriptors of the buffer of each ID, 0: not with the device */
	unsigned int taken; /* descriptors of buffers popped and not used yet */
};

/* VIRTIO 1.2, 2.8.13, as the device sees it. */
struct fake_packed_desc {
	u64 addr;
	u32 len;
	u16 id, flags;
};

void fake_vring_init(struct fake_vring *r, const struct virtqueue *vq);
void fake_vring_exit(struct fake_vring *r);
/* Buffers available and not popped. */
u16 fake_vring_pending(struct fake_vring *r);
bool fake_vring_pop(struct fake_vring *r, struct fake_buf *buf);
/* Used: len bytes were written. Checks that the driver left the descriptors alone meanwhile. */
void fake_vring_push(struct fake_vring *r, u16 head, u32 len);
/* The driver wants an interrupt for what was pushed since the last call. */
bool fake_vring_wants_interrupt(struct fake_vring *r);
/* It will want one for the next that is pushed. */
bool fake_vring_armed(const struct fake_vring *r);
/* The device's NO_NOTIFY flag, or its avail_event; enabling returns true if buffers are waiting
 * already. */
void fake_vring_disable_notify(struct fake_vring *r);
bool fake_vring_enable_notify(struct fake_vring *r);
/* Lies: any id and len as the next used entry; any used index. */
void fake_vring_push_raw(struct fake_vring *r, u32 id, u32 len);
void fake_vring_set_used_idx_raw(struct fake_vring *r, u16 idx); /* split only */
/* Bytes of a buffer's readable part, and into its writable part. Return how many. */
u32 fake_buf_read(const struct fake_buf *buf, void *to, u32 len);
u32 fake_buf_write(const struct fake_buf *buf, const void *from, u32 len);

#define FAKE_MAX_VQS 4

struct fake_vq {
	struct virtqueue *vq;
	struct fake_vring ring;
	int irq;
	unsigned int notified; /* doorbells since last cleared by the test */
};

struct fake_virtio {
	struct virtio_device vdev;

	/* What the device is; set between fake_virtio_init() and the probe. */
	u64 offered;
	u16 queue_size[FAKE_MAX_VQS];
	u8 config[64];
	unsigned int config_len;

	/* What it shall do. */
	bool refuse_features; /* clears FEATURES_OK */
	bool fail_find_vqs;
	unsigned int fail_resets; /* so many resets time out */
	bool gone;                /* notify fails, status reads all ones */
	void (*on_notify)(struct fake_virtio *dev, unsigned int q); /* what it does when kicked */

	/* What it saw. */
	u8 status;
	u64 accepted;
	u32 generation;
	bool reread; /* FEATURES_OK was read back */
	unsigned int resets;
	unsigned int nvqs;
	struct fake_vq vq[FAKE_MAX_VQS];
};

/* A modern device of this type that offers `features` (VERSION_1 is up to the caller), queues of
 * 256. */
void fake_virtio_init(struct fake_virtio *dev, u32 id, u64 features);
/* Forgets the queues; the driver's buffers must be back. */
void fake_virtio_exit(struct fake_virtio *dev);
/* Raises the queue's interrupt unless the driver said not to. True if raised. */
bool fake_virtio_interrupt(struct fake_virtio *dev, unsigned int q);
/* Changes the configuration and tells the driver (hard IRQ). */
void fake_virtio_config_write(struct fake_virtio *dev, unsigned int offset, const void *val,
			      unsigned int len);
/* The device sets NEEDS_RESET and tells the driver. */
void fake_virtio_needs_reset(struct fake_virtio *dev);

/* fake_vring_packed.c: what the calls of struct fake_vring do there. For fake_virtio.c. */
void fake_packed_init(struct fake_vring *r, const struct virtqueue *vq);
u16 fake_packed_pending(const struct fake_vring *r);
bool fake_packed_pop(struct fake_vring *r, struct fake_buf *buf);
void fake_packed_push(struct fake_vring *r, u32 id, u32 len, bool raw);
bool fake_packed_wants_interrupt(struct fake_vring *r);
bool fake_packed_armed(const struct fake_vring *r);
void fake_packed_disable_notify(struct fake_vring *r);
bool fake_packed_enable_notify(struct fake_vring *r);
/* fake_virtio.c: the checks. */
void fake_must(bool ok, const char *fmt, ...) __printf(2, 3);
void fake_add_piece(struct fake_buf *buf, u64 addr, u32 len, u16 flags);

#endif
