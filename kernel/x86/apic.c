/*
 * xAPIC by its memory-mapped registers. x2APIC, which TCG has not got, would be a second set of
 * accessors.
 */
#include "kernel/x86/apic.h"

#define pr_fmt(fmt) "apic: " fmt
#include "kernel/bug.h"
#include "kernel/mm.h"
#include "kernel/x86/acpi.h"
#include "kernel/x86/io.h"
#include "kernel/x86/msr.h"

#define APIC_ID 0x20
#define APIC_TPR 0x80
#define APIC_EOI 0xb0
#define APIC_SPIV 0xf0
#define APIC_LVTT 0x320
#define APIC_LVT0 0x350
#define APIC_LVT1 0x360
#define APIC_LVTERR 0x370
#define APIC_TMICT 0x380
#define APIC_TMCCT 0x390
#define APIC_TDCR 0x3e0

#define APIC_SPIV_ENABLED 0x100
#define APIC_LVT_MASKED 0x10000
#define APIC_LVT_NMI 0x400
#define APIC_TDR_DIV_16 0x3

static u8 *apic;

/* The PCs' old controllers stay remapped, away from the exceptions, and masked. */
static void mask_8259(void)
{
	outb(0x11, 0x20);
	outb(0x11, 0xa0);
	outb(0xf0, 0x21);
	outb(0xf8, 0xa1);
	outb(4, 0x21);
	outb(2, 0xa1);
	outb(1, 0x21);
	outb(1, 0xa1);
	outb(0xff, 0x21);
	outb(0xff, 0xa1);
}

void apic_init(void)
{
	u64 base = rdmsr(MSR_IA32_APICBASE);

	/*
	 * Firmware with many CPUs may hand over in x2APIC mode; going back needs the detour over
	 * "disabled".
	 */
	if (base & MSR_IA32_APICBASE_EXTD)
		wrmsr(MSR_IA32_APICBASE,
		      base & ~(MSR_IA32_APICBASE_EXTD | MSR_IA32_APICBASE_ENABLE));
	wrmsr(MSR_IA32_APICBASE, (base & ~MSR_IA32_APICBASE_EXTD) | MSR_IA32_APICBASE_ENABLE);

	apic = ioremap(base & 0x000ffffffffff000ull, 4096);
	if (!apic)
		panic("no local APIC at 0x%lx", base);
	mask_8259();
	writel(APIC_LVT_MASKED, apic + APIC_LVTT);
	writel(APIC_LVT_MASKED, apic + APIC_LVT0);
	writel(APIC_LVT_NMI, apic + APIC_LVT1);
	writel(APIC_LVT_MASKED, apic + APIC_LVTERR);
	writel(0, apic + APIC_TPR);
	writel(APIC_SPIV_ENABLED | SPURIOUS_APIC_VECTOR, apic + APIC_SPIV);
	/* 1 GHz / 16 under QEMU: 16 ns steps, 68 s reach. */
	writel(APIC_TDR_DIV_16, apic + APIC_TDCR);
	writel(LOCAL_TIMER_VECTOR, apic + APIC_LVTT);
}

void apic_eoi(void)
{
	writel(0, apic + APIC_EOI);
}

u8 apic_id(void)
{
	return (u8)(readl(apic + APIC_ID) >> 24);
}

void apic_timer_set(u32 count)
{
	writel(count, apic + APIC_TMICT);
}

u32 apic_timer_current(void)
{
	return readl(apic + APIC_TMCCT);
}
