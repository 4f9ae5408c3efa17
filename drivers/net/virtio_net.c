/*
 * The virtio NIC's data path (VIRTIO 1.2, 5.1.6). Read it with the packet: pkt_recv_done,
 * virtnet_poll, virtnet_receive, receive_buf, up the stack, and back by start_xmit and xmit_pkt.
 *
 * Receive buffers come from a pool, header and frame in one block. What goes up is replaced in
 * batches; if the pool is dry the ring gets short, and the next block that comes home schedules the
 * poll.
 *
 * Transmit interrupts are off: a sent packet is reclaimed by the next start_xmit or receive poll,
 * which in a dialogue is soon. Two cases cannot wait for that and turn the interrupt on: the ring
 * is nearly full, and the receive pool is dry while packets (echoes, say, in its blocks) sit in the
 * transmit ring. What is left when traffic ends is fetched by a lazy timer, armed only while
 * packets are out: 100 ms, shorter than TCP's shortest retransmission timeout, since lwIP does not
 * resend what the driver still holds.
 */
#define pr_fmt(fmt) "virtio_net: " fmt

#include "drivers/net/virtio_net.h"

#include "kernel/lib/byteorder.h"
#include "kernel/lib/container_of.h"
#include "kernel/lib/errno.h"
#include "kernel/mm.h"
#include "net/trace.h"

#define RECLAIM_NS (100 * NSEC_PER_MSEC)
#define RECLAIM_MAX_NS (6400 * NSEC_PER_MSEC) /* for a device that completes nothing */

static inline void virtqueue_napi_schedule(struct napi_struct *napi, struct virtqueue *vq)
{
	if (napi_schedule_prep(napi)) {
		virtqueue_disable_cb(vq);
		__napi_schedule(napi);
	}
}

/* Off the list and interrupts on; or once more, if something came in between (2.7.14). */
static void virtqueue_napi_complete(struct napi_struct *napi, struct virtqueue *vq, int work_done)
{
	if (napi_complete_done(napi, work_done) && unlikely(!virtqueue_enable_cb(vq)))
		virtqueue_napi_schedule(napi, vq);
}

/* ---- transmit: reclaim ---- */

static bool tx_in_flight(const struct send_queue *sq)
{
	return sq->vq->num_free != sq->vq->num;
}

static void free_old_xmit(struct send_queue *sq)
{
	struct pkt_buf *pkt;
	u32 len;

	while (tx_in_flight(sq) && (pkt = virtqueue_get_buf(sq->vq, &len))) {
		sq->reclaimed++;
		trace_complete(pkt);
		pkt_free(pkt);
	}
}

/* Reclaims, and wakes the queue if that made room. */
static void virtnet_poll_cleantx(struct send_queue *sq)
{
	struct net_device *dev = &sq->vi->dev;

	free_old_xmit(sq);
	if (unlikely(netif_tx_queue_stopped(dev)) && sq->vq->num_free >= sq->stop_thresh)
		netif_tx_wake_queue(dev);
}

/* Somebody waits for transmitted packets to come back: ask for the interrupt. */
static void virtnet_await_tx(struct send_queue *sq)
{
	if (tx_in_flight(sq) && !virtqueue_enable_cb(sq->vq))
		virtqueue_napi_schedule(&sq->napi, sq->vq);
}

/* Hard IRQ: transmitted buffers are back, and somebody waits for them. */
void xmit_done(struct virtqueue *vq)
{
	struct send_queue *sq = vq->owner;

	if (likely(sq))
		virtqueue_napi_schedule(&sq->napi, vq);
}

