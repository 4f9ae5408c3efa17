/*
 * The virtio NIC's life: negotiation, probe, link, counters, and its second life after it broke a
 * ring or asked for a reset (VIRTIO 1.2, 2.1.2). The data path is in virtio_net.c.
 */
#define pr_fmt(fmt) "virtio_net: " fmt

#include "drivers/bus.h"
#include "drivers/net/virtio_net.h"
#include "drivers/virtio/virtio_config.h"
#include "kernel/init.h"
#include "kernel/lib/byteorder.h"
#include "kernel/lib/container_of.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/string.h"
#include "kernel/mm.h"
#include "kernel/printk.h"
#include "kernel/random.h"
#include "kernel/slab.h"
#include "net/trace.h"

#define MAX_RING_SIZE 1024u
#define REFILL_BATCH 64 /* descriptors, or a quarter of the ring */

#define MAX_MTU 9000u /* a buffer is one block; V12 */
#define VLAN_HLEN 4u
/* VIRTIO 1.2, 5.1.6.3.1: without MRG_RXBUF a buffer takes at least 1526 bytes, header included */
#define MIN_FRAME_SIZE (ETH_HLEN + VLAN_HLEN + ETH_DATA_LEN)

#define POOL_MIN 16u
#define POOL_SHARE 8 /* of memory, at least */
#define POOL_MAX 8192u

#define RESET_TRIES 8u                     /* then the device is given up */
#define RESET_HOLDOFF (50 * NSEC_PER_MSEC) /* before the second try; doubles */
#define RESET_FORGIVEN (10 * NSEC_PER_SEC) /* it ran well for so long: start counting anew */

#define BIT(feature) (1ull << (feature))
/* 5.1.3.1: the last three need the first. */
#define CTRL_FEATURES                                                                              \
	(BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_CTRL_RX) | BIT(VIRTIO_NET_F_CTRL_MAC_ADDR) | \
	 BIT(VIRTIO_NET_F_GUEST_ANNOUNCE))
#define GUEST_TSO (BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6))
#define HOST_TSO (BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6))
#define VIRTNET_FEATURES                                                            \
	(BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_NET_F_STATUS) | BIT(VIRTIO_NET_F_MTU) | \
	 BIT(VIRTIO_NET_F_CSUM) | HOST_TSO | BIT(VIRTIO_NET_F_GUEST_CSUM) |         \
	 BIT(VIRTIO_NET_F_MRG_RXBUF) | GUEST_TSO | CTRL_FEATURES)

/* ---- command line ---- */

static u64 masked_features;
static int napi_weight = NAPI_POLL_WEIGHT;

static int __must_check set_napi_weight(const char *val)
{
	u64 n;
	int err = val ? kstrtoull(val, 0, &n) : -EINVAL;

	if (err)
		return err;
	if (n < 1 || n > NAPI_POLL_WEIGHT)
		return -EINVAL;
	napi_weight = (int)n;
	return 0;
}
__setup("virtio_net.napi_weight", set_napi_weight);

/* A word that takes features away from what we would accept: 1 (allow, the default) or 0. */
#define FEATURE_WORD(word, bits)                                                   \
	static int __must_check set_##word(const char *val)                        \
	{                                                                          \
		bool allow;                                                        \
		int err = param_set_bool(val, &allow);                             \
                                                                                   \
		if (!err)                                                          \
			masked_features = allow ? masked_features & ~(u64)(bits) : \
						  masked_features | (bits);        \
		return err;                                                        \
	}                                                                          \
	__setup("virtio_net." #word, set_##word)

FEATURE_WORD(csum, BIT(VIRTIO_NET_F_CSUM));
FEATURE_WORD(guest_csum, BIT(VIRTIO_NET_F_GUEST_CSUM));
FEATURE_WORD(host_tso, BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6));
FEATURE_WORD(guest_tso, BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6));
FEATURE_WORD(mrg_rxbuf, BIT(VIRTIO_NET_F_MRG_RXBUF));
FEATURE_WORD(event_idx, BIT(VIRTIO_RING_F_EVENT_IDX));
FEATURE_WORD(indirect, BIT(VIRTIO_RING_F_INDIRECT_DESC));
FEATURE_WORD(packed, BIT(VIRTIO_F_RING_PACKED));
FEATURE_WORD(ctrl_vq, CTRL_FEATURES);
FEATURE_WORD(mq, BIT(VIRTIO_NET_F_MQ));

