/*
 * Softirqs: see softirq.h. One CPU, so the counts are plain variables behind what would be
 * this_cpu().
 */
#include "kernel/softirq.h"

#include "kernel/bug.h"
#include "kernel/stats.h"
#include "kernel/x86/irqflags.h"

#define MAX_SOFTIRQ_RESTART 10

static struct {
	u32 hardirq_depth;
	u32 softirq_depth; /* do_softirq and local_bh_disable both count */
	u32 pending;       /* mask of enum softirq_nr; changed with interrupts off */
} cpu;

static void (*softirq_vec[NR_SOFTIRQS])(void);
static u64 softirq_count[NR_SOFTIRQS];
static u64 left_pending; /* rounds that ended at the bound */

void open_softirq(enum softirq_nr nr, void (*action)(void))
{
	softirq_vec[nr] = action;
}

void raise_softirq(enum softirq_nr nr)
{
	unsigned long flags = local_irq_save();

	cpu.pending |= 1u << nr;
	local_irq_restore(flags);
}

bool local_softirq_pending(void)
{
	return READ_ONCE(cpu.pending) != 0;
}

bool in_interrupt(void)
{
	return cpu.hardirq_depth || cpu.softirq_depth;
}

bool in_softirq(void)
{
	return cpu.softirq_depth;
}

bool in_hardirq(void)
{
	return cpu.hardirq_depth;
}

/*
 * Interrupts off on entry and exit, on while the actions run. At most 10 rounds, so that a flood
 * leaves the CPU to cpu_idle() now and then, which comes straight back.
 */
static void __do_softirq(void)
{
	unsigned int restart = MAX_SOFTIRQ_RESTART;
	u32 pending;

	cpu.softirq_depth++;
	while ((pending = cpu.pending) != 0) {
		if (restart-- == 0) {
			left_pending++;
			break;
		}
		cpu.pending = 0;
		local_irq_enable();
		for (; pending; pending &= pending - 1) {
			unsigned int nr = (unsigned int)__builtin_ctz(pending);

			if (unlikely(!softirq_vec[nr]))
				continue;
			softirq_count[nr]++;
			softirq_vec[nr]();
		}
		local_irq_disable();
	}
	cpu.softirq_depth--;
}

noinline void do_softirq(void)
{
	unsigned long flags;

	if (in_interrupt())
		return;
	flags = local_irq_save();
	if (cpu.pending)
		__do_softirq();
	local_irq_restore(flags);
}

void local_bh_disable(void)
{
	cpu.softirq_depth++;
	barrier();
}

void local_bh_enable(void)
{
	barrier();
	BUG_ON(cpu.softirq_depth == 0);
	cpu.softirq_depth--;
	/* Never with interrupts off: the caller relies on them staying so. */
	if (unlikely(cpu.pending) && !irqs_disabled())
		do_softirq();
}

void irq_enter(void)
{
	cpu.hardirq_depth++;
}

noinline void irq_exit(void)
{
	cpu.hardirq_depth--;
	if (cpu.pending && !in_interrupt())
		do_softirq();
}

static void softirq_stats(struct stats_sink *s)
{
	static const char *const names[NR_SOFTIRQS] = { "softirq_timer", "softirq_net_tx",
							"softirq_net_rx", "softirq_tasklet" };

	for (unsigned int nr = 0; nr < NR_SOFTIRQS; nr++)
		stats_u64(s, NULL, names[nr], softirq_count[nr]);
	stats_u64(s, NULL, "softirq_left_pending", left_pending);
}
STATS_PROVIDER(softirq_stats);
