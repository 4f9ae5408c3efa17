/*
 * Calls that lwIP makes out to us from inside its files (LWIP_HOOK_FILENAME). Softirq context.
 */
#ifndef NET_LWIP_HOOKS_H
#define NET_LWIP_HOOKS_H

#include "lwip/arch.h"
#include "lwip/err.h"
#include "lwip/ip_addr.h"
#include "net/trace.h"

struct pbuf;
struct tcp_hdr;
struct tcp_pcb;

/* Draws the boot's secrets. Task, once, after random_init(). */
void lwip_hooks_init(void);

/* The initial sequence number of a connection (RFC 6528). */
u32_t lwip_hook_tcp_isn(const ip_addr_t *local, u16_t local_port, const ip_addr_t *remote,
			u16_t remote_port);
#define LWIP_HOOK_TCP_ISN lwip_hook_tcp_isn

/*
 * A segment for a connection, its checksum good; the options lie in one or two pieces. ERR_OK, or
 * ERR_VAL: an option runs past the header, drop it.
 */
err_t lwip_hook_tcp_inpacket(struct tcp_pcb *pcb, const struct tcp_hdr *hdr, u16_t optlen,
			     u16_t opt1len, const u8_t *opt2, const struct pbuf *p);
#define LWIP_HOOK_TCP_INPACKET_PCB lwip_hook_tcp_inpacket

struct netif;
struct pbuf;
struct tcp_seg;

/* How many bytes a segment that is being built may have, mss being what it would have
 * (patches/0020). */
u16_t lwip_hook_tcp_seg_max(const struct tcp_pcb *pcb, u16_t mss);
#define LWIP_HOOK_TCP_SEG_MAX lwip_hook_tcp_seg_max
/* True: the device does the checksum of this segment, and cuts it if it is larger than the MSS. */
int lwip_hook_tcp_offload(const struct tcp_pcb *pcb, struct tcp_seg *seg, struct netif *netif);
#define LWIP_HOOK_TCP_OFFLOAD lwip_hook_tcp_offload
/* Such a packet is not IP's to fragment. */
#define LWIP_HOOK_IP_IS_GSO(p) ((p)->gso_size != 0)

/* An application's callback is about to be called with what was received (patches/0009). */
#define LWIP_HOOK_APP_CALLBACK() trace_app()

/*
 * The connection that a segment is for, active before one in TIME_WAIT, or NULL (patches/0010,
 * tcp_hash.c). Its addresses are ip_current_src_addr() and ip_current_dest_addr().
 */
struct tcp_pcb *lwip_hook_tcp_lookup(u16_t remote_port, u16_t local_port);

/* tcp_lists.c: puts a pcb at the front of one of lwIP's lists, takes it out (patches/0010). */
void lwip_hook_tcp_reg(struct tcp_pcb **list, struct tcp_pcb *pcb);
void lwip_hook_tcp_rmv(struct tcp_pcb **list, struct tcp_pcb *pcb);
/* A connection that sleeps is about to change (patches/0011): it is awake from here on. */
void lwip_hook_tcp_wake(struct tcp_pcb *pcb);
/* For tcp_kill_prio() and tcp_kill_timewait(). */
void lwip_hook_tcp_setprio(u8_t prio);
int lwip_hook_tcp_prio_unused(u8_t prio);
void lwip_hook_tcp_timewait_again(struct tcp_pcb *pcb);
struct tcp_pcb *lwip_hook_tcp_oldest_timewait(void);

/* The identification of the next IPv4 datagram (patches/0002). */
u16_t lwip_hook_ip4_id(void);
#define LWIP_HOOK_IP4_ID lwip_hook_ip4_id

#endif
