/*
 * Segments for the device to cut (net/lwip/tso.c, patches/0020): what goes down, how large it is,
 * and what the device is told. Losses are in test_lwip_tso_loss.c, the other way in
 * test_lwip_tso_rx.c.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/tso_peer.h"

#include "kernel/lib/byteorder.h"
#include "kernel/time.h"
#include "net/lwip/glue.h"
#include "tests/fake/fake_kernel.h"

#include "lwip/tcp.h"

#define ALL (NETIF_F_HW_CSUM | NETIF_F_TSO | NETIF_F_TSO6)
#define BIG_WINDOW 500000u

/* Down in large frames, out in segments, every byte; by copy and from where it lies, in both IPs.
 */
static void test_bulk(void **state)
{
	static const u8 how[] = { TCP_WRITE_FLAG_COPY, 0, TCP_WRITE_FLAG_MORE };

	(void)state;
	for (u32 i = 0; i < 2 * ARRAY_SIZE(how); i++) {
		fx_dev.features = ALL;
		peer_connect(i & 1, BIG_WINDOW, STREAM);
		app.how = how[i / 2];
		peer_finish(60);
		assert_true(peer.largest > 30000);
		assert_int_equal(peer.largest_piece, i & 1 ? 1440 : 1460);
		assert_true(peer.pieces > 4 * peer.frames);
		assert_int_equal(peer.twice, 0);
		peer_end();
	}
}

/* Without the features it is as it was; with the checksum alone, too. */
static void test_features(void **state)
{
	static const u32 features[] = { 0, NETIF_F_HW_CSUM, NETIF_F_HW_CSUM | NETIF_F_TSO,
					NETIF_F_HW_CSUM | NETIF_F_TSO6 };

	(void)state;
	for (u32 i = 0; i < 2 * ARRAY_SIZE(features); i++) {
		bool v6 = i & 1;

		fx_dev.features = features[i / 2];
		peer_connect(v6, BIG_WINDOW, 300000);
		peer_finish(60);
		if (fx_dev.features & (v6 ? NETIF_F_TSO6 : NETIF_F_TSO))
			assert_true(peer.largest > 10000);
		else
			assert_true(peer.largest <= PEER_MSS);
		assert_int_equal(peer.twice, 0);
		peer_end();
	}
}

/* At most a third of what may be in flight, by the congestion window and by the peer's. */
static void test_sizes(void **state)
{
	static const u32 windows[] = { 1000, 2920, 4380, 8760, 16000, 30000, 65536, 200000 };

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(windows); i++) {
		u32 third = windows[i] / 3 / PEER_MSS * PEER_MSS, seen = 0;

		fx_dev.features = ALL;
		peer_connect(false, windows[i], 400000);
		peer.silent = true;
		app_write();
		peer_run();
		/* The first flight is of single segments (RFC 6928's window is smaller than three).
		 */
		assert_true(peer.largest <= PEER_MSS);
		/* An acknowledgement at a time. */
		while (peer.next < app.total) {
			u32 most = max(app.pcb->cwnd / 3, PEER_MSS);

			peer_ack();
			most = max(most, app.pcb->cwnd / 3);
			peer.largest = 0;
			app_write();
			peer_run();
			/* What was built by now was built for windows no larger than these. */
			assert_true(peer.largest <= most);
			assert_true(peer.largest <= max(third, PEER_MSS));
			seen = max(seen, peer.largest);
			if (!peer.owed)
				fake_time_advance(500 * NSEC_PER_MSEC);
		}
		assert_true(seen >= min(third, 10000u));
		peer.silent = false;
		peer_ack();
		peer_finish(10);
		peer_end();
	}
}

/* Small writes become large segments, too, while they wait. */
static void test_small_writes(void **state)
{
	static const u32 chunks[] = { 1, 100, 1459, 1460, 1461, 7000 };

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(chunks); i++) {
		fx_dev.features = ALL;
		peer_connect(false, BIG_WINDOW, chunks[i] == 1 ? 2000 : 300000);
		app.chunk = chunks[i];
		peer_finish(60);
		assert_int_equal(peer.twice, 0);
		peer_end();
	}
}

/* The FIN comes with the last piece, and once. device_cut() takes it off the others. */
static void test_fin_behind(void **state)
{
	(void)state;
	for (u32 i = 0; i < 2; i++) {
		fx_dev.features = ALL;
		peer_connect(i, BIG_WINDOW, 400000);
		app.close = true;
		peer_finish(60);
		assert_true(peer.fin);
		assert_int_equal(app.pcb->state, FIN_WAIT_2);
		peer_end();
	}
}

/* ---- what is between the stack and the wire ---- */

