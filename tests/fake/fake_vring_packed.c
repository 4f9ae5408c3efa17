/*
 * The device's end of a packed ring (VIRTIO 1.2, 2.8): see fake_virtio.h. A place is counted over
 * two laps, 0 to 2 * num - 1: the first lap is that of wrap counter 1.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/fake/fake_virtio.h"

#define must fake_must

#define F_AVAIL 0x80u
#define F_USED 0x8000u

static u16 index_of(const struct fake_vring *r, u16 place)
{
	return place % r->num;
}

static bool wrap_of(const struct fake_vring *r, u16 place)
{
	return place < r->num;
}

static u16 forward(const struct fake_vring *r, u16 place, unsigned int n)
{
	return (u16)((place + n) % (2u * r->num));
}

/* How far `to` is ahead of `from`. */
static u16 ahead(const struct fake_vring *r, u16 to, u16 from)
{
	return (u16)((to + 2u * r->num - from) % (2u * r->num));
}

/* 2.8.14: off_wrap to place. */
static u16 place_of(const struct fake_vring *r, u16 off_wrap)
{
	u16 off = off_wrap & 0x7fff;

	must(off < r->num, "2.8.14: event offset %u in a ring of %u", off, r->num);
	return (u16)(off_wrap & 0x8000 ? off : off + r->num);
}

static u16 off_wrap_of(const struct fake_vring *r, u16 place)
{
	return (u16)(index_of(r, place) | (wrap_of(r, place) ? 0x8000 : 0));
}

void fake_packed_init(struct fake_vring *r, const struct virtqueue *vq)
{
	r->pdesc = (struct fake_packed_desc *)(uintptr_t)virtqueue_get_desc_addr(vq);
	r->driver_event = (u32 *)(uintptr_t)virtqueue_get_avail_addr(vq);
	r->device_event = (u32 *)(uintptr_t)virtqueue_get_used_addr(vq);
	must((uintptr_t)r->pdesc % 16 == 0 && (uintptr_t)r->driver_event % 4 == 0 &&
		     (uintptr_t)r->device_event % 4 == 0,
	     "2.8: alignment of the three parts");
	for (unsigned int i = 0; i < r->num; i++)
		must(r->pdesc[i].flags == 0, "2.8.1: a ring starts empty");
	r->ndesc = calloc(r->num, sizeof(*r->ndesc));
}

static u16 flags_at(const struct fake_vring *r, u16 place)
{
	return __atomic_load_n(&r->pdesc[index_of(r, place)].flags, __ATOMIC_ACQUIRE);
}

/* 2.8.1: AVAIL as the lap's counter, USED not. */
static bool is_avail(const struct fake_vring *r, u16 place)
{
	u16 flags = flags_at(r, place);
	bool wrap = wrap_of(r, place);

	return !!(flags & F_AVAIL) == wrap && !!(flags & F_USED) != wrap;
}

u16 fake_packed_pending(const struct fake_vring *r)
{
	/* With every descriptor here, what looks available is what was popped before. */
	return r->taken < r->num && is_avail(r, r->last_avail);
}

/* 2.8.7: a table; its entries have WRITE and no other flag. */
static void pop_table(const struct fake_vring *r, struct fake_buf *buf,
		      const struct fake_packed_desc *d)
{
	const struct fake_packed_desc *table = (const struct fake_packed_desc *)(uintptr_t)d->addr;

	must(r->indirect, "2.8.7: INDIRECT was not negotiated");
	must(d->len && d->len % sizeof(*table) == 0, "2.8.7: a table of %u bytes", d->len);
	must(d->len / sizeof(*table) <= r->num, "2.8.8: a chain longer than the queue");
	for (u32 i = 0; i < d->len / sizeof(*table); i++) {
		must(!(table[i].flags & ~VIRTQ_DESC_F_WRITE), "2.8.7: flags %#x in a table",
		     table[i].flags);
		fake_add_piece(buf, table[i].addr, table[i].len, table[i].flags);
	}
}

