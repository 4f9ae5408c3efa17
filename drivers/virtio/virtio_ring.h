/*
 * A virtqueue, split or packed (VIRTIO 1.2, 2.7 and 2.8), with Linux's calls. One user at a time:
 *the queue's own NAPI or sender, in softirq context; vring_interrupt() in hard IRQ.
 *
 *	send:     virtqueue_add_outbuf() ..., virtqueue_kick()
 *	receive:  virtqueue_add_inbuf() ..., virtqueue_kick()
 *	done:     while ((p = virtqueue_get_buf(vq, &len))) ...
 *	sleep:    if (!virtqueue_enable_cb(vq)) { virtqueue_disable_cb(vq); look again }
 *
 * With EVENT_IDX each side says from which index on it wants to hear of the other, instead of yes
 *or no. The calls and what they promise are the same.
 *
 * The device is not trusted: what it writes is read once, checked (id in range and in flight, len
 *not beyond what was posted, used index not ahead of what is in flight), and a violation marks the
 *queue broken: it gives nothing more, takes nothing more, and the driver resets the device.
 *Descriptors' addresses and links are kept in private memory and never read back from the ring.
 */
#ifndef DRIVERS_VIRTIO_VIRTIO_RING_H
#define DRIVERS_VIRTIO_VIRTIO_RING_H

#include "kernel/irq.h"
#include "kernel/lib/types.h"

struct virtio_device;

/* VIRTIO 1.2, 2.7.5: flags of a descriptor, masks. */
#define VIRTQ_DESC_F_NEXT 1
#define VIRTQ_DESC_F_WRITE 2
#define VIRTQ_DESC_F_INDIRECT 4
/* VIRTIO 1.2, 2.7.6 and 2.7.8 */
#define VIRTQ_AVAIL_F_NO_INTERRUPT 1
#define VIRTQ_USED_F_NO_NOTIFY 1

#define VIRTQ_MAX_SIZE 32768 /* VIRTIO 1.2, 2.6 */

struct virtq_desc {
	le64 addr;
	le32 len;
	le16 flags;
	le16 next;
};
_Static_assert(sizeof(struct virtq_desc) == 16, "VIRTIO 1.2, 2.7.5");

struct virtq_avail {
	le16 flags;
	le16 idx;
	le16 ring[]; /* num entries, then le16 used_event (EVENT_IDX) */
};
_Static_assert(sizeof(struct virtq_avail) == 4, "VIRTIO 1.2, 2.7.6");

struct virtq_used_elem {
	le32 id;
	le32 len;
};
_Static_assert(sizeof(struct virtq_used_elem) == 8, "VIRTIO 1.2, 2.7.8");

struct virtq_used {
	le16 flags;
	le16 idx;
	struct virtq_used_elem ring[]; /* num entries, then le16 avail_event (EVENT_IDX) */
};
_Static_assert(sizeof(struct virtq_used) == 4, "VIRTIO 1.2, 2.7.8");

/*
 * 2.7.10: on its way from old to idx, has an index left the place of which the other side wants to
 * be told behind?
 */
static inline bool vring_need_event(u16 event, u16 idx, u16 old)
{
	return (u16)(idx - event - 1) < (u16)(idx - old);
}

struct virtqueue;
typedef void vq_callback_t(struct virtqueue *vq);

/* What users and transports may look at. */
struct virtqueue {
	const char *name;
	struct virtio_device *vdev;
	vq_callback_t *callback; /* hard IRQ: the device has used buffers. May be NULL */
	u16 index;
	u16 num; /* descriptors */
	u16 num_free;
	bool broken;
	bool detour; /* broken or packed: not the split ring's straight way */
	void *priv;  /* the transport's: where to notify */
	void *owner; /* the driver's */
	bool (*notify)(struct virtqueue *vq); /* false: the device is gone */
	/*
	 * Counters, shown by the driver. spurious: interrupts that found nothing used, be it that a
	 * poll was quicker or that the vector is shared and another queue's. bad_used: protocol
	 * violations.
	 */
	u64 kicks, kicks_suppressed, interrupts, spurious, bad_used;
	u64 indirect; /* buffers that took one descriptor for all their pieces */
};

