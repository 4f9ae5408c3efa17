/*
 * The transmit queue in front of the ring: first in, first out, bounded. It is empty, and costs
 * nothing, until the driver stops it; then it keeps the order and drops at the end. Softirq
 * context.
 */
#include "net/netdevice.h"

void qdisc_init(struct Qdisc *q, u32 limit)
{
	*q = (struct Qdisc){ .limit = limit };
	INIT_LIST_HEAD(&q->q);
}

static void qdisc_count(struct Qdisc *q)
{
	if (++q->qlen > q->max)
		q->max = q->qlen;
}

bool qdisc_enqueue(struct Qdisc *q, struct pkt_buf *pkt)
{
	if (q->qlen >= q->limit)
		return false;
	list_add_tail(&pkt->list, &q->q);
	qdisc_count(q);
	return true;
}

struct pkt_buf *qdisc_dequeue(struct Qdisc *q)
{
	struct pkt_buf *pkt;

	if (q->qlen == 0)
		return NULL;
	pkt = list_first_entry(&q->q, struct pkt_buf, list);
	list_del(&pkt->list);
	q->qlen--;
	return pkt;
}

noinline bool sch_direct_xmit(struct pkt_buf *pkt, struct net_device *dev)
{
	u32 len = pkt->len; /* the packet is the driver's, and may be gone, once it said OK */

	softnet_data.xmit_more = dev->qdisc.qlen != 0 || softnet_data.rx_more == dev;
	if (likely(dev->netdev_ops->ndo_start_xmit(pkt, dev) == NETDEV_TX_OK)) {
		dev->stats.tx_packets++;
		dev->stats.tx_bytes += len;
		return true;
	}
	/* To the head, beyond the limit if need be: it has been accepted already. */
	list_add(&pkt->list, &dev->qdisc.q);
	qdisc_count(&dev->qdisc);
	dev->stats.tx_requeued++;
	return false;
}

void __qdisc_run(struct net_device *dev)
{
	struct Qdisc *q = &dev->qdisc;

	if (q->running)
		return;
	q->running = true;
	while (q->qlen && !netif_tx_queue_stopped(dev))
		if (!sch_direct_xmit(qdisc_dequeue(q), dev))
			break;
	q->running = false;
}