bool fake_packed_pop(struct fake_vring *r, struct fake_buf *buf)
{
	struct fake_packed_desc d;
	u16 n = 0;

	memset(buf, 0, sizeof(*buf));
	do {
		u16 place = forward(r, r->last_avail, n);

		must(n < r->num, "2.8.8: a chain longer than the queue");
		must(is_avail(r, place), "2.8.21: a chain is exposed before all of it is there");
		d = r->pdesc[index_of(r, place)];
		must(!(d.flags & ~(F_AVAIL | F_USED | VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE |
				   VIRTQ_DESC_F_INDIRECT)),
		     "2.8.13: flags %#x are none", d.flags);
		n++;
		if (d.flags & VIRTQ_DESC_F_INDIRECT) {
			must(!(d.flags & VIRTQ_DESC_F_NEXT) && n == 1,
			     "2.8.7: INDIRECT together with NEXT");
			pop_table(r, buf, &d);
		} else {
			fake_add_piece(buf, d.addr, d.len, d.flags);
		}
	} while (d.flags & VIRTQ_DESC_F_NEXT);
	/* 2.8.6: the ID is in the last descriptor. */
	must(d.id < r->num, "2.8.6: buffer ID %u of %u", d.id, r->num);
	must(!r->ndesc[d.id], "2.8.6: buffer ID %u reused before it was used", d.id);
	must(r->taken + n <= r->num, "2.8.21: descriptors reused before they were used");
	buf->head = d.id;
	r->ndesc[d.id] = n;
	r->taken += n;
	r->in_flight++;
	r->last_avail = forward(r, r->last_avail, n);
	return true;
}

void fake_packed_push(struct fake_vring *r, u32 id, u32 len, bool raw)
{
	struct fake_packed_desc *d = &r->pdesc[index_of(r, r->used_idx)];
	bool mine = id < r->num && r->ndesc[id];
	u16 n = mine ? r->ndesc[id] : 1;
	u16 flags = wrap_of(r, r->used_idx) ? F_AVAIL | F_USED : 0;

	must(mine || raw, "the test: buffer %u is not with the device", id);
	if (mine) {
		r->ndesc[id] = 0;
		r->taken -= n;
		r->in_flight--;
	}
	d->id = (u16)id;
	d->len = len;
	r->used_idx = forward(r, r->used_idx, n);
	__atomic_store_n(&d->flags, flags | (len ? VIRTQ_DESC_F_WRITE : 0), __ATOMIC_RELEASE);
}

/* ---- event suppression: 2.8.10, 2.8.14 ---- */

enum { ENABLE, DISABLE, DESC };

static u32 driver_event(const struct fake_vring *r)
{
	u32 event = __atomic_load_n(r->driver_event, __ATOMIC_RELAXED);

	must(event >> 16 <= DESC, "2.8.14: event flags %#x", event >> 16);
	must(event >> 16 != DESC || r->event, "2.8.14: DESC without EVENT_IDX");
	return event;
}

bool fake_packed_wants_interrupt(struct fake_vring *r)
{
	u16 before = r->signalled;
	u32 event;

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	event = driver_event(r);
	r->signalled = r->used_idx;
	if (event >> 16 != DESC)
		return event >> 16 == ENABLE;
	return ahead(r, place_of(r, (u16)event), before) < ahead(r, r->used_idx, before);
}

bool fake_packed_armed(const struct fake_vring *r)
{
	u32 event = driver_event(r);

	if (event >> 16 != DESC)
		return event >> 16 == ENABLE;
	return place_of(r, (u16)event) == r->used_idx;
}

void fake_packed_disable_notify(struct fake_vring *r)
{
	__atomic_store_n(r->device_event, DISABLE << 16, __ATOMIC_RELAXED);
}

bool fake_packed_enable_notify(struct fake_vring *r)
{
	u32 event = ENABLE << 16;

	if (r->event)
		event = DESC << 16 | off_wrap_of(r, r->last_avail);
	__atomic_store_n(r->device_event, event, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return fake_packed_pending(r) != 0;
}
