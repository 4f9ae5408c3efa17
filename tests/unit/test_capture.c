/* net/capture.c: what comes and goes, in order, byte for byte; what does not fit is counted. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/test.h"
#include "tests/unit/trace_fixture.h"

#include "kernel/lib/errno.h"
#include "kernel/time.h"
#include "kernel/trace.h"
#include "tests/fake/fake_kernel.h"

#define TF_TEST(t) cmocka_unit_test_setup_teardown(t, tf_begin, tf_end)
#define READ_MIN 2048
#define RING (1024 * 1024)

/* ---- the stream, taken apart (test_pcapng.c looks at the blocks themselves) ---- */

struct shot {
	const u8 *frame;
	u32 len, orig;
	u64 ns;
	bool sent;
	char comment[512];
};
static struct shot shots[20000];
static u32 nr_shots, nr_stats, snaplen;
static u64 received, dropped;

static u32 u32_of(const u8 *p)
{
	u32 v;

	memcpy(&v, p, 4);
	return v;
}

static u64 u64_of(const u8 *p)
{
	u64 v;

	memcpy(&v, p, 8);
	return v;
}

static void take_packet(const u8 *b, u32 len)
{
	struct shot *s = &shots[nr_shots++];
	const u8 *o;

	assert_true(nr_shots < ARRAY_SIZE(shots));
	*s = (struct shot){ .ns = (u64)u32_of(b + 12) << 32 | u32_of(b + 16),
			    .len = u32_of(b + 20),
			    .orig = u32_of(b + 24),
			    .frame = b + 28 };
	for (o = b + 28 + ALIGN_UP(s->len, 4); u32_of(o);
	     o += 4 + ALIGN_UP((u32)(o[2] | o[3] << 8), 4)) {
		u32 n = (u32)(o[2] | o[3] << 8);

		assert_true(o + n < b + len);
		if (o[0] == 2)
			s->sent = u32_of(o + 4) == 2;
		else if (o[0] == 1)
			memcpy(s->comment, o + 4, n);
	}
}

static void parse(const struct tf_reader *t)
{
	size_t at = 0;

	nr_shots = nr_stats = 0;
	while (at < t->len) {
		const u8 *b = (const u8 *)t->text + at;
		u32 type = u32_of(b), len = u32_of(b + 4);

		assert_true(at + len <= t->len);
		assert_int_equal(u32_of(b + len - 4), len);
		switch (type) {
		case 0x0a0d0d0a:
			assert_int_equal(at, 0);
			break;
		case 1:
			snaplen = u32_of(b + 12);
			break;
		case 5:
			nr_stats++;
			received = u64_of(b + 24);
			dropped = u64_of(b + 36);
			break;
		case 6:
			take_packet(b, len);
			break;
		default:
			fail_msg("block of type %u", type);
		}
		at += len;
	}
}

static void expect_frame(u32 i, const void *frame, u32 len, bool sent)
{
	assert_true(i < nr_shots);
	assert_int_equal(shots[i].orig, len);
	assert_int_equal(shots[i].len, min(len, snaplen));
	assert_int_equal(shots[i].sent, sent);
	assert_memory_equal(shots[i].frame, frame, shots[i].len);
	assert_true(i == 0 || shots[i].ns >= shots[i - 1].ns);
}

/* A request, and its answer as the device got it. */
static void ping(u8 *req, u32 *len, u16 seq, u32 size)
{
	*len = fx_icmp_echo(req, seq, size);
	tf_rx(req, *len);
}

/* ---- */

static void test_both_directions(void **state)
{
	struct tf_reader t;
	u8 req[1600];
	u32 len;

	(void)state;
	assert_int_equal(tf_open(&t, "/capture.pcapng", ""), 0);
	assert_int_equal(tracing, TRACE_CAPTURE);
	assert_int_equal(tf_read(&t, READ_MIN), -EAGAIN);
	parse(&t);
	assert_int_equal(nr_shots + nr_stats, 0);
	assert_true(t.len > 0); /* the head at once: a reader sees that it works */
	for (u32 size = 0; size <= 1472; size += 92) {
		u64 before = ktime_get();
		u32 woken = t.woken;

		ping(req, &len, (u16)size, size);
		assert_true(t.woken > woken);
		assert_int_equal(tf_read(&t, READ_MIN), -EAGAIN);
		parse(&t);
		expect_frame(nr_shots - 2, req, len, false);
		expect_frame(nr_shots - 1, fx_tx[fx_nr_tx - 1].bytes, fx_tx[fx_nr_tx - 1].len,
			     true);
		assert_true(shots[nr_shots - 2].ns > before);
	}
	assert_int_equal(nr_shots, 34);
	assert_int_equal(snaplen, 65550);
	tf_close(&t);
}

