/*
 * The life of a virtqueue, split or packed: its memory, its tables, its end. What happens in
 * between is in virtio_ring.c and virtio_ring_packed.c.
 */
#define pr_fmt(fmt) "virtio_ring: " fmt

#include "drivers/virtio/virtio_ring_internal.h"
#include "kernel/bug.h"
#include "kernel/slab.h"

#define VRING_USED_ALIGN \
	4096u /* VIRTIO 1.2, 2.7.2: the legacy interface's; more than modern asks for */
#define PACKED_EVENT_ALIGN 64u /* each side's in a cache line of its own; 2.8 asks for 4 */

/* Where the parts are: descriptors, what the driver writes, what the device writes. */
static void layout(struct vring_virtqueue *vvq, u16 num)
{
	size_t desc_end = (size_t)num * 16;

	if (vvq->packed) {
		vvq->driver_off = ALIGN_UP(desc_end, (size_t)PACKED_EVENT_ALIGN);
		vvq->device_off = vvq->driver_off + PACKED_EVENT_ALIGN;
		vvq->ring_size = vvq->device_off + sizeof(le32);
		return;
	}
	vvq->driver_off = desc_end;
	/* flags, idx, the entries, used_event */
	vvq->device_off =
		ALIGN_UP(desc_end + sizeof(struct virtq_avail) + (num + 1u) * sizeof(le16),
			 (size_t)VRING_USED_ALIGN);
	/* flags, idx, the entries, avail_event */
	vvq->ring_size = vvq->device_off + sizeof(struct virtq_used) +
			 num * sizeof(struct virtq_used_elem) + sizeof(le16);
}

static void split_init(struct vring_virtqueue *vvq)
{
	u8 *ring = vvq->ring;
	u16 num = vvq->vq.num;

	vvq->desc = (struct virtq_desc *)ring;
	vvq->avail = (struct virtq_avail *)(ring + vvq->driver_off);
	vvq->used = (struct virtq_used *)(ring + vvq->device_off);
	vvq->used_event = &vvq->avail->ring[num];
	vvq->avail_event = (le16 *)&vvq->used->ring[num];
	vvq->event = virtio_has_feature(vvq->vq.vdev, VIRTIO_RING_F_EVENT_IDX);
	vvq->rearm = vvq->event;
	vvq->mask = num - 1u;
}

struct virtqueue *vring_create_virtqueue(u16 index, u16 num, struct virtio_device *vdev,
					 bool (*notify)(struct virtqueue *),
					 vq_callback_t *callback, const char *name)
{
	struct vring_virtqueue *vvq;

	/* VIRTIO 1.2, 2.7: the queue size is a power of two, at most 32768; ours is so if packed,
	 * too */
	if (!IS_POWER_OF_2(num) || num > VIRTQ_MAX_SIZE)
		return NULL;
	vvq = kzalloc(sizeof(*vvq));
	if (!vvq)
		return NULL;
	vvq->desc_state = kzalloc(num * sizeof(*vvq->desc_state));
	if (!vvq->desc_state)
		goto err_free_vvq;
	vvq->packed = virtio_has_feature(vdev, VIRTIO_F_RING_PACKED);
	layout(vvq, num);
	vvq->ring = dma_alloc_coherent(vvq->ring_size, &vvq->ring_dma);
	if (!vvq->ring)
		goto err_free_state;

	for (u32 i = 0; i < num; i++)
		vvq->desc_state[i].next = (u16)(i + 1);
	vvq->vq = (struct virtqueue){
		.name = name,
		.vdev = vdev,
		.callback = callback,
		.index = index,
		.num = num,
		.num_free = num,
		.detour = vvq->packed,
		.notify = notify,
	};
	/* What the cleared memory says: every interrupt, or the one for index 0. */
	vvq->cb_enabled = true;
	if (vvq->packed)
		vring_packed_init(vvq);
	else
		split_init(vvq);
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
	dma_free_coherent(vvq->ring_size, vvq->ring, vvq->ring_dma);
	kfree(vvq->desc_state);
	kfree(vvq);
}

dma_addr_t virtqueue_get_desc_addr(const struct virtqueue *vq)
{
	return to_vvq(vq)->ring_dma;
}

dma_addr_t virtqueue_get_avail_addr(const struct virtqueue *vq)
{
	return to_vvq(vq)->ring_dma + to_vvq(vq)->driver_off;
}

dma_addr_t virtqueue_get_used_addr(const struct virtqueue *vq)
{
	return to_vvq(vq)->ring_dma + to_vvq(vq)->device_off;
}

u64 vring_transport_features(void)
{
	/* Any split of a buffer into descriptors suits us: the promise that VERSION_1 contains. */
	return 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_ANY_LAYOUT |
	       1ull << VIRTIO_RING_F_EVENT_IDX | 1ull << VIRTIO_RING_F_INDIRECT_DESC |
	       1ull << VIRTIO_F_RING_PACKED;
}

void *virtqueue_detach_unused_buf(struct virtqueue *vq)
{
	struct vring_virtqueue *vvq = to_vvq(vq);

	for (u32 i = 0; vvq->in_flight && i < vq->num; i++)
		if (vvq->desc_state[i].token)
			return vvq->packed ? vring_packed_detach(vvq, i) :
					     vring_split_detach(vvq, i);
	return NULL;
}
