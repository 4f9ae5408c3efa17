/* The kernel as a Linux process: see fake_kernel.h. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/init.h"
#include "kernel/irq.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/string.h"
#include "kernel/mm.h"
#include "kernel/printk.h"
#include "kernel/random.h"
#include "kernel/slab.h"
#include "kernel/softirq.h"
#include "kernel/stats.h"
#include "kernel/time.h"
#include "kernel/x86/tsc.h"
#include "kernel/x86/irqflags.h"
#include "tests/fake/fake_kernel.h"

#define __fake __attribute__((weak))

u64 fake_cycles_step;

/* ---- the log and the end ---- */

static char log_text[256 * 1024];
static size_t log_len;
static unsigned int warnings;
void (*fake_panic_hook)(enum panic_class cls, const char *text);

static void log_put(const char *text)
{
	size_t n = strlen(text);

	if (getenv("FAKE_LOG"))
		fputs(text, stderr);
	if (log_len + n >= sizeof(log_text))
		log_len = 0;
	memcpy(log_text + log_len, text, n + 1);
	log_len += n;
}

__fake void printk(const char *fmt, ...)
{
	char line[512];
	va_list ap;
	size_t n;

	if (fmt[0] == '\001' && fmt[1])
		fmt += 2;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line) - 1, fmt, ap);
	va_end(ap);
	n = strlen(line);
	if (n == 0 || line[n - 1] != '\n')
		memcpy(line + n, "\n", 2);
	log_put(line);
}

__fake void console_line(const char *fmt, ...)
{
	char line[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line) - 3, fmt, ap);
	va_end(ap);
	log_put(strcat(line, "\r\n"));
}

__fake void register_console(struct console *con)
{
	(void)con;
}

__fake bool __ratelimit(struct ratelimit_state *rs, const char *what)
{
	(void)rs;
	(void)what;
	return true;
}

bool fake_log_has(const char *text)
{
	return fake_log_count(text) != 0;
}

unsigned int fake_log_count(const char *text)
{
	unsigned int n = 0;
	const char *p = log_text;

	while (log_len && (p = strstr(p, text))) {
		n++;
		p += strlen(text);
	}
	return n;
}

void fake_log_clear(void)
{
	log_len = 0;
	log_text[0] = '\0';
}

static void __noreturn vpanic(enum panic_class cls, const char *fmt, va_list ap)
{
	char text[512];

	vsnprintf(text, sizeof(text), fmt, ap);
	if (fake_panic_hook)
		fake_panic_hook(cls, text);
	fprintf(stderr, "panic: %s\n", text);
	abort();
}

__fake void panic(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vpanic(PANIC_ASSERT, fmt, ap);
}

__fake void panic_with(enum panic_class cls, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vpanic(cls, fmt, ap);
}

__fake void warn_slowpath(const char *file, int line, const char *cond)
{
	warnings++;
	printk(KERN_WARNING "WARNING: %s at %s:%d", cond, file, line);
}

unsigned int fake_warnings(void)
{
	return warnings;
}

/* ---- memory ---- */

static size_t live;
static unsigned int fail_nth;
static size_t free_pages = 65536;

size_t fake_alloc_live(void)
{
	return live;
}

void fake_alloc_fail_nth(unsigned int n)
{
	fail_nth = n;
}

void fake_set_free_pages(size_t n)
{
	free_pages = n;
}

static void *fake_alloc(size_t size, size_t align)
{
	void *p;

	if (fail_nth && --fail_nth == 0)
		return NULL;
	if (posix_memalign(&p, align, size ? size : 1))
		return NULL;
	memset(p, 0xa5, size);
	live++;
	return p;
}

static void fake_free(void *p)
{
	if (!p)
		return;
	live--;
	free(p);
}

__fake void *alloc_pages_aligned(size_t size, size_t align)
{
	return fake_alloc(size, align);
}

__fake void *alloc_pages_exact(size_t size)
{
	return fake_alloc(size, PAGE_SIZE);
}

