/*
 * tcp_hash.c and the lists of tcp_lists.c: whatever connections do, the table finds what a search
 * through lwIP's lists finds.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/test_lwip.h"

#include "kernel/time.h"
#include "net/lwip/glue.h"
#include "net/lwip/hooks.h"
#include "net/lwip/tcp_hash.h"
#include "tests/fake/fake_kernel.h"

#include "lwip/ip.h"
#include "lwip/netif.h"
#include "lwip/priv/tcp_priv.h"

#define PORT 99
#define SYN 2
#define FIN 1
#define RST 4
#define PSH 8
#define ACK 16

static u32 rnd_state;

static u32 rnd(u32 n)
{
	rnd_state = rnd_state * 1664525u + 1013904223u;
	return (u32)((u64)rnd_state * n >> 32);
}

/* ---- peers: addresses of both families, and what they send ---- */

#define NR_V4 4
#define NR_PEERS 6
#define PORTS_EACH 700

struct tuple {
	u8 peer; /* below NR_V4: IPv4 */
	u16 port;
};

static ip_addr_t peer_addr(u32 i)
{
	ip_addr_t a = IPADDR4_INIT(__builtin_bswap32(PEER_IP + (i ? 7 + i : 0)));

	if (i < NR_V4)
		return a;
	a = (ip_addr_t)IPADDR6_INIT_HOST(0xfe800000, 0, 0, i);
	return a;
}

static ip_addr_t guest_addr(u32 i)
{
	ip_addr_t a = IPADDR4_INIT(__builtin_bswap32(GUEST_IP));

	if (i < NR_V4)
		return a;
	return lwip_netif.ip6_addr[0];
}

static u32 sum_words(const void *data, u32 len)
{
	u32 sum = 0;

	for (u32 i = 0; i < len; i += 2)
		sum += (u32)((const u8 *)data)[i] << 8 | ((const u8 *)data)[i + 1];
	return sum;
}

/* From a peer; the fixture's frames are all from one. */
static void send(struct tuple t, u8 flags, u32 seq, u32 ack, u32 data_len)
{
	static const u8 data[64];
	u8 buf[256], seg[128];
	ip_addr_t src = peer_addr(t.peer), dst = guest_addr(t.peer);
	u32 len = fx_tcp(buf, &(struct fx_tcp){ .sport = t.port,
						.dport = PORT,
						.seq = seq,
						.ack = ack,
						.flags = flags,
						.data = data,
						.data_len = data_len }),
	    pseudo;
	u16 sum;

	len -= 34;
	memcpy(seg, buf + 34, len);
	seg[16] = seg[17] = 0;
	if (t.peer < NR_V4) {
		pseudo = sum_words(&ip_2_ip4(&src)->addr, 4) + sum_words(&ip_2_ip4(&dst)->addr, 4);
		sum = fx_sum(seg, len, pseudo + 6 + len);
		buf[34 + 16] = (u8)(sum >> 8);
		buf[34 + 17] = (u8)sum;
		memcpy(buf + 26, &ip_2_ip4(&src)->addr, 4);
		buf[24] = buf[25] = 0;
		sum = fx_sum(buf + 14, 20, 0);
		buf[24] = (u8)(sum >> 8);
		buf[25] = (u8)sum;
		fx_rx(buf, 34 + len);
	} else {
		pseudo = sum_words(ip_2_ip6(&src)->addr, 16) + sum_words(ip_2_ip6(&dst)->addr, 16);
		sum = fx_sum(seg, len, pseudo + 6 + len);
		seg[16] = (u8)(sum >> 8);
		seg[17] = (u8)sum;
		len = fx_ip6(buf, 6, seg, len);
		memcpy(buf + 22, ip_2_ip6(&src)->addr, 16);
		fx_rx(buf, len);
	}
	fx_forget();
}

/* ---- what lwIP would find ---- */

static bool is_for(const struct tcp_pcb *pcb, const ip_addr_t *src, const ip_addr_t *dst, u16 port)
{
	return (pcb->netif_idx == NETIF_NO_INDEX ||
		pcb->netif_idx == netif_get_index(&lwip_netif)) &&
	       pcb->remote_port == port && pcb->local_port == PORT &&
	       ip_addr_eq(&pcb->remote_ip, src) && ip_addr_eq(&pcb->local_ip, dst);
}

