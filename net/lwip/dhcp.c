/*
 * What surrounds lwIP's DHCP client: when its timers are needed, and what the log says about it.
 * The client itself keeps asking with growing pauses, up to a minute, for as long as it takes.
 */
#include "kernel/lib/string.h"
#include "kernel/printk.h"
#include "net/lwip/glue.h"
#include "net/netdevice.h"

#include "lwip/dhcp.h"
#include "lwip/netif.h"
#include "lwip/prot/dhcp.h"
#include "lwip/timeouts.h"

/* When the log says that nobody answers: after 10 s, 30 s, 70 s ..., then every 5 minutes. */
#define SILENCE_FIRST_MS 10000u
#define SILENCE_MAX_MS 300000u

static be32 lease; /* the address last logged */
static u32 silence_ms, silent_for_ms;

bool lwip_dhcp_fine_needed(void)
{
	const struct dhcp *dhcp = netif_dhcp_data(&lwip_netif);

	return dhcp && dhcp->request_timeout;
}

static void nearer(u32 *ticks, u32 candidate)
{
	if (candidate && (!*ticks || candidate < *ticks))
		*ticks = candidate;
}

u32 lwip_dhcp_coarse_ticks(void)
{
	const struct dhcp *dhcp = netif_dhcp_data(&lwip_netif);
	u32 ticks = 0;

	if (!dhcp || !dhcp_supplied_address(&lwip_netif))
		return 0;
	nearer(&ticks, dhcp->t1_renew_time);
	nearer(&ticks, dhcp->t2_rebind_time);
	if (dhcp->t0_timeout > dhcp->lease_used)
		nearer(&ticks, dhcp->t0_timeout - dhcp->lease_used);
	return ticks;
}

static const char *dev_name(void)
{
	return ((struct net_device *)lwip_netif.state)->name;
}

/* sys_timeout(): still no lease. */
static void silence(void *unused)
{
	(void)unused;
	silent_for_ms += silence_ms;
	if (netif_is_link_up(&lwip_netif))
		pr_warn("%s: DHCP: no server has answered for %u s; still trying\n", dev_name(),
			silent_for_ms / 1000);
	else
		pr_warn("%s: DHCP: the link is down; waiting for it\n", dev_name());
	silence_ms = min(silence_ms * 2, SILENCE_MAX_MS);
	sys_timeout(silence_ms, silence, NULL);
}

static void watch_silence(void)
{
	sys_untimeout(silence, NULL);
	silence_ms = SILENCE_FIRST_MS;
	silent_for_ms = 0;
	sys_timeout(silence_ms, silence, NULL);
}

void lwip_dhcp_start(void)
{
	pr_info("%s: DHCP: asking for an address\n", dev_name());
	lease = 0;
	if (dhcp_start(&lwip_netif) != ERR_OK)
		pr_err("%s: DHCP: no memory to start it\n", dev_name());
	lwip_timer_kick(LWIP_TIMER_DHCP_FINE);
	watch_silence();
}

static void log_lease(const struct dhcp *dhcp, be32 addr)
{
	static struct ratelimit_state rs; /* a server may grant leases of a second */
	char text[3][IP4ADDR_STRLEN_MAX];

	if (!__ratelimit(&rs, __func__))
		return;
	ip4addr_ntoa_r(netif_ip4_addr(&lwip_netif), text[0], sizeof(text[0]));
	if (addr == lease) {
		pr_info("%s: DHCP: lease of %s renewed for %u s\n", dev_name(), text[0],
			dhcp->offered_t0_lease);
		return;
	}
	ip4addr_ntoa_r(netif_ip4_gw(&lwip_netif), text[1], sizeof(text[1]));
	ip4addr_ntoa_r(ip_2_ip4(&dhcp->server_ip_addr), text[2], sizeof(text[2]));
	pr_info("%s: DHCP: lease of %s, gateway %s, from %s, for %u s\n", dev_name(), text[0],
		text[1], text[2], dhcp->offered_t0_lease);
}

void lwip_dhcp_address_event(void)
{
	const struct dhcp *dhcp = netif_dhcp_data(&lwip_netif);
	be32 addr = ip4_addr_get_u32(netif_ip4_addr(&lwip_netif));

	if (!dhcp)
		return;
	if (addr && dhcp_supplied_address(&lwip_netif)) {
		sys_untimeout(silence, NULL);
		log_lease(dhcp, addr);
		lease = addr;
	} else if (!addr && lease) {
		pr_warn_ratelimited("%s: DHCP: the lease was refused or has ended; asking anew\n",
				    dev_name());
		lease = 0;
		watch_silence();
	}
	lwip_timer_restart(LWIP_TIMER_DHCP_COARSE);
	lwip_timer_kick(LWIP_TIMER_DHCP_FINE); /* a refusal has sent a new request */
}
