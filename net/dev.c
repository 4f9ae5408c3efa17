/*
 * The middle of the stack: NAPI and its softirq, the devices, and a frame's way from driver to
 * stack and back. See netdevice.h for contexts and ownership.
 */
#include "net/netdevice.h"

#include "kernel/bug.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/string.h"
#include "kernel/printk.h"
#include "kernel/softirq.h"
#include "kernel/time.h"
#include "kernel/x86/irqflags.h"
#include "net/trace.h"

/* Bounds of one net_rx_action(), Linux's values: packets, and time. */
#define NETDEV_BUDGET 300
#define NETDEV_BUDGET_NS (2 * NSEC_PER_MSEC)

#define DEFAULT_TX_QUEUE_LEN 1000

struct softnet_data softnet_data = { .poll_list = LIST_HEAD_INIT(softnet_data.poll_list) };

static const struct net_stack_ops *net_stack;
static struct net_device *dev_base;

/* ---- NAPI ---- */

void netif_napi_add(struct net_device *dev, struct napi_struct *napi,
		    int (*poll)(struct napi_struct *, int), int weight)
{
	*napi = (struct napi_struct){ .poll = poll, .weight = weight, .dev = dev };
	INIT_LIST_HEAD(&napi->poll_list);
	INIT_LIST_HEAD(&napi->gro_list);
	INIT_LIST_HEAD(&napi->rx_list);
}

void __napi_schedule(struct napi_struct *napi)
{
	unsigned long flags = local_irq_save();

	list_add_tail(&napi->poll_list, &softnet_data.poll_list);
	raise_softirq(NET_RX_SOFTIRQ);
	local_irq_restore(flags);
}

void napi_schedule(struct napi_struct *napi)
{
	if (napi_schedule_prep(napi))
		__napi_schedule(napi);
}

bool napi_complete_done(struct napi_struct *napi, int work_done)
{
	unsigned long old, new;

	if (work_done)
		napi_gro_flush(napi);
	old = __atomic_load_n(&napi->state, __ATOMIC_RELAXED);
	do {
		new = old &NAPI_STATE_MISSED ? NAPI_STATE_SCHED : 0;
	} while (!__atomic_compare_exchange_n(&napi->state, &old, new, false, __ATOMIC_ACQ_REL,
					      __ATOMIC_RELAXED));
	if (likely(!(old & NAPI_STATE_MISSED)))
		return true;
	__napi_schedule(napi);
	return false;
}

/* Polls the first on the list; back to its end if it had more to do than its weight. Returns the
 * work done. */
static noinline int napi_poll(struct softnet_data *sd, bool *again)
{
	struct napi_struct *napi = list_first_entry(&sd->poll_list, struct napi_struct, poll_list);
	unsigned long flags = local_irq_save();
	int work;

	list_del_init(&napi->poll_list);
	local_irq_restore(flags);

	trace_poll();
	work = napi->poll(napi, napi->weight);
	*again = work >= napi->weight;
	if (unlikely(*again)) {
		flags = local_irq_save();
		list_add_tail(&napi->poll_list, &sd->poll_list);
		local_irq_restore(flags);
	}
	return work;
}

/*
 * NET_RX_SOFTIRQ. A flood must not keep timers and the task from running: bounded by packets, each
 * poll counting for one at least, and by time, asked for only once there is reason to.
 */
static void net_rx_action(void)
{
	struct softnet_data *sd = &softnet_data;
	int budget = NETDEV_BUDGET;
	u64 deadline = 0;
	bool again;

	trace_softirq();
	/* Read without masking: an interrupt only ever adds, and raises the softirq again when it
	 * does. */
	while (!list_empty(&sd->poll_list)) {
		int work = napi_poll(sd, &again);
		u64 now;

		budget -= max(work, 1);
		if (unlikely(budget <= 0))
			goto squeezed;
		if (likely(!again))
			continue;
		now = ktime_get();
		if (!deadline)
			deadline = now + NETDEV_BUDGET_NS;
		else if (now >= deadline)
			goto squeezed;
	}
	return;

squeezed:
	if (list_empty(&sd->poll_list))
		return;
	sd->time_squeeze++;
	raise_softirq(NET_RX_SOFTIRQ);
}

