/*
 * Random numbers. One ChaCha20 key (RFC 8439) gives output and, with the first half of each block,
 * its own successor
 * ("fast key erasure", Bernstein 2017), so what was given out cannot be computed from what is in
 * memory later. Sources are mixed by hashing them into the key. docs/decisions/003 says why these
 * 80 lines are ours.
 */
#include "kernel/random.h"

#define pr_fmt(fmt) "random: " fmt
#include "kernel/init.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/string.h"
#include "kernel/printk.h"
#include "kernel/time.h"
#include "kernel/x86/cpu.h"
#include "kernel/x86/msr.h"

static u32 key[8];
static char sources[48]; /* names of the hardware sources seen */
static bool strict;

static int __must_check set_strict(const char *val)
{
	if (val)
		return param_set_bool(val, &strict);
	strict = true;
	return 0;
}
__setup("random.strict", set_strict);

#define ROTL32(v, n) ((v) << (n) | (v) >> (32 - (n)))
/* clang-format off */
#define QUARTER_ROUND(a, b, c, d)                       \
	do {                                            \
		a += b; d ^= a; d = ROTL32(d, 16);      \
		c += d; b ^= c; b = ROTL32(b, 12);      \
		a += b; d ^= a; d = ROTL32(d, 8);       \
		c += d; b ^= c; b = ROTL32(b, 7);       \
	} while (0)
/* clang-format on */

/* RFC 8439, 2.3: one block of 64 bytes. */
void chacha20_block(const u32 k[8], u32 counter, const u32 nonce[3], u32 out[16])
{
	u32 in[16] = { 0x61707865, 0x3320646e, 0x79622d32, 0x6b206574 };
	u32 *x = out;

	memcpy(in + 4, k, 32);
	in[12] = counter;
	memcpy(in + 13, nonce, 12);
	memcpy(x, in, 64);
	for (int i = 0; i < 10; i++) {
		QUARTER_ROUND(x[0], x[4], x[8], x[12]);
		QUARTER_ROUND(x[1], x[5], x[9], x[13]);
		QUARTER_ROUND(x[2], x[6], x[10], x[14]);
		QUARTER_ROUND(x[3], x[7], x[11], x[15]);
		QUARTER_ROUND(x[0], x[5], x[10], x[15]);
		QUARTER_ROUND(x[1], x[6], x[11], x[12]);
		QUARTER_ROUND(x[2], x[7], x[8], x[13]);
		QUARTER_ROUND(x[3], x[4], x[9], x[14]);
	}
	for (int i = 0; i < 16; i++)
		x[i] += in[i];
}

void get_random_bytes(void *buf, size_t len)
{
	static const u32 nonce[3];
	u8 *out = buf;
	u32 block[16];

	while (len) {
		size_t n = min(len, (size_t)32);

		chacha20_block(key, 0, nonce, block);
		memcpy(key, block, 32);
		memcpy(out, block + 8, n);
		out += n;
		len -= n;
	}
	memset(block, 0, sizeof(block));
	__asm__ volatile("" : : "r"(block) : "memory");
}

u32 get_random_u32(void)
{
	u32 v;

	get_random_bytes(&v, sizeof(v));
	return v;
}

/*
 * 32 bytes at a time are XORed into the key, and the block function makes the next key out of that.
 */
static void mix(const void *data, size_t len)
{
	const u8 *p = data;

	while (len) {
		static const u32 nonce[3] = { 0x6d6978, 0, 0 };
		size_t n = min(len, sizeof(key));
		u32 piece[8] = { 0 }, block[16];

		memcpy(piece, p, n);
		for (int i = 0; i < 8; i++)
			key[i] ^= piece[i];
		chacha20_block(key, (u32)len, nonce, block);
		memcpy(key, block, sizeof(key));
		p += n;
		len -= n;
	}
}

static void add_source(const char *name)
{
	size_t len = strlen(sources);

	if (strstr(sources, name))
		return;
	snprintf(sources + len, sizeof(sources) - len, "%s%s", len ? ", " : "", name);
}

void add_hwgenerator_randomness(const char *name, const void *buf, size_t len)
{
	if (!len)
		return;
	mix(buf, len);
	add_source(name);
}

/*
 * Differences of the time stamp counter over code whose duration varies: better than nothing, never
 * called enough.
 */
static void mix_jitter(void)
{
	u64 stamps[64];

	for (size_t i = 0; i < ARRAY_SIZE(stamps); i++) {
		stamps[i] = rdtsc();
		(void)cpuid(0, 0);
	}
	mix(stamps, sizeof(stamps));
}

void random_init(void)
{
	u64 words[4];
	size_t n;

	mix_jitter();
	for (n = 0; n < ARRAY_SIZE(words) && cpu_rdseed(&words[n]); n++)
		;
	add_hwgenerator_randomness("RDSEED", words, n * sizeof(words[0]));
	for (n = 0; n < ARRAY_SIZE(words) && cpu_rdrand(&words[n]); n++)
		;
	add_hwgenerator_randomness("RDRAND", words, n * sizeof(words[0]));
}

bool random_report(void)
{
	if (sources[0]) {
		pr_info("seeded by %s\n", sources);
		return true;
	}
	pr_warn("no hardware source: seeded by timing jitter only%s\n",
		strict ? "; random.strict: TCP is refused" : ", sequence numbers may be guessed");
	return false;
}

bool random_tcp_allowed(void)
{
	return !strict || sources[0];
}

#define ROTL64(v, n) ((v) << (n) | (v) >> (64 - (n)))
/* clang-format off */
#define SIPROUND(v)                                                                                      \
	do {                                                                                             \
		v[0] += v[1]; v[1] = ROTL64(v[1], 13); v[1] ^= v[0]; v[0] = ROTL64(v[0], 32);            \
		v[2] += v[3]; v[3] = ROTL64(v[3], 16); v[3] ^= v[2];                                     \
		v[0] += v[3]; v[3] = ROTL64(v[3], 21); v[3] ^= v[0];                                     \
		v[2] += v[1]; v[1] = ROTL64(v[1], 17); v[1] ^= v[2]; v[2] = ROTL64(v[2], 32);            \
	} while (0)
/* clang-format on */

u64 siphash(const void *data, size_t len, const u64 k[2])
{
	u64 v[4] = { k[0] ^ 0x736f6d6570736575ull, k[1] ^ 0x646f72616e646f6dull,
		     k[0] ^ 0x6c7967656e657261ull, k[1] ^ 0x7465646279746573ull };
	const u8 *p = data;
	u64 last = (u64)len << 56, m;

	for (; len >= 8; len -= 8, p += 8) {
		memcpy(&m, p, 8);
		v[3] ^= m;
		SIPROUND(v);
		SIPROUND(v);
		v[0] ^= m;
	}
	for (size_t i = 0; i < len; i++)
		last |= (u64)p[i] << (8 * i);
	v[3] ^= last;
	SIPROUND(v);
	SIPROUND(v);
	v[0] ^= last;
	v[2] ^= 0xff;
	for (int i = 0; i < 4; i++)
		SIPROUND(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}
