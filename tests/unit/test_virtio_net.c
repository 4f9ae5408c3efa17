/*
 * The NIC driver against the fake device, with net/ as it is and a stack of a few lines on top:
 * bring-up in its variants, both directions, empty pools and full rings, lies, resets. What it
 * leaves to the device is in test_virtio_net_offload.c.
 */
#include <stdio.h>
#include <string.h>

#include "tests/unit/test.h"

#include "drivers/bus.h"
#include "kernel/lib/errno.h"
#include "kernel/softirq.h"
#include "net/journey.h"
#include "tests/fake/fake_kernel.h"
#include "tests/unit/virtio_net_fixture.h"

/* ---- bring-up ---- */

static void test_modern(void **state)
{
	(void)state;
	boot(MODERN | F(VIRTIO_NET_F_MTU) | F(VIRTIO_NET_F_MQ) | F(VIRTIO_RING_F_EVENT_IDX) |
	     F(63));
	assert_int_equal(dev->accepted, MODERN | F(VIRTIO_NET_F_MTU) | F(VIRTIO_RING_F_EVENT_IDX));
	assert_string_equal(stat_text("features"), "mtu,mac,status,event_idx,version_1");
	assert_true(dev->status & VIRTIO_CONFIG_S_DRIVER_OK);
	assert_int_equal(vi->rq[0].posted, 256);
	assert_int_equal(vi->dev.mtu, 1500);
	assert_true(vi->dev.carrier);
	assert_memory_equal(vi->dev.dev_addr, our_mac, ETH_ALEN);
	assert_int_equal(fake_log_count("\n"), 1);
	assert_true(fake_log_has(
		"virtio_net: eth0: fake modern MAC 52:54:00:12:34:56, mtu 1500, rx 256 "
		"tx 256, msix\n"));
	assert_int_equal(dev->vq[RX].notified, 1);
	assert_true(fake_vring_armed(&dev->vq[RX].ring));
	assert_false(fake_vring_armed(&dev->vq[TX].ring));
}

static void ping_pong(unsigned int rx_descs, unsigned int tx_descs)
{
	struct fake_buf buf;
	static u8 frame[1514], back[70000];

	for (u32 i = 0; i < sizeof(frame); i++)
		frame[i] = (u8)(i * 7);
	mode = ECHO;
	for (unsigned int i = 0; i < 2000; i++) {
		u32 len = 14 + i % 1501;

		assert_true(dev_send(frame, len));
		assert_int_equal(last_len, len);
		assert_int_equal(dev_take(&buf, back), len);
		assert_memory_equal(back, frame, len);
		assert_int_equal(buf.nr_out, tx_descs);
		dev_done(&buf);
	}
	assert_true(fake_vring_pop(&dev->vq[RX].ring, &buf));
	fake_buf_write(&buf, (u8[12]){ 0 }, 12);
	assert_int_equal(buf.nr_in, rx_descs);
	assert_true(buf.in_len >= 1526);
	fake_vring_push(&dev->vq[RX].ring, buf.head, hdr_len() + 14u);
	fake_virtio_interrupt(dev, RX);
	do_softirq();
	assert_int_equal(stat("rx_packets"), 2001);
	assert_int_equal(stat("tx_packets"), 2001);
	assert_int_equal(stat("tx_kicks"), 2001);
	assert_int_equal(stat("tx_interrupts"), 0);
}

static void test_modern_echo(void **state)
{
	(void)state;
	boot(MODERN);
	ping_pong(1, 1);
}

static void test_legacy_any_layout(void **state)
{
	(void)state;
	boot(LEGACY | F(VIRTIO_F_ANY_LAYOUT));
	assert_true(fake_log_has("legacy"));
	ping_pong(1, 1);
}

static void test_legacy_header_apart(void **state)
{
	(void)state;
	boot(LEGACY);
	assert_int_equal(vi->rq[0].posted, 128);
	ping_pong(2, 2);
}

static void test_no_mac(void **state)
{
	static const u8 zero[ETH_ALEN], group[ETH_ALEN] = { 1, 2, 3, 4, 5, 6 };

	(void)state;
	boot(MODERN & ~F(VIRTIO_NET_F_MAC));
	assert_memory_not_equal(vi->dev.dev_addr, our_mac, ETH_ALEN);
	assert_int_equal(vi->dev.dev_addr[0] & 3, 2);
	check_no_leak();
	prepare(MODERN);
	memcpy(dev->config, zero, ETH_ALEN);
	assert_int_equal(probe(), 0);
	assert_int_equal(vi->dev.dev_addr[0] & 3, 2);
	check_no_leak();
	prepare(MODERN);
	memcpy(dev->config, group, ETH_ALEN);
	assert_int_equal(probe(), 0);
	assert_int_equal(vi->dev.dev_addr[0] & 3, 2);
}

static void test_mtu(void **state)
{
	static const struct {
		u16 offered;
		u32 used;
	} cases[] = { { 68, 68 },   { 1280, 1280 }, { 1500, 1500 }, { 9000, 9000 },
		      { 67, 1500 }, { 9001, 1500 }, { 0, 1500 },    { 65535, 1500 } };
	static u8 frame[9100];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		u32 most = cases[i].used + ETH_HLEN;

		fake_log_clear();
		prepare(MODERN | F(VIRTIO_NET_F_MTU));
		((struct virtio_net_config *)dev->config)->mtu = cases[i].offered;
		assert_int_equal(probe(), 0);
		assert_int_equal(vi->dev.mtu, cases[i].used);
		assert_int_equal(!(dev->accepted & F(VIRTIO_NET_F_MTU)),
				 cases[i].offered != cases[i].used);
		assert_int_equal(fake_log_has("refused"), cases[i].offered != cases[i].used);
		assert_int_equal(xmit(frame, most, 1, 0, NULL), 0);
		assert_int_equal(xmit(frame, most + 1, 1, 0, NULL), -EMSGSIZE);
		assert_int_equal(stat("tx_dropped_too_long"), 1);
		assert_true(dev_send(frame, most));
		assert_int_equal(last_len, most);
		check_no_leak();
	}
}

