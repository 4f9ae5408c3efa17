/*
 * Large segments on a network that loses: what is sent again, how much of it, and that every byte
 * arrives, whatever happens to the peer's window, to memory, to the order.
 */
#include <string.h>

#include "tests/unit/tso_peer.h"

#include "kernel/time.h"
#include "tests/fake/fake_kernel.h"

#include "lwip/tcp.h"

#define ALL (NETIF_F_HW_CSUM | NETIF_F_TSO | NETIF_F_TSO6)
#define BIG_WINDOW 500000u

/* ---- what the network loses ---- */

static struct {
	u32 from, to; /* pieces that lie in there, once each or always */
	u32 times;    /* how often the byte at `from` is lost still */
} hole;

static bool in_hole(u32 at, u32 len)
{
	if (at + len <= hole.from || at >= hole.to || !hole.times)
		return false;
	if (at <= hole.from)
		hole.times--;
	return true;
}

static bool everything(u32 at, u32 len)
{
	(void)at;
	(void)len;
	return true;
}

/* A connection whose windows are open wide: so many bytes have gone. */
static void warm_up(bool v6, u32 bytes)
{
	fx_dev.features = ALL;
	peer_connect(v6, BIG_WINDOW, bytes);
	peer_finish(60);
	assert_true(peer.largest > 30000);
	assert_int_equal(peer.twice, 0);
}

/*
 * One piece of a large segment, the first, one between, the last: it is sent again by itself, as
 * the three duplicate acknowledgements come, and nothing that the peer has.
 */
static void test_fast_retransmit(void **state)
{
	static const u32 piece[] = { 0, 1, 7, 20 };

	(void)state;
	for (u32 i = 0; i < 2 * ARRAY_SIZE(piece); i++) {
		u32 mss = i & 1 ? 1440 : 1460, cwnd;

		warm_up(i & 1, 400000);
		hole.from = 400000 + piece[i / 2] * mss;
		hole.to = hole.from + 1;
		hole.times = 1;
		peer.lost = in_hole;
		cwnd = app.pcb->cwnd;
		app.total = 800000;
		/* No time goes by: no timeout. */
		app_write();
		peer_run();
		assert_int_equal(hole.times, 0);
		assert_int_equal(peer.next, 800000);
		assert_int_equal(peer.retransmitted, mss);
		assert_int_equal(peer.twice, 0);
		/* One loss, one reduction. */
		assert_true(app.pcb->ssthresh >= min(cwnd, BIG_WINDOW) / 2 - mss);
		peer_finish(10);
		peer_end();
	}
}

/* Two holes in one segment: a fast retransmission, then at worst a timeout, and little comes twice.
 */
static void test_two_holes(void **state)
{
	(void)state;
	warm_up(false, 400000);
	hole.from = 400000 + 2 * PEER_MSS;
	hole.to = hole.from + 5 * PEER_MSS;
	hole.times = 1;
	peer.lost = in_hole;
	app.total = 900000;
	peer_finish(60);
	assert_true(peer.twice < 100000);
	peer_end();
}

/* Silence, then a timeout: one MSS goes, then two, as acknowledgements come. */
static void test_timeout(void **state)
{
	(void)state;
	warm_up(false, 400000);
	peer.lost = everything;
	app.total = 700000;
	app_write();
	peer_run();
	assert_true(peer.largest > 30000);
	peer.largest = peer.pieces = 0;
	for (u32 i = 0; i < 100 && !peer.pieces; i++) {
		fake_time_advance(100 * NSEC_PER_MSEC);
		peer.lost = NULL;
		peer.silent = true;
		peer_run();
	}
	assert_int_equal(peer.pieces, 1);
	assert_int_equal(peer.largest, PEER_MSS);
	assert_int_equal(app.pcb->cwnd, PEER_MSS);
	peer_ack();
	peer_run();
	assert_int_equal(peer.pieces, 3);
	assert_true(peer.largest <= 2 * PEER_MSS);
	peer.silent = false;
	peer_ack();
	peer_finish(60);
	assert_int_equal(peer.twice, 0);
	peer_end();
}

/* Five pieces of the flight arrive, also when they do not end where a segment does; then silence.
 */
