/*
 * The split virtqueue (VIRTIO 1.2, 2.7). Memory that the device can write is the used ring and
 * nothing else; whatever we must know later about a descriptor (its token, link, length) lives in
 * desc_state[], which the device cannot reach. See virtio_ring.h for the calls and their contexts.
 *
 * A queue that is broken or packed takes the detour, which costs the split ring nothing: it has to
 * ask anyway whether it is broken.
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

#include "drivers/virtio/virtio_ring_internal.h"
#include "kernel/bug.h"
#include "kernel/lib/byteorder.h"
#include "kernel/lib/errno.h"
#include "kernel/printk.h"

/* ---- driver to device ---- */

/* 2.7.5.3: all but one descriptor into the table of `head`, which is then the buffer's only one. */
static noinline u32 fill_indirect(struct vring_virtqueue *vvq, u32 head, const struct virtio_sg *sg,
				  unsigned int n, unsigned int out)
{
	size_t first = (size_t)head * vvq->indirect_pieces;
	struct virtq_desc *table = &vvq->indirect[first];
	u32 total = 0;

	for (unsigned int i = 0; i < n; i++, sg++) {
		table[i].addr = cpu_to_le64(sg->addr);
		table[i].len = cpu_to_le32(sg->len);
		table[i].flags = cpu_to_le16((i < out ? 0 : VIRTQ_DESC_F_WRITE) |
					     (i + 1 < n ? VIRTQ_DESC_F_NEXT : 0));
		table[i].next = cpu_to_le16((u16)(i + 1));
		total += i < out ? 0 : sg->len;
	}
	vvq->desc[head].addr = cpu_to_le64(vvq->indirect_dma + first * sizeof(*table));
	vvq->desc[head].len = cpu_to_le32(n * (u32)sizeof(*table));
	vvq->desc[head].flags = cpu_to_le16(VIRTQ_DESC_F_INDIRECT);
	vvq->vq.indirect++;
	return total;
}