static void test_refused(void **state)
{
	size_t live = fake_alloc_live();

	(void)state;
	prepare(MODERN);
	dev->refuse_features = true;
	assert_int_equal(probe(), -ENODEV);
	assert_true(dev->vdev.failed);
	assert_int_equal(dev->status, 0);
	prepare(MODERN);
	dev->fail_find_vqs = true;
	assert_int_equal(probe(), -ENOMEM);
	prepare(MODERN);
	fake_set_free_pages(8);
	assert_int_equal(probe(), -ENOMEM);
	assert_int_equal(fake_alloc_live(), live);
}

/* Every allocation of the probe fails once: an error, and nothing left behind. */
static void test_probe_without_memory(void **state)
{
	size_t live = fake_alloc_live();
	unsigned int n;
	int err = -ENOMEM;

	(void)state;
	for (n = 1; err; n++) {
		prepare(MODERN);
		fake_alloc_fail_nth(n);
		err = probe();
		if (err) {
			assert_int_equal(err, -ENOMEM);
			assert_int_equal(fake_alloc_live(), live);
		}
		assert_true(n < 20);
	}
	fake_alloc_fail_nth(0);
	assert_true(n > 6);
}

static void test_words(void **state)
{
	static const char *const words[] = { "csum",      "guest_csum", "host_tso", "guest_tso",
					     "mrg_rxbuf", "event_idx",  "indirect", "packed",
					     "ctrl_vq",   "mq",         "gro" };
	char word[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		snprintf(word, sizeof(word), "virtio_net.%s", words[i]);
		assert_int_equal(fake_cmdline(word, "0"), 0);
		assert_int_equal(fake_cmdline(word, "1"), 0);
		assert_int_equal(fake_cmdline(word, "2"), -EINVAL);
		assert_int_equal(fake_cmdline(word, NULL), -EINVAL);
	}
	assert_int_equal(fake_cmdline("virtio_net.napi_weight", "0"), -EINVAL);
	assert_int_equal(fake_cmdline("virtio_net.napi_weight", "65"), -EINVAL);
	assert_int_equal(fake_cmdline("virtio_net.napi_weight", "x"), -EINVAL);
	assert_int_equal(fake_cmdline("virtio_net.napi_weight", NULL), -EINVAL);
	assert_int_equal(fake_cmdline("virtio_net.napi_weight", "3"), 0);
	boot(MODERN);
	assert_int_equal(vi->rq[0].napi.weight, 3);
	ping_pong(1, 1);
}

/* Rings of every size, down to what can hold one packet only. */
static void test_small_rings(void **state)
{
	static u8 frame[1514];

	(void)state;
	for (u16 num = 1; num <= 64; num *= 2) {
		prepare(MODERN);
		dev->queue_size[RX] = dev->queue_size[TX] = num;
		assert_int_equal(probe(), 0);
		mode = FREE;
		for (unsigned int i = 0; i < 200; i++) {
			assert_true(dev_send(frame, 60));
			assert_int_equal(xmit(frame, 60, 1, 0, NULL), 0);
			dev_drain();
		}
		if (num == 1) /* header and frame need two */
			assert_int_equal(stat("tx_errors"), 200);
		else
			assert_int_equal(stat("tx_errors"), 0);
		check_no_leak();
	}
}

/* ---- receive ---- */

static void test_receive_lengths(void **state)
{
	static u8 frame[2000];
	struct fake_vring *ring;
	struct fake_buf buf;

	(void)state;
	boot(MODERN);
	ring = &dev->vq[RX].ring;
	for (u32 len = 0; len <= 12 + 14 + 2; len++) {
		assert_true(fake_vring_pop(ring, &buf));
		fake_buf_write(&buf, frame, 12);
		fake_vring_push(ring, buf.head, len);
		fake_virtio_interrupt(dev, RX);
		do_softirq();
	}
	assert_int_equal(received, 3);
	assert_int_equal(stat("rx_packets"), 3);
	assert_int_equal(stat("rx_bad_len"), 26);
	assert_true(dev_send(frame, 1518));
	assert_int_equal(received, 4);
}

static void test_receive_headers(void **state)
{
	static u8 frame[60];

	(void)state;
	boot(MODERN);
	assert_true(dev_put((struct virtio_net_hdr){ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM }, frame,
			    60));
	assert_true(dev_put((struct virtio_net_hdr){ .gso_type = 1, .gso_size = 0 }, frame, 60));
	assert_true(dev_put((struct virtio_net_hdr){ .gso_type = 0x80 }, frame, 60));
	assert_true(dev_put((struct virtio_net_hdr){ .flags = VIRTIO_NET_HDR_F_DATA_VALID }, frame,
			    60));
	assert_true(dev_put((struct virtio_net_hdr){ .gso_size = 7, .csum_start = 9 }, frame, 60));
	fake_virtio_interrupt(dev, RX);
	do_softirq();
	assert_int_equal(stat("rx_bad_hdr"), 3);
	assert_int_equal(received, 2);
}

