/* See tasklet.h: a list, and the softirq that empties it. */
#include "kernel/tasklet.h"

#include "kernel/softirq.h"
#include "kernel/x86/irqflags.h"

static LIST_HEAD(scheduled); /* changed with interrupts off */

void tasklet_setup(struct tasklet_struct *t, void (*func)(struct tasklet_struct *t))
{
	INIT_LIST_HEAD(&t->node);
	t->func = func;
}

void tasklet_schedule(struct tasklet_struct *t)
{
	unsigned long flags = local_irq_save();

	if (list_empty(&t->node)) {
		list_add_tail(&t->node, &scheduled);
		raise_softirq(TASKLET_SOFTIRQ);
	}
	local_irq_restore(flags);
}

void tasklet_kill(struct tasklet_struct *t)
{
	unsigned long flags = local_irq_save();

	list_del_init(&t->node);
	local_irq_restore(flags);
}

/* One that schedules itself again waits for the next round: the softirq's bound holds for it too.
 */
static void tasklet_action(void)
{
	unsigned long flags = local_irq_save();
	struct list_head round;

	INIT_LIST_HEAD(&round);
	list_splice_init(&scheduled, &round);
	while (!list_empty(&round)) {
		struct tasklet_struct *t = list_first_entry(&round, struct tasklet_struct, node);

		list_del_init(&t->node);
		local_irq_restore(flags);
		t->func(t);
		flags = local_irq_save();
	}
	local_irq_restore(flags);
}

void tasklet_init(void)
{
	open_softirq(TASKLET_SOFTIRQ, tasklet_action);
}
