/*
 * The headers behind an Ethernet header, as far as net/ reads them. Packed: a frame may lie
 * anywhere. Numbers are in network order.
 */
#ifndef NET_INET_HDR_H
#define NET_INET_HDR_H

#include "kernel/lib/types.h"

#define ETH_P_IP 0x0800
#define ETH_P_ARP 0x0806
#define ETH_P_IPV6 0x86dd

#define IPPROTO_ICMP 1
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_ICMPV6 58

/* RFC 791, 3.1 */
struct iphdr {
	u8 version_ihl; /* 0x45: version 4, 5 words of header */
	u8 tos;
	be16 tot_len; /* bytes, header included */
	be16 id;
	be16 frag_off; /* and flags */
	u8 ttl;
	u8 protocol;
	u16 check;
	be32 saddr, daddr;
} __packed;
_Static_assert(sizeof(struct iphdr) == 20, "RFC 791");
#define IP_DF 0x4000
#define IP_MF 0x2000
#define IP_OFFSET_MF 0x3fff /* more fragments, and the offset: a fragment has one of them */

/* RFC 8200, 3 */
struct ipv6hdr {
	be32 flow; /* version, traffic class, flow label */
	be16 payload_len;
	u8 nexthdr;
	u8 hop_limit;
	u8 saddr[16], daddr[16];
} __packed;
_Static_assert(sizeof(struct ipv6hdr) == 40, "RFC 8200");

/* RFC 9293, 3.1 */
struct tcphdr {
	be16 source, dest;
	be32 seq, ack_seq;
	u8 doff; /* words of header, in the upper four bits */
	u8 flags;
	be16 window;
	u16 check;
	be16 urg_ptr;
} __packed;
_Static_assert(sizeof(struct tcphdr) == 20, "RFC 9293");
#define TCP_FLAG_FIN 0x01
#define TCP_FLAG_SYN 0x02
#define TCP_FLAG_RST 0x04
#define TCP_FLAG_PSH 0x08
#define TCP_FLAG_ACK 0x10
#define TCP_FLAG_URG 0x20
#define TCP_FLAG_ECE 0x40
#define TCP_FLAG_CWR 0x80

#endif
