/* The device side of virtio: see fake_virtio.h. Clauses are VIRTIO 1.2's. */
#include "tests/fake/fake_virtio.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/bug.h"
#include "kernel/lib/byteorder.h"
#include "kernel/lib/container_of.h"
#include "kernel/lib/errno.h"
#include "kernel/softirq.h"
#include "tests/fake/fake_kernel.h"

static void violation_abort(const char *text)
{
	fprintf(stderr, "driver violates %s\n", text);
	abort();
}

void (*fake_violation)(const char *text) = violation_abort;

void fake_must(bool ok, const char *fmt, ...)
{
	char text[256] = "VIRTIO 1.2, ";
	size_t n = strlen(text);
	va_list ap;

	if (ok)
		return;
	va_start(ap, fmt);
	vsnprintf(text + n, sizeof(text) - n, fmt, ap);
	va_end(ap);
	fake_violation(text);
}

#define must fake_must

/* ---- the device's end of a split ring ---- */

void fake_vring_init(struct fake_vring *r, const struct virtqueue *vq)
{
	memset(r, 0, sizeof(*r));
	r->num = vq->num;
	r->event = virtio_has_feature(vq->vdev, VIRTIO_RING_F_EVENT_IDX);
	r->indirect = virtio_has_feature(vq->vdev, VIRTIO_RING_F_INDIRECT_DESC);
	r->packed = virtio_has_feature(vq->vdev, VIRTIO_F_RING_PACKED);
	if (r->packed) {
		fake_packed_init(r, vq);
		return;
	}
	r->desc = (struct virtq_desc *)(uintptr_t)virtqueue_get_desc_addr(vq);
	r->avail = (struct virtq_avail *)(uintptr_t)virtqueue_get_avail_addr(vq);
	r->used = (struct virtq_used *)(uintptr_t)virtqueue_get_used_addr(vq);
	must((uintptr_t)r->desc % 16 == 0 && (uintptr_t)r->avail % 2 == 0 &&
		     (uintptr_t)r->used % 4 == 0,
	     "2.7: alignment of the three parts");
	must(r->avail->idx == 0 && r->used->idx == 0, "3.1.1: a ring starts empty");
	r->shadow = calloc(r->num, sizeof(*r->shadow));
	r->table = calloc(r->num, sizeof(*r->table));
	r->owned = calloc(r->num, 1);
}

void fake_vring_exit(struct fake_vring *r)
{
	for (unsigned int i = 0; r->table && i < r->num; i++)
		free(r->table[i]);
	free(r->table);
	free(r->shadow);
	free(r->owned);
	free(r->ndesc);
	memset(r, 0, sizeof(*r));
}

u16 fake_vring_pending(struct fake_vring *r)
{
	if (r->packed)
		return fake_packed_pending(r);
	return (u16)(__atomic_load_n(&r->avail->idx, __ATOMIC_ACQUIRE) - r->last_avail);
}

/* One piece of a buffer. */
void fake_add_piece(struct fake_buf *buf, u64 addr, u32 len, u16 flags)
{
	unsigned int n = buf->nr_out + buf->nr_in;

	must(n < FAKE_MAX_SG, "2.7.5.3.1: a chain without end");
	must(len != 0, "2.7.5: an empty descriptor");
	if (flags & VIRTQ_DESC_F_WRITE) {
		buf->nr_in++;
		buf->in_len += len;
	} else {
		must(buf->nr_in == 0, "2.7.4.2: readable descriptor behind a writable one");
		buf->nr_out++;
		buf->out_len += len;
	}
	buf->sg[n].addr = (u8 *)(uintptr_t)addr;
	buf->sg[n].len = len;
}

/* The pieces in the table of an indirect descriptor (2.7.5.3). Keeps a copy of the table in *copy.
 */
static void pop_table(const struct fake_vring *r, struct fake_buf *buf, const struct virtq_desc *d,
		      struct virtq_desc **copy)
{
	const struct virtq_desc *from = (const struct virtq_desc *)(uintptr_t)d->addr;
	u32 entries = d->len / (u32)sizeof(*from), i = 0;
	struct virtq_desc *table;

