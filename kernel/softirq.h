/*
 * Deferred work, as in Linux: a hard IRQ raises a softirq, irq_exit() runs it with interrupts on.
 * All of the network stack runs here. Task code that touches it does so between local_bh_disable()
 * and local_bh_enable(): that is the stack's lock (architecture.md, 8).
 */
#ifndef KERNEL_SOFTIRQ_H
#define KERNEL_SOFTIRQ_H

#include "kernel/lib/types.h"

/* In the order they are served. */
enum softirq_nr {
	TIMER_SOFTIRQ,
	NET_TX_SOFTIRQ,
	NET_RX_SOFTIRQ,
	TASKLET_SOFTIRQ,
	NR_SOFTIRQS,
};

void open_softirq(enum softirq_nr nr, void (*action)(void));
/* Any context. From task context outside local_bh_disable() it is served before the CPU idles. */
void raise_softirq(enum softirq_nr nr);
/*
 * Serves what is pending, at most 10 rounds; the rest is left to cpu_idle(). Nothing if
 * in_interrupt().
 */
void do_softirq(void);
/* Something is raised and not served yet. */
bool local_softirq_pending(void);

void local_bh_disable(void);
/* Runs what was raised meanwhile if this was the outermost pair and not inside a hard IRQ. */
void local_bh_enable(void);

/* In a hard IRQ, in a softirq, or between local_bh_disable() and local_bh_enable(). */
bool in_interrupt(void);
/* In a softirq, or with bottom halves disabled: the stack may be touched. */
bool in_softirq(void);
/* In a hard IRQ. */
bool in_hardirq(void);

/* Bookkeeping for kernel/irq.c. */
void irq_enter(void);
void irq_exit(void);

#endif