/* Ours, not the device's: merge received TCP segments. */
static bool gro_wanted = true;

static int __must_check set_gro(const char *val)
{
	return param_set_bool(val, &gro_wanted);
}
__setup("virtio_net.gro", set_gro);

/* ---- negotiation and queues ---- */

static int virtnet_read16(struct virtio_device *vdev, size_t offset, u16 *val)
{
	le16 v;
	int err = virtio_cread_bytes(vdev, (unsigned int)offset, &v, sizeof(v));

	if (!err)
		*val = le16_to_cpu(v);
	return err;
}

/* V12. After a reset the buffers are what they were. */
static bool virtnet_mtu_ok(const struct virtnet_info *vi, u16 mtu)
{
	u32 most = vi->pool.mem ? vi->pool.frame_size - ETH_HLEN - VLAN_HLEN : MAX_MTU;

	return mtu >= ETH_MIN_MTU && mtu <= most;
}

/*
 * The stack may hold on to seven eighths of the pool (net/lwip/netif.c): in the rest a frame of
 * 64 KiB must find room, or the device keeps it, and all that comes behind it, for ever. Before the
 * pool is made, the least that it can become.
 */
static bool virtnet_large_fits(const struct virtnet_info *vi)
{
	size_t nr = nr_free_pages() * PAGE_SIZE / pkt_pool_block_size(MIN_FRAME_SIZE) / POOL_SHARE;
	u32 frame_size = MIN_FRAME_SIZE;

	if (vi->pool.mem) {
		nr = vi->pool.size;
		frame_size = vi->pool.frame_size;
	}
	return nr / 8 * frame_size >= VIRTNET_MAX_FRAME;
}

/* What we accept of what is offered. An MTU that no buffer of ours can hold is refused with its
 * bit. */
static u64 virtnet_supported(struct virtnet_info *vi)
{
	u64 supported = VIRTNET_FEATURES & ~masked_features;
	struct virtio_device *vdev = vi->vdev;
	u64 offered = vdev->config->get_features(vdev);
	u16 mtu = 0;

	if (!(offered & BIT(VIRTIO_NET_F_CTRL_VQ)))
		supported &= ~CTRL_FEATURES;
	/*
	 * VIRTIO 1.2, 5.1.3.1: TSO needs CSUM. And without mergeable buffers each would have to be
	 * 64 KiB (5.1.6.3.1).
	 */
	if (!(offered & supported & BIT(VIRTIO_NET_F_GUEST_CSUM)) ||
	    !(offered & supported & BIT(VIRTIO_NET_F_MRG_RXBUF)) || !virtnet_large_fits(vi))
		supported &= ~GUEST_TSO;
	if (!(offered & supported & BIT(VIRTIO_NET_F_CSUM)))
		supported &= ~HOST_TSO;
	/* VIRTIO 1.2, 3.1.1: the configuration may be read before features are accepted. */
	if (!(offered & supported & BIT(VIRTIO_NET_F_MTU)))
		return supported;
	if (virtnet_read16(vdev, offsetof(struct virtio_net_config, mtu), &mtu) ||
	    !virtnet_mtu_ok(vi, mtu)) {
		pr_warn("%s: mtu %u refused, using %u\n", vdev->name, mtu, ETH_DATA_LEN);
		supported &= ~BIT(VIRTIO_NET_F_MTU);
	}
	return supported;
}