	must(r->indirect, "2.7.5.3.1: INDIRECT was not negotiated");
	must(!(d->flags & VIRTQ_DESC_F_NEXT), "2.7.5.3.1: INDIRECT together with NEXT");
	must(d->len && d->len % sizeof(*from) == 0, "2.7.5.3.2: a table of %u bytes", d->len);
	must(entries <= r->num, "2.7.5.3.1: a chain of %u in a queue of %u", entries, r->num);
	*copy = table = malloc(d->len);
	memcpy(table, from, d->len);
	for (u32 n = 0;; n++) {
		must(i < entries, "2.7.5.3.1: entry %u of %u", i, entries);
		must(n < entries, "2.7.5.3.1: a circle in the table");
		must(!(table[i].flags & ~(VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE)),
		     "2.7.5.3.1: flags %#x in a table", table[i].flags);
		fake_add_piece(buf, table[i].addr, table[i].len, table[i].flags);
		if (!(table[i].flags & VIRTQ_DESC_F_NEXT))
			return;
		i = table[i].next;
	}
}

bool fake_vring_pop(struct fake_vring *r, struct fake_buf *buf)
{
	u16 pending = fake_vring_pending(r), i;

	if (pending == 0)
		return false;
	if (r->packed)
		return fake_packed_pop(r, buf);
	must(pending <= r->num, "2.7.13: %u buffers available in a ring of %u", pending, r->num);
	memset(buf, 0, sizeof(*buf));
	i = buf->head = r->avail->ring[r->last_avail % r->num];
	r->last_avail++;
	for (;;) {
		struct virtq_desc d;

		must(i < r->num, "2.7.5: descriptor %u of %u", i, r->num);
		must(!r->owned[i], "2.7.13: descriptor %u reused before it was used", i);
		d = r->desc[i];
		must(!(d.flags & ~(VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE | VIRTQ_DESC_F_INDIRECT)),
		     "2.7.5: flags %#x not negotiated", d.flags);
		if (d.flags & VIRTQ_DESC_F_INDIRECT)
			pop_table(r, buf, &d, &r->table[i]);
		else
			fake_add_piece(buf, d.addr, d.len, d.flags);
		r->shadow[i] = d;
		r->owned[i] = 1;
		if (!(d.flags & VIRTQ_DESC_F_NEXT))
			break;
		i = d.next;
	}
	r->in_flight++;
	return true;
}

void fake_vring_push_raw(struct fake_vring *r, u32 id, u32 len)
{
	struct virtq_used_elem *elem;

	if (r->packed) {
		fake_packed_push(r, id, len, true);
		return;
	}
	elem = &r->used->ring[r->used_idx % r->num];
	elem->id = id;
	elem->len = len;
	r->used_idx++;
	__atomic_store_n(&r->used->idx, r->used_idx, __ATOMIC_RELEASE);
}

void fake_vring_push(struct fake_vring *r, u16 head, u32 len)
{
	if (r->packed) {
		fake_packed_push(r, head, len, false);
		return;
	}
	for (u16 i = head;; i = r->shadow[i].next) {
		BUG_ON(!r->owned[i]);
		must(!memcmp(&r->shadow[i], &r->desc[i], sizeof(r->desc[i])),
		     "2.7.13: descriptor %u changed while the device had it", i);
		if (r->table[i])
			must(!memcmp(r->table[i], (void *)(uintptr_t)r->desc[i].addr,
				     r->desc[i].len),
			     "2.7.13: table of descriptor %u changed while the device had it", i);
		free(r->table[i]);
		r->table[i] = NULL;
		r->owned[i] = 0;
		if (!(r->shadow[i].flags & VIRTQ_DESC_F_NEXT))
			break;
	}
	r->in_flight--;
	fake_vring_push_raw(r, head, len);
}

void fake_vring_set_used_idx_raw(struct fake_vring *r, u16 idx)
{
	r->used_idx = idx;
	__atomic_store_n(&r->used->idx, idx, __ATOMIC_RELEASE);
}

