/*
 * Addresses for what the firmware left without: BARs, and the windows of the bridges above them. On
 * pc, q35 and under OVMF that is nothing; on QEMU's microvm it is everything.
 *
 * First bottom-up, how much each bridge without a window needs; then top-down, a place for each BAR
 * and window of a bus, largest alignment first. Sizes are multiples of their alignment, so this
 * packs without holes, and what fits by its sum fits.
 */
#define pr_fmt(fmt) "pci " fmt

#include "drivers/pci/pci.h"
#include "drivers/pci/pci_regs.h"
#include "kernel/mm.h"
#include "kernel/printk.h"
#include "kernel/x86/cpu.h"

/*
 * QEMU, hw/i386/microvm.c: the host bridge's windows, which only the DSDT tells. There is none for
 * I/O.
 */
#define MICROVM_MEM_START 0xc0000000ull
#define MICROVM_MEM_END 0xe0000000ull

/* What a bridge's window registers can express (PCI-to-PCI Bridge 1.2, 3.2.5). */
#define BRIDGE_MEM_STEP (1ull << 20)
#define BRIDGE_IO_STEP (1ull << 12)

/* A BAR, or (bar < 0) the window of the bus behind a bridge, that wants a place. */
struct need {
	struct pci_dev *pdev;
	int bar;
	enum pci_space space;
	u64 size, align;
};

static bool contains(const struct pci_window *w, u64 start, u64 size)
{
	return start >= w->start && start < w->end && size <= w->end - start;
}

bool pci_bus_forwards(const struct pci_bus *bus, bool io, u64 start, u64 size)
{
	if (!bus->self)
		return true;
	if (io)
		return contains(&bus->window[PCI_SPACE_IO], start, size);
	return contains(&bus->window[PCI_SPACE_MEM], start, size) ||
	       contains(&bus->window[PCI_SPACE_PREF], start, size);
}

static enum pci_space bar_space(const struct pci_bar *bar)
{
	if (bar->flags & PCI_BAR_IO)
		return PCI_SPACE_IO;
	/* Behind a bridge only the prefetchable window may lie above 4 GiB. */
	if (bar->flags & PCI_BAR_MEM_64 && bar->flags & PCI_BAR_PREFETCH)
		return PCI_SPACE_PREF;
	return PCI_SPACE_MEM;
}

/* limit is the last byte. Nobody puts a window at 0: registers that were never written look so. */
static void set_window(struct pci_bus *bus, enum pci_space space, u64 base, u64 limit)
{
	struct pci_window *w = &bus->window[space];

	if (!base || base > limit)
		return;
	if (bus->parent &&
	    !pci_bus_forwards(bus->parent, space == PCI_SPACE_IO, base, limit + 1 - base)) {
		pr_warn("%s: window %#llx-%#llx is not forwarded by the bridge above: ignored\n",
			bus->self->name, (unsigned long long)base, (unsigned long long)limit);
		return;
	}
	w->start = base;
	w->end = limit + 1;
}

void pci_read_bridge_windows(struct pci_bus *bus)
{
	const struct pci_dev *br = bus->self;
	u32 io = pci_read_config_word(br, PCI_IO_BASE);
	u32 mem = pci_read_config_dword(br, PCI_MEMORY_BASE);
	u32 pref = pci_read_config_dword(br, PCI_PREF_MEMORY_BASE);
	u64 base = (io & 0xf0) << 8, limit = (io & 0xf000) | 0xfff;

	if ((io & 0x0f) == PCI_IO_RANGE_TYPE_32) {
		u32 upper = pci_read_config_dword(br, PCI_IO_BASE_UPPER16);

		base |= (u64)(upper & 0xffff) << 16;
		limit |= (u64)(upper >> 16) << 16;
	}
	set_window(bus, PCI_SPACE_IO, base, limit);

	set_window(bus, PCI_SPACE_MEM, (u64)(mem & 0xfff0) << 16, (mem & 0xfff00000) | 0xfffff);

	base = (u64)(pref & 0xfff0) << 16;
	limit = (pref & 0xfff00000) | 0xfffff;
	if ((pref & 0x0f) == PCI_PREF_RANGE_TYPE_64) {
		base |= (u64)pci_read_config_dword(br, PCI_PREF_BASE_UPPER32) << 32;
		limit |= (u64)pci_read_config_dword(br, PCI_PREF_LIMIT_UPPER32) << 32;
	}
	set_window(bus, PCI_SPACE_PREF, base, limit);
}

