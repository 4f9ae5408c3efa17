/*
 * Ending the machine, by whatever it offers (architecture.md, 11, "Power"): fixed ACPI hardware on
 * pc and q35, the sleep registers and the generic event device of hardware-reduced ACPI on microvm.
 */
#include "kernel/x86/reboot.h"

#define pr_fmt(fmt) "ACPI: " fmt
#include "kernel/irq.h"
#include "kernel/mm.h"
#include "kernel/power.h"
#include "kernel/printk.h"
#include "kernel/time.h"
#include "kernel/x86/acpi.h"
#include "kernel/x86/cpu.h"
#include "kernel/x86/io.h"
#include "kernel/x86/irqflags.h"

#define ISA_DEBUG_EXIT 0xf4

/* ACPI 6.4, 4.8.3.1 and 4.8.3.2 */
#define PM1_PWRBTN (1u << 8)
#define PM1_CNT_SCI_EN (1u << 0)
#define PM1_CNT_SLP_EN (1u << 13)
#define PM1_CNT_SLP_TYP(t) ((u32)(t) << 10)
/* 4.8.3.7, sleep control register */
#define SLEEP_CONTROL_SLP_EN (1u << 5)
#define SLEEP_CONTROL_SLP_TYP(t) ((u32)(t) << 2)
/* QEMU's generic event device: reading the selector acknowledges. */
#define GED_POWER_DOWN_EVENT (1u << 1)
#define GED_ISA_IRQ 9

static void (*on_button)(void);
static u8 *ged;

void machine_debug_exit(u8 value)
{
	outl(value, ISA_DEBUG_EXIT);
}

/*
 * The sleep registers and the reset register were mapped here beforehand: a panic must not need
 * memory.
 */
static u8 *sleep_control, *reset_reg;

static u8 *map_gas(const struct acpi_gas *g)
{
	return g->space == 0 && g->address ? ioremap(g->address, 1) : NULL;
}

static void write_gas(const struct acpi_gas *g, u8 *mapped, u8 v)
{
	if (mapped)
		writeb(v, mapped);
	else if (g->space == 1 && g->address && g->address <= 0xffff)
		outb(v, (u16)g->address);
}

static irqreturn_t sci_interrupt(int irq, void *dev)
{
	u16 status = inw(acpi_power.pm1a_evt);

	(void)irq;
	(void)dev;
	if (!(status & PM1_PWRBTN))
		return IRQ_NONE;
	outw(PM1_PWRBTN, acpi_power.pm1a_evt); /* write 1 to clear */
	on_button();
	return IRQ_HANDLED;
}

static irqreturn_t ged_interrupt(int irq, void *dev)
{
	u32 events = readl(ged);

	(void)irq;
	(void)dev;
	if (events & GED_POWER_DOWN_EVENT)
		on_button();
	return events ? IRQ_HANDLED : IRQ_NONE;
}

static int request_isa_irq(u8 isa_irq, irq_handler_t handler, const char *name)
{
	enum irq_trigger trigger;
	enum irq_polarity polarity;
	u32 gsi;
	int irq;

	acpi_isa_irq_to_gsi(isa_irq, &gsi, &trigger, &polarity);
	irq = acpi_register_gsi(gsi, trigger, polarity);
	if (irq < 0)
		return irq;
	return request_irq(irq, handler, IRQF_SHARED, name, on_button);
}

/* Hands the fixed hardware from firmware to us (ACPI 6.4, 4.8.1). False: it does not follow. */
static bool acpi_enable(void)
{
	if (inw(acpi_power.pm1a_cnt) & PM1_CNT_SCI_EN)
		return true;
	if (!acpi_power.smi_cmd || !acpi_power.acpi_enable)
		return false;
	outb(acpi_power.acpi_enable, acpi_power.smi_cmd);
	for (int i = 0; i < 100; i++) {
		if (inw(acpi_power.pm1a_cnt) & PM1_CNT_SCI_EN)
			return true;
		udelay(10);
	}
	return false;
}

static void fixed_button_init(void)
{
	u16 enable = (u16)(acpi_power.pm1a_evt + acpi_power.pm1_evt_len / 2);

	if (!acpi_enable() || request_isa_irq((u8)acpi_power.sci_irq, sci_interrupt, "acpi")) {
		pr_warn("no power button: the system control interrupt cannot be had\n");
		return;
	}
	outw(PM1_PWRBTN, acpi_power.pm1a_evt);
	outw(PM1_PWRBTN,
	     enable); /* and nothing else: an event that nobody clears would never end */
}

void acpi_power_button_init(void (*pressed)(void))
{
	on_button = pressed;
	sleep_control = map_gas(&acpi_power.sleep_control);
	reset_reg = map_gas(&acpi_power.reset_reg);
	if (acpi_power.pm1a_evt && acpi_power.pm1a_cnt && acpi_power.pm1_evt_len >= 4) {
		fixed_button_init();
	} else if (acpi_power.ged_event) {
		ged = ioremap(acpi_power.ged_event, 4);
		if (!ged || request_isa_irq(GED_ISA_IRQ, ged_interrupt, "ged"))
			pr_warn("no power button: the generic event device cannot be had\n");
	} else {
		pr_notice("no power button on this machine\n");
	}
}

void machine_power_off(void)
{
	console_line("barewire: power off");
	machine_debug_exit(DEBUG_EXIT_POWEROFF);
	local_irq_disable();
	if (acpi_power.have_s5) {
		if (acpi_power.pm1a_cnt)
			outw((u16)(PM1_CNT_SLP_TYP(acpi_power.slp_typa) | PM1_CNT_SLP_EN),
			     acpi_power.pm1a_cnt);
		if (acpi_power.pm1b_cnt)
			outw((u16)(PM1_CNT_SLP_TYP(acpi_power.slp_typb) | PM1_CNT_SLP_EN),
			     acpi_power.pm1b_cnt);
		write_gas(&acpi_power.sleep_control, sleep_control,
			  (u8)(SLEEP_CONTROL_SLP_TYP(acpi_power.slp_typa) | SLEEP_CONTROL_SLP_EN));
	}
	/* The machine goes a moment after the write: QEMU by another thread, hardware by its
	 * sequencer. */
	for (int i = 0; i < 2000; i++)
		udelay(1000);
	console_line("barewire: this machine has no power switch that works; halted");
	for (;;)
		cpu_halt();
}

void machine_restart(void)
{
	struct {
		u16 limit;
		u64 base;
	} __packed no_idt = { 0, 0 };

	local_irq_disable();
	write_gas(&acpi_power.reset_reg, reset_reg, acpi_power.reset_value);
	outb(0x02, 0xcf9); /* PIIX and ICH reset control: system reset, then */
	outb(0x06, 0xcf9); /* go */
	for (int i = 0; i < 1000 && (inb(0x64) & 0x02); i++)
		cpu_pause();
	outb(0xfe, 0x64); /* i8042: pulse the reset line */
	/* A fault without an IDT is a triple fault, which no machine survives. */
	__asm__ volatile("lidt %0; ud2" : : "m"(no_idt));
	for (;;)
		cpu_halt();
}
