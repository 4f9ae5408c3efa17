/* The log: see printk.h. */
#include "kernel/printk.h"

#include "kernel/init.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/string.h"
#include "kernel/time.h"
#include "kernel/x86/irqflags.h"

#define LOG_BUF_LEN 16384u /* a power of two */
#define LINE_MAX 256

/* The ring of finished text, for consoles that come later and for gdb ("dmesg"). */
static char log_buf[LOG_BUF_LEN];
static u32 log_end; /* bytes ever written; the oldest still there is log_end - LOG_BUF_LEN */

static struct console *consoles;
static unsigned int console_loglevel = 7; /* as Linux: a level below it is shown */

static int __must_check set_loglevel(const char *val)
{
	u64 n;

	if (!val || kstrtoull(val, 10, &n) || n > 7)
		return -EINVAL;
	console_loglevel = (unsigned int)n;
	return 0;
}
__setup("loglevel", set_loglevel);

/*
 * There is one console, the first serial port. Options behind a comma are the loader's habit: we
 * run at 115200.
 */
static int __must_check set_console(const char *val)
{
	if (!val || strncmp(val, "ttyS0", 5) || (val[5] && val[5] != ','))
		return -EINVAL;
	return 0;
}
__setup("console", set_console);

static void store(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		log_buf[log_end++ & (LOG_BUF_LEN - 1)] = text[i];
}

static void show(const char *text, size_t len)
{
	for (struct console *c = consoles; c; c = c->next)
		c->write(text, len);
}

void register_console(struct console *con)
{
	u32 from = log_end > LOG_BUF_LEN ? log_end - LOG_BUF_LEN : 0;

	for (; from < log_end; from++)
		con->write(&log_buf[from & (LOG_BUF_LEN - 1)], 1);
	con->next = consoles;
	consoles = con;
}

void printk(const char *fmt, ...)
{
	char line[LINE_MAX];
	unsigned int level = 4;
	u64 us = ktime_get() / NSEC_PER_USEC;
	unsigned long flags;
	size_t len;
	va_list ap;

	if (fmt[0] == KERN_SOH[0] && fmt[1]) {
		level = (unsigned int)(fmt[1] - '0');
		fmt += 2;
	}
	len = (size_t)scnprintf(line, sizeof(line) - 3, "[%5lu.%06lu] ", us / 1000000,
				us % 1000000);
	va_start(ap, fmt);
	vsnprintf(line + len, sizeof(line) - 2 - len, fmt, ap);
	va_end(ap);
	len = strlen(line);
	while (len && line[len - 1] == '\n')
		len--;
	line[len++] = '\r';
	line[len++] = '\n';

	/* An interrupt's line comes before or after this one, not inside. */
	flags = local_irq_save();
	store(line, len);
	if (level < console_loglevel)
		show(line, len);
	local_irq_restore(flags);
}

void console_line(const char *fmt, ...)
{
	char line[LINE_MAX];
	unsigned long flags;
	size_t len;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line) - 2, fmt, ap);
	va_end(ap);
	len = strlen(line);
	line[len++] = '\r';
	line[len++] = '\n';
	flags = local_irq_save();
	store(line, len);
	show(line, len);
	local_irq_restore(flags);
}

#define RATELIMIT_INTERVAL (5 * NSEC_PER_SEC)
#define RATELIMIT_BURST 10

bool __ratelimit(struct ratelimit_state *rs, const char *what)
{
	u64 now = ktime_get();

	if (rs->printed == 0 || now - rs->begin_ns > RATELIMIT_INTERVAL) {
		if (rs->missed)
			printk(KERN_WARNING "%s: %u messages suppressed\n", what, rs->missed);
		*rs = (struct ratelimit_state){ .begin_ns = now };
	}
	if (rs->printed >= RATELIMIT_BURST) {
		rs->missed++;
		return false;
	}
	rs->printed++;
	return true;
}