/*
 * Writes a window; an empty one as base above limit, since zeros would forward the lowest
 * addresses.
 */
static void write_window(const struct pci_bus *bus, enum pci_space space)
{
	const struct pci_dev *br = bus->self;
	const struct pci_window *w = &bus->window[space];
	u64 base = w->start, limit = w->end - 1;

	if (!w->end) {
		base = space == PCI_SPACE_IO ? 0xf000 : 0xfff00000;
		limit = 0;
	}
	if (space == PCI_SPACE_IO) {
		pci_write_config_word(br, PCI_IO_BASE,
				      (u16)((base >> 8 & 0xf0) | (limit & 0xf000)));
		return;
	}
	pci_write_config_dword(br, space == PCI_SPACE_MEM ? PCI_MEMORY_BASE : PCI_PREF_MEMORY_BASE,
			       (u32)((base >> 16 & 0xfff0) | (limit & 0xfff00000)));
	if (space == PCI_SPACE_PREF) {
		pci_write_config_dword(br, PCI_PREF_BASE_UPPER32, (u32)(base >> 32));
		pci_write_config_dword(br, PCI_PREF_LIMIT_UPPER32, (u32)(limit >> 32));
	}
}

/* Whether the bridge can hold an address above 4 GiB there. */
static bool pref_is_64bit(const struct pci_dev *bridge)
{
	return (pci_read_config_word(bridge, PCI_PREF_MEMORY_BASE) & 0x0f) ==
	       PCI_PREF_RANGE_TYPE_64;
}

static bool bar_needs(struct pci_dev *pdev, int bar, struct need *out)
{
	const struct pci_bar *b = &pdev->bar[bar];

	if (!b->size || b->start || b->flags & PCI_BAR_BAD)
		return false;
	out->pdev = pdev;
	out->bar = bar;
	out->space = bar_space(b);
	/* Two functions never share a page: one may be mapped without the other. */
	out->size = out->space == PCI_SPACE_IO ? b->size : max(b->size, (u64)PAGE_SIZE);
	out->align = out->size;
	return true;
}

/* What the windows of the bridge above this bus must hold, if the firmware left them empty. */
static void size_bus(struct pci_bus *bus)
{
	struct pci_dev *pdev;
	struct need n;

	list_for_each_entry(pdev, &bus->devices, bus_list) {
		if (pdev->subordinate)
			size_bus(pdev->subordinate);
		for (int i = 0; i < PCI_STD_NUM_BARS; i++) {
			if (!bar_needs(pdev, i, &n))
				continue;
			bus->window[n.space].want_size += n.size;
			bus->window[n.space].want_align =
				max(bus->window[n.space].want_align, n.align);
		}
		for (int s = 0; pdev->subordinate && s < PCI_NUM_SPACES; s++) {
			const struct pci_window *w = &pdev->subordinate->window[s];

			bus->window[s].want_size += w->want_size;
			bus->window[s].want_align = max(bus->window[s].want_align, w->want_align);
		}
	}
	for (int s = 0; s < PCI_NUM_SPACES; s++) {
		struct pci_window *w = &bus->window[s];

		if (w->end)
			w->want_size = 0;
		if (!w->want_size)
			continue;
		w->want_align =
			max(w->want_align, s == PCI_SPACE_IO ? BRIDGE_IO_STEP : BRIDGE_MEM_STEP);
		w->want_size = ALIGN_UP(w->want_size, w->want_align);
	}
}

/* The end of something on this bus that overlaps [start, start + size); 0: nothing does. */
static u64 conflict(const struct pci_bus *bus, bool io, u64 start, u64 size)
{
	const struct pci_dev *pdev;

	list_for_each_entry(pdev, &bus->devices, bus_list) {
		for (int i = 0; i < PCI_STD_NUM_BARS; i++) {
			const struct pci_bar *b = &pdev->bar[i];

			if (b->start && !(b->flags & PCI_BAR_IO) == !io &&
			    start < b->start + b->size && b->start < start + size)
				return b->start + b->size;
		}
		for (int s = 0; pdev->subordinate && s < PCI_NUM_SPACES; s++) {
			const struct pci_window *w = &pdev->subordinate->window[s];

			if ((s == PCI_SPACE_IO) == io && start < w->end && w->start < start + size)
				return w->end;
		}
	}
	return 0;
}

