/* net/journey.c and its files, on the real way of a packet from napi_poll() to the ring and back.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/test.h"
#include "tests/unit/trace_fixture.h"

#include "kernel/lib/errno.h"
#include "kernel/time.h"
#include "kernel/trace.h"
#include "net/journey.h"
#include "net/lwip/glue.h"
#include "tests/fake/fake_kernel.h"

#include "lwip/udp.h"

#define TF_TEST(t) cmocka_unit_test_setup_teardown(t, tf_begin, tf_end)
#define READ_MIN 2048 /* what debugfs.h promises a read() */

static const struct pkt_filter everything;
static u32 done_calls;

static void done(void *ctx)
{
	(void)ctx;
	done_calls++;
}

static void begin_session(u32 n)
{
	done_calls = 0;
	assert_int_equal(journey_start(n, &everything, done, NULL), 0);
}

static u32 echo(u8 *buf, u16 seq)
{
	return fx_icmp_echo(buf, seq, 56);
}

static void rx_echo(u16 seq)
{
	u8 buf[200];

	tf_rx(buf, echo(buf, seq));
}

/* It came by exactly these stages, in this order. */
static void expect_stages(const struct journey *j, const char *names)
{
	char got[200] = "";
	u64 last = 0;

	for (int i = 0; i < NR_JOURNEY_STAGES; i++) {
		if (!j->cycles[i])
			continue;
		strcat(strcat(got, *got ? " " : ""), journey_name[i]);
		assert_true(j->cycles[i] > last);
		last = j->cycles[i];
	}
	assert_string_equal(got, names);
}

#define RX "interrupt softirq poll gro input"
#define TX "queue ring doorbell"

/* ---- ways ---- */

static void test_echo(void **state)
{
	const struct journey *j;

	(void)state;
	begin_session(2);
	fx_hold = true;
	rx_echo(1);
	j = journey_get(0);
	assert_int_equal(journey_started(), 1);
	assert_int_equal(journey_finished(), 0);
	expect_stages(j, RX " " TX);
	assert_int_equal(j->flags, JOURNEY_SENT);
	assert_int_equal(j->len, 98);
	assert_true(j->end > j->cycles[JOURNEY_DOORBELL]);
	fx_complete();
	expect_stages(j, RX " " TX " complete");
	assert_int_equal(j->flags, JOURNEY_SENT | JOURNEY_DONE);
	assert_int_equal(journey_finished(), 1);
	assert_int_equal(done_calls, 0);
	rx_echo(2);
	fx_complete();
	assert_int_equal(done_calls, 1);
	/* Enough: nothing more is recorded, and no memory behind the records touched. */
	rx_echo(3);
	assert_int_equal(journey_started(), 2);
	journey_release();
}

static u64 app_takes;
static u32 app_answers;

static void send_udp(struct udp_pcb *pcb, const ip_addr_t *addr, u16_t port)
{
	struct pbuf *p = pbuf_alloc(PBUF_TRANSPORT, 32, PBUF_RAM);

	memset(p->payload, 0, 32);
	assert_int_equal(udp_sendto(pcb, p, addr, port), ERR_OK);
	pbuf_free(p);
}

static void app(void *arg, struct udp_pcb *pcb, struct pbuf *p, const ip_addr_t *addr, u16_t port)
{
	(void)arg;
	fake_time_set(ktime_get() + app_takes);
	pbuf_free(p);
	for (u32 i = 0; i < app_answers; i++)
		send_udp(pcb, addr, port);
}

static struct udp_pcb *listen_udp(u16 port, u32 answers)
{
	struct udp_pcb *pcb = udp_new();

	assert_int_equal(udp_bind(pcb, IP_ANY_TYPE, port), ERR_OK);
	udp_recv(pcb, app, NULL);
	app_answers = answers;
	app_takes = 0;
	return pcb;
}

static void rx_udp(u16 dport)
{
	u8 buf[200];

	tf_rx(buf, tf_udp(buf, 4000, dport, 40));
}

