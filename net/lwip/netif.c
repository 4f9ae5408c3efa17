/*
 * The glue between our packets and lwIP's: struct pkt_buf below, struct pbuf above, no byte copied
 * unless it must be.
 *
 * Receive: the pbuf lives in the packet's own header room (pkt_priv()), in front of the frame, and
 * has a type with the "contiguous" flag; so lwIP may grow headers in front of the payload, and
 * icmp_input() turns an echo request into its reply where it lies. Transmit: the pieces of a pbuf
 * chain are pointed to, and the chain is kept alive by a reference until the device is done.
 */
#include "net/lwip/glue.h"

#include "kernel/lib/byteorder.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/string.h"
#include "net/checksum.h"
#include "net/netdevice.h"
#include "net/trace.h"

#include "lwip/etharp.h"
#include "lwip/ethip6.h"
#include "lwip/ip4.h"
#include "lwip/ip6.h"
#include "lwip/mld6.h"
#include "lwip/netif.h"
#include "lwip/pbuf.h"
#include "lwip/prot/ip.h"
#include "lwip/prot/ip6.h"
#include "netif/ethernet.h"

#define IPV6_MIN_MTU 1280 /* RFC 8200, 5 */

_Static_assert(sizeof(struct pbuf_custom) <= PKT_PRIV_SIZE, "the pbuf fits in front of the frame");
/* pbuf_add_header() lets a pbuf grow down to its struct pbuf; a reply's headers are no longer than
 * the request's. */
_Static_assert(PKT_PRIV_SIZE + PKT_HEADROOM - sizeof(struct pbuf) >= PBUF_LINK_ENCAPSULATION_HLEN,
	       "icmp_input() wants this much in front of the Ethernet header to reply in place");

struct netif lwip_netif;

/* ---- receive ---- */

/* pbuf_free() of the last reference. */
static void lwip_pkt_free(struct pbuf *p)
{
	pkt_free(pkt_from_priv(p));
}

static struct pbuf *wrap_one(struct pkt_buf *pkt)
{
	struct pbuf_custom *pc = pkt_priv(pkt);
	u32 len = pkt->len - pkt->data_len;

	pc->custom_free_function = lwip_pkt_free;
	return pbuf_alloced_custom(PBUF_RAW, (u16_t)len, PBUF_POOL, pc, pkt->data, (u16_t)len);
}

/* What GRO merged: a chain, each piece of which owns its packet. */
static noinline struct pbuf *wrap_list(struct pkt_buf *pkt)
{
	struct pbuf *p = wrap_one(pkt), *last = p;
	u32 left = pkt->data_len;

	p->tot_len = (u16_t)pkt->len;
	while (pkt->frag_list) {
		struct pkt_buf *piece = pkt->frag_list;

		pkt->frag_list = NULL;
		pkt->data_len = 0;
		pkt = piece;
		last->next = wrap_one(pkt);
		last = last->next;
		last->tot_len = (u16_t)left;
		left -= last->len;
	}
	return p;
}

static inline struct pbuf *wrap(struct pkt_buf *pkt)
{
	return likely(!pkt->frag_list) ? wrap_one(pkt) : wrap_list(pkt);
}

/*
 * The pool runs low: what lwIP keeps (unread data of slow apps, fragments, segments out of order)
 * must not stop ARP, ICMP and everybody else. The rest of the pool is for the ring; this packet
 * moves to lwIP's heap, which has a limit of its own.
 */
static struct pbuf *copy(struct pkt_buf *pkt)
{
	struct pbuf *p = NULL;

	/* Piece by piece: the heap may have no room for all in one. */
	for (const struct pkt_buf *piece = pkt; piece; piece = piece->frag_list) {
		u32 len = piece->len - piece->data_len;
		struct pbuf *q = pbuf_alloc(PBUF_RAW_TX, (u16_t)len, PBUF_RAM);

		if (!q) {
			pkt->dev->stats.rx_dropped_no_mem += pkt_segs(pkt);
			trace_drop(pkt);
			if (p)
				pbuf_free(p);
			p = NULL;
			break;
		}
		memcpy(q->payload, piece->data, len);
		if (p)
			pbuf_cat(p, q);
		else
			p = q;
	}
	pkt_free(pkt);
	return p;
}

static inline bool pool_low(const struct pkt_buf *pkt)
{
	const struct pkt_pool *pool = pkt->destructor_arg;

	return pool->size - pool->used < pool->size / 8;
}

