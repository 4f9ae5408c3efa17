/*
 * Generic receive offload: segments of one TCP flow that follow each other become one packet before
 * the stack sees them, so that it looks up, checks and acknowledges once for many. By Linux's rules
 * (net/core/gro.c, net/ipv4/tcp_offload.c): merged is only what could be cut into the same segments
 * again; anything else passes as it came, behind what is held of its flow.
 *
 * The checksum in front of a merged packet is the first segment's. Each segment has been verified
 * (CHECKSUM_UNNECESSARY), so nobody looks at it. Nothing is held beyond the poll that brought it.
 */
#include "kernel/lib/byteorder.h"
#include "kernel/lib/container_of.h"
#include "kernel/lib/string.h"
#include "net/checksum.h"
#include "net/inet_hdr.h"
#include "net/netdevice.h"
#include "net/trace.h"

#define MAX_GRO_FLOWS 8     /* held at once; Linux's MAX_GRO_SKBS */
#define GRO_NORMAL_BATCH 8  /* packets for the stack collected before it runs */
#define GRO_MAX_SIZE 65535u /* of a merged frame: lwIP counts in 16 bits */

/* pkt->cb of a held packet, which is the first segment. */
struct napi_gro_cb {
	struct pkt_buf *last; /* the end of its frag_list, or itself */
	u16 count;            /* segments */
	u16 hlen;             /* bytes of a segment's headers, Ethernet's included */
	u16 gso_size;         /* payload of each segment but the last */
	u16 id;               /* IPv4: of the first */
};
_Static_assert(sizeof(struct napi_gro_cb) <= sizeof(((struct pkt_buf *)0)->cb), "fits");

#define NAPI_GRO_CB(pkt) ((struct napi_gro_cb *)(pkt)->cb)

/* A TCP segment's parts. */
struct gro_view {
	struct iphdr *iph;    /* NULL: IPv6 */
	struct ipv6hdr *ip6h; /* NULL: IPv4 */
	struct tcphdr *th;
	u32 hlen, payload; /* bytes of headers from the frame's first on, and behind them */
	bool padded;
};

/*
 * True: TCP over IPv4 without options or IPv6 without extension headers, in one piece. The frame
 * may be longer than the packet (a bare ACK on a real Ethernet is padded).
 */
static bool gro_view(const struct pkt_buf *pkt, struct gro_view *v)
{
	u8 *ip = pkt->data + ETH_HLEN;
	u32 len = pkt->len - pkt->data_len - ETH_HLEN, tot_len, thoff;

	switch (get_unaligned_be16(ip - 2)) {
	case ETH_P_IP:
		v->iph = (struct iphdr *)ip;
		v->ip6h = NULL;
		thoff = sizeof(struct iphdr);
		if (len < thoff || v->iph->protocol != IPPROTO_TCP || v->iph->version_ihl != 0x45 ||
		    be16_to_cpu(v->iph->frag_off) & IP_OFFSET_MF)
			return false;
		tot_len = be16_to_cpu(v->iph->tot_len);
		break;
	case ETH_P_IPV6:
		v->iph = NULL;
		v->ip6h = (struct ipv6hdr *)ip;
		thoff = sizeof(struct ipv6hdr);
		if (len < thoff || v->ip6h->nexthdr != IPPROTO_TCP || ip[0] >> 4 != 6)
			return false;
		tot_len = be16_to_cpu(v->ip6h->payload_len) + thoff;
		break;
	default:
		return false;
	}
	if (tot_len > len || tot_len < thoff + sizeof(struct tcphdr))
		return false;
	v->th = (struct tcphdr *)(ip + thoff);
	thoff += (v->th->doff >> 4) * 4u;
	if (v->th->doff >> 4 < 5 || tot_len < thoff)
		return false;
	v->hlen = ETH_HLEN + thoff;
	v->payload = tot_len - thoff;
	v->padded = tot_len != len;
	return true;
}

/* RFC 9293, 3.1; RFC 8200, 8.1: the pseudo header is the addresses, the protocol and the length. */
static bool tcp_checksum_holds(const struct gro_view *v)
{
	u32 len = (v->th->doff >> 4) * 4u + v->payload;
	u32 sum = (u32)cpu_to_be16((u16)len) + cpu_to_be16(IPPROTO_TCP);

	sum = v->iph ? csum_partial(&v->iph->saddr, 8, sum) : csum_partial(v->ip6h->saddr, 32, sum);
	return !csum_fold(csum_partial(v->th, len, sum));
}