static void test_app(void **state)
{
	struct udp_pcb *pcb = listen_udp(99, 0);

	(void)state;
	begin_session(10);
	/* Nobody answers: over when the stack is. */
	rx_udp(99);
	expect_stages(journey_get(0), RX " app");
	assert_int_equal(journey_get(0)->flags, JOURNEY_DONE);
	/* Two answers: the first is this packet's, the second a journey of its own. */
	app_answers = 2;
	rx_udp(99);
	expect_stages(journey_get(1), RX " app " TX " complete");
	expect_stages(journey_get(2), TX " complete");
	assert_int_equal(journey_get(2)->flags, JOURNEY_SENT | JOURNEY_TX_ONLY | JOURNEY_DONE);
	assert_int_equal(journey_started(), 3);
	assert_int_equal(journey_finished(), 3);
	journey_release();
	udp_remove(pcb);
}

static void test_sent_of_our_own_accord(void **state)
{
	static const struct pkt_filter port_9 = { .port = 9 };
	ip_addr_t peer = IPADDR4_INIT(__builtin_bswap32(PEER_IP));
	struct udp_pcb *pcb = udp_new();

	(void)state;
	assert_int_equal(journey_start(3, &port_9, done, NULL), 0);
	send_udp(pcb, &peer, 10); /* does not match */
	assert_int_equal(journey_started(), 0);
	send_udp(pcb, &peer, 9);
	assert_int_equal(journey_started(), 1);
	expect_stages(journey_get(0), TX " complete");
	/* The asker's own. */
	trace_own_port = 9;
	send_udp(pcb, &peer, 9);
	assert_int_equal(journey_started(), 2); /* but that is TCP's port */
	trace_blind = true;
	send_udp(pcb, &peer, 9);
	trace_blind = false;
	assert_int_equal(journey_started(), 2);
	trace_own_port = 0;
	journey_release();
	udp_remove(pcb);
}

static void queue_tcp(u16 dport, u32 seq, u32 len)
{
	static const u8 data[1000];
	u8 buf[2000];

	tf_queue(buf, fx_tcp(buf, &(struct fx_tcp){ .sport = 5000,
						    .dport = dport,
						    .seq = seq,
						    .ip_id = (u16)(1 + seq / len),
						    .flags = 16,
						    .data = data,
						    .data_len = len }));
}

/* Three segments in one poll become one, which the stack answers with a reset. */
static void test_merged(void **state)
{
	(void)state;
	begin_session(10);
	for (u32 i = 0; i < 3; i++)
		queue_tcp(4321, i * 1000, 1000);
	tf_interrupt();
	assert_int_equal(journey_started(), 3);
	assert_int_equal(journey_finished(), 3);
	expect_stages(journey_get(0), RX " " TX " complete");
	assert_int_equal(journey_get(0)->merged, 2);
	for (u32 i = 1; i < 3; i++) {
		expect_stages(journey_get(i), "interrupt softirq poll gro");
		assert_int_equal(journey_get(i)->flags, JOURNEY_MERGED | JOURNEY_DONE);
	}
	journey_release();
}

/* Of a poll's frames all share the stamps of its beginning; a later poll without an interrupt has
 * none. */
static void test_batch(void **state)
{
	u8 buf[200];

	(void)state;
	begin_session(200);
	for (u32 i = 0; i < NAPI_POLL_WEIGHT + 6; i++)
		tf_queue(buf, echo(buf, (u16)i));
	tf_interrupt();
	assert_int_equal(journey_finished(), NAPI_POLL_WEIGHT + 6);
	for (u32 i = 0; i < NAPI_POLL_WEIGHT; i++) {
		expect_stages(journey_get(i), RX " " TX " complete");
		assert_int_equal(journey_get(i)->cycles[JOURNEY_POLL],
				 journey_get(0)->cycles[JOURNEY_POLL]);
	}
	for (u32 i = NAPI_POLL_WEIGHT; i < NAPI_POLL_WEIGHT + 6; i++)
		expect_stages(journey_get(i), "poll gro input " TX " complete");
	journey_release();
}

