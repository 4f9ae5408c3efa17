/*
 * The report of a fatal fault, and what comes after it. The report goes straight to the consoles;
 * nothing here allocates, locks or trusts the stack it describes.
 */
#include "kernel/panic.h"

#include "kernel/init.h"
#include "kernel/kallsyms.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/string.h"
#include "kernel/mm.h"
#include "kernel/power.h"
#include "kernel/printk.h"
#include "kernel/time.h"
#include "kernel/x86/cpu.h"
#include "kernel/x86/irqflags.h"
#include "kernel/x86/msr.h"
#include "kernel/x86/ptrace.h"
#include "kernel/x86/sections.h"
#include "kernel/x86/stacks.h"

#define MAX_FRAMES 48

/* `panic=`: seconds until reset; 0 halts, negative resets at once. An appliance comes back. */
static s64 panic_timeout = -1;

static int __must_check set_panic_timeout(const char *val)
{
	bool negative = val && val[0] == '-';
	u64 n;

	if (!val || kstrtoull(val + negative, 10, &n) || n > 86400)
		return -EINVAL;
	panic_timeout = negative ? -1 : (s64)n;
	return 0;
}
__setup("panic", set_panic_timeout);

static bool in_irqentry_text(u64 addr)
{
	return addr >= (u64)(uintptr_t)__irqentry_text_start &&
	       addr < (u64)(uintptr_t)__irqentry_text_end;
}

void walk_stack(u64 rip, u64 rbp, unsigned int max, void (*each)(void *arg, u64 addr, bool exact),
		void *arg)
{
	while (max-- && on_a_stack(rbp)) {
		const u64 *frame = (const u64 *)(uintptr_t)rbp;

		if (!frame[1])
			return;
		each(arg, frame[1], in_irqentry_text(rip));
		rip = frame[1];
		/*
		 * Callers are further up, except where an interrupt stack leads back to the one it
		 * hit.
		 */
		if (frame[0] == rbp)
			return;
		rbp = frame[0];
	}
}

static void print_frame(void *arg, u64 addr, bool exact)
{
	char sym[80];

	(void)arg;
	if (exact)
		sprint_symbol(sym, sizeof(sym), addr);
	else
		sprint_backtrace(sym, sizeof(sym), addr);
	console_line(" %s", sym);
}

static void print_regs(const struct pt_regs *r, u64 cr2)
{
	console_line("RSP: %016lx RFLAGS: %08lx CS: %04lx SS: %04lx", r->rsp, r->rflags, r->cs,
		     r->ss);
	console_line("RAX: %016lx RBX: %016lx RCX: %016lx", r->rax, r->rbx, r->rcx);
	console_line("RDX: %016lx RSI: %016lx RDI: %016lx", r->rdx, r->rsi, r->rdi);
	console_line("RBP: %016lx R08: %016lx R09: %016lx", r->rbp, r->r8, r->r9);
	console_line("R10: %016lx R11: %016lx R12: %016lx", r->r10, r->r11, r->r12);
	console_line("R13: %016lx R14: %016lx R15: %016lx", r->r13, r->r14, r->r15);
	console_line("RIP: %016lx CR2: %016lx", r->rip, cr2);
}

/* Ends the machine: by the debug port if there is one, else as `panic=` says. */
static void __noreturn panic_end(enum panic_class cls)
{
	machine_debug_exit(cls);
	if (panic_timeout == 0) {
		console_line("barewire: halted (panic=0)");
		for (;;)
			cpu_halt();
	}
	if (panic_timeout > 0 && ktime_get()) { /* before the clock there is no waiting */
		u64 until = ktime_get() + (u64)panic_timeout * NSEC_PER_SEC;

		console_line("barewire: reset in %ld s", panic_timeout);
		while (ktime_get() < until)
			cpu_pause();
	}
	machine_restart();
}

/* The first to come reports; a fault inside the report goes straight to the end. */
static void panic_begin(enum panic_class cls)
{
	static bool panicking;

	local_irq_disable();
	if (panicking) {
		console_line("barewire: panic inside a panic");
		panic_end(cls);
	}
	panicking = true;
}

void panic_regs(enum panic_class cls, const char *reason, const struct pt_regs *regs, u64 cr2)
{
	char sym[80];
	u64 rip = regs->rip;

	panic_begin(cls);
	console_line("barewire: panic: %s vec=%lu err=0x%lx cr2=0x%lx rip=%s", reason, regs->vector,
		     regs->error_code, cr2, sprint_symbol(sym, sizeof(sym), rip));
	print_regs(regs, cr2);
	console_line("Call Trace:");
	print_frame(NULL, rip, true);
	/*
	 * After a call into data or nowhere, the caller is on top of the stack and rbp is still the
	 * caller's.
	 */
	if ((rip < (u64)(uintptr_t)__text_start || rip >= (u64)(uintptr_t)__text_end) &&
	    on_a_stack(regs->rsp))
		print_frame(NULL, *(const u64 *)(uintptr_t)regs->rsp, false);
	walk_stack(rip, regs->rbp, MAX_FRAMES, print_frame, NULL);
	panic_end(cls);
}

/* where: the address that panicked, as the registers' RIP. */
static void __noreturn vpanic(enum panic_class cls, u64 where, const char *fmt, va_list ap)
{
	struct pt_regs regs;
	char text[200];

	capture_regs(&regs);
	regs.rip = where;
	panic_begin(cls);
	vsnprintf(text, sizeof(text), fmt, ap);
	console_line("barewire: panic: %s", text);
	print_regs(&regs, read_cr2());
	console_line("Call Trace:");
	walk_stack(0, (u64)(uintptr_t)__builtin_frame_address(0), MAX_FRAMES, print_frame, NULL);
	panic_end(cls);
}

void panic_with(enum panic_class cls, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vpanic(cls, (u64)(uintptr_t)__builtin_return_address(0), fmt, ap);
}

void panic(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vpanic(PANIC_ASSERT, (u64)(uintptr_t)__builtin_return_address(0), fmt, ap);
}

void warn_slowpath(const char *file, int line, const char *cond)
{
	printk(KERN_WARNING "WARNING: %s at %s:%d\n", cond, file, line);
}

/*
 * The stack protector's two names: the value that it compares, seeded at boot, and where a mismatch
 * goes.
 */
u64 __stack_chk_guard = 0x595e9fbd94fda766ull;
void __noreturn __stack_chk_fail(void);
void __stack_chk_fail(void)
{
	char sym[80];

	panic_with(PANIC_CANARY, "stack protector: the stack frame of %s is overwritten",
		   sprint_backtrace(sym, sizeof(sym), (u64)(uintptr_t)__builtin_return_address(0)));
}
