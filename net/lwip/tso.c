/*
 * TCP segments larger than the MSS, which the device cuts (TSO), and checksums that it completes.
 *
 * lwIP builds a segment as large as the windows make sensible, one header for up to 64 KiB; the
 * frame goes down with the size of its pieces (struct pbuf.gso_size, then pkt_buf.gso_size), and
 * the device sends what lwIP would have sent in forty segments. Everything else of TCP is as
 * before: the congestion window counts bytes, what is lost is sent again in segments that fit it, a
 * fast retransmission being of one MSS (patches/0020), and while a connection recovers its new
 * segments are no larger than the MSS, so that a second loss costs no more than it would have.
 */
#include "kernel/lib/byteorder.h"
#include "net/checksum.h"
#include "net/lwip/glue.h"
#include "net/lwip/hooks.h"
#include "net/netdevice.h"

#include "lwip/nd6.h"
#include "lwip/netif.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/prot/ethernet.h"
#include "lwip/prot/ip4.h"
#include "lwip/prot/ip6.h"
#include "lwip/prot/tcp.h"

/*
 * A pbuf's length counts what is in front of the payload, too, and has 16 bits: TCP's header with
 * all options is 60 bytes.
 */
#define GSO_MAX_PAYLOAD (65535u - ETH_HLEN - (u32)IP6_HLEN - 60u)
/* What is in flight is at least so many segments: one may be lost, and another tells. */
#define WINDOW_SEGMENTS 3u

static u32 tso_feature(const struct tcp_pcb *pcb)
{
	return IP_IS_V6_VAL(pcb->remote_ip) ? NETIF_F_TSO6 : NETIF_F_TSO;
}

u16_t lwip_hook_tcp_seg_max(const struct tcp_pcb *pcb, u16_t mss)
{
	const struct net_device *dev = lwip_netif.state;
	u32 most;

	if (!dev || !(dev->features & tso_feature(pcb)) || mss < pcb->mss ||
	    pcb->flags & (TF_INFR | TF_RTO) || pcb->nrtx)
		return mss;
	most = min((u32)LWIP_MIN(pcb->cwnd, pcb->snd_wnd_max) / WINDOW_SEGMENTS,
		   (u32)GSO_MAX_PAYLOAD);
	return most < 2u * mss ? mss : (u16_t)(most - most % mss);
}

int lwip_hook_tcp_offload(const struct tcp_pcb *pcb, struct tcp_seg *seg, struct netif *netif)
{
	const struct net_device *dev = netif->state;
	u32 mss = pcb->mss;

	seg->p->gso_size = 0;
	if (!(dev->features & NETIF_F_HW_CSUM))
		return 0;
	if (IP_IS_V6_VAL(pcb->remote_ip)) {
		/* The path may have become narrower than the MSS: then IP's fragments are needed,
		 * of a segment whose checksum is there, or smaller pieces. */
		u32 mtu = nd6_get_destination_mtu(ip_2_ip6(&pcb->remote_ip), netif);
		u32 hlen = (u32)IP6_HLEN + TCPH_HDRLEN_BYTES(seg->tcphdr);

		if (seg->len <= mss && seg->len + hlen > mtu)
			return 0;
		mss = min(mss, mtu - hlen);
	}
	seg->p->gso_size = (u16_t)mss;
	return 1;
}

/* RFC 9293, 3.1: the sum of the pseudo header stands in the checksum's place for the device to add
 * to. */
static u16 pseudo_sum(const u8 *addrs, u32 addrs_len, u32 len)
{
	u32 rest = (u32)cpu_to_be16((u16)len) + (u32)cpu_to_be16(IP_PROTO_TCP);

	/* As its start: added behind, a carry could be lost. */
	return (u16)~csum_fold(csum_partial(addrs, addrs_len, rest));
}

void lwip_tx_offload(struct pkt_buf *pkt, u8 *frame, u32 len, u16 gso_size)
{
	bool v4 = get_unaligned_be16(frame + ETH_HLEN - 2) == ETHTYPE_IP;
	u32 l4 = ETH_HLEN + (v4 ? (u32)IP_HLEN : (u32)IP6_HLEN);
	struct tcp_hdr *th = (struct tcp_hdr *)(frame + l4);

	th->chksum = v4 ? pseudo_sum(frame + ETH_HLEN + 12, 8, len - l4) :
			  pseudo_sum(frame + ETH_HLEN + 8, 32, len - l4);
	pkt->ip_summed = CHECKSUM_PARTIAL;
	pkt->csum_start = (u16)l4;
	pkt->csum_offset = offsetof(struct tcp_hdr, chksum);
	if (len - l4 - TCPH_HDRLEN_BYTES(th) <= gso_size)
		return;
	pkt->gso_size = gso_size;
	pkt->gso_hlen = (u8)(l4 + TCPH_HDRLEN_BYTES(th));
}