/* One doorbell for the answers to a burst, and one for a lone frame, from inside start_xmit. */
static void test_doorbell(void **state)
{
	static u8 frame[60];

	(void)state;
	boot(MODERN);
	mode = ECHO;
	dev->vq[TX].notified = 0;
	assert_true(dev_send(frame, 60));
	assert_int_equal(dev->vq[TX].notified, 1);

	for (unsigned int i = 0; i < 40; i++)
		assert_true(dev_put((struct virtio_net_hdr){ 0 }, frame, 60));
	fake_virtio_interrupt(dev, RX);
	do_softirq();
	assert_int_equal(dev->vq[TX].notified, 2);
	assert_int_equal(dev_drain(), 41);

	/* More than a poll's budget: each poll rings once. */
	for (unsigned int i = 0; i < 150; i++)
		assert_true(dev_put((struct virtio_net_hdr){ 0 }, frame, 60));
	fake_virtio_interrupt(dev, RX);
	do_softirq();
	assert_int_equal(dev->vq[TX].notified, 2 + 3);
	assert_int_equal(dev_drain(), 150);

	/* The last frame of the burst is a bad one: the answers before it are not forgotten. */
	for (unsigned int i = 0; i < 5; i++)
		assert_true(dev_put((struct virtio_net_hdr){ 0 }, frame, 60));
	assert_true(dev_put((struct virtio_net_hdr){ .gso_type = 1 }, frame, 60));
	fake_virtio_interrupt(dev, RX);
	do_softirq();
	assert_int_equal(dev->vq[TX].notified, 2 + 3 + 1);
}

static void test_interrupts_are_off_while_polling(void **state)
{
	static u8 frame[60];

	(void)state;
	boot(MODERN);
	assert_true(dev_put((struct virtio_net_hdr){ 0 }, frame, 60));
	assert_true(fake_virtio_interrupt(dev, RX));
	assert_true(dev_put((struct virtio_net_hdr){ 0 }, frame, 60));
	assert_false(fake_virtio_interrupt(dev, RX));
	do_softirq();
	assert_int_equal(received, 2);
	assert_true(fake_vring_armed(&dev->vq[RX].ring));
	assert_int_equal(stat("interrupts"), 1);
	/* One that comes all the same finds nothing. */
	fake_irq_raise(dev->vq[RX].irq);
	do_softirq();
	assert_int_equal(stat("spurious"), 1);
}

/*
 * A frame that comes behind the poll's last look, while interrupts are off: enabling them finds it
 * (2.7.14), or it would lie there until the next one.
 */
static void test_late_frame(void **state)
{
	static u8 frame[60];

	(void)state;
	boot(MODERN);
	mode = LATE;
	assert_true(dev_send(frame, 60));
	assert_int_equal(received, 5);
	assert_int_equal(stat("interrupts"), 1);
}

/* The stack keeps everything: ring and pool run dry; what it gives back goes to the ring at once.
 */
static void test_pool_dry(void **state)
{
	static u8 frame[60];
	unsigned int n = 0;

	(void)state;
	fake_set_free_pages(1024); /* 4 MiB: a pool of 606, a bit more than two rings */
	boot(MODERN);
	assert_true(vi->pool.size >= 512 && vi->pool.size < 1024);
	mode = HOLD;
	while (dev_send(frame, 60))
		n++;
	assert_int_equal(n, vi->pool.size);
	assert_int_equal(received, n);
	assert_int_equal(vi->rq[0].posted, 0);
	assert_true(vi->rq[0].starved);
	assert_true(stat("rx_refill_short") >= 1);
	assert_true(stat("rx_dropped_no_buf") >= 1);

	for (unsigned int i = 0; i < 5; i++) {
		local_bh_disable();
		pkt_free(held[--nr_held]);
		local_bh_enable();
		assert_int_equal(vi->rq[0].posted, 1);
		assert_true(dev_send(frame, 60));
	}
	release_held();
	assert_false(vi->rq[0].starved);
	assert_int_equal(vi->rq[0].posted, 256);
	mode = FREE;
	for (unsigned int i = 0; i < 1000; i++)
		assert_true(dev_send(frame, 60));
}

/* All blocks wait in the transmit ring, as echoes do: their completion must be heard of. */
static void test_pool_dry_in_transmit_ring(void **state)
{
	static u8 frame[60];

	(void)state;
	fake_set_free_pages(128); /* 512 KiB: a pool of 64 or so, smaller than the ring */
	boot(MODERN);
	assert_true(vi->pool.size < 100);
	assert_true(vi->rq[0].starved);
	mode = ECHO;
	while (dev_send(frame, 60))
		;
	assert_int_equal(vi->rq[0].posted, 0);
	assert_true(fake_vring_armed(&dev->vq[TX].ring));
	assert_int_equal(dev_drain(), vi->pool.size);
	assert_int_equal(vi->rq[0].posted, vi->pool.size);
	assert_true(dev_send(frame, 60));
}

/* ---- transmit ---- */

static void test_transmit_fragments(void **state)
{
	static u8 data[1514];
	static u8 frame[70000];
	struct fake_buf buf;

	(void)state;
	boot(MODERN);
	for (u32 i = 0; i < sizeof(data); i++)
		data[i] = (u8)(i * 3);
	for (unsigned int pieces = 1; pieces <= PKT_MAX_FRAGS; pieces++) {
		assert_int_equal(xmit(data, 1514, pieces, 0, NULL), 0);
		assert_int_equal(dev_take(&buf, frame), 1514);
		assert_int_equal(buf.nr_out, pieces + 1);
		assert_memory_equal(frame, data, 1514);
		dev_done(&buf);
	}
	/* A headroom too small for the header is left alone. */
	data[7] = 0x77;
	assert_int_equal(xmit(data + 8, 100, 2, 8, NULL), 0);
	assert_int_equal(dev_take(&buf, frame), 100);
	assert_int_equal(buf.nr_out, 3);
	assert_int_equal(data[7], 0x77);
	dev_done(&buf);
}

/* What was sent comes back at the next poll, when the ring is half full, or by the timer, which
 * then stops. */
