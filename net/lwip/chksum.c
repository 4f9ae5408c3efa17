/*
 * The Internet checksum's inner loop (RFC 1071): one's complement addition does not mind in which
 * width and byte order it is done, so eight bytes go in at a time and the carries come back at the
 * end.
 */
#include "kernel/lib/byteorder.h"
#include "kernel/lib/string.h"

#include "arch/cc.h"

/* One's complement: the carry out of the top comes back at the bottom (add, adc). */
static inline u64 add_carry(u64 sum, u64 word)
{
	sum += word;
	return sum + (sum < word);
}

static inline u64 load64(const u8 *p)
{
	u64 word;

	memcpy(&word, p, sizeof(word));
	return word;
}

/* The last 0 to 7 bytes as one word, in memory order; what is missing counts as zero. */
static inline u64 load_tail(const u8 *p, u32 len)
{
	u64 word = 0;

	if (len & 4) {
		u32 w;

		memcpy(&w, p, 4);
		p += 4;
		word = w;
	}
	if (len & 2) {
		u16 w;

		memcpy(&w, p, 2);
		p += 2;
		word += w;
	}
	return len & 1 ? word + *p : word;
}

/*
 * The sum of len bytes as 16-bit words in memory order, folded, not inverted. data may lie
 * anywhere.
 */
u16 lwip_chksum(const void *data, int len)
{
	const u8 *p = data;
	u64 sum = 0;

	for (; len >= 32; len -= 32, p += 32) {
		sum = add_carry(sum, load64(p));
		sum = add_carry(sum, load64(p + 8));
		sum = add_carry(sum, load64(p + 16));
		sum = add_carry(sum, load64(p + 24));
	}
	for (; len >= 8; len -= 8, p += 8)
		sum = add_carry(sum, load64(p));
	sum = add_carry(sum, load_tail(p, (u32)len & 7));

	sum = (sum >> 32) + (u32)sum;
	sum = (sum >> 16) + (sum & 0xffff);
	sum = (sum >> 16) + (sum & 0xffff);
	sum = (sum >> 16) + (sum & 0xffff);
	return (u16)sum;
}