/* ---- receive ---- */

noinline void netif_receive_pkt(struct pkt_buf *pkt)
{
	struct net_device *dev = pkt->dev;

	dev->stats.rx_packets++;
	dev->stats.rx_bytes += pkt->len - pkt->data_len;
	if (unlikely(!net_stack)) {
		dev->stats.rx_dropped_no_stack += pkt_segs(pkt);
		trace_drop(pkt);
		pkt_free(pkt);
		return;
	}
	net_stack->receive(pkt);
}

noinline void netif_receive_list(struct list_head *list, bool more)
{
	while (!list_empty(list)) {
		struct pkt_buf *pkt = list_first_entry(list, struct pkt_buf, list);

		list_del(&pkt->list);
		/* One doorbell for all the answers: the last one's. */
		softnet_data.rx_more = more || !list_empty(list) ? pkt->dev : NULL;
		netif_receive_pkt(pkt);
	}
	softnet_data.rx_more = NULL;
}

/* ---- transmit ---- */

static int dev_drop(struct pkt_buf *pkt, u64 *counter, int err)
{
	++*counter;
	trace_drop(pkt);
	pkt_free(pkt);
	return err;
}

noinline int dev_queue_xmit(struct pkt_buf *pkt)
{
	struct net_device *dev = pkt->dev;

	BUG_ON(pkt->nr_frags == 0 || pkt->nr_frags > PKT_MAX_FRAGS);
	trace_xmit(pkt);
	if (unlikely(!dev->carrier))
		return dev_drop(pkt, &dev->stats.tx_dropped_down, -EIO);
	if (unlikely(pkt->len > dev->mtu + ETH_HLEN && !pkt->gso_size))
		return dev_drop(pkt, &dev->stats.tx_dropped_too_long, -EMSGSIZE);

	if (likely(dev->qdisc.qlen == 0 && !netif_tx_queue_stopped(dev))) {
		sch_direct_xmit(pkt, dev);
		return 0;
	}
	if (!qdisc_enqueue(&dev->qdisc, pkt))
		return dev_drop(pkt, &dev->stats.tx_dropped_qlen, -ENOSPC);
	if (!netif_tx_queue_stopped(dev))
		__qdisc_run(dev);
	return 0;
}

void netif_tx_wake_queue(struct net_device *dev)
{
	if (!dev->tx_stopped)
		return;
	dev->tx_stopped = false;
	if (dev->qdisc.qlen)
		raise_softirq(NET_TX_SOFTIRQ);
}

/* NET_TX_SOFTIRQ: a queue was woken. */
static void net_tx_action(void)
{
	for (struct net_device *dev = dev_base; dev; dev = dev->next)
		__qdisc_run(dev);
}

/* ---- devices ---- */

int register_netdev(struct net_device *dev)
{
	struct net_device **end = &dev_base;
	unsigned int n = 0;
	int err;

	for (; *end; end = &(*end)->next)
		n++;
	snprintf(dev->name, sizeof(dev->name), "eth%u", n);
	snprintf(dev->stats_prefix, sizeof(dev->stats_prefix), "eth%u_", n);
	qdisc_init(&dev->qdisc, DEFAULT_TX_QUEUE_LEN);

	/* From ndo_open on there are interrupts; the stack hears of the device before its first
	 * frame. */
	local_bh_disable();
	err = dev->netdev_ops->ndo_open(dev);
	if (err)
		goto out;
	dev->next = NULL;
	*end = dev;
	dev->registered = true;
	if (net_stack)
		net_stack->netdev_added(dev);
out:
	local_bh_enable();
	return err;
}