/* ---- flows ---- */

static bool same_flow(const struct pkt_buf *a, const struct gro_view *va, const struct pkt_buf *b,
		      const struct gro_view *vb)
{
	/* Ports, and the Ethernet header with its type. */
	if (memcmp(va->th, vb->th, 4) || memcmp(a->data, b->data, ETH_HLEN))
		return false;
	if (va->iph)
		return !memcmp(&va->iph->saddr, &vb->iph->saddr, 8);
	return !memcmp(va->ip6h->saddr, vb->ip6h->saddr, 32);
}

static struct pkt_buf *find_flow(struct napi_struct *napi, const struct pkt_buf *pkt,
				 const struct gro_view *v, struct gro_view *held_view)
{
	struct list_head *pos;

	list_for_each(pos, &napi->gro_list)
	{
		struct pkt_buf *held = container_of(pos, struct pkt_buf, list);

		if (gro_view(held, held_view) && same_flow(held, held_view, pkt, v))
			return held;
	}
	return NULL;
}

/* The IP headers could be cut from one (Linux's inet_gro_receive, ipv6_gro_receive). */
static bool ip_follows(const struct pkt_buf *held, const struct gro_view *h,
		       const struct gro_view *v)
{
	u16 id;

	if (v->ip6h)
		return v->ip6h->flow == h->ip6h->flow && v->ip6h->hop_limit == h->ip6h->hop_limit;
	if (v->iph->ttl != h->iph->ttl || v->iph->tos != h->iph->tos ||
	    v->iph->frag_off != h->iph->frag_off)
		return false;
	id = be16_to_cpu(v->iph->id);
	/* RFC 6864: with DF set the number means nothing; some senders leave it as it is. */
	return id == (u16)(NAPI_GRO_CB(held)->id + NAPI_GRO_CB(held)->count) ||
	       (be16_to_cpu(v->iph->frag_off) & IP_DF && id == NAPI_GRO_CB(held)->id);
}

/* The next segment, which nothing but PSH or FIN tells from those before (tcp_gro_receive). */
static bool tcp_follows(const struct pkt_buf *held, const struct gro_view *h,
			const struct gro_view *v)
{
	const struct napi_gro_cb *cb = NAPI_GRO_CB(held);
	u32 next = be32_to_cpu(h->th->seq) + held->len - cb->hlen;

	return be32_to_cpu(v->th->seq) == next && v->th->ack_seq == h->th->ack_seq &&
	       v->th->window == h->th->window && v->th->doff == h->th->doff &&
	       !((v->th->flags ^ h->th->flags) & ~(TCP_FLAG_PSH | TCP_FLAG_FIN)) &&
	       !memcmp(v->th + 1, h->th + 1, (v->th->doff >> 4) * 4u - sizeof(struct tcphdr)) &&
	       v->payload <= cb->gso_size && held->len + v->payload <= GRO_MAX_SIZE;
}

/* ---- merging ---- */

/* To the stack, in order; more: and the poll goes on. */
static void gro_normal_list(struct napi_struct *napi, bool more)
{
	struct list_head list;

	if (list_empty(&napi->rx_list))
		return;
	INIT_LIST_HEAD(&list);
	list_splice_init(&napi->rx_list, &list);
	napi->rx_count = 0;
	netif_receive_list(&list, more);
}

static void gro_normal_one(struct napi_struct *napi, struct pkt_buf *pkt)
{
	list_add_tail(&pkt->list, &napi->rx_list);
	if (++napi->rx_count >= GRO_NORMAL_BATCH)
		gro_normal_list(napi, true);
}

/* A held packet goes to the stack: its IP header says how much it has become. */
static void gro_complete(struct napi_struct *napi, struct pkt_buf *pkt)
{
	list_del(&pkt->list);
	napi->gro_count--;
	if (pkt->frag_list) {
		u8 *ip = pkt->data + ETH_HLEN;

		pkt->gso_segs = NAPI_GRO_CB(pkt)->count;
		if (ip[0] >> 4 == 4) {
			struct iphdr *iph = (struct iphdr *)ip;

			iph->tot_len = cpu_to_be16((u16)(pkt->len - ETH_HLEN));
			iph->check = 0;
			iph->check = csum_fold(csum_partial(iph, sizeof(*iph), 0));
		} else {
			((struct ipv6hdr *)ip)->payload_len =
				cpu_to_be16((u16)(pkt->len - ETH_HLEN - sizeof(struct ipv6hdr)));
		}
	}
	gro_normal_one(napi, pkt);
}

