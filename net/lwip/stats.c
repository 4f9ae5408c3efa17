/*
 * lwIP's own counters (struct stats_ in lwip/stats.h) by name: lwip_tcp_xmit, lwip_ip_chkerr ...
 */
#include "kernel/lib/types.h"
#include "kernel/stats.h"

#include "lwip/stats.h"

static void proto_stats(struct stats_sink *s, const char *prefix, const struct stats_proto *p)
{
	stats_u64(s, prefix, "xmit", p->xmit);
	stats_u64(s, prefix, "recv", p->recv);
	stats_u64(s, prefix, "drop", p->drop);
	stats_u64(s, prefix, "chkerr", p->chkerr);
	stats_u64(s, prefix, "lenerr", p->lenerr);
	stats_u64(s, prefix, "nomem", p->memerr);
	stats_u64(s, prefix, "noroute", p->rterr);
	/* Ordinary: a closed port, an unknown protocol. */
	stats_u64(s, prefix, "nomatch", p->proterr);
	stats_u64(s, prefix, "failed", p->err);
}

static void lwip_counters(struct stats_sink *s)
{
	proto_stats(s, "lwip_arp_", &lwip_stats.etharp);
	proto_stats(s, "lwip_ip_", &lwip_stats.ip);
	proto_stats(s, "lwip_ipfrag_", &lwip_stats.ip_frag);
	proto_stats(s, "lwip_icmp_", &lwip_stats.icmp);
	proto_stats(s, "lwip_udp_", &lwip_stats.udp);
	proto_stats(s, "lwip_tcp_", &lwip_stats.tcp);
	proto_stats(s, "lwip_ip6_", &lwip_stats.ip6);
	proto_stats(s, "lwip_ip6frag_", &lwip_stats.ip6_frag);
	proto_stats(s, "lwip_icmp6_", &lwip_stats.icmp6);
	proto_stats(s, "lwip_nd6_", &lwip_stats.nd6);
}
STATS_PROVIDER(lwip_counters);
