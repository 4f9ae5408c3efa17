/*
 * Work to be done soon in softirq context, asked for from any other (Linux's tasklets): by a hard
 * IRQ, or from inside a callback of the stack that must not enter the stack once more.
 */
#ifndef KERNEL_TASKLET_H
#define KERNEL_TASKLET_H

#include "kernel/lib/list.h"

struct tasklet_struct {
	struct list_head node; /* self-linked when not scheduled */
	void (*func)(struct tasklet_struct *t);
};

/* Opens TASKLET_SOFTIRQ. Task, once. */
void tasklet_init(void);

void tasklet_setup(struct tasklet_struct *t, void (*func)(struct tasklet_struct *t));
/* func runs once, from the next TASKLET_SOFTIRQ on, however often this is called before. Any
 * context. */
void tasklet_schedule(struct tasklet_struct *t);
/* It will not run, unless scheduled again. Softirq or task context. */
void tasklet_kill(struct tasklet_struct *t);

#endif