int virtnet_poll_tx(struct napi_struct *napi, int budget)
{
	struct send_queue *sq = container_of(napi, struct send_queue, napi);
	struct virtnet_info *vi = sq->vi;

	(void)budget;
	if (unlikely(!vi->ready)) {
		napi_complete_done(napi, 0);
		return 0;
	}
	virtnet_poll_cleantx(sq);
	if (napi_complete_done(napi, 0) && (netif_tx_queue_stopped(&vi->dev) || vi->rq[0].starved))
		virtnet_await_tx(sq);
	if (unlikely(virtqueue_is_broken(sq->vq)))
		virtnet_schedule_reset(vi);
	return 0;
}

/* The next look at the ring: soon, or ever later while the device completes nothing. */
static noinline void arm_reclaim(struct send_queue *sq)
{
	if (sq->reclaimed != sq->reclaimed_seen || sq->reclaim_ns == 0)
		sq->reclaim_ns = RECLAIM_NS;
	else
		sq->reclaim_ns = min(2 * sq->reclaim_ns, RECLAIM_MAX_NS);
	sq->reclaimed_seen = sq->reclaimed;
	hrtimer_start(&sq->reclaim_timer, ktime_get() + sq->reclaim_ns);
}

/* The lazy timer: nothing was sent or received for a while. */
void virtnet_reclaim(struct hrtimer *timer)
{
	struct send_queue *sq = container_of(timer, struct send_queue, reclaim_timer);

	if (!sq->vi->ready)
		return;
	virtnet_poll_cleantx(sq);
	if (unlikely(virtqueue_is_broken(sq->vq)))
		virtnet_schedule_reset(sq->vi);
	else if (tx_in_flight(sq))
		arm_reclaim(sq);
}

/* ---- transmit ---- */

static void virtnet_kick_tx(struct send_queue *sq)
{
	sq->unkicked = false;
	trace_doorbell();
	if (unlikely(!virtqueue_kick(sq->vq)))
		virtnet_schedule_reset(sq->vi);
}

/* VIRTIO 1.2, 5.1.6.2. */
static void xmit_offloads(struct virtio_net_hdr *hdr, const struct pkt_buf *pkt)
{
	hdr->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	hdr->csum_start = cpu_to_le16(pkt->csum_start);
	hdr->csum_offset = cpu_to_le16(pkt->csum_offset);
	if (!pkt->gso_size)
		return;
	hdr->gso_type = pkt->csum_start == ETH_HLEN + 20 ? VIRTIO_NET_HDR_GSO_TCPV4 :
							   VIRTIO_NET_HDR_GSO_TCPV6;
	hdr->gso_size = cpu_to_le16(pkt->gso_size);
	hdr->hdr_len = cpu_to_le16(pkt->gso_hlen);
}

/* Header and pieces become one buffer. 0, -ENOSPC, or -EIO: the ring is broken. */
static noinline int xmit_pkt(struct send_queue *sq, struct pkt_buf *pkt)
{
	struct virtio_sg sg[PKT_MAX_FRAGS + 1];
	const struct pkt_frag *frag = pkt->frags, *end = frag + pkt->nr_frags;
	unsigned int n = 0;
	u8 *hdr = pkt->cb;

	if (likely(sq->any_layout && pkt->headroom >= sq->hdr_len)) {
		hdr = (u8 *)(uintptr_t)frag->addr - sq->hdr_len;
		sg[n++] = (struct virtio_sg){ virt_to_phys(hdr), sq->hdr_len + frag->len };
		frag++;
	} else {
		sg[n++] = (struct virtio_sg){ virt_to_phys(hdr), sq->hdr_len };
	}
	/* VIRTIO 1.2, 5.1.6.2: all 0 where nothing is left to the device, num_buffers always */
	__builtin_memset(hdr, 0, sizeof(struct virtio_net_hdr));
	if (pkt->offloads)
		xmit_offloads((struct virtio_net_hdr *)hdr, pkt);
	if (likely(sq->hdr_len > sizeof(struct virtio_net_hdr)))
		__builtin_memset(hdr + sizeof(struct virtio_net_hdr), 0, sizeof(le16));

	for (; frag < end; frag++)
		sg[n++] = (struct virtio_sg){ virt_to_phys(frag->addr), frag->len };
	return virtqueue_add_outbuf(sq->vq, sg, n, pkt);
}

