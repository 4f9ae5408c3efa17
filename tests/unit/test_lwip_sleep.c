/*
 * tcp_lists.c: a connection that sleeps until something is due does everything when one does that
 * is looked at in every tick. The same random story is told twice, once with all connections woken
 * before each tick; what was sent and what the app was asked, and when, must be the same.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/test_lwip.h"

#include "kernel/lib/byteorder.h"
#include "kernel/time.h"
#include "net/lwip/glue.h"
#include "net/lwip/hooks.h"
#include "tests/fake/fake_kernel.h"

#include "lwip/ip.h"
#include "lwip/priv/tcp_priv.h"

#define PORT 99
#define FIRST_PORT 5000
#define NR_CONNS 20
#define SLICE_MS 50u /* below TCP_TMR_INTERVAL: at most one tick in each */

#define FIN 1
#define SYN 2
#define RST 4
#define ACK 16

static u32 rnd_state;

static u32 rnd(u32 n)
{
	rnd_state = rnd_state * 1664525u + 1013904223u;
	return (u32)((u64)rnd_state * n >> 32);
}

/* ---- what happened ---- */

enum what { SENT, POLLED, RECEIVED, REFUSED, PEER_DONE, LOST };

struct event {
	u32 slice;
	u16 conn, order;
	enum what what;
	u8 flags;
	u16 len, window;
	u32 seq, ack;
};

static struct event *log_of[2];
static u32 nr_events[2], run, slice;

#define MAX_EVENTS 200000u

static void note(struct event e)
{
	assert_true(nr_events[run] < MAX_EVENTS);
	e.slice = slice;
	e.order = (u16)nr_events[run];
	log_of[run][nr_events[run]++] = e;
}

/* Connections are independent of each other: their order within a slice is that of the list. */
static int by_time(const void *a, const void *b)
{
	const struct event *x = a, *y = b;

	if (x->slice != y->slice)
		return x->slice < y->slice ? -1 : 1;
	if (x->conn != y->conn)
		return x->conn < y->conn ? -1 : 1;
	return (s16)(x->order - y->order);
}

/* ---- connections and their app ---- */

static struct conn {
	struct tcp_pcb *pcb; /* the app's; NULL: it has none, or has closed it */
	u32 iss;
	bool refuse, shut;
	u8 options;
} conns[NR_CONNS];

static struct tcp_pcb *listener;

static u16 number(const struct conn *c)
{
	return (u16)(c - conns);
}

static err_t on_recv(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
	struct conn *c = arg;

	(void)err;
	if (!p) {
		note((struct event){ .conn = number(c), .what = PEER_DONE });
		/* Both sides have ended: on its way to TIME_WAIT, after which lwIP frees it. */
		if (c->shut)
			c->pcb = NULL;
		return ERR_OK;
	}
	note((struct event){
		.conn = number(c), .what = c->refuse ? REFUSED : RECEIVED, .len = p->tot_len });
	if (c->refuse)
		return ERR_MEM;
	tcp_recved(pcb, p->tot_len);
	pbuf_free(p);
	return ERR_OK;
}

static err_t on_poll(void *arg, struct tcp_pcb *pcb)
{
	(void)pcb;
	note((struct event){ .conn = number(arg), .what = POLLED });
	return ERR_OK;
}

static void on_err(void *arg, err_t err)
{
	struct conn *c = arg;

	note((struct event){ .conn = number(c), .what = LOST, .flags = (u8)-err });
	c->pcb = NULL;
}

static err_t on_accept(void *arg, struct tcp_pcb *pcb, err_t err)
{
	struct conn *c = &conns[pcb->remote_port - FIRST_PORT];

	(void)arg;
	(void)err;
	c->pcb = pcb;
	c->refuse = c->shut = false;
	tcp_arg(pcb, c);
	tcp_recv(pcb, on_recv);
	tcp_err(pcb, on_err);
	if (c->options & 1) {
		ip_set_option(pcb, SOF_KEEPALIVE);
		pcb->keep_idle = 5000;
		pcb->keep_intvl = 2000;
		pcb->keep_cnt = 3;
	}
	if (c->options & 2)
		tcp_poll(pcb, on_poll, (u8)(1 + c->options / 8));
	if (c->options & 4)
		tcp_nagle_disable(pcb);
	return ERR_OK;
}

static void app_lets_go(struct conn *c)
{
	tcp_arg(c->pcb, NULL);
	tcp_recv(c->pcb, NULL);
	tcp_err(c->pcb, NULL);
	tcp_poll(c->pcb, NULL, 0);
}

/* ---- time and the wire ---- */

static void collect(void)
{
	for (u32 i = 0; i < fx_nr_tx; i++) {
		const u8 *b = fx_tx[i].bytes;
		struct conn *c;
		u16 n;

		if (get_unaligned_be16(b + 12) != 0x0800 || b[23] != 6)
			continue;
		n = (u16)(get_unaligned_be16(b + 36) - FIRST_PORT);
		assert_true(n < NR_CONNS);
		c = &conns[n];
		if (b[47] & SYN)
			c->iss = get_unaligned_be32(b + 38);
		note((struct event){ .conn = n,
				     .what = SENT,
				     .flags = b[47],
				     .len = get_unaligned_be16(b + 16),
				     .window = get_unaligned_be16(b + 48),
				     .seq = get_unaligned_be32(b + 38) - c->iss,
				     .ack = get_unaligned_be32(b + 42) });
	}
	fx_forget();
}

