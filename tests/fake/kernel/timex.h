/*
 * Found before the kernel's own: the stamps are the fake clock's nanoseconds, and each one moves it
 * on by fake_cycles_step.
 */
#ifndef KERNEL_TIMEX_H
#define KERNEL_TIMEX_H

#include "kernel/time.h"
#include "tests/fake/fake_kernel.h"

static inline u64 get_cycles(void)
{
	fake_time_set(ktime_get() + fake_cycles_step);
	return ktime_get();
}

static inline u64 cycles_to_ns(u64 cycles)
{
	return cycles;
}

#endif
