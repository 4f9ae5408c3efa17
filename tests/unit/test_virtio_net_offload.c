/*
 * What the NIC driver leaves to the device and takes from it (VIRTIO 1.2, 5.1.6): negotiation,
 * checksums and segments on transmit, buffers that belong together and what is said of them on
 * receive. Receive buffers are poisoned behind what the device wrote.
 */
#include <sanitizer/asan_interface.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/test.h"

#include "kernel/lib/byteorder.h"
#include "kernel/lib/errno.h"
#include "kernel/softirq.h"
#include "net/checksum.h"
#include "tests/fake/fake_kernel.h"
#include "tests/unit/virtio_net_fixture.h"

#define CSUM F(VIRTIO_NET_F_CSUM)
#define TSO4 F(VIRTIO_NET_F_HOST_TSO4)
#define TSO6 F(VIRTIO_NET_F_HOST_TSO6)
#define GUEST_CSUM F(VIRTIO_NET_F_GUEST_CSUM)
#define GUEST_TSO4 F(VIRTIO_NET_F_GUEST_TSO4)
#define GUEST_TSO6 F(VIRTIO_NET_F_GUEST_TSO6)
#define MRG_RXBUF F(VIRTIO_NET_F_MRG_RXBUF)
#define SEND (CSUM | TSO4 | TSO6)
#define RECEIVE (GUEST_CSUM | GUEST_TSO4 | GUEST_TSO6 | MRG_RXBUF)

/* ---- negotiation ---- */

static void test_dependencies(void **state)
{
	static const struct {
		u64 offered, accepted;
	} cases[] = {
		{ 0, 0 },
		{ SEND | RECEIVE, SEND | RECEIVE },
		{ CSUM, CSUM },
		{ CSUM | TSO4, CSUM | TSO4 },
		{ CSUM | TSO6, CSUM | TSO6 },
		{ TSO4 | TSO6, 0 }, /* VIRTIO 1.2, 5.1.3.1 */
		{ GUEST_CSUM, GUEST_CSUM },
		{ GUEST_TSO4 | GUEST_TSO6 | MRG_RXBUF, MRG_RXBUF },   /* 5.1.3.1 */
		{ GUEST_CSUM | GUEST_TSO4 | GUEST_TSO6, GUEST_CSUM }, /* 5.1.6.3.1 */
		{ GUEST_CSUM | GUEST_TSO6 | MRG_RXBUF, GUEST_CSUM | GUEST_TSO6 | MRG_RXBUF },
		{ MRG_RXBUF, MRG_RXBUF },
		{ RECEIVE | TSO4, RECEIVE },
		/* ECN, UFO, GUEST_UFO, GUEST_ANNOUNCE: not ours */
		{ SEND | F(13) | F(14) | F(9) | F(10) | F(21), SEND },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		u64 f = cases[i].accepted;

		boot(MODERN | cases[i].offered);
		assert_int_equal(dev->accepted, MODERN | f);
		assert_int_equal(vi->dev.features, (f & CSUM ? NETIF_F_HW_CSUM : 0) |
							   (f & TSO4 ? NETIF_F_TSO : 0) |
							   (f & TSO6 ? NETIF_F_TSO6 : 0));
		check_no_leak();
	}
}

