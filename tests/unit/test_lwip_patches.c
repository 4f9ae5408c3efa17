/* A test for each of net/lwip/patches/ that fails without it. */
#include <string.h>

#include "tests/unit/test_lwip.h"

#include "kernel/lib/byteorder.h"
#include "kernel/time.h"
#include "net/journey.h"
#include "net/lwip/glue.h"
#include "tests/fake/fake_kernel.h"

#include "lwip/ip6_frag.h"
#include "lwip/netif.h"
#include "lwip/pbuf.h"
#include "lwip/prot/ip6.h"
#include "lwip/tcp.h"
#include "lwip/udp.h"
#include "netif/ethernet.h"

/* 0001: the first fragment of a datagram, in more pbufs than may be held: refused, and leaves
 * nothing behind. */
static void test_ip6_reass_refused_first_fragment(void **state)
{
	u8 frag[8 + IP_REASS_MAX_PBUFS * 8] = { 17, 0, 0, 1, 0, 0, 0, 9 }, buf[2000];
	u32 len = fx_ip6(buf, 44, frag, sizeof(frag)), head = 14 + 40 + 8;
	struct pbuf *p = pbuf_alloc(PBUF_RAW, (u16_t)head, PBUF_RAM);

	(void)state;
	memcpy(p->payload, buf, head);
	for (u32 at = head; at < len; at += 8) {
		struct pbuf *q = pbuf_alloc(PBUF_RAW, 8, PBUF_RAM);

		memcpy(q->payload, buf + at, 8);
		pbuf_cat(p, q);
	}
	assert_true(pbuf_clen(p) > IP_REASS_MAX_PBUFS);
	ethernet_input(p, &lwip_netif);
	assert_int_equal(fake_stat("mem_bytes"), 0);
	/* Without the patch this follows a null pointer. */
	fake_time_advance(100 * NSEC_PER_SEC);
}

/* 0002: the numbers of ten datagrams to one place are no sequence, and none comes twice. */
static void test_ip4_id_is_no_counter(void **state)
{
	struct udp_pcb *pcb = udp_new();
	ip_addr_t peer = IPADDR4_INIT(__builtin_bswap32(PEER_IP));
	u16 id[200];
	u32 steps = 0;

	(void)state;
	fx_learn_peer();
	for (u32 i = 0; i < ARRAY_SIZE(id); i++) {
		struct pbuf *p = pbuf_alloc(PBUF_TRANSPORT, 4, PBUF_RAM);

		memset(p->payload, 0, 4);
		assert_int_equal(udp_sendto(pcb, p, &peer, 9), ERR_OK);
		pbuf_free(p);
		id[i] = get_unaligned_be16(fx_tx[i].bytes + 18);
		for (u32 j = 0; j < i; j++)
			assert_int_not_equal(id[i], id[j]);
		steps += i && (u16)(id[i] - id[i - 1]) < 64;
	}
	assert_true(steps < 10);
	udp_remove(pcb);
}

/* 0003 */
static void test_local_ports_do_not_count(void **state)
{
	struct tcp_pcb *tcp[32];
	struct udp_pcb *udp[32];
	u32 near = 0;

	(void)state;
	for (u32 i = 0; i < 32; i++) {
		tcp[i] = tcp_new();
		udp[i] = udp_new();
		assert_int_equal(tcp_bind(tcp[i], IP_ANY_TYPE, 0), ERR_OK);
		assert_int_equal(udp_bind(udp[i], IP_ANY_TYPE, 0), ERR_OK);
		assert_true(tcp[i]->local_port >= 0xc000 && udp[i]->local_port >= 0xc000);
		near += i && (u16)(tcp[i]->local_port - tcp[i - 1]->local_port) < 16;
		near += i && (u16)(udp[i]->local_port - udp[i - 1]->local_port) < 16;
	}
	assert_true(near < 4);
	for (u32 i = 0; i < 32; i++) {
		tcp_close(tcp[i]);
		udp_remove(udp[i]);
	}
}

/* ---- a peer at a listener of the raw API ---- */

#define SYN 2
#define ACK 16