static u16 avail_flags(const struct fake_vring *r)
{
	u16 flags = __atomic_load_n(&r->avail->flags, __ATOMIC_RELAXED);

	must(!(flags & ~VIRTQ_AVAIL_F_NO_INTERRUPT), "2.7.6: avail flags %#x", flags);
	must(!r->event || flags == 0, "2.7.7.1: flags are 0 with EVENT_IDX");
	return flags;
}

static u16 used_event(const struct fake_vring *r)
{
	return __atomic_load_n(&r->avail->ring[r->num], __ATOMIC_RELAXED);
}

bool fake_vring_wants_interrupt(struct fake_vring *r)
{
	u16 before = r->signalled;

	if (r->packed)
		return fake_packed_wants_interrupt(r);
	/* 2.7.7.1: index first, then what the driver wants */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	r->signalled = r->used_idx;
	if (avail_flags(r) & VIRTQ_AVAIL_F_NO_INTERRUPT)
		return false;
	/* 2.7.7.2: the entry at used_event is among those that were written since */
	return !r->event || (u16)(used_event(r) - before) < (u16)(r->used_idx - before);
}

bool fake_vring_armed(const struct fake_vring *r)
{
	if (r->packed)
		return fake_packed_armed(r);
	return r->event ? used_event(r) == r->used_idx :
			  !(avail_flags(r) & VIRTQ_AVAIL_F_NO_INTERRUPT);
}

void fake_vring_disable_notify(struct fake_vring *r)
{
	/* 2.7.10.2: flags are 0 with EVENT_IDX; an avail_event that was passed says no more */
	if (r->packed)
		fake_packed_disable_notify(r);
	else if (!r->event)
		__atomic_store_n(&r->used->flags, VIRTQ_USED_F_NO_NOTIFY, __ATOMIC_RELAXED);
}