/* The ring may not hold the next packet: stop, ask for the interrupt, and look again. */
static void tx_stop(struct send_queue *sq)
{
	struct net_device *dev = &sq->vi->dev;

	netif_tx_stop_queue(dev);
	sq->tx_stopped++;
	/* Not for each packet that goes: when there is room worth while. */
	if (likely(virtqueue_enable_cb_delayed(sq->vq)))
		return;
	/* Completed while we looked away. Whatever completes from here on interrupts. */
	free_old_xmit(sq);
	if (sq->vq->num_free >= sq->stop_thresh) {
		netif_tx_start_queue(dev);
		virtqueue_disable_cb(sq->vq);
	}
}

/* The packet cannot go: keep it for later if room will come, else drop it. */
static netdev_tx_t xmit_failed(struct send_queue *sq, struct pkt_buf *pkt, bool full)
{
	netdev_tx_t ret = NETDEV_TX_OK;

	if (full && tx_in_flight(sq)) {
		sq->tx_busy++;
		netif_tx_stop_queue(&sq->vi->dev);
		virtnet_await_tx(sq);
		ret = NETDEV_TX_BUSY;
	} else {
		sq->tx_errors++;
		trace_drop(pkt);
		pkt_free(pkt);
	}
	/* Packets before this one may be waiting for its doorbell. */
	virtnet_kick_tx(sq);
	return ret;
}

static noinline netdev_tx_t start_xmit(struct pkt_buf *pkt, struct net_device *dev)
{
	struct virtnet_info *vi = dev->ml_priv;
	struct send_queue *sq = &vi->sq[0];
	int err;

	if (unlikely(!vi->ready)) {
		netif_tx_stop_queue(dev);
		return NETDEV_TX_BUSY;
	}
	/* Each poll has done this, too: here it is for those who send much and hear little. */
	if (unlikely(sq->vq->num_free < sq->vq->num / 2))
		free_old_xmit(sq);
	err = xmit_pkt(sq, pkt);
	if (unlikely(err))
		return xmit_failed(sq, pkt, err == -ENOSPC);
	trace_ring(pkt);
	if (unlikely(sq->vq->num_free < sq->stop_thresh))
		tx_stop(sq);
	/* A stopped queue sends nothing more that could ring for this packet. */
	if (netdev_xmit_more() && !netif_tx_queue_stopped(dev))
		sq->unkicked = true;
	else
		virtnet_kick_tx(sq);
	if (unlikely(!hrtimer_is_queued(&sq->reclaim_timer)))
		arm_reclaim(sq);
	return NETDEV_TX_OK;
}

/* ---- receive: refill ---- */

/* pkt_pool.on_free while the ring is short. */
static void virtnet_pool_freed(struct pkt_pool *pool)
{
	struct receive_queue *rq = pool->owner;

	if (rq->vi->ready)
		virtqueue_napi_schedule(&rq->napi, rq->vq);
}

static int add_recvbuf(struct receive_queue *rq, struct pkt_buf *pkt)
{
	u32 frame_size = rq->vi->pool.frame_size;
	dma_addr_t hdr = virt_to_phys(pkt->data) - rq->hdr_len;
	struct virtio_sg sg[2];

	if (likely(rq->buf_descs == 1)) {
		sg[0] = (struct virtio_sg){ hdr, rq->hdr_len + frame_size };
	} else {
		/* VIRTIO 1.2, 5.1.6.6: legacy without ANY_LAYOUT, the header has a descriptor of
		 * its own */
		sg[0] = (struct virtio_sg){ hdr, rq->hdr_len };
		sg[1] = (struct virtio_sg){ hdr + rq->hdr_len, frame_size };
	}
	return virtqueue_add_inbuf(rq->vq, sg, rq->buf_descs, pkt);
}

