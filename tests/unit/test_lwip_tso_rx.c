/*
 * What the device put together, and what it says of checksums, on the way into lwIP (netif.c):
 * frames in pieces up to the largest, each checksum verified unless it is said to be right.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/tso_peer.h"

#include "kernel/lib/byteorder.h"
#include "kernel/time.h"
#include "net/lwip/glue.h"
#include "tests/fake/fake_kernel.h"

#include "lwip/stats.h"
#include "lwip/tcp.h"
#include "lwip/udp.h"

#define ACK 16
#define MAX_FRAME 65549u /* Ethernet, and 65,535 bytes of IP */

static u8 frame[70000], data[70000];

static struct {
	u8 bytes[70000];
	u32 len, pieces;
} got;

static void put16(u8 *p, u32 v)
{
	p[0] = (u8)(v >> 8);
	p[1] = (u8)v;
}

static void put32(u8 *p, u32 v)
{
	put16(p, v >> 16);
	put16(p + 2, v);
}

static err_t on_recv(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
	(void)arg;
	(void)err;
	if (!p)
		return ERR_OK;
	assert_true(got.len + p->tot_len <= sizeof(got.bytes));
	pbuf_copy_partial(p, got.bytes + got.len, p->tot_len, 0);
	got.len += p->tot_len;
	got.pieces += pbuf_clen(p);
	tcp_recved(pcb, p->tot_len);
	pbuf_free(p);
	return ERR_OK;
}

/* A segment with so much payload, from the connected peer; where its next one begins moves on. */
static u32 segment(bool v6, u32 payload, bool right)
{
	u32 l4 = v6 ? 54 : 34, tlen = 20 + payload, sum = 6 + tlen;
	u8 *th = frame + l4;

	memset(th, 0, 20);
	put16(th, 4000);
	put16(th + 2, 99);
	put32(th + 4, peer.seq);
	put32(th + 8, peer.base + peer.next);
	th[12] = 0x50;
	th[13] = ACK;
	put16(th + 14, 30000);
	memcpy(th + 20, data, payload);
	if (v6) {
		for (u32 i = 0; i < 16; i += 2)
			sum += get_unaligned_be16(fx_peer_ip6 + i) +
			       get_unaligned_be16(fx_guest_ip6 + i);
	} else {
		sum += (PEER_IP >> 16) + (PEER_IP & 0xffff) + (GUEST_IP >> 16) +
		       (GUEST_IP & 0xffff);
	}
	put16(th + 16, fx_sum(th, tlen, sum));
	if (!right)
		th[16] ^= 0x55;
	return v6 ? fx_ip6(frame, 6, th, tlen) : fx_ip4(frame, 6, 1, 0, th, tlen);
}

static void connect(bool v6)
{
	for (u32 i = 0; i < sizeof(data); i++)
		data[i] = (u8)(i * 13 + i / 250);
	memset(&got, 0, sizeof(got));
	peer_connect(v6, 65535, 0);
	tcp_recv(app.pcb, on_recv);
}

/* Every size up to the largest, in pieces of every size that the driver has, and none is copied. */
static void test_large_frames(void **state)
{
	static const u32 payloads[] = {
		1461, 3000, 20000, 60000, MAX_FRAME - 54 - 1, MAX_FRAME - 54
	};
	static const u32 pieces[] = { 0, 1518, 1530, 3804, 9018 };

	(void)state;
	for (u32 v6 = 0; v6 < 2; v6++) {
		for (u32 i = 0; i < ARRAY_SIZE(payloads) * ARRAY_SIZE(pieces); i++) {
			u32 n = payloads[i / ARRAY_SIZE(pieces)] - (v6 ? 20 : 0);
			u32 piece = pieces[i % ARRAY_SIZE(pieces)], len;

			connect(v6);
			len = segment(v6, n, true);
			fx_rx_large(frame, len, piece,
				    i & 1 ? CHECKSUM_UNNECESSARY : CHECKSUM_NONE);
			assert_int_equal(got.len, n);
			assert_memory_equal(got.bytes, data, n);
			assert_int_equal(got.pieces, piece ? (len + piece - 1) / piece : 1);
			peer_end();
		}
	}
}

