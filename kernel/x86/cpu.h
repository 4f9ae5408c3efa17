/* What only the CPU itself can do. Any context unless said otherwise. */
#ifndef KERNEL_X86_CPU_H
#define KERNEL_X86_CPU_H

#include "kernel/lib/types.h"

/* Stops until an interrupt; with interrupts off, for good. */
static inline void cpu_halt(void)
{
	__asm__ volatile("hlt" ::: "memory");
}

/*
 * Interrupts on and stop, with no instruction between: sti takes effect after the next instruction,
 * so an interrupt cannot come in between and leave us asleep with work (SDM vol. 2B, "STI").
 */
static inline void cpu_safe_halt(void)
{
	__asm__ volatile("sti; hlt" ::: "memory");
}

static inline void cpu_pause(void)
{
	__asm__ volatile("pause");
}

/* CR0.WP, EFER.NX, SMEP, SMAP, UMIP where the CPU has them. Task, once, after paging_init(). */
void cpu_init(void);
/* "WP NX SMEP ..." for the log. */
const char *cpu_features_text(void);
/* Can pages be kept from being executed (CPUID 0x80000001, EDX bit 20)? */
bool cpu_has_nx(void);
/* Bits of a physical address (CPUID 0x80000008; 36 if the CPU does not say). */
u32 cpu_phys_bits(void);

/*
 * One 64-bit word from the CPU's generators; false if it has none or it failed 10 times in a row.
 */
bool cpu_rdseed(u64 *out);
bool cpu_rdrand(u64 *out);

#endif