void try_fill_recv(struct receive_queue *rq)
{
	struct pkt_pool *pool = &rq->vi->pool;
	struct pkt_buf *pkt = NULL;

	rq->starved = false;
	pool->on_free = NULL;
	while (rq->vq->num_free >= rq->buf_descs) {
		pkt = pkt_alloc_rx(pool);
		if (unlikely(!pkt)) {
			rq->starved = true;
			break;
		}
		pkt->dev = &rq->vi->dev;
		if (unlikely(add_recvbuf(rq, pkt))) {
			pkt_free(pkt); /* broken: the poll sees to it */
			break;
		}
		rq->posted++;
	}
	if (unlikely(rq->starved)) {
		rq->refill_short++;
		if (rq->posted == 0)
			rq->ring_empty++;
		pool->on_free = virtnet_pool_freed;
	}
	virtqueue_kick(rq->vq);
}

/* ---- receive ---- */

/*
 * The further buffers of a frame (VIRTIO 1.2, 5.1.6.4): frame bytes from their first on. Each but
 * the last must be full, the first one above all: the stack finds every header in it. False: the
 * device did not keep to that; what it gave is with pkt, to be dropped.
 */
static noinline bool receive_mergeable(struct receive_queue *rq, struct pkt_buf *pkt, u32 len,
				       u32 num_buffers)
{
	u32 full = rq->hdr_len + rq->vi->pool.frame_size;
	struct pkt_buf *last = pkt;
	bool good = true;

	while (--num_buffers) {
		struct pkt_buf *piece = virtqueue_get_buf(rq->vq, &len);

		good &= last->len + (last == pkt ? (u32)rq->hdr_len : 0) == full;
		if (unlikely(!piece))
			return false;
		rq->posted--;
		piece->data -= rq->hdr_len;
		piece->len = len;
		pkt->len += len;
		pkt->data_len += len;
		last->frag_list = piece;
		last = piece;
		good &= len != 0;
	}
	return good && pkt->len <= VIRTNET_MAX_FRAME;
}

/* What the device says of a frame, which is more than nothing. False: it may not say that. */
static noinline bool receive_offloads(struct receive_queue *rq, struct pkt_buf *pkt,
				      const struct virtio_net_hdr *hdr)
{
	u8 flags = READ_ONCE(hdr->flags), gso_type = READ_ONCE(hdr->gso_type);

	if (gso_type != VIRTIO_NET_HDR_GSO_NONE) {
		/* VIRTIO 1.2, 5.1.6.4.2: with a checksum to be completed, and a size. */
		if (gso_type > VIRTIO_NET_HDR_GSO_TCPV6 || !(rq->gso_types & 1u << gso_type) ||
		    !(flags & VIRTIO_NET_HDR_F_NEEDS_CSUM))
			return false;
		pkt->gso_size = le16_to_cpu(READ_ONCE(hdr->gso_size));
		if (!pkt->gso_size)
			return false;
	}
	/*
	 * DATA_VALID is let pass where it was not negotiated: QEMU hands on the host's flags as
	 * they are, and a tap sets it for frames that came through a real card.
	 */
	if (flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
		u32 start = le16_to_cpu(READ_ONCE(hdr->csum_start));

		if (!rq->guest_csum || start < ETH_HLEN ||
		    start + le16_to_cpu(READ_ONCE(hdr->csum_offset)) + sizeof(u16) >
			    pkt->len - pkt->data_len)
			return false;
		pkt->ip_summed = CHECKSUM_UNNECESSARY;
	} else if (flags & VIRTIO_NET_HDR_F_DATA_VALID && rq->guest_csum) {
		pkt->ip_summed = CHECKSUM_UNNECESSARY;
	}
	return true;
}

