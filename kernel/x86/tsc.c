/* Calibration and reading of the TSC, and the one-shot timer of the local APIC. */
#include "kernel/x86/tsc.h"

#define pr_fmt(fmt) "tsc: " fmt
#include "kernel/bug.h"
#include "kernel/printk.h"
#include "kernel/stats.h"
#include "kernel/x86/acpi.h"
#include "kernel/x86/apic.h"
#include "kernel/x86/cpu.h"
#include "kernel/x86/io.h"
#include "kernel/x86/irqflags.h"
#include "kernel/timex.h"
#include "kernel/x86/msr.h"

#define NSEC_PER_SEC 1000000000ull
#define CALIBRATE_US 1000u /* of the 2 ms the whole may take */

/* ns = (tsc - base_tsc) * mult >> 32 + base_ns */
static u64 base_tsc, base_ns, mult;
static u64 tsc_hz, apic_hz;
/* Timer ticks per nanosecond, << 32. */
static u64 apic_mult;
static const char *source = "nothing";

#define PM_TIMER_HZ 3579545u /* ACPI 6.4, 4.8.2.1 */
#define PIT_HZ 1193182u      /* 8254 data sheet, PC clock */
#define PIT_CH2 0x42
#define PIT_MODE 0x43
#define PORT_B 0x61        /* bit 0: gate of channel 2; bit 1: speaker; bit 5: its output */
#define PIT_CH2_MODE0 0xb0 /* channel 2, low then high byte, interrupt on terminal count */
#define PIT_CH2_LATCH 0x80

/* The counters read one after the other; spread: TSC ticks from the first to the last reading. */
struct sample {
	u64 tsc;
	u64 spread;
	u32 apic;
	u32 ref;
};

static u32 pm_timer_read(void)
{
	return inl(acpi_power.pm_timer) & (acpi_power.pm_timer_32bit ? ~0u : 0xffffffu);
}

static void pit_start(void)
{
	outb((inb(PORT_B) & ~0x02u) | 0x01u, PORT_B);
	outb(PIT_CH2_MODE0, PIT_MODE);
	outb(0xff, PIT_CH2);
	outb(0xff, PIT_CH2);
}

/* Ticks since pit_start(); it counts down from 0xffff. */
static u32 pit_read(void)
{
	u32 v;

	outb(PIT_CH2_LATCH, PIT_MODE);
	v = inb(PIT_CH2);
	v |= (u32)inb(PIT_CH2) << 8;
	return 0xffffu - v;
}

/* One piece of code for all samples, so that what a reading costs is the same in each. */
static noinline struct sample take(u32 (*ref)(void))
{
	struct sample s;
	u64 before = rdtsc();

	s.ref = ref();
	s.tsc = rdtsc();
	s.apic = apic_timer_current();
	s.spread = rdtsc() - before;
	return s;
}

/* The results of one window, and how large a part of it its two readings took, in 1/1024. */
struct frequencies {
	u64 tsc, apic;
	u64 error;
};

/*
 * Runs both counters beside a reference for CALIBRATE_US. False: the reference does not move, or a
 * host that took the CPU away in the middle of a reading has spoilt it.
 */
static bool measure(u32 (*ref)(void), u32 ref_hz, u32 ref_mask, struct frequencies *out)
{
	u32 want = (u32)((u64)ref_hz * CALIBRATE_US / 1000000), elapsed;
	struct sample a, b;
	u64 limit;

	apic_timer_set(~0u);
	/* The first costs cache misses, or an emulator's translation, between its readings. */
	(void)take(ref);
	a = take(ref);
	/* No TSC is faster than 10 GHz: a reference that stands still costs some ms of a slower
	 * one. */
	limit = a.tsc + 20000000;
	do {
		b = take(ref);
		elapsed = (b.ref - a.ref) & ref_mask;
	} while (elapsed < want && b.tsc < limit);
	apic_timer_set(0);
	/* The PIT wraps after 55 ms. */
	if (elapsed < want || elapsed > 8 * want)
		return false;
	out->error = (a.spread + b.spread) * 1024 / (b.tsc - a.tsc);
	out->tsc = (b.tsc - a.tsc) * ref_hz / elapsed;
	out->apic = (u64)(a.apic - b.apic) * ref_hz / elapsed;
	return out->tsc >= 1000000 && out->apic >= 1000 && out->apic >> 32 == 0;
}

#define MAX_TRIES 20 /* one will do, but on a host that is overloaded */
#define GOOD_ERROR \
	32 /* 3 %: what port reads of an emulator may take; their cost is the same at both ends */

/* The first good window, or the best of many. False: the reference never moved. */
static bool calibrate(u32 (*ref)(void), u32 ref_hz, u32 ref_mask, void (*start)(void))
{
	struct frequencies f, best = { .error = ~0ull };

	for (int i = 0; i < MAX_TRIES && best.error > GOOD_ERROR; i++) {
		if (start)
			start();
		if (measure(ref, ref_hz, ref_mask, &f) && f.error < best.error)
			best = f;
	}
	tsc_hz = best.tsc;
	apic_hz = best.apic;
	return best.error != ~0ull;
}

/*
 * The frequency from CPUID. A leaf beyond the reported maximum gives the values of the last one
 * (SDM vol. 2A, "CPUID"), so the maximum is asked first.
 */
