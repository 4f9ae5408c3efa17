/*
 * The scan: every bus reachable from a root, depth first. Bridges that the firmware numbered keep
 * their numbers; the others get the next free ones below their parent's. A bus number is visited
 * once, so a bridge that claims to lead to itself or to a sibling's buses ends nothing but its own
 * branch.
 */
#define pr_fmt(fmt) "pci " fmt

#include "drivers/pci/pci.h"

#include "drivers/pci/pci_regs.h"
#include "kernel/lib/string.h"
#include "kernel/printk.h"
#include "kernel/slab.h"

#define PCI_MAX_HOSTS 4

struct list_head pci_devices = LIST_HEAD_INIT(pci_devices);
struct list_head pci_buses = LIST_HEAD_INIT(pci_buses);
static struct pci_host hosts[PCI_MAX_HOSTS];
static unsigned int nr_functions;

static void pci_scan_child_bus(struct pci_bus *bus);

static struct pci_bus *pci_add_bus(struct pci_host *host, struct pci_dev *self, u8 number, u8 end)
{
	struct pci_bus *bus = kzalloc(sizeof(*bus));

	if (!bus) {
		pr_err("%04x:%02x: no memory for the bus\n", host->domain, number);
		return NULL;
	}
	bus->host = host;
	bus->number = number;
	bus->end = end;
	if (self) {
		bus->parent = self->bus;
		bus->self = self;
		bus->depth = (u8)(self->bus->depth + 1);
	}
	INIT_LIST_HEAD(&bus->devices);
	if (!pci_map_bus(bus)) {
		kfree(bus);
		return NULL;
	}
	list_add_tail(&bus->node, &pci_buses);
	return bus;
}

static void pci_setup_device(struct pci_dev *pdev, u32 id)
{
	u32 rev = pci_read_config_dword(pdev, PCI_REVISION_ID);

	pdev->vendor = (u16)id;
	pdev->device = (u16)(id >> 16);
	pdev->revision = (u8)rev;
	pdev->class = rev >> 8;
	pdev->hdr_type &= PCI_HEADER_TYPE_MASK;
	snprintf(pdev->name, sizeof(pdev->name), "%04x:%02x:%02x.%u", pdev->bus->host->domain,
		 pdev->bus->number, PCI_SLOT(pdev->devfn), PCI_FUNC(pdev->devfn));
	pr_info("%s: [%04x:%04x] type %02x class 0x%06x\n", pdev->name, pdev->vendor, pdev->device,
		pdev->hdr_type, pdev->class);
	pdev->pin = pci_read_config_byte(pdev, PCI_INTERRUPT_PIN);
	if (pdev->pin > 4)
		pdev->pin = 0;
	/*
	 * A host bridge's BARs may be the way to RAM: sizing would cut it off, and no driver wants
	 * it.
	 */
	if (pdev->class >> 8 != PCI_CLASS_BRIDGE_HOST)
		pci_read_bases(pdev);
}

/* NULL: no such function, or no room for it. */
static struct pci_dev *pci_scan_function(struct pci_bus *bus, u8 devfn, bool *multi)
{
	u32 id = pci_bus_read_config_dword(bus, devfn, PCI_VENDOR_ID);
	struct pci_dev *pdev;
	u8 type;

	if ((id & 0xffff) == 0xffff || (id & 0xffff) == 0)
		return NULL;
	if (nr_functions == PCI_MAX_FUNCTIONS) {
		pr_warn_once("more than %u functions: the rest is left out\n", PCI_MAX_FUNCTIONS);
		return NULL;
	}
	pdev = kzalloc(sizeof(*pdev));
	if (!pdev) {
		pr_err("%04x:%02x:%02x.%u: no memory\n", bus->host->domain, bus->number,
		       PCI_SLOT(devfn), PCI_FUNC(devfn));
		return NULL;
	}
	nr_functions++;
	pdev->bus = bus;
	pdev->devfn = devfn;
	list_add_tail(&pdev->bus_list, &bus->devices);
	list_add_tail(&pdev->node, &pci_devices);
	type = pci_read_config_byte(pdev, PCI_HEADER_TYPE);
	pdev->hdr_type = type;
	*multi = type & PCI_HEADER_TYPE_MFD;
	pci_setup_device(pdev, id);
	return pdev;
}

/* PCI Local Bus 3.0, 3.2.2.3.4: a device has function 0; the others exist only if it says so. */
static void pci_scan_slot(struct pci_bus *bus, unsigned int slot)
{
	bool multi = false, ignored;

	if (!pci_scan_function(bus, PCI_DEVFN(slot, 0), &multi) || !multi)
		return;
	for (unsigned int fn = 1; fn < 8; fn++)
		(void)pci_scan_function(bus, PCI_DEVFN(slot, fn), &ignored);
}

/* A PCIe link has one device at its end: 31 reads saved for each root port. */
static bool only_one_child(const struct pci_bus *bus)
{
	u8 pos = bus->self ? pci_find_capability(bus->self, PCI_CAP_ID_EXP) : 0;
	u16 type;

	if (!pos)
		return false;
	type = (pci_read_config_word(bus->self, pos + PCI_EXP_FLAGS) & PCI_EXP_FLAGS_TYPE) >> 4;
	return type == PCI_EXP_TYPE_ROOT_PORT || type == PCI_EXP_TYPE_DOWNSTREAM;
}