/* An interrupt that comes while the softirq runs already is not the one that began it. */
static void test_late_interrupt(void **state)
{
	u8 buf[200];

	(void)state;
	begin_session(1);
	tf_queue(buf, echo(buf, 1));
	trace_softirq();
	trace_irq();
	trace_softirq_cycles -= 10;
	tf_interrupt();
	expect_stages(journey_get(0), RX " " TX " complete");
	journey_release();

	begin_session(1);
	trace_softirq_cycles = ktime_get() + 1;
	trace_irq_cycles = ktime_get() + 2;
	fake_time_set(ktime_get() + 10);
	fx_gro_rx(buf, echo(buf, 2));
	fx_gro_flush();
	assert_int_equal(journey_get(0)->cycles[JOURNEY_INTERRUPT], 0);
	assert_int_not_equal(journey_get(0)->cycles[JOURNEY_SOFTIRQ], 0);
	journey_release();
}

/* ---- ends ---- */

static void test_dropped(void **state)
{
	u8 buf[200];
	u32 len;

	(void)state;
	begin_session(10);
	/* For another MAC address. */
	len = echo(buf, 1);
	buf[5] ^= 1;
	tf_rx(buf, len);
	assert_int_equal(journey_get(0)->flags, JOURNEY_DROPPED | JOURNEY_DONE);
	expect_stages(journey_get(0), "interrupt softirq poll gro");
	/* Malformed. */
	len = echo(buf, 1);
	buf[14] = 0x44;
	tf_rx(buf, len);
	assert_int_equal(journey_get(1)->flags, JOURNEY_DROPPED | JOURNEY_DONE);
	/* No carrier for the answer. */
	fx_dev.carrier = false;
	rx_echo(1);
	fx_dev.carrier = true;
	assert_int_equal(journey_get(2)->flags, JOURNEY_SENT | JOURNEY_DROPPED | JOURNEY_DONE);
	expect_stages(journey_get(2), RX " queue");
	/* A stack that is not there. */
	fx_dev.rx_handler_data = NULL;
	rx_echo(1);
	fx_dev.rx_handler_data = &lwip_netif;
	assert_int_equal(journey_get(3)->flags, JOURNEY_DROPPED | JOURNEY_DONE);
	assert_int_equal(journey_finished(), 4);
	journey_release();
}

/* What a session left in packets means nothing to the next, however many there were between. */
static void test_stale_packets(void **state)
{
	(void)state;
	fx_hold = true;
	begin_session(8);
	for (u16 i = 0; i < 8; i++)
		rx_echo(i);
	journey_release();
	assert_int_equal(tracing, 0);

	begin_session(1);
	fx_complete();
	assert_int_equal(journey_finished(), 0);
	rx_echo(9);
	assert_int_equal(journey_started(), 1);
	journey_release();

	/* The numbers come round: packets of record 0 to 7, and a session of one record. */
	fx_forget();
	begin_session(8);
	for (u16 i = 0; i < 8; i++)
		rx_echo(i);
	for (u32 i = 0; i < 65535; i++) {
		journey_release();
		begin_session(1);
	}
	fx_complete();
	assert_int_equal(journey_finished(), 0);
	journey_release();
	fx_hold = false;
}

/* The first frame of a session that began in the middle of a poll has no beginning: not that of an
 * earlier session. */
static void test_begun_in_a_poll(void **state)
{
	(void)state;
	begin_session(1);
	rx_echo(1);
	journey_release();
	fake_time_set(ktime_get() + 1000 * NSEC_PER_SEC);
	begin_session(1);
	{
		u8 buf[200];

		fx_gro_rx(buf, echo(buf, 2));
		fx_gro_flush();
	}
	expect_stages(journey_get(0), "gro input " TX " complete");
	journey_release();
}

/* ---- files: who may ----  */

