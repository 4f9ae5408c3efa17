/*
 * Time since boot, and deadlines. Any context unless said otherwise. Nanoseconds throughout; u64
 * lasts 584 years. There is no periodic tick: the one-shot timer is armed for the earliest
 * deadline.
 */
#ifndef KERNEL_TIME_H
#define KERNEL_TIME_H

#include "kernel/lib/list.h"

#define NSEC_PER_USEC 1000ULL
#define NSEC_PER_MSEC 1000000ULL
#define NSEC_PER_SEC 1000000000ULL

/* Monotonic, 0 at boot. */
u64 ktime_get(void);

/* Busy-waits; only for hardware that needs it, at most 1000 us. */
void udelay(u32 usec);

/*
 * A deadline. function runs once in TIMER_SOFTIRQ at or after expires and may start it again
 * (Linux's HRTIMER_MODE_ABS_SOFT). Started and cancelled from task (bottom halves disabled) or
 * softirq.
 */
struct hrtimer {
	struct list_head node; /* sorted by expires; self-linked when not queued */
	u64 expires;
	void (*function)(struct hrtimer *timer);
};

void hrtimer_setup(struct hrtimer *timer, void (*function)(struct hrtimer *timer));
/* Queues it for the absolute time expires; if already queued it is moved. */
void hrtimer_start(struct hrtimer *timer, u64 expires);
void hrtimer_cancel(struct hrtimer *timer);
static inline bool hrtimer_is_queued(const struct hrtimer *timer)
{
	return !list_empty(&timer->node);
}

#endif