static struct {
	struct tcp_pcb *listener, *pcb;
	u32 seq, ack; /* the peer's next number; what it has acknowledged */
	u8 data[4096];
	u32 len; /* what came, in order */
} peer;

static err_t accepted(void *arg, struct tcp_pcb *pcb, err_t err)
{
	(void)arg;
	(void)err;
	peer.pcb = pcb;
	return ERR_OK;
}

static void peer_sends(u8 flags, u32 window, const void *options, u32 opt_len)
{
	fx_rx_tcp(&(struct fx_tcp){ .sport = 4000,
				    .dport = 99,
				    .seq = peer.seq,
				    .ack = peer.ack,
				    .flags = flags,
				    .window = (u16)window,
				    .zero_window = !window,
				    .options = options,
				    .opt_len = opt_len });
	peer.seq += !!(flags & SYN);
}

/* Takes the data that was sent. */
static void peer_reads(void)
{
	for (u32 i = 0; i < fx_nr_tx; i++) {
		const u8 *b = fx_tx[i].bytes;
		u32 hlen, seq, len;

		if (get_unaligned_be16(b + 12) != 0x0800 || b[23] != 6)
			continue;
		hlen = (b[46] >> 4) * 4u;
		seq = get_unaligned_be32(b + 38);
		len = get_unaligned_be16(b + 16) - 20u - hlen;
		if (b[47] & SYN)
			peer.ack = seq + 1;
		/* What a probe brought comes again with its segment. */
		if (peer.ack - seq < len) {
			u32 known = peer.ack - seq;

			len -= known;
			assert_true(peer.len + len <= sizeof(peer.data));
			memcpy(peer.data + peer.len, b + 34 + hlen + known, len);
			peer.len += len;
			peer.ack += len;
		}
	}
	fx_forget();
}

static void peer_connects(u32 window, u16 mss)
{
	u8 option[4] = { 2, 4, (u8)(mss >> 8), (u8)mss };
	struct tcp_pcb *pcb = tcp_new();

	memset(&peer, 0, sizeof(peer));
	peer.seq = 1000;
	fx_learn_peer();
	assert_int_equal(tcp_bind(pcb, IP_ANY_TYPE, 99), ERR_OK);
	peer.listener = tcp_listen(pcb);
	tcp_accept(peer.listener, accepted);
	peer_sends(SYN, window, option, 4);
	peer_reads();
	peer_sends(ACK, window, NULL, 0);
	assert_non_null(peer.pcb);
}

static void peer_goes(void)
{
	tcp_abort(peer.pcb);
	assert_int_equal(tcp_close(peer.listener), ERR_OK);
}

static void fill_pattern(u8 *data, u32 len)
{
	for (u32 i = 0; i < len; i++)
		data[i] = (u8)(i * 7 + i / 256);
}

/* 0004: later ones are not believed, nor is one that nobody means. */
static void test_mss_option_counts_in_a_syn(void **state)
{
	static const struct {
		u16 says, means;
	} cases[] = { { 0, 1460 }, { 1, 88 },      { 48, 88 },     { 88, 88 },
		      { 89, 89 },  { 1460, 1460 }, { 1461, 1460 }, { 65535, 1460 } };
	static const u8 small[4] = { 2, 4, 0, 48 };
	u8 data[2000];

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
		peer_connects(65535, cases[i].says);
		assert_int_equal(peer.pcb->mss, cases[i].means);
		peer_goes();
	}
	fill_pattern(data, sizeof(data));
	peer_connects(0, 1460);
	assert_int_equal(tcp_write(peer.pcb, data, 1000, TCP_WRITE_FLAG_COPY), ERR_OK);
	peer_sends(ACK, 0, small, sizeof(small));
	assert_int_equal(peer.pcb->mss, 1460);
	assert_int_equal(tcp_write(peer.pcb, data + 1000, 1000, TCP_WRITE_FLAG_COPY), ERR_OK);
	peer_sends(ACK, 65535, NULL, 0);
	for (u32 i = 0; i < 4; i++) {
		peer_reads();
		peer_sends(ACK, 65535, NULL, 0);
	}
	assert_int_equal(peer.len, sizeof(data));
	assert_memory_equal(peer.data, data, sizeof(data));
	peer_goes();
}

