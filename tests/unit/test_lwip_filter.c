/* The guard in front of lwIP, and the checksum: pure functions, on memory of the exact size. */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/test.h"

#include "arch/cc.h"
#include "net/lwip/glue.h"
#include "net/lwip/hooks.h"

#include "lwip/netif.h"
#include "lwip/priv/tcp_priv.h"

struct netif lwip_netif;

static enum lwip_filter judge(const void *frame, u32 len)
{
	u8 *exact = malloc(len ? len : 1);
	enum lwip_filter verdict;

	memcpy(exact, frame, len);
	verdict = lwip_filter(exact, len);
	free(exact);
	return verdict;
}

static u32 eth(u8 *buf, u16 type, const void *payload, u32 len)
{
	memset(buf, 0x55, 12);
	buf[12] = (u8)(type >> 8);
	buf[13] = (u8)type;
	memcpy(buf + 14, payload, len);
	return 14 + len;
}

static void test_every_short_length(void **state)
{
	static const struct {
		u16 type;
		u32 least;
		enum lwip_filter then;
	} kinds[] = {
		{ 0x0806, 42, FILTER_OK },    { 0x0800, 34, FILTER_IPV4 },
		{ 0x86dd, 54, FILTER_OK },    { 0x8100, 18, FILTER_PROTO },
		{ 0x88b5, 14, FILTER_PROTO }, { 0x0010, 14, FILTER_PROTO },
	};
	u8 buf[64];

	(void)state;
	for (u32 k = 0; k < ARRAY_SIZE(kinds); k++) {
		memset(buf, 0, sizeof(buf));
		buf[12] = (u8)(kinds[k].type >> 8);
		buf[13] = (u8)kinds[k].type;
		if (kinds[k].type == 0x86dd) {
			buf[14] = 0x60;
			buf[20] = 59; /* no next header */
		}
		for (u32 len = 0; len <= 60; len++)
			assert_int_equal(judge(buf, len),
					 len < kinds[k].least ? FILTER_SHORT : kinds[k].then);
	}
}

static u32 ipv4(u8 *buf, u8 ihl, u16 tot_len, u16 frag, u8 proto, u32 have)
{
	u8 ip[2048] = { 0 };

	ip[0] = (u8)(0x40 | ihl);
	ip[2] = (u8)(tot_len >> 8);
	ip[3] = (u8)tot_len;
	ip[6] = (u8)(frag >> 8);
	ip[7] = (u8)frag;
	ip[9] = proto;
	ip[20 + 12] = 0x50; /* TCP: 20 bytes of header */
	ip[20 + 4] = 0;     /* UDP: 8 bytes */
	ip[20 + 5] = 8;
	return eth(buf, 0x0800, ip, have);
}

static void test_ipv4_lengths(void **state)
{
	static const struct {
		u8 ihl;
		u16 tot_len, frag;
		u8 proto;
		u32 have;
		enum lwip_filter want;
	} cases[] = {
		{ 5, 20, 0, 99, 20, FILTER_OK },
		{ 5, 20, 0, 99, 46, FILTER_OK }, /* padded */
		{ 4, 20, 0, 99, 46, FILTER_IPV4 },
		{ 0, 20, 0, 99, 46, FILTER_IPV4 },
		{ 5, 19, 0, 99, 46, FILTER_IPV4 },
		{ 5, 47, 0, 99, 46, FILTER_IPV4 },
		{ 6, 20, 0, 99, 46, FILTER_IPV4 },
		{ 15, 60, 0, 99, 46, FILTER_IPV4 },
		{ 5, 0xffff, 0, 99, 46, FILTER_IPV4 },
		{ 5, 0, 0, 99, 46, FILTER_IPV4 },
		{ 5, 40, 0, 6, 46, FILTER_OK },
		{ 5, 39, 0, 6, 46, FILTER_TCP },
		{ 5, 20, 0, 6, 46, FILTER_TCP },
		{ 5, 28, 0, 17, 46, FILTER_OK },
		{ 5, 27, 0, 17, 46, FILTER_UDP },
		{ 5, 28, 0, 1, 46, FILTER_OK },
		{ 5, 27, 0, 1, 46, FILTER_ICMP },
		{ 5, 21, 0x2001, 6, 46, FILTER_OK },  /* a later fragment has no header */
		{ 5, 28, 0x2000, 6, 46, FILTER_TCP }, /* the first must have it whole */
	};
	u8 buf[2100];

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
		u32 len = ipv4(buf, cases[i].ihl, cases[i].tot_len, cases[i].frag, cases[i].proto,
			       cases[i].have);

		if (judge(buf, len) != cases[i].want)
			fail_msg("case %u: %d", i, judge(buf, len));
	}
}

