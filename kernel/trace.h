/*
 * Looking at packets while they go by. Off, which is almost always, each place that could look
 * tests one byte: two instructions. On, it calls who wants to know.
 *
 * Nobody is to see the packets by which he asks (that would be one more packet to see): traffic of
 * the diagnostics port is left out, and while it is being handled trace_blind is set.
 */
#ifndef KERNEL_TRACE_H
#define KERNEL_TRACE_H

#include "kernel/timex.h"

/* Who looks, masks. */
#define TRACE_JOURNEY 1u /* net/journey.c */
#define TRACE_CAPTURE 2u /* net/capture.c */
#define TRACE_PROBE 4u   /* net/stack_probe.c */

extern u8 tracing;
extern bool trace_blind;
/* The TCP port that is left out; 0: none. */
extern u16 trace_own_port;

/* When the last device interrupt came, and when the softirq began to serve it: cycles. */
extern u64 trace_irq_cycles, trace_softirq_cycles;

static inline bool trace_wanted(u32 who)
{
	return unlikely(tracing & who);
}

static inline void trace_irq(void)
{
	if (trace_wanted(TRACE_JOURNEY))
		trace_irq_cycles = get_cycles();
}

static inline void trace_softirq(void)
{
	if (trace_wanted(TRACE_JOURNEY))
		trace_softirq_cycles = get_cycles();
}

#endif
