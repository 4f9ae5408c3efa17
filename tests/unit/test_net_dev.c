/*
 * net/: NAPI and its bounds, delivery, the transmit queue in front of a driver that is a few lines
 * here, packets and their pools.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernel/irq.h"
#include "kernel/lib/errno.h"
#include "kernel/softirq.h"
#include "kernel/time.h"
#include "kernel/x86/irqflags.h"
#include "net/netdevice.h"
#include "tests/fake/fake_kernel.h"

/* ---- a driver ---- */

static struct net_device dev; /* registered once: eth0 */
static unsigned int room;     /* packets that the ring still takes */
static struct {
	struct pkt_buf *pkt;
	bool more;
} ring[4096];
static unsigned int nr_ring;
static int open_result;

static int drv_open(struct net_device *d)
{
	(void)d;
	return open_result;
}

static netdev_tx_t drv_xmit(struct pkt_buf *pkt, struct net_device *d)
{
	if (room == 0) {
		netif_tx_stop_queue(d);
		return NETDEV_TX_BUSY;
	}
	room--;
	ring[nr_ring].pkt = pkt;
	ring[nr_ring++].more = netdev_xmit_more();
	return NETDEV_TX_OK;
}

static const struct net_device_ops drv_ops = { .ndo_open = drv_open, .ndo_start_xmit = drv_xmit };

/* ---- a stack ---- */

static unsigned int received, added, carriers, notified;
static bool answers; /* each frame with one of its own */

static struct pkt_buf *packet(u32 len);

static void stack_receive(struct pkt_buf *pkt)
{
	received++;
	pkt_free(pkt);
	if (answers)
		assert_int_equal(dev_queue_xmit(packet(60)), 0);
}

static void stack_added(struct net_device *d)
{
	(void)d;
	added++;
}

static void stack_carrier(struct net_device *d)
{
	(void)d;
	carriers++;
}

static void stack_notify_peers(struct net_device *d)
{
	assert_true(netif_carrier_ok(d));
	notified++;
}

static const struct net_stack_ops stack = { stack_added, stack_receive, stack_carrier,
					    stack_notify_peers };

/* ---- packets ---- */

static u8 data[2000];

static struct pkt_buf *packet(u32 len)
{
	struct pkt_buf *pkt = pkt_alloc_tx();

	assert_non_null(pkt);
	pkt->dev = &dev;
	pkt->frags[pkt->nr_frags++] = (struct pkt_frag){ data, len };
	pkt->len = len;
	return pkt;
}

static void complete_all(void)
{
	while (nr_ring)
		pkt_free(ring[--nr_ring].pkt);
}

static int setup(void **state)
{
	(void)state;
	fake_kernel_reset();
	received = added = carriers = notified = 0;
	room = 4000;
	memset(&dev.stats, 0, sizeof(dev.stats));
	dev.tx_stopped = false;
	dev.carrier = true;
	netdev_set_stack(&stack);
	added = 0;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	room = 4000;
	netif_tx_wake_queue(&dev);
	do_softirq();
	complete_all();
	assert_int_equal(dev.qdisc.qlen, 0);
	assert_int_equal(fake_stat("pkt_tx"), 0);
	assert_int_equal(fake_warnings(), 0);
	return 0;
}

/* ---- NAPI ---- */

struct poller {
	struct napi_struct napi;
	int waiting; /* packets */
	unsigned int polls;
	u64 takes; /* ns of each poll */
	void (*during)(struct poller *p);
};

static int poll(struct napi_struct *napi, int budget)
{
	struct poller *p = container_of(napi, struct poller, napi);
	int work = min(budget, p->waiting);

	assert_true(in_softirq());
	assert_false(irqs_disabled());
	p->polls++;
	p->waiting -= work;
	fake_time_set(ktime_get() + p->takes);
	if (p->during)
		p->during(p);
	if (work < budget)
		napi_complete_done(napi, work);
	return work;
}

static void start(struct poller *p, int waiting)
{
	*p = (struct poller){ .waiting = waiting };
	netif_napi_add(&dev, &p->napi, poll, NAPI_POLL_WEIGHT);
	napi_schedule(&p->napi);
}

