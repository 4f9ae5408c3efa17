/*
 * The descriptor table of a machine with one ring: null, code, data, TSS. The TSS exists for its
 * IST stacks only (SDM vol. 3A, "Task Management in 64-bit Mode").
 */
#include "kernel/x86/gdt.h"

#include "kernel/lib/types.h"
#include "kernel/x86/sections.h"

struct tss64 {
	u32 reserved0;
	u64 rsp[3];
	u64 reserved1;
	u64 ist[7];
	u64 reserved2;
	u16 reserved3;
	u16 iomap_base;
} __packed;
_Static_assert(sizeof(struct tss64) == 104, "SDM vol. 3A, \"64-bit TSS Format\"");

#define TSS_SELECTOR 0x18

static struct tss64 tss;
/* clang-format off */
static u64 gdt[5] = {
	0,
	0x00af9b000000ffffull, /* code: long mode, present, accessed */
	0x00cf93000000ffffull, /* data */
};
/* clang-format on */

void gdt_init(void)
{
	struct {
		u16 limit;
		u64 base;
	} __packed ptr = { sizeof(gdt) - 1, (u64)(uintptr_t)gdt };
	u64 base = (u64)(uintptr_t)&tss;

	tss.ist[IST_DF - 1] = (u64)(uintptr_t)double_fault_stack_top;
	tss.ist[IST_NMI - 1] = (u64)(uintptr_t)nmi_stack_top;
	tss.ist[IST_MCE - 1] = (u64)(uintptr_t)machine_check_stack_top;
	tss.ist[IST_PF - 1] = (u64)(uintptr_t)page_fault_stack_top;
	tss.iomap_base = sizeof(tss);

	/* SDM vol. 3A, "TSS Descriptor in 64-bit mode": 16 bytes, type 9 = available. */
	gdt[3] = (sizeof(tss) - 1) | (base & 0xffffff) << 16 | 0x89ull << 40 |
		 (base >> 24 & 0xff) << 56;
	gdt[4] = base >> 32;

	__asm__ volatile("lgdt %0\n\t"
			 "pushq %1\n\t"
			 "leaq 1f(%%rip), %%rax\n\t"
			 "pushq %%rax\n\t"
			 "lretq\n"
			 "1:\n\t"
			 "movl %2, %%eax\n\t"
			 "movl %%eax, %%ds\n\t"
			 "movl %%eax, %%es\n\t"
			 "movl %%eax, %%ss\n\t"
			 "xorl %%eax, %%eax\n\t"
			 "movl %%eax, %%fs\n\t"
			 "movl %%eax, %%gs\n\t"
			 "movl %3, %%eax\n\t"
			 "ltr %%ax"
			 :
			 : "m"(ptr), "i"(KERNEL_CS), "i"(KERNEL_DS), "i"(TSS_SELECTOR)
			 : "rax", "memory");
}