static void test_reclaim(void **state)
{
	static u8 frame[60];

	(void)state;
	boot(MODERN);
	assert_int_equal(xmit(frame, 60, 1, 0, NULL), 0);
	assert_int_equal(dev_drain(), 1);
	assert_int_equal(tx_done, 0);
	assert_true(dev_send(frame, 60));
	assert_int_equal(tx_done, 1);
	for (unsigned int i = 0; i < 64; i++)
		assert_int_equal(xmit(frame, 60, 1, 0, NULL), 0);
	assert_int_equal(dev_drain(), 64);
	assert_int_equal(tx_done, 1);
	assert_int_equal(xmit(frame, 60, 1, 0, NULL),
			 0); /* sees 128 descriptors, half the ring, free */
	assert_int_equal(tx_done, 1);
	assert_int_equal(xmit(frame, 60, 1, 0, NULL), 0); /* less than half */
	assert_int_equal(tx_done, 65);
	assert_int_equal(dev_drain(), 2);
	assert_true(dev_send(frame, 60));
	assert_int_equal(tx_done, 67);
	assert_int_equal(xmit(frame, 60, 1, 0, NULL), 0);
	assert_int_equal(dev_drain(), 1);
	assert_int_equal(fake_timers_queued(), 1);
	fake_time_advance(200 * NSEC_PER_MSEC);
	assert_int_equal(tx_done, 68);
	assert_int_equal(fake_timers_queued(), 0);
	assert_int_equal(stat("tx_interrupts"), 0);

	/* A device that does not complete is looked at ever less often. */
	assert_int_equal(xmit(frame, 60, 1, 0, NULL), 0);
	fake_time_advance(60 * NSEC_PER_SEC);
	assert_int_equal(fake_timers_queued(), 1);
	assert_int_equal(vi->sq[0].reclaim_ns, 6400 * NSEC_PER_MSEC);
	assert_int_equal(dev_drain(), 1);
	fake_time_advance(7 * NSEC_PER_SEC);
	assert_int_equal(tx_done, 69);
}

/* The ring fills, the queue stops, packets wait in order and are lost only beyond the queue's
 * limit. */
static void test_stop_and_wake(void **state)
{
	static u8 data[2000][60];
	static u8 frame[70000];
	struct fake_buf buf;
	unsigned int sent = 0, seen = 0;

	(void)state;
	boot(MODERN);
	for (unsigned int i = 0; i < ARRAY_SIZE(data); i++)
		memcpy(data[i] + 14, &i, sizeof(i));
	while (!netif_tx_queue_stopped(&vi->dev))
		assert_int_equal(xmit(data[sent++], 60, 1, 0, NULL), 0);
	assert_true(vi->sq[0].vq->num_free < PKT_MAX_FRAGS + 2);
	assert_true(fake_vring_armed(&dev->vq[TX].ring));
	for (unsigned int i = 0; i < 1000; i++)
		assert_int_equal(xmit(data[sent++], 60, 1, 0, NULL), 0);
	assert_int_equal(stat("qdisc"), 1000);
	assert_int_equal(xmit(data[0], 60, 1, 0, NULL), -ENOSPC);
	assert_int_equal(stat("tx_dropped_qlen"), 1);

	/* The device looks only when told: a queue that stops rings first. */
	while (dev->vq[TX].notified) {
		dev->vq[TX].notified = 0;
		while (dev_take(&buf, frame)) {
			assert_memory_equal(frame, data[seen], 60);
			seen++;
			dev_done(&buf);
		}
		fake_virtio_interrupt(dev, TX);
		do_softirq();
	}
	assert_int_equal(seen, sent);
	assert_int_equal(stat("qdisc"), 0);
	assert_int_equal(stat("tx_packets"), sent);
	assert_int_equal(stat("tx_busy"), 0);
	assert_false(netif_tx_queue_stopped(&vi->dev));
}

/* The ring's own features, each alone and together, and masked by their words. */
#define RING_FEATURES \
	(F(VIRTIO_RING_F_EVENT_IDX) | F(VIRTIO_RING_F_INDIRECT_DESC) | F(VIRTIO_F_RING_PACKED))

static u64 ring_features(unsigned int n)
{
	return (n & 1 ? F(VIRTIO_RING_F_EVENT_IDX) : 0) |
	       (n & 2 ? F(VIRTIO_RING_F_INDIRECT_DESC) : 0) | (n & 4 ? F(VIRTIO_F_RING_PACKED) : 0);
}

static void test_ring_features(void **state)
{
	static u8 frame[1514], back[70000];
	struct fake_buf buf;

	(void)state;
	for (unsigned int n = 0; n < 16; n++) {
		bool masked = n & 8;

		mode = ECHO;
		fake_cmdline("virtio_net.event_idx", masked && n & 1 ? "0" : "1");
		fake_cmdline("virtio_net.indirect", masked && n & 2 ? "0" : "1");
		fake_cmdline("virtio_net.packed", masked && n & 4 ? "0" : "1");
		boot(MODERN | ring_features(n));
		assert_int_equal(dev->accepted & RING_FEATURES, masked ? 0 : ring_features(n));
		for (unsigned int i = 0; i < 1000; i++) {
			u32 len = 14 + i % 1501;

			memset(frame, (int)i, sizeof(frame));
			assert_true(dev_send(frame, len));
			assert_int_equal(dev_take(&buf, back), len);
			assert_memory_equal(back, frame, len);
			dev_done(&buf);
		}
		assert_int_equal(stat("tx_packets"), 1000);
		assert_int_equal(stat("tx_interrupts"), 0);
		assert_true(stat("rx_interrupts") >= 990);
		check_no_leak();
	}
	fake_cmdline("virtio_net.event_idx", "1");
	fake_cmdline("virtio_net.indirect", "1");
	fake_cmdline("virtio_net.packed", "1");
}