static void test_napi_one_poll(void **state)
{
	struct poller p;

	(void)state;
	start(&p, 5);
	napi_schedule(&p.napi);
	assert_true(local_softirq_pending());
	assert_int_equal(p.polls, 0);
	do_softirq();
	/* Twice scheduled: polled, and looked at once more. */
	assert_int_equal(p.polls, 2);
	do_softirq();
	assert_int_equal(p.polls, 2);
	assert_int_equal(p.napi.state, 0);
	assert_true(napi_schedule_prep(&p.napi));
	assert_false(napi_schedule_prep(&p.napi));
}

static void test_napi_exact_weight(void **state)
{
	struct poller p;

	(void)state;
	start(&p, NAPI_POLL_WEIGHT);
	do_softirq();
	assert_int_equal(p.polls, 2); /* a full poll may have left something */
	assert_int_equal(p.napi.state, 0);
}

/* A flood: 300 packets a turn, 10 turns a do_softirq(), and then the task runs. */
static void test_napi_budget(void **state)
{
	u64 squeezed = fake_stat("net_rx_time_squeeze");
	struct poller p;

	(void)state;
	start(&p, 1000000);
	do_softirq();
	assert_int_equal(p.polls, 10 * DIV_ROUND_UP(300, NAPI_POLL_WEIGHT));
	assert_true(local_softirq_pending());
	assert_int_equal(fake_stat("net_rx_time_squeeze"), squeezed + 10);
	p.waiting = 0;
	do_softirq();
	assert_false(local_softirq_pending());
	assert_int_equal(p.napi.state, 0);
}

/* A driver that reschedules itself with nothing to show for it is bounded, too. */
static void schedule_again(struct poller *p)
{
	napi_schedule(&p->napi);
}

static void test_napi_always_missed(void **state)
{
	struct poller p;

	(void)state;
	start(&p, 0);
	p.during = schedule_again;
	do_softirq();
	assert_int_equal(p.polls, 10 * 300);
	assert_true(local_softirq_pending());
	p.during = NULL;
	do_softirq();
	assert_false(local_softirq_pending());
}

static void test_napi_time(void **state)
{
	struct poller p;

	(void)state;
	start(&p, 1000000);
	p.takes = NSEC_PER_MSEC;
	local_bh_disable();
	local_bh_enable();
	/* Asked after the first poll, 2 ms from there: three polls a turn. */
	assert_int_equal(p.polls, 10 * 3);
	p.waiting = 0;
	do_softirq();
}

static void test_napi_fair(void **state)
{
	struct poller a, b;

	(void)state;
	start(&a, 64 * 5);
	start(&b, 64 * 5);
	while (local_softirq_pending()) {
		do_softirq();
		assert_true(abs((int)a.polls - (int)b.polls) <= 1);
	}
	assert_int_equal(a.waiting + b.waiting, 0);
}

/* The interrupt that comes while its NAPI is being polled is not lost. */
static int irq_napi;
static struct poller *irq_poller;

static irqreturn_t on_irq(int irq, void *dev_id)
{
	(void)irq;
	(void)dev_id;
	irq_poller->waiting = 3;
	napi_schedule(&irq_poller->napi);
	return IRQ_HANDLED;
}

static void interrupted(struct poller *p)
{
	p->during = NULL;
	fake_irq_raise(irq_napi);
}

static void test_napi_interrupted(void **state)
{
	struct msi_msg msg;
	struct poller p;

	(void)state;
	irq_napi = irq_alloc_msi(&msg);
	irq_poller = &p;
	assert_int_equal(request_irq(irq_napi, on_irq, 0, "test", &p), 0);
	start(&p, 5);
	p.during = interrupted;
	do_softirq();
	assert_int_equal(p.polls, 2);
	assert_int_equal(p.waiting, 0);
	assert_int_equal(p.napi.state, 0);
	free_irq(irq_napi, &p);
	irq_free_msi(irq_napi);
}

/* ---- receive ---- */