static void test_tcp_and_udp_headers(void **state)
{
	u8 th[60] = { 0 }, uh[8] = { 0 };

	(void)state;
	for (u32 off = 0; off < 16; off++) {
		th[12] = (u8)(off << 4);
		for (u32 len = 0; len <= 60; len++) {
			u8 *exact = malloc(len ? len : 1);
			bool ok = len >= 20 && off >= 5 && off * 4 <= len;

			memcpy(exact, th, len);
			assert_int_equal(lwip_filter_tcp(exact, len), ok ? FILTER_OK : FILTER_TCP);
			free(exact);
		}
	}
	for (u32 ulen = 0; ulen < 12; ulen++) {
		uh[5] = (u8)ulen;
		assert_int_equal(lwip_filter_udp(uh, 8, true), ulen == 8 ? FILTER_OK : FILTER_UDP);
		assert_int_equal(lwip_filter_udp(uh, 8, false), ulen >= 8 ? FILTER_OK : FILTER_UDP);
	}
}

static enum lwip_filter judge6(u8 next, const void *payload, u32 len)
{
	u8 ip[2048] = { 0x60 }, buf[2100];

	ip[4] = (u8)(len >> 8);
	ip[5] = (u8)len;
	ip[6] = next;
	memcpy(ip + 40, payload, len);
	return judge(buf, eth(buf, 0x86dd, ip, 40 + len));
}

static void test_nd_options(void **state)
{
	static const struct {
		u8 type;
		u32 fixed;
	} kinds[] = { { 133, 8 }, { 134, 16 }, { 135, 24 }, { 136, 24 }, { 137, 40 } };

	(void)state;
	for (u32 k = 0; k < ARRAY_SIZE(kinds); k++) {
		u32 fixed = kinds[k].fixed;
		u8 m[128] = { kinds[k].type };

		for (u32 len = 0; len < fixed; len++)
			assert_int_equal(judge6(58, m, len), len < 8 ? FILTER_ICMP : FILTER_ND);
		assert_int_equal(judge6(58, m, fixed), FILTER_OK);
		m[fixed] = 2;
		for (u32 units = 0; units < 256; units++) {
			m[fixed + 1] = (u8)units;
			assert_int_equal(judge6(58, m, fixed + 8),
					 units == 1 ? FILTER_OK : FILTER_ND);
		}
		m[fixed + 1] = 1;
		for (u32 cut = 1; cut < 8; cut++)
			assert_int_equal(judge6(58, m, fixed + cut), FILTER_ND);
		/* A second one, of length 0. */
		assert_int_equal(judge6(58, m, fixed + 16), FILTER_ND);
		m[fixed + 8] = 3;
		m[fixed + 9] = 4;
		assert_int_equal(judge6(58, m, fixed + 8 + 32), FILTER_OK);
		assert_int_equal(judge6(58, m, fixed + 8 + 24), FILTER_ND);
	}
}

/* An advertisement of an address that is ours passes while that is in question only; a
 * solicitation always does. */
