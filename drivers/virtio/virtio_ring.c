/*
 * The split virtqueue (VIRTIO 1.2, 2.7). Memory that the device can write is the used ring and
 * nothing else; whatever we must know later about a descriptor (its token, link, length) lives in
 * desc_state[], which the device cannot reach. See virtio_ring.h for the calls and their contexts.
 *
 * Order: what we publish is stored with release, what the device published is loaded with acquire.
 * Where one side sleeps on the other's flag, both sides write, fence, then read (2.7.7, 2.7.10): a
 * seq_cst fence in kick_prepare and in enable_cb. On x86 that fence is the only instruction it
 * costs.
 *
 * EVENT_IDX (2.7.7, 2.7.10): the device interrupts once, when its index leaves used_event behind,
 * and is silent from then on. So what follows an interrupt costs no write, and an index that has
 * been passed already means "none": for the next 65,535 buffers, after which one comes too many.
 */
#define pr_fmt(fmt) "virtio_ring: " fmt

#include "drivers/virtio/virtio_ring.h"

#include "drivers/virtio/virtio.h"
#include "kernel/bug.h"
#include "kernel/lib/byteorder.h"
#include "kernel/lib/container_of.h"
#include "kernel/lib/errno.h"
#include "kernel/mm.h"
#include "kernel/printk.h"
#include "kernel/slab.h"

#define VRING_USED_ALIGN \
	4096 /* VIRTIO 1.2, 2.7.2: the legacy interface's; more than modern asks for */

/* Our own record of each descriptor: the ring's copy is for the device and never read back. */
struct vring_desc_state {
	void *token; /* head in flight: the driver's; otherwise NULL */
	u32 in_len;  /* head: bytes that the device may write */
	u16 ndesc;   /* head: length of its chain */
	u16 next;    /* next of the chain, or of the free list */
};

struct vring_virtqueue {
	struct virtqueue vq;

	struct virtq_desc *desc;
	struct virtq_avail *avail;
	struct virtq_used *used;
	struct vring_desc_state *desc_state;

	u16 free_head;     /* first free descriptor; valid while num_free > 0 */
	u16 avail_idx;     /* what avail->idx holds; never read back */
	u16 kicked_idx;    /* avail_idx at the last kick_prepare */
	bool event;        /* EVENT_IDX */
	bool cb_enabled;   /* an interrupt is wanted */
	bool rearm;        /* ... by used_event, which must move along with last_used_idx */
	bool passed;       /* the device has interrupted: used_event is behind its index */
	u16 last_used_idx; /* next entry of the used ring to look at */
	u16 used_idx;      /* used->idx as last read and found sound */
	u16 in_flight;     /* buffers that the device owns */
	u32 mask;          /* num - 1 */

	le16 *used_event;  /* behind avail->ring: ours to write */
	le16 *avail_event; /* behind used->ring: the device's */

	/* Tables for indirect descriptors, one for each descriptor of the ring; NULL: none. */
	struct virtq_desc *indirect;
	dma_addr_t indirect_dma;
	u16 indirect_pieces; /* entries of a table */
	u16 indirect_below;  /* the ring is short: fewer free descriptors than this */

	size_t ring_size;
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
		(vvq)->vq.broken = true;                                                  \
		(vvq)->vq.bad_used++;                                                     \
	} while (0)

/* ---- life ---- */

static size_t vring_avail_offset(u16 num)
{
	return num * sizeof(struct virtq_desc);
}

static size_t vring_used_offset(u16 num)
{
	/* flags, idx, the entries, used_event */
	size_t end =
		vring_avail_offset(num) + sizeof(struct virtq_avail) + (num + 1u) * sizeof(le16);

	return ALIGN_UP(end, (size_t)VRING_USED_ALIGN);
}

static size_t vring_size(u16 num)
{
	/* flags, idx, the entries, avail_event */
	return vring_used_offset(num) + sizeof(struct virtq_used) +
	       num * sizeof(struct virtq_used_elem) + sizeof(le16);
}