static void test_words_mask(void **state)
{
	static const struct {
		const char *word;
		u64 gone; /* with all that needs it */
	} cases[] = {
		{ "virtio_net.csum", SEND },
		{ "virtio_net.host_tso", TSO4 | TSO6 },
		{ "virtio_net.guest_csum", GUEST_CSUM | GUEST_TSO4 | GUEST_TSO6 },
		{ "virtio_net.guest_tso", GUEST_TSO4 | GUEST_TSO6 },
		{ "virtio_net.mrg_rxbuf", MRG_RXBUF | GUEST_TSO4 | GUEST_TSO6 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(fake_cmdline(cases[i].word, "0"), 0);
		boot(MODERN | SEND | RECEIVE);
		assert_int_equal(dev->accepted, MODERN | ((SEND | RECEIVE) & ~cases[i].gone));
		check_no_leak();
		assert_int_equal(fake_cmdline(cases[i].word, "1"), 0);
	}
	boot(MODERN | SEND | RECEIVE);
	assert_int_equal(dev->accepted, MODERN | SEND | RECEIVE);
	assert_string_equal(stat_text("features"),
			    "csum,guest_csum,mac,guest_tso4,guest_tso6,host_tso4,host_tso6,"
			    "mrg_rxbuf,status,version_1");
}

/*
 * A frame of 64 KiB must find room while the stack holds seven eighths of the pool (net/lwip/
 * netif.c), or the device would wait with it, and with all that comes behind it, for ever.
 */
static void test_large_frames_want_memory(void **state)
{
	(void)state;
	for (size_t pages = 64; pages <= 65536; pages += pages / 4) {
		fake_set_free_pages(pages);
		boot(MODERN | RECEIVE);
		if (dev->accepted & GUEST_TSO4)
			assert_true((u64)vi->pool.size / 8 * vi->pool.frame_size >= 65550);
		else
			assert_true(pages < 1536);
		check_no_leak();
	}
}

/* ---- transmit ---- */

/* struct pkt_buf.offloads of such a frame. */
static u64 offloads(u16 csum_start, u16 gso_size, u8 gso_hlen)
{
	struct pkt_buf pkt = { .gso_size = gso_size,
			       .ip_summed = CHECKSUM_PARTIAL,
			       .gso_hlen = gso_hlen,
			       .csum_start = csum_start,
			       .csum_offset = 16 };

	return pkt.offloads;
}

static void check_transmit(u64 features, u32 len)
{
	static const struct {
		u64 wanted;
		u8 hdr[12];
	} cases[] = {
		{ 0, { 0 } },
		/* flags, gso_type, hdr_len, gso_size, csum_start, csum_offset, num_buffers */
		{ 1, { 1, 0, 0, 0, 0, 0, 34, 0, 16, 0, 0, 0 } },
		{ 2, { 1, 1, 54, 0, 0xb4, 5, 34, 0, 16, 0, 0, 0 } },
		{ 3, { 1, 4, 86, 0, 0x94, 5, 54, 0, 16, 0, 0, 0 } },
	};
	const u64 wanted[] = { 0, offloads(34, 0, 0), offloads(34, 1460, 54),
			       offloads(54, 1428, 86) };
	static u8 data[32 + 65549], frame[70000];

	for (u32 i = 0; i < len; i++)
		data[32 + i] = (u8)(i * 5 + i / 251);
	for (size_t i = 0; i < 4 * ARRAY_SIZE(cases); i++) {
		const u8 *want = cases[i % 4].hdr;
		struct virtio_net_hdr_v1 hdr;
		struct fake_buf buf;

		tx_offloads = wanted[i % 4];
		/* In front of the frame or apart from it; what is there is never sent. */
		memset(data, 0xee, 32);
		assert_int_equal(xmit(data + 32, tx_offloads ? len : 1514, 1 + i / 8,
				      i & 4 ? 18 : 0, NULL),
				 0);
		assert_int_equal(dev_take_hdr(&buf, frame, &hdr), tx_offloads ? len : 1514);
		assert_memory_equal(&hdr, want, hdr_len());
		assert_memory_equal(frame, data + 32, tx_offloads ? len : 1514);
		dev_done(&buf);
	}
	assert_int_equal(hdr_len(), features & (F(VIRTIO_F_VERSION_1) | MRG_RXBUF) ? 12 : 10);
	tx_offloads = 0;
}

static void test_transmit_headers(void **state)
{
	static const u64 features[] = { MODERN | SEND,
					MODERN | SEND | RECEIVE,
					LEGACY | SEND,
					LEGACY | SEND | MRG_RXBUF,
					LEGACY | SEND | F(VIRTIO_F_ANY_LAYOUT),
					LEGACY | SEND | RECEIVE | F(VIRTIO_F_ANY_LAYOUT) };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(features); i++) {
		boot(features[i]);
		assert_int_equal(dev->accepted, features[i]);
		check_transmit(features[i], 1514);
		check_no_leak();
	}
}

