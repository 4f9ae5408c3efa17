/*
 * The kernel as a Linux process, for the unit tests (architecture.md, 10): every function of
 * kernel/ that drivers, net/ and the glue call, plus the handles below by which a test moves time,
 * raises interrupts, makes memory run out and reads what was logged or counted. One thread, unless
 * said.
 *
 * Every kernel function in fake_kernel.c is a weak symbol: a test that links the real file (say
 * kernel/softirq.c) gets the real one.
 */
#ifndef TESTS_FAKE_FAKE_KERNEL_H
#define TESTS_FAKE_FAKE_KERNEL_H

#include "kernel/bug.h"
#include "kernel/lib/types.h"

/* Back to the state of a fresh boot; forgets handlers, timers, pending softirqs, the log. Keeps
 * open_softirq(). */
void fake_kernel_reset(void);

/*
 * Memory. Each allocation is one of malloc's of the exact size, so ASan guards its ends.
 * fake_alloc_live() counts what is out (pages, DMA, kmalloc, caches): equal before and after is "no
 * leak".
 */
size_t fake_alloc_live(void);
/* The n-th allocation from now (1: the next) fails, once. 0: none. */
void fake_alloc_fail_nth(unsigned int n);
/* What nr_free_pages() says (default 65536: 256 MiB). */
void fake_set_free_pages(size_t n);

/* Time. */
void fake_time_set(u64 ns); /* without running timers */
/* Moves on, running each timer that is due on the way as TIMER_SOFTIRQ would, then do_softirq(). */
void fake_time_advance(u64 ns);
unsigned int fake_timers_queued(void);
/* What each get_cycles() adds to the time. */
extern u64 fake_cycles_step;

/*
 * Interrupts: the handlers of the number in hard IRQ context, at once, or when interrupts are
 * enabled again. Softirqs are left to do_softirq(), called by hand, unless fake_softirq_auto.
 * Returns true if a handler took it (false too if it had to wait).
 */
bool fake_irq_raise(int irq);
extern bool fake_softirq_auto;
/* The number of handlers on irq; irq_alloc_msi() numbers start at FAKE_IRQ_MSI and are their
 * message's data. */
unsigned int fake_irq_handlers(int irq);
#define FAKE_IRQ_MSI 32
#define FAKE_IRQ_MAX 256
/* Make the next irq_alloc_msi() calls, after n good ones, fail with -ENOSPC; -1: never. */
void fake_msi_limit(int n);
/* Pretend to be in a softirq (for functions that a driver calls from there). */
void fake_softirq_enter(void);
void fake_softirq_leave(void);

/* The log: goes to stderr if FAKE_LOG is in the environment, and is kept. */
bool fake_log_has(const char *text);
unsigned int fake_log_count(const char *text);
void fake_log_clear(void);
unsigned int fake_warnings(void); /* WARN_ON_ONCE that fired */

/* Called by panic() before abort(); a test may longjmp out of it. */
extern void (*fake_panic_hook)(enum panic_class cls, const char *text);

/* Calls the __setup() function of the word. Its return value, or -ENOENT. */
int fake_cmdline(const char *word, const char *val);

/* The value of a counter as the providers say it now; a pool gives its first number. UINT64_MAX: no
 * such name. */
u64 fake_stat(const char *name);
const char *fake_stat_text(const char *name); /* NULL: no such name; valid until the next call */

#endif
