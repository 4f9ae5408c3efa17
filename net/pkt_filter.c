/* See pkt_filter.h. */
#include "net/pkt_filter.h"

#include "kernel/debugfs.h"
#include "kernel/lib/byteorder.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/string.h"
#include "net/inet_hdr.h"
#include "net/netdevice.h"

/* ---- frames ---- */

void pkt_parts(struct pkt_parts *p, const u8 *frame, u32 len)
{
	const u8 *ip = frame + ETH_HLEN;
	u32 hlen;

	*p = (struct pkt_parts){ 0 };
	if (len < ETH_HLEN)
		return;
	p->ethertype = get_unaligned_be16(ip - 2);
	if (p->ethertype == ETH_P_IP && len >= ETH_HLEN + sizeof(struct iphdr)) {
		const struct iphdr *iph = (const struct iphdr *)ip;

		/* RFC 791, 3.1: version 4, five words at least */
		if (iph->version_ihl < 0x45 || iph->version_ihl > 0x4f)
			return;
		hlen = (iph->version_ihl & 0xf) * 4u;
		p->proto = iph->protocol;
		p->addr_len = 4;
		p->saddr = (const u8 *)&iph->saddr;
		p->daddr = (const u8 *)&iph->daddr;
		if (be16_to_cpu(iph->frag_off) & IP_OFFSET_MF & ~IP_MF)
			return;
	} else if (p->ethertype == ETH_P_IPV6 && len >= ETH_HLEN + sizeof(struct ipv6hdr)) {
		const struct ipv6hdr *ip6h = (const struct ipv6hdr *)ip;

		hlen = sizeof(*ip6h);
		p->proto = ip6h->nexthdr;
		p->addr_len = 16;
		p->saddr = ip6h->saddr;
		p->daddr = ip6h->daddr;
	} else {
		return;
	}
	/* Ports, or type and code and what follows them. */
	if (len >= ETH_HLEN + hlen + 4)
		p->l4 = ip + hlen;
}

static bool has_ports(const struct pkt_parts *p)
{
	return p->l4 && (p->proto == IPPROTO_TCP || p->proto == IPPROTO_UDP);
}

/* Address and port. */
bool __pkt_filter_match(const struct pkt_filter *f, const struct pkt_parts *p)
{
	if (f->addr_len && (f->addr_len != p->addr_len || (memcmp(f->addr, p->saddr, p->addr_len) &&
							   memcmp(f->addr, p->daddr, p->addr_len))))
		return false;
	return !f->port || (has_ports(p) && (get_unaligned_be16(p->l4) == f->port ||
					     get_unaligned_be16(p->l4 + 2) == f->port));
}

/* ---- words ---- */

static const struct {
	const char *word;
	u16 ethertype;
	u8 proto;
} protocols[] = {
	{ "icmp", 0, IPPROTO_ICMP }, { "tcp", 0, IPPROTO_TCP }, { "udp", 0, IPPROTO_UDP },
	{ "arp", ETH_P_ARP, 0 },     { "ip", ETH_P_IP, 0 },     { "ip6", ETH_P_IPV6, 0 },
};

static bool parse_ip4(const char *text, u8 *addr)
{
	for (int i = 0; i < 4; i++) {
		u32 v = 0, digits = 0;

		for (; *text >= '0' && *text <= '9' && digits < 4; digits++)
			v = v * 10 + (u32)(*text++ - '0');
		if (!digits || digits > 3 || v > 255 || *text != (i < 3 ? '.' : '\0'))
			return false;
		addr[i] = (u8)v;
		text++;
	}
	return true;
}

