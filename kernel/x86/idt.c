/*
 * All 256 gates, and what an exception says before the machine ends: none of them but a breakpoint
 * is survivable in a kernel without processes, so do_exception() decodes and panics.
 */
#include "kernel/x86/idt.h"

#include "kernel/bug.h"
#include "kernel/lib/string.h"
#include "kernel/lib/types.h"
#include "kernel/panic.h"
#include "kernel/x86/apic.h"
#include "kernel/x86/gdt.h"
#include "kernel/x86/hw_breakpoint.h"
#include "kernel/x86/msr.h"
#include "kernel/x86/ptrace.h"
#include "kernel/x86/stacks.h"

#define X86_TRAP_DB 1
#define X86_TRAP_NMI 2
#define X86_TRAP_DF 8
#define X86_TRAP_PF 14
#define X86_TRAP_MC 18
#define NR_EXCEPTIONS 32
#define FIRST_EXTERNAL_VECTOR 0x20
#define IRQ_ENTRY_SIZE 16
#define GATE_INTERRUPT 0x8e /* present, ring 0, 64-bit interrupt gate: interrupts off on entry */

/* SDM vol. 3A, "64-Bit IDT Gate Descriptors" */
struct gate_desc {
	u16 offset_low;
	u16 segment;
	u8 ist;
	u8 type;
	u16 offset_middle;
	u32 offset_high;
	u32 reserved;
};
_Static_assert(sizeof(struct gate_desc) == 16, "SDM vol. 3A, \"64-Bit IDT Gate Descriptors\"");

static struct gate_desc idt[256] __aligned(4096);

extern const u64 exception_entries[NR_EXCEPTIONS];
extern const u8 irq_entries_start[];
extern const u8 asm_sysvec_apic_timer_interrupt[], asm_spurious_interrupt[];

static void set_gate(unsigned int vector, u64 entry, u8 ist)
{
	idt[vector] = (struct gate_desc){
		.offset_low = (u16)entry,
		.segment = KERNEL_CS,
		.ist = ist,
		.type = GATE_INTERRUPT,
		.offset_middle = (u16)(entry >> 16),
		.offset_high = (u32)(entry >> 32),
	};
}

void idt_init(void)
{
	struct {
		u16 limit;
		u64 base;
	} __packed ptr = { sizeof(idt) - 1, (u64)(uintptr_t)idt };

	for (unsigned int i = 0; i < NR_EXCEPTIONS; i++)
		set_gate(i, exception_entries[i], 0);
	for (unsigned int i = FIRST_EXTERNAL_VECTOR; i < 256; i++)
		set_gate(i,
			 (u64)(uintptr_t)irq_entries_start +
				 (i - FIRST_EXTERNAL_VECTOR) * IRQ_ENTRY_SIZE,
			 0);
	set_gate(LOCAL_TIMER_VECTOR, (u64)(uintptr_t)asm_sysvec_apic_timer_interrupt, 0);
	set_gate(SPURIOUS_APIC_VECTOR, (u64)(uintptr_t)asm_spurious_interrupt, 0);
	idt[X86_TRAP_DF].ist = IST_DF;
	idt[X86_TRAP_NMI].ist = IST_NMI;
	idt[X86_TRAP_MC].ist = IST_MCE;
	/*
	 * A page fault may be the stack running into its guard page: it cannot report on that
	 * stack.
	 */
	idt[X86_TRAP_PF].ist = IST_PF;
	__asm__ volatile("lidt %0" : : "m"(ptr) : "memory");
}

static const char *const exception_names[NR_EXCEPTIONS] = {
	"divide error (#DE)",
	"debug (#DB)",
	"NMI",
	"breakpoint (#BP)",
	"overflow (#OF)",
	"bound range exceeded (#BR)",
	"invalid opcode (#UD)",
	"device not available (#NM)",
	"double fault (#DF)",
	"coprocessor segment overrun",
	"invalid TSS (#TS)",
	"segment not present (#NP)",
	"stack segment fault (#SS)",
	"general protection fault (#GP)",
	"page fault (#PF)",
	"reserved exception",
	"x87 floating point (#MF)",
	"alignment check (#AC)",
	"machine check (#MC)",
	"SIMD floating point (#XM)",
	"virtualization exception (#VE)",
	"control protection (#CP)",
};

/* SDM vol. 3A, "Page-Fault Error Code": bit 0 protection, 1 write, 4 instruction fetch. */
static void describe_page_fault(char *buf, size_t size, u64 err, u64 cr2)
{
	const char *what = err & 0x10 ? "executing" : err & 2 ? "writing" : "reading";
	const char *why = err & 1 ? "not permitted" : "not mapped";
	const char *where = cr2 < 4096 ? " (null pointer)" : "";

	snprintf(buf, size, "page fault (#PF): %s an address that is %s%s", what, why, where);
}

/*
 * Called by entry.asm; comes back only from an exception that says nothing is wrong: a breakpoint
 * of ours.
 */
void do_exception(struct pt_regs *regs);
noinstr void do_exception(struct pt_regs *regs)
{
	char text[96];
	u64 cr2 = read_cr2();
	const char *stack;

	if (regs->vector == X86_TRAP_DB && hw_breakpoint_handle(regs))
		return;
	if (regs->vector == X86_TRAP_PF || regs->vector == X86_TRAP_DF) {
		stack = stack_guard_hit(cr2);
		if (stack) {
			snprintf(text, sizeof(text),
				 "stack overflow: guard page of the %s stack hit", stack);
			panic_regs(PANIC_STACK, text, regs, cr2);
		}
	}
	if (regs->vector == X86_TRAP_DF)
		panic_regs(PANIC_STACK, exception_names[X86_TRAP_DF], regs, cr2);
	if (regs->vector == X86_TRAP_PF) {
		describe_page_fault(text, sizeof(text), regs->error_code, cr2);
		panic_regs(PANIC_EXCEPTION, text, regs, cr2);
	}
	panic_regs(PANIC_EXCEPTION,
		   regs->vector < NR_EXCEPTIONS && exception_names[regs->vector] ?
			   exception_names[regs->vector] :
			   "reserved exception",
		   regs, cr2);
}
