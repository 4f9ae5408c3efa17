/*
 * The contract between network drivers (below) and the stack (above), in Linux's words. A driver
 * fills a net_device, calls register_netdev(), schedules its NAPI from the hard IRQ and hands
 * frames up from its poll function. The stack sends with dev_queue_xmit(). Everything here runs in
 * softirq context (or task with bottom halves disabled) except napi_schedule(), which any context
 * may call.
 */
#ifndef NET_NETDEVICE_H
#define NET_NETDEVICE_H

#include "kernel/stats.h"
#include "net/pkt_buf.h"

#define ETH_ALEN 6
#define ETH_HLEN 14
#define ETH_ZLEN 60 /* shortest frame without FCS (IEEE 802.3) */
#define ETH_DATA_LEN 1500
#define ETH_MIN_MTU 68 /* RFC 791 */
#define ETH_MAX_MTU 65535
#define IFNAMSIZ 16

#define NAPI_POLL_WEIGHT 64

/* net_device.features, masks: what the device does for us with what is sent (Linux's names). */
#define NETIF_F_HW_CSUM 1u /* completes a TCP or UDP checksum: CHECKSUM_PARTIAL */
#define NETIF_F_TSO 2u     /* cuts TCP over IPv4: gso_size */
#define NETIF_F_TSO6 4u    /* and over IPv6 */

#define NAPI_STATE_SCHED 1ul  /* on a poll list, or being polled */
#define NAPI_STATE_MISSED 2ul /* scheduled again meanwhile: poll once more */

struct napi_struct {
	struct list_head poll_list;
	/* Handles at most budget packets and returns how many. Fewer: it has called
	 * napi_complete_done(). */
	int (*poll)(struct napi_struct *napi, int budget);
	int weight;
	unsigned long state; /* NAPI_STATE_*: masks */
	struct net_device *dev;
	/* net/gro.c: packets held to grow, and those on their way to the stack. Empty between
	 * polls. */
	struct list_head gro_list, rx_list;
	u32 gro_count, rx_count;
};

enum netdev_tx {
	NETDEV_TX_OK = 0x00,   /* the driver owns the packet now */
	NETDEV_TX_BUSY = 0x10, /* the caller still does; the queue has been stopped */
};
typedef enum netdev_tx netdev_tx_t;

struct net_device_ops {
	int (*ndo_open)(struct net_device *dev);
	netdev_tx_t (*ndo_start_xmit)(struct pkt_buf *pkt, struct net_device *dev);
	/* The driver's own counters (prefix: dev->stats_prefix), beside net_device_stats. May be
	 * NULL. */
	void (*ndo_get_stats)(struct net_device *dev, struct stats_sink *s);
};

/* Each frame is counted as handed over, and if it went no further, once under one reason. */
struct net_device_stats {
	u64 rx_packets, rx_bytes; /* from the driver; dropped, if so, under a reason below */
	u64 tx_packets, tx_bytes; /* given to the device */
	u64 rx_gro_merged;        /* of rx_packets: made part of the one before */
	u64 rx_dropped_otherhost; /* for another MAC address */
	u64 rx_dropped_no_stack;  /* no one listens */
	u64 rx_dropped_short;     /* shorter than its headers */
	u64 rx_dropped_proto;     /* an ethertype that nobody handles */
	u64 rx_dropped_filter;    /* malformed: options or lengths that run past the packet */
	u64 rx_dropped_no_mem;    /* the stack had no room */
	u64 tx_dropped_qlen;      /* sch_fifo was full */
	u64 tx_dropped_no_mem;    /* no pkt_buf */
	u64 tx_dropped_down;      /* no carrier */
	u64 tx_dropped_too_long;  /* longer than MTU + header */
	u64 tx_copied;            /* packets that had to be copied on the way down */
	u64 tx_requeued;          /* NETDEV_TX_BUSY from the driver */
};

/* The transmit queue in front of the ring (sch_fifo). */
struct Qdisc {
	struct list_head q;
	u32 qlen;
	u32 limit;
	u32 max;
	bool running; /* Linux's __QDISC_STATE_RUNNING: no second run inside the first */
};

struct net_device {
	char name[IFNAMSIZ];
	char stats_prefix[IFNAMSIZ + 1]; /* "eth0_" */
	u8 dev_addr[ETH_ALEN];
	u32 mtu;      /* payload bytes of one frame */
	u32 features; /* NETIF_F_* */
	const struct net_device_ops *netdev_ops;
	struct net_device_stats stats;
	struct Qdisc qdisc;
	bool tx_stopped; /* netif_tx_stop_queue(): the ring has no room */
	bool carrier;
	bool registered;
	bool gro;              /* merge received TCP segments (Linux's NETIF_F_GRO) */
	void *ml_priv;         /* the driver's */
	void *rx_handler_data; /* the stack's */
	struct net_device *next;
};

/* Names it eth<N>, puts it into the list, opens it, tells the stack. Task. Returns 0 or what
 * ndo_open said. */
int __must_check register_netdev(struct net_device *dev);
struct net_device *dev_get_by_name(const char *name);
/* The devices in order of registration: pass NULL for the first. */
struct net_device *netdev_next(const struct net_device *dev);