struct net_device *netdev_next(const struct net_device *dev)
{
	return dev ? dev->next : dev_base;
}

struct net_device *dev_get_by_name(const char *name)
{
	struct net_device *dev = dev_base;

	while (dev && strcmp(dev->name, name))
		dev = dev->next;
	return dev;
}

void netdev_set_stack(const struct net_stack_ops *ops)
{
	local_bh_disable();
	net_stack = ops;
	for (struct net_device *dev = dev_base; ops && dev; dev = dev->next)
		ops->netdev_added(dev);
	local_bh_enable();
}

static void netif_carrier_changed(struct net_device *dev, bool carrier)
{
	if (dev->carrier == carrier)
		return;
	dev->carrier = carrier;
	if (!dev->registered)
		return;
	printk(KERN_INFO "%s: link %s\n", dev->name, carrier ? "up" : "down");
	if (net_stack)
		net_stack->carrier_changed(dev);
}

void netif_carrier_on(struct net_device *dev)
{
	netif_carrier_changed(dev, true);
}

void netdev_notify_peers(struct net_device *dev)
{
	if (dev->registered && dev->carrier && net_stack && net_stack->notify_peers)
		net_stack->notify_peers(dev);
}

void netif_carrier_off(struct net_device *dev)
{
	struct pkt_buf *pkt;

	netif_carrier_changed(dev, false);
	/* Before registration there is no queue. */
	while (dev->registered && (pkt = qdisc_dequeue(&dev->qdisc)))
		dev_drop(pkt, &dev->stats.tx_dropped_down, 0);
}

void net_dev_init(void)
{
	pkt_buf_init();
	open_softirq(NET_RX_SOFTIRQ, net_rx_action);
	open_softirq(NET_TX_SOFTIRQ, net_tx_action);
}

/* ---- counters ---- */

#define STAT(field)                                              \
	{                                                        \
#field, offsetof(struct net_device_stats, field) \
	}

static const struct {
	const char *name;
	size_t offset;
} netdev_stats[] = {
	STAT(rx_packets),          STAT(rx_bytes),
	STAT(tx_packets),          STAT(tx_bytes),
	STAT(rx_gro_merged),       STAT(rx_dropped_otherhost),
	STAT(rx_dropped_no_stack), STAT(rx_dropped_short),
	STAT(rx_dropped_proto),    STAT(rx_dropped_filter),
	STAT(rx_dropped_no_mem),   STAT(tx_dropped_qlen),
	STAT(tx_dropped_no_mem),   STAT(tx_dropped_down),
	STAT(tx_dropped_too_long), STAT(tx_copied),
	STAT(tx_requeued),
};
_Static_assert(sizeof(struct net_device_stats) == ARRAY_SIZE(netdev_stats) * sizeof(u64),
	       "each counter is shown");

static void net_dev_stats(struct stats_sink *s)
{
	for (struct net_device *dev = dev_base; dev; dev = dev->next) {
		const char *prefix = dev->stats_prefix;

		stats_text(s, prefix, "mac", MAC_FMT, MAC_ARG(dev->dev_addr));
		stats_u64(s, prefix, "mtu", dev->mtu);
		stats_text(s, prefix, "link", dev->carrier ? "up" : "down");
		for (size_t i = 0; i < ARRAY_SIZE(netdev_stats); i++)
			stats_u64(s, prefix, netdev_stats[i].name,
				  *(u64 *)((u8 *)&dev->stats + netdev_stats[i].offset));
		stats_pool(s, prefix, "qdisc", dev->qdisc.qlen, dev->qdisc.max, dev->qdisc.limit);
		if (dev->netdev_ops->ndo_get_stats)
			dev->netdev_ops->ndo_get_stats(dev, s);
	}
	stats_u64(s, NULL, "net_rx_time_squeeze", softnet_data.time_squeeze);
}
STATS_PROVIDER(net_dev_stats);
