/* kernel/lib/string.c against the C library's, every small length and alignment. */
#define memcpy k_memcpy
#define memmove k_memmove
#define memset k_memset
#define memcmp k_memcmp
#define memchr k_memchr
#define strlen k_strlen
#define strnlen k_strnlen
#define strcmp k_strcmp
#define strncmp k_strncmp
#define strchr k_strchr
#define strstr k_strstr
#include "kernel/lib/string.c"
#undef memcpy
#undef memmove
#undef memset
#undef memcmp
#undef memchr
#undef strlen
#undef strnlen
#undef strcmp
#undef strncmp
#undef strchr
#undef strstr

#include "tests/unit/test.h"

#include <stdlib.h>
#include <string.h>

static int sign(int v)
{
	return (v > 0) - (v < 0);
}

static void copies(void **state)
{
	u8 src[256], a[256], b[256];

	(void)state;
	for (size_t i = 0; i < sizeof(src); i++)
		src[i] = (u8)rand();
	for (size_t off = 0; off < 9; off++) {
		for (size_t n = 0; n < 200; n++) {
			memset(a, 7, sizeof(a));
			memset(b, 7, sizeof(b));
			assert_ptr_equal(k_memcpy(a + off, src + 3, n), a + off);
			memcpy(b + off, src + 3, n);
			assert_memory_equal(a, b, sizeof(a));
			k_memset(a + off, (int)n, n);
			memset(b + off, (int)n, n);
			assert_memory_equal(a, b, sizeof(a));
		}
	}
}

static void overlapping_moves(void **state)
{
	u8 a[128], b[128];

	(void)state;
	for (size_t from = 0; from < 24; from++) {
		for (size_t to = 0; to < 24; to++) {
			for (size_t n = 0; n < 100; n++) {
				for (size_t i = 0; i < sizeof(a); i++)
					a[i] = b[i] = (u8)(i * 7);
				k_memmove(a + to, a + from, n);
				memmove(b + to, b + from, n);
				assert_memory_equal(a, b, sizeof(a));
			}
		}
	}
}

static void comparisons(void **state)
{
	static const char *const s[] = { "",    "a",    "ab",         "abc",
					 "abd", "\xff", "virtio_net", "virtio-net" };

	(void)state;
	for (size_t i = 0; i < 8; i++) {
		assert_int_equal(k_strlen(s[i]), strlen(s[i]));
		for (size_t j = 0; j < 8; j++) {
			assert_int_equal(sign(k_strcmp(s[i], s[j])), sign(strcmp(s[i], s[j])));
			for (size_t n = 0; n < 5; n++)
				assert_int_equal(sign(k_strncmp(s[i], s[j], n)),
						 sign(strncmp(s[i], s[j], n)));
			assert_ptr_equal(k_strstr(s[i], s[j]), strstr(s[i], s[j]));
		}
		for (int c = 'a'; c < 'e'; c++)
			assert_ptr_equal(k_strchr(s[i], c), strchr(s[i], c));
		assert_ptr_equal(k_strchr(s[i], 0), strchr(s[i], 0));
	}
	assert_true(k_memcmp("\x01\xff", "\x01\x01", 2) > 0);
	assert_int_equal(k_memcmp("ab", "ac", 1), 0);
	assert_null(k_memchr("abc", 'c', 2));
	assert_int_equal(k_strnlen("abc", 2), 2);
}

static void bounded_copy(void **state)
{
	char buf[4];

	(void)state;
	assert_int_equal(strscpy(buf, "abc", 4), 3);
	assert_string_equal(buf, "abc");
	assert_int_equal(strscpy(buf, "abcd", 4), -7);
	assert_string_equal(buf, "abc");
	assert_int_equal(strscpy(buf, "abcd", 0), -7);
}

static void numbers(void **state)
{
	u64 v = 5;

	(void)state;
	assert_int_equal(kstrtoull("0", 10, &v), 0);
	assert_true(v == 0);
	assert_int_equal(kstrtoull("18446744073709551615", 10, &v), 0);
	assert_true(v == ~0ull);
	assert_int_equal(kstrtoull("0xFeed", 0, &v), 0);
	assert_true(v == 0xfeed);
	assert_int_equal(kstrtoull("18446744073709551616", 10, &v), -34);
	assert_int_equal(kstrtoull("", 10, &v), -22);
	assert_int_equal(kstrtoull("0x", 0, &v), -22);
	assert_int_equal(kstrtoull("-1", 10, &v), -22);
	assert_int_equal(kstrtoull("1 ", 10, &v), -22);
	assert_true(v == 0xfeed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(copies),      cmocka_unit_test(overlapping_moves),
		cmocka_unit_test(comparisons), cmocka_unit_test(bounded_copy),
		cmocka_unit_test(numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
