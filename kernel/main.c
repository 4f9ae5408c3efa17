/*
 * The composition root: the one file that calls every layer by name, in order. Start reading here,
 * then follow a packet from net/dev.c:net_rx_action().
 */
#include "boot/boot.h"
#include "drivers/bus.h"
#include "drivers/serial/uart_8250.h"
#include "kernel/bug.h"
#include "kernel/init_calls.h"
#include "kernel/lib/string.h"
#include "kernel/main.h"
#include "kernel/mm.h"
#include "kernel/power.h"
#include "kernel/printk.h"
#include "kernel/random.h"
#include "kernel/softirq.h"
#include "kernel/tasklet.h"
#include "kernel/variant.h"
#include "kernel/x86/acpi.h"
#include "kernel/x86/apic.h"
#include "kernel/x86/cpu.h"
#include "kernel/x86/gdt.h"
#include "kernel/x86/idt.h"
#include "kernel/x86/ioapic.h"
#include "kernel/x86/irqflags.h"
#include "kernel/x86/paging.h"
#include "kernel/x86/tsc.h"
#include "net/netdevice.h"
#include "net/lwip/stack.h"
#include "apps/run.h"

static struct boot_info boot_info;

/*
 * Nothing to do: sleep, without a gap between the last look and hlt in which an interrupt could get
 * lost.
 */
static noinline void __noreturn cpu_idle(void)
{
	for (;;) {
		local_irq_disable();
		if (unlikely(poweroff_requested())) {
			local_irq_enable();
			machine_power_off();
		} else if (local_softirq_pending()) {
			local_irq_enable();
			do_softirq();
		} else {
			cpu_safe_halt();
		}
	}
}

/*
 * The stack protector's value must not change under a function that uses it: start_kernel() never
 * returns.
 */
static __attribute__((always_inline)) inline void seed_stack_protector(void)
{
	u64 seed;

	get_random_bytes(&seed, sizeof(seed));
	/* A zero byte stops string functions in front of the rest. */
	__stack_chk_guard = seed & ~0xffull;
}

static void report_boot(void)
{
	BUG_ON(boot_info.magic != BOOT_INFO_MAGIC);
	if (boot_info.note[0])
		pr_warn("%s\n", boot_info.note);
	if (!boot_info.nr_ranges)
		panic("no memory map from the loader");
	if (boot_info.dropped_ranges)
		pr_warn("boot: %u free ranges of the memory map did not fit and stay unused\n",
			boot_info.dropped_ranges);
}

static void report_memory(void)
{
	struct paging_report r;

	paging_scan(&r);
	pr_info("Memory: %lu KiB free of %lu KiB; CPU: %s\n", nr_free_pages() * 4,
		totalram_pages() * 4, cpu_features_text());
	pr_info("WX pages: %u, user pages: %u, null mapped: %s\n", r.wx_pages, r.user_pages,
		r.null_mapped ? "yes" : "no");
}

void start_kernel(const struct boot_info *handed_over)
{
	memcpy(&boot_info, handed_over,
	       sizeof(boot_info)); /* the loader's memory is about to be ours */
	uart_8250_init();          /* from here on the log is visible */
	console_line("\r\nbarewire: %s booted by %s", barewire_version, boot_info.origin);
	gdt_init();                /* segments, interrupt stacks */
	idt_init();                /* from here on a fault is reported */
	report_boot();             /* what the loader wants said */
	cmdline_init(&boot_info);  /* every word to whoever declared it */
	mm_init(&boot_info);       /* free pages */
	paging_init(&boot_info);   /* our page tables: W^X, no null page, guard pages */
	mm_init_late(&boot_info);  /* the loader's memory and what lies above 4 GiB */
	cpu_init();                /* WP, SMEP, SMAP, UMIP */
	acpi_init(boot_info.rsdp); /* interrupt controllers, ECAM, power registers */
	apic_init();               /* local APIC; the 8259s masked */
	ioapic_init();             /* wires */
	tsc_init();                /* the clock */
	time_init();               /* deadlines */
	random_init();             /* what the CPU gives */
	seed_stack_protector();
	report_memory();
	tsc_report();
	local_irq_enable();
	tasklet_init();     /* TASKLET_SOFTIRQ */
	power_init();       /* power button, poweroff= */
	net_dev_init();     /* NET_RX_SOFTIRQ, NET_TX_SOFTIRQ */
	lwip_stack_init();  /* lwIP, told of each network device that appears */
	driver_init();      /* PCI and virtio-mmio, drivers: virtio-net, virtio-rng */
	random_report();    /* what the seed is worth */
	crash_run();        /* test images with crash= */
	apps_init();        /* echo, http, ...: listen */
	lwip_stack_start(); /* ip=: address, then the ready line */
	time_refine();      /* a longer look at the clock, while we work */
	cpu_idle();
}