struct virtqueue *vring_create_virtqueue(u16 index, u16 num, struct virtio_device *vdev,
					 bool (*notify)(struct virtqueue *),
					 vq_callback_t *callback, const char *name)
{
	struct vring_virtqueue *vvq;
	u8 *ring;

	/* VIRTIO 1.2, 2.7: the queue size is a power of two, at most 32768 */
	if (!IS_POWER_OF_2(num) || num > VIRTQ_MAX_SIZE)
		return NULL;
	vvq = kzalloc(sizeof(*vvq));
	if (!vvq)
		return NULL;
	vvq->desc_state = kzalloc(num * sizeof(*vvq->desc_state));
	if (!vvq->desc_state)
		goto err_free_vvq;
	vvq->ring_size = vring_size(num);
	ring = dma_alloc_coherent(vvq->ring_size, &vvq->ring_dma);
	if (!ring)
		goto err_free_state;

	vvq->desc = (struct virtq_desc *)ring;
	vvq->avail = (struct virtq_avail *)(ring + vring_avail_offset(num));
	vvq->used = (struct virtq_used *)(ring + vring_used_offset(num));
	vvq->used_event = &vvq->avail->ring[num];
	vvq->avail_event = (le16 *)&vvq->used->ring[num];
	vvq->event = virtio_has_feature(vdev, VIRTIO_RING_F_EVENT_IDX);
	for (u32 i = 0; i < num; i++)
		vvq->desc_state[i].next = (u16)(i + 1);

	vvq->mask = num - 1u;
	vvq->vq = (struct virtqueue){
		.name = name,
		.vdev = vdev,
		.callback = callback,
		.index = index,
		.num = num,
		.num_free = num,
		.notify = notify,
	};
	/* What the cleared memory says: used_event is 0, flags are 0. */
	vvq->cb_enabled = true;
	vvq->rearm = vvq->event;
	/* Nobody to call: spare the device the interrupt (2.7.7). */
	if (!callback)
		virtqueue_disable_cb(&vvq->vq);
	return &vvq->vq;

err_free_state:
	kfree(vvq->desc_state);
err_free_vvq:
	kfree(vvq);
	return NULL;
}

static size_t indirect_size(const struct vring_virtqueue *vvq)
{
	return (size_t)vvq->vq.num * vvq->indirect_pieces * sizeof(struct virtq_desc);
}

bool virtqueue_use_indirect(struct virtqueue *vq, u16 pieces)
{
	struct vring_virtqueue *vvq = to_vvq(vq);

	BUG_ON(vvq->indirect || vvq->in_flight || pieces < 2);
	/* 2.7.5.3.1: no chain is longer than the queue, in a table neither */
	if (!virtio_has_feature(vq->vdev, VIRTIO_RING_F_INDIRECT_DESC) || pieces > vq->num)
		return false;
	vvq->indirect_pieces = pieces;
	vvq->indirect_below = vq->num / 2;
	vvq->indirect = dma_alloc_coherent(indirect_size(vvq), &vvq->indirect_dma);
	return vvq->indirect != NULL;
}

void vring_del_virtqueue(struct virtqueue *vq)
{
	struct vring_virtqueue *vvq = to_vvq(vq);

	if (vvq->indirect)
		dma_free_coherent(indirect_size(vvq), vvq->indirect, vvq->indirect_dma);
	dma_free_coherent(vvq->ring_size, vvq->desc, vvq->ring_dma);
	kfree(vvq->desc_state);
	kfree(vvq);
}

dma_addr_t virtqueue_get_desc_addr(const struct virtqueue *vq)
{
	return to_vvq(vq)->ring_dma;
}

dma_addr_t virtqueue_get_avail_addr(const struct virtqueue *vq)
{
	return to_vvq(vq)->ring_dma + vring_avail_offset(vq->num);
}

dma_addr_t virtqueue_get_used_addr(const struct virtqueue *vq)
{
	return to_vvq(vq)->ring_dma + vring_used_offset(vq->num);
}

u64 vring_transport_features(void)
{
	/* Any split of a buffer into descriptors suits us: the promise that VERSION_1 contains. */
	return 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_ANY_LAYOUT |
	       1ull << VIRTIO_RING_F_EVENT_IDX | 1ull << VIRTIO_RING_F_INDIRECT_DESC;
}

