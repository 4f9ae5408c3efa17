/* net/pcapng.c, by a reader that takes nothing on trust: every length, every option, every byte. */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/test.h"

#include "net/netdevice.h"
#include "net/pcapng.h"

/* ---- a strict reader of one block (native byte order) ---- */

static u8 out[1 << 17];
static size_t out_len;

static u32 u32_at(size_t at)
{
	u32 v;

	assert_true(at + 4 <= out_len);
	memcpy(&v, out + at, 4);
	return v;
}

static u16 u16_at(size_t at)
{
	u16 v;

	assert_true(at + 2 <= out_len);
	memcpy(&v, out + at, 2);
	return v;
}

/* The block's length: the same in front and behind, a multiple of 4, within what there is. */
static u32 block(size_t at, u32 type)
{
	u32 len = u32_at(at + 4);

	assert_int_equal(u32_at(at), type);
	assert_int_equal(len % 4, 0);
	assert_true(len >= 12 && at + len <= out_len);
	assert_int_equal(u32_at(at + len - 4), len);
	return len;
}

/* The value of an option among those from at to end, and its length; all are checked. */
static const u8 *option(size_t at, size_t end, u16 code, u32 *len)
{
	const u8 *value = NULL;

	for (;;) {
		u16 c = u16_at(at), n = u16_at(at + 2);

		at += 4;
		if (c == 0) {
			assert_int_equal(n, 0);
			break;
		}
		assert_true(at + n <= end);
		if (c == code) {
			assert_null(value);
			value = out + at;
			*len = n;
		}
		for (at += n; at % 4; at++)
			assert_int_equal(out[at], 0);
	}
	assert_int_equal(at, end);
	return value;
}

static void expect_option(size_t at, size_t end, u16 code, const void *value, u32 len)
{
	u32 n = 0;
	const u8 *v = option(at, end, code, &n);

	assert_non_null(v);
	assert_int_equal(n, len);
	assert_memory_equal(v, value, len);
}

/* Read out in pieces of that size, each in memory of exactly its size. */
static void drain(struct pcapng_block b, size_t piece)
{
	out_len = 0;
	while (pcapng_pending(&b)) {
		u32 before = pcapng_pending(&b);
		char *buf = malloc(piece);
		size_t n = pcapng_read(&b, buf, piece);

		assert_int_equal(n, min((size_t)before, piece));
		assert_int_equal(pcapng_pending(&b), before - n);
		memcpy(out + out_len, buf, n);
		out_len += n;
		free(buf);
	}
	assert_int_equal(pcapng_read(&b, (char *)out, sizeof(out)), 0);
}

/* The same bytes whatever the pieces. */
static void drain_every_way(const struct pcapng_block *b)
{
	size_t len, whole;
	u8 *first;

	drain(*b, sizeof(out));
	whole = out_len;
	first = malloc(whole);
	memcpy(first, out, whole);
	for (len = 1; len <= whole + 1; len++) {
		drain(*b, len);
		assert_int_equal(out_len, whole);
		assert_memory_equal(out, first, whole);
	}
	free(first);
}

/* ---- blocks ---- */