/* First fit in one window of the bus. 0: no room. */
static u64 find_gap(const struct pci_bus *bus, enum pci_space space, u64 size, u64 align)
{
	const struct pci_window *w = &bus->window[space];
	u64 start = ALIGN_UP(w->start, align);

	while (start < w->end && size <= w->end - start) {
		u64 next = conflict(bus, space == PCI_SPACE_IO, start, size);

		if (!next)
			return space == PCI_SPACE_IO || !region_intersects_ram(start, size) ?
				       start :
				       0;
		start = ALIGN_UP(next, align);
	}
	return 0;
}

/*
 * What may live above 4 GiB does so only if there is no room below: a root's high window is our
 * guess from the CPU's address width, the low one is not. Behind a bridge its own prefetchable
 * window comes first.
 */
static u64 find_place(const struct need *n)
{
	const struct pci_bus *bus = n->pdev->bus;
	u64 start;

	if (n->space != PCI_SPACE_PREF)
		return find_gap(bus, n->space, n->size, n->align);
	start = find_gap(bus, bus->self ? PCI_SPACE_PREF : PCI_SPACE_MEM, n->size, n->align);
	if (!start)
		start = find_gap(bus, bus->self ? PCI_SPACE_MEM : PCI_SPACE_PREF, n->size,
				 n->align);
	if (n->bar < 0 && start + n->size > 1ull << 32 && !pref_is_64bit(n->pdev))
		return 0;
	return start;
}

/* What wants a place on this bus and has the largest alignment. False: nothing does. */
static bool next_need(const struct pci_bus *bus, struct need *out)
{
	struct pci_dev *pdev;
	struct need n;

	*out = (struct need){ .align = 0 };
	list_for_each_entry(pdev, &bus->devices, bus_list) {
		for (int i = 0; i < PCI_STD_NUM_BARS; i++) {
			if (bar_needs(pdev, i, &n) && n.align > out->align)
				*out = n;
		}
		for (int s = 0; pdev->subordinate && s < PCI_NUM_SPACES; s++) {
			const struct pci_window *w = &pdev->subordinate->window[s];

			if (w->want_size && w->want_align > out->align)
				*out = (struct need){ pdev, -1, s, w->want_size, w->want_align };
		}
	}
	return out->align != 0;
}

static void place_window(const struct need *n, u64 start)
{
	struct pci_window *w = &n->pdev->subordinate->window[n->space];

	w->want_size = 0;
	if (start) {
		w->start = start;
		w->end = start + n->size;
	}
	/* If not, the BARs behind will say so. */
}

static void place_bar(const struct need *n, u64 start)
{
	struct pci_bar *b = &n->pdev->bar[n->bar];

	if (start) {
		(void)pci_write_bar(n->pdev, (unsigned int)n->bar, start);
		return;
	}
	b->flags |= PCI_BAR_BAD;
	/* Nothing of ours needs I/O ports where a machine has no room for them. */
	if (n->space == PCI_SPACE_IO && !n->pdev->bus->window[PCI_SPACE_IO].end)
		pr_debug("%s: BAR %d: no I/O ports on this bus\n", n->pdev->name, n->bar);
	else
		pr_warn("%s: BAR %d: no address space for %#llx bytes: not used\n", n->pdev->name,
			n->bar, (unsigned long long)b->size);
}

static void assign_bus(struct pci_bus *bus)
{
	struct pci_dev *pdev;
	struct need n;

	while (next_need(bus, &n)) {
		u64 start = find_place(&n);

		if (n.bar < 0)
			place_window(&n, start);
		else
			place_bar(&n, start);
	}
	list_for_each_entry(pdev, &bus->devices, bus_list) {
		if (!pdev->subordinate)
			continue;
		for (int s = 0; s < PCI_NUM_SPACES; s++)
			write_window(pdev->subordinate, s);
		assign_bus(pdev->subordinate);
	}
}

void pci_assign_unassigned(struct pci_bus *root)
{
	if (root->host->microvm) {
		/* hw/i386/microvm.c: the topmost quarter of the CPU's address space. */
		u64 top = 1ull << min(cpu_phys_bits(), 46u);

		root->window[PCI_SPACE_MEM].start = MICROVM_MEM_START;
		root->window[PCI_SPACE_MEM].end = MICROVM_MEM_END;
		root->window[PCI_SPACE_PREF].start = top - top / 4;
		root->window[PCI_SPACE_PREF].end = top;
	}
	size_bus(root);
	assign_bus(root);
}