static void virtnet_init_queues(struct virtnet_info *vi, struct virtqueue *rvq,
				struct virtqueue *svq)
{
	bool modern = virtio_has_feature(vi->vdev, VIRTIO_F_VERSION_1);
	bool any_layout = modern || virtio_has_feature(vi->vdev, VIRTIO_F_ANY_LAYOUT);
	struct receive_queue *rq = &vi->rq[0];
	struct send_queue *sq = &vi->sq[0];

	rq->vq = rvq;
	rq->mergeable = virtio_has_feature(vi->vdev, VIRTIO_NET_F_MRG_RXBUF);
	rq->guest_csum = virtio_has_feature(vi->vdev, VIRTIO_NET_F_GUEST_CSUM);
	rq->gso_types = 0;
	if (virtio_has_feature(vi->vdev, VIRTIO_NET_F_GUEST_TSO4))
		rq->gso_types |= 1u << VIRTIO_NET_HDR_GSO_TCPV4;
	if (virtio_has_feature(vi->vdev, VIRTIO_NET_F_GUEST_TSO6))
		rq->gso_types |= 1u << VIRTIO_NET_HDR_GSO_TCPV6;
	rq->hdr_len = sq->hdr_len = modern || rq->mergeable ? sizeof(struct virtio_net_hdr_v1) :
							      sizeof(struct virtio_net_hdr);
	rq->buf_descs = any_layout ? 1 : 2;
	rq->refill_batch = (u16)(rvq->num >= 4 * REFILL_BATCH ? REFILL_BATCH : rvq->num / 4);
	rq->refill_batch = max(rq->refill_batch, rq->buf_descs);
	rq->posted = 0;
	rq->starved = false;
	vi->pool.on_free = NULL;

	sq->vq = svq;
	sq->any_layout = any_layout;
	/* Every packet needs one descriptor, or one for each of its pieces. */
	sq->stop_thresh = min((u16)(PKT_MAX_FRAGS + 2), svq->num);
	if (virtqueue_use_indirect(svq, PKT_MAX_FRAGS + 1))
		sq->stop_thresh = 1;
	sq->unkicked = false;
	/* Last: from here on the interrupt callbacks act. */
	rvq->owner = rq;
	svq->owner = sq;
}

/* Features and queues: steps 4 to 7 of VIRTIO 1.2, 3.1.1. At probe, and again after each reset. */
static int virtnet_setup(struct virtnet_info *vi)
{
	/* 5.1.2: without MQ the control queue comes third */
	static vq_callback_t *callbacks[] = { pkt_recv_done, xmit_done, NULL };
	static const char *const names[] = { "input.0", "output.0", "control" };
	struct virtqueue *vqs[ARRAY_SIZE(names)];
	struct virtio_device *vdev = vi->vdev;
	u16 mtu = ETH_DATA_LEN;
	unsigned int nvqs;
	int err;

	err = virtio_finalize_features(vdev, virtnet_supported(vi));
	if (err)
		return err;
	if (virtio_has_feature(vdev, VIRTIO_NET_F_MTU)) {
		err = virtnet_read16(vdev, offsetof(struct virtio_net_config, mtu), &mtu);
		if (err)
			return err;
		/* Read a second time, so checked a second time. */
		if (!virtnet_mtu_ok(vi, mtu))
			return -EPROTO;
	}
	nvqs = virtio_has_feature(vdev, VIRTIO_NET_F_CTRL_VQ) ? 3 : 2;
	err = vdev->config->find_vqs(vdev, nvqs, vqs, callbacks, names, MAX_RING_SIZE);
	if (err)
		return err;
	vi->dev.mtu = mtu;
	vi->ctrl.vq = nvqs == 3 ? vqs[2] : NULL;
	vi->dev.features = 0;
	if (virtio_has_feature(vdev, VIRTIO_NET_F_CSUM))
		vi->dev.features |= NETIF_F_HW_CSUM;
	if (virtio_has_feature(vdev, VIRTIO_NET_F_HOST_TSO4))
		vi->dev.features |= NETIF_F_TSO;
	if (virtio_has_feature(vdev, VIRTIO_NET_F_HOST_TSO6))
		vi->dev.features |= NETIF_F_TSO6;
	virtnet_init_queues(vi, vqs[0], vqs[1]);
	return 0;
}

