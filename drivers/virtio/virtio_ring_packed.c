/*
 * The packed virtqueue (VIRTIO 1.2, 2.8): one ring of descriptors that both sides write. The driver
 * makes a descriptor available, the device overwrites it, or an earlier one, with what it has used.
 * Whose a descriptor is follows from two bits in its flags and a counter that flips with each lap,
 * so nothing that is read there is an index of ours: the device names a buffer by its ID, which is
 * checked as in the split ring, and how many descriptors the buffer took is known from our own
 * record.
 *
 * Order: a buffer is exposed by the flags of its first descriptor, stored last and with release; a
 * used one is seen by its flags, loaded first and with acquire. Sleeping is as in virtio_ring.c:
 * write, fence, look.
 *
 * Nothing here runs but by virtio_ring.c's calls.
 */
#define pr_fmt(fmt) "virtio_ring: " fmt

#include "drivers/virtio/virtio_ring_internal.h"
#include "kernel/bug.h"
#include "kernel/lib/byteorder.h"
#include "kernel/lib/errno.h"

/* 2.8.1: beside those of the split ring. */
#define PACKED_DESC_F_AVAIL (1u << 7)
#define PACKED_DESC_F_USED (1u << 15)
#define PACKED_DESC_F_BOTH (PACKED_DESC_F_AVAIL | PACKED_DESC_F_USED)

/* 2.8.14: event suppression, a position in the low half, one of these in the high half. */
#define PACKED_EVENT_ENABLE 0u
#define PACKED_EVENT_DISABLE 1u
#define PACKED_EVENT_DESC 2u /* for the descriptor at that position; only with EVENT_IDX */
#define PACKED_EVENT(flags, pos) ((flags) << 16 | (pos))

/* A position: index, and the wrap counter where off_wrap has it (2.8.14). */
#define POS_WRAP 0x8000u
#define POS_IDX(pos) ((pos)&0x7fffu)

static inline u16 advance(const struct vring_virtqueue *vvq, u16 pos, u32 n)
{
	u32 idx = POS_IDX(pos) + n, wrap = pos & POS_WRAP;

	if (idx >= vvq->vq.num) {
		idx -= vvq->vq.num;
		wrap ^= POS_WRAP;
	}
	return (u16)(idx | wrap);
}

void vring_packed_init(struct vring_virtqueue *vvq)
{
	u8 *ring = vvq->ring;

	vvq->p.desc = (struct virtq_packed_desc *)ring;
	vvq->p.driver_event = (le32 *)(ring + vvq->driver_off);
	vvq->p.device_event = (le32 *)(ring + vvq->device_off);
	vvq->p.next_avail = vvq->p.last_used = POS_WRAP; /* 2.8.1: both counters start as 1 */
	vvq->p.desc_event = virtio_has_feature(vvq->vq.vdev, VIRTIO_RING_F_EVENT_IDX);
}

/* ---- driver to device ---- */

/* 2.8.1: the flags of a descriptor that becomes available at pos. */
static inline u16 avail_flags(u16 pos, u32 flags)
{
	return (u16)(flags | (pos & POS_WRAP ? PACKED_DESC_F_AVAIL : PACKED_DESC_F_USED));
}

/* 2.8.7: all pieces into the table of that ID; NEXT is not used there. */
static noinline u32 fill_packed_table(struct vring_virtqueue *vvq, u32 id,
				      const struct virtio_sg *sg, unsigned int n, unsigned int out)
{
	struct virtq_packed_desc *table =
		(struct virtq_packed_desc *)vvq->indirect + (size_t)id * vvq->indirect_pieces;
	u32 total = 0;

	for (unsigned int i = 0; i < n; i++, sg++) {
		table[i] = (struct virtq_packed_desc){
			.addr = cpu_to_le64(sg->addr),
			.len = cpu_to_le32(sg->len),
			.flags = cpu_to_le16(i < out ? 0 : VIRTQ_DESC_F_WRITE),
		};
		total += i < out ? 0 : sg->len;
	}
	vvq->vq.indirect++;
	return total;
}