/* One piece of a buffer; addr is what the device is told. */
struct virtio_sg {
	dma_addr_t addr;
	u32 len;
};

/*
 * A ring of num (power of two, 1..32768) descriptors in DMA memory, packed if that was negotiated,
 * else laid out as the legacy interface demands (VIRTIO 1.2, 2.7.2: align 4096 for legacy; also
 * right for modern). NULL: no memory or bad num.
 */
struct virtqueue *vring_create_virtqueue(u16 index, u16 num, struct virtio_device *vdev,
					 bool (*notify)(struct virtqueue *),
					 vq_callback_t *callback, const char *name) __must_check;
void vring_del_virtqueue(struct virtqueue *vq);
/* Addresses of the three parts, for the transport to tell the device; of a packed ring the second
 * and third are the driver's and the device's event suppression. */
dma_addr_t virtqueue_get_desc_addr(const struct virtqueue *vq);
dma_addr_t virtqueue_get_avail_addr(const struct virtqueue *vq);
dma_addr_t virtqueue_get_used_addr(const struct virtqueue *vq);

/* The feature bits the ring itself implements, to be added to the driver's. */
u64 vring_transport_features(void);

/*
 * Where INDIRECT_DESC was negotiated: from now on a buffer of 2 to `pieces` pieces takes one
 * descriptor when the ring gets short. One table for each descriptor, so a free descriptor is all
 * that such a buffer needs. Before the first buffer. False: not negotiated, more pieces than the
 * ring may chain, or no memory; then all is as before.
 */
bool virtqueue_use_indirect(struct virtqueue *vq, u16 pieces);

/*
 * Exposes one buffer of n pieces (1..num). token comes back from get_buf and is not NULL.
 * 0, -ENOSPC (no room: num_free < n), -EIO (broken). The device is not told until a kick.
 */
int __must_check virtqueue_add_outbuf(struct virtqueue *vq, const struct virtio_sg *sg,
				      unsigned int n, void *token);
int __must_check virtqueue_add_inbuf(struct virtqueue *vq, const struct virtio_sg *sg,
				     unsigned int n, void *token);

/* The same with `out` pieces to be read and behind them `in` to be written. */
int __must_check virtqueue_add_sgs(struct virtqueue *vq, const struct virtio_sg *sg,
				   unsigned int out, unsigned int in, void *token);

/* True if the device wants to be told of what was added since the last call. */
bool virtqueue_kick_prepare(struct virtqueue *vq);
/* Rings the doorbell. False: broken. */
bool virtqueue_notify(struct virtqueue *vq);
/* Both. */
bool virtqueue_kick(struct virtqueue *vq);

/* The next used buffer's token and how many bytes the device wrote (*len, never more than were
 * posted). NULL: none, or broken. */
void *virtqueue_get_buf(struct virtqueue *vq, u32 *len);
/* After a reset: hands back what is still posted, one by one, then NULL. */
void *virtqueue_detach_unused_buf(struct virtqueue *vq);

/* A hint to the device: no interrupt wanted. One may still come. */
void virtqueue_disable_cb(struct virtqueue *vq);
/* Interrupts on, and look again: false if buffers are waiting already and no interrupt may come for
 * them. */
bool __must_check virtqueue_enable_cb(struct virtqueue *vq);
/* The same, but the interrupt may wait until three quarters of what is in flight is used. */
bool __must_check virtqueue_enable_cb_delayed(struct virtqueue *vq);
/* Used buffers are waiting (no side effect). */
bool virtqueue_more_used(const struct virtqueue *vq);

static inline bool virtqueue_is_broken(const struct virtqueue *vq)
{
	return vq->broken;
}
/* The hard IRQ handler of a queue's vector; dev_id is the virtqueue. */
irqreturn_t vring_interrupt(int irq, void *dev_id);

#endif
