/*
 * A model of PCI hardware for the unit tests: functions with configuration space, bridges that
 * route by the bus numbers and windows written to them, BARs that decode what was written to them,
 * behind ports 0xcf8/0xcfc and ECAM. It is strict: what real hardware would punish (an all-ones BAR
 * while decoding is on, an access that nobody answers) goes to fake_violation(). To make a function
 * lie, change its cfg[] and wmask[], or hook its accesses.
 *
 * Also here is what the scan asks of the kernel beside config space: the MCFG, the RAM map,
 * ioremap(), the routing of wires.
 */
#ifndef TESTS_FAKE_FAKE_PCI_H
#define TESTS_FAKE_FAKE_PCI_H

#include "kernel/irq.h"
#include "kernel/lib/types.h"

struct fake_fn {
	struct fake_fn *bridge; /* the one it is behind; NULL: root bus */
	u8 devfn;
	u8 cfg[256];
	u8 wmask[256]; /* the bits that a write changes */
	bool is_bridge;
	bool gone; /* unplugged: all ones */
	/* Accesses to BAR bar; NULL: memory that reads 0. */
	u32 (*read)(struct fake_fn *fn, unsigned int bar, u64 off, unsigned int width);
	void (*write)(struct fake_fn *fn, unsigned int bar, u64 off, unsigned int width, u32 v);
	/* After each write to configuration space; may be NULL. */
	void (*cfg_written)(struct fake_fn *fn, unsigned int off, unsigned int width);
	void *priv;
};

/* How the driver broke a rule. The default prints it and aborts; a test may look at it instead. */
extern void (*fake_violation_hook)(const char *text);
void fake_violation(const char *fmt, ...) __printf(1, 2);

/* No functions, mechanism 1 works, no ECAM, no MCFG, RAM below 64 MiB. Frees the driver's buses and
 * functions too. */
void fake_pci_reset(void);

/* vendor and device as in the first dword. */
struct fake_fn *fake_pci_add(struct fake_fn *bridge, unsigned int slot, unsigned int func,
			     u16 vendor, u16 device, u32 class);
/* A bridge with firmware-given numbers (0: none) and no windows. */
struct fake_fn *fake_pci_add_bridge(struct fake_fn *bridge, unsigned int slot, u8 pri, u8 sec,
				    u8 sub);
/* The firmware's window of a bridge: [start, end). Which: 0x1c I/O, 0x20 memory, 0x24 prefetchable.
 */
void fake_pci_set_window(struct fake_fn *br, unsigned int reg, u64 start, u64 end);
/* flags are the low bits of the register (1 I/O, 4 64-bit, 8 prefetchable); addr the firmware's. */
void fake_pci_set_bar(struct fake_fn *fn, unsigned int bar, u64 size, u32 flags, u64 addr);
u64 fake_pci_bar(const struct fake_fn *fn, unsigned int bar);
/* Puts a capability of len bytes at pos, in front of those there are. */
void fake_pci_add_cap(struct fake_fn *fn, u8 pos, u8 id, const void *body, size_t len);
/* The MSI-X capability; the vectors' registers are the device model's. */
void fake_pci_add_msix(struct fake_fn *fn, u8 pos, unsigned int vectors, u32 table, u32 pba);

u16 fake_cfg16(const struct fake_fn *fn, unsigned int off);
u32 fake_cfg32(const struct fake_fn *fn, unsigned int off);
void fake_cfg_set16(struct fake_fn *fn, unsigned int off, u16 v);
void fake_cfg_set32(struct fake_fn *fn, unsigned int off, u32 v);

struct fake_machine {
	bool conf1;    /* ports 0xcf8 and 0xcfc exist */
	u64 ecam;      /* 0: none */
	u64 mcfg_base; /* what the MCFG says; 0: no MCFG */
	u8 mcfg_start, mcfg_end;
	u64 ram_start, ram_end;
	unsigned int cfg_reads;        /* counted */
	unsigned int ioremap_fail_nth; /* the n-th ioremap() from now fails */
	u32 phys_bits;
	u32 isa_override; /* bit n: legacy IRQ n is level, active high by the MADT */
	/* What acpi_register_gsi() was last asked for. */
	u32 gsi;
	enum irq_trigger trigger;
	enum irq_polarity polarity;
};
extern struct fake_machine fake_machine;

#endif