static void test_receive(void **state)
{
	struct pkt_pool pool;
	struct pkt_buf *pkt;

	(void)state;
	assert_int_equal(pkt_pool_init(&pool, "t", 1518, 4), 0);
	for (unsigned int i = 0; i < 3; i++) {
		pkt = pkt_alloc_rx(&pool);
		pkt->dev = &dev;
		pkt->len = 60;
		if (i == 2)
			netdev_set_stack(NULL);
		netif_receive_pkt(pkt);
	}
	assert_int_equal(received, 2);
	assert_int_equal(dev.stats.rx_packets, 3);
	assert_int_equal(dev.stats.rx_bytes, 180);
	assert_int_equal(dev.stats.rx_dropped_no_stack, 1);
	pkt_pool_exit(&pool);
}

/* ---- transmit ---- */

static void test_direct(void **state)
{
	(void)state;
	assert_int_equal(dev_queue_xmit(packet(60)), 0);
	assert_int_equal(nr_ring, 1);
	assert_false(ring[0].more);
	assert_int_equal(dev.stats.tx_packets, 1);
	assert_int_equal(dev.stats.tx_bytes, 60);
	assert_false(local_softirq_pending());
}

static void test_refusals(void **state)
{
	(void)state;
	dev.mtu = 100;
	assert_int_equal(dev_queue_xmit(packet(114)), 0);
	assert_int_equal(dev_queue_xmit(packet(115)), -EMSGSIZE);
	assert_int_equal(dev.stats.tx_dropped_too_long, 1);
	dev.mtu = 1500;
	netif_carrier_off(&dev);
	assert_int_equal(dev_queue_xmit(packet(60)), -EIO);
	assert_int_equal(dev.stats.tx_dropped_down, 1);
	netdev_notify_peers(&dev); /* nobody hears it */
	assert_int_equal(notified, 0);
	netif_carrier_on(&dev);
	netdev_notify_peers(&dev);
	assert_int_equal(notified, 1);
	assert_int_equal(carriers, 2);
	assert_int_equal(nr_ring, 1);
}

/* Full ring: queue in order, up to the limit; BUSY puts the packet back to the head. */
static void test_queue(void **state)
{
	struct pkt_buf *pkts[1003];

	(void)state;
	room = 1;
	for (unsigned int i = 0; i < 1003; i++) {
		pkts[i] = packet(60);
		assert_int_equal(dev_queue_xmit(pkts[i]), i < 1001 ? 0 : -ENOSPC);
	}
	/* One in the ring, one that came back BUSY, 999 behind it: the limit. */
	assert_int_equal(nr_ring, 1);
	assert_int_equal(dev.qdisc.qlen, 1000);
	assert_int_equal(dev.stats.tx_requeued, 1);
	assert_int_equal(dev.stats.tx_dropped_qlen, 2);

	room = 10;
	netif_tx_wake_queue(&dev);
	assert_int_equal(nr_ring, 1);
	do_softirq();
	assert_int_equal(nr_ring, 11);
	assert_int_equal(dev.stats.tx_requeued, 2);
	assert_true(netif_tx_queue_stopped(&dev));

	room = 4000;
	netif_tx_wake_queue(&dev);
	do_softirq();
	assert_int_equal(nr_ring, 1001);
	for (unsigned int i = 0; i < 1001; i++) {
		assert_ptr_equal(ring[i].pkt, pkts[i]);
		/* All but the last of a run may hold the doorbell back. */
		assert_int_equal(ring[i].more, i != 0 && i != 1000);
	}
	assert_int_equal(dev.stats.tx_packets, 1001);
	assert_int_equal(dev.qdisc.max, 1000);
	netif_tx_wake_queue(&dev);
	assert_false(local_softirq_pending());
}

/* A packet sent while others wait goes behind them. */
static void test_order_behind_waiting(void **state)
{
	struct pkt_buf *first, *second;

	(void)state;
	room = 0;
	first = packet(60);
	second = packet(61);
	assert_int_equal(dev_queue_xmit(first), 0);
	room = 10;
	netif_tx_start_queue(&dev);
	assert_int_equal(dev_queue_xmit(second), 0);
	assert_int_equal(nr_ring, 2);
	assert_ptr_equal(ring[0].pkt, first);
	assert_ptr_equal(ring[1].pkt, second);
}