/* 0005: what was queued for a full segment meets a maximum of 50 bytes, with and without room in
 * the last pbuf. */
static void test_window_grows_from_zero(void **state)
{
	static const u16 first[] = { 10, 49, 50, 51, 600, 1459, 1460, 1461, 1470, 1510, 2000 };
	static const u8 flags[] = { TCP_WRITE_FLAG_COPY, TCP_WRITE_FLAG_COPY | TCP_WRITE_FLAG_MORE,
				    0 };
	u8 data[2200];

	(void)state;
	fill_pattern(data, sizeof(data));
	for (u32 i = 0; i < ARRAY_SIZE(first) * ARRAY_SIZE(flags); i++) {
		u16 n = first[i / ARRAY_SIZE(flags)];
		u8 how = flags[i % ARRAY_SIZE(flags)];

		peer_connects(0, 1460);
		assert_int_equal(tcp_write(peer.pcb, data, n, how), ERR_OK);
		peer_sends(ACK, 100, NULL, 0);
		for (u32 at = n; at < n + 200u; at += 20)
			assert_int_equal(tcp_write(peer.pcb, data + at, 20, how), ERR_OK);
		for (u32 j = 0; j < 100 && peer.len < n + 200u; j++) {
			fake_time_advance(NSEC_PER_SEC);
			peer_reads();
			peer_sends(ACK, 100, NULL, 0);
		}
		assert_int_equal(peer.len, n + 200);
		assert_memory_equal(peer.data, data, n + 200);
		peer_goes();
	}
}

/* 0006 */
static void test_zero_window_probe_takes_the_last_byte(void **state)
{
	(void)state;
	peer_connects(0, 1460);
	assert_int_equal(tcp_write(peer.pcb, "a", 1, TCP_WRITE_FLAG_COPY), ERR_OK);
	assert_int_equal(tcp_output(peer.pcb), ERR_OK);
	assert_true(peer.pcb->persist_backoff > 0);
	fake_time_advance(3 * NSEC_PER_SEC);
	peer_reads();
	assert_int_equal(peer.len, 1);
	peer_sends(ACK, 0, NULL, 0);
	assert_null(peer.pcb->unsent);
	/* Without the patch the next tick is an assertion. */
	fake_time_advance(10 * NSEC_PER_SEC);
	/* It starts again with the next byte, and the window's opening ends it. */
	assert_int_equal(tcp_write(peer.pcb, "bc", 2, TCP_WRITE_FLAG_COPY), ERR_OK);
	assert_int_equal(tcp_output(peer.pcb), ERR_OK);
	assert_true(peer.pcb->persist_backoff > 0);
	fake_time_advance(3 * NSEC_PER_SEC);
	peer_reads();
	peer_sends(ACK, 100, NULL, 0);
	peer_reads();
	assert_int_equal(peer.len, 3);
	assert_memory_equal(peer.data, "abc", 3);
	peer_goes();
}

/* 0006: the window opened while nothing could be sent. */
static void test_persist_with_a_large_window(void **state)
{
	static const u32 windows[] = { 50, 1461, 65535, 65536, 65537, 131072 };
	u8 data[3000];

	(void)state;
	fill_pattern(data, sizeof(data));
	for (u32 i = 0; i < ARRAY_SIZE(windows); i++) {
		peer_connects(0, 1460);
		assert_int_equal(tcp_write(peer.pcb, data, sizeof(data), TCP_WRITE_FLAG_COPY),
				 ERR_OK);
		assert_int_equal(tcp_output(peer.pcb), ERR_OK);
		assert_true(peer.pcb->persist_backoff > 0);
		tcp_poll(peer.pcb, NULL, 255); /* its tick would send, too */
		peer.pcb->snd_wnd = windows[i];
		fake_time_advance(3 * NSEC_PER_SEC);
		peer_reads();
		assert_true(peer.len > 0);
		assert_memory_equal(peer.data, data, peer.len);
		peer_goes();
	}
}