/* ---- driver to device ---- */

/* 2.7.5.3: all but one descriptor into the table of `head`, which is then the buffer's only one. */
static noinline u32 fill_indirect(struct vring_virtqueue *vvq, u32 head, const struct virtio_sg *sg,
				  unsigned int n, u16 flags)
{
	size_t first = (size_t)head * vvq->indirect_pieces;
	struct virtq_desc *table = &vvq->indirect[first];
	u32 total = 0;

	for (unsigned int i = 0; i < n; i++, sg++) {
		table[i].addr = cpu_to_le64(sg->addr);
		table[i].len = cpu_to_le32(sg->len);
		table[i].flags = cpu_to_le16(i + 1 < n ? flags | VIRTQ_DESC_F_NEXT : flags);
		table[i].next = cpu_to_le16((u16)(i + 1));
		total += sg->len;
	}
	vvq->desc[head].addr = cpu_to_le64(vvq->indirect_dma + first * sizeof(*table));
	vvq->desc[head].len = cpu_to_le32(n * (u32)sizeof(*table));
	vvq->desc[head].flags = cpu_to_le16(VIRTQ_DESC_F_INDIRECT);
	vvq->vq.indirect++;
	return total;
}

/* A table costs more than a chain: it has to buy something. */
static inline bool want_indirect(const struct vring_virtqueue *vvq, unsigned int n)
{
	return n > 1 && vvq->indirect && vvq->vq.num_free < vvq->indirect_below &&
	       n <= vvq->indirect_pieces;
}

/* VIRTIO 1.2, 2.7.13.1: fill the descriptors, then 2.7.13.2 and .3: expose their head. */
static inline __attribute__((always_inline)) int virtqueue_add(struct vring_virtqueue *vvq,
							       const struct virtio_sg *sg,
							       unsigned int n, void *token, bool in)
{
	u16 flags = in ? VIRTQ_DESC_F_WRITE : 0;
	struct vring_desc_state *state = vvq->desc_state;
	struct virtq_desc *desc = vvq->desc;
	struct virtq_avail *avail = vvq->avail;
	u16 avail_idx = vvq->avail_idx;
	u32 head = vvq->free_head, i = head, total = 0;
	unsigned int left = n;

	BUG_ON(n == 0 || !token);
	if (unlikely(vvq->vq.broken))
		return -EIO;
	if (unlikely(want_indirect(vvq, n)))
		n = 1;
	if (unlikely(vvq->vq.num_free < n))
		return -ENOSPC;

	if (unlikely(left > n)) {
		total = fill_indirect(vvq, head, sg, left, flags);
	} else {
		for (; unlikely(left > 1); left--, sg++) {
			u16 next = state[i].next;

			desc[i].addr = cpu_to_le64(sg->addr);
			desc[i].len = cpu_to_le32(sg->len);
			desc[i].flags = cpu_to_le16(flags | VIRTQ_DESC_F_NEXT);
			desc[i].next = cpu_to_le16(next);
			total += sg->len;
			i = next;
		}
		desc[i].addr = cpu_to_le64(sg->addr);
		desc[i].len = cpu_to_le32(sg->len);
		desc[i].flags = cpu_to_le16(flags);
		total += sg->len;
	}
	i = state[i].next;
	vvq->free_head = (u16)i;
	vvq->vq.num_free -= (u16)n;
	vvq->in_flight++;
	state[head].token = token;
	state[head].in_len = in ? total : 0;
	state[head].ndesc = (u16)n;

	avail->ring[avail_idx & vvq->mask] = cpu_to_le16((u16)head);
	vvq->avail_idx = ++avail_idx;
	/* 2.7.13.3.1: descriptors and entry are visible before the index that exposes them */
	__atomic_store_n(&avail->idx, cpu_to_le16(avail_idx), __ATOMIC_RELEASE);
	return 0;
}

int virtqueue_add_outbuf(struct virtqueue *vq, const struct virtio_sg *sg, unsigned int n,
			 void *token)
{
	return virtqueue_add(to_vvq(vq), sg, n, token, false);
}

