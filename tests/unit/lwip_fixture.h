/*
 * lwIP with our glue, on net/dev.c, above a driver of a few lines that keeps what is sent; and
 * hands to build what a peer would send. Every received frame lies in memory of exactly its size,
 * so that ASan sees a read past its end. One stack for the whole program: 10.0.2.2/24 at
 * 52:54:00:12:34:56.
 */
#ifndef TESTS_UNIT_LWIP_FIXTURE_H
#define TESTS_UNIT_LWIP_FIXTURE_H

#include "kernel/lib/types.h"
#include "net/netdevice.h"

#define PEER_IP 0x0a000201u
#define GUEST_IP 0x0a000202u

extern struct net_device fx_dev;
extern const u8 fx_guest_mac[6], fx_peer_mac[6];

/* Group setup: starts the stack with a static address and lets it settle. */
int fx_start(void **state);
/* Test setup and teardown: forgets what was sent; fails on a leak of packets, pbufs or memory. */
int fx_begin(void **state);
int fx_end(void **state);

/* What the driver was given, as flat bytes; the packet itself stays out until fx_complete(). */
struct fx_frame {
	u32 len;
	u8 *bytes;
	struct pkt_buf *pkt; /* NULL: completed */
	const void *first;   /* where its first piece lay */
	u8 headroom;
	u16 nr_frags;
	/* What is left to the device, as in struct pkt_buf. */
	u8 ip_summed, gso_hlen;
	u16 gso_size, csum_start, csum_offset;
};
extern struct fx_frame fx_tx[4096];
extern u32 fx_nr_tx;
extern bool fx_hold; /* leave packets with the "device" until fx_complete() */
void fx_complete(void);
void fx_forget(void);

/* Frames received and not given back. */
extern u32 fx_rx_out;
extern struct pkt_pool fx_pool; /* what the glue takes for their pool: a test may make it run low */
/* Delivers a frame of exactly these bytes. Returns where its data lay (valid while it is out). */
const void *fx_rx(const void *frame, u32 len);
/*
 * The same with a checksum of which something is known (CHECKSUM_*), and in pieces of so many
 * bytes (0: in one).
 */
void fx_rx_large(const void *frame, u32 len, u32 piece, u8 ip_summed);
/* The same by way of GRO; fx_gro_flush() is the end of the poll. */
void fx_gro_rx(const void *frame, u32 len);
void fx_gro_flush(void);

/* Building. Each returns the length of the whole frame in buf. */
u32 fx_eth(u8 *buf, u16 type, const void *payload, u32 len);
u32 fx_ip4(u8 *buf, u8 proto, u16 id, u16 frag, const void *payload, u32 len);
u32 fx_icmp_echo(u8 *buf, u16 seq, u32 data_len);
u32 fx_arp_request(u8 *buf, u32 from, u32 whom);
struct fx_tcp {
	u16 sport, dport;
	u32 seq, ack;
	u8 flags;
	u16 ip_id;        /* 0: 1 */
	u16 window;       /* 0: 65535 */
	bool zero_window; /* really 0 */
	const void *options;
	u32 opt_len;
	const void *data;
	u32 data_len;
};
u32 fx_tcp(u8 *buf, const struct fx_tcp *t);
void fx_rx_tcp(const struct fx_tcp *t);
u16 fx_sum(const void *data, u32 len, u32 start);
/* IPv6 from fe80::1 to the guest's link-local address. */
extern const u8 fx_peer_ip6[16], fx_guest_ip6[16];
u32 fx_ip6(u8 *buf, u8 next, const void *payload, u32 len);
/* Makes the guest know the peer's MAC. */
void fx_learn_peer(void);

#endif
