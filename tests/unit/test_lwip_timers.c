/* timers.c: each cyclic timer runs only while its table holds something. */
#include <string.h>

#include "tests/unit/test_lwip.h"

#include "kernel/time.h"
#include "net/lwip/glue.h"
#include "tests/fake/fake_kernel.h"

#include "lwip/timeouts.h"
#include "lwip/udp.h"

static u8 buf[2000];

static void test_idle_has_no_deadline(void **state)
{
	(void)state;
	fake_time_advance(400 * NSEC_PER_SEC);
	assert_int_equal(fake_timers_queued(), 0);
}

static void test_arp(void **state)
{
	u64 runs;

	(void)state;
	fx_learn_peer();
	assert_int_equal(fake_timers_queued(), 1);
	runs = fake_stat("timer_arp");
	fake_time_advance(100 * NSEC_PER_SEC); /* an entry lives for 300 s */
	assert_int_equal(fake_timers_queued(), 1);
	/* Every second while a request might be repeated, then every fifth. */
	assert_in_range(fake_stat("timer_arp") - runs, 20, 30);
	fake_time_advance(195 * NSEC_PER_SEC);
	assert_int_equal(fake_timers_queued(), 1);
	fake_time_advance(10 * NSEC_PER_SEC);
	assert_int_equal(fake_timers_queued(), 0);
}

/* A request while the timer sleeps through five seconds is repeated after one. */
static void test_arp_hurries(void **state)
{
	struct udp_pcb *pcb = udp_new();
	ip_addr_t nobody = IPADDR4_INIT_BYTES(10, 0, 2, 77);

	(void)state;
	fx_learn_peer();
	for (u32 round = 0; round < 10; round++) {
		struct pbuf *p = pbuf_alloc(PBUF_TRANSPORT, 10, PBUF_RAM);

		fake_time_advance(23500 * NSEC_PER_MSEC);
		fx_forget();
		memset(p->payload, 0, 10);
		assert_int_equal(udp_sendto(pcb, p, &nobody, 9), ERR_OK);
		pbuf_free(p);
		assert_int_equal(fx_nr_tx, 1);
		fake_time_advance(2500 * NSEC_PER_MSEC);
		assert_int_equal(fx_nr_tx, 3);
		fx_forget();
	}
	udp_remove(pcb);
	/* 260 s, of which at most 40 were lost: the peer's entry is gone in time. */
	assert_int_equal(fake_timers_queued(), 1);
	fake_time_advance(90 * NSEC_PER_SEC);
	assert_int_equal(fake_timers_queued(), 0);
}

static void test_reassembly(void **state)
{
	u8 data[64] = { 8 };
	u64 runs = fake_stat("timer_ip_reass");

	(void)state;
	fx_rx(buf, fx_ip4(buf, 1, 5, 0x2000, data, 64));
	assert_int_equal(fx_rx_out, 1);
	assert_int_equal(fake_timers_queued(), 1);
	fake_time_advance(20 * NSEC_PER_SEC);
	assert_int_equal(fx_rx_out, 0); /* timed out */
	assert_in_range(fake_stat("timer_ip_reass") - runs, 15, 18);
	fx_forget();
	fake_time_advance(10 * NSEC_PER_SEC);
	runs = fake_stat("timer_ip_reass");
	fake_time_advance(10 * NSEC_PER_SEC);
	assert_int_equal(fake_stat("timer_ip_reass"), runs);
}

static void test_ipv6_reassembly(void **state)
{
	u8 frag[72] = { 17, 0, 0, 1, 0, 0, 0, 9, 0, 7, 0, 7, 0, 100 };
	u64 runs = fake_stat("timer_ip6_reass");

	(void)state;
	fx_rx(buf, fx_ip6(buf, 44, frag, sizeof(frag)));
	assert_int_equal(fx_rx_out, 1);
	fake_time_advance(70 * NSEC_PER_SEC);
	assert_int_equal(fx_rx_out, 0);
	assert_in_range(fake_stat("timer_ip6_reass") - runs, 10, 70);
}

static u32 order[8], fired;

static void fire(void *arg)
{
	order[fired++] = (u32)(uintptr_t)arg;
}

static void again(void *arg)
{
	fired++;
	if (fired < 5)
		sys_timeout(100, again, arg);
}

static void test_sys_timeout(void **state)
{
	(void)state;
	fired = 0;
	sys_timeout(300, fire, (void *)3);
	sys_timeout(100, fire, (void *)1);
	sys_timeout(200, fire, (void *)2);
	sys_timeout(100, fire, (void *)4); /* same time: in the order of the calls */
	sys_timeout(250, fire, (void *)5);
	sys_untimeout(fire, (void *)5);
	sys_untimeout(fire, (void *)6);
	fake_time_advance(99 * NSEC_PER_MSEC);
	assert_int_equal(fired, 0);
	fake_time_advance(NSEC_PER_MSEC);
	assert_int_equal(fired, 2);
	fake_time_advance(NSEC_PER_SEC);
	assert_memory_equal(order, ((u32[]){ 1, 4, 2, 3 }), 16);
	assert_int_equal(fired, 4);
	assert_int_equal(fake_timers_queued(), 0);

	fired = 0;
	sys_timeout(100, again, NULL);
	fake_time_advance(499 * NSEC_PER_MSEC);
	assert_int_equal(fired, 4);
	fake_time_advance(NSEC_PER_SEC);
	assert_int_equal(fired, 5);
}

static void test_timeouts_are_bounded(void **state)
{
	(void)state;
	fired = 0;
	for (u32 i = 0; i < 300; i++)
		sys_timeout(1000, again, &order[i % 8]);
	for (u32 i = 0; i < 300; i++)
		sys_untimeout(again, &order[i % 8]);
	fake_time_advance(2 * NSEC_PER_SEC);
	assert_int_equal(fired, 0);
}

int run_timer_tests(void)
{
	static const struct CMUnitTest tests[] = {
		FX_TEST(test_idle_has_no_deadline), FX_TEST(test_arp),
		FX_TEST(test_arp_hurries),          FX_TEST(test_reassembly),
		FX_TEST(test_ipv6_reassembly),      FX_TEST(test_sys_timeout),
		FX_TEST(test_timeouts_are_bounded),
	};

	return cmocka_run_group_tests_name("timers", tests, NULL, NULL);
}
