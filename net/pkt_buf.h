/*
 * The one packet type. A pkt_buf is a frame (Ethernet header first, no FCS) and whoever has the
 *pointer owns it, until it is handed on or given to pkt_free(). Softirq context.
 *
 * Receive: one block of a pool,
 *
 *	[ struct pkt_buf | priv: the stack's own header | headroom | frame, up to the pool's size ]
 *
 * The stack's header stands in front of the frame in one piece of memory, so that lwIP may treat it
 *as a contiguous pbuf and turn an echo request into its reply where it lies.
 *
 * Transmit: a pkt_buf from pkt_alloc_tx() that points to the stack's memory by fragments;
 *destructor() tells the stack when the device is done with it.
 */
#ifndef NET_PKT_BUF_H
#define NET_PKT_BUF_H

#include "kernel/lib/list.h"

struct net_device;
struct pkt_pool;

#define PKT_MAX_FRAGS 17 /* a 64 KiB frame in 4 KiB pieces, and its headers */
#define PKT_PRIV_SIZE 64 /* room for the stack's header (lwIP: struct pbuf_custom) */
/* In front of a frame: virtio_net_hdr (12) rounded up so that the IP header is 4-byte aligned. */
#define PKT_HEADROOM 18

/*
 * Linux's words for what is known of a packet's TCP or UDP checksum, or is still to be done. Never
 * said of a fragment's.
 */
#define CHECKSUM_NONE 0
/* Receive: verified, or it never left this machine; not even right in the header, perhaps. */
#define CHECKSUM_UNNECESSARY 1
/* Transmit: the sum from csum_start to the end belongs where csum_offset says, behind it. */
#define CHECKSUM_PARTIAL 3

struct pkt_frag {
	const void *addr;
	u32 len;
};

struct pkt_buf {
	struct list_head list; /* the owner's: qdisc, receive list, ring */
	struct net_device *dev;
	/* What to call when the last owner is done. Set by the allocator; the stack sets its own on
	 * transmit. */
	void (*destructor)(struct pkt_buf *pkt);
	void *destructor_arg; /* receive: struct pkt_pool *; transmit: the stack's */

	u8 *data;     /* receive: first byte of the frame */
	u32 len;      /* bytes of the whole frame, data_len included */
	u32 data_len; /* receive: of them, the bytes in frag_list */
	/*
	 * Receive: further pieces of the payload, each a packet of its own linked by this member:
	 * what GRO took off its headers, or a large frame's further buffers. The whole is one
	 * packet with one owner.
	 */
	struct pkt_buf *frag_list;
	u16 gso_segs; /* receive: frames that this one was merged of; 0: it is one */
	u16 nr_frags; /* transmit: pieces in frags[], 1 to PKT_MAX_FRAGS; receive: 0 */
	u8 in_use;    /* catches a double free */
	/*
	 * Transmit: bytes in front of frags[0] that the driver may overwrite while it owns the
	 * packet (the headroom of a receive block, or lwIP's PBUF_LINK_ENCAPSULATION_HLEN). With 12
	 * or more the device's header goes there and the first piece needs one descriptor instead
	 * of two. 0 is always right.
	 */
	u8 headroom;
	/* What the device has done, or is to do; all 0: nothing. */
	union {
		u64 offloads;
		struct {
			/*
			 * TCP segments of so many bytes, each but the last: put together by the
			 * device (receive), or to be cut by it (transmit). 0: it is one.
			 */
			u16 gso_size;
			u8 ip_summed; /* CHECKSUM_* */
			u8 gso_hlen;  /* transmit: bytes of headers, Ethernet's to TCP's */
			u16 csum_start,
				csum_offset; /* CHECKSUM_PARTIAL: from which byte, to where */
		};
	};
	/* The packet's record while journeys are recorded (net/journey.h); else of no meaning. */
	u32 journey;

	/* The owner's scratch: the driver's virtio_net_hdr of a transmit, GRO's while it holds the
	 * packet. */
	u8 cb[16] __aligned(8);

	struct pkt_frag
		frags[]; /* transmit packets: room for PKT_MAX_FRAGS; receive blocks have none */
};

/* Where the stack's header of a receive packet lives: PKT_PRIV_SIZE bytes, 16-byte aligned. */
static inline void *pkt_priv(struct pkt_buf *pkt)
{
	return (u8 *)pkt + ALIGN_UP(sizeof(struct pkt_buf), 16);
}
static inline struct pkt_buf *pkt_from_priv(void *priv)
{
	return (struct pkt_buf *)((u8 *)priv - ALIGN_UP(sizeof(struct pkt_buf), 16));
}

/* Gives the packet up, and its frag_list with it: each one's destructor runs. */
void pkt_free(struct pkt_buf *pkt);
/* Frames that a received packet was made of. */
static inline u32 pkt_segs(const struct pkt_buf *pkt)
{
	return pkt->gso_segs ? pkt->gso_segs : 1;
}

/* net_dev_init() calls it: the transmit packets, as many as memory allows up to 2048. Task, once.
 */
void pkt_buf_init(void);
/*
 * An empty transmit packet (nr_frags, len and headroom 0); the caller sets dev, frags, nr_frags,
 * len and may set headroom and destructor. NULL: none left (counted).
 */
struct pkt_buf *pkt_alloc_tx(void) __must_check;
/* Where a transmit packet's memory goes back to; a destructor of the stack's ends with it. */
void pkt_release_tx(struct pkt_buf *pkt);

/*
 * A pool of packets in one piece of memory that is touched only as it is used. on_free, if set, is
 * called after each packet that comes back: a driver whose ring ran short hears of it there.
 */
struct pkt_pool {
	const char *name;
	u32 frame_size; /* bytes of a frame at most */
	u32 block_size;
	u32 size; /* blocks */
	u32 used;
	u32 max;
	u32 fresh;  /* blocks from this one on were never used */
	u64 failed; /* asked for when there was none */
	u8 *mem;
	struct list_head free;
	void (*on_free)(struct pkt_pool *pool);
	void *owner;
};
/* nr blocks for frames of up to frame_size bytes. Returns 0 or -ENOMEM. */
int __must_check pkt_pool_init(struct pkt_pool *pool, const char *name, u32 frame_size, u32 nr);
/* All blocks are back. */
void pkt_pool_exit(struct pkt_pool *pool);
/* What one block of such a pool takes. */
u32 pkt_pool_block_size(u32 frame_size);
/* A packet with data at its place, len 0. NULL: the pool is empty (counted). */
struct pkt_buf *pkt_alloc_rx(struct pkt_pool *pool) __must_check;

#endif