/* Many times round the ring, while it is read at another pace: all there, in order. */
static void test_wraps(void **state)
{
	struct tf_reader t;
	u32 sent = 0, seed = 1, lens[5000];
	u8 req[1600];

	(void)state;
	assert_int_equal(tf_open(&t, "/capture.pcapng", ""), 0);
	while (sent < ARRAY_SIZE(lens)) {
		seed = seed * 1103515245 + 12345;
		for (u32 burst = seed >> 23; burst && sent < ARRAY_SIZE(lens); burst--) {
			seed = seed * 1103515245 + 12345;
			ping(req, &lens[sent], (u16)sent, (seed >> 16) % 1400);
			fx_forget();
			sent++;
		}
		tf_read(&t, READ_MIN);
	}
	parse(&t);
	assert_true(t.len > 5 * RING);
	assert_int_equal(nr_stats, 0);
	assert_int_equal(nr_shots, 2 * sent);
	for (u32 i = 0; i < nr_shots; i++) {
		assert_int_equal(shots[i].orig, lens[i / 2]);
		assert_int_equal(shots[i].len, lens[i / 2]);
		assert_int_equal(shots[i].sent, i & 1);
		/* The sequence number, and the last byte (fx_icmp_echo). */
		assert_int_equal(shots[i].frame[40] << 8 | shots[i].frame[41], i / 2);
		if (lens[i / 2] > 42)
			assert_int_equal(shots[i].frame[lens[i / 2] - 1],
					 (u8)((lens[i / 2] - 43) * 7 + i / 2));
	}
	tf_close(&t);
}

static void test_full(void **state)
{
	u64 total = fake_stat("capture_dropped"), all = fake_stat("capture_packets");
	struct tf_reader t;
	u8 req[1600];
	u32 len, kept;

	(void)state;
	assert_int_equal(tf_open(&t, "/capture.pcapng", ""), 0);
	for (u32 i = 0; i < 1000; i++) {
		ping(req, &len, (u16)i, 1400);
		fx_forget();
	}
	assert_int_equal(tf_read(&t, READ_MIN), -EAGAIN);
	parse(&t);
	assert_int_equal(nr_stats, 1);
	assert_int_equal(received, 2000);
	assert_int_equal(dropped, 2000 - nr_shots);
	assert_in_range(nr_shots, RING / 1500, RING / 1400);
	assert_int_equal(fake_stat("capture_dropped") - total, dropped);
	assert_int_equal(fake_stat("capture_packets") - all, nr_shots);
	/* What came first was kept, and after the gap it goes on. */
	kept = nr_shots;
	for (u32 i = 0; i < kept; i++)
		assert_int_equal(shots[i].frame[40] << 8 | shots[i].frame[41], i / 2);
	ping(req, &len, 5000, 100);
	assert_int_equal(tf_read(&t, READ_MIN), -EAGAIN);
	parse(&t);
	assert_int_equal(nr_shots, kept + 2);
	assert_int_equal(nr_stats, 1);
	expect_frame(kept, req, len, false);
	tf_close(&t);
}

/* Frames that do not leave the marker its room, at every distance from the ring's end. */
static void test_every_end(void **state)
{
	u8 req[1600];

	(void)state;
	for (u32 off = 0; off < 160; off += 8) {
		struct tf_reader t;
		u32 len, n = 0;

		fake_set_free_pages(128); /* a ring of 64 KiB */
		assert_int_equal(tf_open(&t, "/capture.pcapng", "filter=host+10.0.2.1"), 0);
		ping(req, &len, 0, off);
		fx_forget();
		for (n = 1; n < 120; n++) {
			ping(req, &len, (u16)n, 1000);
			fx_forget();
			if (n % 20 == 0)
				tf_read(&t, READ_MIN);
		}
		tf_read(&t, READ_MIN);
		parse(&t);
		assert_int_equal(nr_stats, 0);
		assert_int_equal(nr_shots, 2 * n);
		for (u32 i = 0; i < nr_shots; i++)
			assert_int_equal(shots[i].frame[40] << 8 | shots[i].frame[41], i / 2);
		tf_close(&t);
	}
	fake_set_free_pages(65536);
}