/* A full ring stops the queue; with indirect descriptors only when it really is full. */
static void test_full_ring_by_features(void **state)
{
	static u8 data[2000][60];
	static u8 frame[70000];

	(void)state;
	for (unsigned int n = 0; n < 8; n++) {
		unsigned int sent = 0, seen = 0;
		struct fake_buf buf;

		boot(MODERN | ring_features(n));
		while (!netif_tx_queue_stopped(&vi->dev)) {
			memcpy(data[sent] + 14, &sent, sizeof(sent));
			assert_int_equal(xmit(data[sent++], 60, 3, 0, NULL), 0);
		}
		if (n & 2) {
			assert_int_equal(vi->sq[0].vq->num_free, 0);
			assert_true(stat("tx_indirect") > 100);
			assert_true(sent > 150);
		} else {
			assert_true(vi->sq[0].vq->num_free < PKT_MAX_FRAGS + 2);
			assert_int_equal(stat("tx_indirect"), 0);
			assert_true(sent < 65);
		}
		for (unsigned int i = 0; i < 500; i++) {
			memcpy(data[sent] + 14, &sent, sizeof(sent));
			assert_int_equal(xmit(data[sent++], 60, 3, 0, NULL), 0);
		}
		while (fake_vring_pending(&dev->vq[TX].ring)) {
			while (dev_take(&buf, frame)) {
				assert_memory_equal(frame, data[seen], 60);
				seen++;
				dev_done(&buf);
				fake_virtio_interrupt(dev, TX);
			}
			do_softirq();
		}
		assert_int_equal(seen, sent);
		assert_int_equal(stat("qdisc"), 0);
		assert_false(netif_tx_queue_stopped(&vi->dev));
		/* By index: once when most has gone, not for each. */
		if (n & 1)
			assert_true(stat("tx_interrupts") <= 20);
		check_no_leak();
	}
}

/* A packed ring that is broken is reset, and all its packets are found again. */
static void test_broken_packed_ring(void **state)
{
	static u8 frame[60];

	(void)state;
	boot(MODERN | RING_FEATURES);
	assert_true(dev_send(frame, 60));
	fake_vring_push_raw(&dev->vq[RX].ring, 9999, 60);
	fake_virtio_interrupt(dev, RX);
	do_softirq();
	fake_time_advance(NSEC_PER_SEC);
	assert_int_equal(stat("resets"), 1);
	assert_int_equal(stat("bad_used"), 1);
	assert_true(dev_send(frame, 60));
	assert_int_equal(received, 2);
}

/* A device that completes inside the doorbell never lets the ring fill up. */
static void complete_at_once(struct fake_virtio *d, unsigned int q)
{
	static u8 frame[70000];
	struct fake_buf buf;

	(void)d;
	while (q == TX && dev_take(&buf, frame))
		dev_done(&buf);
}

static void test_synchronous_device(void **state)
{
	static u8 frame[60];

	(void)state;
	prepare(MODERN);
	dev->queue_size[TX] =
		16; /* less than one packet's worst case: stops each time, and looks again */
	dev->on_notify = complete_at_once;
	assert_int_equal(probe(), 0);
	for (unsigned int i = 0; i < 1000; i++) {
		assert_int_equal(xmit(frame, 60, 3, 0, NULL), 0);
		fake_virtio_interrupt(dev, TX);
		do_softirq();
	}
	assert_int_equal(stat("tx_packets"), 1000);
	assert_int_equal(stat("qdisc"), 0);
}

/* ---- the control queue ---- */

#define CTRL 2
#define CTRL_FEATURES                                                                        \
	(F(VIRTIO_NET_F_CTRL_VQ) | F(VIRTIO_NET_F_CTRL_RX) | F(VIRTIO_NET_F_CTRL_MAC_ADDR) | \
	 F(VIRTIO_NET_F_GUEST_ANNOUNCE))

static u8 ctrl_said[32][8]; /* class, command, data */
static unsigned int nr_ctrl_said;
static u8 ctrl_ack;
static bool ctrl_silent;

/* Executes commands inside the doorbell, as QEMU does. */
static void ctrl_device(struct fake_virtio *d, unsigned int q)
{
	struct fake_buf buf;

	if (q != CTRL || ctrl_silent)
		return;
	(void)fake_vring_enable_notify(&d->vq[CTRL].ring);
	while (fake_vring_pop(&d->vq[CTRL].ring, &buf)) {
		assert_true(buf.out_len >= 2 && buf.out_len <= 8);
		assert_int_equal(buf.in_len, 1);
		fake_buf_read(&buf, ctrl_said[nr_ctrl_said++], 8);
		fake_buf_write(&buf, &ctrl_ack, 1);
		fake_vring_push(&d->vq[CTRL].ring, buf.head, 1);
		(void)fake_vring_enable_notify(&d->vq[CTRL].ring);
	}
}

static void boot_ctrl(u64 features)
{
	nr_ctrl_said = notified_peers = 0;
	memset(ctrl_said, 0, sizeof(ctrl_said));
	prepare(features);
	dev->on_notify = ctrl_device;
	assert_int_equal(probe(), 0);
}

static void expect_said(unsigned int n, u8 class, u8 cmd, const void *data, size_t len)
{
	assert_true(n < nr_ctrl_said);
	assert_int_equal(ctrl_said[n][0], class);
	assert_int_equal(ctrl_said[n][1], cmd);
	assert_memory_equal(&ctrl_said[n][2], data, len);
}

/* Split and packed: all multicast, and nobody else's unicast. */
static void test_ctrl_rx_mode(void **state)
{
	(void)state;
	ctrl_ack = 0;
	ctrl_silent = false;
	for (unsigned int n = 0; n < 8; n++) {
		boot_ctrl(MODERN | CTRL_FEATURES | ring_features(n));
		assert_int_equal(nr_ctrl_said, 2);
		expect_said(0, 0, 1, "\1", 1);
		expect_said(1, 0, 0, "\0", 1);
		assert_int_equal(stat("ctrl_commands"), 2);
		assert_int_equal(stat("ctrl_errors"), 0);
		check_no_leak();
	}
}