/* What the pool runs short of is copied, pieces and all. */
static void test_large_frame_and_a_low_pool(void **state)
{
	(void)state;
	for (u32 v6 = 0; v6 < 2; v6++) {
		u32 n = MAX_FRAME - (v6 ? 74 : 54);

		connect(v6);
		fx_pool.used = fx_pool.size;
		fx_rx_large(frame, segment(v6, n, true), 1530, CHECKSUM_UNNECESSARY);
		assert_int_equal(fx_rx_out, 0);
		assert_int_equal(got.len, n);
		assert_memory_equal(got.bytes, data, n);
		fx_pool.used = 0;
		peer_end();
	}
}

/* More than an IP packet can be: padding behind it or not, dropped and counted. */
static void test_too_large(void **state)
{
	u64 before = fake_stat("eth0_rx_dropped_filter");

	(void)state;
	connect(false);
	segment(false, MAX_FRAME - 54, true);
	fx_rx_large(frame, MAX_FRAME + 1, 1530, CHECKSUM_UNNECESSARY);
	fx_rx_large(frame, MAX_FRAME + 4, 1530, CHECKSUM_UNNECESSARY);
	assert_int_equal(got.len, 0);
	assert_int_equal(fake_stat("eth0_rx_dropped_filter"), before + 2);
	/* Padding behind a large one that is not the largest: cut off. */
	fx_rx_large(frame, segment(false, 60000, true) + 3000, 1530, CHECKSUM_UNNECESSARY);
	assert_int_equal(got.len, 60000);
	peer_end();
}

/* TCP: believed if vouched for, verified if not, in one piece and in several. */
static void test_tcp_checksum(void **state)
{
	(void)state;
	for (u32 i = 0; i < 16; i++) {
		bool v6 = i & 1, right = i & 2, vouched = i & 4;
		u32 piece = i & 8 ? 1530 : 0, before = lwip_stats.tcp.chkerr;

		connect(v6);
		fx_rx_large(frame, segment(v6, 5000, right), piece,
			    vouched ? CHECKSUM_UNNECESSARY : CHECKSUM_NONE);
		assert_int_equal(got.len, right || vouched ? 5000 : 0);
		assert_int_equal(lwip_stats.tcp.chkerr, before + (right || vouched ? 0 : 1));
		/* It was said of that frame, and of no other. */
		memset(&got, 0, sizeof(got));
		peer.seq += right || vouched ? 5000 : 0;
		fx_rx_large(frame, segment(v6, 100, false), 0, CHECKSUM_NONE);
		assert_int_equal(got.len, 0);
		peer_end();
	}
}

static u32 datagrams;

static void on_datagram(void *arg, struct udp_pcb *pcb, struct pbuf *p, const ip_addr_t *a,
			u16_t port)
{
	(void)arg;
	(void)pcb;
	(void)a;
	(void)port;
	datagrams++;
	pbuf_free(p);
}

static u32 udp(u8 *buf, bool v6, u16 frag, u32 len, bool right)
{
	u8 *uh = malloc(8 + len);
	u32 n, sum = 17 + 8 + len;

	put16(uh, 5000);
	put16(uh + 2, 98);
	put16(uh + 4, 8 + len);
	put16(uh + 6, 0);
	memset(uh + 8, 7, len);
	if (v6) {
		for (u32 i = 0; i < 16; i += 2)
			sum += get_unaligned_be16(fx_peer_ip6 + i) +
			       get_unaligned_be16(fx_guest_ip6 + i);
	} else {
		sum += (PEER_IP >> 16) + (PEER_IP & 0xffff) + (GUEST_IP >> 16) +
		       (GUEST_IP & 0xffff);
	}
	put16(uh + 6, fx_sum(uh, 8 + len, sum));
	if (!right)
		uh[6] ^= 0x55;
	n = v6 ? fx_ip6(buf, 17, uh, 8 + len) : fx_ip4(buf, 17, 9, frag, uh, 8 + len);
	free(uh);
	return n;
}