__fake void free_pages_exact(void *addr, size_t size)
{
	(void)size;
	fake_free(addr);
}

__fake size_t nr_free_pages(void)
{
	return free_pages;
}

__fake size_t totalram_pages(void)
{
	return free_pages;
}

__fake void *dma_alloc_coherent(size_t size, dma_addr_t *handle)
{
	void *p = fake_alloc(size, PAGE_SIZE);

	if (p) {
		memset(p, 0, size);
		*handle = virt_to_phys(p);
	}
	return p;
}

__fake void dma_free_coherent(size_t size, void *addr, dma_addr_t handle)
{
	(void)size;
	BUG_ON(handle != virt_to_phys(addr));
	fake_free(addr);
}

__fake void *ioremap(phys_addr_t phys, size_t size)
{
	(void)size;
	return (void *)(uintptr_t)phys;
}

__fake void *kmalloc(size_t size)
{
	return fake_alloc(size, 16);
}

__fake void *kzalloc(size_t size)
{
	void *p = fake_alloc(size, 16);

	if (p)
		memset(p, 0, size);
	return p;
}

__fake void kfree(void *p)
{
	fake_free(p);
}

__fake void kmem_cache_init(struct kmem_cache *s, const char *name, u32 size, u32 limit)
{
	memset(s, 0, sizeof(*s));
	s->name = name;
	s->object_size = ALIGN_UP(size, 16);
	s->limit = limit;
	INIT_LIST_HEAD(&s->partial);
	INIT_LIST_HEAD(&s->full);
}

__fake void *kmem_cache_alloc(struct kmem_cache *s)
{
	void *p = s->used < s->limit ? fake_alloc(s->object_size, 16) : NULL;

	if (!p) {
		s->failed++;
		return NULL;
	}
	if (++s->used > s->max)
		s->max = s->used;
	return p;
}

__fake void kmem_cache_free(struct kmem_cache *s, void *obj)
{
	BUG_ON(s->used == 0);
	s->used--;
	fake_free(obj);
}

/* ---- softirqs ---- */

static void (*softirq_vec[NR_SOFTIRQS])(void);
static u32 softirq_bits;
static int hardirq_depth, softirq_depth, bh_depth;
bool fake_softirq_auto;

__fake void open_softirq(enum softirq_nr nr, void (*action)(void))
{
	softirq_vec[nr] = action;
}

__fake void raise_softirq(enum softirq_nr nr)
{
	softirq_bits |= 1u << nr;
}

__fake bool local_softirq_pending(void)
{
	return softirq_bits != 0;
}

__fake bool in_hardirq(void)
{
	return hardirq_depth > 0;
}

__fake bool in_softirq(void)
{
	return softirq_depth > 0 || bh_depth > 0;
}

__fake bool in_interrupt(void)
{
	return in_hardirq() || in_softirq();
}

__fake void do_softirq(void)
{
	if (in_interrupt())
		return;
	for (int round = 0; round < 10 && softirq_bits; round++) {
		u32 todo = softirq_bits;

		softirq_bits = 0;
		for (int nr = 0; nr < NR_SOFTIRQS; nr++) {
			if (!(todo & 1u << nr) || !softirq_vec[nr])
				continue;
			softirq_depth++;
			softirq_vec[nr]();
			softirq_depth--;
		}
	}
}

__fake void local_bh_disable(void)
{
	bh_depth++;
}

__fake void local_bh_enable(void)
{
	BUG_ON(bh_depth == 0);
	if (--bh_depth == 0)
		do_softirq();
}

__fake void irq_enter(void)
{
	hardirq_depth++;
}

__fake void irq_exit(void)
{
	hardirq_depth--;
	if (fake_softirq_auto)
		do_softirq();
}

void fake_softirq_enter(void)
{
	softirq_depth++;
}

void fake_softirq_leave(void)
{
	softirq_depth--;
}

/* ---- time ---- */

