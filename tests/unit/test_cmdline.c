/* kernel/cmdline.c: words to their owners, refusals and unknown words to the log. */
#include "tests/unit/test.h"

#include <string.h>

#include "boot/boot.h"
#include "kernel/init.h"
#include "kernel/init_calls.h"
#include "kernel/lib/errno.h"
#include "tests/fake/fake_kernel.h"

static char got[64];
static int times;

static int set_thing(const char *val)
{
	times++;
	strncpy(got, val ? val : "(none)", sizeof(got) - 1);
	return val && !strcmp(val, "bad") ? -EINVAL : 0;
}
__setup("some.thing_x", set_thing);

static bool flag;

static int set_flag(const char *val)
{
	return param_set_bool(val, &flag);
}
__setup("flag", set_flag);

static void run(const char *line)
{
	static struct boot_info bi;

	memset(&bi, 0, sizeof(bi));
	strncpy(bi.cmdline, line, sizeof(bi.cmdline) - 1);
	fake_log_clear();
	times = 0;
	strcpy(got, "untouched");
	cmdline_init(&bi);
}

static void words_reach_their_owner(void **state)
{
	(void)state;
	run("  some.thing_x=a=b,c\t some.thing-x  ");
	assert_int_equal(times, 2);
	assert_string_equal(got, "(none)");
	run("some.thing_x=a=b,c");
	assert_string_equal(got, "a=b,c");
	assert_false(fake_log_has("unknown"));
}

static void a_bad_value_is_refused_with_a_line(void **state)
{
	(void)state;
	run("some.thing_x=bad");
	assert_true(fake_log_has("some.thing_x=bad"));
	assert_true(fake_log_has("bad value"));
	run("flag=1 flag=2 flag flag=10");
	assert_true(flag);
	assert_int_equal(fake_log_count("bad value"), 3);
}

static void unknown_words_warn_once_each(void **state)
{
	(void)state;
	run("foo bar=1 some.thing_xy=1");
	assert_int_equal(fake_log_count("unknown word"), 3);
	assert_int_equal(times, 0);
}

static void habits_of_boot_loaders_are_ignored_in_silence(void **state)
{
	(void)state;
	run("quiet root=/dev/vda ro rw reboot=k nomodule 8250.nr_uarts=0");
	assert_false(fake_log_has("unknown"));
}

static unsigned int level_seen_at;

static int set_level(const char *val)
{
	level_seen_at = val && !fake_log_has("Command line") ? 1 : 2;
	return 0;
}
__setup("loglevel", set_level);

static void the_log_level_comes_before_the_first_line(void **state)
{
	(void)state;
	run("some.thing_x=1 loglevel=0");
	assert_int_equal(level_seen_at, 1);
	assert_int_equal(times, 1);
}

static void garbage_does_not_reach_the_log(void **state)
{
	(void)state;
	run("\x1b[2J\x80 ok\x07");
	assert_false(fake_log_has("\x1b"));
	assert_true(fake_log_has("?[2J?"));
	/* A file on the ESP has lines; the log's are its own. */
	run("some.thing_x=1\r\nsome.thing_x=2\n\tbarewire:\n");
	assert_int_equal(times, 2);
	assert_true(fake_log_has("Command line: some.thing_x=1  some.thing_x=2  barewire:"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_reach_their_owner),
		cmocka_unit_test(a_bad_value_is_refused_with_a_line),
		cmocka_unit_test(unknown_words_warn_once_each),
		cmocka_unit_test(habits_of_boot_loaders_are_ignored_in_silence),
		cmocka_unit_test(the_log_level_comes_before_the_first_line),
		cmocka_unit_test(garbage_does_not_reach_the_log),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