/* VIRTIO 1.2, 2.7.13.1: fill the descriptors, then 2.7.13.2 and .3: expose their head. */
static inline __attribute__((always_inline)) int virtqueue_add(struct vring_virtqueue *vvq,
							       const struct virtio_sg *sg,
							       unsigned int n, unsigned int out,
							       void *token)
{
	u16 last_flags = out == n ? 0 : VIRTQ_DESC_F_WRITE;
	struct vring_desc_state *state = vvq->desc_state;
	struct virtq_desc *desc = vvq->desc;
	struct virtq_avail *avail = vvq->avail;
	u16 avail_idx = vvq->avail_idx;
	u32 head = vvq->free_head, i = head, total = 0;
	unsigned int left = n;
	bool in = out != n;

	BUG_ON(n == 0 || !token);
	if (unlikely(want_indirect(vvq, n)))
		n = 1;
	if (unlikely(vvq->vq.num_free < n))
		return -ENOSPC;

	if (unlikely(left > n)) {
		total = fill_indirect(vvq, head, sg, left, out);
	} else {
		for (; unlikely(left > 1); left--, sg++) {
			u16 next = state[i].next;
			bool written = n - left >= out;

			desc[i].addr = cpu_to_le64(sg->addr);
			desc[i].len = cpu_to_le32(sg->len);
			desc[i].flags =
				cpu_to_le16((written ? VIRTQ_DESC_F_WRITE : 0) | VIRTQ_DESC_F_NEXT);
			desc[i].next = cpu_to_le16(next);
			total += written ? sg->len : 0;
			i = next;
		}
		desc[i].addr = cpu_to_le64(sg->addr);
		desc[i].len = cpu_to_le32(sg->len);
		desc[i].flags = cpu_to_le16(last_flags);
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

int virtqueue_add_sgs(struct virtqueue *vq, const struct virtio_sg *sg, unsigned int out,
		      unsigned int in, void *token)
{
	if (unlikely(vq->detour))
		return vring_detour_add(to_vvq(vq), sg, out + in, out, token);
	return virtqueue_add(to_vvq(vq), sg, out + in, out, token);
}

int virtqueue_add_outbuf(struct virtqueue *vq, const struct virtio_sg *sg, unsigned int n,
			 void *token)
{
	if (unlikely(vq->detour))
		return vring_detour_add(to_vvq(vq), sg, n, n, token);
	return virtqueue_add(to_vvq(vq), sg, n, n, token);
}

int virtqueue_add_inbuf(struct virtqueue *vq, const struct virtio_sg *sg, unsigned int n,
			void *token)
{
	if (unlikely(vq->detour))
		return vring_detour_add(to_vvq(vq), sg, n, 0, token);
	return virtqueue_add(to_vvq(vq), sg, n, 0, token);
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

static inline __attribute__((always_inline)) bool kick_prepare(struct virtqueue *vq)
{
	struct vring_virtqueue *vvq = to_vvq(vq);
	u16 idx = vvq->avail_idx, old = vvq->kicked_idx;

	if (unlikely(vq->detour))
		return vring_detour_kick_prepare(vvq);
	if (old == idx)
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

bool virtqueue_kick_prepare(struct virtqueue *vq)
{
	return kick_prepare(vq);
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
	if (kick_prepare(vq))
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

void *vring_split_detach(struct vring_virtqueue *vvq, u32 head)
{
	return detach_buf(vvq, head);
}

void *virtqueue_get_buf(struct virtqueue *vq, u32 *len)
{
	struct vring_virtqueue *vvq = to_vvq(vq);
	const struct virtq_used_elem *elem;
	u32 id, used_len;

	if (unlikely(vq->detour))
		return vring_detour_get_buf(vvq, len);
	if (!vring_more_used(vvq))
		return NULL;

	/* Each field is read once: the device may change it while we check. */
	elem = &vvq->used->ring[vvq->last_used_idx & vvq->mask];
	id = le32_to_cpu(READ_ONCE(elem->id));
	used_len = le32_to_cpu(READ_ONCE(elem->len));
	if (unlikely(!vring_used_ok(vvq, id, &used_len)))
		return NULL;
	vvq->last_used_idx++;
	/* Whoever waits does so for what comes next: this one is had, maybe before its interrupt.
	 */
	if (unlikely(vvq->rearm))
		vring_set_used_event(vvq, vvq->last_used_idx);
	*len = used_len;
	return detach_buf(vvq, id);
}

/* ---- interrupts ---- */

void virtqueue_disable_cb(struct virtqueue *vq)
{
	struct vring_virtqueue *vvq = to_vvq(vq);

	if (!vvq->cb_enabled)
		return;
	vvq->cb_enabled = vvq->rearm = false;
	if (likely(vvq->event)) {
		if (!vvq->passed)
			__atomic_store_n(vvq->used_event,
					 cpu_to_le16((u16)(vvq->last_used_idx - 1)),
					 __ATOMIC_RELAXED);
	} else if (vvq->packed) {
		vring_packed_disable_cb(vvq);
	} else {
		__atomic_store_n(&vvq->avail->flags, cpu_to_le16(VIRTQ_AVAIL_F_NO_INTERRUPT),
				 __ATOMIC_RELAXED);
	}
}

static inline __attribute__((always_inline)) bool more_used(const struct virtqueue *vq)
{
	const struct vring_virtqueue *vvq = to_vvq(vq);

	if (unlikely(vq->detour))
		return !vq->broken && vring_packed_more_used(vvq);
	return vvq->last_used_idx !=
	       le16_to_cpu(__atomic_load_n(&vvq->used->idx, __ATOMIC_ACQUIRE));
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
	struct vring_virtqueue *vvq = to_vvq(vq);

	if (unlikely(vvq->packed))
		return vring_packed_enable_cb(vvq, 0);
	vring_enable_cb(vvq, 0);
	return !more_used(vq);
}

bool virtqueue_enable_cb_delayed(struct virtqueue *vq)
{
	struct vring_virtqueue *vvq = to_vvq(vq);
	u16 skip = vvq->event ? (u16)(vvq->in_flight * 3u / 4) : 0, used;

	if (vvq->packed)
		return vring_packed_enable_cb(vvq, (u16)((vq->num - vq->num_free) * 3u / 4));
	vring_enable_cb(vvq, skip);
	if (unlikely(vq->broken))
		return true;
	used = le16_to_cpu(__atomic_load_n(&vvq->used->idx, __ATOMIC_ACQUIRE));
	return (u16)(used - vvq->last_used_idx) <= skip;
}

bool virtqueue_more_used(const struct virtqueue *vq)
{
	return more_used(vq);
}

irqreturn_t vring_interrupt(int irq, void *dev_id)
{
	struct virtqueue *vq = dev_id;

	(void)irq;
	if (!more_used(vq)) {
		vq->spurious++;
		return IRQ_NONE;
	}
	vq->interrupts++;
	to_vvq(vq)->passed = true;
	if (vq->callback)
		vq->callback(vq);
	return IRQ_HANDLED;
}
