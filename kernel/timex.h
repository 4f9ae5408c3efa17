/* The CPU's time stamp counter, for those who stamp packets with it (Linux's name). Any context. */
#ifndef KERNEL_TIMEX_H
#define KERNEL_TIMEX_H

#include "kernel/x86/msr.h"

static inline u64 get_cycles(void)
{
	return rdtsc();
}

/* On ktime_get()'s scale, in nanoseconds. */
u64 cycles_to_ns(u64 cycles);

#endif