/*
 * Can lwIP or an app hold on to this frame? ARP, ICMP, neighbour discovery and bare ACKs are done
 * with at once; they pass whatever the pool and the heap are like, since they are what lets memory
 * be freed again. The filter has seen to the headers.
 */
static bool may_be_kept(const u8 *frame)
{
	const u8 *ip = frame + ETH_HLEN, *l4;
	u32 len;
	u8 proto;

	switch (get_unaligned_be16(frame + ETH_HLEN - 2)) {
	case ETHTYPE_IP:
		if (get_unaligned_be16(ip + 6) & 0x3fff) /* a fragment */
			return true;
		proto = ip[9];
		l4 = ip + (ip[0] & 0xf) * 4u;
		len = get_unaligned_be16(ip + 2) - (ip[0] & 0xf) * 4u;
		break;
	case ETHTYPE_IPV6:
		proto = ip[6];
		l4 = ip + 40;
		len = get_unaligned_be16(ip + 4);
		break;
	default:
		return false;
	}
	if (proto == IP_PROTO_ICMP || proto == IP6_NEXTH_ICMP6)
		return false;
	/* Header only, and no FIN, which counts as a byte (RFC 9293, 3.4). */
	return proto != IP_PROTO_TCP || len > (l4[12] >> 4) * 4u || l4[13] & 1;
}

static noinline void drop(struct pkt_buf *pkt, u64 *counter)
{
	*counter += pkt_segs(pkt);
	trace_drop(pkt);
	pkt_free(pkt);
}

static noinline void drop_filtered(struct pkt_buf *pkt, enum lwip_filter why)
{
	struct net_device_stats *stats = &pkt->dev->stats;

	drop(pkt, why == FILTER_SHORT ? &stats->rx_dropped_short :
		  why == FILTER_PROTO ? &stats->rx_dropped_proto :
					&stats->rx_dropped_filter);
}

/* A frame that is not IPv4 may put something into a table that a timer looks after. */
static inline void kick_timers(const u8 *frame)
{
	const struct eth_hdr *eth = (const struct eth_hdr *)frame;

	if (likely(eth->type == PP_HTONS(ETHTYPE_IP)))
		return;
	if (eth->type == PP_HTONS(ETHTYPE_ARP)) {
		lwip_timer_kick(LWIP_TIMER_ARP);
	} else if (eth->type == PP_HTONS(ETHTYPE_IPV6)) {
		lwip_timer_kick(LWIP_TIMER_ND6);
		lwip_timer_kick(LWIP_TIMER_MLD6);
	}
}

/* Linux's PACKET_OTHERHOST: a unicast frame for another MAC, which a promiscuous device delivers
 * too. */
static inline bool for_other_host(const struct pkt_buf *pkt)
{
	return pkt->len >= ETH_ALEN && !(pkt->data[0] & 1) &&
	       memcmp(pkt->data, pkt->dev->dev_addr, ETH_ALEN);
}

/*
 * TCP or UDP right behind the IP header, and not a fragment: what the device says of a checksum can
 * only be said of these.
 */
static inline bool plain_l4(const u8 *frame)
{
	const u8 *ip = frame + ETH_HLEN;

	if (likely(get_unaligned_be16(ip - 2) == ETHTYPE_IP))
		return !(get_unaligned_be16(ip + 6) & 0x3fff);
	return ip[6] == IP6_NEXTH_TCP || ip[6] == IP6_NEXTH_UDP;
}

/* lwIP leaves the IPv4 header's checksum to lwip_linkoutput(), which has a quicker one. */
#define CHECKSUM_FLAGS ((u16)(NETIF_CHECKSUM_ENABLE_ALL & ~NETIF_CHECKSUM_GEN_IP))

/* For the time of one delivery: what is known of its checksum, lwIP need not find out. */
static inline void lwip_rx_csum(const struct pkt_buf *pkt)
{
	u16 flags = CHECKSUM_FLAGS;

	if (pkt->ip_summed != CHECKSUM_NONE && plain_l4(pkt->data))
		flags &= (u16) ~(NETIF_CHECKSUM_CHECK_TCP | NETIF_CHECKSUM_CHECK_UDP);
	/* A wrong one is lwIP's to find, and to count. */
	if (likely(pkt->data[ETH_HLEN] == 0x45) && likely(!ip_fast_csum(pkt->data + ETH_HLEN)))
		flags &= (u16)~NETIF_CHECKSUM_CHECK_IP;
	lwip_netif.chksum_flags = flags;
	lwip_rx_segs = pkt->gso_size ? 2 : pkt_segs(pkt);
}

