/* See hw_breakpoint.h. */
#include "kernel/x86/hw_breakpoint.h"

#include "kernel/lib/errno.h"
#include "kernel/x86/irqflags.h"
#include "kernel/x86/ptrace.h"
#include "kernel/x86/sections.h"

#define DR6_HIT(slot) (1ull << (slot))
#define X86_EFLAGS_RF (1ull << 16)
#define DR6_INIT 0xffff0ff0ull
/* An instruction breakpoint, length 1 (R/W and LEN 0), in force for every task (G). */
#define DR7_ENABLE(slot) (2ull << ((slot)*2))
#define DR7_INIT 0x400ull

static struct {
	u64 addr; /* 0: free */
	bool (*hit)(void *ctx, const struct pt_regs *regs);
	void *ctx;
} slots[NR_HW_BREAKPOINTS];

static inline u64 read_dr6(void)
{
	u64 v;

	__asm__ volatile("movq %%dr6, %0" : "=r"(v));
	return v;
}

static inline void write_dr6(u64 v)
{
	__asm__ volatile("movq %0, %%dr6" : : "r"(v) : "memory");
}

static void write_dr_address(int slot, u64 addr)
{
	switch (slot) {
	case 0:
		__asm__ volatile("movq %0, %%dr0" : : "r"(addr) : "memory");
		break;
	case 1:
		__asm__ volatile("movq %0, %%dr1" : : "r"(addr) : "memory");
		break;
	case 2:
		__asm__ volatile("movq %0, %%dr2" : : "r"(addr) : "memory");
		break;
	default:
		__asm__ volatile("movq %0, %%dr3" : : "r"(addr) : "memory");
		break;
	}
}

static inline void write_dr7(u64 v)
{
	__asm__ volatile("movq %0, %%dr7" : : "r"(v) : "memory");
}

/* DR7 says what the slots say. */
static void update_dr7(void)
{
	u64 dr7 = DR7_INIT;

	for (int i = 0; i < NR_HW_BREAKPOINTS; i++)
		dr7 |= slots[i].addr ? DR7_ENABLE(i) : 0;
	write_dr7(dr7);
}

int hw_breakpoint_install(u64 addr, bool (*hit)(void *ctx, const struct pt_regs *regs), void *ctx)
{
	unsigned long flags;
	int slot = 0;

	if (addr >= (u64)(uintptr_t)__noinstr_text_start &&
	    addr < (u64)(uintptr_t)__noinstr_text_end)
		return -EINVAL;
	flags = local_irq_save();

	while (slot < NR_HW_BREAKPOINTS && slots[slot].addr)
		slot++;
	if (slot < NR_HW_BREAKPOINTS) {
		slots[slot].addr = addr;
		slots[slot].hit = hit;
		slots[slot].ctx = ctx;
		write_dr_address(slot, addr);
		update_dr7();
	} else {
		slot = -EBUSY;
	}
	local_irq_restore(flags);
	return slot;
}

void hw_breakpoint_uninstall(int slot)
{
	unsigned long flags = local_irq_save();

	slots[slot].addr = 0;
	update_dr7();
	local_irq_restore(flags);
}

/*
 * An instruction breakpoint is a fault: RF makes iret execute the instruction in spite of those
 * that stay in DR7. Several may be set on one address. While one is handled, none is in force: what
 * hit() calls may have one as well.
 */
noinstr bool hw_breakpoint_handle(struct pt_regs *regs)
{
	bool ours = false;
	u64 dr6;

	write_dr7(DR7_INIT);
	dr6 = read_dr6();
	write_dr6(DR6_INIT);
	for (int i = 0; i < NR_HW_BREAKPOINTS; i++) {
		if (!(dr6 & DR6_HIT(i)) || slots[i].addr != regs->rip)
			continue;
		ours = true;
		if (slots[i].hit(slots[i].ctx, regs))
			slots[i].addr = 0;
	}
	update_dr7();
	if (ours)
		regs->rflags |= X86_EFLAGS_RF;
	return ours;
}