static void test_partial_ack_and_timeout(void **state)
{
	(void)state;
	for (u32 i = 0; i < 2; i++) {
		warm_up(false, 400000);
		hole.from = 400000 + 5 * PEER_MSS;
		hole.to = STREAM;
		hole.times = ~0u;
		peer.lost = in_hole;
		app.total = 700000;
		app_write();
		peer_run();
		assert_int_equal(peer.next, hole.from);
		if (i) { /* a peer that takes what it likes */
			peer.next += 77;
			memset(peer.have + hole.from, 1, 77);
			peer_ack();
		}
		peer.lost = NULL;
		peer_finish(60);
		/* Nothing but the rest was sent again. */
		assert_int_equal(peer.twice, 0);
		peer_end();
	}
}

/* ---- windows ---- */

/* The peer shrinks its window below a large segment that waits (RFC 9293, 3.8.6: SHOULD NOT). */
static void test_window_shrinks(void **state)
{
	static const u32 windows[] = { 5000, 1464, 1000, 96, 0 };

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(windows); i++) {
		u32 before, rounds = windows[i] ? 5 : 0;

		warm_up(false, 400000);
		hole.from = 400000 + 3 * PEER_MSS;
		hole.to = STREAM;
		hole.times = ~0u;
		peer.lost = in_hole;
		app.total = 700000;
		app_write();
		peer_run();
		peer.lost = NULL;
		peer.window = windows[i];
		peer.end = STREAM; /* the old edge: what was sent for it is no fault */
		peer_ack();
		/* Ten minutes: longer than any timeout that gives a connection up. */
		for (u32 j = 0; j < 600; j++) {
			before = peer.next;
			peer.largest = 0;
			fake_time_advance(NSEC_PER_SEC);
			peer_run();
			assert_false(app.failed);
			assert_true(peer.largest <= max(windows[i], PEER_MSS));
			if (peer.next == app.total)
				rounds = 0;
			else if (peer.next > before && rounds)
				rounds--;
		}
		assert_int_equal(rounds, 0);
		peer.window = BIG_WINDOW;
		peer_ack();
		peer_finish(60);
		peer_end();
	}
}

/* What comes next is acknowledged with a window of 0; the same number again would be no news. */
#define SHUT_AT 401460u
static void shut_window(void)
{
	peer.window = 0;
	app.total = SHUT_AT;
	app_write();
	peer_run();
	assert_int_equal(app.pcb->snd_wnd, 0);
	peer.end = peer.next;
}

/* Shut with nothing in flight: probes, and it goes on when it opens, a little at first. */
static void test_zero_window(void **state)
{
	u32 pieces;

	(void)state;
	warm_up(false, 400000);
	shut_window();
	app.total = 700000;
	app_write();
	peer_run();
	assert_int_equal(peer.next, SHUT_AT);
	pieces = peer.pieces;
	/* Probes are answered: nobody gives up. */
	for (u32 i = 0; i < 300; i++) {
		fake_time_advance(NSEC_PER_SEC);
		peer_run();
	}
	assert_false(app.failed);
	assert_true(peer.pieces > pieces + 3);
	peer.window = 3 * PEER_MSS + 104;
	peer.largest = 0;
	peer.silent = true;
	peer_ack();
	peer_run();
	/* Whole segments of what waits, not one of 104 bytes. */
	assert_int_equal(peer.next, SHUT_AT + 3 * PEER_MSS);
	assert_int_equal(peer.largest, 3 * PEER_MSS);
	peer.silent = false;
	peer.window = BIG_WINDOW;
	peer_ack();
	peer_finish(60);
	peer_end();
}

/* A window of less than an MSS, for good. */
static void test_small_window(void **state)
{
	(void)state;
	warm_up(false, 400000);
	shut_window();
	app.total = 410000;
	app_write();
	peer.window = 800;
	peer_ack();
	peer_finish(600);
	peer_end();
}

/* ---- the rest ---- */

/* The FIN's piece is lost, and what was before it; the rest of the segment carries it again. */
static void test_fin_is_lost(void **state)
{
	(void)state;
	for (u32 back = 0; back < 4; back++) {
		warm_up(false, 400000);
		app.total = 450000;
		app.close = true;
		hole.from = 450000 - 1 - back * PEER_MSS;
		hole.to = 450000;
		hole.times = 1;
		peer.lost = in_hole;
		peer_finish(60);
		assert_true(peer.fin);
		assert_int_equal(app.pcb->state, FIN_WAIT_2);
		peer_end();
	}
}

