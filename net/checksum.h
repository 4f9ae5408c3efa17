/*
 * The Internet checksum (RFC 1071), in Linux's words. Sums are of 16-bit words as they lie in
 * memory, so what comes out of csum_fold() is stored as it is. Any context.
 */
#ifndef NET_CHECKSUM_H
#define NET_CHECKSUM_H

#include "kernel/lib/types.h"

/*
 * start plus the sum of len bytes, not folded. data may lie anywhere. Pieces add up as long as each
 * but the last has an even length.
 */
u32 csum_partial(const void *data, u32 len, u32 start);

/*
 * The checksum of an IPv4 header without options, 20 bytes at ip: what its field is to have if that
 * is 0 now; 0 if the field is right (RFC 791, 3.1).
 */
static inline u16 ip_fast_csum(const void *ip)
{
	u64 a, b, sum;
	u32 c, half;

	__builtin_memcpy(&a, ip, 8);
	__builtin_memcpy(&b, (const u8 *)ip + 8, 8);
	__builtin_memcpy(&c, (const u8 *)ip + 16, 4);
	sum = a + b;
	sum += sum < b;
	sum += c;
	sum += sum < c;
	half = (u32)(sum >> 32);
	half += (u32)sum;
	half += half < (u32)sum;
	half = (half >> 16) + (half & 0xffff);
	return (u16) ~((half >> 16) + half);
}

/* To 16 bits, and inverted: what a header's field has; 0 over a header with the right field. */
static inline u16 csum_fold(u32 sum)
{
	sum = (sum >> 16) + (sum & 0xffff);
	return (u16) ~((sum >> 16) + sum);
}

#endif
