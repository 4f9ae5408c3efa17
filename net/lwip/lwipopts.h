/*
 * lwIP's options, each with its reason. What is not here has lwIP's default (lwip/opt.h). Limits on
 * memory are not compile-time numbers but follow the machine's size: net/lwip/memp.c and mem.c.
 */
#ifndef NET_LWIP_LWIPOPTS_H
#define NET_LWIP_LWIPOPTS_H

#include <stdint.h>

/* ---- where lwIP runs: softirq context only, one CPU (architecture.md, 8) ---- */
#define NO_SYS 1       /* no threads, no mailboxes */
#define LWIP_NETCONN 0 /* the raw API is the API */
#define LWIP_SOCKET 0
#define SYS_LIGHTWEIGHT_PROT 0 /* hard interrupts never touch lwIP: nothing to protect against */
#define LWIP_TIMERS 1
#define LWIP_TIMERS_CUSTOM                                                                      \
	1                   /* timers.c: one deadline, armed only while a table holds something \
			     */
#define LWIP_SINGLE_NETIF 1 /* one address on one interface; saves every lookup by interface */
/* LWIP_ASSERT_CORE_LOCKED() would be asked five times a ping; mem.c and memp.c ask instead. */

/* ---- memory: mem.c and memp.c are ours, on the kernel's slabs ---- */
#define MEM_ALIGNMENT 8
#define MEMP_MEM_MALLOC 1      /* no static pools: .bss stays small, limits follow the machine */
#define MEM_CUSTOM_ALLOCATOR 1 /* size_t for sizes; mem_malloc() and friends are in mem.c */
#define MEM_CUSTOM_MALLOC mem_malloc
#define MEM_CUSTOM_CALLOC mem_calloc
#define MEM_CUSTOM_FREE mem_free
#define MEMP_NUM_REASSDATA 16      /* datagrams in reassembly at once, IPv4 and IPv6 each */
#define PBUF_POOL_BUFSIZE 1600     /* of PBUF_POOL, which only apps would ask for: a frame */
#define LWIP_SUPPORT_CUSTOM_PBUF 1 /* a received packet is its own pbuf (netif.c) */
/* Room for virtio_net_hdr in front of every frame we build: header and first piece take one
 * descriptor. */
#define PBUF_LINK_ENCAPSULATION_HLEN 16
/*
 * May the memory change after the call? Of a PBUF_REF, yes, unless it is one of IP fragmentation's,
 * which holds a reference to the pbuf it points into.
 */
#define PBUF_NEEDS_COPY(p) \
	(((p)->type_internal & PBUF_TYPE_FLAG_DATA_VOLATILE) && !((p)->flags & PBUF_FLAG_IS_CUSTOM))

/*
 * Of a TCP segment that is sent: not 0 if its checksum, and its cutting into pieces of so many bytes, is left to the
 * device (tso.c).
 */
#define LWIP_PBUF_CUSTOM_DATA uint16_t gso_size;
#define LWIP_PBUF_CUSTOM_DATA_INIT(p) ((p)->gso_size = 0)

/* ---- checks: all on, lwIP's assertions too (LWIP_NOASSERT is not defined) ---- */
#define CHECKSUM_CHECK_IP 1
#define CHECKSUM_CHECK_UDP 1
#define CHECKSUM_CHECK_TCP 1
#define CHECKSUM_CHECK_ICMP 1
#define CHECKSUM_CHECK_ICMP6 1
#define LWIP_CHECKSUM_CTRL_PER_NETIF 1 /* netif.c says of each frame whether its TCP checksum is still to be verified */

/* ---- link ---- */
#define LWIP_ETHERNET 1
#define LWIP_ARP 1
#define ARP_TABLE_SIZE                                                                         \
	64             /* a small network; lwIP searches it linearly on each miss of its cache \
			*/
#define ARP_QUEUEING 1 /* a burst to a neighbour not yet known keeps more than its last frame */
#define ARP_QUEUE_LEN 8
#define ETHARP_SUPPORT_STATIC_ENTRIES 0
#define LWIP_NETIF_HOSTNAME 1            /* told to the DHCP server */
#define LWIP_NETIF_EXT_STATUS_CALLBACK 1 /* ipconfig.c hears of every address */
#define LWIP_NETIF_LOOPBACK 0