/* One buffer back from the device; len has been checked against its size, no more. */
static noinline void receive_buf(struct receive_queue *rq, struct pkt_buf *pkt, u32 len)
{
	const struct virtio_net_hdr *hdr = (const void *)(pkt->data - rq->hdr_len);

	if (unlikely(len < rq->hdr_len))
		goto bad_len;
	pkt->len = len - rq->hdr_len;
	/* Without MRG_RXBUF a buffer is a frame, and vhost used not to set num_buffers. */
	if (rq->mergeable) {
		const struct virtio_net_hdr_v1 *v1 = (const void *)hdr;
		u16 num_buffers = le16_to_cpu(READ_ONCE(v1->num_buffers));

		if (unlikely(num_buffers != 1) &&
		    (!num_buffers || !receive_mergeable(rq, pkt, len, num_buffers)))
			goto bad_len;
	}
	if (unlikely(pkt->len < ETH_HLEN))
		goto bad_len;
	if (unlikely(READ_ONCE(*(const le16 *)hdr) != 0) && !receive_offloads(rq, pkt, hdr)) {
		rq->bad_hdr++;
		goto drop;
	}
	napi_gro_receive(&rq->napi, pkt);
	return;
bad_len:
	rq->bad_len++;
drop:
	pkt_free(pkt);
}

static noinline int virtnet_receive(struct receive_queue *rq, int budget)
{
	struct virtqueue *vq = rq->vq;
	struct pkt_buf *pkt;
	int received = 0;
	u32 len;

	while (received < budget && (pkt = virtqueue_get_buf(vq, &len))) {
		received++;
		rq->posted--;
		receive_buf(rq, pkt, len);
	}
	return received;
}

int virtnet_poll(struct napi_struct *napi, int budget)
{
	struct receive_queue *rq = container_of(napi, struct receive_queue, napi);
	struct virtnet_info *vi = rq->vi;
	struct send_queue *sq = rq->sq;
	int received;

	if (unlikely(!vi->ready)) {
		napi_complete_done(napi, 0);
		return 0;
	}
	if (tx_in_flight(sq))
		virtnet_poll_cleantx(sq);
	received = virtnet_receive(rq, budget);
	if (likely(received < budget))
		virtqueue_napi_complete(napi, rq->vq, received);
	else
		napi_gro_flush(napi);
	/* Held back while more frames followed, and the last had no answer. */
	if (unlikely(sq->unkicked))
		virtnet_kick_tx(sq);
	/* What the stack holds is what is neither free nor posted. */
	rq->held_max = max(rq->held_max, vi->pool.used - rq->posted);
	if (rq->vq->num_free >= rq->refill_batch || unlikely(rq->starved))
		try_fill_recv(rq);
	if (unlikely(rq->starved))
		virtnet_await_tx(sq);
	if (unlikely(virtqueue_is_broken(rq->vq) || virtqueue_is_broken(sq->vq)))
		virtnet_schedule_reset(vi);
	return received;
}

/* Hard IRQ: frames have come. Silence the queue; the softirq does the rest. */
void pkt_recv_done(struct virtqueue *vq)
{
	struct receive_queue *rq = vq->owner;

	/* No owner: an interrupt before the queue is set up, from a device that cannot have a
	 * reason. */
	if (likely(rq))
		virtqueue_napi_schedule(&rq->napi, vq);
}

static int virtnet_open(struct net_device *dev)
{
	struct virtnet_info *vi = dev->ml_priv;

	vi->ready = true;
	for (int i = 0; i < VIRTNET_MAX_QP; i++) {
		virtqueue_disable_cb(vi->sq[i].vq);
		try_fill_recv(&vi->rq[i]);
	}
	virtnet_ctrl_open(vi);
	virtnet_update_link(vi);
	return 0;
}

const struct net_device_ops virtnet_netdev = {
	.ndo_open = virtnet_open,
	.ndo_start_xmit = start_xmit,
	.ndo_get_stats = virtnet_get_stats,
};