static void wake_all(struct tcp_pcb **list)
{
	struct tcp_pcb *pcb = *list;

	while (pcb) {
		struct tcp_pcb *next = pcb->next;

		if (LWIP_HOOK_TCP_ASLEEP(pcb))
			lwip_hook_tcp_wake(pcb);
		pcb = next;
	}
}

static void pass(u32 slices)
{
	while (slices--) {
		if (run == 1) {
			wake_all(&tcp_active_pcbs);
			wake_all(&tcp_tw_pcbs);
		}
		fake_time_advance(SLICE_MS * NSEC_PER_MSEC);
		slice++;
		collect();
	}
}

static struct tcp_pcb *find(const struct conn *c)
{
	u16 port = (u16)(FIRST_PORT + number(c));

	for (struct tcp_pcb *pcb = tcp_active_pcbs; pcb; pcb = pcb->next) {
		if (pcb->remote_port == port)
			return pcb;
	}
	for (struct tcp_pcb *pcb = tcp_tw_pcbs; pcb; pcb = pcb->next) {
		if (pcb->remote_port == port)
			return pcb;
	}
	return NULL;
}

/* gap: a segment before this one is missing. */
static void peer_sends(const struct conn *c, const struct tcp_pcb *pcb, u8 flags, u32 len, u32 gap,
		       bool closed)
{
	static const u8 data[100];

	fx_rx_tcp(&(struct fx_tcp){ .sport = (u16)(FIRST_PORT + number(c)),
				    .dport = PORT,
				    .seq = pcb ? pcb->rcv_nxt + gap : 1000,
				    .ack = pcb ? pcb->snd_nxt : 0,
				    .flags = flags,
				    .zero_window = closed,
				    .data = data,
				    .data_len = len });
	collect();
}

/* ---- the story ---- */

static void app_acts(struct conn *c, u32 what)
{
	switch (what) {
	case 0:
		tcp_write(c->pcb, "abc", 3, TCP_WRITE_FLAG_COPY); /* and forgets tcp_output() */
		break;
	case 1:
		tcp_write(c->pcb, "abcdef", 6, TCP_WRITE_FLAG_COPY);
		tcp_output(c->pcb);
		break;
	case 2:
		app_lets_go(c);
		assert_int_equal(tcp_close(c->pcb), ERR_OK);
		c->pcb = NULL;
		break;
	case 3:
		/* After the peer's end it would be a close, of which the app hears by on_err(). */
		c->shut |= tcp_shutdown(c->pcb, 0, 1) == ERR_OK;
		break;
	case 4:
		tcp_poll(c->pcb, rnd(3) ? on_poll : NULL, (u8)rnd(30));
		break;
	case 5:
		c->refuse = !c->refuse;
		break;
	case 6:
		tcp_recved(c->pcb, 0);
		break;
	default:
		break;
	}
	collect();
}

static void peer_acts(struct conn *c, struct tcp_pcb *pcb, u32 what)
{
	switch (what) {
	case 0:
	case 1:
		peer_sends(c, pcb, ACK, 1 + rnd(60), 0, false);
		break;
	case 2:
		peer_sends(c, pcb, ACK, 20, 100, false);
		break;
	case 3:
	case 4:
		peer_sends(c, pcb, ACK, 0, 0, false);
		break;
	case 5:
		peer_sends(c, pcb, ACK, 0, 0, true);
		break;
	case 6:
		peer_sends(c, pcb, FIN | ACK, 0, 0, false);
		break;
	case 7:
		if (rnd(4) == 0)
			peer_sends(c, pcb, RST | ACK, 0, 0, false);
		break;
	default:
		break;
	}
}

static void act(void)
{
	struct conn *c = &conns[rnd(NR_CONNS)];
	struct tcp_pcb *pcb = find(c);
	u32 options = rnd(256), what = rnd(8), whose = rnd(3);

	if (!pcb) {
		c->options = (u8)options;
		peer_sends(c, NULL, SYN, 0, 0, false);
		pcb = find(c);
		if (pcb && what)
			peer_sends(c, pcb, ACK, 0, 0, false);
	} else if (whose == 0 && c->pcb) {
		app_acts(c, what);
	} else {
		peer_acts(c, pcb, what);
	}
}

