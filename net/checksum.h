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

/* To 16 bits, and inverted: what a header's field has; 0 over a header with the right field. */
static inline u16 csum_fold(u32 sum)
{
	sum = (sum >> 16) + (sum & 0xffff);
	return (u16) ~((sum >> 16) + sum);
}

#endif
