/*
 * Which packets somebody wants to see: what `match=` and `filter=` of the diagnostics port say.
 * Softirq context.
 *
 * Terms, all of which must hold, with spaces, commas or "and" between them:
 *	icmp tcp udp arp ip ip6	the protocol (icmp: ICMPv6 as well)
 *	host ADDRESS		source or destination, IPv4 or IPv6
 *	port NUMBER		source or destination of TCP or UDP
 * A colon may stand for the space: port:80.
 */
#ifndef NET_PKT_FILTER_H
#define NET_PKT_FILTER_H

#include "kernel/lib/types.h"

struct debugfs_reader;

struct pkt_filter {
	u16 ethertype; /* 0: any */
	u8 proto;      /* 0: any */
	u8 proto6;     /* the same in IPv6 */
	u8 addr_len;   /* 0: any, 4, 16 */
	u16 port;      /* 0: any */
	u8 addr[16];
};

/* What of a frame's beginning a filter, or a report, may look at. */
#define PKT_HEAD_LEN 64

/* Parts of a frame that are there at all. */
struct pkt_parts {
	u16 ethertype;
	u8 proto; /* of IPv4 or IPv6; 0: neither */
	u8 addr_len;
	const u8 *saddr, *daddr; /* NULL: neither IPv4 nor IPv6 */
	const u8 *l4;            /* TCP, UDP, ICMP header; NULL: a later fragment, or cut off */
};
/* frame: its first bytes; len, how many there are, PKT_HEAD_LEN being always enough. */
void pkt_parts(struct pkt_parts *p, const u8 *frame, u32 len);

/* 0, or -EINVAL with a line about it in error. */
int pkt_filter_parse(struct pkt_filter *f, const char *text, char *error, size_t size);
/* What key= of the reader's query says: the text into buf, and what it means. The text's length, 0
 * if there is none (then all match), or -EINVAL with r->error. */
int pkt_filter_query(struct debugfs_reader *r, const char *key, char *buf, size_t size,
		     struct pkt_filter *f);
bool __pkt_filter_match(const struct pkt_filter *f, const struct pkt_parts *p);
static inline bool pkt_filter_match(const struct pkt_filter *f, const struct pkt_parts *p)
{
	if (f->ethertype && p->ethertype != f->ethertype)
		return false;
	if (f->proto && p->proto != f->proto && p->proto != f->proto6)
		return false;
	return likely(!f->addr_len && !f->port) || __pkt_filter_match(f, p);
}

#endif