/* The payload of a fragmented datagram, as it went out since fx_forget(). */
static u32 join_fragments(u8 *to)
{
	u32 len = 0;

	for (u32 i = 0; i < fx_nr_tx; i++) {
		const u8 *b = fx_tx[i].bytes;
		u32 n = get_unaligned_be16(b + 18) - 8u;

		assert_int_equal(b[20], IP6_NEXTH_FRAGMENT);
		assert_int_equal(fx_tx[i].len, 14 + 40 + 8 + n);
		assert_true(fx_tx[i].len <= 14u + 1500);
		assert_int_equal(get_unaligned_be16(b + 56) & 0xfff8, len);
		assert_int_equal(get_unaligned_be16(b + 56) & 1, i + 1 < fx_nr_tx);
		memcpy(to + len, b + 62, n);
		len += n;
	}
	return len;
}

/* 0007: TCP sends the same pbufs again after a timeout; to a multicast group, which needs no
 * neighbour. The pieces end in odd places. */
static void test_fragmented_segment_is_sent_again(void **state)
{
	static const u16 pieces[] = { 40, 17, 1, 1500, 1399, 600 };
	ip6_addr_t all_nodes = { { PP_HTONL(0xff020000), 0, 0, PP_HTONL(1) } };
	u8 data[40 + 4096], back[4096];
	struct pbuf *p = NULL;
	u32 at = 0, len;

	(void)state;
	fill_pattern(data, sizeof(data));
	for (u32 i = 0; i < ARRAY_SIZE(pieces); i++) {
		struct pbuf *q = pbuf_alloc(PBUF_RAW, pieces[i], PBUF_RAM);

		memcpy(q->payload, data + at, pieces[i]);
		at += pieces[i];
		if (p)
			pbuf_cat(p, q);
		else
			p = q;
	}
	len = at - 40;
	for (u32 round = 0; round < 3; round++) {
		const struct pbuf *q = p;

		assert_int_equal(ip6_frag(p, &lwip_netif, &all_nodes), ERR_OK);
		assert_true(fx_nr_tx >= 3);
		assert_int_equal(join_fragments(back), len);
		assert_memory_equal(back, data + 40, len);
		fx_forget();
		at = 0;
		for (u32 i = 0; i < ARRAY_SIZE(pieces); i++, q = q->next) {
			assert_int_equal(q->len, pieces[i]);
			assert_int_equal(q->tot_len, len + 40 - at);
			assert_memory_equal(q->payload, data + at, pieces[i]);
			at += pieces[i];
		}
	}
	pbuf_free(p);
}

static void rx_icmp6(u8 *icmp, u32 len)
{
	u32 sum = 58 + len;
	u8 buf[200];

	for (u32 i = 0; i < 16; i += 2)
		sum += get_unaligned_be16(fx_peer_ip6 + i) + get_unaligned_be16(fx_guest_ip6 + i);
	sum = fx_sum(icmp, len, sum);
	icmp[2] = (u8)(sum >> 8);
	icmp[3] = (u8)sum;
	fx_rx(buf, fx_ip6(buf, 58, icmp, len));
}

/* A router advertisement without the router's MAC address (RFC 4861, 4.2); lifetime in seconds. */
static void rx_router_advertisement(u16 lifetime)
{
	u8 ra[16] = { 134, 0, 0, 0, 64, 0, (u8)(lifetime >> 8), (u8)lifetime };

	rx_icmp6(ra, sizeof(ra));
}

/* It asks for our address and says its own (RFC 4861, 4.3). */
static void rx_neighbor_solicitation(void)
{
	u8 ns[32] = { 135, [24] = 1, 1, 0x52, 0x54, 0, 0, 0, 9 };

	memcpy(ns + 8, fx_guest_ip6, 16);
	rx_icmp6(ns, sizeof(ns));
}

static void send_three(struct udp_pcb *pcb, const ip_addr_t *to)
{
	for (u32 i = 0; i < 3; i++) {
		struct pbuf *p = pbuf_alloc(PBUF_TRANSPORT, 100, PBUF_RAM);

		memset(p->payload, 0, 100);
		assert_int_equal(udp_sendto(pcb, p, to, 9), ERR_OK);
		pbuf_free(p);
	}
}

