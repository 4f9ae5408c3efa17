/*
 * The virtio network device (VIRTIO 1.2, 5.1): what the data path (virtio_net.c) and the device's
 * life (virtio_net_probe.c) share. Everything runs in softirq context, or in task context with
 * bottom halves disabled, but for the three interrupt callbacks. The driver owns every packet that
 * is in a ring.
 */
#ifndef DRIVERS_NET_VIRTIO_NET_H
#define DRIVERS_NET_VIRTIO_NET_H

#include "drivers/virtio/virtio_ring.h"
#include "kernel/time.h"
#include "net/netdevice.h"

/* Feature bits (VIRTIO 1.2, 5.1.3): bit numbers. */
#define VIRTIO_NET_F_CSUM 0
#define VIRTIO_NET_F_GUEST_CSUM 1
#define VIRTIO_NET_F_MTU 3
#define VIRTIO_NET_F_MAC 5
#define VIRTIO_NET_F_GUEST_TSO4 7
#define VIRTIO_NET_F_GUEST_TSO6 8
#define VIRTIO_NET_F_HOST_TSO4 11
#define VIRTIO_NET_F_HOST_TSO6 12
#define VIRTIO_NET_F_MRG_RXBUF 15
#define VIRTIO_NET_F_STATUS 16
#define VIRTIO_NET_F_CTRL_VQ 17
#define VIRTIO_NET_F_CTRL_RX 18
#define VIRTIO_NET_F_GUEST_ANNOUNCE 21
#define VIRTIO_NET_F_MQ 22
#define VIRTIO_NET_F_CTRL_MAC_ADDR 23

/* VIRTIO 1.2, 5.1.4: status, masks. */
#define VIRTIO_NET_S_LINK_UP 1
#define VIRTIO_NET_S_ANNOUNCE 2

/* VIRTIO 1.2, 5.1.4 */
struct virtio_net_config {
	u8 mac[ETH_ALEN];
	le16 status;              /* VIRTIO_NET_F_STATUS */
	le16 max_virtqueue_pairs; /* VIRTIO_NET_F_MQ */
	le16 mtu;                 /* VIRTIO_NET_F_MTU */
};
_Static_assert(sizeof(struct virtio_net_config) == 12, "VIRTIO 1.2, 5.1.4");

/* VIRTIO 1.2, 5.1.6: flags of the header, masks, and its gso_type. */
#define VIRTIO_NET_HDR_F_NEEDS_CSUM 1
#define VIRTIO_NET_HDR_F_DATA_VALID 2
#define VIRTIO_NET_HDR_GSO_NONE 0
#define VIRTIO_NET_HDR_GSO_TCPV4 1
#define VIRTIO_NET_HDR_GSO_TCPV6 4

/* In front of each frame, both ways. */
struct virtio_net_hdr {
	u8 flags;
	u8 gso_type;
	le16 hdr_len;
	le16 gso_size;
	le16 csum_start;
	le16 csum_offset;
};
_Static_assert(sizeof(struct virtio_net_hdr) == 10, "VIRTIO 1.2, 5.1.6.1, legacy");

/* With VIRTIO_F_VERSION_1 (or, legacy, with MRG_RXBUF). */
struct virtio_net_hdr_v1 {
	struct virtio_net_hdr hdr;
	le16 num_buffers;
};
_Static_assert(sizeof(struct virtio_net_hdr_v1) == 12, "VIRTIO 1.2, 5.1.6");
_Static_assert(sizeof(struct virtio_net_hdr_v1) <= PKT_HEADROOM, "the header fits before a frame");

/* 65,535 bytes of IP packet, and Ethernet with a VLAN tag. */
#define VIRTNET_MAX_FRAME (65535u + ETH_HLEN + 4)

#define VIRTNET_MAX_QP 1 /* queue pairs; more need MQ and the control queue */

struct send_queue;

struct receive_queue {
	struct virtqueue *vq; /* NULL while the device is being reset */
	struct virtnet_info *vi;
	struct send_queue *sq; /* its pair: reclaimed and rung by our poll */
	struct napi_struct napi;
	u16 hdr_len;
	u16 buf_descs;    /* descriptors of one buffer: 1, or 2 where the header needs its own */
	u16 refill_batch; /* free descriptors that make a refill worth while */
	u16 posted;       /* buffers that the device has */
	u16 gso_types;    /* VIRTIO_NET_HDR_GSO_* that may come, a bit each */
	bool mergeable;   /* MRG_RXBUF: a frame may be in several buffers */
	bool guest_csum;  /* GUEST_CSUM */
	u32 held_max;     /* packets that the stack held at most, at the end of a poll */
	bool starved;     /* the pool was dry: its on_free schedules us */