static void gro_complete_all(struct napi_struct *napi)
{
	while (!list_empty(&napi->gro_list))
		gro_complete(napi, list_first_entry(&napi->gro_list, struct pkt_buf, list));
}

void napi_gro_flush(struct napi_struct *napi)
{
	gro_complete_all(napi);
	gro_normal_list(napi, false);
}

static void gro_hold(struct napi_struct *napi, struct pkt_buf *pkt, const struct gro_view *v)
{
	if (napi->gro_count >= MAX_GRO_FLOWS)
		gro_complete(napi, list_first_entry(&napi->gro_list, struct pkt_buf, list));
	*NAPI_GRO_CB(pkt) = (struct napi_gro_cb){ .last = pkt,
						  .count = 1,
						  .hlen = (u16)v->hlen,
						  .gso_size = (u16)v->payload,
						  .id = v->iph ? be16_to_cpu(v->iph->id) : 0 };
	list_add_tail(&pkt->list, &napi->gro_list);
	napi->gro_count++;
}

/* pkt's payload becomes the end of held; its headers are forgotten. */
static void gro_merge(struct pkt_buf *held, struct gro_view *h, struct pkt_buf *pkt,
		      const struct gro_view *v)
{
	struct napi_gro_cb *cb = NAPI_GRO_CB(held);
	struct net_device *dev = held->dev;

	/* Frames are counted as they came; the rest, with the merged packet. */
	dev->stats.rx_packets++;
	dev->stats.rx_bytes += pkt->len;
	dev->stats.rx_gro_merged++;
	trace_merge(held, pkt);

	h->th->flags |= v->th->flags & (TCP_FLAG_PSH | TCP_FLAG_FIN);
	pkt->data += v->hlen;
	pkt->len = v->payload;
	cb->last->frag_list = pkt;
	cb->last = pkt;
	cb->count++;
	held->len += v->payload;
	held->data_len += v->payload;
}

/* Bytes for the stream, under no flag but ACK, PSH, FIN and ECE, and whole. */
static bool mergeable(struct pkt_buf *pkt, const struct gro_view *v)
{
	if (v->payload == 0 || v->padded || !(v->th->flags & TCP_FLAG_ACK) ||
	    v->th->flags & (TCP_FLAG_SYN | TCP_FLAG_RST | TCP_FLAG_URG | TCP_FLAG_CWR))
		return false;
	/* The stack counts a wrong one; here it only must not overtake. */
	if (v->iph && csum_fold(csum_partial(v->iph, sizeof(*v->iph), 0)))
		return false;
	if (pkt->ip_summed == CHECKSUM_UNNECESSARY)
		return true;
	if (!tcp_checksum_holds(v))
		return false;
	pkt->ip_summed = CHECKSUM_UNNECESSARY;
	return true;
}

noinline void napi_gro_receive(struct napi_struct *napi, struct pkt_buf *pkt)
{
	struct pkt_buf *held = NULL;
	struct gro_view v, h;

	trace_rx(pkt);
	/* What the device has merged is large enough; it must only not overtake. */
	if (unlikely(pkt->frag_list)) {
		gro_complete_all(napi);
		gro_normal_one(napi, pkt);
		return;
	}
	if (!pkt->dev->gro || !gro_view(pkt, &v)) {
		gro_normal_one(napi, pkt);
		return;
	}
	if (napi->gro_count)
		held = find_flow(napi, pkt, &v, &h);
	if (mergeable(pkt, &v)) {
		/* The last of a burst: whoever waits for it waits no longer. */
		bool end = v.th->flags & (TCP_FLAG_PSH | TCP_FLAG_FIN);

		if (held && ip_follows(held, &h, &v) && tcp_follows(held, &h, &v)) {
			end |= v.payload < NAPI_GRO_CB(held)->gso_size;
			gro_merge(held, &h, pkt, &v);
			if (end)
				gro_complete(napi, held);
			return;
		}
		if (!end) {
			if (held)
				gro_complete(napi, held);
			gro_hold(napi, pkt, &v);
			return;
		}
	}
	if (held)
		gro_complete(napi, held);
	gro_normal_one(napi, pkt);
}
