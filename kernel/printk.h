/*
 * The log. Any context, also before the console is up and inside a panic: text goes into a ring of
 * LOG_BUF_LEN bytes and, if its level is below console_loglevel, to the registered consoles.
 * A file sets its prefix with  #define pr_fmt(fmt) "virtio_net: " fmt  before its includes.
 * The data path prints nothing (architecture.md, 7); what can repeat uses the _ratelimited forms.
 */
#ifndef KERNEL_PRINTK_H
#define KERNEL_PRINTK_H

#include "kernel/lib/types.h"

/* A record's level stands in front of its text, as in Linux (linux/kern_levels.h). */
#define KERN_SOH "\001"
#define KERN_EMERG KERN_SOH "0"
#define KERN_ALERT KERN_SOH "1"
#define KERN_CRIT KERN_SOH "2"
#define KERN_ERR KERN_SOH "3"
#define KERN_WARNING KERN_SOH "4"
#define KERN_NOTICE KERN_SOH "5"
#define KERN_INFO KERN_SOH "6"
#define KERN_DEBUG KERN_SOH "7"

/*
 * Writes one line: "[    0.012345] " + text. A missing trailing newline is added; 256 bytes at
 * most.
 */
void printk(const char *fmt, ...) __printf(1, 2);

/*
 * One of the lines for machines (interface.md, "Serial log"): column 0, no time stamp, whatever the
 * loglevel, ended by CR LF. fmt has no newline.
 */
void console_line(const char *fmt, ...) __printf(1, 2);

#ifndef pr_fmt
#define pr_fmt(fmt) fmt
#endif

#define pr_emerg(fmt, ...) printk(KERN_EMERG pr_fmt(fmt), ##__VA_ARGS__)
#define pr_err(fmt, ...) printk(KERN_ERR pr_fmt(fmt), ##__VA_ARGS__)
#define pr_warn(fmt, ...) printk(KERN_WARNING pr_fmt(fmt), ##__VA_ARGS__)
#define pr_notice(fmt, ...) printk(KERN_NOTICE pr_fmt(fmt), ##__VA_ARGS__)
#define pr_info(fmt, ...) printk(KERN_INFO pr_fmt(fmt), ##__VA_ARGS__)
#define pr_debug(fmt, ...) printk(KERN_DEBUG pr_fmt(fmt), ##__VA_ARGS__)

#define pr_warn_once(fmt, ...)                       \
	do {                                         \
		static bool _done;                   \
		if (!_done) {                        \
			_done = true;                \
			pr_warn(fmt, ##__VA_ARGS__); \
		}                                    \
	} while (0)

/*
 * At most 10 lines in 5 s from one place; the next one after a pause says how many were left out.
 */
struct ratelimit_state {
	u64 begin_ns;
	u32 printed;
	u32 missed;
};
bool __ratelimit(struct ratelimit_state *rs, const char *what);

#define pr_warn_ratelimited(fmt, ...)                \
	do {                                         \
		static struct ratelimit_state _rs;   \
		if (__ratelimit(&_rs, __func__))     \
			pr_warn(fmt, ##__VA_ARGS__); \
	} while (0)

/* A sink for finished text. write() may be called with interrupts off and from a panic. */
struct console {
	const char *name;
	void (*write)(const char *text, size_t len);
	struct console *next;
};
/* Sends what the ring holds so far, and everything from now on. */
void register_console(struct console *con);

#define MAC_FMT "%02x:%02x:%02x:%02x:%02x:%02x"
#define MAC_ARG(m) (m)[0], (m)[1], (m)[2], (m)[3], (m)[4], (m)[5]

#endif