/* An address of our own making: the device is told, and left promiscuous in case it did not listen.
 */
static void test_ctrl_own_mac(void **state)
{
	(void)state;
	boot_ctrl((MODERN & ~F(VIRTIO_NET_F_MAC)) | CTRL_FEATURES);
	assert_int_equal(nr_ctrl_said, 2);
	expect_said(0, 1, 1, vi->dev.dev_addr, ETH_ALEN);
	expect_said(1, 0, 1, "\1", 1);
	boot_ctrl((MODERN & ~F(VIRTIO_NET_F_MAC)) | F(VIRTIO_NET_F_CTRL_VQ) |
		  F(VIRTIO_NET_F_CTRL_RX));
	assert_int_equal(nr_ctrl_said, 1);
	expect_said(0, 0, 1, "\1", 1);
}

static void test_ctrl_masked(void **state)
{
	(void)state;
	assert_int_equal(fake_cmdline("virtio_net.ctrl_vq", "0"), 0);
	boot_ctrl(MODERN | CTRL_FEATURES);
	assert_int_equal(dev->accepted, MODERN);
	assert_int_equal(dev->nvqs, 2);
	assert_int_equal(fake_cmdline("virtio_net.ctrl_vq", "1"), 0);
	/* 5.1.3.1: not without the queue, whatever is offered. */
	boot_ctrl(MODERN | (CTRL_FEATURES & ~F(VIRTIO_NET_F_CTRL_VQ)));
	assert_int_equal(dev->accepted, MODERN);
	boot_ctrl(MODERN | F(VIRTIO_NET_F_CTRL_VQ));
	assert_int_equal(dev->nvqs, 3);
	assert_int_equal(nr_ctrl_said, 0);
}

static void say_status(u16 status)
{
	fake_virtio_config_write(dev, offsetof(struct virtio_net_config, status), &status,
				 sizeof(status));
	do_softirq();
}

static void test_ctrl_announce(void **state)
{
	(void)state;
	boot_ctrl(MODERN | CTRL_FEATURES);
	say_status(VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE);
	assert_int_equal(notified_peers, 1);
	assert_int_equal(nr_ctrl_said, 3);
	expect_said(2, 3, 0, "", 0);
	assert_int_equal(stat("announces"), 1);
	say_status(VIRTIO_NET_S_LINK_UP);
	assert_int_equal(nr_ctrl_said, 3);
	/* A bit that was not negotiated means nothing. */
	boot_ctrl(MODERN | F(VIRTIO_NET_F_CTRL_VQ));
	say_status(VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE);
	assert_int_equal(notified_peers, 0);
	assert_int_equal(nr_ctrl_said, 0);
}

static void test_ctrl_refused(void **state)
{
	(void)state;
	ctrl_ack = 1;
	boot_ctrl(MODERN | CTRL_FEATURES);
	ctrl_ack = 0;
	assert_int_equal(stat("ctrl_errors"), 2);
	assert_true(fake_log_has("command 0.1 refused"));
	assert_true(dev_send((u8[60]){ 0 }, 60));
	assert_int_equal(received, 1);
}

/* A device that does not answer costs no time, and no more than the commands that wait for it. */
static void test_ctrl_silent(void **state)
{
	u64 before = 0;

	(void)state;
	ctrl_silent = true;
	boot_ctrl(MODERN | CTRL_FEATURES);
	before = ktime_get();
	for (unsigned int i = 0; i < 10; i++)
		say_status(VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE);
	assert_int_equal(ktime_get(), before);
	assert_int_equal(stat("ctrl_commands"), 4);
	assert_int_equal(stat("ctrl_errors"), 8);
	/* It wakes up. */
	ctrl_silent = false;
	ctrl_device(dev, CTRL);
	assert_int_equal(nr_ctrl_said, 4);
	say_status(VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE);
	assert_int_equal(nr_ctrl_said, 5);
	assert_int_equal(stat("ctrl_errors"), 8);

	/* Asleep again, and then reset: what was on its way is forgotten, and the mode said anew.
	 */
	ctrl_silent = true;
	say_status(VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE);
	ctrl_silent = false;
	fake_virtio_needs_reset(dev);
	do_softirq();
	fake_time_advance(NSEC_PER_SEC);
	assert_int_equal(stat("resets"), 1);
	expect_said(nr_ctrl_said - 2, 0, 0, "\0", 1);
}

/* A control queue that lies is a reset like that of any other queue. */
static void test_ctrl_broken(void **state)
{
	(void)state;
	ctrl_silent = true;
	boot_ctrl(MODERN | CTRL_FEATURES);
	fake_vring_push_raw(&dev->vq[CTRL].ring, 777, 1);
	ctrl_silent = false;
	say_status(VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE);
	fake_time_advance(NSEC_PER_SEC);
	assert_int_equal(stat("resets"), 1);
	say_status(VIRTIO_NET_S_LINK_UP);
	assert_true(dev_send((u8[60]){ 0 }, 60));
	assert_int_equal(received, 1);
}

/* ---- link ---- */

static void set_link(u16 status)
{
	fake_virtio_config_write(dev, offsetof(struct virtio_net_config, status), &status,
				 sizeof(status));
	do_softirq();
}