static bool is_above(const struct pci_bus *bus, const struct pci_bus *of)
{
	for (; of; of = of->parent) {
		if (of == bus)
			return true;
	}
	return false;
}

/* No bus beside us, that is neither the bridge's own nor one above, uses a number in [sec, sub]. */
static bool numbers_free(const struct pci_bus *parent, u8 sec, u8 sub)
{
	const struct pci_bus *b;

	list_for_each_entry(b, &pci_buses, node) {
		if (b->host == parent->host && !is_above(b, parent) && b->number <= sub &&
		    b->end >= sec)
			return false;
	}
	return true;
}

/* The highest bus number that is taken at or below bus. */
static u8 last_number(const struct pci_bus *bus)
{
	const struct pci_bus *b;
	u8 last = bus->number;

	list_for_each_entry(b, &pci_buses, node) {
		if (b != bus && is_above(bus, b))
			last = max(last, b->end);
	}
	return last;
}

static void write_bus_numbers(const struct pci_dev *bridge, u8 sec, u8 sub)
{
	u32 latency = pci_read_config_dword(bridge, PCI_PRIMARY_BUS) & 0xff000000;

	pci_write_config_dword(bridge, PCI_PRIMARY_BUS,
			       latency | (u32)sub << 16 | (u32)sec << 8 | bridge->bus->number);
}

/* Follows a bridge that the firmware numbered. False: it did not, or not so that it can be kept. */
static bool pci_scan_bridge(struct pci_dev *bridge)
{
	struct pci_bus *bus = bridge->bus;
	u32 buses = pci_read_config_dword(bridge, PCI_PRIMARY_BUS);
	u8 pri = (u8)buses, sec = (u8)(buses >> 8), sub = (u8)(buses >> 16);

	if (sec == 0 && sub == 0)
		return false;
	if (pri != bus->number || sec <= bus->number || sub < sec || sub > bus->end ||
	    !numbers_free(bus, sec, sub)) {
		pr_warn("%s: bridge with bus numbers %02x-%02x (on bus %02x): given new ones\n",
			bridge->name, sec, sub, pri);
		return false;
	}
	bridge->subordinate = pci_add_bus(bus->host, bridge, sec, sub);
	if (bridge->subordinate)
		pci_scan_child_bus(bridge->subordinate);
	return true;
}

/* Gives the bridge all numbers that are left, scans, and takes back those that were not needed. */
static void pci_number_bridge(struct pci_dev *bridge)
{
	struct pci_bus *bus = bridge->bus;
	u8 sec = (u8)(last_number(bus) + 1);

	if (sec == 0 || sec > bus->end) {
		write_bus_numbers(bridge, 0, 0);
		pr_warn("%s: no bus number left for what is behind\n", bridge->name);
		return;
	}
	write_bus_numbers(bridge, sec, bus->end);
	bridge->subordinate = pci_add_bus(bus->host, bridge, sec, bus->end);
	if (!bridge->subordinate)
		return;
	pci_scan_child_bus(bridge->subordinate);
	bridge->subordinate->end = last_number(bridge->subordinate);
	write_bus_numbers(bridge, sec, bridge->subordinate->end);
}

/* Two rounds, so that new numbers are chosen when all the firmware's are known. */
static void pci_scan_bridges(struct pci_bus *bus)
{
	struct pci_dev *pdev;

	if (bus->depth == PCI_MAX_DEPTH) {
		pr_warn("%04x:%02x: more than %u bridges in a row: not followed\n",
			bus->host->domain, bus->number, PCI_MAX_DEPTH);
		return;
	}
	for (int round = 0; round < 2; round++) {
		list_for_each_entry(pdev, &bus->devices, bus_list) {
			if (pdev->hdr_type != PCI_HEADER_TYPE_BRIDGE ||
			    pdev->class >> 8 != PCI_CLASS_BRIDGE_PCI || pdev->subordinate)
				continue;
			if (round == 0)
				(void)pci_scan_bridge(pdev);
			else
				pci_number_bridge(pdev);
		}
	}
}

static void pci_scan_child_bus(struct pci_bus *bus)
{
	unsigned int slots = only_one_child(bus) ? 1 : 32;

	if (bus->self)
		pci_read_bridge_windows(bus);
	for (unsigned int slot = 0; slot < slots; slot++)
		pci_scan_slot(bus, slot);
	pci_scan_bridges(bus);
}

void pci_scan(void)
{
	int n = pci_find_hosts(hosts, PCI_MAX_HOSTS);

	nr_functions = 0;
	for (int i = 0; i < n; i++) {
		struct pci_bus *root =
			pci_add_bus(&hosts[i], NULL, hosts[i].start_bus, hosts[i].end_bus);

		if (!root)
			continue;
		pci_scan_child_bus(root);
		pci_assign_unassigned(root);
	}
	if (n == 0)
		pr_info("no PCI bus found\n");
}
