/*
 * /stack/<function>: the call stack of the next packet that comes by there, and /stack: functions
 * that are worth asking for; any other may be asked for too. The function gets a breakpoint
 * (kernel/x86/hw_breakpoint.h), which lets the asker's own packets pass (trace.h), and with match=
 * (pkt_filter.h) whatever is not done while a packet that matches is being handled by the stack.
 * One line for each frame, the innermost first: "[cpu] function".
 */
#include "kernel/debugfs.h"
#include "kernel/kallsyms.h"
#include "kernel/lib/container_of.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/string.h"
#include "kernel/panic.h"
#include "kernel/slab.h"
#include "kernel/time.h"
#include "kernel/trace.h"
#include "kernel/x86/hw_breakpoint.h"
#include "kernel/x86/ptrace.h"
#include "kernel/x86/stacks.h"
#include "net/pkt_buf.h"
#include "net/pkt_filter.h"
#include "net/trace.h"

#define MAX_FRAMES 48
#define DEFAULT_SECONDS 60

/* The way of a packet, in its order. */
static const char *const suggested[] = {
	"common_interrupt",   "net_rx_action",   "virtnet_poll",  "receive_buf", "napi_gro_receive",
	"netif_receive_list", "lwip_input",      "ip4_input",     "ip6_input",   "icmp_input",
	"icmp6_input",        "udp_input",       "tcp_input",     "tcp_output",  "lwip_linkoutput",
	"dev_queue_xmit",     "sch_direct_xmit", "__qdisc_run",   "start_xmit",  "virtqueue_notify",
	"vp_notify",          "vm_notify",       "free_old_xmit",
};

struct stack_probe {
	struct list_head node;
	struct debugfs_reader *reader;
	struct pkt_filter filter;
	bool filtered; /* only while a packet is being handled that matches: */
	bool matching; /* it does */
	struct hrtimer timeout;
	u32 seconds;
	int slot; /* negative: no breakpoint is set */
	bool hit, timed_out;
	u32 nr, shown;
	struct {
		u64 addr;
		bool exact;
	} frames[MAX_FRAMES];
};

static LIST_HEAD(probes); /* open ones */

void stack_probe_input(const struct pkt_buf *pkt)
{
	struct stack_probe *p;
	struct pkt_parts parts;

	pkt_parts(&parts, pkt->data, min(pkt->len, (u32)PKT_HEAD_LEN));
	list_for_each_entry(p, &probes, node)
		p->matching = p->filtered && pkt_filter_match(&p->filter, &parts);
}

void stack_probe_input_end(void)
{
	struct stack_probe *p;

	list_for_each_entry(p, &probes, node)
		p->matching = false;
}

/* ---- /stack ---- */

static int list_open(struct debugfs_reader *r)
{
	r->private = NULL;
	return 0;
}

/* r->private counts those that were listed. */
static int list_read(struct debugfs_reader *r, char *buf, size_t size)
{
	uintptr_t i = (uintptr_t)r->private;
	struct seq_file s;
	u64 addr;

	seq_init(&s, buf, size);
	for (; i < ARRAY_SIZE(suggested); i++) {
		seq_begin(&s);
		/* Not in the image, or twice: cannot be asked for. */
		if (kallsyms_lookup_function(suggested[i], &addr) == 1)
			seq_printf(&s, "%s\n", suggested[i]);
		if (!seq_end(&s))
			break;
	}
	r->private = (void *)i;
	return (int)s.len;
}

DEBUGFS_FILE(stack_list) = {
	.path = "/stack", .type = "text/plain", .open = list_open, .read = list_read
};

/* ---- /stack/<function> ---- */

static void add_frame(void *arg, u64 addr, bool exact)
{
	struct stack_probe *p = arg;

	if (p->nr == MAX_FRAMES)
		return;
	p->frames[p->nr].addr = addr;
	p->frames[p->nr++].exact = exact;
}

/* At the function's first instruction: the return address is on top of the stack, rbp is the
 * caller's. */