int virtqueue_add_inbuf(struct virtqueue *vq, const struct virtio_sg *sg, unsigned int n,
			void *token)
{
	return virtqueue_add(to_vvq(vq), sg, n, token, true);
}

/* 2.7.10: does the device want to hear of the buffers from old to idx? */
static inline bool device_wants_kick(const struct vring_virtqueue *vvq, u16 idx, u16 old)
{
	le16 flags;

	if (vvq->event) {
		le16 event = __atomic_load_n(vvq->avail_event, __ATOMIC_RELAXED);

		return vring_need_event(le16_to_cpu(event), idx, old);
	}
	flags = __atomic_load_n(&vvq->used->flags, __ATOMIC_RELAXED);
	return !(le16_to_cpu(flags) & VIRTQ_USED_F_NO_NOTIFY);
}

bool virtqueue_kick_prepare(struct virtqueue *vq)
{
	struct vring_virtqueue *vvq = to_vvq(vq);
	u16 idx = vvq->avail_idx, old = vvq->kicked_idx;

	if (unlikely(vq->broken) || old == idx)
		return false;
	vvq->kicked_idx = idx;
	/*
	 * 2.7.13.4.1: the index must be out before we look whether the device sleeps; the device
	 * says that it does, then looks at the index. Without the fence both could miss each other.
	 */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!device_wants_kick(vvq, idx, old)) {
		vq->kicks_suppressed++;
		return false;
	}
	return true;
}

noinline bool virtqueue_notify(struct virtqueue *vq)
{
	if (unlikely(vq->broken))
		return false;
	vq->kicks++;
	if (unlikely(!vq->notify(vq))) {
		BAD_RING(to_vvq(vq), "the device is gone");
		return false;
	}
	return true;
}

bool virtqueue_kick(struct virtqueue *vq)
{
	if (virtqueue_kick_prepare(vq))
		return virtqueue_notify(vq);
	return !vq->broken;
}

/* ---- device to driver ---- */

/* Has the device used anything beyond last_used_idx? Reads used->idx if that is not yet known. */
static inline bool vring_more_used(struct vring_virtqueue *vvq)
{
	u16 idx, pending;

	if (vvq->used_idx != vvq->last_used_idx)
		return true;
	/* 2.7.14: entries are read only after the index that covers them */
	idx = le16_to_cpu(__atomic_load_n(&vvq->used->idx, __ATOMIC_ACQUIRE));
	pending = (u16)(idx - vvq->last_used_idx);
	if (unlikely(pending > vvq->in_flight)) {
		BAD_RING(vvq, "used index %u is %u ahead, with %u in flight", idx, pending,
			 vvq->in_flight);
		return false;
	}
	vvq->used_idx = idx;
	return pending != 0;
}

