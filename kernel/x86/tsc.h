/*
 * The clock: time stamp counter and the local APIC's timer, measured against what the machine has.
 * architecture.md, 11 says what was found where. Task context unless said otherwise.
 */
#ifndef KERNEL_X86_TSC_H
#define KERNEL_X86_TSC_H

#include "kernel/lib/types.h"

/*
 * Measures both in at most 2 ms, from CPUID where it says, else the ACPI PM timer, else the PIT.
 * After apic_init().
 */
void tsc_init(void);
/* "TSC 1000.000 MHz by the ACPI PM timer, ..." */
void tsc_report(void);

/* The system is ready for the first time: kept for the statistics (boot_entry_tsc, boot_ready_tsc).
 */
void tsc_mark_ready(void);

/* Nanoseconds since tsc_init(); 0 before. Any context. */
u64 tsc_read_ns(void);
/*
 * Makes the local APIC raise its interrupt in ns nanoseconds (rounded up; longer ones in several
 * steps), at least 1.
 */
void clockevent_program(u64 ns);

/*
 * A second, longer look at the PIT without waiting for it: start, and 20 to 40 ms later finish,
 * which corrects the frequency if the first look was off by more than the second can be. False: try
 * again later or never.
 */
bool tsc_refine_start(void);
void tsc_refine_finish(void);

#endif