static inline void write_desc(struct virtq_packed_desc *d, dma_addr_t addr, u32 len, u32 id)
{
	d->addr = cpu_to_le64(addr);
	d->len = cpu_to_le32(len);
	d->id = cpu_to_le16((u16)id);
}

/* 2.8.21: all descriptors, then the flags of the first, which expose them. */
int vring_detour_add(struct vring_virtqueue *vvq, const struct virtio_sg *sg, unsigned int n,
		     unsigned int out, void *token)
{
	u16 pos = vvq->p.next_avail, head_flags;
	struct virtq_packed_desc *head = &vvq->p.desc[POS_IDX(pos)], *d = head;
	u32 id = vvq->free_head, total = 0;
	unsigned int ndesc = want_indirect(vvq, n) ? 1 : n;

	BUG_ON(n == 0 || !token);
	if (unlikely(vvq->vq.broken))
		return -EIO;
	if (unlikely(vvq->vq.num_free < ndesc))
		return -ENOSPC;
	if (likely(n == 1)) {
		write_desc(head, sg->addr, sg->len, id);
		head_flags = avail_flags(pos, out ? 0 : VIRTQ_DESC_F_WRITE);
		total = out ? 0 : sg->len;
		pos = advance(vvq, pos, 1);
	} else if (unlikely(ndesc < n)) {
		size_t first = (size_t)id * vvq->indirect_pieces;

		total = fill_packed_table(vvq, id, sg, n, out);
		write_desc(head, vvq->indirect_dma + first * sizeof(*head), n * (u32)sizeof(*head),
			   id);
		head_flags = avail_flags(pos, VIRTQ_DESC_F_INDIRECT);
		pos = advance(vvq, pos, 1);
	} else {
		head_flags = avail_flags(pos, (out ? 0 : VIRTQ_DESC_F_WRITE) | VIRTQ_DESC_F_NEXT);
		for (unsigned int i = 0; i < n; i++, sg++) {
			d = &vvq->p.desc[POS_IDX(pos)];
			write_desc(d, sg->addr, sg->len, id);
			if (i)
				d->flags = cpu_to_le16(avail_flags(
					pos, (i < out ? 0 : VIRTQ_DESC_F_WRITE) |
						     (i + 1 < n ? VIRTQ_DESC_F_NEXT : 0)));
			total += i < out ? 0 : sg->len;
			pos = advance(vvq, pos, 1);
		}
	}
	vvq->free_head = vvq->desc_state[id].next;
	vvq->vq.num_free -= (u16)ndesc;
	vvq->in_flight++;
	vvq->desc_state[id].token = token;
	vvq->desc_state[id].in_len = total;
	vvq->desc_state[id].ndesc = (u16)ndesc;
	vvq->p.next_avail = pos;
	vvq->p.added += (u16)ndesc;
	__atomic_store_n(&head->flags, cpu_to_le16(head_flags), __ATOMIC_RELEASE);
	return 0;
}

/* 2.8.14: is the device's position among the descriptors that were added? */
static bool device_wants_kick(const struct vring_virtqueue *vvq, u16 event)
{
	u32 num = vvq->vq.num, next = POS_IDX(vvq->p.next_avail), off = POS_IDX(event);
	/* How far the event lies behind the next position, in its lap or the one before. */
	u32 behind = (vvq->p.next_avail ^ event) & POS_WRAP ? next + num - off : next - off;

	return off < num && behind - 1 < vvq->p.added;
}

