/*
 * Ways to configuration space: ECAM where the MCFG table (or, on QEMU's microvm, a known address)
 * has it, else mechanism 1, ports 0xcf8 and 0xcfc (PCI Local Bus 3.0, 3.2.2.3.2).
 */
#define pr_fmt(fmt) "pci: " fmt

#include "drivers/pci/pci.h"
#include "drivers/pci/pci_regs.h"
#include "kernel/bug.h"
#include "kernel/mm.h"
#include "kernel/printk.h"
#include "kernel/x86/acpi.h"
#include "kernel/x86/io.h"

#define PCI_CONFIG_ADDRESS 0xcf8 /* 32, RW */
#define PCI_CONFIG_DATA 0xcfc    /* 32, RW; its bytes at +0..+3 */
#define PCI_CONFIG_ENABLE 0x80000000u

/* PCI Express Base 5.0, 7.2.2: 4 KiB for a function, 1 MiB for a bus. */
#define ECAM_BUS_SIZE (1u << 20)

/*
 * QEMU's microvm,pcie=on tells its ECAM by AML alone (_CBA in the DSDT) and has no ports:
 * hw/i386/microvm.c has had this address since QEMU 6.0, with a generic PCIe host bridge at
 * 00:00.0.
 */
#define MICROVM_ECAM 0xe0000000ull
#define MICROVM_HOST_BRIDGE 0x00081b36u /* device, vendor */

/* Where the data of mechanism 1 for this register is, after telling the address. */
static u16 conf1_port(const struct pci_bus *bus, u8 devfn, unsigned int offset)
{
	outl(PCI_CONFIG_ENABLE | (u32)bus->number << 16 | (u32)devfn << 8 | (offset & 0xfc),
	     PCI_CONFIG_ADDRESS);
	return (u16)(PCI_CONFIG_DATA + (offset & 3));
}

static u8 *ecam_reg(const struct pci_bus *bus, u8 devfn, unsigned int offset)
{
	return (u8 *)bus->ecam + ((size_t)devfn << 12) + offset;
}

u32 pci_bus_read_config_dword(const struct pci_bus *bus, u8 devfn, unsigned int offset)
{
	BUG_ON(offset > 252 || offset & 3);
	if (bus->ecam)
		return readl(ecam_reg(bus, devfn, offset));
	return inl(conf1_port(bus, devfn, offset));
}

u32 pci_read_config_dword(const struct pci_dev *pdev, unsigned int offset)
{
	return pci_bus_read_config_dword(pdev->bus, pdev->devfn, offset);
}

u16 pci_read_config_word(const struct pci_dev *pdev, unsigned int offset)
{
	BUG_ON(offset > 254 || offset & 1);
	if (pdev->bus->ecam)
		return readw(ecam_reg(pdev->bus, pdev->devfn, offset));
	return inw(conf1_port(pdev->bus, pdev->devfn, offset));
}

u8 pci_read_config_byte(const struct pci_dev *pdev, unsigned int offset)
{
	BUG_ON(offset > 255);
	if (pdev->bus->ecam)
		return readb(ecam_reg(pdev->bus, pdev->devfn, offset));
	return inb(conf1_port(pdev->bus, pdev->devfn, offset));
}

void pci_write_config_dword(const struct pci_dev *pdev, unsigned int offset, u32 val)
{
	BUG_ON(offset > 252 || offset & 3);
	if (pdev->bus->ecam)
		writel(val, ecam_reg(pdev->bus, pdev->devfn, offset));
	else
		outl(val, conf1_port(pdev->bus, pdev->devfn, offset));
}

void pci_write_config_word(const struct pci_dev *pdev, unsigned int offset, u16 val)
{
	BUG_ON(offset > 254 || offset & 1);
	if (pdev->bus->ecam)
		writew(val, ecam_reg(pdev->bus, pdev->devfn, offset));
	else
		outw(val, conf1_port(pdev->bus, pdev->devfn, offset));
}

void pci_write_config_byte(const struct pci_dev *pdev, unsigned int offset, u8 val)
{
	BUG_ON(offset > 255);
	if (pdev->bus->ecam)
		writeb(val, ecam_reg(pdev->bus, pdev->devfn, offset));
	else
		outb(val, conf1_port(pdev->bus, pdev->devfn, offset));
}

static void *map_ecam(u64 ecam, u8 bus)
{
	return ioremap(ecam + (u64)bus * ECAM_BUS_SIZE, ECAM_BUS_SIZE);
}

bool pci_map_bus(struct pci_bus *bus)
{
	if (!bus->host->ecam)
		return true;
	bus->ecam = map_ecam(bus->host->ecam, bus->number);
	if (!bus->ecam)
		pr_err("bus %04x:%02x: cannot map its configuration space\n", bus->host->domain,
		       bus->number);
	return bus->ecam != NULL;
}

/* Where there is no such port, it reads as all ones. */
static bool conf1_works(void)
{
	u32 old = inl(PCI_CONFIG_ADDRESS), val;

	outl(PCI_CONFIG_ENABLE, PCI_CONFIG_ADDRESS);
	val = inl(PCI_CONFIG_ADDRESS);
	outl(old, PCI_CONFIG_ADDRESS);
	return val == PCI_CONFIG_ENABLE;
}

/* An ECAM that is not where the table says reads as all ones: a root bus has a function 00.0. */
static bool ecam_works(const struct acpi_mcfg_entry *e)
{
	void *bus;

	if (!e->base || e->base & (ECAM_BUS_SIZE - 1) || e->start_bus > e->end_bus)
		return false;
	bus = map_ecam(e->base, e->start_bus);
	return bus && readl(bus) != 0xffffffff;
}

static int find_microvm(struct pci_host *host)
{
	void *bus = map_ecam(MICROVM_ECAM, 0);

	if (!bus || readl(bus) != MICROVM_HOST_BRIDGE)
		return 0;
	*host = (struct pci_host){ .ecam = MICROVM_ECAM, .end_bus = 255, .microvm = true };
	return 1;
}

int pci_find_hosts(struct pci_host *hosts, int max)
{
	struct acpi_mcfg_entry mcfg[ACPI_MAX_MCFG];
	int n = min(acpi_mcfg(mcfg, ACPI_MAX_MCFG), ACPI_MAX_MCFG), found = 0;

	for (int i = 0; i < n && found < max; i++) {
		if (!ecam_works(&mcfg[i])) {
			pr_warn("MCFG: no configuration space at %#llx for segment %u: ignored\n",
				(unsigned long long)mcfg[i].base, mcfg[i].segment);
			continue;
		}
		hosts[found++] = (struct pci_host){
			.ecam = mcfg[i].base,
			.domain = mcfg[i].segment,
			.start_bus = mcfg[i].start_bus,
			.end_bus = mcfg[i].end_bus,
		};
	}
	if (found)
		return found;
	if (conf1_works()) {
		hosts[0] = (struct pci_host){ .end_bus = 255 };
		return 1;
	}
	return n > 0 ? 0 : find_microvm(&hosts[0]);
}