/* No memory to split the first segment, when only that would go on: the timer sees to it. */
static void test_no_memory_to_split(void **state)
{
	(void)state;
	for (u32 n = 1; n <= 4; n++) {
		warm_up(false, 400000);
		peer.lost = everything;
		app.total = 450000;
		app_write();
		peer_run();
		/* The retransmission of the first MSS arrives. */
		peer.silent = true;
		for (u32 i = 0; i < 100 && !peer.owed; i++) {
			peer.lost = NULL;
			fake_time_advance(100 * NSEC_PER_MSEC);
			peer_run();
		}
		assert_int_equal(peer.next, 400000 + PEER_MSS);
		fake_alloc_fail_nth(n);
		peer.silent = false;
		peer_ack();
		/* The app does nothing: its next turn would be the callback. */
		for (u32 i = 0; i < 100; i++) {
			peer_run();
			fake_time_advance(100 * NSEC_PER_MSEC);
		}
		assert_true(peer.next > 400000 + PEER_MSS);
		peer_finish(60);
		fake_alloc_fail_nth(0);
		peer_end();
	}
}

/* ---- whatever happens ---- */

static u32 loss_percent;

static bool by_chance(u32 at, u32 len)
{
	(void)at;
	(void)len;
	return rnd(100) < loss_percent;
}

/*
 * Loss of pieces and of acknowledgements, a window that opens and shuts, drivers that hold on to
 * what they send, writes of any size: the stream arrives, exact, in bounded time, and all is given
 * back.
 */
static void random_run(u32 seed)
{
	static const u32 chunks[] = { 0, 0, 200, 3000, 20000 };
	static const u32 features[] = { ALL, ALL, ALL, NETIF_F_HW_CSUM, 0 };
	static const u8 how[] = { TCP_WRITE_FLAG_COPY, 0 };
	u32 total, minutes = 0;

	rnd_state = seed;
	fx_dev.features = features[rnd(ARRAY_SIZE(features))];
	loss_percent = rnd(4);
	total = 100000 + rnd(500000);
	peer_connect(rnd(2), 2000 + rnd(200000), total);
	app.chunk = chunks[rnd(ARRAY_SIZE(chunks))];
	app.how = how[rnd(ARRAY_SIZE(how))];
	app.close = rnd(2);
	peer.lost = by_chance;
	while (app.acknowledged < total) {
		fx_hold = rnd(8) == 0;
		app_write();
		peer_run();
		/* Acknowledgements lost, late, or for several at once. */
		peer.silent = rnd(4) == 0;
		if (peer.owed && !peer.silent)
			peer_ack();
		if (rnd(40) == 0) {
			peer.window = rnd(3) ? 2000 + rnd(200000) : rnd(2) * rnd(3000);
			/* What was allowed before stays allowed. */
			if (peer.window < peer.end - peer.next)
				peer.window = peer.end - peer.next;
			peer_ack();
		}
		peer_run();
		fake_time_advance(rnd(300) * NSEC_PER_MSEC);
		if (app.failed || ++minutes > 20000)
			break;
		if (minutes % 64 == 0) { /* nobody keeps it shut for ever */
			peer.window = 50000;
			peer_ack();
		}
	}
	fx_hold = false;
	peer.silent = false;
	peer_ack();
	peer.lost = NULL;
	peer_finish(60);
	peer_end();
}

static void test_random(void **state)
{
	(void)state;
	for (u32 seed = 1; seed <= 300; seed++)
		random_run(seed);
}

int run_tso_loss_tests(void)
{
	static const struct CMUnitTest tests[] = {
		FX_TEST(test_fast_retransmit),
		FX_TEST(test_two_holes),
		FX_TEST(test_timeout),
		FX_TEST(test_partial_ack_and_timeout),
		FX_TEST(test_window_shrinks),
		FX_TEST(test_zero_window),
		FX_TEST(test_small_window),
		FX_TEST(test_fin_is_lost),
		FX_TEST(test_no_memory_to_split),
		FX_TEST(test_random),
	};

	return cmocka_run_group_tests_name("tso and loss", tests, NULL, NULL);
}
