/* kernel/tasklet.c on the real kernel/softirq.c. */
#include <string.h>

#include "tests/unit/test.h"

#include "kernel/irq.h"
#include "kernel/lib/container_of.h"
#include "kernel/softirq.h"
#include "kernel/tasklet.h"
#include "kernel/x86/irqflags.h"
#include "tests/fake/fake_kernel.h"

struct job {
	struct tasklet_struct tasklet;
	u32 runs, again; /* schedules itself that many times more */
	struct job *kills, *starts;
};

static struct job a, b, c;
static char order[64];
static u32 nr;

static void run(struct tasklet_struct *t)
{
	struct job *j = container_of(t, struct job, tasklet);

	assert_true(in_softirq());
	assert_false(irqs_disabled());
	order[nr++] = j == &a ? 'a' : j == &b ? 'b' : 'c';
	j->runs++;
	if (j->kills)
		tasklet_kill(&j->kills->tasklet);
	if (j->starts)
		tasklet_schedule(&j->starts->tasklet);
	if (j->again) {
		j->again--;
		tasklet_schedule(t);
	}
}

static int setup(void **state)
{
	struct job *jobs[] = { &a, &b, &c };

	(void)state;
	fake_kernel_reset();
	tasklet_init();
	memset(order, 0, sizeof(order));
	nr = 0;
	for (u32 i = 0; i < 3; i++) {
		*jobs[i] = (struct job){ 0 };
		tasklet_setup(&jobs[i]->tasklet, run);
	}
	return 0;
}

static void test_once_and_in_order(void **state)
{
	(void)state;
	tasklet_schedule(&b.tasklet);
	tasklet_schedule(&a.tasklet);
	tasklet_schedule(&b.tasklet);
	assert_string_equal(order, "");
	do_softirq();
	assert_string_equal(order, "ba");
	do_softirq();
	assert_string_equal(order, "ba");
}

static irqreturn_t from_irq(int irq, void *arg)
{
	(void)irq;
	(void)arg;
	tasklet_schedule(&a.tasklet);
	return IRQ_HANDLED;
}

static void test_from_hard_irq(void **state)
{
	(void)state;
	assert_int_equal(request_irq(5, from_irq, 0, "t", &a), 0);
	local_bh_disable();
	assert_true(fake_irq_raise(5));
	assert_string_equal(order, "");
	local_bh_enable();
	assert_string_equal(order, "a");
}

/* Killed: before the round, in the round by one that runs before it, and by itself. */
static void test_kill(void **state)
{
	(void)state;
	tasklet_schedule(&a.tasklet);
	tasklet_kill(&a.tasklet);
	tasklet_kill(&a.tasklet);
	do_softirq();
	assert_string_equal(order, "");

	a.kills = &b;
	tasklet_schedule(&a.tasklet);
	tasklet_schedule(&b.tasklet);
	tasklet_schedule(&c.tasklet);
	do_softirq();
	assert_string_equal(order, "ac");
	tasklet_schedule(&b.tasklet); /* a killed one can be scheduled again */
	do_softirq();
	assert_string_equal(order, "acb");
}

/* One that schedules another, or itself, does not keep the round from ending. */
static void test_again(void **state)
{
	(void)state;
	a.again = 1000;
	b.starts = &c;
	tasklet_schedule(&a.tasklet);
	tasklet_schedule(&b.tasklet);
	do_softirq();
	/* do_softirq()'s bound: ten rounds, and the rest is for the next. */
	assert_int_equal(a.runs, 10);
	assert_int_equal(c.runs, 1);
	assert_memory_equal(order, "abac", 4);
	assert_true(local_softirq_pending());
	tasklet_kill(&a.tasklet);
	do_softirq();
	assert_int_equal(a.runs, 10);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_once_and_in_order, setup),
		cmocka_unit_test_setup(test_from_hard_irq, setup),
		cmocka_unit_test_setup(test_kill, setup),
		cmocka_unit_test_setup(test_again, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