static struct tcp_pcb *search(struct tuple t)
{
	ip_addr_t src = peer_addr(t.peer), dst = guest_addr(t.peer);

	for (struct tcp_pcb *pcb = tcp_active_pcbs; pcb; pcb = pcb->next) {
		if (is_for(pcb, &src, &dst, t.port))
			return pcb;
	}
	for (struct tcp_pcb *pcb = tcp_tw_pcbs; pcb; pcb = pcb->next) {
		if (is_for(pcb, &src, &dst, t.port))
			return pcb;
	}
	return NULL;
}

static struct tcp_pcb *look_up(struct tuple t)
{
	struct tcp_pcb *pcb;

	ip_data.current_iphdr_src = peer_addr(t.peer);
	ip_data.current_iphdr_dest = guest_addr(t.peer);
	ip_data.current_input_netif = &lwip_netif;
	pcb = lwip_hook_tcp_lookup(t.port, PORT);
	ip_data.current_input_netif = NULL;
	return pcb;
}

/* Every pointer back leads to what points here; sleepers stand behind the rest; all are counted. */
static void check_list(struct tcp_pcb **list, u32 *n)
{
	bool asleep = false;

	for (struct tcp_pcb **at = list; *at; at = &(*at)->next) {
		assert_ptr_equal((*at)->port.pprev, at);
		assert_true(!asleep || LWIP_HOOK_TCP_ASLEEP(*at));
		asleep = LWIP_HOOK_TCP_ASLEEP(*at);
		(*n)++;
	}
}

static void check_lists(void)
{
	u32 n = 0;

	check_list(&tcp_bound_pcbs, &n);
	n = 0;
	check_list(&tcp_active_pcbs, &n);
	check_list(&tcp_tw_pcbs, &n);
	assert_int_equal(fake_stat("tcp_hash_connections"), n);
}

/* ---- a server that takes everything ---- */

static struct tcp_pcb *listener;

static err_t on_recv(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
	(void)arg;
	(void)err;
	if (!p)
		return ERR_OK;
	tcp_recved(pcb, p->tot_len);
	/* Now and then the app closes, or gives up, in the middle of it. */
	pbuf_free(p);
	switch (rnd(40)) {
	case 0:
		tcp_abort(pcb);
		return ERR_ABRT;
	case 1:
		return tcp_close(pcb);
	default:
		return ERR_OK;
	}
}

static err_t on_accept(void *arg, struct tcp_pcb *pcb, err_t err)
{
	(void)arg;
	(void)err;
	tcp_recv(pcb, on_recv);
	if (rnd(4) == 0)
		tcp_bind_netif(pcb, &lwip_netif);
	return ERR_OK;
}

static void serve(void)
{
	struct tcp_pcb *pcb = tcp_new_ip_type(IPADDR_TYPE_ANY);
	u8 buf[64];

	for (u32 i = 0; i < NR_V4; i++) {
		ip_addr_t a = peer_addr(i);

		fx_rx(buf, fx_arp_request(buf, __builtin_bswap32(ip_2_ip4(&a)->addr), GUEST_IP));
	}
	fx_forget();
	assert_int_equal(tcp_bind(pcb, IP_ANY_TYPE, PORT), ERR_OK);
	listener = tcp_listen(pcb);
	tcp_accept(listener, on_accept);
}

static void stop_serving(void)
{
	while (tcp_active_pcbs)
		tcp_abort(tcp_active_pcbs);
	fx_forget();
	assert_int_equal(tcp_close(listener), ERR_OK);
}

static void open_one(struct tuple t, bool finish)
{
	struct tcp_pcb *pcb;

	send(t, SYN, 1000, 0, 0);
	pcb = search(t);
	if (pcb && pcb->state == SYN_RCVD && finish)
		send(t, ACK, 1001, pcb->snd_nxt, 0);
}

