/* kernel/debugfs.c: which file a path means, what a query says, text in pieces. */
#include <string.h>

#include "tests/unit/test.h"

#include "kernel/debugfs.h"
#include "kernel/lib/errno.h"

DEBUGFS_FILE(file_a) = { .path = "/a" };
DEBUGFS_FILE(file_ab) = { .path = "/a.b" };
DEBUGFS_FILE(file_dir) = { .path = "/a/" };
DEBUGFS_FILE(file_deep) = { .path = "/deep/file" };

/* ---- paths ---- */

static void test_lookup(void **state)
{
	static const struct {
		const char *path;
		const struct debugfs_file *file;
		const char *name;
	} cases[] = {
		{ "/a", &file_a, "" },
		{ "/a.b", &file_ab, "" },
		{ "/a/", &file_dir, "" },
		{ "/a/x", &file_dir, "x" },
		{ "/a/x/y", &file_dir, "x/y" },
		{ "/deep/file", &file_deep, "" },
		{ "/", NULL, NULL },
		{ "", NULL, NULL },
		{ "a", NULL, NULL },
		{ "/A", NULL, NULL },
		{ "/ab", NULL, NULL },
		{ "/a.", NULL, NULL },
		{ "/a.bc", NULL, NULL },
		{ "/deep", NULL, NULL },
		{ "/deep/", NULL, NULL },
		{ "/deep/file/", NULL, NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *name = NULL;

		assert_ptr_equal(debugfs_lookup(cases[i].path, &name), cases[i].file);
		if (cases[i].name)
			assert_string_equal(name, cases[i].name);
	}
}

/* ---- queries ---- */

static void test_query(void **state)
{
	static const struct {
		const char *query, *key, *value;
		int result;
	} cases[] = {
		{ "n=3", "n", "3", 1 },
		{ "n=3&m=4", "m", "4", 1 },
		{ "m=4&n=3", "n", "3", 1 },
		{ "n=", "n", "", 0 },
		{ "n=&m=1", "n", "", 0 },
		{ "n=1&n=2", "n", "1", 1 },
		{ "xn=1&n=2", "n", "2", 1 },
		{ "n2=1&n=2", "n", "2", 1 },
		{ "&&n=2", "n", "2", 1 },
		{ "a=n=1&n=2", "n", "2", 1 },
		{ "", "n", NULL, -ENOENT },
		{ "n", "n", NULL, -ENOENT },
		{ "n&m=1", "n", NULL, -ENOENT },
		{ "N=1", "n", NULL, -ENOENT },
		{ "a=b&", "n", NULL, -ENOENT },
		{ "f=a+b%20c%2bd%2Fe", "f", "a b c+d/e", 9 },
		{ "f=%26%3d%25", "f", "&=%", 3 },
		{ "f=%ff", "f", "\xff", 1 },
		{ "f=a=b", "f", "a=b", 3 },
		{ "f=%", "f", NULL, -EINVAL },
		{ "f=%2", "f", NULL, -EINVAL },
		{ "f=%2&g=1", "f", NULL, -EINVAL },
		{ "f=%g0", "f", NULL, -EINVAL },
		{ "f=%0g", "f", NULL, -EINVAL },
		{ "f=%00", "f", NULL, -EINVAL }, /* a string would end there */
		{ "f=123456789012345", "f", "123456789012345", 15 },
		{ "f=1234567890123456", "f", NULL, -EINVAL }, /* one too many for the 16 below */
		{ "f=%31%31%31%31%31%31%31%31%31%31%31%31%31%31%31", "f", "111111111111111", 15 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char buf[16];

		memset(buf, 'x', sizeof(buf));
		assert_int_equal(debugfs_query(cases[i].query, cases[i].key, buf, sizeof(buf)),
				 cases[i].result);
		if (cases[i].value)
			assert_string_equal(buf, cases[i].value);
	}
}

static void test_query_u32(void **state)
{
	static const struct {
		const char *query;
		int result;
		u32 value;
	} cases[] = {
		{ "n=1", 0, 1 },
		{ "n=600", 0, 600 },
		{ "m=1", 0, 77 }, /* not asked for: stays */
		{ "", 0, 77 },
		{ "n=0", -EINVAL, 77 },
		{ "n=601", -EINVAL, 77 },
		{ "n=", -EINVAL, 77 },
		{ "n=x", -EINVAL, 77 },
		{ "n=1x", -EINVAL, 77 },
		{ "n=-1", -EINVAL, 77 },
		{ "n=+1", -EINVAL, 77 },
		{ "n=0x10", -EINVAL, 77 },
		{ "n=4294967297", -EINVAL, 77 }, /* 1, if it were cut to 32 bits */
		{ "n=18446744073709551617", -EINVAL, 77 },
		{ "n=99999999999999999999999", -EINVAL, 77 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct debugfs_reader r = { .query = cases[i].query };
		u32 val = 77;

		assert_int_equal(debugfs_query_u32(&r, "n", 1, 600, &val), cases[i].result);
		assert_int_equal(val, cases[i].value);
		if (cases[i].result)
			assert_string_equal(r.error, "n= is a number from 1 to 600");
	}
}

/* ---- text ---- */

static void test_seq_file(void **state)
{
	struct seq_file s;
	char buf[16];

	(void)state;
	seq_init(&s, buf, sizeof(buf));
	seq_begin(&s);
	seq_printf(&s, "%s", "12345");
	seq_printf(&s, "%d", 678);
	assert_true(seq_end(&s));
	assert_int_equal(s.len, 8);
	/* Does not fit, though its second half would: all of it is taken back. */
	seq_begin(&s);
	seq_printf(&s, "abcdefgh");
	seq_printf(&s, "z");
	assert_false(seq_end(&s));
	assert_int_equal(s.len, 8);
	assert_memory_equal(buf, "12345678", 8);

	/* The next buffer begins with it. One byte is vsnprintf()'s. */
	seq_init(&s, buf, sizeof(buf));
	seq_begin(&s);
	seq_printf(&s, "123456789012345");
	assert_true(seq_end(&s));
	assert_int_equal(s.len, 15);
	seq_begin(&s);
	assert_true(seq_end(&s));
	seq_printf(&s, "x");
	assert_false(seq_end(&s));
	assert_int_equal(s.len, 15);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lookup),
		cmocka_unit_test(test_query),
		cmocka_unit_test(test_query_u32),
		cmocka_unit_test(test_seq_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