static u64 now_ns;
static LIST_HEAD(timers);

__fake void tsc_mark_ready(void)
{
}

__fake u64 ktime_get(void)
{
	return now_ns;
}

__fake void udelay(u32 usec)
{
	now_ns += usec * NSEC_PER_USEC;
}

__fake void hrtimer_setup(struct hrtimer *timer, void (*function)(struct hrtimer *timer))
{
	INIT_LIST_HEAD(&timer->node);
	timer->expires = 0;
	timer->function = function;
}

__fake void hrtimer_start(struct hrtimer *timer, u64 expires)
{
	struct hrtimer *t;

	list_del_init(&timer->node);
	timer->expires = expires;
	list_for_each_entry(t, &timers, node) {
		if (t->expires > expires)
			break;
	}
	list_add_tail(&timer->node, &t->node);
}

__fake void hrtimer_cancel(struct hrtimer *timer)
{
	list_del_init(&timer->node);
}

void fake_time_set(u64 ns)
{
	now_ns = ns;
}

void fake_time_advance(u64 ns)
{
	u64 end = now_ns + ns;

	while (!list_empty(&timers)) {
		struct hrtimer *t = list_first_entry(&timers, struct hrtimer, node);

		if (t->expires > end)
			break;
		now_ns = max(now_ns, t->expires);
		list_del_init(&t->node);
		softirq_depth++;
		t->function(t);
		softirq_depth--;
		do_softirq();
	}
	now_ns = end;
	do_softirq();
}

unsigned int fake_timers_queued(void)
{
	unsigned int n = 0;
	struct hrtimer *t;

	list_for_each_entry(t, &timers, node)
		n++;
	return n;
}

/* ---- interrupts ---- */

#define MAX_ACTIONS 8

static struct {
	struct {
		irq_handler_t handler;
		void *dev_id;
		unsigned int flags;
	} action[MAX_ACTIONS];
	bool msi;
	bool held; /* raised with interrupts off */
	u64 count;
} irqs[FAKE_IRQ_MAX];
static u64 spurious;
static int msi_left = -1;
_Thread_local bool fake_irqs_off;

__fake int irq_alloc_msi(struct msi_msg *msg)
{
	if (msi_left == 0)
		return -ENOSPC;
	if (msi_left > 0)
		msi_left--;
	for (int irq = FAKE_IRQ_MSI; irq < FAKE_IRQ_MAX; irq++) {
		if (irqs[irq].msi)
			continue;
		irqs[irq].msi = true;
		msg->address = 0xfee00000;
		msg->data = (u32)irq;
		return irq;
	}
	return -ENOSPC;
}

__fake void irq_free_msi(int irq)
{
	BUG_ON(irq < FAKE_IRQ_MSI || irq >= FAKE_IRQ_MAX || !irqs[irq].msi);
	BUG_ON(fake_irq_handlers(irq) != 0);
	irqs[irq].msi = false;
}

__fake int acpi_register_gsi(u32 gsi, enum irq_trigger trigger, enum irq_polarity polarity)
{
	(void)trigger;
	(void)polarity;
	return gsi < FAKE_IRQ_MSI - 1 ? (int)gsi + 1 : -ENODEV;
}

__fake void acpi_isa_irq_to_gsi(u8 isa_irq, u32 *gsi, enum irq_trigger *trigger,
				enum irq_polarity *pol)
{
	*gsi = isa_irq;
	*trigger = IRQ_EDGE;
	*pol = IRQ_ACTIVE_HIGH;
}

__fake int request_irq(int irq, irq_handler_t handler, unsigned int flags, const char *name,
		       void *dev_id)
{
	(void)name;
	if (irq <= 0 || irq >= FAKE_IRQ_MAX || !handler)
		return -EINVAL;
	for (int i = 0; i < MAX_ACTIONS; i++) {
		if (irqs[irq].action[i].handler) {
			if (!(flags & irqs[irq].action[i].flags & IRQF_SHARED))
				return -EBUSY;
			continue;
		}
		irqs[irq].action[i].handler = handler;
		irqs[irq].action[i].dev_id = dev_id;
		irqs[irq].action[i].flags = flags;
		return 0;
	}
	return -ENOMEM;
}

