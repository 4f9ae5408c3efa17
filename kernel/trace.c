/* See trace.h. */
#include "kernel/trace.h"

u8 tracing;
bool trace_blind;
u16 trace_own_port;
u64 trace_irq_cycles, trace_softirq_cycles;
