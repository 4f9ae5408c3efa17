/*
 * The Internet checksum's inner loop (RFC 1071): one's complement addition does not mind in which
 * width and byte order it is done, so eight bytes go in at a time and the carries come back at the
 * end.
 */
#include "net/checksum.h"

#include "kernel/lib/string.h"

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

u32 csum_partial(const void *data, u32 len, u32 start)
{
	const u8 *p = data;
	u64 sum = start;

	for (; len >= 32; len -= 32, p += 32) {
		sum = add_carry(sum, load64(p));
		sum = add_carry(sum, load64(p + 8));
		sum = add_carry(sum, load64(p + 16));
		sum = add_carry(sum, load64(p + 24));
	}
	for (; len >= 8; len -= 8, p += 8)
		sum = add_carry(sum, load64(p));
	sum = add_carry(sum, load_tail(p, len & 7));

	sum = (sum >> 32) + (u32)sum;
	return (u32)(sum >> 32) + (u32)sum;
}
