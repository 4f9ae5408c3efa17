/*
 * The ACPI tables we need, read once at boot: no AML interpreter. Firmware is outside input: every
 * length and checksum is checked, and what is wrong is left out with one log line. Task context.
 */
#ifndef KERNEL_X86_ACPI_H
#define KERNEL_X86_ACPI_H

#include "kernel/irq.h"
#include "kernel/lib/types.h"

#define ACPI_MAX_IOAPICS 8
#define ACPI_MAX_MCFG 8

struct acpi_ioapic {
	u64 address;
	u32 gsi_base;
};

struct acpi_mcfg_entry {
	u64 base; /* ECAM of bus 0, whatever start_bus is (PCI Firmware 3.0, 4.1.2) */
	u16 segment;
	u8 start_bus, end_bus;
};

/* ACPI 6.4, 5.2.3.2: generic address structure; space 0 memory, 1 ports. address 0: not there. */
struct acpi_gas {
	u8 space;
	u8 bit_width;
	u8 bit_offset;
	u8 access_size;
	u64 address;
} __packed;

/*
 * What the FADT (5.2.9) and two constants of the DSDT say about power. Ports are 0 where there is
 * none.
 */
struct acpi_power {
	bool have_fadt;
	u16 sci_irq; /* an ISA IRQ number */
	u16 smi_cmd;
	u8 acpi_enable;
	u16 pm1a_evt, pm1a_cnt, pm1b_cnt;
	u8 pm1_evt_len;
	u16 pm_timer;
	bool pm_timer_32bit;
	struct acpi_gas reset_reg;
	u8 reset_value;
	struct acpi_gas sleep_control; /* hardware-reduced ACPI (5.2.9, 4.8.3.7) */
	bool have_s5;
	u8 slp_typa, slp_typb;
	u64 ged_event; /* the generic event device's selector register (QEMU's microvm), 0: none */
};

extern struct acpi_power acpi_power;

/* rsdp: as the firmware handed it over, or 0 to look for it in the BIOS areas. */
void acpi_init(u64 rsdp);

u64 acpi_lapic_address(void); /* 0: not in the MADT */
int acpi_ioapics(const struct acpi_ioapic **out);
/* Copies at most max entries. Returns how many there are. */
int acpi_mcfg(struct acpi_mcfg_entry *out, int max);

#endif
