#include "tests/unit/virtio_net_fixture.h"

#include <stdio.h>
#include <string.h>

#include "tests/unit/test.h"

#include "drivers/bus.h"
#include "kernel/softirq.h"
#include "tests/fake/fake_kernel.h"

const u8 our_mac[ETH_ALEN] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56 };

static struct fake_virtio devs[192]; /* a device stays registered for good: each test has its own */
struct fake_virtio *dev;
struct virtnet_info *vi;
static unsigned int nr_devs;

/* ---- the stack above ---- */

enum stack_mode mode;
struct pkt_buf *held[4096];
unsigned int nr_held, received, tx_done, carrier_changes, notified_peers;
u8 last_frame[70000];
u32 last_len, last_pieces;
u64 last_offloads, tx_offloads;

static void sent_block(struct pkt_buf *pkt)
{
	tx_done++;
	if (pkt->destructor_arg)
		pkt_free(pkt->destructor_arg);
	pkt_release_tx(pkt);
}

int xmit(const void *data, u32 len, unsigned int pieces, u8 headroom, struct pkt_buf *block)
{
	struct pkt_buf *pkt = pkt_alloc_tx();

	assert_non_null(pkt);
	pkt->dev = &vi->dev;
	pkt->len = len;
	pkt->headroom = headroom;
	pkt->offloads = tx_offloads;
	pkt->destructor = sent_block;
	pkt->destructor_arg = block;
	for (; pieces; pieces--) {
		u32 n = len / pieces;

		pkt->frags[pkt->nr_frags++] = (struct pkt_frag){ data, n };
		data = (const u8 *)data + n;
		len -= n;
	}
	return dev_queue_xmit(pkt);
}

static void stack_receive(struct pkt_buf *pkt)
{
	received++;
	last_len = last_pieces = 0;
	last_offloads = pkt->offloads;
	for (const struct pkt_buf *piece = pkt; piece; piece = piece->frag_list) {
		u32 len = piece->len - piece->data_len;

		assert_true(last_len + len <= sizeof(last_frame));
		memcpy(last_frame + last_len, piece->data, len);
		last_len += len;
		last_pieces++;
	}
	assert_int_equal(last_len, pkt->len);
	switch (mode) {
	case FREE:
		pkt_free(pkt);
		break;
	case HOLD:
		held[nr_held++] = pkt;
		break;
	case ECHO:
		xmit(pkt->data, pkt->len, 1, PKT_HEADROOM, pkt);
		break;
	case LATE:
		if (received < 5)
			assert_true(dev_put((struct virtio_net_hdr){ 0 }, pkt->data, pkt->len));
		pkt_free(pkt);
		break;
	}
}

static void stack_added(struct net_device *nd)
{
	(void)nd;
}

static void stack_notify_peers(struct net_device *nd)
{
	(void)nd;
	notified_peers++;
}

static void stack_carrier(struct net_device *nd)
{
	(void)nd;
	carrier_changes++;
}

static const struct net_stack_ops stack = { stack_added, stack_receive, stack_carrier,
					    stack_notify_peers };

/* ---- the device below ---- */

extern const struct virtio_driver *const __start_virtio_drivers[];

int virtio_bus_probe(struct virtio_device *vdev)
{
	virtio_add_status(vdev, VIRTIO_CONFIG_S_DRIVER);
	return __start_virtio_drivers[0]->probe(vdev);
}

void prepare(u64 features)
{
	struct virtio_net_config *config;

	dev = &devs[nr_devs];
	fake_virtio_init(dev, VIRTIO_ID_NET, features);
	config = (struct virtio_net_config *)dev->config;
	memcpy(config->mac, our_mac, ETH_ALEN);
	config->status = VIRTIO_NET_S_LINK_UP;
	config->mtu = 1500;
	vi = NULL;
}

int probe(void)
{
	int err = register_virtio_device(&dev->vdev);

	if (!err) {
		nr_devs++;
		vi = dev->vdev.priv;
	}
	return err;
}

void boot(u64 features)
{
	prepare(features);
	assert_int_equal(probe(), 0);
}

u16 hdr_len(void)
{
	return dev->accepted & (F(VIRTIO_F_VERSION_1) | F(VIRTIO_NET_F_MRG_RXBUF)) ? 12 : 10;
}