static void test_link(void **state)
{
	static u8 frame[60];

	(void)state;
	boot(MODERN);
	set_link(0);
	assert_false(netif_carrier_ok(&vi->dev));
	assert_int_equal(carrier_changes, 1);
	assert_int_equal(xmit(frame, 60, 1, 0, NULL), -EIO);
	assert_int_equal(stat("tx_dropped_down"), 1);
	set_link(0);
	assert_int_equal(carrier_changes, 1);
	set_link(VIRTIO_NET_S_LINK_UP);
	assert_int_equal(carrier_changes, 2);
	assert_int_equal(fake_log_count("link up"), 1);
	assert_int_equal(fake_log_count("link down"), 1);
	assert_int_equal(xmit(frame, 60, 1, 0, NULL), 0);
	assert_int_equal(dev_drain(), 1);
}

/* What waited in the queue when the link went is dropped and counted, not sent later. */
static void test_link_down_drops_the_queue(void **state)
{
	static u8 frame[60];

	(void)state;
	boot(MODERN);
	while (!netif_tx_queue_stopped(&vi->dev))
		assert_int_equal(xmit(frame, 60, 1, 0, NULL), 0);
	for (unsigned int i = 0; i < 10; i++)
		assert_int_equal(xmit(frame, 60, 1, 0, NULL), 0);
	set_link(0);
	assert_int_equal(stat("qdisc"), 0);
	assert_int_equal(stat("tx_dropped_down"), 10);
	set_link(VIRTIO_NET_S_LINK_UP);
}

static void test_link_down_at_boot(void **state)
{
	(void)state;
	prepare(MODERN);
	((struct virtio_net_config *)dev->config)->status = 0;
	assert_int_equal(probe(), 0);
	assert_false(netif_carrier_ok(&vi->dev));
	set_link(VIRTIO_NET_S_LINK_UP);
	assert_true(netif_carrier_ok(&vi->dev));
	check_no_leak();
	/* Without the feature the link is up, whatever the field says. */
	prepare(MODERN & ~F(VIRTIO_NET_F_STATUS));
	((struct virtio_net_config *)dev->config)->status = 0;
	assert_int_equal(probe(), 0);
	assert_true(netif_carrier_ok(&vi->dev));
}

/* ---- a device in trouble ---- */

static void expect_service(void)
{
	static u8 frame[60] = { 1, 2, 3 }, back[70000];
	struct fake_buf buf;

	assert_true(dev->status & VIRTIO_CONFIG_S_DRIVER_OK);
	mode = ECHO;
	assert_true(dev_send(frame, 60));
	assert_int_equal(dev_take(&buf, back), 60);
	assert_memory_equal(back, frame, 60);
	dev_done(&buf);
}

static void break_rx(void)
{
	fake_vring_push_raw(&dev->vq[RX].ring, 300, 60);
	fake_virtio_interrupt(dev, RX);
	do_softirq();
	fake_time_advance(0);
}

/* A bad id: every buffer of both rings is recovered, what waits in the queue is sent afterwards. */
static void test_broken_receive_ring(void **state)
{
	static u8 frame[60];
	unsigned int sent = 0;

	(void)state;
	boot(MODERN);
	while (!netif_tx_queue_stopped(&vi->dev)) {
		assert_int_equal(xmit(frame, 60, 1, 0, NULL), 0);
		sent++;
	}
	assert_int_equal(xmit(frame, 60, 1, 0, NULL), 0);
	break_rx();
	assert_true(fake_log_has("virtio0: input.0: id 300 out of range"));
	assert_true(fake_log_has("device was reset"));
	assert_int_equal(stat("resets"), 1);
	assert_int_equal(stat("bad_used"), 1);
	assert_int_equal(tx_done, sent);
	assert_int_equal(vi->pool.used, 256);
	assert_int_equal(dev_drain(), 1);
	assert_int_equal(carrier_changes, 0);
	expect_service();
}

static void test_broken_transmit_ring(void **state)
{
	static u8 frame[60];

	(void)state;
	boot(MODERN);
	assert_int_equal(xmit(frame, 60, 1, 0, NULL), 0);
	fake_vring_push_raw(&dev->vq[TX].ring, 999, 0);
	/* Found by the poll; a packet that comes before the reset is lost. */
	assert_true(dev_send(frame, 60));
	assert_true(virtqueue_is_broken(vi->sq[0].vq));
	assert_int_equal(xmit(frame, 60, 1, 0, NULL), 0);
	assert_int_equal(stat("tx_errors"), 1);
	fake_time_advance(0);
	assert_int_equal(stat("resets"), 1);
	assert_int_equal(tx_done, 2);
	expect_service();
	/* Found by the timer. */
	assert_int_equal(xmit(frame, 60, 1, 0, NULL), 0);
	fake_vring_push_raw(&dev->vq[TX].ring, 999, 0);
	fake_time_advance(NSEC_PER_SEC);
	assert_int_equal(stat("resets"), 2);
	expect_service();
}

static void test_received_length_beyond_buffer(void **state)
{
	struct fake_buf buf;

	(void)state;
	boot(MODERN);
	assert_true(fake_vring_pop(&dev->vq[RX].ring, &buf));
	fake_vring_push_raw(&dev->vq[RX].ring, buf.head, buf.in_len + 1);
	fake_virtio_interrupt(dev, RX);
	do_softirq();
	fake_time_advance(0);
	assert_int_equal(received, 0);
	assert_int_equal(stat("resets"), 1);
	expect_service();
}

static void test_needs_reset(void **state)
{
	(void)state;
	boot(MODERN);
	fake_virtio_needs_reset(dev);
	do_softirq();
	fake_time_advance(0);
	assert_int_equal(stat("resets"), 1);
	expect_service();
}

static void nothing(void *ctx)
{
	(void)ctx;
}