/* ---- IPv4 ---- */
#define LWIP_IPV4 1
#define IP_FORWARD 0         /* a host */
#define IP_OPTIONS_ALLOWED 0 /* source routing and friends: dropped (RFC 7126) */
#define IP_REASSEMBLY 1
#define IP_FRAG 1
/*
 * Fragments held in all, IPv4 and IPv6 each: a 65,507-byte ping is 45. Two of them at once; the
 * oldest datagram makes room for the newest, so incomplete ones cannot lock others out.
 */
#define IP_REASS_MAX_PBUFS 96
#define IP_REASS_FREE_OLDEST 1
#define IP_REASS_MAXAGE 15 /* seconds */
#define IP_DEFAULT_TTL 64  /* RFC 1700's */
#define LWIP_ICMP 1
#define LWIP_BROADCAST_PING 0 /* smurf amplifier */
#define LWIP_MULTICAST_PING 0
#define LWIP_DHCP 1
/* RFC 5227 probes would keep a guest from answering for six seconds at every boot; the server knows
 * its leases. */
#define LWIP_ACD 0
#define LWIP_DHCP_DOES_ACD_CHECK 0
#define DHCP_COARSE_TIMER_SECS \
	10          /* leases of a minute work; dhcp.c skips the ticks in which nothing is due */
#define LWIP_IGMP 0 /* no IPv4 multicast */
#define LWIP_AUTOIP 0
#define LWIP_DNS 0 /* servers only */
#define LWIP_RAW 0

/* ---- IPv6 ---- */
#define LWIP_IPV6 1
#define LWIP_ICMP6 1
#define LWIP_IPV6_AUTOCONFIG 1    /* SLAAC (RFC 4862) */
#define LWIP_IPV6_NUM_ADDRESSES 4 /* link-local, and three prefixes */
#define LWIP_IPV6_DUP_DETECT_ATTEMPTS 1
#define LWIP_IPV6_MLD 1 /* switches that snoop need our reports (RFC 4862, 5.4.2) */
#define LWIP_IPV6_FORWARD 0
#define LWIP_IPV6_FRAG 1
#define LWIP_IPV6_REASS 1
#define IPV6_FRAG_COPYHEADER \
	1 /* pointers have 8 bytes: the fragment header is too small for the helper */
#define LWIP_IPV6_DHCP6 0
#define LWIP_ND6_QUEUEING 1
#define LWIP_ND6_NUM_NEIGHBORS 32
#define LWIP_ND6_NUM_DESTINATIONS 32
#define LWIP_ND6_NUM_PREFIXES 4
#define LWIP_ND6_NUM_ROUTERS 3
#define LWIP_ND6_ALLOW_RA_UPDATES 1 /* MTU and hop limit of the link */

/* ---- UDP, TCP ---- */
#define LWIP_UDP 1
#define LWIP_TCP 1
#define LWIP_RANDOMIZE_INITIAL_LOCAL_PORTS 1 /* and net/lwip/patches: each further one too */
#define TCP_MSS 1460     /* Ethernet; cut to the interface's MTU per connection */
#define LWIP_WND_SCALE 1 /* windows beyond 64 KiB (RFC 7323) */
#define TCP_RCV_SCALE 2
#define TCP_WND (88 * TCP_MSS) /* 128,480 bytes: a whole number of segments */
#define TCP_SND_BUF (88 * TCP_MSS)
#define TCP_SND_QUEUELEN \
	(4 * TCP_SND_BUF / TCP_MSS) /* two pbufs a segment, half as many for small writes */
#define TCP_SNDLOWAT \
	(2 * TCP_MSS + 1) /* for sockets only; the default does not fit this TCP_SND_BUF */