/* Only what is to be cut may be longer than the MTU. */
static void test_transmit_large(void **state)
{
	static u8 data[65549], frame[70000];
	struct virtio_net_hdr_v1 hdr;
	struct fake_buf buf;

	(void)state;
	boot(MODERN | SEND);
	tx_offloads = offloads(34, 0, 0);
	assert_int_equal(xmit(data, 1515, 1, 0, NULL), -EMSGSIZE);
	tx_offloads = offloads(34, 1460, 54);
	for (u32 i = 0; i < sizeof(data); i++)
		data[i] = (u8)(i * 3 + i / 256);
	for (unsigned int pieces = 1; pieces <= PKT_MAX_FRAGS; pieces++) {
		assert_int_equal(xmit(data, sizeof(data), pieces, 0, NULL), 0);
		assert_int_equal(dev_take_hdr(&buf, frame, &hdr), sizeof(data));
		assert_int_equal(buf.nr_out, pieces + 1);
		assert_memory_equal(frame, data, sizeof(data));
		assert_int_equal(hdr.hdr.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
		dev_done(&buf);
	}
}

/* ---- receive ---- */

static void put_le16(u8 *to, u32 v)
{
	to[0] = (u8)v;
	to[1] = (u8)(v >> 8);
}

#define MAX_POISONED 1100
static struct {
	u8 *addr;
	u32 len;
} poisoned[MAX_POISONED];
static u32 nr_poisoned;

/* The next buffer gets these bytes and is used with that length; the rest of it is poisoned. */
static void raw_put(const void *bytes, u32 len)
{
	struct fake_vring *ring = &dev->vq[RX].ring;
	struct fake_buf buf;
	u32 left = len;

	assert_true(fake_vring_pop(ring, &buf));
	assert_true(len <= buf.in_len);
	assert_int_equal(fake_buf_write(&buf, bytes, len), len);
	for (unsigned int i = buf.nr_out; i < buf.nr_out + buf.nr_in; i++) {
		u32 n = min(left, buf.sg[i].len);

		assert_true(nr_poisoned < MAX_POISONED);
		poisoned[nr_poisoned].addr = buf.sg[i].addr + n;
		poisoned[nr_poisoned++].len = buf.sg[i].len - n;
		left -= n;
	}
	for (u32 i = nr_poisoned - buf.nr_in; i < nr_poisoned; i++)
		ASAN_POISON_MEMORY_REGION(poisoned[i].addr, poisoned[i].len);
	fake_vring_push(ring, buf.head, len);
}

static void raw_deliver(void)
{
	fake_virtio_interrupt(dev, RX);
	do_softirq();
	while (nr_poisoned) {
		nr_poisoned--;
		ASAN_UNPOISON_MEMORY_REGION(poisoned[nr_poisoned].addr, poisoned[nr_poisoned].len);
	}
}

static u32 buffer_size(void)
{
	return vi->pool.frame_size + hdr_len();
}

/*
 * A frame of len bytes as an honest device writes it: buffers full but for the last, their number
 * in the header.
 */
static u8 whole[70000];

static u32 put_frame(struct virtio_net_hdr hdr, u32 len)
{
	u32 total = hdr_len() + len, size = buffer_size(), nr = (total + size - 1) / size;

	memset(whole, 0, 12);
	memcpy(whole, &hdr, sizeof(hdr));
	if (hdr_len() == 12)
		put_le16(whole + 10, nr);
	for (u32 i = 0; i < len; i++)
		whole[hdr_len() + i] = (u8)(i * 11 + i / 253);
	for (u32 at = 0; at < total; at += size)
		raw_put(whole + at, min(size, total - at));
	return nr;
}

static const struct virtio_net_hdr gso4 = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
					    .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
					    .gso_size = 1448,
					    .csum_start = 34,
					    .csum_offset = 16 };