static void test_snaplen_and_filter(void **state)
{
	static const u32 lens[] = { 1, 14, 41, 42, 43, 64, 1441, 1442, 1443, 65550 };
	struct tf_reader t;
	u8 req[1600], other[200];
	u32 len;

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(lens); i++) {
		char query[64];

		sprintf(query, "snaplen=%u&filter=icmp", lens[i]);
		assert_int_equal(tf_open(&t, "/capture.pcapng", query), 0);
		tf_rx(other, fx_arp_request(other, PEER_IP, GUEST_IP));
		ping(req, &len, 1, 1400);
		assert_int_equal(tf_read(&t, READ_MIN), -EAGAIN);
		parse(&t);
		assert_int_equal(snaplen, lens[i]);
		assert_int_equal(nr_shots, 2);
		expect_frame(0, req, len, false);
		expect_frame(1, fx_tx[fx_nr_tx - 1].bytes, fx_tx[fx_nr_tx - 1].len, true);
		tf_close(&t);
		fx_forget();
	}
}

static void test_ends(void **state)
{
	struct tf_reader t;
	u8 req[1600];
	u32 len;

	(void)state;
	/* n= */
	assert_int_equal(tf_open(&t, "/capture.pcapng", "n=3"), 0);
	for (u16 i = 0; i < 4; i++)
		ping(req, &len, i, 56);
	assert_int_equal(tf_read(&t, READ_MIN), 0);
	assert_int_equal(tf_read(&t, READ_MIN), 0);
	parse(&t);
	assert_int_equal(nr_shots, 3);
	assert_int_equal(nr_stats, 1);
	assert_true(received == 3 && dropped == 0);
	tf_close(&t);

	/* seconds= */
	assert_int_equal(tf_open(&t, "/capture.pcapng", "seconds=2"), 0);
	ping(req, &len, 1, 56);
	fake_time_advance(NSEC_PER_SEC);
	assert_int_equal(tf_read(&t, READ_MIN), -EAGAIN);
	t.woken = 0;
	fake_time_advance(NSEC_PER_SEC + 100000);
	assert_int_equal(t.woken, 1);
	assert_int_equal(tracing, 0);
	ping(req, &len, 2, 56);
	assert_int_equal(tf_read(&t, READ_MIN), 0);
	parse(&t);
	assert_int_equal(nr_shots, 2);
	assert_true(nr_stats == 1 && received == 2 && dropped == 0);
	tf_close(&t);

	/* The reader goes, with data waiting and half a block read. */
	assert_int_equal(tf_open(&t, "/capture.pcapng", "seconds=9"), 0);
	ping(req, &len, 1, 1400);
	{
		char piece[300];

		assert_int_equal(t.file->read(&t.r, piece, sizeof(piece)), sizeof(piece));
	}
	ping(req, &len, 2, 1400);
	tf_close(&t);
	assert_int_equal(tracing, 0);
	ping(req, &len, 3, 1400);
	/* The next one begins anew. */
	assert_int_equal(tf_open(&t, "/capture.pcapng", "n=1"), 0);
	ping(req, &len, 4, 60);
	assert_int_equal(tf_read(&t, READ_MIN), 0);
	parse(&t);
	assert_int_equal(nr_shots, 1);
	expect_frame(0, req, len, false);
	tf_close(&t);
}

/* The stream itself is never in it, from either end, in a frame or as the answer to one. */
static void test_own_port(void **state)
{
	struct fx_tcp own = {
		.sport = 5000, .dport = 4444, .seq = 1, .flags = 16, .data = "data", .data_len = 4
	};
	struct tf_reader t;
	u8 buf[200];
	u32 len;

	(void)state;
	trace_own_port = 4444;
	assert_int_equal(tf_open(&t, "/capture.pcapng", ""), 0);
	tf_rx(buf, fx_tcp(buf, &own)); /* answered by a reset */
	assert_int_equal(fx_nr_tx, 1);
	own.dport = 4445;
	tf_rx(buf, len = fx_tcp(buf, &own));
	assert_int_equal(fx_nr_tx, 2);
	assert_int_equal(tf_read(&t, READ_MIN), -EAGAIN);
	parse(&t);
	assert_int_equal(nr_shots, 2);
	expect_frame(0, buf, len, false);
	tf_close(&t);
	trace_own_port = 0;
}

