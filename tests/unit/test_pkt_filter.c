/* net/pkt_filter.c: what the words mean, and frames in memory of exactly their size. */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/test.h"

#include "kernel/debugfs.h"
#include "kernel/lib/errno.h"
#include "net/pkt_filter.h"

/* ---- words ---- */

static struct pkt_filter parsed(const char *text)
{
	struct pkt_filter f;
	char error[96] = "";

	assert_int_equal(pkt_filter_parse(&f, text, error, sizeof(error)), 0);
	assert_string_equal(error, "");
	return f;
}

static void refused(const char *text)
{
	struct pkt_filter f;
	char error[96] = "";

	if (pkt_filter_parse(&f, text, error, sizeof(error)) != -EINVAL)
		fail_msg("'%s' was understood", text);
	assert_true(strlen(error) > 20 && strlen(error) < sizeof(error));
}

static void test_terms(void **state)
{
	static const struct {
		const char *text;
		struct pkt_filter f;
	} cases[] = {
		{ "", { 0 } },
		{ "  , ,and and", { 0 } },
		{ "icmp", { .proto = 1 } },
		{ "tcp", { .proto = 6 } },
		{ "udp", { .proto = 17 } },
		{ "arp", { .ethertype = 0x806 } },
		{ "ip", { .ethertype = 0x800 } },
		{ "ip6", { .ethertype = 0x86dd } },
		{ "port:80", { .port = 80 } },
		{ "port 65535", { .port = 65535 } },
		{ "tcp and port 7", { .proto = 6, .port = 7 } },
		{ "port:7,tcp", { .proto = 6, .port = 7 } },
		{ "ip6,udp, port 1", { .ethertype = 0x86dd, .proto = 17, .port = 1 } },
		{ "host 10.0.2.1", { .addr_len = 4, .addr = { 10, 0, 2, 1 } } },
		{ "host:255.0.255.0", { .addr_len = 4, .addr = { 255, 0, 255, 0 } } },
		{ "icmp and host 1.2.3.4", { .proto = 1, .addr_len = 4, .addr = { 1, 2, 3, 4 } } },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct pkt_filter f = parsed(cases[i].text), want = cases[i].f;

		want.proto6 = want.proto == 1 ? 58 : want.proto;
		assert_memory_equal(&f, &want, sizeof(f));
	}
}

/* RFC 4291, 2.2, forms 1 and 2. */
static void test_ip6_forms(void **state)
{
	static const struct {
		const char *text;
		u8 addr[16];
	} cases[] = {
		{ "::", { 0 } },
		{ "::1", { [15] = 1 } },
		{ "1::", { [1] = 1 } },
		{ "fe80::1", { 0xfe, 0x80, [15] = 1 } },
		{ "FE80::aBcD", { 0xfe, 0x80, [14] = 0xab, 0xcd } },
		{ "1:2:3:4:5:6:7:8", { 0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8 } },
		{ "1:2:3:4:5:6:7::", { 0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7 } },
		{ "::2:3:4:5:6:7:8", { 0, 0, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8 } },
		{ "1:2:3::7:8", { 0, 1, 0, 2, 0, 3, [12] = 0, 7, 0, 8 } },
		{ "2001:db8::ff00:42:8329",
		  { 0x20, 1, 0xd, 0xb8, [10] = 0xff, 0, 0, 0x42, 0x83, 0x29 } },
		{ "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
		  { 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
		    255 } },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		for (int colon = 0; colon < 2; colon++) {
			char text[64];
			struct pkt_filter f;

			strcpy(text, colon ? "host:" : "host ");
			f = parsed(strcat(text, cases[i].text));
			assert_int_equal(f.addr_len, 16);
			assert_memory_equal(f.addr, cases[i].addr, 16);
		}
	}
}

