/*
 * ip=<client>:<server>:<gw>:<netmask>:<hostname>:<device>:<autoconf>:<dns0>:<dns1>:<ntp0>, any tail
 * of it left out; or one word that is an <autoconf>; or <client>/<prefix> with gw=<gw>. See
 * ipconfig.h.
 */
#include "net/lwip/ipconfig.h"

#include "kernel/init.h"
#include "kernel/lib/byteorder.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/string.h"
#include "kernel/printk.h"
#include "net/lwip/glue.h"

#include "lwip/dhcp.h"
#include "lwip/netif.h"

struct ip_config ip_config = { .dynamic = true };
static be32 gw_word;

int ipconfig_parse_addr(const char *text, size_t len, be32 *addr)
{
	const char *end = text + len;
	u32 value = 0;

	for (int part = 0; part < 4; part++) {
		u32 n = 0, digits = 0;

		for (; text < end && *text >= '0' && *text <= '9' && digits < 3; text++, digits++)
			n = n * 10 + (u32)(*text - '0');
		if (!digits || n > 255)
			return -EINVAL;
		value = value << 8 | n;
		if (part < 3 && (text == end || *text++ != '.'))
			return -EINVAL;
	}
	*addr = cpu_to_be32(value);
	return text == end ? 0 : -EINVAL;
}

static bool is_word(const char *text, size_t len, const char *word)
{
	return len == strlen(word) && !strncmp(text, word, len);
}

/* BOOTP is what DHCP servers answer too; RARP is not to be had. */
static int parse_autoconf(const char *text, size_t len, struct ip_config *cfg)
{
	static const char *const dynamic[] = { "dhcp", "on", "any", "both", "bootp" };

	if (is_word(text, len, "off") || is_word(text, len, "none")) {
		cfg->dynamic = false;
		return 0;
	}
	for (u32 i = 0; i < ARRAY_SIZE(dynamic); i++) {
		if (is_word(text, len, dynamic[i])) {
			cfg->dynamic = true;
			return 0;
		}
	}
	return -EINVAL;
}

/* RFC 1123, 2.1: letters, digits, hyphens and dots; what else there is does not reach a DHCP
 * server. */
static int parse_name(const char *text, size_t len, char *out, size_t size)
{
	if (len >= size)
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		char c = text[i] | 0x20;

		if (!(c >= 'a' && c <= 'z') && !(text[i] >= '0' && text[i] <= '9') &&
		    text[i] != '-' && text[i] != '.' && text[i] != '_')
			return -EINVAL;
	}
	memcpy(out, text, len);
	out[len] = '\0';
	return 0;
}

/* An address that an interface can have: not 0/8, loopback, multicast or above (RFC 6890). */
static bool is_host_addr(be32 addr)
{
	u32 net = be32_to_cpu(addr) >> 24;

	return net != 0 && net != 127 && net < 224;
}

static bool is_netmask(be32 mask)
{
	u32 host = ~be32_to_cpu(mask);

	return mask && (host & (host + 1)) == 0;
}

/* Linux does the same: the class decides (RFC 791, 3.2). */
static be32 class_mask(be32 addr)
{
	u32 first = be32_to_cpu(addr) >> 24;

	return cpu_to_be32(first < 128 ? 0xff000000u : first < 192 ? 0xffff0000u : 0xffffff00u);
}

static int parse_field(u32 nr, const char *text, size_t len, struct ip_config *cfg)
{
	be32 *const addr[] = { &cfg->addr, &cfg->server, &cfg->gw,     NULL,         NULL,
			       NULL,       NULL,         &cfg->dns[0], &cfg->dns[1], &cfg->ntp };

	if (len == 0)
		return 0;
	switch (nr) {
	case 3:
		return ipconfig_parse_addr(text, len, &cfg->netmask) || !is_netmask(cfg->netmask) ?
			       -EINVAL :
			       0;
	case 4:
		return parse_name(text, len, cfg->hostname, sizeof(cfg->hostname));
	case 5:
		return parse_name(text, len, cfg->device, sizeof(cfg->device));
	case 6:
		return parse_autoconf(text, len, cfg);
	default:
		return nr < ARRAY_SIZE(addr) ? ipconfig_parse_addr(text, len, addr[nr]) : -EINVAL;
	}
}

static int parse_short(const char *val, const char *slash, struct ip_config *cfg)
{
	u64 prefix;

	if (kstrtoull(slash + 1, 10, &prefix) || prefix == 0 || prefix > 32)
		return -EINVAL;
	cfg->netmask = cpu_to_be32((u32)(0xffffffffull << (32 - prefix)));
	return ipconfig_parse_addr(val, (size_t)(slash - val), &cfg->addr);
}

static int parse_fields(const char *val, struct ip_config *cfg)
{
	for (u32 nr = 0;; nr++) {
		const char *colon = strchr(val, ':');
		size_t len = colon ? (size_t)(colon - val) : strlen(val);
		int err = parse_field(nr, val, len, cfg);

		if (err || !colon)
			return err;
		val = colon + 1;
	}
}

int ipconfig_parse(const char *val, struct ip_config *cfg)
{
	struct ip_config new = { .dynamic = true };
	const char *slash = val ? strchr(val, '/') : NULL;
	int err;

	if (!val || !*val)
		return -EINVAL;
	if (slash)
		err = parse_short(val, slash, &new);
	else if (!strchr(val, ':') && (val[0] < '0' || val[0] > '9'))
		err = parse_autoconf(val, strlen(val), &new);
	else
		err = parse_fields(val, &new);
	if (err)
		return err;
	if (new.addr) {
		/* Linux: an address that is given is not asked for. */
		if (!is_host_addr(new.addr))
			return -EINVAL;
		new.dynamic = false;
		if (!new.netmask)
			new.netmask = class_mask(new.addr);
	}
	if (new.gw && !is_host_addr(new.gw))
		return -EINVAL;
	*cfg = new;
	return 0;
}

static int setup_ip(const char *val)
{
	return ipconfig_parse(val, &ip_config);
}
__setup("ip", setup_ip);

static int setup_gw(const char *val)
{
	be32 gw;

	if (!val || ipconfig_parse_addr(val, strlen(val), &gw) || !is_host_addr(gw))
		return -EINVAL;
	gw_word = gw;
	return 0;
}
__setup("gw", setup_gw);

static void apply_static(struct net_device *dev)
{
	const ip4_addr_t addr = { ip_config.addr }, mask = { ip_config.netmask };
	const ip4_addr_t gw = { ip_config.gw ? ip_config.gw : gw_word };

	if (gw.addr && (gw.addr & mask.addr) != (addr.addr & mask.addr))
		pr_warn("%s: the gateway is not in the interface's own network\n", dev->name);
	netif_set_addr(&lwip_netif, &addr, &mask, &gw);
}

void ipconfig_apply(struct net_device *dev)
{
	static char hostname[sizeof(ip_config.hostname)];

	strscpy(hostname, ip_config.hostname[0] ? ip_config.hostname : "barewire",
		sizeof(hostname));
	netif_set_hostname(&lwip_netif, hostname);
	if (ip_config.addr)
		apply_static(dev);
	else if (ip_config.dynamic)
		lwip_dhcp_start();
	else
		pr_info("%s: no IPv4 address, as ip= says\n", dev->name);
}