/*
 * A frame in several pieces: its headers are in the first if it is a TCP segment without detours,
 * and nothing else is ever merged.
 */
static inline bool pieces_ok(const struct pkt_buf *pkt)
{
	const u8 *ip = pkt->data + ETH_HLEN;

	if (get_unaligned_be16(ip - 2) == ETHTYPE_IP)
		return ip[9] == IP_PROTO_TCP && plain_l4(pkt->data);
	return get_unaligned_be16(ip - 2) == ETHTYPE_IPV6 && ip[6] == IP6_NEXTH_TCP;
}

/*
 * lwIP counts a packet's bytes in 16 bits, and the largest with its Ethernet header has more: it
 * goes in without.
 */
static noinline void lwip_input_large(struct pkt_buf *pkt)
{
	bool v4 = get_unaligned_be16(pkt->data + ETH_HLEN - 2) == ETHTYPE_IP;
	struct pbuf *p;

	pkt->data += ETH_HLEN;
	pkt->len -= ETH_HLEN;
	if (unlikely(pkt->len > 0xffff)) {
		drop(pkt, &pkt->dev->stats.rx_dropped_filter);
		return;
	}
	p = likely(!pool_low(pkt)) ? wrap(pkt) : copy(pkt);
	if (likely(p))
		v4 ? ip4_input(p, &lwip_netif) : ip6_input(p, &lwip_netif);
}

noinline void lwip_input(struct pkt_buf *pkt)
{
	enum lwip_filter verdict;
	struct pbuf *p;

	if (unlikely(pkt->dev->rx_handler_data != &lwip_netif)) {
		drop(pkt, &pkt->dev->stats.rx_dropped_no_stack);
		return;
	}
	if (unlikely(for_other_host(pkt))) {
		drop(pkt, &pkt->dev->stats.rx_dropped_otherhost);
		return;
	}
	trace_input(pkt);
	verdict = unlikely(pkt->frag_list) && !pieces_ok(pkt) ? FILTER_PROTO :
								lwip_filter(pkt->data, pkt->len);
	if (unlikely(verdict != FILTER_OK)) {
		drop_filtered(pkt, verdict);
		trace_input_end();
		return;
	}
	kick_timers(pkt->data);
	lwip_rx_csum(pkt);
	if (unlikely(pkt->len > 0xffff)) {
		lwip_input_large(pkt);
		trace_input_end();
		return;
	}
	p = likely(!pool_low(pkt)) || !may_be_kept(pkt->data) ? wrap(pkt) : copy(pkt);
	if (likely(p) && unlikely(ethernet_input(p, &lwip_netif) != ERR_OK))
		pbuf_free(p);
	trace_input_end();
}

/* ---- transmit ---- */

/* The device is done with the packet. */
static void lwip_tx_done(struct pkt_buf *pkt)
{
	struct pbuf *p = pkt->destructor_arg;

	pkt_release_tx(pkt);
	pbuf_free(p);
}

/* Bytes in front of the first piece that nobody uses: the driver may put its own header there. */
static inline u8 headroom_of(const struct pbuf *p)
{
	size_t room;

	if (!(p->type_internal & PBUF_TYPE_FLAG_STRUCT_DATA_CONTIGUOUS))
		return 0;
	room = (size_t)((const u8 *)p->payload - (const u8 *)p) -
	       (p->flags & PBUF_FLAG_IS_CUSTOM ? sizeof(struct pbuf_custom) : sizeof(struct pbuf));
	return (u8)min(room, (size_t)PBUF_LINK_ENCAPSULATION_HLEN);
}

/* Points the packet's pieces into the chain. False: more than PKT_MAX_FRAGS, or memory that may
 * change under us. */
static inline bool map_frags(struct pkt_buf *pkt, struct pbuf *p)
{
	u32 n = 0;

	for (struct pbuf *q = p; q; q = q->next) {
		if (unlikely(q->len == 0))
			continue;
		if (unlikely(n == PKT_MAX_FRAGS || PBUF_NEEDS_COPY(q)))
			return false;
		pkt->frags[n++] = (struct pkt_frag){ q->payload, q->len };
	}
	pkt->nr_frags = (u16)n;
	return n != 0;
}