static void test_refusals(void **state)
{
	static const char *const wrong[] = { "n=0",       "n=32768",     "n=x",
					     "seconds=0", "seconds=601", "match=ipx",
					     "match=%zz", "match=port",  "n=1&match=tcp+udp" };
	struct tf_reader a, b;

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(wrong); i++) {
		assert_int_equal(tf_open(&a, "/journey", wrong[i]), -EINVAL);
		assert_true(*a.r.error);
	}
	assert_int_equal(tf_open(&a, "/journey", ""), 0);
	assert_int_equal(tf_open(&b, "/journey", ""), -EBUSY);
	assert_string_equal(b.r.error, "journeys are being recorded for somebody else");
	assert_int_equal(tf_open(&b, "/journey.json", ""), -EBUSY);
	assert_int_equal(tf_open(&b, "/journey/histogram", ""), -EBUSY);
	assert_int_equal(tf_open(&b, "/capture.pcapng", "journey=1"), -EBUSY);
	assert_int_equal(tracing, TRACE_JOURNEY);
	tf_close(&a);
	for (u32 nth = 1; nth <= 2; nth++) {
		fake_alloc_fail_nth(nth);
		assert_int_equal(tf_open(&a, "/journey", "n=9"), -ENOMEM);
		assert_int_equal(tracing, 0);
	}
	assert_string_equal(a.r.error, "no memory for 9 records");
	assert_int_equal(tf_open(&a, "/journey", ""), 0);
	tf_close(&a);
}

static void test_deadline(void **state)
{
	struct tf_reader t;

	(void)state;
	assert_int_equal(tf_open(&t, "/journey", "n=5&seconds=2&match=tcp"), 0);
	assert_int_equal(tf_read(&t, READ_MIN), -EAGAIN);
	rx_udp(1);
	fake_time_advance(2 * NSEC_PER_SEC - 100000);
	assert_int_equal(t.woken, 0);
	fake_time_advance(100000);
	assert_int_equal(t.woken, 1);
	assert_int_equal(tf_read(&t, READ_MIN), 0);
	assert_non_null(strstr(t.text, "# 0 of 5 packets, match tcp; 0 lost\n"));
	tf_close(&t);

	/* One that has begun has another second. */
	fx_hold = true;
	assert_int_equal(tf_open(&t, "/journey", "n=5&seconds=2"), 0);
	rx_echo(1);
	fake_time_advance(2 * NSEC_PER_SEC + 100000);
	assert_int_equal(t.woken, 0);
	fake_time_advance(NSEC_PER_SEC);
	assert_int_equal(t.woken, 1);
	assert_int_equal(tf_read(&t, READ_MIN), 0);
	assert_non_null(strstr(t.text, "# 1 of 5 packets; 1 lost\n"));
	assert_non_null(strstr(t.text, ", not finished"));
	tf_close(&t);
}

/* ---- files: what they say ---- */