/* 0008: a router that announces itself and is never heard of again. */
static void test_packets_for_a_dead_router(void **state)
{
	ip_addr_t router = IPADDR6_INIT_HOST(0xfe800000, 0, 0, 1);
	struct udp_pcb *pcb = udp_new_ip_type(IPADDR_TYPE_ANY);

	(void)state;
	ip6_addr_assign_zone(ip_2_ip6(&router), IP6_UNICAST, &lwip_netif);
	rx_router_advertisement(9000);
	for (int round = 0; round < 2; round++) {
		size_t live = fake_alloc_live();
		u32 sent;

		send_three(pcb, &router);
		assert_true(fake_alloc_live() > live);
		/* Solicited, and asked for in vain: what waited is gone ... */
		sent = fx_nr_tx;
		fake_time_advance(10 * NSEC_PER_SEC);
		assert_true(fx_nr_tx > sent);
		assert_int_equal(fake_alloc_live(), live);
		/* ... and so are the solicitations, until somebody asks again. */
		sent = fx_nr_tx;
		fake_time_advance(600 * NSEC_PER_SEC);
		assert_int_equal(fx_nr_tx, sent);
	}
	udp_remove(pcb);
	rx_router_advertisement(0); /* for the tests to come */
}

/* 0008: the same, but it has asked for our address, so that its own is known, and fell silent then.
 */
static void test_packets_for_a_router_that_fell_silent(void **state)
{
	ip_addr_t router = IPADDR6_INIT_HOST(0xfe800000, 0, 0, 1);
	struct udp_pcb *pcb = udp_new_ip_type(IPADDR_TYPE_ANY);
	size_t live = fake_alloc_live();
	u32 sent;

	(void)state;
	ip6_addr_assign_zone(ip_2_ip6(&router), IP6_UNICAST, &lwip_netif);
	rx_router_advertisement(9000);
	send_three(pcb, &router);
	assert_true(fake_alloc_live() > live);
	rx_neighbor_solicitation();
	sent = fx_nr_tx;
	fake_time_advance(2 * NSEC_PER_SEC);
	/* Nothing waits for an address that is known. */
	assert_true(fx_nr_tx >= sent + 3);
	assert_int_equal(fake_alloc_live(), live);
	fake_time_advance(20 * NSEC_PER_SEC);
	/* No answer to the probes: no more of them, until somebody asks again. */
	sent = fx_nr_tx;
	fake_time_advance(600 * NSEC_PER_SEC);
	assert_int_equal(fx_nr_tx, sent);
	send_three(pcb, &router);
	fake_time_advance(10 * NSEC_PER_SEC);
	assert_true(fx_nr_tx > sent);
	assert_int_equal(fake_alloc_live(), live);
	udp_remove(pcb);
	rx_router_advertisement(0); /* for the tests to come */
}

/* 0009: called in front of an application's receive callback, TCP's and UDP's, and for nothing
 * else. */
static struct {
	u32 tcp, udp;
	const struct journey *j; /* of the frame that is being delivered */
} app;

static void nothing(void *ctx)
{
	(void)ctx;
}

static void udp_received(void *arg, struct udp_pcb *pcb, struct pbuf *p, const ip_addr_t *addr,
			 u16_t port)
{
	(void)arg;
	(void)pcb;
	(void)addr;
	(void)port;
	app.udp++;
	assert_true(app.j->cycles[JOURNEY_APP] >= app.j->cycles[JOURNEY_INPUT] &&
		    app.j->cycles[JOURNEY_APP]);
	pbuf_free(p);
}

static err_t tcp_received(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
	(void)arg;
	(void)pcb;
	(void)err;
	if (p) {
		app.tcp++;
		assert_int_not_equal(app.j->cycles[JOURNEY_APP], 0);
		pbuf_free(p);
	}
	return ERR_OK;
}

/* Records the frame's journey. */
static void deliver(const u8 *frame, u32 len)
{
	static const struct pkt_filter all;

	assert_int_equal(journey_start(1, &all, nothing, NULL), 0);
	app.j = journey_get(0);
	fx_gro_rx(frame, len);
	fx_gro_flush();
	journey_stop();
}

