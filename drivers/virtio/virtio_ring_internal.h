/*
 * What the two layouts of a virtqueue share: the split ring (virtio_ring.c) and the packed one
 * (virtio_ring_packed.c). Which it is was settled by negotiation; virtio_ring_setup.c makes either.
 * For these files only.
 */
#ifndef DRIVERS_VIRTIO_VIRTIO_RING_INTERNAL_H
#define DRIVERS_VIRTIO_VIRTIO_RING_INTERNAL_H

#include "drivers/virtio/virtio.h"
#include "drivers/virtio/virtio_ring.h"
#include "kernel/lib/container_of.h"
#include "kernel/mm.h"
#include "kernel/printk.h"

/* Our own record of each descriptor: the ring's copy is for the device and never read back. */
struct vring_desc_state {
	void *token; /* head in flight: the driver's; otherwise NULL */
	u32 in_len;  /* head: bytes that the device may write */
	u16 ndesc;   /* head: length of its chain */
	u16 next;    /* next of the chain, or of the free list */
};

/* VIRTIO 1.2, 2.8.10 and 2.8.14: a descriptor of the packed ring, and what a side wants to hear. */
struct virtq_packed_desc {
	le64 addr;
	le32 len;
	le16 id;
	le16 flags;
};
_Static_assert(sizeof(struct virtq_packed_desc) == 16, "VIRTIO 1.2, 2.8.13");

struct vring_virtqueue {
	struct virtqueue vq;

	struct vring_desc_state *desc_state;
	u16 free_head;   /* first free descriptor (packed: buffer ID); valid while num_free > 0 */
	bool packed;     /* RING_PACKED */
	bool event;      /* split, with EVENT_IDX */
	bool cb_enabled; /* an interrupt is wanted */
	bool rearm;      /* ... by an index, which must move along with the last used */
	u16 in_flight;   /* buffers that the device owns */

	/* Split. */
	u16 avail_idx;     /* what avail->idx holds; never read back */
	u16 kicked_idx;    /* avail_idx at the last kick_prepare */
	bool passed;       /* the device has interrupted: used_event is behind its index */
	u16 last_used_idx; /* next entry of the used ring to look at */
	u16 used_idx;      /* used->idx as last read and found sound */
	u32 mask;          /* num - 1 */
	struct virtq_desc *desc;
	struct virtq_avail *avail;
	struct virtq_used *used;
	le16 *used_event;  /* behind avail->ring: ours to write */
	le16 *avail_event; /* behind used->ring: the device's */

	/* Packed. A position is an index in bits 0-14 and the wrap counter in bit 15. */
	struct {
		struct virtq_packed_desc *desc;
		le32 *driver_event; /* ours to write */
		le32 *device_event; /* the device's */
		u16 next_avail;     /* position */
		u16 last_used;      /* position */
		u16 added;          /* descriptors since the last kick_prepare */
		bool desc_event;    /* EVENT_IDX */
	} p;

	/* Tables for indirect descriptors, one for each descriptor of the ring; NULL: none. */
	struct virtq_desc *indirect;
	dma_addr_t indirect_dma;
	u16 indirect_pieces; /* entries of a table */
	u16 indirect_below;  /* the ring is short: fewer free descriptors than this */

	size_t ring_size, driver_off, device_off; /* the three parts in one piece of memory */
	void *ring;
	dma_addr_t ring_dma;
};

#define to_vvq(_vq) container_of(_vq, struct vring_virtqueue, vq)

/*
 * The device broke the protocol: we stop using the queue, once and for all. Bounded by being final:
 * only the driver's reset makes a new queue.
 */
#define BAD_RING(vvq, fmt, ...)                                                           \
	do {                                                                              \
		if (!(vvq)->vq.broken)                                                    \
			pr_err("%s: %s: " fmt "\n", (vvq)->vq.vdev->name, (vvq)->vq.name, \
			       ##__VA_ARGS__);                                            \
		(vvq)->vq.broken = (vvq)->vq.detour = true;                               \
		(vvq)->vq.bad_used++;                                                     \
	} while (0)

/*
 * A used entry as the device wrote it: the ID of a buffer in flight, and no more bytes than were
 * posted. False: it lies, and the queue is broken.
 */
static inline bool vring_used_ok(struct vring_virtqueue *vvq, u32 id, u32 *len)
{
	u32 in_len;

	if (unlikely(id >= vvq->vq.num)) {
		BAD_RING(vvq, "id %u out of range", id);
		return false;
	}
	if (unlikely(!vvq->desc_state[id].token)) {
		BAD_RING(vvq, "id %u is not a head", id);
		return false;
	}
	in_len = vvq->desc_state[id].in_len;
	if (likely(*len <= in_len))
		return true;
	if (in_len) {
		BAD_RING(vvq, "id %u: %u bytes used of %u", id, *len, in_len);
		return false;
	}
	/* 2.7.8.2, legacy note: many devices set len wrongly where there is nothing to write */
	*len = 0;
	return true;
}

/* A table costs more than a chain: it has to buy something. */
static inline bool want_indirect(const struct vring_virtqueue *vvq, unsigned int n)
{
	return n > 1 && vvq->indirect && vvq->vq.num_free < vvq->indirect_below &&
	       n <= vvq->indirect_pieces;
}

/* virtio_ring.c: takes the buffer back from the split ring, whatever became of it. */
void *vring_split_detach(struct vring_virtqueue *vvq, u32 head);

/*
 * virtio_ring_packed.c: what the public calls of the same names do. Those called detour are for any
 * ring that is broken, too.
 */
void vring_packed_init(struct vring_virtqueue *vvq);
int vring_detour_add(struct vring_virtqueue *vvq, const struct virtio_sg *sg, unsigned int n,
		     unsigned int out, void *token);
bool vring_detour_kick_prepare(struct vring_virtqueue *vvq);
void *vring_detour_get_buf(struct vring_virtqueue *vvq, u32 *len);
void *vring_packed_detach(struct vring_virtqueue *vvq, u32 id);
void vring_packed_disable_cb(struct vring_virtqueue *vvq);
bool vring_packed_enable_cb(struct vring_virtqueue *vvq, u16 skip);
bool vring_packed_more_used(const struct vring_virtqueue *vvq);

#endif