bool fake_vring_enable_notify(struct fake_vring *r)
{
	if (r->packed)
		return fake_packed_enable_notify(r);
	if (r->event)
		__atomic_store_n((le16 *)&r->used->ring[r->num], r->last_avail, __ATOMIC_RELAXED);
	else
		__atomic_store_n(&r->used->flags, 0, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return fake_vring_pending(r) != 0;
}

u32 fake_buf_read(const struct fake_buf *buf, void *to, u32 len)
{
	u32 done = 0;

	for (unsigned int i = 0; i < buf->nr_out && done < len; i++) {
		u32 n = min(len - done, buf->sg[i].len);

		memcpy((u8 *)to + done, buf->sg[i].addr, n);
		done += n;
	}
	return done;
}

u32 fake_buf_write(const struct fake_buf *buf, const void *from, u32 len)
{
	u32 done = 0;

	for (unsigned int i = buf->nr_out; i < buf->nr_out + buf->nr_in && done < len; i++) {
		u32 n = min(len - done, buf->sg[i].len);

		memcpy(buf->sg[i].addr, (const u8 *)from + done, n);
		done += n;
	}
	return done;
}

/* ---- the device ---- */

#define to_fake(v) container_of(v, struct fake_virtio, vdev)

static int fake_get(struct virtio_device *vdev, unsigned int offset, void *buf, unsigned int len)
{
	struct fake_virtio *dev = to_fake(vdev);

	must(dev->status & VIRTIO_CONFIG_S_DRIVER, "3.1.1: configuration read before DRIVER");
	if (len > dev->config_len || offset > dev->config_len - len) {
		memset(buf, 0, len);
		return -ERANGE;
	}
	memcpy(buf, dev->config + offset, len);
	return 0;
}

static u32 fake_generation(struct virtio_device *vdev)
{
	return to_fake(vdev)->generation;
}

static u8 fake_get_status(struct virtio_device *vdev)
{
	struct fake_virtio *dev = to_fake(vdev);

	if (dev->gone)
		return 0xff;
	if (dev->status & VIRTIO_CONFIG_S_FEATURES_OK)
		dev->reread = true;
	return dev->status;
}

static void fake_set_status(struct virtio_device *vdev, u8 status)
{
	struct fake_virtio *dev = to_fake(vdev);
	u8 added = status & (u8)~dev->status;
	bool modern = dev->accepted & 1ull << VIRTIO_F_VERSION_1;

	if (dev->gone)
		return;
	must(status != 0, "3.1.1: reset by reset(), which waits");
	must((status & dev->status) == (dev->status & ~VIRTIO_CONFIG_S_NEEDS_RESET),
	     "2.1.1: status bit cleared (%#x after %#x)", status, dev->status);
	must(!(dev->status & VIRTIO_CONFIG_S_FAILED), "2.1.1: FAILED is final until a reset");
	if (added & VIRTIO_CONFIG_S_DRIVER)
		must(dev->status & VIRTIO_CONFIG_S_ACKNOWLEDGE, "3.1.1: DRIVER before ACKNOWLEDGE");
	if (added & VIRTIO_CONFIG_S_FEATURES_OK) {
		must(dev->status & VIRTIO_CONFIG_S_DRIVER, "3.1.1: FEATURES_OK before DRIVER");
		dev->reread = false;
		if (dev->refuse_features)
			status &= (u8)~VIRTIO_CONFIG_S_FEATURES_OK;
	}
	if (added & VIRTIO_CONFIG_S_DRIVER_OK) {
		must(dev->status & VIRTIO_CONFIG_S_DRIVER, "3.1.1: DRIVER_OK before DRIVER");
		must(!modern || dev->status & VIRTIO_CONFIG_S_FEATURES_OK,
		     "3.1.1: DRIVER_OK before FEATURES_OK");
		must(!modern || dev->reread, "3.1.1: FEATURES_OK was not read back");
	}
	dev->status = status;
}

static void forget_queues(struct fake_virtio *dev)
{
	for (unsigned int i = 0; i < dev->nvqs; i++)
		if (dev->vq[i].ring.num)
			fake_vring_exit(&dev->vq[i].ring);
}

static int fake_reset(struct virtio_device *vdev)
{
	struct fake_virtio *dev = to_fake(vdev);

	dev->resets++;
	if (dev->gone)
		return -EIO;
	if (dev->fail_resets) {
		dev->fail_resets--;
		return -ETIMEDOUT;
	}
	dev->status = 0;
	dev->accepted = 0;
	forget_queues(dev);
	return 0;
}

static u64 fake_get_features(struct virtio_device *vdev)
{
	return to_fake(vdev)->offered;
}

static int fake_finalize_features(struct virtio_device *vdev)
{
	struct fake_virtio *dev = to_fake(vdev);

	must(!(vdev->features & ~dev->offered), "2.2.1: accepts what was not offered (%#llx)",
	     (unsigned long long)(vdev->features & ~dev->offered));
	must(dev->status & VIRTIO_CONFIG_S_DRIVER, "3.1.1: features written before DRIVER");
	must(!(dev->status & VIRTIO_CONFIG_S_FEATURES_OK),
	     "3.1.1: features written after FEATURES_OK");
	dev->accepted = vdev->features;
	return 0;
}

static bool fake_notify(struct virtqueue *vq)
{
	struct fake_virtio *dev = to_fake(vq->vdev);

	if (dev->gone)
		return false;
	must(dev->status & VIRTIO_CONFIG_S_DRIVER_OK, "3.1.1: notification before DRIVER_OK");
	dev->vq[vq->index].notified++;
	if (dev->on_notify)
		dev->on_notify(dev, vq->index);
	return true;
}

static void fake_del_vqs(struct virtio_device *vdev)
{
	struct fake_virtio *dev = to_fake(vdev);

	must(dev->status == 0, "2.6.1 and 3.3: queues freed while the device is live");
	for (unsigned int i = 0; i < dev->nvqs; i++) {
		if (!dev->vq[i].vq)
			continue;
		free_irq(dev->vq[i].irq, dev->vq[i].vq);
		irq_free_msi(dev->vq[i].irq);
		vring_del_virtqueue(dev->vq[i].vq);
		dev->vq[i].vq = NULL;
	}
	dev->nvqs = 0;
}

static int fake_find_vqs(struct virtio_device *vdev, unsigned int nvqs, struct virtqueue *vqs[],
			 vq_callback_t *callbacks[], const char *const names[], u16 max_num)
{
	struct fake_virtio *dev = to_fake(vdev);
	bool modern = dev->accepted & 1ull << VIRTIO_F_VERSION_1;
	struct msi_msg msg;

	must(!modern || dev->status & VIRTIO_CONFIG_S_FEATURES_OK,
	     "3.1.1: queues before FEATURES_OK");
	must(!(dev->status & VIRTIO_CONFIG_S_DRIVER_OK), "3.1.1: queues set up after DRIVER_OK");
	if (dev->fail_find_vqs)
		return -ENOMEM;
	for (unsigned int i = 0; i < nvqs; i++) {
		struct fake_vq *fvq = &dev->vq[i];

		fvq->vq = vring_create_virtqueue((u16)i, min(dev->queue_size[i], max_num), vdev,
						 fake_notify, callbacks[i], names[i]);
		if (!fvq->vq)
			goto err;
		fvq->irq = irq_alloc_msi(&msg);
		BUG_ON(fvq->irq < 0);
		BUG_ON(request_irq(fvq->irq, vring_interrupt, 0, names[i], fvq->vq) != 0);
		fake_vring_init(&fvq->ring, fvq->vq);
		fvq->notified = 0;
		vqs[i] = fvq->vq;
		dev->nvqs = i + 1;
	}
	return 0;
err:
	forget_queues(dev);
	dev->status = 0;
	fake_del_vqs(vdev);
	return -ENOMEM;
}

static const char *fake_irq_name(struct virtio_device *vdev)
{
	(void)vdev;
	return "msix";
}

static const char *fake_bus_name(struct virtio_device *vdev)
{
	return to_fake(vdev)->accepted & 1ull << VIRTIO_F_VERSION_1 ? "fake modern" : "fake legacy";
}

static const struct virtio_config_ops fake_config_ops = {
	.get = fake_get,
	.generation = fake_generation,
	.get_status = fake_get_status,
	.set_status = fake_set_status,
	.reset = fake_reset,
	.get_features = fake_get_features,
	.finalize_features = fake_finalize_features,
	.find_vqs = fake_find_vqs,
	.del_vqs = fake_del_vqs,
	.irq_name = fake_irq_name,
	.bus_name = fake_bus_name,
};

void fake_virtio_init(struct fake_virtio *dev, u32 id, u64 features)
{
	memset(dev, 0, sizeof(*dev));
	dev->vdev.name = "virtio0";
	dev->vdev.id = id;
	dev->vdev.config = &fake_config_ops;
	dev->offered = features;
	dev->config_len = sizeof(dev->config);
	for (unsigned int i = 0; i < FAKE_MAX_VQS; i++)
		dev->queue_size[i] = 256;
}

void fake_virtio_exit(struct fake_virtio *dev)
{
	forget_queues(dev);
	dev->status = 0;
	if (dev->nvqs)
		fake_del_vqs(&dev->vdev);
}

bool fake_virtio_interrupt(struct fake_virtio *dev, unsigned int q)
{
	if (!fake_vring_wants_interrupt(&dev->vq[q].ring))
		return false;
	fake_irq_raise(dev->vq[q].irq);
	return true;
}

static void config_interrupt(struct fake_virtio *dev)
{
	irq_enter();
	if (dev->vdev.config_changed)
		dev->vdev.config_changed(&dev->vdev);
	irq_exit();
}

void fake_virtio_config_write(struct fake_virtio *dev, unsigned int offset, const void *val,
			      unsigned int len)
{
	memcpy(dev->config + offset, val, len);
	dev->generation++;
	config_interrupt(dev);
}

void fake_virtio_needs_reset(struct fake_virtio *dev)
{
	dev->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	if (dev->status & VIRTIO_CONFIG_S_DRIVER_OK)
		config_interrupt(dev);
}
