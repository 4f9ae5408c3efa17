/* PCI hardware that exists only in the tests: see fake_pci.h. */
#include "tests/fake/fake_pci.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/pci/pci.h"
#include "drivers/pci/pci_regs.h"
#include "kernel/lib/errno.h"
#include "kernel/mm.h"
#include "kernel/slab.h"
#include "kernel/x86/acpi.h"
#include "kernel/x86/cpu.h"
#include "kernel/x86/io.h"

#define MAX_FNS 320
#define ALL_ONES(width) ((u32)((1ull << 8 * (width)) - 1))

static struct fake_fn *fns[MAX_FNS];
static unsigned int nr_fns;
static u32 conf1_address;
struct fake_machine fake_machine;

static void violation_abort(const char *text)
{
	fprintf(stderr, "driver broke a rule: %s\n", text);
	abort();
}

void (*fake_violation_hook)(const char *text) = violation_abort;

void fake_violation(const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fake_violation_hook(text);
}

/* ---- building a machine ---- */

static void free_driver_side(void)
{
	struct pci_dev *pdev, *n;
	struct pci_bus *bus, *m;

	list_for_each_entry_safe(pdev, n, &pci_devices, node) {
		list_del(&pdev->node);
		kfree(pdev);
	}
	list_for_each_entry_safe(bus, m, &pci_buses, node) {
		list_del(&bus->node);
		kfree(bus);
	}
}

void fake_pci_reset(void)
{
	free_driver_side();
	while (nr_fns)
		free(fns[--nr_fns]);
	conf1_address = 0;
	fake_violation_hook = violation_abort;
	fake_machine = (struct fake_machine){
		.conf1 = true,
		.ram_end = 64 << 20,
		.phys_bits = 40,
		.isa_override = 1u << 5 | 1u << 9 | 1u << 10 | 1u << 11,
	};
}

u16 fake_cfg16(const struct fake_fn *fn, unsigned int off)
{
	return (u16)(fn->cfg[off] | fn->cfg[off + 1] << 8);
}

u32 fake_cfg32(const struct fake_fn *fn, unsigned int off)
{
	return fake_cfg16(fn, off) | (u32)fake_cfg16(fn, off + 2) << 16;
}

void fake_cfg_set16(struct fake_fn *fn, unsigned int off, u16 v)
{
	fn->cfg[off] = (u8)v;
	fn->cfg[off + 1] = (u8)(v >> 8);
}

void fake_cfg_set32(struct fake_fn *fn, unsigned int off, u32 v)
{
	fake_cfg_set16(fn, off, (u16)v);
	fake_cfg_set16(fn, off + 2, (u16)(v >> 16));
}

static void set_wmask32(struct fake_fn *fn, unsigned int off, u32 mask)
{
	for (unsigned int i = 0; i < 4; i++)
		fn->wmask[off + i] = (u8)(mask >> 8 * i);
}

struct fake_fn *fake_pci_add(struct fake_fn *bridge, unsigned int slot, unsigned int func,
			     u16 vendor, u16 device, u32 class)
{
	struct fake_fn *fn = calloc(1, sizeof(*fn));

	if (!fn || nr_fns == MAX_FNS)
		abort();
	fns[nr_fns++] = fn;
	fn->bridge = bridge;
	fn->devfn = PCI_DEVFN(slot, func);
	fake_cfg_set16(fn, PCI_VENDOR_ID, vendor);
	fake_cfg_set16(fn, PCI_DEVICE_ID, device);
	fake_cfg_set32(fn, PCI_REVISION_ID, class << 8);
	fn->wmask[PCI_COMMAND] = PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	fn->wmask[PCI_COMMAND + 1] = PCI_COMMAND_INTX_DISABLE >> 8;
	fn->wmask[PCI_INTERRUPT_LINE] = 0xff;
	return fn;
}

struct fake_fn *fake_pci_add_bridge(struct fake_fn *bridge, unsigned int slot, u8 pri, u8 sec,
				    u8 sub)
{
	struct fake_fn *fn = fake_pci_add(bridge, slot, 0, 0x1b36, 0x000c, 0x060400);

	fn->is_bridge = true;
	fn->cfg[PCI_HEADER_TYPE] = PCI_HEADER_TYPE_BRIDGE;
	fn->cfg[PCI_PRIMARY_BUS] = pri;
	fn->cfg[PCI_PRIMARY_BUS + 1] = sec;
	fn->cfg[PCI_PRIMARY_BUS + 2] = sub;
	set_wmask32(fn, PCI_PRIMARY_BUS, 0x00ffffff);
	set_wmask32(fn, PCI_IO_BASE, 0x0000f0f0);
	set_wmask32(fn, PCI_MEMORY_BASE, 0xfff0fff0);
	set_wmask32(fn, PCI_PREF_MEMORY_BASE, 0xfff0fff0);
	fake_cfg_set32(fn, PCI_PREF_MEMORY_BASE,
		       PCI_PREF_RANGE_TYPE_64 << 16 | PCI_PREF_RANGE_TYPE_64);
	set_wmask32(fn, PCI_PREF_BASE_UPPER32, 0xffffffff);
	set_wmask32(fn, PCI_PREF_LIMIT_UPPER32, 0xffffffff);
	return fn;
}

