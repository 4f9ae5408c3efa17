/*
 * The guard in front of lwIP. Version 2.2.1 reads ARP, IPv4 and IPv6 headers without asking whether
 * the frame has them (upstream pull request 108), so no frame shorter than its headers gets there,
 * nor one whose lengths contradict each other. virtio-net does not pad: a 15-byte frame arrives as
 * 15 bytes, and behind them lies the packet before it.
 */
#include "kernel/lib/byteorder.h"
#include "kernel/stats.h"
#include "net/lwip/glue.h"
#include "net/netdevice.h"

#include "lwip/prot/ethernet.h"
#include "lwip/prot/ip.h"

#define ARP_LEN 28 /* RFC 826, for Ethernet and IPv4 */
#define IPV4_HLEN 20
#define IPV6_HLEN 40
#define VLAN_HLEN 4 /* IEEE 802.1Q */
#define TCP_MIN_HLEN 20
#define UDP_HDR_LEN 8
#define ICMP_HDR_LEN 8

#define IPV4_LOOPBACK_NET 127
#define IPV4_MF 0x2000
#define IPV4_OFFSET 0x1fff

u64 lwip_filter_count[NR_FILTERS];

static const char *const filter_names[NR_FILTERS] = {
	[FILTER_OK] = "passed",    [FILTER_SHORT] = "short",     [FILTER_PROTO] = "proto",
	[FILTER_IPV4] = "ipv4",    [FILTER_IPV6] = "ipv6",       [FILTER_EXT] = "ipv6_ext",
	[FILTER_TCP] = "tcp",      [FILTER_UDP] = "udp",         [FILTER_ICMP] = "icmp",
	[FILTER_ND] = "nd_option", [FILTER_ND_FRAG] = "nd_frag", [FILTER_TCP_OPT] = "tcp_option",
};

/* RFC 9293, 3.1: the data offset is in 4-byte units, header included. */
enum lwip_filter lwip_filter_tcp(const u8 *th, u32 len)
{
	u32 hlen;

	if (len < TCP_MIN_HLEN)
		return FILTER_TCP;
	hlen = (th[12] >> 4) * 4u;
	return hlen >= TCP_MIN_HLEN && hlen <= len ? FILTER_OK : FILTER_TCP;
}

/* RFC 768: the length covers header and data. A first fragment has less than it says. */
enum lwip_filter lwip_filter_udp(const u8 *uh, u32 len, bool whole)
{
	u32 ulen;

	if (len < UDP_HDR_LEN)
		return FILTER_UDP;
	ulen = get_unaligned_be16(uh + 4);
	return ulen >= UDP_HDR_LEN && (ulen <= len || !whole) ? FILTER_OK : FILTER_UDP;
}

static enum lwip_filter filter_ipv4(const u8 *ip, u32 len)
{
	u32 hlen = (ip[0] & 0xf) * 4u, tot_len = get_unaligned_be16(ip + 2);
	u32 frag = get_unaligned_be16(ip + 6);

	/* RFC 1122, 3.2.1.1; the frame may be longer than the datagram (padding), never shorter. */
	if (ip[0] >> 4 != 4 || hlen < IPV4_HLEN || hlen > tot_len || tot_len > len)
		return FILTER_IPV4;
	/* RFC 1122, 3.2.1.3 (g): loopback addresses never appear outside a host. */
	if (unlikely(ip[12] == IPV4_LOOPBACK_NET || ip[16] == IPV4_LOOPBACK_NET))
		return FILTER_IPV4;
	if (frag & IPV4_OFFSET)
		return FILTER_OK;
	tot_len -= hlen;
	switch (ip[9]) {
	case IP_PROTO_TCP:
		return lwip_filter_tcp(ip + hlen, tot_len);
	case IP_PROTO_UDP:
		return lwip_filter_udp(ip + hlen, tot_len, !(frag & IPV4_MF));
	case IP_PROTO_ICMP:
		return tot_len >= ICMP_HDR_LEN ? FILTER_OK : FILTER_ICMP;
	default:
		return FILTER_OK;
	}
}

static enum lwip_filter filter_frame(const u8 *frame, u32 len)
{
	if (unlikely(len < ETH_HLEN))
		return FILTER_SHORT;
	frame += ETH_HLEN;
	len -= ETH_HLEN;
	switch (get_unaligned_be16(frame - 2)) {
	case ETHTYPE_IP:
		return unlikely(len < IPV4_HLEN) ? FILTER_SHORT : filter_ipv4(frame, len);
	case ETHTYPE_IPV6:
		return unlikely(len < IPV6_HLEN) ? FILTER_SHORT : lwip_filter_ipv6(frame, len);
	case ETHTYPE_ARP:
		return len < ARP_LEN ? FILTER_SHORT : FILTER_OK;
	case ETHTYPE_VLAN:
		return len < VLAN_HLEN ? FILTER_SHORT : FILTER_PROTO;
	default:
		return FILTER_PROTO;
	}
}

enum lwip_filter lwip_filter(const u8 *frame, u32 len)
{
	enum lwip_filter verdict = filter_frame(frame, len);

	lwip_filter_count[verdict]++;
	return verdict;
}

static void filter_stats(struct stats_sink *s)
{
	for (u32 i = 0; i < NR_FILTERS; i++)
		stats_u64(s, "filter_", filter_names[i], lwip_filter_count[i]);
}
STATS_PROVIDER(filter_stats);