/* One thing that happens to a connection, if it is there. */
static void step(struct tuple t)
{
	struct tcp_pcb *pcb = search(t);
	u32 what = rnd(16);

	if (!pcb) {
		open_one(t, what != 0);
		return;
	}
	switch (what) {
	case 0:
		send(t, RST, pcb->rcv_nxt, 0, 0);
		break;
	case 1:
		send(t, FIN | ACK, pcb->rcv_nxt, pcb->snd_nxt, 0);
		break;
	case 2:
		if (pcb->state != TIME_WAIT && !(pcb->flags & TF_RXCLOSED))
			tcp_close(pcb);
		break;
	case 3:
		tcp_abort(pcb); /* in TIME_WAIT, too */
		break;
	case 4:
		send(t, SYN, pcb->rcv_nxt + 70000, 0, 0); /* again: the peer has rebooted */
		break;
	case 5:
		if (pcb->state == ESTABLISHED)
			tcp_write(pcb, "x", 1, TCP_WRITE_FLAG_COPY);
		break;
	case 6:
	case 7:
		send(t, ACK, pcb->rcv_nxt, pcb->snd_nxt, 0);
		break;
	default:
		send(t, PSH | ACK, pcb->rcv_nxt, pcb->snd_nxt, 1 + rnd(40));
		break;
	}
	fx_forget();
}

static struct tuple any_tuple(void)
{
	return (struct tuple){ .peer = (u8)rnd(NR_PEERS), .port = (u16)(2000 + rnd(PORTS_EACH)) };
}

static void test_finds_what_a_search_finds(void **state)
{
	u32 most = 0;

	(void)state;
	rnd_state = 1;
	serve();
	for (u32 i = 0; i < 12000; i++) {
		struct tuple t = any_tuple();
		struct tcp_pcb *pcb;

		step(t);
		assert_ptr_equal(search(t), look_up(t));
		t = any_tuple();
		assert_ptr_equal(search(t), look_up(t));
		/* One that is bound and goes again, between the others. */
		if (i % 50 == 0) {
			pcb = tcp_new();
			assert_int_equal(tcp_bind(pcb, IP_ANY_TYPE, 0), ERR_OK);
			tcp_close(pcb);
		}
		if (i % 16 == 0)
			fake_time_advance(rnd(700) * NSEC_PER_MSEC);
		fx_forget();
		if (i % 100 == 0)
			check_lists();
		most = max(most, (u32)fake_stat("tcp_hash_connections"));
	}
	check_lists();
	assert_true(most > 1000); /* the table has grown, and shrinks now */
	assert_true(fake_stat("tcp_hash_buckets") >= 1024);
	stop_serving();
	fake_time_advance(60 * NSEC_PER_SEC);
	check_lists();
	assert_int_equal(fake_stat("tcp_hash_connections"), 0);
	assert_int_equal(fake_stat("tcp_hash_buckets"), 512);
}

/* The number of pcbs that are looked at for a segment does not grow with that of connections. */
static void test_steps_do_not_grow(void **state)
{
	u64 before, per_segment;
	u32 opened = 0;

	(void)state;
	rnd_state = 2;
	serve();
	for (u16 port = 0; port < 1000; port++) {
		for (u8 peer = 0; peer < NR_PEERS; peer++, opened++) {
			/* After the pcb the table, for which there is no memory: longer chains. */
			if (opened == 512)
				fake_alloc_fail_nth(2);
			open_one((struct tuple){ peer, (u16)(2000 + port) }, true);
			if (opened == 1000)
				assert_int_equal(fake_stat("tcp_hash_buckets"), 512);
		}
	}
	assert_int_equal(fake_stat("tcp_hash_connections"), opened);
	assert_int_equal(fake_stat("tcp_hash_buckets"), 8192);
	before = fake_stat("tcp_hash_steps");
	for (u16 port = 0; port < 1000; port++)
		assert_non_null(look_up((struct tuple){ port % NR_PEERS, (u16)(2000 + port) }));
	per_segment = fake_stat("tcp_hash_steps") - before;
	assert_in_range(per_segment, 1000, 2100); /* the one found last, and this one */
	stop_serving();
}

/* Two connections with one tuple: one in TIME_WAIT, one that the app has opened since. */
static void test_active_goes_first(void **state)
{
	struct tuple t = { 0, 2000 };
	struct tcp_pcb *tw, *pcb;

	(void)state;
	rnd_state = 3;
	serve();
	open_one(t, true);
	tw = search(t);
	assert_int_equal(tcp_close(tw), ERR_OK);
	send(t, ACK, tw->rcv_nxt, tw->snd_nxt, 0);
	send(t, FIN | ACK, tw->rcv_nxt, tw->snd_nxt, 0);
	assert_int_equal(tw->state, TIME_WAIT);
	assert_ptr_equal(look_up(t), tw);
	pcb = tcp_new();
	ip_addr_copy(pcb->local_ip, tw->local_ip);
	ip_addr_copy(pcb->remote_ip, tw->remote_ip);
	pcb->local_port = tw->local_port;
	pcb->remote_port = tw->remote_port;
	pcb->state = ESTABLISHED;
	TCP_REG_ACTIVE(pcb);
	assert_ptr_equal(look_up(t), pcb);
	/* Bound to another interface it is not for this segment. */
	pcb->netif_idx = netif_get_index(&lwip_netif) + 1;
	assert_ptr_equal(look_up(t), tw);
	pcb->netif_idx = netif_get_index(&lwip_netif);
	assert_ptr_equal(look_up(t), pcb);
	tcp_abort(pcb);
	assert_ptr_equal(look_up(t), tw);
	stop_serving();
}