static void tell(u32 seed)
{
	struct tcp_pcb *pcb;
	u32 tick = tcp_ticks;
	u64 most = 0;

	memset(conns, 0, sizeof(conns));
	nr_events[run] = slice = 0;
	/* tcp_slowtmr() runs every other time: from here on in step. */
	while (tcp_ticks == tick)
		lwip_tcp_tmr();
	fx_learn_peer();
	pcb = tcp_new();
	assert_int_equal(tcp_bind(pcb, IP_ANY_TYPE, PORT), ERR_OK);
	listener = tcp_listen(pcb);
	tcp_accept(listener, on_accept);
	rnd_state = seed;
	for (u32 i = 0; i < 1500; i++) {
		act();
		pass(rnd(8));
		if (rnd(60) == 0)
			pass(rnd(120 * 1000 / SLICE_MS)); /* long enough for every timeout */
		most = max(most, fake_stat("tcp_asleep"));
	}
	for (u32 i = 0; i < NR_CONNS; i++) {
		if (conns[i].pcb) {
			app_lets_go(&conns[i]);
			tcp_abort(conns[i].pcb);
		}
	}
	collect();
	assert_int_equal(tcp_close(listener), ERR_OK);
	pass(100 * 1000 / SLICE_MS);
	fake_time_advance(400 * NSEC_PER_SEC);
	fx_forget();
	assert_null(tcp_active_pcbs);
	assert_null(tcp_tw_pcbs);
	assert_int_equal(fake_stat("tcp_asleep"), 0);
	assert_true(run == 1 || most > NR_CONNS / 4);
}

static void test_sleeping_changes_nothing(void **state)
{
	u32 seen[LOST + 1] = { 0 };

	(void)state;
	for (run = 0; run < 2; run++)
		log_of[run] = malloc(MAX_EVENTS * sizeof(struct event));
	for (u32 seed = 1; seed <= 4; seed++) {
		for (run = 0; run < 2; run++) {
			tell(seed);
			qsort(log_of[run], nr_events[run], sizeof(struct event), by_time);
			for (u32 i = 0; i < nr_events[run]; i++) {
				log_of[run][i].order = 0;
				seen[log_of[run][i].what]++;
			}
		}
		for (u32 i = 0; i < min(nr_events[0], nr_events[1]); i++) {
			const struct event *a = &log_of[0][i], *b = &log_of[1][i];

			if (memcmp(a, b, sizeof(*a)))
				fail_msg("seed %u: event %u: slice %u conn %u what %d flags %x "
					 "seq %u len %u, awake: slice %u conn %u what %d flags %x "
					 "seq %u len %u",
					 seed, i, a->slice, a->conn, a->what, a->flags, a->seq,
					 a->len, b->slice, b->conn, b->what, b->flags, b->seq,
					 b->len);
		}
		assert_int_equal(nr_events[0], nr_events[1]);
	}
	for (u32 i = 0; i <= LOST; i++)
		assert_true(seen[i] > 20);
	free(log_of[0]);
	free(log_of[1]);
}

/* As many connections that are established and idle, with a keepalive after the default minute. */
static void establish(u32 n)
{
	ip_addr_t remote = IPADDR4_INIT(__builtin_bswap32(PEER_IP));

	fx_learn_peer();
	for (u32 i = 0; i < n; i++) {
		struct tcp_pcb *pcb = tcp_new();

		ip_addr_copy(pcb->local_ip, lwip_netif.ip_addr);
		ip_addr_copy(pcb->remote_ip, remote);
		pcb->local_port = PORT;
		pcb->remote_port = (u16)(FIRST_PORT + i);
		pcb->state = ESTABLISHED;
		ip_set_option(pcb, SOF_KEEPALIVE);
		TCP_REG_ACTIVE(pcb);
	}
	fake_time_advance(NSEC_PER_SEC);
	assert_int_equal(fake_stat("tcp_asleep"), n);
}

/* Nothing that is idle is looked at: 500 connections, and not one step of the timers' for 30 s. */
static void test_idle_costs_nothing(void **state)
{
	u64 before;

	(void)state;
	establish(500);
	before = fake_stat("tcp_timer_looked_at");
	fake_time_advance(30 * NSEC_PER_SEC);
	assert_int_equal(fake_stat("tcp_timer_looked_at"), before);
	while (tcp_active_pcbs)
		tcp_abandon(tcp_active_pcbs, 0);
}

/* 3,000 that came at once: their probes come as a stream, and a peer that is gone is found out. */
static void test_keepalives_of_a_crowd(void **state)
{
	u32 most = 0, sent = 0, half_seconds = 0;

	(void)state;
	establish(3000);
	while (tcp_active_pcbs && half_seconds++ < 400) {
		fake_time_advance(NSEC_PER_SEC / 2);
		most = max(most, fx_nr_tx);
		sent += fx_nr_tx;
		fx_forget();
	}
	/* TCP_KEEPIDLE_DEFAULT and four times TCP_KEEPINTVL_DEFAULT: two minutes */
	assert_null(tcp_active_pcbs);
	assert_in_range(half_seconds, 230, 285);
	assert_in_range(most, 500, 1100);                /* and an ARP request */
	assert_in_range(sent, 3000 * 5, 3000 * 5 + 100); /* four probes and a reset */
}

int run_sleep_tests(void)
{
	static const struct CMUnitTest tests[] = {
		FX_TEST(test_sleeping_changes_nothing),
		FX_TEST(test_idle_costs_nothing),
		FX_TEST(test_keepalives_of_a_crowd),
	};

	return cmocka_run_group_tests_name("sleeping connections", tests, NULL, NULL);
}