bool vring_detour_kick_prepare(struct vring_virtqueue *vvq)
{
	bool wanted = true;
	u32 event;

	if (unlikely(vvq->vq.broken) || vvq->p.added == 0)
		return false;
	/* The flags must be out before we look whether the device sleeps. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	event = le32_to_cpu(__atomic_load_n(vvq->p.device_event, __ATOMIC_RELAXED));
	switch (event >> 16 & 3) {
	case PACKED_EVENT_DISABLE:
		wanted = false;
		break;
	case PACKED_EVENT_DESC:
		wanted = !vvq->p.desc_event || device_wants_kick(vvq, (u16)event);
		break;
	}
	vvq->p.added = 0;
	if (!wanted)
		vvq->vq.kicks_suppressed++;
	return wanted;
}

/* ---- device to driver ---- */

/* 2.8.1: used at pos if both bits are as its lap's counter. */
static inline bool is_used(const struct vring_virtqueue *vvq, u16 pos)
{
	const struct virtq_packed_desc *d = &vvq->p.desc[POS_IDX(pos)];
	u16 flags = le16_to_cpu(__atomic_load_n(&d->flags, __ATOMIC_ACQUIRE));

	return (flags & PACKED_DESC_F_BOTH) == (pos & POS_WRAP ? PACKED_DESC_F_BOTH : 0);
}

bool vring_packed_more_used(const struct vring_virtqueue *vvq)
{
	return is_used(vvq, vvq->p.last_used);
}

void *vring_packed_detach(struct vring_virtqueue *vvq, u32 id)
{
	struct vring_desc_state *state = &vvq->desc_state[id];
	void *token = state->token;

	state->token = NULL;
	state->next = vvq->free_head;
	vvq->free_head = (u16)id;
	vvq->vq.num_free += state->ndesc;
	vvq->in_flight--;
	return token;
}

/* What we want to hear of, in one store: the device never sees half of it. */
static void set_driver_event(struct vring_virtqueue *vvq, u32 event)
{
	__atomic_store_n(vvq->p.driver_event, cpu_to_le32(event), __ATOMIC_RELAXED);
}

void *vring_detour_get_buf(struct vring_virtqueue *vvq, u32 *len)
{
	u16 pos = vvq->p.last_used;
	const struct virtq_packed_desc *d = &vvq->p.desc[POS_IDX(pos)];
	u32 id, used_len;

	if (unlikely(vvq->vq.broken) || !is_used(vvq, pos))
		return NULL;
	/* With nothing in flight nothing can be used, whatever the flags say. */
	if (unlikely(!vvq->in_flight)) {
		BAD_RING(vvq, "a used descriptor at %u, with none in flight", POS_IDX(pos));
		return NULL;
	}
	id = le16_to_cpu(READ_ONCE(d->id));
	used_len = le32_to_cpu(READ_ONCE(d->len));
	if (unlikely(!vring_used_ok(vvq, id, &used_len)))
		return NULL;
	/* 2.8.4: one used descriptor for the buffer, and the next one behind all that it took */
	vvq->p.last_used = pos = advance(vvq, pos, vvq->desc_state[id].ndesc);
	if (unlikely(vvq->rearm)) {
		set_driver_event(vvq, PACKED_EVENT(PACKED_EVENT_DESC, pos));
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
	}
	*len = used_len;
	return vring_packed_detach(vvq, id);
}

/* ---- interrupts ---- */

void vring_packed_disable_cb(struct vring_virtqueue *vvq)
{
	set_driver_event(vvq, PACKED_EVENT(PACKED_EVENT_DISABLE, 0));
}

/* skip: descriptors that may be used before we want to hear of it. */
bool vring_packed_enable_cb(struct vring_virtqueue *vvq, u16 skip)
{
	vvq->cb_enabled = true;
	vvq->rearm = vvq->p.desc_event;
	if (vvq->p.desc_event)
		set_driver_event(vvq, PACKED_EVENT(PACKED_EVENT_DESC,
						   advance(vvq, vvq->p.last_used, skip)));
	else
		set_driver_event(vvq, PACKED_EVENT(PACKED_EVENT_ENABLE, 0));
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	/*
	 * Also with skip: there may be no used descriptor at the position, but only behind it (a
	 * chain has one), so how much is used cannot be told from here.
	 */
	return vvq->vq.broken || !vring_packed_more_used(vvq);
}
