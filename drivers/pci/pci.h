/*
 * PCI functions, as found at boot, and what a driver may do with one: enable it, map its BARs, walk
 * its capabilities, get interrupts. bus.c calls pci_scan() once; drivers call the rest from their
 * probe. Task context throughout. Buses and functions belong to this layer and live for ever;
 * mappings and vectors are given back by whoever asked for them.
 *
 * Configuration space and what the firmware wrote there are outside input: checked, never trusted.
 */
#ifndef DRIVERS_PCI_PCI_H
#define DRIVERS_PCI_PCI_H

#include "kernel/lib/list.h"
#include "kernel/lib/types.h"

#define PCI_DEVFN(dev, fn) ((u8)((dev) << 3 | (fn)))
#define PCI_SLOT(devfn) ((devfn) >> 3)
#define PCI_FUNC(devfn) ((devfn)&7)

#define PCI_STD_NUM_BARS 6
#define PCI_MAX_DEPTH 8       /* bridges above a function */
#define PCI_FIND_CAP_TTL 48   /* as many capabilities as fit between 0x40 and 0xff */
#define PCI_MAX_FUNCTIONS 256 /* more than any machine of ours; bounds what a lying one costs */

/* Kinds of address space a bridge forwards. */
enum pci_space { PCI_SPACE_IO, PCI_SPACE_MEM, PCI_SPACE_PREF, PCI_NUM_SPACES };

/* Addresses [start, end); empty: both 0. */
struct pci_window {
	u64 start, end;
	/* What the bridge shall be given, while addresses are assigned (pci_setup.c). */
	u64 want_size, want_align;
};

/*
 * One root: a way to configuration space, and windows from which we may assign what the firmware
 * did not.
 */
struct pci_host {
	u64 ecam; /* physical address of bus 0's ECAM; 0: mechanism 1 (ports 0xcf8, 0xcfc) */
	u16 domain;
	u8 start_bus, end_bus;
	bool microvm; /* QEMU's microvm,pcie=on: nothing is assigned, INTx by formula */
};

struct pci_bus {
	struct pci_host *host;
	struct pci_bus *parent; /* NULL: root */
	struct pci_dev *self;   /* the bridge that leads here; NULL: root */
	void *ecam;             /* this bus's 1 MiB, mapped; NULL: mechanism 1 */
	u8 number;
	u8 end; /* highest bus number below: the subordinate number */
	u8 depth;
	struct pci_window window[PCI_NUM_SPACES];
	struct list_head devices; /* struct pci_dev.bus_list */
	struct list_head node;    /* in pci_buses */
};

#define PCI_BAR_IO 0x1
#define PCI_BAR_MEM_64 0x2
#define PCI_BAR_PREFETCH 0x4
#define PCI_BAR_BAD 0x8 /* not sane, or no address for it: its space must not be decoded */
struct pci_bar {
	u64 start; /* 0: not assigned */
	u64 size;  /* 0: no such BAR */
	u32 flags;
};

struct pci_dev {
	struct pci_bus *bus;
	struct pci_bus *subordinate; /* of a bridge: the bus behind it */
	u8 devfn;
	u8 revision;
	u8 hdr_type; /* without the multifunction bit */
	u8 pin;      /* 1..4: INTA#..INTD#; 0: none */
	u16 vendor, device;
	u32 class; /* base class, subclass, interface */
	struct pci_bar bar[PCI_STD_NUM_BARS];
	char name[16]; /* "0000:00:03.0" */
	int irq;       /* INTx, once pci_assign_irq() has routed it; else 0 */
	bool io_enabled, mem_enabled;
	void *driver_data; /* of the driver that took it; NULL: nobody has */
	/* MSI-X (msix.c) */
	u8 msix_cap;
	u16 nr_vectors;
	int *vectors;
	void *msix_table;
	struct list_head bus_list, node; /* in bus->devices; in pci_devices */
};

/* All functions and buses in the order they were found. */
extern struct list_head pci_devices, pci_buses;

/*
 * Finds everything, assigns what the firmware left empty. One log line for each function. Once, at
 * boot.
 */