static void vq_stats_add(struct virtnet_vq_stats *sum, const struct virtqueue *vq)
{
	if (!vq)
		return;
	sum->kicks += vq->kicks;
	sum->kicks_suppressed += vq->kicks_suppressed;
	sum->interrupts += vq->interrupts;
	sum->spurious += vq->spurious;
	sum->bad_used += vq->bad_used;
	sum->indirect += vq->indirect;
}

/* The device has been reset: all that was in its hands is ours again. */
static void virtnet_free_queues(struct virtnet_info *vi)
{
	struct virtqueue *vqs[] = { vi->rq[0].vq, vi->sq[0].vq };
	struct pkt_buf *pkt;

	if (!vqs[0])
		return;
	vi->pool.on_free = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(vqs); i++)
		while ((pkt = virtqueue_detach_unused_buf(vqs[i]))) {
			trace_drop(pkt);
			pkt_free(pkt);
		}
	virtnet_ctrl_forget(vi);
	vq_stats_add(&vi->rx_past, vqs[0]);
	vq_stats_add(&vi->tx_past, vqs[1]);
	vi->rq[0].vq = vi->sq[0].vq = NULL;
	vi->rq[0].posted = 0;
	vi->vdev->config->del_vqs(vi->vdev);
}

/* ---- link and configuration ---- */

void virtnet_update_link(struct virtnet_info *vi)
{
	u16 status = VIRTIO_NET_S_LINK_UP;

	/* VIRTIO 1.2, 5.1.4.2: without the feature the link is up */
	if (virtio_has_feature(vi->vdev, VIRTIO_NET_F_STATUS) &&
	    virtnet_read16(vi->vdev, offsetof(struct virtio_net_config, status), &status))
		return;
	if (status & VIRTIO_NET_S_LINK_UP)
		netif_carrier_on(&vi->dev);
	else
		netif_carrier_off(&vi->dev);
	if (status & VIRTIO_NET_S_ANNOUNCE)
		virtnet_ctrl_announce(vi);
}

/* Hard IRQ. */
static void virtnet_config_changed(struct virtio_device *vdev)
{
	struct virtnet_info *vi = vdev->priv;

	napi_schedule(&vi->config_napi);
}

static int virtnet_config_poll(struct napi_struct *napi, int budget)
{
	struct virtnet_info *vi = container_of(napi, struct virtnet_info, config_napi);

	(void)budget;
	/* First off the list, then look: a change from here on schedules us again. */
	napi_complete_done(napi, 0);
	vi->config_changes++;
	if (!vi->ready)
		return 0;
	if (vi->vdev->config->get_status(vi->vdev) & VIRTIO_CONFIG_S_NEEDS_RESET)
		virtnet_schedule_reset(vi);
	else
		virtnet_update_link(vi);
	return 0;
}

/* ---- reset ---- */