/* The device interrupts when its index leaves event behind. Look at the index after this. */
static void vring_set_used_event(struct vring_virtqueue *vvq, u16 event)
{
	vvq->passed = false;
	__atomic_store_n(vvq->used_event, cpu_to_le16(event), __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* The chain of head goes back to the free list, in our own links. */
static inline void *detach_buf(struct vring_virtqueue *vvq, u32 head)
{
	struct vring_desc_state *state = vvq->desc_state, *last = &state[head];
	void *token = last->token;
	u32 ndesc = last->ndesc;

	last->token = NULL;
	vvq->vq.num_free += (u16)ndesc;
	while (unlikely(ndesc-- > 1))
		last = &state[last->next];
	last->next = vvq->free_head;
	vvq->free_head = (u16)head;
	vvq->in_flight--;
	return token;
}

void *virtqueue_get_buf(struct virtqueue *vq, u32 *len)
{
	struct vring_virtqueue *vvq = to_vvq(vq);
	const struct virtq_used_elem *elem;
	u32 id, used_len, in_len;

	if (unlikely(vq->broken) || !vring_more_used(vvq))
		return NULL;

	/* Each field is read once: the device may change it while we check. */
	elem = &vvq->used->ring[vvq->last_used_idx & vvq->mask];
	id = le32_to_cpu(READ_ONCE(elem->id));
	used_len = le32_to_cpu(READ_ONCE(elem->len));

	if (unlikely(id >= vq->num)) {
		BAD_RING(vvq, "id %u out of range", id);
		return NULL;
	}
	if (unlikely(!vvq->desc_state[id].token)) {
		BAD_RING(vvq, "id %u is not a head", id);
		return NULL;
	}
	in_len = vvq->desc_state[id].in_len;
	if (unlikely(used_len > in_len)) {
		if (in_len) {
			BAD_RING(vvq, "id %u: %u bytes used of %u", id, used_len, in_len);
			return NULL;
		}
		/* 2.7.8.2, legacy note: many devices set len wrongly where there is nothing to
		 * write */
		used_len = 0;
	}
	vvq->last_used_idx++;
	/* Whoever waits does so for what comes next: this one is had, maybe before its interrupt.
	 */
	if (unlikely(vvq->rearm))
		vring_set_used_event(vvq, vvq->last_used_idx);
	*len = used_len;
	return detach_buf(vvq, id);
}

void *virtqueue_detach_unused_buf(struct virtqueue *vq)
{
	struct vring_virtqueue *vvq = to_vvq(vq);

	for (u32 i = 0; vvq->in_flight && i < vq->num; i++)
		if (vvq->desc_state[i].token)
			return detach_buf(vvq, i);
	return NULL;
}

/* ---- interrupts ---- */

void virtqueue_disable_cb(struct virtqueue *vq)
{
	struct vring_virtqueue *vvq = to_vvq(vq);

	if (!vvq->cb_enabled)
		return;
	vvq->cb_enabled = vvq->rearm = false;
	if (!vvq->event)
		__atomic_store_n(&vvq->avail->flags, cpu_to_le16(VIRTQ_AVAIL_F_NO_INTERRUPT),
				 __ATOMIC_RELAXED);
	else if (!vvq->passed)
		__atomic_store_n(vvq->used_event, cpu_to_le16((u16)(vvq->last_used_idx - 1)),
				 __ATOMIC_RELAXED);
}

/* 2.7.14: interrupts on, for what is used beyond the next `skip` buffers. */
static inline void vring_enable_cb(struct vring_virtqueue *vvq, u16 skip)
{
	bool was_enabled = vvq->cb_enabled;

	/*
	 * 2.7.14: re-check after enabling. The device writes its index, then looks at what we want;
	 * we write what we want, then look at the index. One of the two sees the other.
	 */
	vvq->cb_enabled = true;
	vvq->rearm = vvq->event;
	if (vvq->event) {
		vring_set_used_event(vvq, (u16)(vvq->last_used_idx + skip));
	} else {
		if (!was_enabled)
			__atomic_store_n(&vvq->avail->flags, 0, __ATOMIC_RELAXED);
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
	}
}

bool virtqueue_enable_cb(struct virtqueue *vq)
{
	vring_enable_cb(to_vvq(vq), 0);
	return !virtqueue_more_used(vq);
}

bool virtqueue_enable_cb_delayed(struct virtqueue *vq)
{
	struct vring_virtqueue *vvq = to_vvq(vq);
	u16 skip = vvq->event ? (u16)(vvq->in_flight * 3u / 4) : 0, used;

	vring_enable_cb(vvq, skip);
	if (unlikely(vq->broken))
		return true;
	used = le16_to_cpu(__atomic_load_n(&vvq->used->idx, __ATOMIC_ACQUIRE));
	return (u16)(used - vvq->last_used_idx) <= skip;
}

bool virtqueue_more_used(const struct virtqueue *vq)
{
	const struct vring_virtqueue *vvq = to_vvq(vq);

	if (unlikely(vq->broken))
		return false;
	return vvq->last_used_idx !=
	       le16_to_cpu(__atomic_load_n(&vvq->used->idx, __ATOMIC_ACQUIRE));
}

irqreturn_t vring_interrupt(int irq, void *dev_id)
{
	struct virtqueue *vq = dev_id;

	(void)irq;
	if (!virtqueue_more_used(vq)) {
		vq->spurious++;
		return IRQ_NONE;
	}
	vq->interrupts++;
	to_vvq(vq)->passed = true;
	if (vq->callback)
		vq->callback(vq);
	return IRQ_HANDLED;
}