static void test_text(void **state)
{
	static const char want[] =
		"# tracer: function_graph\n"
		"#\n"
		"# 2 of 2 packets, match icmp; 0 lost\n"
		"#\n"
		"# CPU  DURATION                  FUNCTION CALLS\n"
		"# |     |   |                     |   |   |   |\n"
		"\n"
		" /* 1: ICMP 10.0.2.1 > 10.0.2.2, 98 bytes, at 5000.000000010 s */\n"
		" /* interrupt 0.010 + softirq 0.010 + poll 0.010 + gro 0.010 + input 0.010"
		" + queue 0.010 + ring 0.010 = 0.070 us to doorbell */\n"
		" 0)               |  common_interrupt() {\n"
		" 0)               |    net_rx_action() {\n"
		" 0)               |      napi_poll() {\n"
		" 0)               |        napi_gro_receive() {\n"
		" 0)               |          lwip_input() {\n"
		" 0)               |            dev_queue_xmit() {\n"
		" 0)               |              start_xmit() {\n"
		" 0)   0.010 us    |                virtqueue_kick();\n"
		" 0)   0.020 us    |              } /* start_xmit */\n"
		" 0)   0.030 us    |            } /* dev_queue_xmit */\n"
		" 0)   0.040 us    |          } /* lwip_input */\n"
		" 0)   0.050 us    |        } /* napi_gro_receive */\n"
		" 0)   0.060 us    |      } /* napi_poll */\n"
		" 0)   0.070 us    |    } /* net_rx_action */\n"
		" 0)   0.080 us    |  } /* common_interrupt */\n"
		" 0)               |  /* free_old_xmit: 123.467 us after virtqueue_kick */\n"
		"\n"
		" /* 2: ICMP 10.0.2.1 > 10.0.2.2, 98 bytes, at 5000.000123590 s */\n"
		" /* interrupt 20000.000 + softirq 20000.000 + poll 20000.000 + gro 20000.000"
		" + input 20000.000 + queue 20000.000 + ring 20000.000 = 140000.000 us to doorbell */\n"
		" 0)               |  common_interrupt() {\n"
		" 0)               |    net_rx_action() {\n"
		" 0)               |      napi_poll() {\n"
		" 0)               |        napi_gro_receive() {\n"
		" 0)               |          lwip_input() {\n"
		" 0)               |            dev_queue_xmit() {\n"
		" 0)               |              start_xmit() {\n"
		" 0) * 20000.00 us |                virtqueue_kick();\n"
		" 0) * 40000.00 us |              } /* start_xmit */\n"
		" 0) * 60000.00 us |            } /* dev_queue_xmit */\n"
		" 0) * 80000.00 us |          } /* lwip_input */\n"
		" 0) * 100000.0 us |        } /* napi_gro_receive */\n"
		" 0) @ 120000.0 us |      } /* napi_poll */\n"
		" 0) @ 140000.0 us |    } /* net_rx_action */\n"
		" 0) @ 160000.0 us |  } /* common_interrupt */\n"
		" 0)               |  /* free_old_xmit: 40000.000 us after virtqueue_kick */\n";
	struct tf_reader t;

	(void)state;
	fake_time_advance(5000 * NSEC_PER_SEC - ktime_get());
	fx_learn_peer();
	fx_forget();
	fake_time_set(5000 * NSEC_PER_SEC);
	assert_int_equal(tf_open(&t, "/journey", "n=2&match=icmp"), 0);
	fx_hold = true;
	rx_echo(1);
	fake_time_set(ktime_get() + 123447);
	fx_complete();
	fake_time_set(5000 * NSEC_PER_SEC + 123570);
	fake_cycles_step = 20 * NSEC_PER_MSEC;
	fake_time_set(5000 * NSEC_PER_SEC + 123590 - fake_cycles_step);
	rx_echo(2);
	fx_complete();
	assert_int_equal(t.woken, 1);
	assert_int_equal(tf_read(&t, READ_MIN), 0);
	assert_string_equal(t.text, want);
	tf_close(&t);
}

/* The longest record there can be fits into the smallest read(), and no byte depends on the reads'
 * sizes. */
static void test_longest_records(void **state)
{
	static const char *const paths[] = { "/journey", "/journey.json", "/journey/histogram" };
	static const u8 src[16] = {
		0xfe, 0x80, [8] = 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff
	};
	u8 udp[60] = { 0xff, 0xff, 0xff, 0xfe, 0, 60 }, buf[200];
	struct udp_pcb *pcb = udp_new_ip_type(IPADDR_TYPE_ANY);
	struct tf_reader t;
	char *first = NULL;
	u32 len, pseudo;

	(void)state;
	udp_bind(pcb, IP_ANY_TYPE, 65534);
	udp_recv(pcb, app, NULL);
	app_answers = 1;
	app_takes = 0;
	len = fx_ip6(buf, 17, udp, sizeof(udp));
	memcpy(buf + 22, src, 16);
	pseudo = 17 + 60;
	for (u32 i = 22; i < 54; i += 2)
		pseudo += (u32)buf[i] << 8 | buf[i + 1];
	pseudo = fx_sum(udp, sizeof(udp), pseudo);
	buf[60] = (u8)(pseudo >> 8);
	buf[61] = (u8)pseudo;
	for (u32 i = 0; i < ARRAY_SIZE(paths); i++) {
		for (u32 pass = 0; pass < 3; pass++) {
			size_t size = pass == 0 ? READ_MIN : pass == 1 ? READ_MIN + 505 : 65536;
			struct journey *j;

			assert_int_equal(tf_open(&t, paths[i], "n=3&seconds=600"), 0);
			tf_rx(buf, len);
			while (journey_started() < 3)
				rx_echo(1);
			/* By every stage, nine years each. */
			for (u32 k = 0; k < 3 * NR_JOURNEY_STAGES; k++) {
				j = (struct journey *)(uintptr_t)journey_get(k / NR_JOURNEY_STAGES);
				j->cycles[k % NR_JOURNEY_STAGES] =
					(1ull << 63) + ((u64)(k % NR_JOURNEY_STAGES) << 58);
				j->end = j->cycles[JOURNEY_DOORBELL] + 1;
				j->len = j->merged = 65535;
				j->flags |= JOURNEY_SENT;
			}
			assert_int_equal(tf_read(&t, size), 0);
			if (i == 0)
				assert_non_null(strstr(t.text, "/* 3: ICMP"));
			if (i == 1)
				assert_string_equal(t.text + t.len - 5, "}\n]}\n");
			if (pass == 0)
				first = strdup(t.text);
			else
				assert_string_equal(t.text, first);
			tf_close(&t);
			fx_forget();
		}
		free(first);
	}
	udp_remove(pcb);
}