static u64 cpuid_tsc_hz(void)
{
	struct cpuid_regs r;

	if (cpuid(0, 0).eax >= 0x15) {
		r = cpuid(0x15, 0);
		if (r.eax && r.ebx && r.ecx)
			return (u64)r.ecx * r.ebx / r.eax;
	}
	if ((cpuid(1, 0).ecx & (1u << 31)) && cpuid(0x40000000u, 0).eax >= 0x40000010u) {
		r = cpuid(0x40000010u, 0);
		return (u64)r.eax * 1000;
	}
	return 0;
}

static void set_frequency(u64 hz)
{
	u64 now = rdtsc(), ns = tsc_read_ns();

	base_tsc = now;
	base_ns = ns;
	tsc_hz = hz;
	mult = (NSEC_PER_SEC << 32) / hz;
}

void tsc_init(void)
{
	u64 hz = cpuid_tsc_hz();
	bool ok = false;

	if (acpi_power.pm_timer) {
		source = "the ACPI PM timer";
		ok = calibrate(pm_timer_read, PM_TIMER_HZ,
			       acpi_power.pm_timer_32bit ? ~0u : 0xffffffu, NULL);
	}
	if (!ok) {
		source = "the PIT";
		ok = calibrate(pit_read, PIT_HZ, 0xffff, pit_start);
	}
	if (hz && !ok) {
		/* No reference, but the TSC's frequency is known: the APIC timer against it. */
		u64 start = rdtsc();

		apic_timer_set(~0u);
		while (rdtsc() - start < hz / 1000)
			cpu_pause();
		apic_hz = (u64)(~0u - apic_timer_current()) * 1000;
		apic_timer_set(0);
		ok = apic_hz >= 1000;
	}
	if (!ok)
		panic("no clock: neither CPUID, ACPI PM timer nor PIT gives a frequency");
	if (hz) {
		source = "CPUID";
		tsc_hz = hz;
	}
	set_frequency(tsc_hz);
	apic_mult = (apic_hz << 32) / NSEC_PER_SEC;
}

/* Written by boot/start.asm and boot/pvh.asm. */
extern u64 boot_entry_tsc;
static u64 boot_ready_tsc;

void tsc_mark_ready(void)
{
	if (!boot_ready_tsc)
		boot_ready_tsc = rdtsc();
}

/* What the boot took, in ticks of the TSC; under QEMU's -icount shift=0 that is instructions
 * (tests/boot). */
static void tsc_stats(struct stats_sink *s)
{
	stats_u64(s, NULL, "boot_entry_tsc", boot_entry_tsc);
	stats_u64(s, NULL, "boot_ready_tsc", boot_ready_tsc);
	stats_u64(s, NULL, "tsc_hz", tsc_hz);
}
STATS_PROVIDER(tsc_stats);

void tsc_report(void)
{
	pr_info("%lu.%03lu MHz by %s, APIC timer %lu.%03lu MHz\n", tsc_hz / 1000000,
		tsc_hz / 1000 % 1000, source, apic_hz / 1000000, apic_hz / 1000 % 1000);
}

u64 tsc_read_ns(void)
{
	if (!mult)
		return 0;
	return base_ns + (u64)((unsigned __int128)(rdtsc() - base_tsc) * mult >> 32);
}

/* A stamp may be older than the refined frequency: then it lies before base_tsc. */
u64 cycles_to_ns(u64 cycles)
{
	if (cycles >= base_tsc)
		return base_ns + (u64)((unsigned __int128)(cycles - base_tsc) * mult >> 32);
	return base_ns - (u64)((unsigned __int128)(base_tsc - cycles) * mult >> 32);
}

void clockevent_program(u64 ns)
{
	u64 count;

	ns = min(ns, 3600 * NSEC_PER_SEC);
	count = (u64)((unsigned __int128)ns * apic_mult >> 32) + 1;
	apic_timer_set((u32)min(count, (u64)~0u));
}

static u64 refine_tsc;

bool tsc_refine_start(void)
{
	unsigned long flags;

	if (source[0] == 'C') /* CPUID knows better than any timer */
		return false;
	flags = local_irq_save();
	pit_start();
	refine_tsc = rdtsc();
	local_irq_restore(flags);
	return true;
}

void tsc_refine_finish(void)
{
	unsigned long flags = local_irq_save();
	u64 before = rdtsc();
	u32 ticks = pit_read();
	u64 after = rdtsc(), hz, off;

	local_irq_restore(flags);
	/*
	 * Less than 10 ms or near the wrap at 55 ms: someone held us up; a slow read says nothing
	 * either.
	 */
	if (ticks < PIT_HZ / 100 || ticks > 60000 || after - before > tsc_hz / 20000)
		return;
	hz = (before - refine_tsc + (after - before) / 2) * PIT_HZ / ticks;
	off = hz > tsc_hz ? hz - tsc_hz : tsc_hz - hz;
	/*
	 * Within 0.02 % the two agree as well as either can be read; beyond 5 % this look must be
	 * the wrong one.
	 */
	if (off < tsc_hz / 5000 || off > tsc_hz / 20)
		return;
	flags = local_irq_save();
	set_frequency(hz);
	local_irq_restore(flags);
	pr_info("refined to %lu.%03lu MHz\n", hz / 1000000, hz / 1000 % 1000);
}