static void test_refused(void **state)
{
	static const char *const addresses[] = {
		"1.2.3",
		"1.2.3.4.5",
		"1.2.3.256",
		"1.2.3.",
		"1..2.3",
		"1.2.3.4x",
		".1.2.3.4",
		"1.2.3.0004",
		"-1.2.3.4",
		"1.2.3.4/8",
		":",
		":::",
		":1",
		"1:",
		"1:2:3:4:5:6:7",
		"1:2:3:4:5:6:7:8:9",
		"1::2::3",
		"12345::",
		"g::",
		"1:::2",
		":::1",
		"1:2:3:4:5:6:7:8:",
		"::1:",
		"fe80::1%et",
		"1:2:3:4::5:6:7:8",
		"::1.2.3.4",
	};
	static const char *const texts[] = {
		"nonsense",
		"ICMP",
		"port",
		"port:",
		"port 0",
		"port 65536",
		"port x",
		"port:80x",
		"port -1",
		"port 80 port 81",
		"host",
		"host:",
		"icmp tcp",
		"arp ip",
		"ip ip6",
		"host 1.2.3.4 host 1.2.3.5",
		"tcp\n",
		"tcp;udp",
		"not tcp",
		"port 4294967376",
		"port 18446744073709551696",
		"udp or tcp",
		"hosts:1.2.3.4",
		"tcp averyveryveryveryveryveryveryverylongwordthatdoesnotfitatall 80",
		"port 00000000000000000000000000000000000000000000000000000000000080",
	};
	char text[96];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(addresses); i++) {
		refused(strcat(strcpy(text, "host "), addresses[i]));
		refused(strcat(strcpy(text, "host:"), addresses[i]));
	}
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		refused(texts[i]);
}

/* For the linker: debugfs.c wants one. */
DEBUGFS_FILE(no_file) = { .path = "/none" };