	u64 bad_len;      /* shorter than the two headers (V3) */
	u64 bad_hdr;      /* asks for what was not negotiated (V10) */
	u64 refill_short; /* refills that found the pool dry */
	u64 ring_empty;   /* ... and left the device without a single buffer: it drops, out of our
			     sight */
};

struct send_queue {
	struct virtqueue *vq; /* NULL while the device is being reset */
	struct virtnet_info *vi;
	struct napi_struct napi;
	struct hrtimer reclaim_timer;
	u64 reclaim_ns;                /* the timer's present period */
	u64 reclaimed, reclaimed_seen; /* packets that came back; by the timer's last turn */
	u16 hdr_len;
	u16 stop_thresh; /* fewer free descriptors than this: stop */
	bool any_layout; /* the header may share a descriptor with the frame */
	bool unkicked;   /* packets were added with the doorbell held back */

	u64 tx_busy;    /* a packet found the ring full */
	u64 tx_stopped; /* the queue was stopped */
	u64 tx_errors;  /* dropped: the ring is broken or can never hold it */
};

/* A command on its way (VIRTIO 1.2, 5.1.6.5): the device reads the front and writes ack. */
struct virtnet_ctrl_cmd {
	u8 class, cmd;
	u8 data[ETH_ALEN];
	u8 ack;
	bool busy; /* with the device */
};

#define VIRTNET_CTRL_CMDS 4

struct control_queue {
	struct virtqueue *vq; /* NULL: none, or the device is being reset */
	struct virtnet_ctrl_cmd cmds[VIRTNET_CTRL_CMDS];
	u64 commands, errors; /* errors: refused, or no room since the device does not answer */
	u64 announces;        /* the device asked us to tell where we are */
};

/* A virtqueue's counters, summed over the rings it had. */
struct virtnet_vq_stats {
	u64 kicks, kicks_suppressed, interrupts, spurious, bad_used, indirect;
};

struct virtnet_info {
	struct virtio_device *vdev;
	struct net_device dev;
	struct receive_queue rq[VIRTNET_MAX_QP];
	struct send_queue sq[VIRTNET_MAX_QP];
	struct control_queue ctrl;
	struct pkt_pool pool; /* of all receive queues */
	bool ready;           /* rings are live; false: polls and timers leave them alone */
	bool dead;            /* given up */
	bool own_mac;         /* the device gave us none: it does not know the one we have */

	struct napi_struct
		config_napi; /* takes config_changed() from the hard IRQ to the softirq */
	struct hrtimer reset_timer;
	unsigned int reset_tries; /* since the device last ran well */
	u64 last_reset;           /* ktime */
	u64 resets, resets_failed, config_changes;
	struct virtnet_vq_stats rx_past, tx_past; /* of rings before the last reset */
};

/* virtio_net.c */
extern const struct net_device_ops virtnet_netdev;
void pkt_recv_done(struct virtqueue *vq);
void xmit_done(struct virtqueue *vq);
int virtnet_poll(struct napi_struct *napi, int budget);
int virtnet_poll_tx(struct napi_struct *napi, int budget);
void virtnet_reclaim(struct hrtimer *timer);
/* Posts what the pool gives, and tells the device. */
void try_fill_recv(struct receive_queue *rq);

/* virtio_net_ctrl.c: softirq, or task with bottom halves disabled */
/* After each open: what the device shall let through. */
void virtnet_ctrl_open(struct virtnet_info *vi);
/* The device wants us to say where we are. */
void virtnet_ctrl_announce(struct virtnet_info *vi);
/* Takes the answers that have come. */
void virtnet_ctrl_reap(struct virtnet_info *vi);
/* After a reset: no command is on its way any more. */
void virtnet_ctrl_forget(struct virtnet_info *vi);

/* virtio_net_probe.c */
/* Something is wrong with the device: reset it soon, at most once per cause. Softirq. */
void virtnet_schedule_reset(struct virtnet_info *vi);
/* Carrier as the device's status says. */
void virtnet_update_link(struct virtnet_info *vi);
void virtnet_get_stats(struct net_device *dev, struct stats_sink *s);

#endif
