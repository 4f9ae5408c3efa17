/* kernel/softirq.c: order, bounds, nesting. */
#include "tests/unit/test.h"

#include <string.h>

#include "kernel/softirq.h"
#include "tests/fake/fake_kernel.h"

static char order[64];
static unsigned int rounds;

static void note(char c)
{
	size_t n = strlen(order);

	assert_true(n + 1 < sizeof(order));
	order[n] = c;
	order[n + 1] = '\0';
}

static void timer_action(void)
{
	assert_true(in_softirq());
	assert_false(in_hardirq());
	note('t');
}

static void rx_action(void)
{
	note('r');
}

static void again_action(void)
{
	rounds++;
	raise_softirq(NET_TX_SOFTIRQ);
}

static int setup(void **state)
{
	(void)state;
	order[0] = '\0';
	rounds = 0;
	open_softirq(TIMER_SOFTIRQ, timer_action);
	open_softirq(NET_RX_SOFTIRQ, rx_action);
	open_softirq(NET_TX_SOFTIRQ, NULL);
	do_softirq();
	order[0] = '\0';
	return 0;
}

static void served_in_order_of_number(void **state)
{
	(void)state;
	raise_softirq(NET_RX_SOFTIRQ);
	raise_softirq(TIMER_SOFTIRQ);
	assert_true(local_softirq_pending());
	do_softirq();
	assert_string_equal(order, "tr");
	assert_false(local_softirq_pending());
}

static void ten_rounds_then_the_rest_is_left(void **state)
{
	(void)state;
	open_softirq(NET_TX_SOFTIRQ, again_action);
	raise_softirq(NET_TX_SOFTIRQ);
	do_softirq();
	assert_int_equal(rounds, 10);
	assert_true(local_softirq_pending());
	assert_false(in_interrupt());
}

static void bottom_halves_disabled_hold_it_back(void **state)
{
	(void)state;
	local_bh_disable();
	local_bh_disable();
	raise_softirq(NET_RX_SOFTIRQ);
	do_softirq();
	assert_string_equal(order, "");
	local_bh_enable();
	assert_string_equal(order, "");
	assert_true(in_softirq());
	local_bh_enable();
	assert_string_equal(order, "r");
	assert_false(in_softirq());
}

static void served_on_the_way_out_of_the_outermost_irq(void **state)
{
	(void)state;
	irq_enter();
	irq_enter();
	assert_true(in_hardirq());
	raise_softirq(NET_RX_SOFTIRQ);
	irq_exit();
	assert_string_equal(order, "");
	irq_exit();
	assert_string_equal(order, "r");
}

static void nested_action(void)
{
	note('<');
	irq_enter();
	raise_softirq(NET_RX_SOFTIRQ);
	irq_exit(); /* must not run the softirq inside the softirq */
	note('>');
}

static void an_irq_inside_a_softirq_only_raises(void **state)
{
	(void)state;
	open_softirq(TIMER_SOFTIRQ, nested_action);
	raise_softirq(TIMER_SOFTIRQ);
	do_softirq();
	assert_string_equal(order, "<>r");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(served_in_order_of_number, setup),
		cmocka_unit_test_setup(ten_rounds_then_the_rest_is_left, setup),
		cmocka_unit_test_setup(bottom_halves_disabled_hold_it_back, setup),
		cmocka_unit_test_setup(served_on_the_way_out_of_the_outermost_irq, setup),
		cmocka_unit_test_setup(an_irq_inside_a_softirq_only_raises, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