/* No pcb is left: of those in TIME_WAIT the oldest makes room, whatever was done to it since. */
static void test_oldest_timewait_makes_room(void **state)
{
	(void)state;
	rnd_state = 4;
	serve();
	for (u16 i = 0; i < 8; i++) {
		struct tuple t = { 0, (u16)(3000 + i) };
		struct tcp_pcb *pcb;

		open_one(t, true);
		pcb = search(t);
		assert_int_equal(tcp_close(pcb), ERR_OK);
		send(t, ACK, pcb->rcv_nxt, pcb->snd_nxt, 0);
		send(t, FIN | ACK, pcb->rcv_nxt, pcb->snd_nxt, 0);
		fake_time_advance(NSEC_PER_SEC);
	}
	/* Its FIN again starts the time of the first anew; a RST changes nothing for the second. */
	send((struct tuple){ 0, 3000 }, FIN | ACK, 1001, 0, 0);
	send((struct tuple){ 0, 3001 }, RST, 1001, 0, 0);
	for (u16 i = 1; i < 8; i++) {
		assert_non_null(search((struct tuple){ 0, (u16)(3000 + i) }));
		fake_alloc_fail_nth(1);
		open_one((struct tuple){ 1, (u16)(4000 + i) }, true);
		assert_non_null(search((struct tuple){ 1, (u16)(4000 + i) }));
		assert_null(search((struct tuple){ 0, (u16)(3000 + i) }));
	}
	assert_non_null(search((struct tuple){ 0, 3000 }));
	stop_serving();
}

/* tcp_kill_prio(): none is lower, none is looked for; one that is lower is found. */
static void test_lower_priority_makes_room(void **state)
{
	struct tuple low = { 0, 3000 }, normal = { 0, 3001 }, next = { 0, 3002 };

	(void)state;
	rnd_state = 5;
	serve();
	open_one(low, true);
	open_one(normal, true);
	assert_true(lwip_hook_tcp_prio_unused(TCP_PRIO_NORMAL - 1));
	tcp_setprio(search(low), TCP_PRIO_MIN);
	assert_false(lwip_hook_tcp_prio_unused(TCP_PRIO_NORMAL - 1));
	fake_time_advance(5 * NSEC_PER_SEC);
	/* Three attempts after TIME_WAIT, LAST_ACK and CLOSING fail before the fourth. */
	fake_alloc_fail_nth(1);
	send(next, SYN, 1000, 0, 0);
	assert_non_null(search(next));
	assert_non_null(search(normal));
	stop_serving();
}

/* The published vector of SipHash-2-4: 15 bytes 00 01 02 .. under the key 00 01 02 .. */
static void test_siphash_of_words(void **state)
{
	u64 words[2] = { 0x0706050403020100, 15ull << 56 | 0x0e0d0c0b0a0908 };
	u64 key[2] = { 0x0706050403020100, 0x0f0e0d0c0b0a0908 };

	(void)state;
	assert_true(lwip_siphash_words(words, 2, key, true) == 0xa129ca6149be45e5);
	assert_true(lwip_siphash_words(words, 2, key, false) != 0xa129ca6149be45e5);
}

int run_conn_tests(void)
{
	static const struct CMUnitTest tests[] = {
		FX_TEST(test_finds_what_a_search_finds), FX_TEST(test_steps_do_not_grow),
		FX_TEST(test_active_goes_first),         FX_TEST(test_oldest_timewait_makes_room),
		FX_TEST(test_lower_priority_makes_room), FX_TEST(test_siphash_of_words),
	};

	return cmocka_run_group_tests_name("connections", tests, NULL, NULL);
}
