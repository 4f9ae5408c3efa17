/* A driver takes a function: address decoding, bus mastering, the INTx wire. */
#define pr_fmt(fmt) "pci " fmt

#include "drivers/pci/pci.h"
#include "drivers/pci/pci_regs.h"
#include "kernel/irq.h"
#include "kernel/lib/errno.h"
#include "kernel/printk.h"
#include "kernel/x86/acpi.h"

static void change_command(const struct pci_dev *pdev, u16 clear, u16 set)
{
	u16 old = pci_read_config_word(pdev, PCI_COMMAND);
	u16 cmd = (u16)((old & ~clear) | set);

	if (cmd != old)
		pci_write_config_word(pdev, PCI_COMMAND, cmd);
}

/*
 * Every BAR of that kind has an address: one bit of the command register switches all of them on.
 */
static bool all_assigned(const struct pci_dev *pdev, bool io, bool *any)
{
	*any = false;
	for (int i = 0; i < PCI_STD_NUM_BARS; i++) {
		const struct pci_bar *b = &pdev->bar[i];

		if (!(b->flags & PCI_BAR_IO) == io || (!b->size && !(b->flags & PCI_BAR_BAD)))
			continue;
		if (b->flags & PCI_BAR_BAD || !b->start)
			return false;
		*any = true;
	}
	return true;
}

static int pci_enable_bridge(struct pci_dev *bridge)
{
	const struct pci_bus *bus = bridge->subordinate;
	u16 set = PCI_COMMAND_MASTER;
	bool any;

	if ((bus->window[PCI_SPACE_MEM].end || bus->window[PCI_SPACE_PREF].end) &&
	    all_assigned(bridge, false, &any))
		set |= PCI_COMMAND_MEMORY;
	if (bus->window[PCI_SPACE_IO].end && all_assigned(bridge, true, &any))
		set |= PCI_COMMAND_IO;
	change_command(bridge, 0, set);
	return set == PCI_COMMAND_MASTER ? -ENODEV : 0;
}

int pci_enable_device(struct pci_dev *pdev)
{
	bool any;

	for (const struct pci_bus *bus = pdev->bus; bus->self; bus = bus->parent) {
		if (pci_enable_bridge(bus->self)) {
			pr_err("%s: the bridge %s above it forwards nothing\n", pdev->name,
			       bus->self->name);
			return -ENODEV;
		}
	}
	pdev->mem_enabled = all_assigned(pdev, false, &any) && any;
	pdev->io_enabled = all_assigned(pdev, true, &any) && any;
	if (!pdev->mem_enabled && !pdev->io_enabled) {
		pr_err("%s: no usable BAR\n", pdev->name);
		return -ENODEV;
	}
	change_command(pdev, PCI_COMMAND_DECODE,
		       (pdev->mem_enabled ? PCI_COMMAND_MEMORY : 0) |
			       (pdev->io_enabled ? PCI_COMMAND_IO : 0));
	pci_msix_init(pdev);
	return 0;
}

void pci_disable_device(struct pci_dev *pdev)
{
	change_command(pdev, PCI_COMMAND_DECODE | PCI_COMMAND_MASTER, 0);
	pdev->mem_enabled = false;
	pdev->io_enabled = false;
}

void pci_set_master(struct pci_dev *pdev)
{
	change_command(pdev, 0, PCI_COMMAND_MASTER);
}

void pci_intx(struct pci_dev *pdev, bool enable)
{
	change_command(pdev, enable ? PCI_COMMAND_INTX_DISABLE : 0,
		       enable ? 0 : PCI_COMMAND_INTX_DISABLE);
}

/*
 * microvm tells its routing by AML alone (the DSDT's _PRT): four wires, rotated by device number,
 * from GSI 16 on, level and active high. A bridge rotates too (PCI-to-PCI Bridge 1.2, 9.1).
 */
static u32 microvm_gsi(const struct pci_dev *pdev)
{
	u32 pin = pdev->pin - 1u;

	for (; pdev->bus->self; pdev = pdev->bus->self)
		pin = (pin + PCI_SLOT(pdev->devfn)) % 4;
	return 16 + (pin + PCI_SLOT(pdev->devfn)) % 4;
}

int pci_assign_irq(struct pci_dev *pdev)
{
	enum irq_trigger trigger = IRQ_LEVEL;
	enum irq_polarity polarity = IRQ_ACTIVE_HIGH;
	u32 gsi;
	int irq;

	if (pdev->irq)
		return pdev->irq;
	if (!pdev->pin) {
		pr_warn("%s: has no interrupt pin\n", pdev->name);
		return -ENODEV;
	}
	if (pdev->bus->host->microvm) {
		gsi = microvm_gsi(pdev);
	} else {
		/* The firmware has followed the wire through bridges and routers already. */
		u8 line = pci_read_config_byte(pdev, PCI_INTERRUPT_LINE);

		if (line == 0 || line > 15) {
			pr_warn("%s: interrupt line %u: not routed by the firmware\n", pdev->name,
				line);
			return -ENODEV;
		}
		acpi_isa_irq_to_gsi(line, &gsi, &trigger, &polarity);
		/*
		 * No override in the MADT: then ISA's default, which no PCI wire follows (PCI 3.0,
		 * 2.2.6).
		 */
		if (trigger == IRQ_EDGE) {
			trigger = IRQ_LEVEL;
			polarity = IRQ_ACTIVE_LOW;
		}
	}
	irq = acpi_register_gsi(gsi, trigger, polarity);
	if (irq < 0) {
		pr_warn("%s: GSI %u: error %d\n", pdev->name, gsi, -irq);
		return irq;
	}
	pdev->irq = irq;
	return irq;
}