bool dev_put(struct virtio_net_hdr hdr, const void *frame, u32 len)
{
	struct fake_vring *ring = &dev->vq[RX].ring;
	u8 bytes[16384] = { 0 };
	struct fake_buf buf;

	if (!fake_vring_pop(ring, &buf))
		return false;
	memcpy(bytes, &hdr, sizeof(hdr));
	if (hdr_len() == 12)
		bytes[10] = 1; /* num_buffers */
	memcpy(bytes + hdr_len(), frame, len);
	assert_int_equal(fake_buf_write(&buf, bytes, hdr_len() + len), hdr_len() + len);
	fake_vring_push(ring, buf.head, hdr_len() + len);
	return true;
}

bool dev_send(const void *frame, u32 len)
{
	bool ok = dev_put((struct virtio_net_hdr){ 0 }, frame, len);

	fake_virtio_interrupt(dev, RX);
	do_softirq();
	return ok;
}

u32 dev_take_hdr(struct fake_buf *buf, u8 *frame, struct virtio_net_hdr_v1 *hdr)
{
	static u8 bytes[70000];
	u32 n;

	if (!fake_vring_pop(&dev->vq[TX].ring, buf))
		return 0;
	assert_int_equal(buf->nr_in, 0);
	n = fake_buf_read(buf, bytes, sizeof(bytes));
	assert_int_equal(n, buf->out_len);
	assert_true(n > hdr_len());
	*hdr = (struct virtio_net_hdr_v1){ 0 };
	memcpy(hdr, bytes, hdr_len());
	memcpy(frame, bytes + hdr_len(), n - hdr_len());
	return n - hdr_len();
}

u32 dev_take(struct fake_buf *buf, u8 *frame)
{
	static const struct virtio_net_hdr_v1 zeroes;
	struct virtio_net_hdr_v1 hdr;
	u32 n = dev_take_hdr(buf, frame, &hdr);

	if (n)
		assert_memory_equal(&hdr, &zeroes, sizeof(hdr));
	return n;
}

void dev_done(const struct fake_buf *buf)
{
	fake_vring_push(&dev->vq[TX].ring, buf->head, 0);
}

unsigned int dev_drain(void)
{
	static u8 frame[70000];
	struct virtio_net_hdr_v1 hdr;
	struct fake_buf buf;
	unsigned int n = 0;

	while (dev_take_hdr(&buf, frame, &hdr)) {
		dev_done(&buf);
		n++;
	}
	if (n)
		fake_virtio_interrupt(dev, TX);
	do_softirq();
	return n;
}

u64 vn_stat(const char *name)
{
	char full[64];

	snprintf(full, sizeof(full), "%s%s", vi->dev.stats_prefix, name);
	return fake_stat(full);
}

const char *stat_text(const char *name)
{
	char full[64];

	snprintf(full, sizeof(full), "%s%s", vi->dev.stats_prefix, name);
	return fake_stat_text(full);
}

void release_held(void)
{
	local_bh_disable();
	while (nr_held)
		pkt_free(held[--nr_held]);
	local_bh_enable();
}

/* ---- before and after ---- */

int setup(void **state)
{
	(void)state;
	fake_kernel_reset();
	fake_cmdline("virtio_net.napi_weight", "64");
	mode = FREE;
	nr_held = received = tx_done = carrier_changes = 0;
	last_len = 0;
	tx_offloads = 0;
	return 0;
}

void check_no_leak(void)
{
	struct receive_queue *rq = &vi->rq[0];

	release_held();
	if (!vi->dead) {
		dev_drain();
		/* Something received, so that a short ring is filled up again. */
		fake_time_advance(20 * NSEC_PER_SEC);
		dev_drain();
		fake_time_advance(20 * NSEC_PER_SEC);
		assert_int_equal(vi->sq[0].vq->num_free, vi->sq[0].vq->num);
		assert_int_equal(vi->pool.used, rq->posted);
		assert_int_equal(rq->posted, (rq->vq->num - rq->vq->num_free) / rq->buf_descs);
		assert_true(rq->starved || rq->vq->num_free <= rq->refill_batch);
		assert_true(fake_vring_armed(&dev->vq[RX].ring));
	}
	assert_int_equal(vn_stat("rx_pool"), 0);
	assert_int_equal(vn_stat("qdisc"), 0);
	assert_int_equal(fake_stat("pkt_tx"), 0);
	assert_int_equal(fake_timers_queued(), 0);
	assert_int_equal(fake_warnings(), 0);
}

int teardown(void **state)
{
	(void)state;
	if (vi)
		check_no_leak();
	return 0;
}

void start(void)
{
	net_dev_init();
	netdev_set_stack(&stack);
}
