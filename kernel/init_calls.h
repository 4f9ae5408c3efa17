/*
 * What kernel/main.c, the composition root, calls in the kernel itself, in its order. Task context,
 * once each.
 */
#ifndef KERNEL_INIT_CALLS_H
#define KERNEL_INIT_CALLS_H

struct boot_info;

/* TIMER_SOFTIRQ. Needs tsc_init(). */
void time_init(void);
/*
 * Starts the second, longer measurement of the clock; it ends by itself while the machine idles or
 * works.
 */
void time_refine(void);

/* Splits the command line and gives each word to whoever declared it (init.h). */
void cmdline_init(const struct boot_info *bi);

/* Power button and `poweroff=`. Needs interrupts and timers. */
void power_init(void);

#endif