static void test_nd_own_address(void **state)
{
	static const struct {
		u8 addr_state;
		enum lwip_filter want;
	} cases[] = {
		{ IP6_ADDR_INVALID, FILTER_OK },     { IP6_ADDR_TENTATIVE, FILTER_OK },
		{ IP6_ADDR_TENTATIVE_1, FILTER_OK }, { IP6_ADDR_DUPLICATED, FILTER_OK },
		{ IP6_ADDR_VALID, FILTER_ND },       { IP6_ADDR_PREFERRED, FILTER_ND },
	};
	u8 m[32] = { 136, [8] = 0xfe, 0x80, [22] = 1, 2, 2, 1 };
	ip6_addr_t own = { 0 };

	(void)state;
	memcpy(own.addr, m + 8, 16);
	ip6_addr_set_zone(&own, 1);
	for (u32 slot = 0; slot < LWIP_IPV6_NUM_ADDRESSES; slot++) {
		ip_addr_copy_from_ip6(lwip_netif.ip6_addr[slot], own);
		for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
			u64 before = lwip_filter_count[FILTER_ND];

			lwip_netif.ip6_addr_state[slot] = cases[i].addr_state;
			m[0] = 136;
			assert_int_equal(judge6(58, m, 32), cases[i].want);
			assert_int_equal(judge6(58, m, 24), cases[i].want);
			assert_int_equal(lwip_filter_count[FILTER_ND] - before,
					 cases[i].want == FILTER_ND ? 2 : 0);
			m[23]++; /* another's */
			assert_int_equal(judge6(58, m, 32), FILTER_OK);
			m[23]--;
			m[0] = 135;
			m[24] = 1;
			assert_int_equal(judge6(58, m, 32), FILTER_OK);
			m[24] = 2;
		}
		memset(&lwip_netif, 0, sizeof(lwip_netif));
	}
}

static void test_extension_headers(void **state)
{
	u8 h[64] = { 0 };

	(void)state;
	h[0] = 59;
	for (u32 len = 0; len < 8; len++)
		assert_int_equal(judge6(0, h, len), FILTER_EXT);
	assert_int_equal(judge6(0, h, 8), FILTER_OK); /* six times Pad1 */
	h[1] = 1;
	assert_int_equal(judge6(60, h, 8), FILTER_EXT);
	assert_int_equal(judge6(43, h, 8), FILTER_EXT);
	assert_int_equal(judge6(60, h, 16), FILTER_OK);
	h[1] = 0;
	h[2] = 5; /* router alert, which claims */
	for (u32 n = 0; n < 256; n++) {
		h[3] = (u8)n; /* this many bytes of the four there are, the rest Pad1 */
		assert_int_equal(judge6(0, h, 8), n <= 4 ? FILTER_OK : FILTER_EXT);
	}
	h[2] = h[3] = h[4] = h[5] = h[6] = 0;
	h[7] = 1; /* an option in the last byte has no length */
	assert_int_equal(judge6(0, h, 8), FILTER_EXT);
	/* A chain without end. */
	memset(h, 0, sizeof(h));
	for (u32 i = 0; i < 8; i++)
		h[i * 8] = 60;
	assert_int_equal(judge6(60, h, 64), FILTER_EXT);
}

static void test_ipv6_fragments(void **state)
{
	u8 h[64] = { 58 };

	(void)state;
	h[8] = 135; /* neighbour discovery */
	assert_int_equal(judge6(44, h, 40), FILTER_ND_FRAG);
	h[8] = 128; /* echo */
	assert_int_equal(judge6(44, h, 40), FILTER_OK);
	assert_int_equal(judge6(44, h, 7), FILTER_EXT);
	assert_int_equal(judge6(44, h, 15), FILTER_ICMP);
	h[2] = 1; /* not the first */
	assert_int_equal(judge6(44, h, 9), FILTER_OK);
	h[0] = 60; /* headers behind a fragment header */
	assert_int_equal(judge6(44, h, 40), FILTER_EXT);
	h[2] = 0;
	assert_int_equal(judge6(44, h, 40), FILTER_EXT);
}

/* ---- the hook that sees TCP options ---- */

static err_t options(const u8 *opt, u32 len, u32 split)
{
	u8 *hdr = malloc(20 + split), *rest = malloc(len - split + 1);
	err_t err;

	memset(hdr, 0, 20);
	memcpy(hdr + 20, opt, split);
	memcpy(rest, opt + split, len - split);
	rest = realloc(rest, len > split ? len - split : 1);
	err = lwip_hook_tcp_inpacket(NULL, (struct tcp_hdr *)hdr, (u16_t)len, (u16_t)split,
				     split < len ? rest : NULL, NULL);
	free(hdr);
	free(rest);
	return err;
}

