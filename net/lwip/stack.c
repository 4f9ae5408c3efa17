/*
 * Starting lwIP, and what it needs from a C library or an operating system and nobody else has.
 */
#include "net/lwip/stack.h"

#include "kernel/bug.h"
#include "kernel/lib/string.h"
#include "kernel/printk.h"
#include "kernel/softirq.h"
#include "net/lwip/glue.h"
#include "net/lwip/hooks.h"
#include "net/lwip/ipconfig.h"
#include "net/lwip/tcp_hash.h"
#include "net/netdevice.h"

#include "lwip/init.h"
#include "lwip/netif.h"

static void (*on_address)(const struct netif *netif);

/* ---- lwIP's needs ---- */

void lwip_platform_assert(const char *msg, const char *file, int line)
{
	panic_with(PANIC_ASSERT, "lwIP: %s at %s:%d", msg, file, line);
}

void lwip_assert_core_locked(void)
{
	BUG_ON(!in_softirq());
}

/* netif_find() reads the number in an interface's name. */
int atoi(const char *s);
int atoi(const char *s)
{
	int n = 0;

	for (; *s >= '0' && *s <= '9' && n < 1000000; s++)
		n = n * 10 + (*s - '0');
	return n;
}

/* ---- addresses come and go ---- */

char *lwip_addr_text(const ip_addr_t *addr, char buf[IPADDR_STRLEN_MAX])
{
	ipaddr_ntoa_r(addr, buf, IPADDR_STRLEN_MAX);
	for (char *c = buf; *c; c++) {
		if (*c >= 'A' && *c <= 'F')
			*c = (char)(*c + 'a' - 'A');
	}
	return buf;
}

static void log_ip6(s8_t i)
{
	const struct net_device *dev = lwip_netif.state;
	char text[IPADDR_STRLEN_MAX];
	u8 state = netif_ip6_addr_state(&lwip_netif, i);

	lwip_addr_text(&lwip_netif.ip6_addr[i], text);
	if (ip6_addr_ispreferred(state))
		pr_info("%s: IPv6 address %s is valid\n", dev->name, text);
	else if (ip6_addr_isduplicated(state))
		pr_warn_ratelimited("%s: IPv6 address %s is in use elsewhere\n", dev->name, text);
}

static void address_event(struct netif *netif, netif_nsc_reason_t reason,
			  const netif_ext_callback_args_t *args)
{
	if (reason & LWIP_NSC_IPV6_ADDR_STATE_CHANGED)
		log_ip6(args->ipv6_addr_state_changed.addr_index);
	if (!(reason & (LWIP_NSC_IPV4_ADDRESS_CHANGED | LWIP_NSC_IPV4_ADDR_VALID)))
		return;
	lwip_dhcp_address_event();
	if (on_address)
		on_address(netif);
}

void lwip_on_address(void (*fn)(const struct netif *netif))
{
	on_address = fn;
}

/* ---- start ---- */

static void netdev_added(struct net_device *dev)
{
	(void)dev; /* lwip_stack_start() picks one */
}

static const struct net_stack_ops lwip_stack_ops = {
	.netdev_added = netdev_added,
	.receive = lwip_input,
	.carrier_changed = lwip_carrier_changed,
	.notify_peers = lwip_notify_peers,
};

void lwip_stack_init(void)
{
	static netif_ext_callback_t callback;

	local_bh_disable();
	lwip_init();
	netif_add_ext_callback(&callback, address_event);
	local_bh_enable();
	netdev_set_stack(&lwip_stack_ops);
}

static struct net_device *pick_device(void)
{
	struct net_device *dev = netdev_next(NULL);

	if (!dev) {
		pr_err("lwip: no network device found\n");
		return NULL;
	}
	if (ip_config.device[0]) {
		struct net_device *named = dev_get_by_name(ip_config.device);

		if (named)
			return named;
		pr_err("lwip: ip= names %s, which is missing; taking %s\n", ip_config.device,
		       dev->name);
	}
	return dev;
}

void lwip_stack_start(void)
{
	struct net_device *dev;

	lwip_hooks_init();
	lwip_tcp_hash_init();
	dev = pick_device();
	if (!dev)
		return;
	local_bh_disable();
	lwip_attach(dev);
	ipconfig_apply(dev);
	local_bh_enable();
}
