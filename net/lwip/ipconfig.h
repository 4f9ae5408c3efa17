/*
 * `ip=` and `gw=`, as Linux parses them (Linux's Documentation/admin-guide/nfs/nfsroot.rst;
 * net/ipv4/ ipconfig.c is its namesake). Called by the command line's parser, in task context; pure
 * text work, so that a table of lines can test it.
 */
#ifndef NET_LWIP_IPCONFIG_H
#define NET_LWIP_IPCONFIG_H

#include "kernel/lib/types.h"
#include "net/netdevice.h"

/* Addresses are in network byte order, as in a packet; 0: not given. */
struct ip_config {
	be32 addr, server, gw, netmask;
	be32 dns[2], ntp;
	char hostname[64];     /* RFC 1035: 63 octets */
	char device[IFNAMSIZ]; /* "": the first */
	bool dynamic;          /* ask a DHCP server */
};

/* What `ip=` says; *cfg is changed only on success. Returns 0 or -EINVAL. */
int __must_check ipconfig_parse(const char *val, struct ip_config *cfg);
/* Four decimal numbers, nothing else. Returns 0 or -EINVAL. */
int __must_check ipconfig_parse_addr(const char *text, size_t len, be32 *addr);

/* What the command line said; the default is DHCP on the first interface. */
extern struct ip_config ip_config;
/* Gives the interface what ip_config says. */
void ipconfig_apply(struct net_device *dev);

#endif