static void test_tcp_options(void **state)
{
	static const struct {
		u8 opt[8];
		bool ok;
	} cases[] = {
		{ { 1, 1, 1, 1, 1, 1, 1, 1 }, true },   { { 2, 4, 5, 0xb4, 1, 3, 3, 7 }, true },
		{ { 0, 2, 0, 0, 0, 0, 0, 0 }, true },   { { 1, 1, 1, 1, 1, 1, 1, 2 }, false },
		{ { 1, 1, 1, 1, 1, 1, 2, 4 }, false },  { { 2, 0, 0, 0, 0, 0, 0, 0 }, false },
		{ { 2, 1, 0, 0, 0, 0, 0, 0 }, false },  { { 254, 255, 0, 0, 0, 0, 0, 0 }, false },
		{ { 254, 8, 9, 9, 9, 9, 9, 9 }, true }, { { 254, 9, 9, 9, 9, 9, 9, 9 }, false },
		{ { 1, 1, 1, 1, 1, 1, 1, 8 }, false },  { { 5, 2, 5, 2, 5, 2, 5, 2 }, true },
	};

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(cases); i++)
		for (u32 split = 0; split <= 8; split++)
			assert_int_equal(options(cases[i].opt, 8, split),
					 cases[i].ok ? ERR_OK : ERR_VAL);
	assert_int_equal(options(cases[0].opt, 0, 0), ERR_OK);
}

/* ---- checksum ---- */

static u16 slow_sum(const u8 *p, u32 len)
{
	u64 sum = 0;

	for (u32 i = 0; i < len; i++)
		sum += i & 1 ? (u64)p[i] << 8 : p[i];
	while (sum >> 16)
		sum = (sum >> 16) + (sum & 0xffff);
	return (u16)sum;
}

static void test_checksum(void **state)
{
	(void)state;
	srandom(1);
	for (u32 len = 0; len <= 200; len++) {
		for (u32 align = 0; align < 8; align++) {
			u8 *block = malloc(len + align + 1), *p = block + align;

			block = realloc(block, len + align ? len + align : 1);
			p = block + align;
			for (u32 i = 0; i < len; i++)
				p[i] = len % 3 ? (u8)random() : 0xff;
			assert_int_equal(lwip_chksum(p, (int)len), slow_sum(p, len));
			free(block);
		}
	}
	for (u32 fill = 0; fill < 256; fill += 51) {
		u8 *big = malloc(65535);

		memset(big, (int)fill, 65535);
		assert_int_equal(lwip_chksum(big, 65535), slow_sum(big, 65535));
		free(big);
	}
}

/* Noise that begins plausibly: no read past the end, whatever it says. */
static void test_noise(void **state)
{
	static const u16 types[] = { 0x0800, 0x86dd, 0x0806, 0x8100 };
	u8 buf[256];

	(void)state;
	srandom(7);
	for (u32 i = 0; i < 300000; i++) {
		u32 len = (u32)random() % 120;
		u16 type = types[random() % 4];

		for (u32 n = 0; n < len; n++)
			buf[n] = random() % 3 ? (u8)random() : 0;
		buf[12] = (u8)(type >> 8);
		buf[13] = (u8)type;
		buf[14] = type == 0x0800 ? 0x45 : 0x60;
		if (random() % 4) {
			u32 plen = len > 54 ? len - (type == 0x0800 ? 14 : 54) : 0;

			buf[type == 0x0800 ? 16 : 18] = 0;
			buf[type == 0x0800 ? 17 : 19] = (u8)plen;
			buf[20] = (u8[]){ 0, 43, 44, 58, 60, 58, 6, 17 }[random() % 8];
		}
		judge(buf, len);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_short_length),
		cmocka_unit_test(test_ipv4_lengths),
		cmocka_unit_test(test_tcp_and_udp_headers),
		cmocka_unit_test(test_nd_options),
		cmocka_unit_test(test_nd_own_address),
		cmocka_unit_test(test_extension_headers),
		cmocka_unit_test(test_ipv6_fragments),
		cmocka_unit_test(test_tcp_options),
		cmocka_unit_test(test_checksum),
		cmocka_unit_test(test_noise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