static void test_query(void **state)
{
	static const struct {
		const char *query, *text;
		int result;
		const char *error;
	} cases[] = {
		{ "", "", 0, "" },
		{ "match=", "", 0, "" },
		{ "n=1&match=tcp+port:80", "tcp port:80", 11, "" },
		{ "match=tcp%2", NULL, -EINVAL, "match= is too long, or not well encoded" },
		{ "match=tcp+and+tcp+and+tcp+and+tc", NULL, -EINVAL,
		  "match= is too long, or not well encoded" },
		{ "match=ipx", NULL, -EINVAL, "not understood: 'ipx '" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct debugfs_reader r = { .query = cases[i].query };
		struct pkt_filter f;
		char buf[16];

		assert_int_equal(pkt_filter_query(&r, "match", buf, sizeof(buf), &f),
				 cases[i].result);
		assert_memory_equal(r.error, cases[i].error, strlen(cases[i].error));
		if (cases[i].text)
			assert_string_equal(buf, cases[i].text);
	}
}

/* ---- frames ---- */

static u8 *ip4(u8 *f, u8 ihl, u8 proto, u16 frag)
{
	static const u8 addrs[] = { 10, 0, 2, 1, 10, 0, 2, 2 };

	memset(f, 0, 80);
	f[12] = 8;
	f[14] = 0x40 | ihl;
	f[20] = (u8)(frag >> 8);
	f[21] = (u8)frag;
	f[23] = proto;
	memcpy(f + 26, addrs, 8);
	/* Ports 4660 and 80. */
	memcpy(f + 14 + ihl * 4, "\x12\x34\x00\x50", 4);
	return f;
}

static u8 *ip6(u8 *f, u8 next)
{
	memset(f, 0, 80);
	memcpy(f + 12, "\x86\xdd\x60", 3);
	f[20] = next;
	f[22] = 0xfe;
	f[23] = 0x80;
	f[37] = 1;
	memcpy(f + 38, f + 22, 16);
	f[53] = 2;
	memcpy(f + 54, "\x12\x34\x00\x50", 4);
	return f;
}

static bool match_len(const char *text, const u8 *frame, u32 len)
{
	struct pkt_filter f = parsed(text);
	u8 *exact = malloc(len);
	struct pkt_parts p;
	bool yes;

	if (len)
		memcpy(exact, frame, len);
	pkt_parts(&p, exact, len);
	yes = pkt_filter_match(&f, &p);
	free(exact);
	return yes;
}

static bool match(const char *text, const u8 *frame)
{
	return match_len(text, frame, PKT_HEAD_LEN);
}

static void test_match(void **state)
{
	u8 f[80];

	(void)state;
	ip4(f, 5, 6, 0);
	assert_true(match("", f) && match("ip", f) && match("tcp", f) && match("ip tcp", f));
	assert_true(match("port 80", f) && match("port 4660", f) && match("tcp port:80", f));
	assert_true(match("host 10.0.2.1", f) && match("host 10.0.2.2", f));
	assert_true(match("ip and tcp and host 10.0.2.2 and port 80", f));
	assert_false(match("udp", f) || match("icmp", f) || match("arp", f) || match("ip6", f));
	assert_false(match("port 81", f) || match("port 13330", f) || match("host 10.0.2.3", f));
	assert_false(match("host fe80::1", f) || match("host ::", f) || match("udp port 80", f));

	ip4(f, 5, 17, 0);
	assert_true(match("udp", f) && match("port 80", f));
	ip4(f, 5, 1, 0);
	assert_true(match("icmp", f));
	assert_false(match("port 80", f)); /* has none */
	ip4(f, 15, 6, 0);
	assert_false(match("port 80", f)); /* behind the 64 bytes */
	ip4(f, 10, 6, 0);
	assert_true(match("tcp port 80", f));

	ip6(f, 6);
	assert_true(match("ip6", f) && match("tcp", f) && match("port 80", f));
	assert_true(match("host fe80::1", f) && match("host fe80::2", f));
	assert_false(match("host fe80::3", f) || match("host 254.128.0.0", f) || match("ip", f));
	ip6(f, 58);
	assert_true(match("icmp", f) && match("icmp ip6", f));
	assert_false(match("tcp", f) || match("icmp ip", f));

	memset(f, 0, sizeof(f));
	f[12] = 8;
	f[13] = 6;
	assert_true(match("arp", f) && match("", f));
	assert_false(match("ip", f) || match("icmp", f) || match("host 0.0.0.0", f) ||
		     match("port 80", f));
}

/* Of a datagram in fragments the first has the ports. */
static void test_fragments(void **state)
{
	u8 f[80];

	(void)state;
	ip4(f, 5, 17, 0x2000);
	assert_true(match("udp", f) && match("port 80", f));
	ip4(f, 5, 17, 0x2001);
	assert_true(match("udp", f) && match("host 10.0.2.1", f));
	assert_false(match("port 80", f));
	ip4(f, 5, 17, 0x1fff);
	assert_false(match("port 80", f));
	ip4(f, 5, 17, 0x4000); /* DF is no fragment */
	assert_true(match("port 80", f));
	ip6(f, 44);
	assert_false(match("udp", f) || match("port 80", f));
}

/* Every frame cut at every length, with lengths of headers that lie: nothing is read beyond it. */
static void test_truncated(void **state)
{
	u8 f[80];

	(void)state;
	for (u32 len = 0; len <= PKT_HEAD_LEN; len++) {
		for (u8 ihl = 0; ihl < 16; ihl++) {
			ip4(f, 5, 6, 0);
			f[14] = 0x40 | ihl;
			match_len("port 1", f, len);
			match_len("host 9.9.9.9", f, len);
		}
		ip4(f, 5, 6, 0);
		assert_int_equal(match_len("ip", f, len), len >= 14);
		assert_int_equal(match_len("tcp", f, len), len >= 34);
		assert_int_equal(match_len("host 10.0.2.2", f, len), len >= 34);
		assert_int_equal(match_len("port 80", f, len), len >= 38);
		ip6(f, 6);
		assert_int_equal(match_len("ip6", f, len), len >= 14);
		assert_int_equal(match_len("tcp", f, len), len >= 54);
		assert_int_equal(match_len("host fe80::2", f, len), len >= 54);
		assert_int_equal(match_len("port 80", f, len), len >= 58);
	}
}

/* A header of less than five words is none: what follows is not where it says. */
static void test_short_header(void **state)
{
	u8 f[80];

	(void)state;
	ip4(f, 5, 6, 0);
	f[14] = 0x43; /* the ports would be the source address: 10.0 and 2.1 */
	assert_false(match("port 2560", f) || match("port 513", f));
	f[14] = 0x65; /* not version 4 */
	assert_false(match("port 80", f));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_terms),        cmocka_unit_test(test_ip6_forms),
		cmocka_unit_test(test_refused),      cmocka_unit_test(test_match),
		cmocka_unit_test(test_fragments),    cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_short_header), cmocka_unit_test(test_query),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