#define TCP_SNDQUEUELOWAT 5
#define TCP_QUEUE_OOSEQ 1
#define TCP_OOSEQ_MAX_BYTES TCP_WND /* lwIP's default has no bound */
#define TCP_OOSEQ_MAX_PBUFS 128
#define LWIP_TCP_SACK_OUT 1 /* tell the peer what arrived behind a hole (RFC 2018) */
#define LWIP_TCP_TIMESTAMPS                                                                      \
	0 /* lwIP does neither PAWS nor RTT with them; they cost 12 bytes a segment and tell our \
	     uptime */
#define TCP_LISTEN_BACKLOG 1           /* half-open connections per listener are bounded ... */
#define TCP_DEFAULT_LISTEN_BACKLOG 255 /* ... at the most lwIP can count */
#define TCP_SYNMAXRTX 3
/*
 * Unanswered retransmissions, or window probes, until a connection is given up: 94 s with the timeout of
 * 1.5 s that lwIP has on a quick network, and 189 s at the most (RFC 9293, 3.8.3 asks for some 100 s).
 * With the default of 12 a peer that vanished holds the data it never acknowledged for up to 38 minutes.
 */
#define TCP_MAXRTX 6
#define LWIP_TCP_KEEPALIVE 1 /* a peer that vanished is found out (apps turn it on) */
#define TCP_KEEPIDLE_DEFAULT 60000UL
#define TCP_KEEPINTVL_DEFAULT 15000UL
#define TCP_KEEPCNT_DEFAULT 4
/* 60 s, and 5 s in test images, which must see every pool empty again (kernel/variant.h). */
extern const uint32_t tcp_msl_ms;
#define TCP_MSL tcp_msl_ms

/* ---- what lwIP leaves to us: net/lwip/hooks.c ---- */
#define LWIP_HOOK_FILENAME "net/lwip/hooks.h"

/*
 * Finding a connection, and its place in lwIP's lists: tcp_hash.c and tcp_lists.c (patches/0010, 0011).
 * Here and not in hooks.h: lwIP's headers ask whether they are defined.
 */
struct tcp_pcb;
struct lwip_tcp_port {
	struct tcp_pcb **pprev; /* what points at us in our list; NULL: in none */
	struct tcp_pcb *hash_next, **hash_pprev;
	struct tcp_pcb *wheel_next, **wheel_pprev; /* the latter NULL: awake */
	uint32_t hash;
	uint16_t slept; /* tcp_ticks when it went to sleep, its low bits */
	uint16_t slot;  /* of the wheel */
};
#define LWIP_TCP_PCB_PORT_FIELDS struct lwip_tcp_port port;
#define LWIP_HOOK_TCP_LOOKUP lwip_hook_tcp_lookup
#define LWIP_HOOK_TCP_REG lwip_hook_tcp_reg
#define LWIP_HOOK_TCP_RMV lwip_hook_tcp_rmv
#define LWIP_HOOK_TCP_ASLEEP(pcb) ((pcb)->port.wheel_pprev != NULL)
/* Of one in TIME_WAIT nothing changes but that its end may be later: it need not wake for that. */
#define LWIP_HOOK_TCP_TOUCH(pcb)                                              \
	do {                                                                  \
		if (LWIP_HOOK_TCP_ASLEEP(pcb) && (pcb)->state != TIME_WAIT)   \
			lwip_hook_tcp_wake(pcb);                              \
	} while (0)
#define LWIP_HOOK_TCP_TIMEWAIT_AGAIN lwip_hook_tcp_timewait_again
#define LWIP_HOOK_TCP_SETPRIO lwip_hook_tcp_setprio
#define LWIP_HOOK_TCP_PRIO_UNUSED lwip_hook_tcp_prio_unused
#define LWIP_HOOK_TCP_OLDEST_TIMEWAIT lwip_hook_tcp_oldest_timewait

/* ---- counters: net/lwip/stats.c gives them names ---- */
#define LWIP_STATS 1
#define LWIP_STATS_LARGE 1 /* 32 bits */
#define MEM_STATS 0        /* the slabs count themselves */
#define MEMP_STATS 0
#define SYS_STATS 0
#define IP6_STATS 1
#define ICMP6_STATS 1
#define IP6_FRAG_STATS 1
#define ND6_STATS 1
#define MLD6_STATS 1

#endif