/* The neighbour's address has expired: what waits for it is still the device's to cut. */
static void test_arp_is_asked_first(void **state)
{
	u8 buf[64];
	bool asked = false;

	(void)state;
	fx_dev.features = ALL;
	peer_connect(false, BIG_WINDOW, 300000);
	peer_finish(60);
	fake_time_advance(1000 * NSEC_PER_SEC);
	fx_forget();
	app.total = 600000;
	peer.largest = peer.frames = 0;
	app_write();
	for (u32 i = 0; i < fx_nr_tx; i++) {
		assert_int_equal(get_unaligned_be16(fx_tx[i].bytes + 12), 0x0806);
		asked = true;
	}
	assert_true(asked);
	fx_forget();
	fx_arp_request(buf, PEER_IP, GUEST_IP);
	buf[21] = 2; /* a reply */
	memcpy(buf + 32, fx_guest_mac, 6);
	fx_rx(buf, 42);
	peer_run();
	assert_true(peer.largest > 20000);
	peer_finish(60);
	peer_end();
}

/* RFC 8201: what was cut for the link's MTU is cut smaller when the path's is known. */
static void packet_too_big(u32 mtu)
{
	u8 icmp[48] = { 2 }, buf[128];
	u32 sum = 58 + sizeof(icmp);

	icmp[6] = (u8)(mtu >> 8);
	icmp[7] = (u8)mtu;
	icmp[8] = 0x60;
	icmp[14] = 6;
	memcpy(icmp + 16, fx_guest_ip6, 16);
	memcpy(icmp + 32, fx_peer_ip6, 16);
	for (u32 i = 0; i < 16; i += 2)
		sum += get_unaligned_be16(fx_peer_ip6 + i) + get_unaligned_be16(fx_guest_ip6 + i);
	sum = fx_sum(icmp, sizeof(icmp), sum);
	icmp[2] = (u8)(sum >> 8);
	icmp[3] = (u8)sum;
	fx_rx(buf, fx_ip6(buf, 58, icmp, sizeof(icmp)));
}

static u32 path_mtu;

static bool beyond_the_path(u32 at, u32 len)
{
	(void)at;
	return 40 + 20 + len > path_mtu;
}

static void test_path_mtu(void **state)
{
	(void)state;
	fx_dev.features = ALL;
	peer_connect(true, BIG_WINDOW, 300000);
	peer_finish(60);
	assert_int_equal(peer.largest_piece, 1440);
	app.total = STREAM;
	path_mtu = 1280;
	peer.lost = beyond_the_path;
	app_write();
	peer_run();
	packet_too_big(1280);
	/* What does not fit is sent in IP's fragments, which this peer does not put together: so
	 * no such segment may be left to be sent. */
	peer.largest_piece = 0;
	app.pcb->mss = 1220;
	peer_finish(300);
	assert_true(peer.largest > 2440);
	peer_end();
}

/* ---- the sum that the device adds to ---- */

static u32 slow_pseudo(const u8 *addrs, u32 addrs_len, u32 len)
{
	u32 sum = 6 + len;

	for (u32 i = 0; i < addrs_len; i += 2)
		sum += get_unaligned_be16(addrs + i);
	while (sum >> 16)
		sum = (sum >> 16) + (sum & 0xffff);
	return sum;
}

static void test_pseudo_header(void **state)
{
	static const u8 hard[8] = { 192, 168, 254, 200, 192, 168, 0, 55 };

	(void)state;
	rnd_state = 1;
	for (u32 i = 0; i < 200000; i++) {
		bool v6 = i & 1;
		u32 l4 = v6 ? 54 : 34, n = v6 ? 32 : 8, len = l4 + 20 + rnd(65535 - 40 - 20);
		u8 frame[54 + 20] = { 0 }, *addrs = frame + (v6 ? 22 : 26);
		struct pkt_buf pkt = { 0 };

		frame[12] = v6 ? 0x86 : 0x08;
		frame[13] = v6 ? 0xdd : 0x00;
		frame[l4 + 12] = 0x50;
		for (u32 j = 0; j < n; j++)
			addrs[j] = (u8)rnd(256);
		if (i == 0)
			memcpy(addrs, hard, 8);
		lwip_tx_offload(&pkt, frame, len, 1460);
		assert_int_equal(get_unaligned_be16(frame + l4 + 16),
				 slow_pseudo(addrs, n, len - l4));
		assert_int_equal(pkt.ip_summed, CHECKSUM_PARTIAL);
		assert_int_equal(pkt.csum_start, l4);
		assert_int_equal(pkt.gso_size, len - l4 - 20 > 1460 ? 1460 : 0);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		FX_TEST(test_bulk),       FX_TEST(test_features),
		FX_TEST(test_sizes),      FX_TEST(test_small_writes),
		FX_TEST(test_fin_behind), FX_TEST(test_arp_is_asked_first),
		FX_TEST(test_path_mtu),   FX_TEST(test_pseudo_header),
	};
	int failed = 0;

	if (fx_start(NULL))
		return 1;
	failed += cmocka_run_group_tests_name("tso", tests, NULL, NULL);
	failed += run_tso_loss_tests();
	failed += run_tso_rx_tests();
	return failed;
}