static bool probe_hit(void *ctx, const struct pt_regs *regs)
{
	struct stack_probe *p = ctx;
	u64 caller = on_a_stack(regs->rsp) ? *(const u64 *)(uintptr_t)regs->rsp : 0;

	if (trace_blind || (p->filtered && !p->matching))
		return false;
	p->slot = -1;
	p->hit = true;
	add_frame(p, regs->rip, true);
	if (caller) {
		add_frame(p, caller, false);
		walk_stack(caller, regs->rbp, MAX_FRAMES, add_frame, p);
	}
	p->reader->wake(p->reader);
	return true;
}

static void probe_timeout(struct hrtimer *timer)
{
	struct stack_probe *p = container_of(timer, struct stack_probe, timeout);

	if (p->hit)
		return;
	if (p->slot >= 0)
		hw_breakpoint_uninstall(p->slot);
	p->slot = -1;
	p->timed_out = true;
	p->reader->wake(p->reader);
}

static int probe_open(struct debugfs_reader *r)
{
	u32 seconds = DEFAULT_SECONDS, found;
	struct pkt_filter filter;
	struct stack_probe *p;
	char match[64];
	u64 function;
	int matches;

	if (debugfs_query_u32(r, "seconds", 1, 600, &seconds))
		return -EINVAL;
	matches = pkt_filter_query(r, "match", match, sizeof(match), &filter);
	if (matches < 0)
		return matches;
	found = kallsyms_lookup_function(r->name, &function);
	if (found == 0) {
		snprintf(r->error, sizeof(r->error), "no function %.40s here (or it is inlined)",
			 r->name);
		return -ENOENT;
	}
	if (found > 1) {
		snprintf(r->error, sizeof(r->error), "%u functions are called %.40s", found,
			 r->name);
		return -EINVAL;
	}
	p = kzalloc(sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->reader = r;
	p->seconds = seconds;
	p->filtered = matches > 0;
	if (p->filtered)
		p->filter = filter;
	hrtimer_setup(&p->timeout, probe_timeout);
	r->private = p;
	p->slot = hw_breakpoint_install(function, probe_hit, p);
	if (p->slot < 0) {
		int err = p->slot;

		if (err == -EBUSY)
			snprintf(r->error, sizeof(r->error), "all %u breakpoints are in use",
				 NR_HW_BREAKPOINTS);
		else
			snprintf(r->error, sizeof(r->error),
				 "%.40s is where breakpoints are handled", r->name);
		kfree(p);
		return err;
	}
	list_add_tail(&p->node, &probes);
	tracing |= TRACE_PROBE;
	hrtimer_start(&p->timeout, ktime_get() + seconds * NSEC_PER_SEC);
	return 0;
}

/* The name alone, without what the compiler put behind it. */
static void print_frame(struct seq_file *s, u64 addr, bool exact)
{
	u64 offset;
	const char *name = kallsyms_lookup(exact ? addr : addr - 1, &offset);
	const char *end = name ? strchr(name, '.') : NULL;

	if (name)
		seq_printf(s, "[0] %.*s\n", (int)(end ? (size_t)(end - name) : strlen(name)), name);
	else
		seq_printf(s, "[0] 0x%lx\n", addr);
}

static int probe_read(struct debugfs_reader *r, char *buf, size_t size)
{
	struct stack_probe *p = r->private;
	struct seq_file s;

	seq_init(&s, buf, size);
	if (p->timed_out) {
		if (p->shown++)
			return 0;
		seq_printf(&s, "# nothing came by in %u s\n", p->seconds);
		return (int)s.len;
	}
	if (!p->hit)
		return -EAGAIN;
	for (; p->shown < p->nr; p->shown++) {
		seq_begin(&s);
		print_frame(&s, p->frames[p->shown].addr, p->frames[p->shown].exact);
		if (!seq_end(&s))
			break;
	}
	return (int)s.len;
}

static void probe_release(struct debugfs_reader *r)
{
	struct stack_probe *p = r->private;

	hrtimer_cancel(&p->timeout);
	if (p->slot >= 0)
		hw_breakpoint_uninstall(p->slot);
	list_del(&p->node);
	if (list_empty(&probes))
		tracing &= (u8)~TRACE_PROBE;
	kfree(p);
}

DEBUGFS_FILE(stack_probe) = {
	.path = "/stack/",
	.type = "text/plain",
	.open = probe_open,
	.read = probe_read,
	.release = probe_release,
};
