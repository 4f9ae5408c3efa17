/*
 * Between the files of net/lwip/: nobody else includes it. Softirq context, or task with bottom
 * halves disabled, unless said.
 */
#ifndef NET_LWIP_GLUE_H
#define NET_LWIP_GLUE_H

#include "kernel/lib/types.h"

#include "lwip/ip_addr.h"

struct net_device;
struct netif;
struct pkt_buf;
struct stats_sink;

/* ---- netif.c ---- */

/* lwIP's one interface; nothing is linked to it before lwip_attach(). */
extern struct netif lwip_netif;
/* Frames that the packet which lwIP is looking at was merged of. */
extern u32 lwip_rx_segs;
/* Makes dev that interface, up, with its IPv6 link-local address on the way. */
void lwip_attach(struct net_device *dev);
/* A frame from the driver; owns pkt. */
void lwip_input(struct pkt_buf *pkt);
void lwip_carrier_changed(struct net_device *dev);
/* A gratuitous ARP, and reports of our multicast groups: whoever relays learns where we are. */
void lwip_notify_peers(struct net_device *dev);

/* ---- filter.c, filter6.c: what lwIP must not see ---- */

/* Why a frame was dropped in front of lwIP. The order is that of the names in filter.c. */
enum lwip_filter {
	FILTER_OK,
	FILTER_SHORT, /* shorter than the headers its ethertype stands for */
	FILTER_PROTO, /* an ethertype that nobody handles, VLAN tags among them */
	FILTER_IPV4,  /* version, header length, total length */
	FILTER_IPV6,  /* version, payload length */
	FILTER_EXT,   /* an extension header or an option in it runs past the packet */
	FILTER_TCP,
	FILTER_UDP,
	FILTER_ICMP,
	FILTER_ND,      /* an option of neighbour discovery of length 0 or past the end; our own
			 * address, advertised by somebody else */
	FILTER_ND_FRAG, /* neighbour discovery in fragments (RFC 6980) */
	FILTER_TCP_OPT, /* an option past the TCP header; found after reassembly (hooks.c) */
	NR_FILTERS,
};
/* Judges a whole frame; counts what is not FILTER_OK. */
enum lwip_filter lwip_filter(const u8 *frame, u32 len);
/* The part behind the Ethernet header of an IPv6 packet. */
enum lwip_filter lwip_filter_ipv6(const u8 *ip, u32 len);
/* The header of TCP, UDP or ICMP; whole: not the first of several fragments. */
enum lwip_filter lwip_filter_tcp(const u8 *th, u32 len);
enum lwip_filter lwip_filter_udp(const u8 *uh, u32 len, bool whole);
extern u64 lwip_filter_count[NR_FILTERS];

/* ---- tso.c ---- */

/* Says to the device, in pkt, what is left to it of a frame of len bytes, whose headers are at
 * frame. */
void lwip_tx_offload(struct pkt_buf *pkt, u8 *frame, u32 len, u16 gso_size);

/* ---- timers.c ---- */

enum lwip_timer {
	LWIP_TIMER_TCP,
	LWIP_TIMER_IP_REASS,
	LWIP_TIMER_ARP,
	LWIP_TIMER_DHCP_FINE,
	LWIP_TIMER_DHCP_COARSE,
	LWIP_TIMER_ND6,
	LWIP_TIMER_IP6_REASS,
	LWIP_TIMER_MLD6,
	NR_LWIP_TIMERS,
};
/* Something may have appeared in the table this timer looks after: it will run, and go on while
 * there is. */
void lwip_timer_kick(enum lwip_timer t);
/* What its table says has changed altogether: its next run is counted from now. */
void lwip_timer_restart(enum lwip_timer t);
void lwip_timers_init(void);

/* ---- tcp_lists.c ---- */

/* tcp_tmr(), of the connections for which something is due. */
void lwip_tcp_tmr(void);

/* ---- dhcp.c: the client's state, for timers.c; and what it says in the log ---- */

bool lwip_dhcp_fine_needed(void);
/* The number of coarse ticks until the client has something to do; 0: nothing. */
u32 lwip_dhcp_coarse_ticks(void);
/* Asks for an address, now and whenever the link comes back. */
void lwip_dhcp_start(void);
/* The interface's IPv4 address was set, confirmed or taken away. */
void lwip_dhcp_address_event(void);

/* ---- stack.c ---- */

/* An address as people write it: IPv6 in lower case (RFC 5952, 4.3). Returns buf. */
char *lwip_addr_text(const ip_addr_t *addr, char buf[IPADDR_STRLEN_MAX]);

/* A bug of ours if this is neither a softirq nor a task with bottom halves disabled. */
void lwip_assert_core_locked(void);

/* ---- memp.c, mem.c ---- */

/* Bytes that lwIP may have from mem_malloc() at once. */
extern size_t lwip_mem_limit;

#endif