/* The stack above, set once: told of each device that appears, each frame, each change of carrier.
 */
struct net_stack_ops {
	void (*netdev_added)(struct net_device *dev);
	/* Owns pkt from here on. */
	void (*receive)(struct pkt_buf *pkt);
	void (*carrier_changed)(struct net_device *dev);
	void (*notify_peers)(struct net_device *dev); /* may be NULL */
};
void netdev_set_stack(const struct net_stack_ops *ops);

/*
 * The link came or went (driver, softirq, or task before register_netdev()). Each change of a
 * registered device is logged and the stack told; without carrier what is queued or sent is dropped
 * and counted.
 */
void netif_carrier_on(struct net_device *dev);
void netif_carrier_off(struct net_device *dev);
static inline bool netif_carrier_ok(const struct net_device *dev)
{
	return dev->carrier;
}

/* The guest was moved, say, and the network does not know yet: say where we are. Softirq. */
void netdev_notify_peers(struct net_device *dev);

/* net/dev.c: opens NET_RX_SOFTIRQ and NET_TX_SOFTIRQ. Task, before any driver. */
void net_dev_init(void);

void netif_napi_add(struct net_device *dev, struct napi_struct *napi,
		    int (*poll)(struct napi_struct *, int), int weight);
/* False if it was scheduled already. True: the caller masks its interrupt and calls
 * __napi_schedule(). */
static inline bool napi_schedule_prep(struct napi_struct *napi)
{
	unsigned long old = __atomic_load_n(&napi->state, __ATOMIC_RELAXED), new;

	do {
		new = old | NAPI_STATE_SCHED;
		if (unlikely(old & NAPI_STATE_SCHED))
			new |= NAPI_STATE_MISSED;
	} while (!__atomic_compare_exchange_n(&napi->state, &old, new, false, __ATOMIC_ACQ_REL,
					      __ATOMIC_RELAXED));
	return !(old & NAPI_STATE_SCHED);
}
void __napi_schedule(struct napi_struct *napi);
void napi_schedule(struct napi_struct *napi);
/*
 * The poll function found less than its budget: what GRO holds goes to the stack, and the NAPI off
 * the list. True if the interrupt may be enabled again.
 */
bool napi_complete_done(struct napi_struct *napi, int work_done);

/*
 * A frame for the stack, from a poll function, on its way through GRO; owns pkt from here on. All
 * have been delivered when napi_complete_done() or napi_gro_flush() returns.
 */
void napi_gro_receive(struct napi_struct *napi, struct pkt_buf *pkt);
/* For a poll that has used up its budget, before it returns. */
void napi_gro_flush(struct napi_struct *napi);

/* Frames for the stack in order; owns them from here on. more: the poll will deliver more, or see
 * to its device's doorbell anyway. */
void netif_receive_list(struct list_head *list, bool more);
/* One of them. */
void netif_receive_pkt(struct pkt_buf *pkt);

/*
 * A frame for the device. Always takes the packet: sent, queued, or dropped with its reason
 * counted. Returns 0, or -ENOSPC, -EIO (no carrier), -EMSGSIZE if it was dropped.
 */
int dev_queue_xmit(struct pkt_buf *pkt);

/* What Linux keeps per CPU; one CPU here. */
struct softnet_data {
	struct list_head poll_list; /* scheduled NAPIs */
	/* The device whose frames are being delivered, while more of them follow: the doorbell for
	 * the answers waits. */
	const struct net_device *rx_more;
	bool xmit_more;
	u64 time_squeeze; /* net_rx_action stopped by its bounds with work left */
};
extern struct softnet_data softnet_data;

/*
 * For the time of one ndo_start_xmit(): another frame for the same device follows, or the poll that
 * delivers to the stack right now will end with the driver's own look at its doorbell, so that it
 * may be held back (Linux's name). A driver must therefore look after it at the end of each of its
 * polls that called napi_gro_receive().
 */
static inline bool netdev_xmit_more(void)
{
	return softnet_data.xmit_more;
}

/*
 * The driver's ring is full / has room again. wake raises NET_TX_SOFTIRQ to run the queue; start is
 * for the driver that changes its mind inside ndo_start_xmit().
 */
static inline void netif_tx_stop_queue(struct net_device *dev)
{
	dev->tx_stopped = true;
}
static inline void netif_tx_start_queue(struct net_device *dev)
{
	dev->tx_stopped = false;
}
void netif_tx_wake_queue(struct net_device *dev);
static inline bool netif_tx_queue_stopped(const struct net_device *dev)
{
	return dev->tx_stopped;
}

/* net/sch_fifo.c */
void qdisc_init(struct Qdisc *q, u32 limit);
/* Takes the packet in. False: full. */
bool __must_check qdisc_enqueue(struct Qdisc *q, struct pkt_buf *pkt);
struct pkt_buf *qdisc_dequeue(struct Qdisc *q); /* NULL: empty */
/* Sends from the queue until it is empty or the device stops. */
void __qdisc_run(struct net_device *dev);
/* Straight to the driver when nothing waits. False: the driver was busy and the packet went to the
 * head of the queue. */
bool sch_direct_xmit(struct pkt_buf *pkt, struct net_device *dev);

#endif