static void test_app_callback_hook(void **state)
{
	struct udp_pcb *pcb = udp_new();
	u8 seg[40] = { 0x20, 0, 0, 99, 0, 40 }, buf[200];
	struct fx_tcp t = {
		.sport = 4100, .dport = 99, .seq = 1000, .flags = ACK, .data = seg, .data_len = 40
	};
	u32 tcp_len, len = fx_ip4(buf, 17, 3, 0, seg, sizeof(seg));

	(void)state;
	udp_bind(pcb, IP_ANY_TYPE, 99);
	udp_recv(pcb, udp_received, NULL);
	deliver(buf, len);
	assert_int_equal(app.udp, 1);
	journey_release();
	/* To a port without anybody. */
	buf[37] = 98;
	deliver(buf, len);
	assert_int_equal(app.j->cycles[JOURNEY_APP], 0);
	journey_release();
	udp_remove(pcb);

	peer_connects(65535, 1460);
	tcp_recv(peer.pcb, tcp_received);
	t.sport = 4000;
	t.seq = peer.seq;
	t.ack = peer.ack;
	tcp_len = fx_tcp(buf, &t);
	deliver(buf, tcp_len);
	assert_int_equal(app.tcp, 1);
	journey_release();
	/* The same once more: nothing new for the application. */
	deliver(buf, tcp_len);
	assert_int_equal(app.tcp, 1);
	assert_int_equal(app.j->cycles[JOURNEY_APP], 0);
	journey_release();
	peer_goes();
}

/* 0010: the port hears of each connection, and is asked for the one that a segment is for. */
static void test_connection_lookup_hooks(void **state)
{
	u64 steps;

	(void)state;
	peer_connects(65535, 1460);
	assert_int_equal(fake_stat("tcp_hash_connections"), 1);
	steps = fake_stat("tcp_hash_steps");
	peer_sends(ACK, 65535, NULL, 0);
	assert_int_equal(fake_stat("tcp_hash_steps"), steps + 1);
	peer_goes();
	assert_int_equal(fake_stat("tcp_hash_connections"), 0);
}

/* 0011: lwIP's walks leave a mark in each pcb they come by. */
static void test_idle_connections_are_not_walked(void **state)
{
	u8 mark;

	(void)state;
	peer_connects(65535, 1460);
	fake_time_advance(NSEC_PER_SEC);
	assert_true(LWIP_HOOK_TCP_ASLEEP(peer.pcb));
	mark = peer.pcb->last_timer;
	fake_time_advance(20 * NSEC_PER_SEC);
	assert_int_equal(peer.pcb->last_timer, mark);
	/* A call of the app's wakes it, and its timers run. */
	assert_int_equal(tcp_write(peer.pcb, "a", 1, TCP_WRITE_FLAG_COPY), ERR_OK);
	assert_int_equal(tcp_output(peer.pcb), ERR_OK);
	peer_reads();
	fake_time_advance(3 * NSEC_PER_SEC);
	assert_true(fx_nr_tx > 0); /* not acknowledged: sent again */
	peer_goes();
}

int run_patch_tests(void)
{
	static const struct CMUnitTest tests[] = {
		FX_TEST(test_ip6_reass_refused_first_fragment),
		FX_TEST(test_ip4_id_is_no_counter),
		FX_TEST(test_local_ports_do_not_count),
		FX_TEST(test_mss_option_counts_in_a_syn),
		FX_TEST(test_window_grows_from_zero),
		FX_TEST(test_zero_window_probe_takes_the_last_byte),
		FX_TEST(test_persist_with_a_large_window),
		FX_TEST(test_fragmented_segment_is_sent_again),
		FX_TEST(test_packets_for_a_dead_router),
		FX_TEST(test_packets_for_a_router_that_fell_silent),
		FX_TEST(test_app_callback_hook),
		FX_TEST(test_connection_lookup_hooks),
		FX_TEST(test_idle_connections_are_not_walked),
	};

	return cmocka_run_group_tests_name("patches", tests, NULL, NULL);
}