void fake_pci_set_window(struct fake_fn *br, unsigned int reg, u64 start, u64 end)
{
	u64 last = end - 1;
	u32 type = reg == PCI_PREF_MEMORY_BASE ? PCI_PREF_RANGE_TYPE_64 : 0;

	if (reg == PCI_IO_BASE) {
		fake_cfg_set16(br, reg, (u16)((start >> 8 & 0xf0) | (last & 0xf000)));
		return;
	}
	fake_cfg_set32(br, reg,
		       (u32)((start >> 16 & 0xfff0) | (last & 0xfff00000)) | type | type << 16);
	if (reg == PCI_PREF_MEMORY_BASE) {
		fake_cfg_set32(br, PCI_PREF_BASE_UPPER32, (u32)(start >> 32));
		fake_cfg_set32(br, PCI_PREF_LIMIT_UPPER32, (u32)(last >> 32));
	}
}

void fake_pci_set_bar(struct fake_fn *fn, unsigned int bar, u64 size, u32 flags, u64 addr)
{
	unsigned int reg = PCI_BASE_ADDRESS_0 + 4 * bar;
	u64 mask = ~(size - 1) & ~(u64)(flags & 1 ? 3 : 15);

	fake_cfg_set32(fn, reg, (u32)addr | flags);
	set_wmask32(fn, reg, flags & 1 ? (u32)mask & 0xffff : (u32)mask);
	if (flags & PCI_BASE_ADDRESS_MEM_TYPE_64 && !(flags & 1)) {
		fake_cfg_set32(fn, reg + 4, (u32)(addr >> 32));
		set_wmask32(fn, reg + 4, (u32)(mask >> 32));
	}
}

