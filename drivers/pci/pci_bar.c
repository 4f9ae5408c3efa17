/*
 * Base address registers (PCI Local Bus 3.0, 6.2.5.1): how large each one is, whether the
 * firmware's address can be kept, and mapping a part of one.
 */
#define pr_fmt(fmt) "pci " fmt

#include "drivers/pci/pci.h"
#include "drivers/pci/pci_regs.h"
#include "kernel/mm.h"
#include "kernel/printk.h"

/* Larger than any address space we could give; a device that says so lies. */
#define PCI_BAR_MAX_SIZE (1ull << 46)
#define IO_SPACE_END 0x10000ull

static unsigned int bar_reg(unsigned int nr)
{
	return PCI_BASE_ADDRESS_0 + 4 * nr;
}

/* All ones in; what reads back as zero is the size. The old value is put back. */
static u32 size_register(struct pci_dev *pdev, unsigned int nr, u32 old)
{
	u32 mask;

	pci_write_config_dword(pdev, bar_reg(nr), 0xffffffff);
	mask = pci_read_config_dword(pdev, bar_reg(nr));
	pci_write_config_dword(pdev, bar_reg(nr), old);
	return mask;
}

static void bad_bar(struct pci_dev *pdev, unsigned int nr, const char *why)
{
	pdev->bar[nr].start = 0;
	pdev->bar[nr].flags |= PCI_BAR_BAD;
	pr_warn("%s: BAR %u: %s: not used\n", pdev->name, nr, why);
}

/* The firmware's address, unless it cannot be meant: then the BAR counts as not assigned. */
static void check_address(struct pci_dev *pdev, unsigned int nr, u64 start)
{
	struct pci_bar *bar = &pdev->bar[nr];
	bool io = bar->flags & PCI_BAR_IO;
	u64 end = io ? IO_SPACE_END : 1ull << 52;
	const char *why;

	if (!start)
		return;
	if (start & (bar->size - 1) || start >= end || bar->size > end - start)
		why = "no valid address";
	else if (!io && region_intersects_ram(start, bar->size))
		why = "lies over RAM";
	else if (!pci_bus_forwards(pdev->bus, io, start, bar->size))
		why = "is not forwarded by the bridge above";
	else
		why = NULL;
	if (why)
		pr_warn("%s: BAR %u: %#llx %s: ignored\n", pdev->name, nr,
			(unsigned long long)start, why);
	else
		bar->start = start;
}

static void read_io_base(struct pci_dev *pdev, unsigned int nr, u32 old, u32 mask)
{
	struct pci_bar *bar = &pdev->bar[nr];

	bar->flags = PCI_BAR_IO;
	/* The upper half may be hardwired to zero (6.2.5.1). */
	mask &= PCI_BASE_ADDRESS_IO_MASK & 0xffff;
	if (!mask) {
		bad_bar(pdev, nr, "I/O without a size");
		return;
	}
	bar->size = mask & -mask;
	check_address(pdev, nr, old & PCI_BASE_ADDRESS_IO_MASK);
}

/* Returns how many registers it takes. */
static unsigned int read_mem_base(struct pci_dev *pdev, unsigned int nr, unsigned int num, u32 old,
				  u32 mask)
{
	struct pci_bar *bar = &pdev->bar[nr];
	u64 start = old & PCI_BASE_ADDRESS_MEM_MASK, bits = mask & PCI_BASE_ADDRESS_MEM_MASK;
	unsigned int used = 1;

	bar->flags = mask & PCI_BASE_ADDRESS_MEM_PREFETCH ? PCI_BAR_PREFETCH : 0;
	if ((mask & PCI_BASE_ADDRESS_MEM_TYPE_MASK) == PCI_BASE_ADDRESS_MEM_TYPE_64) {
		u32 upper;

		if (nr + 1 == num) {
			bad_bar(pdev, nr, "64 bits in the last register");
			return 1;
		}
		bar->flags |= PCI_BAR_MEM_64;
		upper = pci_read_config_dword(pdev, bar_reg(nr + 1));
		start |= (u64)upper << 32;
		bits |= (u64)size_register(pdev, nr + 1, upper) << 32;
		used = 2;
	}
	bar->size = bits & -bits;
	if (!bar->size || bar->size > PCI_BAR_MAX_SIZE) {
		bar->size = 0;
		bad_bar(pdev, nr, "no sane size");
		return used;
	}
	check_address(pdev, nr, start);
	return used;
}

void pci_read_bases(struct pci_dev *pdev)
{
	u16 cmd = pci_read_config_word(pdev, PCI_COMMAND);
	unsigned int num = 0, nr = 0;

	if (pdev->hdr_type == PCI_HEADER_TYPE_NORMAL)
		num = PCI_STD_NUM_BARS;
	else if (pdev->hdr_type == PCI_HEADER_TYPE_BRIDGE)
		num = 2;
	/* All ones must not be decoded as an address. */
	if (num && cmd & PCI_COMMAND_DECODE)
		pci_write_config_word(pdev, PCI_COMMAND, cmd & ~PCI_COMMAND_DECODE);
	while (nr < num) {
		u32 old = pci_read_config_dword(pdev, bar_reg(nr));
		u32 mask = size_register(pdev, nr, old);

		if (mask == 0 || mask == 0xffffffff) { /* not implemented, or nobody answers */
			nr++;
		} else if (mask & PCI_BASE_ADDRESS_SPACE_IO) {
			read_io_base(pdev, nr, old, mask);
			nr++;
		} else {
			nr += read_mem_base(pdev, nr, num, old, mask);
		}
	}
	if (num && cmd & PCI_COMMAND_DECODE)
		pci_write_config_word(pdev, PCI_COMMAND, cmd);
}

bool pci_write_bar(struct pci_dev *pdev, unsigned int nr, u64 start)
{
	struct pci_bar *bar = &pdev->bar[nr];
	u32 mask = bar->flags & PCI_BAR_IO ? PCI_BASE_ADDRESS_IO_MASK : PCI_BASE_ADDRESS_MEM_MASK;
	u16 cmd = pci_read_config_word(pdev, PCI_COMMAND);
	u64 got;

	if (cmd & PCI_COMMAND_DECODE)
		pci_write_config_word(pdev, PCI_COMMAND, cmd & ~PCI_COMMAND_DECODE);
	pci_write_config_dword(pdev, bar_reg(nr), (u32)start);
	got = pci_read_config_dword(pdev, bar_reg(nr)) & mask;
	if (bar->flags & PCI_BAR_MEM_64) {
		pci_write_config_dword(pdev, bar_reg(nr + 1), (u32)(start >> 32));
		got |= (u64)pci_read_config_dword(pdev, bar_reg(nr + 1)) << 32;
	}
	if (got != start) {
		bad_bar(pdev, nr, "does not keep its address");
		return false;
	}
	bar->start = start;
	return true;
}

void *pci_iomap_range(struct pci_dev *pdev, unsigned int bar, u64 offset, size_t len)
{
	const struct pci_bar *b;

	if (bar >= PCI_STD_NUM_BARS || !pdev->mem_enabled)
		return NULL;
	b = &pdev->bar[bar];
	if (!b->start || b->flags & (PCI_BAR_IO | PCI_BAR_BAD) || !len || offset > b->size ||
	    len > b->size - offset)
		return NULL;
	return ioremap(b->start + offset, len);
}
