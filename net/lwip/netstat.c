/*
 * What lwIP's tables hold, for /netstat: the interface's addresses, sockets with their state and
 * queues, neighbours. A line each, its number behind the name; of many sockets the first ones, and
 * all of them counted by state.
 */
#include "kernel/lib/byteorder.h"
#include "kernel/lib/string.h"
#include "kernel/printk.h"
#include "kernel/stats.h"
#include "net/lwip/glue.h"
#include "net/netdevice.h"

#include "lwip/etharp.h"
#include "lwip/netif.h"
#include "lwip/priv/nd6_priv.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/udp.h"

#define SOCKETS_SHOWN 128u

/* Linux's names, lower case; in the order of lwIP's enum tcp_state. */
static const char *const state_name[] = {
	"closed",    "listen",     "syn_sent", "syn_recv", "established", "fin_wait1",
	"fin_wait2", "close_wait", "closing",  "last_ack", "time_wait",
};

static void numbered(char name[32], const char *what, u32 i)
{
	snprintf(name, 32, "%s.%u", what, i);
}

/* "10.0.2.2:80", "[fe80::1]:80", "*:80" */
static const char *endpoint(char buf[IPADDR_STRLEN_MAX + 8], const ip_addr_t *ip, u16 port)
{
	char addr[IPADDR_STRLEN_MAX];

	if (ip_addr_isany(ip) || IP_IS_ANY_TYPE_VAL(*ip))
		strscpy(addr, "*", sizeof(addr));
	else
		lwip_addr_text(ip, addr);
	snprintf(buf, IPADDR_STRLEN_MAX + 8, strchr(addr, ':') ? "[%s]:%u" : "%s:%u", addr, port);
	return buf;
}

/* ---- sockets ---- */

struct sockets {
	struct stats_sink *s;
	u32 shown, count[ARRAY_SIZE(state_name)];
};

static void show_tcp(struct sockets *t, const struct tcp_pcb *pcb)
{
	char local[IPADDR_STRLEN_MAX + 8], remote[IPADDR_STRLEN_MAX + 8], name[32];
	bool connected = pcb->state != LISTEN, time_wait = pcb->state == TIME_WAIT;

	t->count[pcb->state]++;
	if (t->shown == SOCKETS_SHOWN)
		return;
	numbered(name, "tcp_socket", t->shown++);
	endpoint(local, &pcb->local_ip, pcb->local_port);
	/* A listener is a shorter struct: no remote port, no queues. */
	if (connected)
		endpoint(remote, &pcb->remote_ip, pcb->remote_port);
	stats_text(t->s, NULL, name, "local=%s,remote=%s,state=%s,recvq=%u,sendq=%u", local,
		   connected ? remote : "*", state_name[pcb->state],
		   connected && !time_wait ? (u32)(TCP_WND_MAX(pcb) - pcb->rcv_wnd) : 0,
		   connected && !time_wait ? (u32)(TCP_SND_BUF - pcb->snd_buf) : 0);
}

static void tcp_sockets(struct stats_sink *s)
{
	struct sockets t = { .s = s };
	char name[32];

	for (const struct tcp_pcb_listen *l = tcp_listen_pcbs.listen_pcbs; l; l = l->next)
		show_tcp(&t, (const struct tcp_pcb *)l);
	for (const struct tcp_pcb *pcb = tcp_active_pcbs; pcb; pcb = pcb->next)
		show_tcp(&t, pcb);
	for (const struct tcp_pcb *pcb = tcp_tw_pcbs; pcb; pcb = pcb->next)
		show_tcp(&t, pcb);
	for (size_t i = 0; i < ARRAY_SIZE(state_name); i++) {
		snprintf(name, sizeof(name), "tcp_sockets_%s", state_name[i]);
		stats_u64(s, NULL, name, t.count[i]);
	}
}
STATS_PROVIDER(tcp_sockets);

static void udp_sockets(struct stats_sink *s)
{
	char local[IPADDR_STRLEN_MAX + 8], name[32];
	u32 i = 0;

	for (const struct udp_pcb *pcb = udp_pcbs; pcb && i < SOCKETS_SHOWN; pcb = pcb->next) {
		numbered(name, "udp_socket", i++);
		stats_text(s, NULL, name, "local=%s",
			   endpoint(local, &pcb->local_ip, pcb->local_port));
	}
}
STATS_PROVIDER(udp_sockets);

/* ---- neighbours ---- */

static void arp_table(struct stats_sink *s)
{
	char name[32], text[IPADDR_STRLEN_MAX];
	struct eth_addr *mac;
	struct netif *netif;
	ip4_addr_t *ip;
	u32 n = 0;

	for (size_t i = 0; i < ARP_TABLE_SIZE; i++) {
		if (!etharp_get_entry(i, &ip, &netif, &mac))
			continue;
		numbered(name, "arp", n++);
		stats_text(s, NULL, name, "ip=%s,mac=" MAC_FMT,
			   ip4addr_ntoa_r(ip, text, sizeof(text)), MAC_ARG(mac->addr));
	}
}
STATS_PROVIDER(arp_table);

static void nd6_table(struct stats_sink *s)
{
	/* RFC 4861, 7.3.2; lwIP's order. */
	static const char *const state[] = { "none",  "incomplete", "reachable",
					     "stale", "delay",      "probe" };
	char name[32], text[IPADDR_STRLEN_MAX];
	u32 n = 0;

	for (size_t i = 0; i < LWIP_ND6_NUM_NEIGHBORS; i++) {
		const struct nd6_neighbor_cache_entry *e = &neighbor_cache[i];
		ip_addr_t ip;

		if (e->state == ND6_NO_ENTRY || e->state >= ARRAY_SIZE(state))
			continue;
		ip_addr_copy_from_ip6(ip, e->next_hop_address);
		numbered(name, "nd6", n++);
		stats_text(s, NULL, name, "ip=%s,mac=" MAC_FMT ",state=%s%s",
			   lwip_addr_text(&ip, text), MAC_ARG(e->lladdr), state[e->state],
			   e->isrouter ? ",router" : "");
	}
}
STATS_PROVIDER(nd6_table);

/* ---- the interface ---- */

static void addresses(struct stats_sink *s)
{
	const struct net_device *dev = lwip_netif.state;
	char text[IPADDR_STRLEN_MAX], name[32];

	if (!dev)
		return;
	stats_text(s, dev->stats_prefix, "ip", "%s",
		   ip4addr_ntoa_r(netif_ip4_addr(&lwip_netif), text, sizeof(text)));
	stats_text(s, dev->stats_prefix, "gateway", "%s",
		   ip4addr_ntoa_r(netif_ip4_gw(&lwip_netif), text, sizeof(text)));
	for (s8_t i = 0; i < LWIP_IPV6_NUM_ADDRESSES; i++) {
		if (!ip6_addr_isvalid(netif_ip6_addr_state(&lwip_netif, i)))
			continue;
		numbered(name, "ip6", (u32)i);
		stats_text(s, dev->stats_prefix, name, "%s",
			   lwip_addr_text(&lwip_netif.ip6_addr[i], text));
	}
}
STATS_PROVIDER(addresses);