void fake_pci_add_cap(struct fake_fn *fn, u8 pos, u8 id, const void *body, size_t len)
{
	fn->cfg[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
	fn->cfg[pos] = id;
	fn->cfg[pos + 1] = fn->cfg[PCI_CAPABILITY_LIST];
	if (len)
		memcpy(fn->cfg + pos + 2, body, len);
	fn->cfg[PCI_CAPABILITY_LIST] = pos;
}

void fake_pci_add_msix(struct fake_fn *fn, u8 pos, unsigned int vectors, u32 table, u32 pba)
{
	fake_pci_add_cap(fn, pos, PCI_CAP_ID_MSIX, NULL, 0);
	fake_cfg_set16(fn, pos + PCI_MSIX_FLAGS, (u16)(vectors - 1));
	fake_cfg_set32(fn, pos + PCI_MSIX_TABLE, table);
	fake_cfg_set32(fn, pos + PCI_MSIX_PBA, pba);
	fn->wmask[pos + PCI_MSIX_FLAGS + 1] = (PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL) >> 8;
}

/* ---- configuration cycles ---- */

/* PCI-to-PCI Bridge 1.2, 3.1.2.1: a bridge passes on what lies in its numbers; its own bus is a
 * type 0 cycle. */
static struct fake_fn *find_fn(u8 bus, u8 devfn)
{
	struct fake_fn *at = NULL;
	u8 number = 0;

	for (int hops = 0; number != bus; hops++) {
		struct fake_fn *next = NULL;

		for (unsigned int i = 0; i < nr_fns; i++) {
			struct fake_fn *f = fns[i];

			if (f->is_bridge && f->bridge == at && f->cfg[PCI_PRIMARY_BUS + 1] != 0 &&
			    f->cfg[PCI_PRIMARY_BUS + 1] <= bus &&
			    bus <= f->cfg[PCI_PRIMARY_BUS + 2]) {
				if (next)
					fake_violation("two bridges claim bus %02x", bus);
				next = f;
			}
		}
		if (!next || hops > 256)
			return NULL;
		at = next;
		number = at->cfg[PCI_PRIMARY_BUS + 1];
	}
	for (unsigned int i = 0; i < nr_fns; i++) {
		if (fns[i]->bridge == at && fns[i]->devfn == devfn)
			return fns[i];
	}
	return NULL;
}

static u32 cfg_read(u8 bus, u8 devfn, unsigned int off, unsigned int width)
{
	struct fake_fn *fn = find_fn(bus, devfn);
	u32 v = 0;

	fake_machine.cfg_reads++;
	if (!fn || fn->gone)
		return ALL_ONES(width);
	memcpy(&v, fn->cfg + off, width);
	return v;
}

static void check_bar_write(const struct fake_fn *fn, unsigned int off, u32 v)
{
	unsigned int end = fn->is_bridge ? 0x18 : 0x28;
	u16 cmd = fake_cfg16(fn, PCI_COMMAND);

	if (off < PCI_BASE_ADDRESS_0 || off >= end || v != 0xffffffff)
		return;
	if (cmd & (PCI_COMMAND_IO | PCI_COMMAND_MEMORY))
		fake_violation("BAR at %#x sized while the function decodes (PCI 3.0, 6.2.5.1)",
			       off);
}

static void cfg_write(u8 bus, u8 devfn, unsigned int off, unsigned int width, u32 v)
{
	struct fake_fn *fn = find_fn(bus, devfn);

	if (!fn || fn->gone)
		return;
	check_bar_write(fn, off, v);
	for (unsigned int i = 0; i < width; i++) {
		u8 m = fn->wmask[off + i];

		fn->cfg[off + i] = (u8)((fn->cfg[off + i] & ~m) | ((v >> 8 * i) & m));
	}
	if (fn->cfg_written)
		fn->cfg_written(fn, off, width);
}

/* ---- BARs ---- */

u64 fake_pci_bar(const struct fake_fn *fn, unsigned int bar)
{
	u32 low = fake_cfg32(fn, PCI_BASE_ADDRESS_0 + 4 * bar);

	if (low & 1)
		return low & PCI_BASE_ADDRESS_IO_MASK;
	if ((low & PCI_BASE_ADDRESS_MEM_TYPE_MASK) == PCI_BASE_ADDRESS_MEM_TYPE_64)
		return (u64)fake_cfg32(fn, PCI_BASE_ADDRESS_0 + 4 * bar + 4) << 32 |
		       (low & PCI_BASE_ADDRESS_MEM_MASK);
	return low & PCI_BASE_ADDRESS_MEM_MASK;
}

static bool in_window(const struct fake_fn *br, unsigned int reg, u64 addr)
{
	u64 start, last;

	if (reg == PCI_IO_BASE) {
		start = (u64)(br->cfg[reg] & 0xf0) << 8;
		last = (u64)(br->cfg[reg + 1] & 0xf0) << 8 | 0xfff;
	} else {
		u32 v = fake_cfg32(br, reg);

		start = (u64)(v & 0xfff0) << 16;
		last = (v & 0xfff00000) | 0xfffff;
		if (reg == PCI_PREF_MEMORY_BASE) {
			start |= (u64)fake_cfg32(br, PCI_PREF_BASE_UPPER32) << 32;
			last |= (u64)fake_cfg32(br, PCI_PREF_LIMIT_UPPER32) << 32;
		}
	}
	return addr >= start && addr <= last;
}

static bool forwarded(const struct fake_fn *fn, bool io, u64 addr)
{
	for (const struct fake_fn *br = fn->bridge; br; br = br->bridge) {
		u16 need = io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;

		if (!(fake_cfg16(br, PCI_COMMAND) & need))
			return false;
		if (io ? !in_window(br, PCI_IO_BASE, addr) :
			 !in_window(br, PCI_MEMORY_BASE, addr) &&
				    !in_window(br, PCI_PREF_MEMORY_BASE, addr))
			return false;
	}
	return true;
}

/* Where configuration space might be: the only addresses that the scan may try. */
static bool may_probe(bool io, u64 addr)
{
	if (io)
		return addr >= 0xcf8 && addr < 0xd00;
	return (addr >= 0xe0000000 && addr < 0xf0000000) ||
	       (fake_machine.mcfg_base && addr >= fake_machine.mcfg_base &&
		addr < fake_machine.mcfg_base + (256ull << 20));
}

/* Who decodes addr, in which BAR, at which offset. */
static struct fake_fn *decode(bool io, u64 addr, unsigned int *bar, u64 *off)
{
	struct fake_fn *found = NULL;

	for (unsigned int i = 0; i < nr_fns; i++) {
		struct fake_fn *fn = fns[i];
		unsigned int num = fn->is_bridge ? 2 : 6;

		if (!(fake_cfg16(fn, PCI_COMMAND) & (io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY)) ||
		    !forwarded(fn, io, addr))
			continue;
		for (unsigned int b = 0; b < num; b++) {
			unsigned int reg = PCI_BASE_ADDRESS_0 + 4 * b;
			u64 start = fake_pci_bar(fn, b), mask;
			bool wide = (fn->cfg[reg] & 7) == PCI_BASE_ADDRESS_MEM_TYPE_64;

			memcpy(&mask, fn->wmask + reg, 8);
			mask = wide ? mask : (u32)mask;
			if (mask && !(fn->cfg[reg] & 1) == !io && addr >= start &&
			    addr < start + (mask & -mask)) {
				if (found)
					fake_violation("two BARs at %#llx",
						       (unsigned long long)addr);
				found = fn;
				*bar = b;
				*off = addr - start;
			}
			b += wide;
		}
	}
	if (!found && !may_probe(io, addr))
		fake_violation("%s %#llx: nobody there", io ? "port" : "address",
			       (unsigned long long)addr);
	return found && !found->gone ? found : NULL;
}

static bool in_ecam(u64 addr)
{
	return fake_machine.ecam && addr >= fake_machine.ecam &&
	       addr < fake_machine.ecam + (256ull << 20);
}

u32 fake_mmio_read(u64 addr, unsigned int width)
{
	u64 rel = addr - fake_machine.ecam, off = 0;
	unsigned int bar = 0;
	struct fake_fn *fn;

	if (in_ecam(addr))
		return cfg_read((u8)(rel >> 20), (u8)(rel >> 12), rel & 0xfff, width);
	fn = decode(false, addr, &bar, &off);
	if (!fn)
		return ALL_ONES(width);
	return fn->read ? fn->read(fn, bar, off, width) : 0;
}

void fake_mmio_write(u64 addr, unsigned int width, u32 v)
{
	u64 rel = addr - fake_machine.ecam, off = 0;
	unsigned int bar = 0;
	struct fake_fn *fn;

	if (in_ecam(addr)) {
		cfg_write((u8)(rel >> 20), (u8)(rel >> 12), rel & 0xfff, width, v);
		return;
	}
	fn = decode(false, addr, &bar, &off);
	if (fn && fn->write)
		fn->write(fn, bar, off, width, v);
}

u32 fake_port_read(u16 port, unsigned int width)
{
	unsigned int bar = 0;
	u64 off = 0;
	struct fake_fn *fn;

	if (fake_machine.conf1 && port == 0xcf8 && width == 4)
		return conf1_address;
	if (fake_machine.conf1 && port >= 0xcfc && port + width <= 0xd00) {
		if (!(conf1_address & 0x80000000))
			return ALL_ONES(width);
		return cfg_read((u8)(conf1_address >> 16), (u8)(conf1_address >> 8),
				(conf1_address & 0xfc) + (port & 3), width);
	}
	fn = decode(true, port, &bar, &off);
	if (!fn)
		return ALL_ONES(width);
	return fn->read ? fn->read(fn, bar, off, width) : 0;
}

void fake_port_write(u16 port, unsigned int width, u32 v)
{
	unsigned int bar = 0;
	u64 off = 0;
	struct fake_fn *fn;

	if (fake_machine.conf1 && port == 0xcf8 && width == 4) {
		conf1_address = v & 0x80fffffc;
		return;
	}
	if (fake_machine.conf1 && port >= 0xcfc && port + width <= 0xd00) {
		if (conf1_address & 0x80000000)
			cfg_write((u8)(conf1_address >> 16), (u8)(conf1_address >> 8),
				  (conf1_address & 0xfc) + (port & 3), width, v);
		return;
	}
	fn = decode(true, port, &bar, &off);
	if (fn && fn->write)
		fn->write(fn, bar, off, width, v);
}

/* ---- what the kernel knows of the machine ---- */

int acpi_mcfg(struct acpi_mcfg_entry *out, int max)
{
	if (!fake_machine.mcfg_base || max < 1)
		return 0;
	out[0] = (struct acpi_mcfg_entry){
		.base = fake_machine.mcfg_base,
		.start_bus = fake_machine.mcfg_start,
		.end_bus = fake_machine.mcfg_end,
	};
	return 1;
}

bool region_intersects_ram(phys_addr_t start, u64 size)
{
	return start < fake_machine.ram_end && start + size > fake_machine.ram_start;
}

void *ioremap(phys_addr_t phys, size_t size)
{
	if (fake_machine.ioremap_fail_nth && --fake_machine.ioremap_fail_nth == 0)
		return NULL;
	if (!size || phys + size > 1ull << fake_machine.phys_bits ||
	    region_intersects_ram(phys, size))
		return NULL;
	return (void *)(uintptr_t)phys;
}

u32 cpu_phys_bits(void)
{
	return fake_machine.phys_bits;
}

void acpi_isa_irq_to_gsi(u8 isa_irq, u32 *gsi, enum irq_trigger *trigger, enum irq_polarity *pol)
{
	*gsi = isa_irq;
	*trigger = fake_machine.isa_override & 1u << isa_irq ? IRQ_LEVEL : IRQ_EDGE;
	*pol = IRQ_ACTIVE_HIGH;
}

int acpi_register_gsi(u32 gsi, enum irq_trigger trigger, enum irq_polarity polarity)
{
	fake_machine.gsi = gsi;
	fake_machine.trigger = trigger;
	fake_machine.polarity = polarity;
	return gsi < 24 ? (int)gsi + 1 : -ENODEV;
}