__fake void free_irq(int irq, void *dev_id)
{
	for (int i = 0; i < MAX_ACTIONS; i++) {
		if (!irqs[irq].action[i].handler || irqs[irq].action[i].dev_id != dev_id)
			continue;
		memmove(&irqs[irq].action[i], &irqs[irq].action[i + 1],
			(size_t)(MAX_ACTIONS - 1 - i) * sizeof(irqs[irq].action[0]));
		memset(&irqs[irq].action[MAX_ACTIONS - 1], 0, sizeof(irqs[irq].action[0]));
		return;
	}
	panic("free_irq(%d): no such handler", irq);
}

unsigned int fake_irq_handlers(int irq)
{
	unsigned int n = 0;

	for (int i = 0; i < MAX_ACTIONS; i++)
		n += irqs[irq].action[i].handler != NULL;
	return n;
}

bool fake_irq_raise(int irq)
{
	bool handled = false;

	if (fake_irqs_off) {
		irqs[irq].held = true;
		return false;
	}
	irqs[irq].count++;
	irq_enter();
	fake_irqs_off = true;
	for (int i = 0; i < MAX_ACTIONS && irqs[irq].action[i].handler; i++)
		if (irqs[irq].action[i].handler(irq, irqs[irq].action[i].dev_id) == IRQ_HANDLED)
			handled = true;
	if (!handled)
		spurious++;
	fake_irqs_off = false;
	irq_exit();
	fake_irq_deliver();
	return handled;
}

void fake_irq_deliver(void)
{
	for (int irq = 0; irq < FAKE_IRQ_MAX; irq++) {
		if (!irqs[irq].held)
			continue;
		irqs[irq].held = false;
		fake_irq_raise(irq);
	}
}

void fake_msi_limit(int n)
{
	msi_left = n;
}

/* ---- random numbers: the same ones in each run ---- */

static u64 random_state = 88172645463325252ull;

__fake u32 get_random_u32(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (u32)(random_state >> 16);
}

__fake void get_random_bytes(void *buf, size_t len)
{
	for (size_t i = 0; i < len; i++)
		((u8 *)buf)[i] = (u8)get_random_u32();
}

__fake void add_hwgenerator_randomness(const char *name, const void *buf, size_t len)
{
	(void)buf;
	printk(KERN_DEBUG "random: %zu bytes from %s", len, name);
}

__fake bool random_tcp_allowed(void)
{
	return true;
}

/* Not SipHash: a keyed mix that is good enough to test who calls it. */
__fake u64 siphash(const void *data, size_t len, const u64 key[2])
{
	u64 h = key[0] ^ 14695981039346656037ull;

	for (size_t i = 0; i < len; i++)
		h = (h ^ ((const u8 *)data)[i]) * 1099511628211ull;
	h ^= key[1];
	return h ^ h >> 29;
}

/* ---- strings that the C library has not got ---- */

__fake long strscpy(char *dst, const char *src, size_t size)
{
	size_t n = strnlen(src, size);

	if (size == 0)
		return -7;
	if (n == size)
		n--;
	memcpy(dst, src, n);
	dst[n] = '\0';
	return src[n] ? -7 : (long)n;
}

__fake int scnprintf(char *buf, size_t size, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(buf, size, fmt, ap);
	va_end(ap);
	if (size == 0)
		return 0;
	return n < (int)size ? n : (int)size - 1;
}

__fake int kstrtoull(const char *s, unsigned int base, u64 *out)
{
	char *end;

	if (base == 0)
		base = s[0] == '0' && (s[1] | 0x20) == 'x' ? 16 : 10;
	if (!((s[0] >= '0' && s[0] <= '9') || (base == 16 && s[0] && strchr("abcdefABCDEF", s[0]))))
		return -EINVAL;
	*out = strtoull(s, &end, (int)base);
	return *end ? -EINVAL : 0;
}