/* The whole chain in one new piece. */
static noinline struct pbuf *flatten(struct net_device *dev, struct pbuf *p)
{
	struct pbuf *flat = pbuf_alloc(PBUF_RAW_TX, p->tot_len, PBUF_RAM);

	if (!flat)
		return NULL;
	pbuf_copy(flat, p);
	dev->stats.tx_copied++;
	return flat;
}

/* lwIP's headers have no options and are in one piece. */
static inline void ip4_csum(u8 *frame)
{
	struct ip_hdr *iph = (struct ip_hdr *)(frame + ETH_HLEN);

	if (get_unaligned_be16(frame + ETH_HLEN - 2) != ETHTYPE_IP)
		return;
	IPH_CHKSUM_SET(iph, 0);
	IPH_CHKSUM_SET(iph, ip_fast_csum(iph));
}

static noinline err_t lwip_linkoutput(struct netif *netif, struct pbuf *p)
{
	struct net_device *dev = netif->state;
	struct pkt_buf *pkt = pkt_alloc_tx();
	u16 gso_size = p->gso_size;
	int err;

	if (unlikely(!pkt)) {
		dev->stats.tx_dropped_no_mem++;
		return ERR_MEM;
	}
	if (likely(map_frags(pkt, p))) {
		pbuf_ref(p);
	} else {
		p = flatten(dev, p);
		if (!p) {
			dev->stats.tx_dropped_no_mem++;
			pkt_release_tx(pkt);
			return ERR_MEM;
		}
		map_frags(pkt, p);
	}
	ip4_csum(p->payload);
	pkt->dev = dev;
	pkt->len = p->tot_len;
	if (gso_size)
		lwip_tx_offload(pkt, p->payload, p->tot_len, gso_size);
	pkt->headroom = headroom_of(p);
	pkt->destructor = lwip_tx_done;
	pkt->destructor_arg = p;
	kick_timers(p->payload);
	err = dev_queue_xmit(pkt);
	return likely(!err) ? ERR_OK : err == -ENOSPC ? ERR_MEM : ERR_IF;
}

/* ---- the interface ---- */

static err_t lwip_netif_init(struct netif *netif)
{
	struct net_device *dev = netif->state;

	netif->name[0] = 'e';
	netif->name[1] = 't';
	netif->hwaddr_len = ETH_ALEN;
	memcpy(netif->hwaddr, dev->dev_addr, ETH_ALEN);
	netif->mtu = (u16_t)min(dev->mtu, 0xffffu);
	netif->flags = NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET |
		       NETIF_FLAG_MLD6;
	netif->output = etharp_output;
	netif->output_ip6 = ethip6_output;
	netif->linkoutput = lwip_linkoutput;
	NETIF_SET_CHECKSUM_CTRL(netif, CHECKSUM_FLAGS);
	return ERR_OK;
}

void lwip_carrier_changed(struct net_device *dev)
{
	if (dev->rx_handler_data != &lwip_netif)
		return;
	if (!netif_carrier_ok(dev)) {
		netif_set_link_down(&lwip_netif);
		return;
	}
	netif_set_link_up(
		&lwip_netif); /* announces addresses, repeats DHCP and router solicitation */
	lwip_timer_kick(LWIP_TIMER_DHCP_FINE);
	lwip_timer_kick(LWIP_TIMER_ND6);
	lwip_timer_kick(LWIP_TIMER_MLD6);
}

void lwip_notify_peers(struct net_device *dev)
{
	if (dev->rx_handler_data != &lwip_netif)
		return;
	if (!ip4_addr_isany(netif_ip4_addr(&lwip_netif)))
		etharp_gratuitous(&lwip_netif);
	mld6_report_groups(&lwip_netif);
	lwip_timer_kick(LWIP_TIMER_MLD6);
}

void lwip_attach(struct net_device *dev)
{
	netif_add(&lwip_netif, NULL, NULL, NULL, dev, lwip_netif_init, ethernet_input);
	netif_set_default(&lwip_netif);
	dev->rx_handler_data = &lwip_netif;
	if (dev->mtu >= IPV6_MIN_MTU) {
		lwip_netif.ip6_autoconfig_enabled = 1;
		netif_create_ip6_linklocal_address(&lwip_netif, 1);
	}
	netif_set_up(&lwip_netif);
	lwip_carrier_changed(dev);
}