/* Answers to a list: the doorbell waits for the last one's, on the device the list is from. */
static void test_xmit_more(void **state)
{
	static const bool more[] = { false, true };
	struct net_device other = { .netdev_ops = &drv_ops, .carrier = true };
	struct pkt_pool pool;

	(void)state;
	assert_int_equal(pkt_pool_init(&pool, "t", 1518, 8), 0);
	answers = true;
	for (u32 i = 0; i < ARRAY_SIZE(more); i++) {
		LIST_HEAD(list);

		for (u32 n = 0; n < 4; n++) {
			struct pkt_buf *pkt = pkt_alloc_rx(&pool);

			pkt->dev = n == 1 ? &other : &dev;
			list_add_tail(&pkt->list, &list);
		}
		nr_ring = 0;
		netif_receive_list(&list, more[i]);
		assert_int_equal(nr_ring, 4);
		assert_true(ring[0].more);
		assert_false(ring[1].more); /* for dev, and it is other's turn */
		assert_true(ring[2].more);
		assert_int_equal(ring[3].more, more[i]);
		complete_all();
		assert_int_equal(dev_queue_xmit(packet(60)), 0);
		assert_false(ring[0].more);
		complete_all();
	}
	answers = false;
	pkt_pool_exit(&pool);
}

static void test_carrier_drops_the_queue(void **state)
{
	(void)state;
	room = 0;
	for (unsigned int i = 0; i < 5; i++)
		assert_int_equal(dev_queue_xmit(packet(60)), 0);
	netif_carrier_off(&dev);
	assert_int_equal(dev.qdisc.qlen, 0);
	assert_int_equal(dev.stats.tx_dropped_down, 5);
	assert_true(fake_log_has("eth0: link down"));
}

/* ---- packets ---- */

static unsigned int freed;

static void on_free(struct pkt_pool *pool)
{
	assert_ptr_equal(pool->owner, &freed);
	freed++;
}

static void test_pool(void **state)
{
	struct pkt_pool pool;
	struct pkt_buf *pkts[8];
	size_t live = fake_alloc_live();

	(void)state;
	assert_int_equal(pkt_pool_init(&pool, "t", 1518, 8), 0);
	pool.owner = &freed;
	for (unsigned int round = 0; round < 3; round++) {
		for (unsigned int i = 0; i < 8; i++) {
			pkts[i] = pkt_alloc_rx(&pool);
			assert_non_null(pkts[i]);
			assert_int_equal((uintptr_t)pkt_priv(pkts[i]) % 16, 0);
			assert_int_equal(((uintptr_t)pkts[i]->data + ETH_HLEN) % 4, 0);
			assert_ptr_equal(pkt_from_priv(pkt_priv(pkts[i])), pkts[i]);
			/* Headroom and frame are all ours, and nobody else's. */
			memset(pkts[i]->data - PKT_HEADROOM, 0x5a, PKT_HEADROOM + 1518);
			memset(pkt_priv(pkts[i]), 0xa5, PKT_PRIV_SIZE);
		}
		assert_null(pkt_alloc_rx(&pool));
		assert_int_equal(pool.used, 8);
		assert_int_equal(pool.failed, round + 1);
		pool.on_free = round == 1 ? on_free : NULL;
		for (unsigned int i = 0; i < 8; i++)
			pkt_free(pkts[i]);
	}
	assert_int_equal(freed, 8);
	assert_int_equal(pool.used, 0);
	assert_int_equal(pool.max, 8);
	pkt_pool_exit(&pool);
	assert_int_equal(fake_alloc_live(), live);
}

static void test_pool_touches_only_what_it_uses(void **state)
{
	struct pkt_pool pool;

	(void)state;
	assert_int_equal(pkt_pool_init(&pool, "t", 1518, 100), 0);
	for (unsigned int i = 0; i < 1000; i++)
		pkt_free(pkt_alloc_rx(&pool));
	assert_int_equal(pool.fresh, 1);
	pkt_pool_exit(&pool);
	fake_alloc_fail_nth(1);
	assert_int_equal(pkt_pool_init(&pool, "t", 1518, 100), -ENOMEM);
	assert_null(pkt_alloc_rx(&pool));
}