static void test_start(void **state)
{
	static const char *const names[] = { "eth0", "a", "ab", "abc", "averylongname15" };
	struct net_device dev = { .dev_addr = { 1, 2, 3, 4, 5, 6 } };
	struct pcapng_block b;

	(void)state;
	for (u32 i = 0; i <= ARRAY_SIZE(names); i++) {
		bool with_dev = i < ARRAY_SIZE(names);
		u32 shb, idb, n = 0;

		if (with_dev)
			strcpy(dev.name, names[i]);
		memset(&b, 0xaa, sizeof(b));
		pcapng_start(&b, with_dev ? &dev : NULL, 96);
		drain_every_way(&b);
		shb = block(0, 0x0a0d0d0a);
		assert_int_equal(u32_at(8), 0x1a2b3c4d);
		assert_int_equal(u16_at(12), 1);
		assert_int_equal(u16_at(14), 0);
		assert_int_equal(u32_at(16), ~0u);
		assert_int_equal(u32_at(20), ~0u);
		expect_option(24, shb - 4, 4, "Barewire", 8);
		idb = block(shb, 1);
		assert_int_equal(shb + idb, out_len);
		assert_int_equal(u16_at(shb + 8), 1);
		assert_int_equal(u32_at(shb + 12), 96);
		expect_option(shb + 16, out_len - 4, 9, "\x09", 1);
		if (with_dev) {
			expect_option(shb + 16, out_len - 4, 2, names[i], (u32)strlen(names[i]));
			expect_option(shb + 16, out_len - 4, 6, dev.dev_addr, 6);
		} else {
			assert_null(option(shb + 16, out_len - 4, 2, &n));
		}
	}
}

static void check_packet(u32 len, u32 orig, bool sent, const char *comment)
{
	u8 *frame = calloc(1, len);
	u32 flags = sent ? 2 : 1, n = 0, opts;
	struct pcapng_block b;
	const u8 *v;

	for (u32 i = 0; i < len; i++)
		frame[i] = (u8)(i * 7 + 1);
	memset(&b, 0xaa, sizeof(b));
	pcapng_packet(&b, 0x123456789abcdef0ull, frame, len, orig, sent, comment);
	if (len < 200)
		drain_every_way(&b);
	else
		drain(b, 2553);
	assert_int_equal(block(0, 6), out_len);
	assert_int_equal(u32_at(8), 0);
	assert_int_equal(u32_at(12), 0x12345678);
	assert_int_equal(u32_at(16), 0x9abcdef0);
	assert_int_equal(u32_at(20), len);
	assert_int_equal(u32_at(24), orig);
	assert_memory_equal(out + 28, frame, len);
	opts = (u32)ALIGN_UP(28 + len, 4);
	for (u32 i = 28 + len; i < opts; i++)
		assert_int_equal(out[i], 0);
	expect_option(opts, out_len - 4, 2, &flags, 4);
	v = option(opts, out_len - 4, 1, &n);
	assert_int_equal(v != NULL, comment != NULL);
	if (comment) {
		assert_int_equal(n, min(strlen(comment), (size_t)PCAPNG_COMMENT_MAX - 1));
		assert_memory_equal(v, comment, n);
	}
	free(frame);
}

static void test_packet(void **state)
{
	char comment[PCAPNG_COMMENT_MAX + 10];

	(void)state;
	for (u32 len = 1; len < 70; len++)
		check_packet(len, len + 1000, len & 1, len % 3 ? NULL : "some words");
	check_packet(65550, 65550, true, NULL);
	for (u32 n = 1; n < 9; n++) {
		memset(comment, 'c', sizeof(comment));
		comment[n] = '\0';
		check_packet(60, 60, false, comment);
	}
	memset(comment, 'c', sizeof(comment));
	for (u32 n = PCAPNG_COMMENT_MAX - 6; n < PCAPNG_COMMENT_MAX + 6; n++) {
		comment[n] = '\0';
		check_packet(61, 61, false, comment);
		comment[n] = 'c';
	}
}

static void test_statistics(void **state)
{
	u64 received = 0x100000002ull, dropped = 7;
	struct pcapng_block b;

	(void)state;
	memset(&b, 0xaa, sizeof(b));
	pcapng_statistics(&b, 5, received, dropped);
	drain_every_way(&b);
	assert_int_equal(block(0, 5), out_len);
	assert_int_equal(u32_at(8), 0);
	assert_int_equal(u32_at(12), 0);
	assert_int_equal(u32_at(16), 5);
	expect_option(20, out_len - 4, 4, &received, 8);
	expect_option(20, out_len - 4, 5, &dropped, 8);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_start),
		cmocka_unit_test(test_packet),
		cmocka_unit_test(test_statistics),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