/* RFC 4291, 2.2, the first two forms. */
static bool parse_ip6(const char *text, u8 *addr)
{
	u16 group[8] = { 0 };
	int n = 0, gap = -1;

	while (*text) {
		u32 v = 0, digits = 0;

		if (text[0] == ':' && text[1] == ':') {
			if (gap >= 0)
				return false;
			gap = n;
			text += 2;
			if (!*text)
				break;
		} else if (n && *text == ':') {
			text++;
		}
		for (; hex_to_bin(*text) >= 0 && digits < 5; digits++)
			v = v << 4 | (u32)hex_to_bin(*text++);
		if (!digits || digits > 4 || n == 8 || (*text && *text != ':'))
			return false;
		group[n++] = (u16)v;
	}
	if (gap < 0 ? n != 8 : n > 7)
		return false;
	for (int i = 0; i < 8; i++) {
		int from = gap < 0 || i < gap ? i : i - (8 - n);
		u16 v = gap >= 0 && i >= gap && from < gap ? 0 : group[from];

		addr[2 * i] = (u8)(v >> 8);
		addr[2 * i + 1] = (u8)v;
	}
	return true;
}

/* The next word into buf; false: there is none, or it is too long (then buf is empty). */
static bool next_word(const char **text, char *buf, size_t size)
{
	const char *p = *text;
	size_t n = 0;

	while (*p == ' ' || *p == ',')
		p++;
	if (!*p)
		return false;
	while (*p && *p != ' ' && *p != ',') {
		if (n + 1 < size)
			buf[n] = *p;
		n++;
		p++;
	}
	buf[n < size ? n : 0] = '\0';
	*text = p;
	return true;
}

static bool set_protocol(struct pkt_filter *f, const char *word)
{
	for (size_t i = 0; i < ARRAY_SIZE(protocols); i++) {
		if (strcmp(protocols[i].word, word))
			continue;
		/* Two protocols at once would match nothing. */
		if ((protocols[i].proto && f->proto) || (protocols[i].ethertype && f->ethertype))
			return false;
		f->proto |= protocols[i].proto;
		f->proto6 = f->proto == IPPROTO_ICMP ? IPPROTO_ICMPV6 : f->proto;
		f->ethertype |= protocols[i].ethertype;
		return true;
	}
	return false;
}

static bool set_value(struct pkt_filter *f, const char *word, const char *value)
{
	u64 n;

	if (!strcmp(word, "port")) {
		if (f->port || kstrtoull(value, 10, &n) || n == 0 || n > 65535)
			return false;
		f->port = (u16)n;
		return true;
	}
	if (strcmp(word, "host") || f->addr_len)
		return false;
	if (parse_ip4(value, f->addr))
		f->addr_len = 4;
	else if (parse_ip6(value, f->addr))
		f->addr_len = 16;
	return f->addr_len != 0;
}

int pkt_filter_parse(struct pkt_filter *f, const char *text, char *error, size_t size)
{
	char word[48], value[48];

	*f = (struct pkt_filter){ 0 };
	while (next_word(&text, word, sizeof(word))) {
		char *colon;

		if (!strcmp(word, "and") || set_protocol(f, word))
			continue;
		colon = strchr(word, ':');
		value[0] = '\0';
		if (colon) {
			strscpy(value, colon + 1, sizeof(value));
			*colon = '\0';
		} else if (!next_word(&text, value, sizeof(value))) {
			value[0] = '\0';
		}
		if (set_value(f, word, value))
			continue;
		snprintf(error, size,
			 "not understood: '%.20s %.40s'; terms: icmp tcp udp arp ip "
			 "ip6, host A, port N",
			 word, value);
		return -EINVAL;
	}
	return 0;
}

int pkt_filter_query(struct debugfs_reader *r, const char *key, char *buf, size_t size,
		     struct pkt_filter *f)
{
	int n = debugfs_query(r->query, key, buf, size);

	if (n == -EINVAL) {
		snprintf(r->error, sizeof(r->error), "%s= is too long, or not well encoded", key);
		return -EINVAL;
	}
	if (n < 0)
		buf[n = 0] = '\0';
	return pkt_filter_parse(f, buf, r->error, sizeof(r->error)) ? -EINVAL : n;
}
