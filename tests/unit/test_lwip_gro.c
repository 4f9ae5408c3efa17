/*
 * GRO and lwIP together: a lossy, reordering path delivers the same stream with GRO as without. The
 * sender is a few lines that know the stream, what the guest has acknowledged, and no manners.
 */
#include <string.h>

#include "tests/unit/test_lwip.h"

#include "kernel/lib/byteorder.h"
#include "kernel/time.h"
#include "net/lwip/glue.h"
#include "tests/fake/fake_kernel.h"

#include "lwip/tcp.h"

#define FIN 1
#define SYN 2
#define PSH 8
#define ACK 16

#define STREAM 40000u
#define MAX_SEGMENT 1400u

static struct {
	struct tcp_pcb *listener, *pcb;
	u8 got[STREAM];
	u32 len;
	bool eof;
} app;

static u8 stream[STREAM];

static err_t on_recv(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
	(void)arg;
	(void)err;
	if (!p) {
		app.eof = true;
		return ERR_OK;
	}
	assert_true(app.len + p->tot_len <= STREAM);
	pbuf_copy_partial(p, app.got + app.len, p->tot_len, 0);
	app.len += p->tot_len;
	tcp_recved(pcb, p->tot_len);
	pbuf_free(p);
	return ERR_OK;
}

static err_t on_accept(void *arg, struct tcp_pcb *pcb, err_t err)
{
	(void)arg;
	(void)err;
	app.pcb = pcb;
	tcp_recv(pcb, on_recv);
	return ERR_OK;
}

/* ---- the sender ---- */

static struct {
	u32 base;  /* sequence number of the stream's first byte */
	u32 acked; /* bytes of the stream, as the guest says */
	u32 ack;   /* what we say */
	u16 id;
	bool gro;
	u32 sent;
} tx;

static u32 rnd_state;

static u32 rnd(u32 below)
{
	rnd_state = rnd_state * 1664525u + 1013904223u;
	return (u32)((u64)(rnd_state >> 8) * below >> 24);
}

static void send(const struct fx_tcp *t)
{
	u8 buf[2048];
	u32 len = fx_tcp(buf, t);

	if (tx.gro)
		fx_gro_rx(buf, len);
	else
		fx_rx(buf, len);
	tx.sent++;
}

static void send_data(u32 at, u32 len, u8 flags)
{
	send(&(struct fx_tcp){ .sport = 4000,
			       .dport = 99,
			       .seq = tx.base + at,
			       .ack = tx.ack,
			       .flags = ACK | flags,
			       .ip_id = tx.id++,
			       .data = stream + at,
			       .data_len = len });
}

/* What the guest acknowledges; every frame of it is for us. */
static void hear(void)
{
	for (u32 i = 0; i < fx_nr_tx; i++) {
		const u8 *b = fx_tx[i].bytes;
		u32 got;

		if (get_unaligned_be16(b + 12) != 0x0800 || b[23] != 6)
			continue;
		if (b[47] & SYN)
			tx.ack = get_unaligned_be32(b + 38) + 1;
		got = get_unaligned_be32(b + 42) - tx.base;
		if (got <= STREAM + 1 && got > tx.acked)
			tx.acked = got;
	}
	fx_forget();
}

/* A burst from somewhere near the first missing byte: with holes, repetitions, other cuts. */
static void burst(void)
{
	u32 at = tx.acked, size = 1 + rnd(MAX_SEGMENT), n = 1 + rnd(20);

	for (; n && at < STREAM; n--) {
		u32 len = size < STREAM - at ? size : STREAM - at;

		switch (rnd(10)) {
		case 0: /* lost */
			at += len;
			continue;
		case 1: /* late: an earlier one again */
			if (at >= 2 * len)
				send_data(at - 2 * len, len, 0);
			break;
		case 2: /* early */
			if (at + 3 * len < STREAM)
				send_data(at + 2 * len, len, 0);
			break;
		case 3:
			send_data(at, len, PSH);
			at += len;
			continue;
		case 4: /* cut otherwise */
			len = 1 + rnd(len);
			break;
		default:
			break;
		}
		send_data(at, len, 0);
		at += len;
	}
	fx_gro_flush();
}

static void connect(u32 seed, bool gro)
{
	struct tcp_pcb *pcb = tcp_new();

	memset(&app, 0, sizeof(app));
	memset(&tx, 0, sizeof(tx));
	rnd_state = seed;
	tx.base = seed * 0x9e3779b9u; /* anywhere, also near the wrap */
	tx.gro = fx_dev.gro = gro;
	assert_int_equal(tcp_bind(pcb, IP_ANY_TYPE, 99), ERR_OK);
	app.listener = tcp_listen(pcb);
	tcp_accept(app.listener, on_accept);
	send(&(struct fx_tcp){
		.sport = 4000, .dport = 99, .seq = tx.base - 1, .flags = SYN, .ip_id = 9 });
	fx_gro_flush();
	hear();
	send_data(0, 0, 0);
	fx_gro_flush();
	assert_non_null(app.pcb);
}

static void disconnect(void)
{
	tcp_abort(app.pcb);
	fx_forget(); /* its reset */
	assert_int_equal(tcp_close(app.listener), ERR_OK);
}

/* Returns the frames that the guest sent in answer. */
static u32 transfer(u32 seed, bool gro)
{
	u32 answers = 0, idle = 0;

	connect(seed, gro);
	while (tx.acked < STREAM) {
		u32 before = tx.acked;

		burst();
		answers += fx_nr_tx;
		hear();
		if (tx.acked == before) /* the delayed one, if it is that */
			fake_time_advance(300 * NSEC_PER_MSEC);
		hear();
		idle = tx.acked == before ? idle + 1 : 0;
		assert_true(idle < 200);
	}
	assert_int_equal(app.len, STREAM);
	assert_memory_equal(app.got, stream, STREAM);
	send_data(STREAM, 0, FIN);
	fx_gro_flush();
	assert_true(app.eof);
	disconnect();
	return answers;
}

static void test_same_stream_with_and_without(void **state)
{
	u64 merged = fx_dev.stats.rx_gro_merged, with = 0, without = 0;

	(void)state;
	fx_learn_peer();
	for (u32 i = 0; i < STREAM; i++)
		stream[i] = (u8)(i * 131 + (i >> 8));
	for (u32 seed = 1; seed <= 60; seed++) {
		without += transfer(seed, false);
		with += transfer(seed, true);
		fx_learn_peer();
	}
	assert_true(fx_dev.stats.rx_gro_merged - merged > 1000);
	assert_true(with < without);
	fx_dev.gro = false;
}

/* A merged packet is acknowledged at once, since its sender may have sent all it may; a single one
 * is not. */
static void test_merged_is_acknowledged_at_once(void **state)
{
	(void)state;
	fx_learn_peer();
	for (u32 n = 1; n <= 3; n++) {
		u32 at = 0;

		connect(n, true);
		for (u32 i = 0; i < n; i++, at += 1000)
			send_data(at, 1000, 0);
		fx_gro_flush();
		hear();
		assert_int_equal(app.len, n * 1000);
		assert_int_equal(tx.acked, n > 1 ? n * 1000 : 0);
		disconnect();
	}
	fx_dev.gro = false;
}

int run_gro_tests(void)
{
	static const struct CMUnitTest tests[] = {
		FX_TEST(test_same_stream_with_and_without),
		FX_TEST(test_merged_is_acknowledged_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