static jmp_buf panicked;

static void catch_panic(enum panic_class cls, const char *text)
{
	assert_int_equal(cls, PANIC_ASSERT);
	assert_non_null(strstr(text, "in_use"));
	longjmp(panicked, 1);
}

static void test_double_free(void **state)
{
	struct pkt_pool pool;
	struct pkt_buf *pkt;

	(void)state;
	assert_int_equal(pkt_pool_init(&pool, "t", 1518, 2), 0);
	pkt = pkt_alloc_rx(&pool);
	pkt_free(pkt);
	fake_panic_hook = catch_panic;
	if (setjmp(panicked) == 0) {
		pkt_free(pkt);
		fail_msg("a double free was not noticed");
	}
	pkt_pool_exit(&pool);
}

static void test_tx_packets_run_out(void **state)
{
	struct pkt_buf *pkt, *all = NULL;
	unsigned int n = 0;

	(void)state;
	while ((pkt = pkt_alloc_tx())) {
		pkt->destructor_arg = all;
		all = pkt;
		n++;
	}
	assert_int_equal(n, 2048);
	assert_true(fake_stat("pkt_tx_failed") >= 1);
	assert_string_equal(fake_stat_text("pkt_tx"), "2048/2048/2048");
	for (; all; all = pkt) {
		pkt = all->destructor_arg;
		pkt_free(all);
	}
}

/* ---- devices ---- */

static void test_register(void **state)
{
	static struct net_device second = { .netdev_ops = &drv_ops };
	static struct net_device broken = { .netdev_ops = &drv_ops };

	(void)state;
	open_result = -EIO;
	assert_int_equal(register_netdev(&broken), -EIO);
	open_result = 0;
	assert_int_equal(added, 0);
	assert_int_equal(register_netdev(&second), 0);
	assert_int_equal(added, 1);
	assert_string_equal(second.name, "eth1");
	assert_ptr_equal(dev_get_by_name("eth0"), &dev);
	assert_ptr_equal(dev_get_by_name("eth1"), &second);
	assert_null(dev_get_by_name("eth2"));
	assert_ptr_equal(netdev_next(NULL), &dev);
	assert_ptr_equal(netdev_next(&dev), &second);
	assert_null(netdev_next(&second));
	/* A stack that comes late is told of all. */
	netdev_set_stack(&stack);
	assert_int_equal(added, 3);
}

static void test_counters(void **state)
{
	static const char *const names[] = { "eth0_rx_packets",
					     "eth0_rx_bytes",
					     "eth0_tx_dropped_qlen",
					     "eth0_tx_requeued",
					     "eth0_qdisc",
					     "net_rx_time_squeeze",
					     "pkt_tx" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		assert_non_null(fake_stat_text(names[i]));
	dev.stats.tx_requeued = 12;
	assert_string_equal(fake_stat_text("eth0_tx_requeued"), "12");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_napi_one_poll),
		TEST(test_napi_exact_weight),
		TEST(test_napi_budget),
		TEST(test_napi_always_missed),
		TEST(test_napi_time),
		TEST(test_napi_fair),
		TEST(test_napi_interrupted),
		TEST(test_receive),
		TEST(test_direct),
		TEST(test_refusals),
		TEST(test_queue),
		TEST(test_order_behind_waiting),
		TEST(test_xmit_more),
		TEST(test_carrier_drops_the_queue),
		TEST(test_pool),
		TEST(test_pool_touches_only_what_it_uses),
		TEST(test_double_free),
		TEST(test_tx_packets_run_out),
		TEST(test_register),
		TEST(test_counters),
	};

	net_dev_init();
	dev.netdev_ops = &drv_ops;
	dev.mtu = 1500;
	if (register_netdev(&dev))
		return 1;
	return cmocka_run_group_tests_name("net_dev", tests, NULL, NULL);
}
