# What is built of lwIP, relative to $(LWIP), and our files around it. Both are compiled with $(LWIP_INCLUDES):
# -I$(LWIP)/src/include -Inet/lwip -Inet/lwip/libc (the host tests leave the last one out and take their C library).
#
# Not built: mem.c, memp.c, timeouts.c and sys.c (ours take their place), raw, igmp, autoip, acd, dhcp6, dns, altcp.
LWIP_SRCS := $(addprefix src/core/, \
	def.c inet_chksum.c init.c ip.c netif.c pbuf.c stats.c tcp.c tcp_in.c tcp_out.c udp.c \
	ipv4/dhcp.c ipv4/etharp.c ipv4/icmp.c ipv4/ip4.c ipv4/ip4_addr.c ipv4/ip4_frag.c \
	ipv6/ethip6.c ipv6/icmp6.c ipv6/inet6.c ipv6/ip6.c ipv6/ip6_addr.c ipv6/ip6_frag.c ipv6/mld6.c ipv6/nd6.c) \
	src/netif/ethernet.c

NET_LWIP_SRCS := $(addprefix net/lwip/, \
	dhcp.c filter.c filter6.c hooks.c ipconfig.c mem.c memp.c netif.c netstat.c stack.c stats.c tcp_hash.c tcp_lists.c \
	timers.c tso.c)