/* What a reset finds in the ring has come to its journey's end, as those that were sent have. */
static void test_reset_ends_journeys(void **state)
{
	static const struct pkt_filter all;
	static u8 frame[60];

	(void)state;
	boot(MODERN);
	assert_int_equal(journey_start(5, &all, nothing, NULL), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(xmit(frame, 60, 1, 0, NULL), 0);
	assert_int_equal(journey_started(), 3);
	assert_int_equal(journey_finished(), 0);
	fake_virtio_needs_reset(dev);
	do_softirq();
	fake_time_advance(0);
	assert_int_equal(stat("resets"), 1);
	assert_int_equal(journey_finished(), 3);
	assert_int_equal(journey_get(0)->flags & JOURNEY_DROPPED, JOURNEY_DROPPED);
	journey_release();
	expect_service();
}

/* Again and again: with growing pauses, then no more. Never a loop without end. */
static void test_always_broken(void **state)
{
	unsigned int n = 0;

	(void)state;
	boot(MODERN);
	while (!vi->dead) {
		break_rx();
		fake_time_advance(7 * NSEC_PER_SEC);
		assert_true(++n < 20);
	}
	assert_int_equal(stat("resets"), 8);
	assert_true(fake_log_has("given up"));
	assert_false(netif_carrier_ok(&vi->dev));
	assert_int_equal(dev->status, 0);
	assert_int_equal(vi->pool.used, 256); /* still posted; nobody will fetch them */
}

/* Now and then is forgiven. */
static void test_sometimes_broken(void **state)
{
	(void)state;
	boot(MODERN);
	for (unsigned int i = 0; i < 30; i++) {
		break_rx();
		expect_service();
		fake_time_advance(11 * NSEC_PER_SEC);
	}
	assert_int_equal(stat("resets"), 30);
}

static void test_reset_fails(void **state)
{
	(void)state;
	boot(MODERN);
	dev->fail_resets = 3;
	break_rx();
	assert_int_equal(stat("resets_failed"), 1);
	assert_int_equal(vi->pool.used, 256); /* it may still write: nothing is taken back */
	fake_time_advance(NSEC_PER_SEC);
	assert_int_equal(stat("resets_failed"), 3);
	assert_int_equal(stat("resets"), 4);
	expect_service();
}

/* No memory for new rings: the next try has some. */
static void test_reset_without_memory(void **state)
{
	(void)state;
	boot(MODERN);
	for (unsigned int n = 1; n <= 6; n++) {
		u64 failed = stat("resets_failed");

		fake_alloc_fail_nth(n);
		break_rx();
		fake_time_advance(NSEC_PER_SEC);
		assert_int_equal(stat("resets_failed"), failed + 1);
		expect_service();
		fake_time_advance(11 * NSEC_PER_SEC);
	}
}

static void test_gone(void **state)
{
	static u8 frame[60];

	(void)state;
	boot(MODERN);
	assert_int_equal(xmit(frame, 60, 1, 0, NULL), 0);
	assert_int_equal(dev_drain(), 1);
	assert_true(dev_send(frame, 60));
	dev->gone = true;
	assert_int_equal(xmit(frame, 60, 1, 0, NULL), 0);
	fake_time_advance(60 * NSEC_PER_SEC);
	assert_true(vi->dead);
	assert_int_equal(xmit(frame, 60, 1, 0, NULL), -EIO);
	/* The last packet is with the device for ever: for this check only, take it home. */
	pkt_free(virtqueue_detach_unused_buf(vi->sq[0].vq));
}

static void test_interrupt_before_driver_ok(void **state)
{
	(void)state;
	boot(MODERN);
	/* The queue's handler when the driver has not claimed it yet. */
	vi->rq[0].vq->owner = NULL;
	memset((void *)(uintptr_t)dev->vq[RX].ring.desc->addr, 0, 12);
	fake_vring_push_raw(&dev->vq[RX].ring, 0, 60);
	fake_irq_raise(dev->vq[RX].irq);
	do_softirq();
	assert_int_equal(received, 0);
	vi->rq[0].vq->owner = &vi->rq[0];
	dev->vq[RX].ring.last_avail = 1;
	fake_irq_raise(dev->vq[RX].irq);
	do_softirq();
	assert_int_equal(received, 1);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_modern),
		TEST(test_modern_echo),
		TEST(test_legacy_any_layout),
		TEST(test_legacy_header_apart),
		TEST(test_no_mac),
		TEST(test_mtu),
		TEST(test_refused),
		TEST(test_probe_without_memory),
		TEST(test_words),
		TEST(test_small_rings),
		TEST(test_receive_lengths),
		TEST(test_receive_headers),
		TEST(test_doorbell),
		TEST(test_interrupts_are_off_while_polling),
		TEST(test_late_frame),
		TEST(test_pool_dry),
		TEST(test_pool_dry_in_transmit_ring),
		TEST(test_transmit_fragments),
		TEST(test_reclaim),
		TEST(test_stop_and_wake),
		TEST(test_ring_features),
		TEST(test_full_ring_by_features),
		TEST(test_broken_packed_ring),
		TEST(test_synchronous_device),
		TEST(test_ctrl_rx_mode),
		TEST(test_ctrl_own_mac),
		TEST(test_ctrl_masked),
		TEST(test_ctrl_announce),
		TEST(test_ctrl_refused),
		TEST(test_ctrl_silent),
		TEST(test_ctrl_broken),
		TEST(test_link),
		TEST(test_link_down_drops_the_queue),
		TEST(test_link_down_at_boot),
		TEST(test_broken_receive_ring),
		TEST(test_broken_transmit_ring),
		TEST(test_received_length_beyond_buffer),
		TEST(test_needs_reset),
		TEST(test_reset_ends_journeys),
		TEST(test_always_broken),
		TEST(test_sometimes_broken),
		TEST(test_reset_fails),
		TEST(test_reset_without_memory),
		TEST(test_gone),
		TEST(test_interrupt_before_driver_ok),
	};

	start();
	return cmocka_run_group_tests_name("virtio_net", tests, NULL, NULL);
}
