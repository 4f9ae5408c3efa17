/*
 * The IPv6 part of the guard in front of lwIP: lengths, the chain of extension headers, and
 * neighbour discovery, whose options lwIP 2.2.1 follows by their own word (upstream 0a65e654 and
 * 8e75a40a), and whose advertisements it lets take an address in use away from us.
 */
#include "kernel/lib/byteorder.h"
#include "kernel/lib/string.h"
#include "net/lwip/glue.h"

#include "lwip/netif.h"
#include "lwip/prot/icmp6.h"
#include "lwip/prot/ip6.h"

#define IPV6_HLEN 40
#define ICMP6_HDR_LEN 8
#define MAX_EXT_HEADERS 8 /* RFC 8200, 4.1 has each once, destination options twice: 7 */

/* Bytes in front of the options (RFC 4861, 4.1 to 4.5); 0: no neighbour discovery. */
static u32 nd_fixed_len(u8 type)
{
	switch (type) {
	case ICMP6_TYPE_RS:
		return 8;
	case ICMP6_TYPE_RA:
		return 16;
	case ICMP6_TYPE_NS:
	case ICMP6_TYPE_NA:
		return 24;
	case ICMP6_TYPE_RD:
		return 40;
	default:
		return 0;
	}
}

#define ND_OPT_SLLA 1
#define ND_OPT_TLLA 2
#define ND_OPT_PREFIX 3
#define ND_OPT_MTU 5

/* RFC 4861, 4.6: lengths count 8 bytes, type and length included; those that lwIP knows have one
 * size. */
static bool nd_option_ok(u8 type, u8 units)
{
	switch (type) {
	case ND_OPT_SLLA:
	case ND_OPT_TLLA:
	case ND_OPT_MTU:
		return units == 1;
	case ND_OPT_PREFIX:
		return units == 4;
	default:
		return units != 0;
	}
}

/*
 * Is it an address that we use? Tentative ones are not: duplicate address detection must hear that
 * somebody has them.
 */
static bool own_address(const u8 *addr)
{
	for (u32 i = 0; i < LWIP_IPV6_NUM_ADDRESSES; i++) {
		if (ip6_addr_isvalid(netif_ip6_addr_state(&lwip_netif, i)) &&
		    !memcmp(netif_ip6_addr(&lwip_netif, i)->addr, addr, 16))
			return true;
	}
	return false;
}

#define ND_TARGET 8 /* of solicitation and advertisement (RFC 4861, 4.3 and 4.4) */

static enum lwip_filter filter_nd(const u8 *icmp, u32 len, u32 fixed)
{
	u32 at = fixed;

	if (len < fixed)
		return FILTER_ND;
	/*
	 * RFC 4862, 5.4.4: what to do when somebody else advertises our address is beyond that
	 * text. lwIP gives the address up, so that one forged frame would end our IPv6.
	 */
	if (icmp[0] == ICMP6_TYPE_NA && own_address(icmp + ND_TARGET))
		return FILTER_ND;
	while (at < len) {
		if (len - at < 8 || !nd_option_ok(icmp[at], icmp[at + 1]) ||
		    icmp[at + 1] * 8u > len - at)
			return FILTER_ND;
		/* lwIP takes the first option of an advertisement for the address, whatever its
		 * type. */
		if (at == fixed && icmp[0] == ICMP6_TYPE_NA && icmp[at] != ND_OPT_TLLA)
			return FILTER_ND;
		at += icmp[at + 1] * 8u;
	}
	return FILTER_OK;
}

static enum lwip_filter filter_icmp6(const u8 *icmp, u32 len, bool fragment)
{
	u32 fixed;

	if (len < ICMP6_HDR_LEN)
		return FILTER_ICMP;
	fixed = nd_fixed_len(icmp[0]);
	if (likely(!fixed))
		return FILTER_OK;
	return fragment ? FILTER_ND_FRAG : filter_nd(icmp, len, fixed);
}

static enum lwip_filter filter_upper(u8 proto, const u8 *p, u32 len, bool fragment, bool whole)
{
	switch (proto) {
	case IP6_NEXTH_TCP:
		return lwip_filter_tcp(p, len);
	case IP6_NEXTH_UDP:
		return lwip_filter_udp(p, len, whole);
	case IP6_NEXTH_ICMP6:
		return filter_icmp6(p, len, fragment);
	default:
		/* RFC 7112, 5: what is fragmented begins with the upper layer's header, or is not
		 * for us. */
		return fragment ? FILTER_EXT : FILTER_OK;
	}
}

/* RFC 8200, 4.2: each option has type and length, but Pad1. */
static bool ext_options_ok(const u8 *h, u32 hlen)
{
	u32 at = 2;

	while (at < hlen) {
		if (h[at] == 0) {
			at++;
			continue;
		}
		if (hlen - at < 2 || h[at + 1] > hlen - at - 2)
			return false;
		at += 2u + h[at + 1];
	}
	return true;
}

/* Steps over one extension header. Returns its length, 0 if it is none, or ~0 if it runs past the
 * packet. */
static u32 ext_header(u8 type, const u8 *h, u32 len)
{
	u32 hlen;

	if (type != IP6_NEXTH_HOPBYHOP && type != IP6_NEXTH_DESTOPTS && type != IP6_NEXTH_ROUTING)
		return 0;
	if (len < 8)
		return ~0u;
	hlen = (h[1] + 1u) * 8;
	if (hlen > len || (type != IP6_NEXTH_ROUTING && !ext_options_ok(h, hlen)))
		return ~0u;
	return hlen;
}

static enum lwip_filter filter_fragment(const u8 *h, u32 len)
{
	u32 offset;

	if (len < 8)
		return FILTER_EXT;
	offset = get_unaligned_be16(h + 2);
	if (offset & 0xfff8) {
		/* Only the first tells the truth about what follows; the others must not differ. */
		return h[0] == IP6_NEXTH_TCP || h[0] == IP6_NEXTH_UDP || h[0] == IP6_NEXTH_ICMP6 ?
			       FILTER_OK :
			       FILTER_EXT;
	}
	return filter_upper(h[0], h + 8, len - 8, true, !(offset & 1));
}

enum lwip_filter lwip_filter_ipv6(const u8 *ip, u32 len)
{
	u32 left = get_unaligned_be16(ip + 4);
	u8 next = ip[6];
	const u8 *h = ip + IPV6_HLEN;

	if (ip[0] >> 4 != 6 || left > len - IPV6_HLEN)
		return FILTER_IPV6;
	for (u32 i = 0; i < MAX_EXT_HEADERS; i++) {
		u32 hlen = ext_header(next, h, left);

		if (hlen == ~0u)
			return FILTER_EXT;
		if (hlen == 0)
			return next == IP6_NEXTH_FRAGMENT ?
				       filter_fragment(h, left) :
				       filter_upper(next, h, left, false, true);
		next = h[0];
		h += hlen;
		left -= hlen;
	}
	return FILTER_EXT;
}