static void expect_frame(u32 len, u32 pieces)
{
	unsigned int before = received;

	raw_deliver();
	assert_int_equal(received, before + 1);
	assert_int_equal(last_len, len);
	assert_int_equal(last_pieces, pieces);
	assert_memory_equal(last_frame, whole + hdr_len(), len);
}

static void expect_dropped(const char *counter)
{
	u64 before = stat(counter);
	unsigned int passed = received;

	raw_deliver();
	assert_int_equal(stat(counter), before + 1);
	assert_int_equal(received, passed);
}

static void check_merged(u64 features, size_t pages)
{
	static const u32 nr[] = { 1, 2, 3, 16, 17, 42, 43, 44, 45 };

	fake_set_free_pages(pages);
	boot(features);
	for (size_t i = 0; i < ARRAY_SIZE(nr); i++) {
		/* The last with one byte, some, and full. */
		for (u32 j = 0; j < 3; j++) {
			u32 last = j == 0 ? 1 : j == 1 ? 700 : buffer_size();
			u32 len = (nr[i] - 1) * buffer_size() + last - hdr_len();

			if (last < 60 && nr[i] == 1)
				len = 60;
			if (len > 65553)
				continue;
			assert_int_equal(put_frame(gso4, len), nr[i]);
			expect_frame(len, nr[i]);
		}
	}
	assert_int_equal(stat("rx_bad_len"), 0);
	assert_int_equal(stat("rx_bad_hdr"), 0);
	check_no_leak();
}

static void test_merged_buffers(void **state)
{
	(void)state;
	check_merged(MODERN | RECEIVE, 65536);
	assert_true(vi->pool.frame_size > 3500 && vi->pool.block_size == 4096);
	check_merged(MODERN | RECEIVE, 2048); /* too few pages for buffers of one each */
	assert_true(vi->pool.frame_size < 1600);
	check_merged(LEGACY | RECEIVE, 2048);
	check_merged(LEGACY | RECEIVE | F(VIRTIO_F_ANY_LAYOUT), 2048);
}

/* The stack keeps them and gives them back: the ring is filled again. */
static void test_merged_buffers_held(void **state)
{
	(void)state;
	boot(MODERN | RECEIVE);
	mode = HOLD;
	for (u32 i = 0; i < 30; i++) {
		put_frame(gso4, 60000);
		raw_deliver();
		assert_int_equal(received, i + 1);
	}
	release_held();
	mode = FREE;
	assert_true(dev_send(whole, 60));
}

/* num_buffers says what is not so: counted, dropped, and the next frame is in step again. */
static void test_merged_lies(void **state)
{
	static u8 bytes[9000];
	u32 size;

	(void)state;
	boot(MODERN | RECEIVE);
	size = buffer_size();
#define HEADER(n) (memset(bytes, 0, 12), put_le16(bytes + 10, n))
	HEADER(0);
	raw_put(bytes, 100);
	expect_dropped("rx_bad_len");
	/* More than there are; there is never a wait for them. */
	HEADER(2);
	raw_put(bytes, size);
	expect_dropped("rx_bad_len");
	HEADER(65535);
	raw_put(bytes, size);
	raw_put(bytes, 100);
	expect_dropped("rx_bad_len");
	/* Fewer than the device used: what follows is read as a frame, with a header of its own. */
	HEADER(1);
	raw_put(bytes, size);
	HEADER(0);
	raw_put(bytes, 100);
	raw_deliver();
	assert_int_equal(stat("rx_bad_len"), 4);
	assert_int_equal(received, 1);
	/* Not full: the first, one between, by a byte. */
	for (u32 missing = 1; missing < size; missing += 1 + missing * 7) {
		HEADER(3);
		raw_put(bytes, size - missing);
		raw_put(bytes, size);
		raw_put(bytes, 100);
		expect_dropped("rx_bad_len");
		HEADER(3);
		raw_put(bytes, size);
		raw_put(bytes, size - missing);
		raw_put(bytes, 100);
		expect_dropped("rx_bad_len");
	}
	/* Nothing in the last, or between. */
	HEADER(2);
	raw_put(bytes, size);
	raw_put(bytes, 0);
	expect_dropped("rx_bad_len");
	HEADER(3);
	raw_put(bytes, size);
	raw_put(bytes, 0);
	raw_put(bytes, 100);
	expect_dropped("rx_bad_len");
	/* The first is too short for an Ethernet header: its others go with it. */
	HEADER(2);
	raw_put(bytes, 12 + 13);
	HEADER(1);
	raw_put(bytes, 100);
	expect_dropped("rx_bad_len");
	/* Too short for a header of ours: what num_buffers would say was not written. */
	raw_put(bytes, 11);
	expect_dropped("rx_bad_len");
	raw_put(bytes, 0);
	expect_dropped("rx_bad_len");
	assert_int_equal(received, 1);
	assert_int_equal(stat("resets"), 0);
	assert_int_equal(put_frame(gso4, 9000), 3);
	expect_frame(9000, 3);
}

