/* kernel/time.c: order of deadlines, and how often the hardware timer is touched. */
#include "tests/unit/test.h"

#include <string.h>

#include "kernel/softirq.h"
#include "kernel/time.h"
#include "kernel/init_calls.h"
#include "kernel/x86/apic.h"
#include "kernel/x86/entry.h"
#include "kernel/x86/tsc.h"
#include "tests/fake/fake_kernel.h"

static u64 now, programmed_for;
static unsigned int programmed;
static char order[16];

u64 tsc_read_ns(void)
{
	return now;
}

void clockevent_program(u64 ns)
{
	programmed++;
	programmed_for = now + ns;
}

bool tsc_refine_start(void)
{
	return false;
}

void tsc_refine_finish(void)
{
}

void apic_eoi(void)
{
}

/* The hardware: time passes until the programmed moment, then the interrupt, then softirqs. */
static void sleep_until_interrupt(void)
{
	now = programmed_for;
	sysvec_apic_timer_interrupt();
	do_softirq();
}

static struct hrtimer a, b, again;

static void fn_a(struct hrtimer *t)
{
	assert_ptr_equal(t, &a);
	strcat(order, "a");
}

static void fn_b(struct hrtimer *t)
{
	(void)t;
	strcat(order, "b");
}

static void fn_again(struct hrtimer *t)
{
	strcat(order, "!");
	hrtimer_start(t, now + 100);
}

static int setup(void **state)
{
	(void)state;
	fake_kernel_reset();
	time_init();
	hrtimer_setup(&a, fn_a);
	hrtimer_setup(&b, fn_b);
	hrtimer_setup(&again, fn_again);
	order[0] = '\0';
	programmed = 0;
	return 0;
}

static void earliest_first_and_one_programming_each(void **state)
{
	(void)state;
	hrtimer_start(&a, now + 2000);
	hrtimer_start(&b, now + 1000);
	assert_int_equal(programmed, 2);
	assert_int_equal(programmed_for, now + 1000);
	sleep_until_interrupt();
	assert_string_equal(order, "b");
	assert_int_equal(programmed, 3);
	sleep_until_interrupt();
	assert_string_equal(order, "ba");
	assert_int_equal(programmed, 3); /* nothing left: silence */
}

static void a_later_deadline_does_not_touch_the_hardware(void **state)
{
	(void)state;
	hrtimer_start(&a, now + 1000);
	hrtimer_start(&b, now + 2000);
	hrtimer_start(&a, now + 1500);
	assert_int_equal(programmed, 1);
	hrtimer_cancel(&a);
	assert_false(hrtimer_is_queued(&a));
	sleep_until_interrupt(); /* early, finds nothing, arms for b */
	assert_string_equal(order, "");
	sleep_until_interrupt();
	assert_string_equal(order, "b");
}

static void a_timer_may_start_itself_again(void **state)
{
	(void)state;
	hrtimer_start(&again, now + 100);
	sleep_until_interrupt();
	sleep_until_interrupt();
	assert_string_equal(order, "!!");
	hrtimer_cancel(&again);
}

static void a_deadline_in_the_past_fires_at_once(void **state)
{
	(void)state;
	now = 5000;
	hrtimer_start(&a, 10);
	assert_int_equal(programmed_for, 5000);
	sleep_until_interrupt();
	assert_string_equal(order, "a");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(earliest_first_and_one_programming_each, setup),
		cmocka_unit_test_setup(a_later_deadline_does_not_touch_the_hardware, setup),
		cmocka_unit_test_setup(a_timer_may_start_itself_again, setup),
		cmocka_unit_test_setup(a_deadline_in_the_past_fires_at_once, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