void pci_scan(void);

/*
 * Configuration space. offset is aligned to the width and below 256. Nothing there reads as all
 * ones.
 */
u8 pci_read_config_byte(const struct pci_dev *pdev, unsigned int offset);
u16 pci_read_config_word(const struct pci_dev *pdev, unsigned int offset);
u32 pci_read_config_dword(const struct pci_dev *pdev, unsigned int offset);
void pci_write_config_byte(const struct pci_dev *pdev, unsigned int offset, u8 val);
void pci_write_config_word(const struct pci_dev *pdev, unsigned int offset, u16 val);
void pci_write_config_dword(const struct pci_dev *pdev, unsigned int offset, u32 val);

/*
 * Lets the function, and the bridges above it, decode their addresses. Memory needs all memory BARs
 * assigned and clear of RAM, I/O all I/O BARs; the one that has not is left off. -ENODEV: neither.
 * Logged.
 */
int __must_check pci_enable_device(struct pci_dev *pdev);
/* Decoding and bus mastering off. */
void pci_disable_device(struct pci_dev *pdev);
/* Lets it reach memory. */
void pci_set_master(struct pci_dev *pdev);
/* Lets it use its INTx wire, or not. */
void pci_intx(struct pci_dev *pdev, bool enable);

/*
 * Maps len bytes at offset of a memory BAR. NULL: no such BAR, not decoded, not inside, not
 * mappable. Nothing to undo.
 */
void *pci_iomap_range(struct pci_dev *pdev, unsigned int bar, u64 offset, size_t len) __must_check;

/*
 * Offset of the first capability of that id, of the next one after pos; 0: none. A list may be a
 * circle: who walks it takes at most PCI_FIND_CAP_TTL steps.
 */
u8 pci_find_capability(const struct pci_dev *pdev, u8 id);
u8 pci_find_next_capability(const struct pci_dev *pdev, u8 pos, u8 id);

/*
 * MSI-X vectors, between min and max of them, programmed and unmasked. Returns how many, -ENODEV
 * (no usable MSI-X, or `pci=nomsi`), -ENOSPC (fewer than min) or -ENOMEM. INTx is switched off.
 */
int __must_check pci_alloc_irq_vectors(struct pci_dev *pdev, unsigned int min, unsigned int max);
void pci_free_irq_vectors(struct pci_dev *pdev);
/* The number for request_irq(); nr must be below what pci_alloc_irq_vectors() returned. */
int pci_irq_vector(const struct pci_dev *pdev, unsigned int nr);

/*
 * Routes INTx: its number for request_irq() (> 0), also in pdev->irq; -ENODEV or the I/O APIC's
 * error. Logged.
 */
int __must_check pci_assign_irq(struct pci_dev *pdev);

/*
 * Between the files of this folder.
 */
/* The roots there are: at most max, 0 if there is no PCI. */
int pci_find_hosts(struct pci_host *hosts, int max);
/* Makes the bus's configuration space reachable. False: logged. */
bool pci_map_bus(struct pci_bus *bus);
/* For a function that may not be there. */
u32 pci_bus_read_config_dword(const struct pci_bus *bus, u8 devfn, unsigned int offset);
/* Sizes the BARs and notes which of the firmware's addresses hold. */
void pci_read_bases(struct pci_dev *pdev);
/* Finds the MSI-X capability, and switches off what the firmware may have left on. */
void pci_msix_init(struct pci_dev *pdev);
/* Writes an address, and reads it back. */
bool pci_write_bar(struct pci_dev *pdev, unsigned int nr, u64 start);
/* Which addresses the bridge to this bus forwards now. */
void pci_read_bridge_windows(struct pci_bus *bus);
/* Gives addresses to what has none, below this root bus. */
void pci_assign_unassigned(struct pci_bus *root);
/*
 * All of [start, start + size) reaches this bus, as far as the bridge just above it is concerned.
 */
bool pci_bus_forwards(const struct pci_bus *bus, bool io, u64 start, u64 size);

#endif