/* ---- the command line ---- */

extern const struct obs_kernel_param __start_setup_params[] __attribute__((weak));
extern const struct obs_kernel_param __stop_setup_params[] __attribute__((weak));

__fake int param_set_bool(const char *val, bool *out)
{
	if (!val || (strcmp(val, "0") && strcmp(val, "1")))
		return -EINVAL;
	*out = val[0] == '1';
	return 0;
}

int fake_cmdline(const char *word, const char *val)
{
	for (const struct obs_kernel_param *p = __start_setup_params; p < __stop_setup_params; p++)
		if (!strcmp(p->str, word))
			return p->setup_func(val);
	return -ENOENT;
}

/* ---- counters ---- */

extern const stats_provider_t __start_stats_providers[] __attribute__((weak));
extern const stats_provider_t __stop_stats_providers[] __attribute__((weak));

__fake void stats_u64(struct stats_sink *s, const char *prefix, const char *name, u64 value)
{
	char full[128], text[32];

	snprintf(full, sizeof(full), "%s%s", prefix ? prefix : "", name);
	snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	s->emit(s, full, text);
}

__fake void stats_pool(struct stats_sink *s, const char *prefix, const char *name, u64 used,
		       u64 most, u64 size)
{
	char full[128], text[80];

	snprintf(full, sizeof(full), "%s%s", prefix ? prefix : "", name);
	snprintf(text, sizeof(text), "%llu/%llu/%llu", (unsigned long long)used,
		 (unsigned long long)most, (unsigned long long)size);
	s->emit(s, full, text);
}

__fake void stats_text(struct stats_sink *s, const char *prefix, const char *name, const char *fmt,
		       ...)
{
	char full[64], text[192];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	snprintf(full, sizeof(full), "%s%s", prefix ? prefix : "", name);
	s->emit(s, full, text);
}

__fake void stats_dump(struct stats_sink *s)
{
	for (const stats_provider_t *p = __start_stats_providers; p < __stop_stats_providers; p++)
		(*p)(s);
}

static const char *stat_wanted;
static char stat_text[192];
static bool stat_found;

static void stat_emit(struct stats_sink *s, const char *name, const char *value)
{
	(void)s;
	if (strcmp(name, stat_wanted))
		return;
	snprintf(stat_text, sizeof(stat_text), "%s", value);
	stat_found = true;
}

const char *fake_stat_text(const char *name)
{
	struct stats_sink sink = { .emit = stat_emit };

	stat_wanted = name;
	stat_found = false;
	stats_dump(&sink);
	return stat_found ? stat_text : NULL;
}

u64 fake_stat(const char *name)
{
	const char *text = fake_stat_text(name);

	return text ? strtoull(text, NULL, 10) : UINT64_MAX;
}

void fake_kernel_reset(void)
{
	while (!list_empty(&timers))
		list_del_init(timers.next);
	memset(irqs, 0, sizeof(irqs));
	spurious = 0;
	msi_left = -1;
	fake_irqs_off = false;
	softirq_bits = 0;
	hardirq_depth = softirq_depth = bh_depth = 0;
	fake_softirq_auto = false;
	now_ns = 0;
	fail_nth = 0;
	free_pages = 65536;
	warnings = 0;
	fake_panic_hook = NULL;
	fake_cycles_step = 0;
	fake_log_clear();
}

/* ---- what looks at packets and needs a CPU to do it ---- */

struct pkt_buf;
void stack_probe_input(const struct pkt_buf *pkt);
void stack_probe_input_end(void);
__fake void stack_probe_input(const struct pkt_buf *pkt)
{
	(void)pkt;
}

__fake void stack_probe_input_end(void)
{
}

__fake u8 tracing;
__fake u64 trace_irq_cycles, trace_softirq_cycles;
