/*
 * Deadlines: a short sorted list (lwIP has one, the kernel a few), the one-shot timer armed for the
 * first. The timer is written only when the first deadline moves forward; one that moved back costs
 * an early wakeup that finds nothing.
 */
#include "kernel/time.h"

#include "kernel/bug.h"
#include "kernel/init_calls.h"
#include "kernel/softirq.h"
#include "kernel/stats.h"
#include "kernel/x86/apic.h"
#include "kernel/x86/cpu.h"
#include "kernel/x86/entry.h"
#include "kernel/x86/tsc.h"

static LIST_HEAD(timers);
/*
 * What the hardware is set to; 0: not set. Written with interrupts in any state: the handler only
 * clears it.
 */
static u64 armed_for;
static u64 timer_interrupts, timer_programmed;

u64 ktime_get(void)
{
	return tsc_read_ns();
}

void udelay(u32 usec)
{
	u64 until = ktime_get() + usec * NSEC_PER_USEC;

	while (ktime_get() < until)
		cpu_pause();
}

static void arm_first(void)
{
	struct hrtimer *first;
	u64 now;

	if (list_empty(&timers))
		return;
	first = list_first_entry(&timers, struct hrtimer, node);
	if (READ_ONCE(armed_for) && armed_for <= first->expires)
		return;
	now = ktime_get();
	WRITE_ONCE(armed_for, first->expires);
	timer_programmed++;
	clockevent_program(first->expires > now ? first->expires - now : 0);
}

void hrtimer_setup(struct hrtimer *timer, void (*function)(struct hrtimer *timer))
{
	INIT_LIST_HEAD(&timer->node);
	timer->function = function;
	timer->expires = 0;
}

void hrtimer_start(struct hrtimer *timer, u64 expires)
{
	struct hrtimer *t;
	struct list_head *before = &timers;

	list_del_init(&timer->node);
	timer->expires = expires;
	list_for_each_entry(t, &timers, node) {
		if (t->expires > expires) {
			before = &t->node;
			break;
		}
	}
	list_add_tail(&timer->node, before);
	if (timers.next == &timer->node)
		arm_first();
}

void hrtimer_cancel(struct hrtimer *timer)
{
	list_del_init(&timer->node);
}

/* From asm_sysvec_apic_timer_interrupt, interrupts off. */
void sysvec_apic_timer_interrupt(void)
{
	irq_enter();
	timer_interrupts++;
	armed_for = 0;
	raise_softirq(TIMER_SOFTIRQ);
	apic_eoi();
	irq_exit();
}

static void run_timers(void)
{
	u64 now = ktime_get();

	while (!list_empty(&timers)) {
		struct hrtimer *t = list_first_entry(&timers, struct hrtimer, node);

		if (t->expires > now)
			break;
		list_del_init(&t->node);
		t->function(t);
	}
	arm_first();
}

static struct hrtimer refine_timer;

static void refine_done(struct hrtimer *t)
{
	(void)t;
	tsc_refine_finish();
}

void time_init(void)
{
	open_softirq(TIMER_SOFTIRQ, run_timers);
}

void time_refine(void)
{
	if (!tsc_refine_start())
		return;
	hrtimer_setup(&refine_timer, refine_done);
	local_bh_disable();
	hrtimer_start(&refine_timer, ktime_get() + 25 * NSEC_PER_MSEC);
	local_bh_enable();
}

static void time_stats(struct stats_sink *s)
{
	stats_u64(s, NULL, "uptime_ms", ktime_get() / NSEC_PER_MSEC);
	stats_u64(s, NULL, "timer_interrupts", timer_interrupts);
	stats_u64(s, NULL, "timer_programmed", timer_programmed);
}
STATS_PROVIDER(time_stats);