/* UDP likewise; but nothing can be said of a fragment, nor of ICMP. */
static void test_other_checksums(void **state)
{
	struct udp_pcb *pcb = udp_new_ip_type(IPADDR_TYPE_ANY);
	u32 before;

	(void)state;
	fx_learn_peer();
	assert_int_equal(udp_bind(pcb, IP_ANY_TYPE, 98), ERR_OK);
	udp_recv(pcb, on_datagram, NULL);
	datagrams = 0;
	for (u32 i = 0; i < 8; i++) {
		bool right = i & 2, vouched = i & 4;

		before = datagrams;
		fx_rx_large(frame, udp(frame, i & 1, 0, 100, right), 0,
			    vouched ? CHECKSUM_UNNECESSARY : CHECKSUM_NONE);
		assert_int_equal(datagrams, before + (right || vouched));
	}
	/* In two fragments, the word with the second, which completes it. */
	for (u32 right = 0; right < 2; right++) {
		u8 whole[200];

		udp(whole, false, 0, 64, right);
		before = datagrams;
		fx_rx_large(frame, fx_ip4(frame, 17, (u16)(50 + right), 0x2000, whole + 34, 32), 0,
			    CHECKSUM_UNNECESSARY);
		fx_rx_large(frame, fx_ip4(frame, 17, (u16)(50 + right), 4, whole + 34 + 32, 40), 0,
			    CHECKSUM_UNNECESSARY);
		assert_int_equal(datagrams, before + right);
	}
	/* An IPv6 fragment header, that tells of a whole datagram: verified. */
	{
		u8 inner[200], ext[8 + 72] = { 17 };

		udp(inner, true, 0, 64, false);
		memcpy(ext + 8, inner + 54, 72);
		before = datagrams;
		fx_rx_large(frame, fx_ip6(frame, 44, ext, sizeof(ext)), 0, CHECKSUM_UNNECESSARY);
		assert_int_equal(datagrams, before);
	}
	before = lwip_stats.icmp.chkerr;
	fx_icmp_echo(frame, 1, 56);
	frame[36] ^= 0x55;
	fx_rx_large(frame, 98, 0, CHECKSUM_UNNECESSARY);
	assert_int_equal(lwip_stats.icmp.chkerr, before + 1);
	udp_remove(pcb);
}

/* Nothing but TCP comes in pieces: headers are looked for in the first. */
static void test_other_frames_in_pieces(void **state)
{
	u64 dropped = fake_stat("eth0_rx_dropped_proto");
	u32 n = 0;

	(void)state;
	fx_learn_peer();
#define REFUSED(len) (fx_rx_large(frame, len, 60, CHECKSUM_UNNECESSARY), n++)
	REFUSED(udp(frame, false, 0, 1000, true));
	REFUSED(udp(frame, true, 0, 1000, true));
	REFUSED(fx_icmp_echo(frame, 1, 1000));
	REFUSED(fx_ip4(frame, 6, 1, 0x2000, data, 1000)); /* a fragment of TCP */
	REFUSED(fx_ip4(frame, 6, 1, 100, data, 1000));
	REFUSED(fx_ip6(frame, 44, data, 1000));
	REFUSED(fx_ip6(frame, 0, data, 1000));
	REFUSED(fx_eth(frame, 0x0806, data, 1000));
	REFUSED(fx_eth(frame, 0x8100, data, 1000));
	assert_int_equal(fake_stat("eth0_rx_dropped_proto"), dropped + n);
	assert_int_equal(fx_rx_out, 0);
	assert_int_equal(fx_nr_tx, 0);
}

int run_tso_rx_tests(void)
{
	static const struct CMUnitTest tests[] = {
		FX_TEST(test_large_frames),    FX_TEST(test_large_frame_and_a_low_pool),
		FX_TEST(test_too_large),       FX_TEST(test_tcp_checksum),
		FX_TEST(test_other_checksums), FX_TEST(test_other_frames_in_pieces),
	};

	return cmocka_run_group_tests_name("large frames received", tests, NULL, NULL);
}
