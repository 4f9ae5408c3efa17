/*
 * The Internet checksum's inner loop (RFC 1071): one's complement addition does not mind in which
 * width and byte order it is done, so eight bytes go in at a time and the carries come back at the
 * end.
 */
#include "kernel/lib/byteorder.h"
#include "kernel/lib/string.h"

#include "arch/cc.h"

/* The sum of len bytes as 16-bit words in memory order, folded, not inverted. data may lie
 * anywhere. */
u16 lwip_chksum(const void *data, int len)
{
	const u8 *p = data;
	unsigned __int128 wide = 0; /* add and add-with-carry */
	u64 sum, word;

	for (; len >= 8; len -= 8, p += 8) {
		memcpy(&word, p, 8);
		wide += word;
	}
	/* The last 0 to 7 bytes by the bits of their number; what is missing counts as zero. */
	word = 0;
	if (len & 4) {
		u32 w;

		memcpy(&w, p, 4);
		p += 4;
		wide += w;
	}
	if (len & 2) {
		u16 w;

		memcpy(&w, p, 2);
		p += 2;
		word = w;
	}
	if (len & 1)
		word += *p; /* the first byte of a word, in memory order */
	wide += word;

	sum = (u64)wide;
	sum = (sum >> 32) + (u32)sum + (u64)(wide >> 64);
	sum = (sum >> 16) + (sum & 0xffff);
	sum = (sum >> 16) + (sum & 0xffff);
	sum = (sum >> 16) + (sum & 0xffff);
	return (u16)sum;
}