static int compare(const void *a, const void *b)
{
	return *(const u32 *)a < *(const u32 *)b ? -1 : *(const u32 *)a > *(const u32 *)b;
}

/* Against sorting: the application takes a different time for each packet. */
static void test_percentiles(void **state)
{
	static const u32 sizes[] = { 1, 2, 3, 4, 5, 10, 99, 100, 101, 257, 1000 };
	struct udp_pcb *pcb = listen_udp(99, 1);

	(void)state;
	for (u32 round = 0; round < 4 * ARRAY_SIZE(sizes); round++) {
		u32 n = sizes[round / 4], kind = round % 4, v[1000], seed = round + 1;
		char query[32], want[100];
		struct tf_reader t;

		sprintf(query, "n=%u&match=udp", n);
		assert_int_equal(tf_open(&t, "/journey/histogram", query), 0);
		for (u32 i = 0; i < n; i++) {
			seed = seed * 1103515245 + 12345;
			/* Any, few different, all the same, ascending. */
			v[i] = kind == 0 ? seed >> 8 : kind == 1 ? seed >> 30 : kind == 2 ? 7 : i;
			app_takes = v[i];
			v[i] += 10;
			rx_udp(99);
			fx_forget();
		}
		assert_int_equal(t.woken, 1);
		assert_int_equal(tf_read(&t, READ_MIN), 0);
		qsort(v, n, sizeof(v[0]), compare);
		sprintf(want, "\napp        %8u %10u %10u %10u\n", n, v[n / 2],
			v[min(n * 99 / 100, n - 1)], v[n - 1]);
		assert_non_null(strstr(t.text, want));
		sprintf(want, "# %u of %u packets; 0 lost; ", n, n);
		assert_memory_equal(t.text, want, strlen(want));
		assert_non_null(
			strstr(t.text, "\nstage         count        p50        p99        max\n"));
		/* The last stage of all has nothing behind it. */
		assert_non_null(
			strstr(t.text, "\ncomplete          0          -          -          -\n"));
		tf_close(&t);
	}
	udp_remove(pcb);
}

/* The asker goes while packets are out, and while nothing has come yet. */
static void test_release_in_flight(void **state)
{
	struct tf_reader t;

	(void)state;
	fx_hold = true;
	assert_int_equal(tf_open(&t, "/journey", "n=3"), 0);
	rx_echo(1);
	rx_echo(2);
	tf_close(&t);
	assert_int_equal(tracing, 0);
	assert_int_equal(tf_open(&t, "/journey", "n=3"), 0);
	fx_complete();
	rx_echo(3);
	assert_int_equal(journey_started(), 1);
	assert_int_equal(journey_finished(), 0);
	tf_close(&t);
	fx_complete();
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TF_TEST(test_echo),
		TF_TEST(test_app),
		TF_TEST(test_sent_of_our_own_accord),
		TF_TEST(test_merged),
		TF_TEST(test_batch),
		TF_TEST(test_late_interrupt),
		TF_TEST(test_dropped),
		TF_TEST(test_stale_packets),
		TF_TEST(test_begun_in_a_poll),
		TF_TEST(test_refusals),
		TF_TEST(test_deadline),
		TF_TEST(test_text),
		TF_TEST(test_longest_records),
		TF_TEST(test_percentiles),
		TF_TEST(test_release_in_flight),
	};

	return cmocka_run_group_tests(tests, tf_start, NULL);
}
