/*
 * Where boot/ hands over. Task context, interrupts off, identity mapping of at least the first 4
 * GiB.
 */
#ifndef KERNEL_MAIN_H
#define KERNEL_MAIN_H

#include "kernel/lib/types.h"

struct boot_info;

/* info need only be readable until start_kernel() has copied it. */
void __noreturn start_kernel(const struct boot_info *info);

extern u64 __stack_chk_guard;

#endif