/* A frame waits a little for the end of its journey, which then stands in its comment. */
static void test_comments(void **state)
{
	struct tf_reader t;
	u8 req[200];
	u32 len;

	(void)state;
	assert_int_equal(tf_open(&t, "/capture.pcapng", "journey=2&filter=icmp"), 0);
	fx_hold = true;
	ping(req, &len, 1, 56);
	assert_int_equal(tf_read(&t, READ_MIN), -EAGAIN);
	parse(&t);
	assert_int_equal(nr_shots, 0);
	fx_complete();
	fake_time_advance(30 * NSEC_PER_MSEC); /* looked for by a timer */
	assert_int_equal(tf_read(&t, READ_MIN), -EAGAIN);
	parse(&t);
	assert_int_equal(nr_shots, 2);
	for (u32 i = 0; i < 2; i++) {
		assert_memory_equal(shots[i].comment, "interrupt 0.0", 13);
		assert_non_null(strstr(shots[i].comment, " us to doorbell"));
	}
	/* One that is never done with: after 0.3 s it goes without. */
	ping(req, &len, 2, 56);
	fake_time_advance(200 * NSEC_PER_MSEC);
	assert_int_equal(tf_read(&t, READ_MIN), -EAGAIN);
	parse(&t);
	assert_int_equal(nr_shots, 2);
	fake_time_advance(150 * NSEC_PER_MSEC);
	assert_int_equal(tf_read(&t, READ_MIN), -EAGAIN);
	parse(&t);
	assert_int_equal(nr_shots, 4);
	assert_string_equal(shots[2].comment, "");
	/* Two were asked for. Once they are done, nothing is recorded any more. */
	fx_complete();
	assert_int_equal(tracing, TRACE_CAPTURE);
	ping(req, &len, 3, 56);
	assert_int_equal(tf_read(&t, READ_MIN), -EAGAIN);
	parse(&t);
	assert_int_equal(nr_shots, 6);
	assert_string_equal(shots[4].comment, "");
	fx_complete();
	tf_close(&t);
	fx_hold = false;
}

static void test_refusals(void **state)
{
	static const char *const wrong[] = { "n=0",        "snaplen=0", "snaplen=65551",
					     "seconds=0",  "journey=0", "journey=32768",
					     "filter=ipx", "filter=%",  "filter=port" };
	struct tf_reader a, b;

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(wrong); i++) {
		assert_int_equal(tf_open(&a, "/capture.pcapng", wrong[i]), -EINVAL);
		assert_true(*a.r.error);
	}
	assert_int_equal(tf_open(&a, "/capture.pcapng", ""), 0);
	assert_int_equal(tf_open(&b, "/capture.pcapng", ""), -EBUSY);
	assert_string_equal(b.r.error, "somebody else is capturing");
	tf_close(&a);
	for (u32 nth = 1; nth <= 2; nth++) {
		fake_alloc_fail_nth(nth);
		assert_int_equal(tf_open(&a, "/capture.pcapng", "journey=1"), -ENOMEM);
	}
	fake_alloc_fail_nth(0);
	fake_set_free_pages(127);
	assert_int_equal(tf_open(&a, "/capture.pcapng", ""), -ENOMEM);
	fake_set_free_pages(65536);
	assert_int_equal(tracing, 0);
	assert_int_equal(tf_open(&a, "/capture.pcapng", "journey=1"), 0);
	assert_int_equal(tf_open(&b, "/journey", ""), -EBUSY);
	tf_close(&a);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TF_TEST(test_both_directions),
		TF_TEST(test_wraps),
		TF_TEST(test_full),
		TF_TEST(test_every_end),
		TF_TEST(test_snaplen_and_filter),
		TF_TEST(test_ends),
		TF_TEST(test_own_port),
		TF_TEST(test_comments),
		TF_TEST(test_refusals),
	};

	return cmocka_run_group_tests(tests, tf_start, NULL);
}