/* 65,535 bytes of IP, Ethernet and a VLAN tag, and one byte more. */
static void test_merged_too_long(void **state)
{
	(void)state;
	boot(MODERN | RECEIVE);
	put_frame(gso4, 65553);
	expect_frame(65553, 17);
	put_frame(gso4, 65554);
	expect_dropped("rx_bad_len");
	put_frame(gso4, 69000);
	expect_dropped("rx_bad_len");
	put_frame(gso4, 65549);
	expect_frame(65549, 17);
}

/* A ring and a half of large frames in a poll. */
static void test_merged_fill_the_ring(void **state)
{
	u32 n = 0;

	(void)state;
	boot(MODERN | RECEIVE);
	for (u32 round = 0; round < 3; round++) {
		while (fake_vring_pending(&dev->vq[RX].ring) >= 17) {
			put_frame(gso4, 65549);
			n++;
		}
		raw_deliver();
		assert_int_equal(received, n);
		assert_int_equal(vi->rq[0].posted, 256);
	}
	assert_int_equal(n, 45);
}

/* What the header says of a frame of 100 bytes in one buffer, and what is believed. */
struct rx_case {
	u64 features;
	struct virtio_net_hdr hdr;
	bool bad;
	u8 ip_summed;
	u16 gso_size;
};

static void check_rx(const struct rx_case *c)
{
	struct pkt_buf pkt = { .gso_size = c->gso_size, .ip_summed = c->ip_summed };

	boot(MODERN | c->features);
	put_frame(c->hdr, 100);
	if (c->bad) {
		expect_dropped("rx_bad_hdr");
	} else {
		expect_frame(100, 1);
		assert_int_equal(last_offloads, pkt.offloads);
	}
	/* The block comes back clean. */
	put_frame((struct virtio_net_hdr){ 0 }, 100);
	expect_frame(100, 1);
	assert_int_equal(last_offloads, 0);
	check_no_leak();
}

#define NEEDS VIRTIO_NET_HDR_F_NEEDS_CSUM
#define VALID VIRTIO_NET_HDR_F_DATA_VALID
#define OK(s, g) false, s, g
#define BAD true, 0, 0