/* Reset, recover every buffer, and bring it up again. What waits in the qdisc is sent then. */
static int virtnet_reset(struct virtnet_info *vi)
{
	struct virtio_device *vdev = vi->vdev;
	int err;

	vi->ready = false;
	netif_tx_stop_queue(&vi->dev);
	hrtimer_cancel(&vi->sq[0].reclaim_timer);
	err = vdev->config->reset(vdev);
	if (err)
		return err; /* it may still write: the buffers stay where they are */
	virtnet_free_queues(vi);

	virtio_add_status(vdev, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	virtio_add_status(vdev, VIRTIO_CONFIG_S_DRIVER);
	err = virtnet_setup(vi);
	if (err)
		return err;
	virtio_device_ready(vdev);
	err = virtnet_netdev.ndo_open(&vi->dev);
	netif_tx_wake_queue(&vi->dev);
	return err;
}

static void virtnet_give_up(struct virtnet_info *vi)
{
	vi->dead = true;
	vi->ready = false;
	pr_err("%s: given up after %u resets\n", vi->dev.name, vi->reset_tries);
	netif_tx_stop_queue(&vi->dev);
	netif_carrier_off(&vi->dev);
	if (!vi->vdev->failed)
		virtio_device_fail(vi->vdev);
}

static void virtnet_reset_work(struct hrtimer *timer)
{
	struct virtnet_info *vi = container_of(timer, struct virtnet_info, reset_timer);
	int err = virtnet_reset(vi);

	vi->last_reset = ktime_get();
	vi->resets++;
	if (!err) {
		pr_warn("%s: device was reset\n", vi->dev.name);
		return;
	}
	vi->resets_failed++;
	pr_err("%s: reset failed (%d)\n", vi->dev.name, err);
	if (vi->vdev->failed)
		virtnet_give_up(vi);
	else
		virtnet_schedule_reset(vi);
}

void virtnet_schedule_reset(struct virtnet_info *vi)
{
	u64 now = ktime_get(), delay = 0;

	if (vi->dead || hrtimer_is_queued(&vi->reset_timer))
		return;
	if (vi->ready && now - vi->last_reset > RESET_FORGIVEN)
		vi->reset_tries = 0;
	if (vi->reset_tries >= RESET_TRIES) {
		virtnet_give_up(vi);
		return;
	}
	if (vi->reset_tries)
		delay = RESET_HOLDOFF << (vi->reset_tries - 1);
	vi->reset_tries++;
	hrtimer_start(&vi->reset_timer, now + delay);
}

/* ---- probe ---- */

static void virtnet_read_mac(struct virtnet_info *vi)
{
	u8 *mac = vi->dev.dev_addr;

	if (virtio_has_feature(vi->vdev, VIRTIO_NET_F_MAC) &&
	    virtio_cread_bytes(vi->vdev, offsetof(struct virtio_net_config, mac), mac, ETH_ALEN) ==
		    0 &&
	    !(mac[0] & 1) && (mac[0] | mac[1] | mac[2] | mac[3] | mac[4] | mac[5]))
		return;
	/* None, a group address or zero (V22): a random one, locally administered (IEEE 802, 8.4)
	 */
	vi->own_mac = true;
	get_random_bytes(mac, ETH_ALEN);
	mac[0] = (mac[0] & 0xfe) | 0x02;
}

/* An eighth of memory; or twice the ring, since the stack may hold as much again, up to a quarter.
 */
static int virtnet_init_pool(struct virtnet_info *vi)
{
	u32 frame_size = max(MIN_FRAME_SIZE, ETH_HLEN + VLAN_HLEN + vi->dev.mtu);
	u32 page_size = frame_size + (u32)PAGE_SIZE - pkt_pool_block_size(frame_size);
	size_t room = nr_free_pages() * PAGE_SIZE / pkt_pool_block_size(frame_size);

	/*
	 * Where frames of 64 KiB come, larger buffers are fewer of them; if there is memory for two
	 * rings of pages.
	 */
	if (vi->rq[0].gso_types && pkt_pool_block_size(frame_size) < PAGE_SIZE &&
	    nr_free_pages() / 8 >= 2u * vi->rq[0].vq->num) {
		frame_size = page_size;
		room = nr_free_pages();
	}
	size_t least = min(room / 4, (size_t)2 * vi->rq[0].vq->num);
	size_t nr = min(room / POOL_SHARE, (size_t)POOL_MAX);
	int err;

	nr = max(nr, least);
	if (nr < POOL_MIN)
		return -ENOMEM;
	err = pkt_pool_init(&vi->pool, "rx", frame_size, (u32)nr);
	vi->pool.owner = &vi->rq[0];
	return err;
}

static void virtnet_init_info(struct virtnet_info *vi, struct virtio_device *vdev)
{
	vi->vdev = vdev;
	vi->dev.netdev_ops = &virtnet_netdev;
	vi->dev.gro = gro_wanted;
	vi->dev.ml_priv = vi;
	for (int i = 0; i < VIRTNET_MAX_QP; i++) {
		vi->rq[i].vi = vi->sq[i].vi = vi;
		vi->rq[i].sq = &vi->sq[i];
		netif_napi_add(&vi->dev, &vi->rq[i].napi, virtnet_poll, napi_weight);
		netif_napi_add(&vi->dev, &vi->sq[i].napi, virtnet_poll_tx, napi_weight);
		hrtimer_setup(&vi->sq[i].reclaim_timer, virtnet_reclaim);
	}
	netif_napi_add(&vi->dev, &vi->config_napi, virtnet_config_poll, 1);
	hrtimer_setup(&vi->reset_timer, virtnet_reset_work);
	vdev->masked = masked_features;
	vdev->priv = vi;
	vdev->config_changed = virtnet_config_changed;
}

static int virtnet_probe(struct virtio_device *vdev)
{
	struct virtnet_info *vi = kzalloc(sizeof(*vi));
	int err;

	if (!vi)
		return -ENOMEM;
	virtnet_init_info(vi, vdev);
	err = virtnet_setup(vi);
	if (err)
		goto err_free_info;
	err = virtnet_init_pool(vi);
	if (err) {
		pr_err("%s: no memory for receive buffers\n", vdev->name);
		goto err_stop;
	}
	virtnet_read_mac(vi);
	/* The device must be live before the stack hears of it and sends. */
	virtio_device_ready(vdev);
	err = register_netdev(&vi->dev);
	if (err)
		goto err_stop;
	pr_info("%s: %s MAC " MAC_FMT ", mtu %u, rx %u tx %u, %s\n", vi->dev.name,
		vdev->config->bus_name(vdev), MAC_ARG(vi->dev.dev_addr), vi->dev.mtu,
		vi->rq[0].vq->num, vi->sq[0].vq->num, vdev->config->irq_name(vdev));
	return 0;

err_stop:
	virtio_device_fail(vdev);
	/* A device that does not even answer a reset may still write: leave it what it was given.
	 */
	if (vdev->config->get_status(vdev) != 0)
		return err;
	virtnet_free_queues(vi);
	if (vi->pool.mem)
		pkt_pool_exit(&vi->pool);
err_free_info:
	vdev->config_changed = NULL;
	vdev->priv = NULL;
	kfree(vi);
	return err;
}

static const struct virtio_driver virtio_net_driver = {
	.name = "virtio_net",
	.device = VIRTIO_ID_NET,
	.probe = virtnet_probe,
};
module_virtio_driver(virtio_net_driver);

/* ---- counters ---- */

/* Its descriptors. NULL: the device is being reset. */
static void virtqueue_stats(struct stats_sink *s, const char *prefix, const char *name,
			    const struct virtqueue *vq)
{
	if (vq)
		stats_text(s, prefix, name, "num=%u,free=%u,state=%s", vq->num, vq->num_free,
			   vq->broken ? "broken" : "ok");
	else
		stats_text(s, prefix, name, "state=reset");
}

/* What was negotiated, by the names of the command line where there is one. */
static void virtnet_features_stats(struct stats_sink *s, const char *prefix,
				   const struct virtio_device *vdev)
{
	static const struct {
		u8 bit;
		const char *name;
	} names[] = {
		{ VIRTIO_NET_F_CSUM, "csum" },
		{ VIRTIO_NET_F_GUEST_CSUM, "guest_csum" },
		{ VIRTIO_NET_F_MTU, "mtu" },
		{ VIRTIO_NET_F_MAC, "mac" },
		{ VIRTIO_NET_F_GUEST_TSO4, "guest_tso4" },
		{ VIRTIO_NET_F_GUEST_TSO6, "guest_tso6" },
		{ VIRTIO_NET_F_HOST_TSO4, "host_tso4" },
		{ VIRTIO_NET_F_HOST_TSO6, "host_tso6" },
		{ VIRTIO_NET_F_MRG_RXBUF, "mrg_rxbuf" },
		{ VIRTIO_NET_F_STATUS, "status" },
		{ VIRTIO_NET_F_CTRL_VQ, "ctrl_vq" },
		{ VIRTIO_NET_F_CTRL_RX, "ctrl_rx" },
		{ VIRTIO_NET_F_GUEST_ANNOUNCE, "guest_announce" },
		{ VIRTIO_NET_F_MQ, "mq" },
		{ VIRTIO_NET_F_CTRL_MAC_ADDR, "ctrl_mac_addr" },
		{ VIRTIO_RING_F_INDIRECT_DESC, "indirect" },
		{ VIRTIO_RING_F_EVENT_IDX, "event_idx" },
		{ VIRTIO_F_VERSION_1, "version_1" },
		{ VIRTIO_F_RING_PACKED, "packed" },
	};
	char text[190] = "none";
	int n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (virtio_has_feature(vdev, names[i].bit))
			n += scnprintf(text + n, sizeof(text) - (size_t)n, "%s%s", n ? "," : "",
				       names[i].name);
	stats_text(s, prefix, "features", "%s", text);
}

void virtnet_get_stats(struct net_device *dev, struct stats_sink *s)
{
	struct virtnet_info *vi = dev->ml_priv;
	const struct receive_queue *rq = &vi->rq[0];
	const struct send_queue *sq = &vi->sq[0];
	struct virtnet_vq_stats rx = vi->rx_past, tx = vi->tx_past;
	const char *p = dev->stats_prefix;

	vq_stats_add(&rx, rq->vq);
	vq_stats_add(&tx, sq->vq);
	/*
	 * Blocks that the stack holds: what the ring holds goes up and down by a refill batch and
	 * says nothing about leaks.
	 */
	stats_pool(s, p, "rx_pool", vi->pool.used - rq->posted, rq->held_max, vi->pool.size);
	virtnet_features_stats(s, p, vi->vdev);
	virtqueue_stats(s, p, "rx_ring", rq->vq);
	virtqueue_stats(s, p, "tx_ring", sq->vq);
	stats_u64(s, p, "rx_posted", rq->posted);
	stats_u64(s, p, "rx_bad_len", rq->bad_len);
	stats_u64(s, p, "rx_bad_hdr", rq->bad_hdr);
	stats_u64(s, p, "rx_refill_short", rq->refill_short);
	stats_u64(s, p, "rx_dropped_no_buf", rq->ring_empty);
	stats_u64(s, p, "rx_kicks", rx.kicks);
	stats_u64(s, p, "rx_interrupts", rx.interrupts);
	stats_u64(s, p, "rx_spurious", rx.spurious);
	stats_u64(s, p, "tx_busy", sq->tx_busy);
	stats_u64(s, p, "tx_stopped", sq->tx_stopped);
	stats_u64(s, p, "tx_errors", sq->tx_errors);
	stats_u64(s, p, "tx_kicks", tx.kicks);
	stats_u64(s, p, "tx_interrupts", tx.interrupts);
	stats_u64(s, p, "tx_spurious", tx.spurious);
	stats_u64(s, p, "tx_indirect", tx.indirect);
	stats_u64(s, p, "kicks", rx.kicks + tx.kicks);
	stats_u64(s, p, "kicks_suppressed", rx.kicks_suppressed + tx.kicks_suppressed);
	stats_u64(s, p, "interrupts", rx.interrupts + tx.interrupts);
	stats_u64(s, p, "spurious", rx.spurious + tx.spurious);
	stats_u64(s, p, "bad_used", rx.bad_used + tx.bad_used);
	virtnet_ctrl_reap(vi);
	stats_u64(s, p, "ctrl_commands", vi->ctrl.commands);
	stats_u64(s, p, "ctrl_errors", vi->ctrl.errors);
	stats_u64(s, p, "announces", vi->ctrl.announces);
	stats_u64(s, p, "resets", vi->resets);
	stats_u64(s, p, "resets_failed", vi->resets_failed);
	stats_u64(s, p, "config_changes", vi->config_changes);
}