static void test_what_is_said_of_a_checksum(void **state)
{
	static const struct rx_case cases[] = {
		{ 0, { .flags = NEEDS, .csum_start = 34, .csum_offset = 16 }, BAD },
		{ MRG_RXBUF, { .flags = NEEDS, .csum_start = 34, .csum_offset = 16 }, BAD },
		{ RECEIVE, { .flags = NEEDS, .csum_start = 34, .csum_offset = 16 }, OK(1, 0) },
		{ GUEST_CSUM, { .flags = NEEDS, .csum_start = 34, .csum_offset = 16 }, OK(1, 0) },
		{ GUEST_CSUM, { .flags = NEEDS, .csum_start = 14, .csum_offset = 0 }, OK(1, 0) },
		{ GUEST_CSUM, { .flags = NEEDS, .csum_start = 13, .csum_offset = 6 }, BAD },
		{ GUEST_CSUM, { .flags = NEEDS, .csum_start = 82, .csum_offset = 16 }, OK(1, 0) },
		{ GUEST_CSUM, { .flags = NEEDS, .csum_start = 83, .csum_offset = 16 }, BAD },
		{ GUEST_CSUM, { .flags = NEEDS, .csum_start = 34, .csum_offset = 65 }, BAD },
		{ GUEST_CSUM, { .flags = NEEDS, .csum_start = 65535, .csum_offset = 65535 }, BAD },
		{ GUEST_CSUM, { .flags = NEEDS, .csum_start = 100 }, BAD },
		{ GUEST_CSUM, { .flags = NEEDS, .csum_start = 34, .csum_offset = 65534 }, BAD },
		/* A tap's DATA_VALID is handed on by QEMU whatever was negotiated. */
		{ 0, { .flags = VALID }, OK(0, 0) },
		{ GUEST_CSUM, { .flags = VALID }, OK(1, 0) },
		{ GUEST_CSUM, { .flags = VALID, .csum_start = 65535 }, OK(1, 0) },
		/* A flag of later versions says nothing to us. */
		{ GUEST_CSUM, { .flags = 4 }, OK(0, 0) },
		{ GUEST_CSUM, { .csum_start = 34, .csum_offset = 16, .gso_size = 9 }, OK(0, 0) },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		check_rx(&cases[i]);
}

static void test_what_is_said_of_segments(void **state)
{
#define GSO(t, s)                                                                                 \
	{                                                                                         \
		.flags = NEEDS, .gso_type = t, .gso_size = s, .csum_start = 34, .csum_offset = 16 \
	}
	static const struct rx_case cases[] = {
		{ RECEIVE, GSO(1, 40), OK(1, 40) },
		{ RECEIVE, GSO(4, 40), OK(1, 40) },
		{ RECEIVE & ~GUEST_TSO4, GSO(4, 40), OK(1, 40) },
		{ RECEIVE & ~GUEST_TSO4, GSO(1, 40), BAD },
		{ RECEIVE & ~GUEST_TSO6, GSO(4, 40), BAD },
		{ GUEST_CSUM | MRG_RXBUF, GSO(1, 40), BAD },
		{ 0, GSO(1, 40), BAD },
		{ RECEIVE, GSO(1, 0), BAD },
		{ RECEIVE, GSO(3, 40), BAD },
		{ RECEIVE, GSO(5, 40), BAD },
		{ RECEIVE, GSO(2, 40), BAD },
		{ RECEIVE, GSO(255, 40), BAD },
		{ RECEIVE, GSO(0x81, 40), BAD },
		{ RECEIVE, { .gso_type = 1, .gso_size = 40 }, BAD },
		{ RECEIVE, { .flags = VALID, .gso_type = 1, .gso_size = 40 }, BAD },
		{ RECEIVE,
		  { .flags = NEEDS, .gso_type = 1, .gso_size = 40, .csum_start = 99 },
		  BAD },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		check_rx(&cases[i]);
}

/* The checksum's place is in the first buffer, with the headers. */
static void test_csum_beyond_the_first_buffer(void **state)
{
	struct virtio_net_hdr hdr = gso4;

	(void)state;
	boot(MODERN | RECEIVE);
	hdr.csum_start = (u16)(vi->pool.frame_size - 18);
	put_frame(hdr, 10000);
	expect_frame(10000, 3);
	hdr.csum_start++;
	put_frame(hdr, 10000);
	expect_dropped("rx_bad_hdr");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_dependencies),
		TEST(test_words_mask),
		TEST(test_large_frames_want_memory),
		TEST(test_transmit_headers),
		TEST(test_transmit_large),
		TEST(test_merged_buffers),
		TEST(test_merged_buffers_held),
		TEST(test_merged_lies),
		TEST(test_merged_too_long),
		TEST(test_merged_fill_the_ring),
		TEST(test_what_is_said_of_a_checksum),
		TEST(test_what_is_said_of_segments),
		TEST(test_csum_beyond_the_first_buffer),
	};

	start();
	return cmocka_run_group_tests_name("virtio_net offloads", tests, NULL, NULL);
}
