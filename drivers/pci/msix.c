/*
 * MSI-X (PCI Local Bus 3.0, 6.8.2): an interrupt is a write that the function does by itself, one
 * address and value for each vector, kept in a table inside one of its BARs. No wire, no sharing,
 * no register to ask.
 */
#define pr_fmt(fmt) "pci " fmt

#include "drivers/pci/pci.h"
#include "drivers/pci/pci_regs.h"
#include "kernel/bug.h"
#include "kernel/init.h"
#include "kernel/irq.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/string.h"
#include "kernel/printk.h"
#include "kernel/slab.h"
#include "kernel/x86/io.h"

static bool pci_no_msi;

/* pci=nomsi; pci=off is among the words that boot loaders add and we ignore (interface.md). */
static int __must_check pci_setup(const char *val)
{
	if (!val || !*val)
		return -EINVAL;
	while (*val) {
		const char *comma = strchr(val, ',');
		size_t len = comma ? (size_t)(comma - val) : strlen(val);

		if (len == 5 && !strncmp(val, "nomsi", 5))
			pci_no_msi = true;
		else if (len != 3 || strncmp(val, "off", 3))
			return -EINVAL;
		val += len + (comma != NULL);
	}
	return 0;
}
__setup("pci", pci_setup);

/* Where a table or pending-bit array lies, from its register. False: not in a memory BAR. */
static bool msix_locate(const struct pci_dev *pdev, u32 reg, u32 size, unsigned int *bir,
			u64 *offset)
{
	const struct pci_bar *b;

	*bir = reg & PCI_MSIX_BIR;
	*offset = reg & PCI_MSIX_OFFSET;
	if (*bir >= PCI_STD_NUM_BARS)
		return false;
	b = &pdev->bar[*bir];
	return b->start && !(b->flags & PCI_BAR_IO) && *offset <= b->size &&
	       size <= b->size - *offset;
}

/* Maps the whole table of n entries. NULL: it is not where it could be. Logged. */
static void *msix_map_table(struct pci_dev *pdev, unsigned int n)
{
	u32 table_size = n * PCI_MSIX_ENTRY_SIZE, pba_size = DIV_ROUND_UP(n, 64) * 8;
	u32 table = pci_read_config_dword(pdev, pdev->msix_cap + PCI_MSIX_TABLE);
	u32 pba = pci_read_config_dword(pdev, pdev->msix_cap + PCI_MSIX_PBA);
	unsigned int table_bar, pba_bar;
	u64 table_off, pba_off;
	void *map = NULL;

	if (!msix_locate(pdev, table, table_size, &table_bar, &table_off) ||
	    !msix_locate(pdev, pba, pba_size, &pba_bar, &pba_off)) {
		pr_warn("%s: MSI-X table or PBA outside its BAR: not used\n", pdev->name);
	} else if (table_bar == pba_bar && table_off < pba_off + pba_size &&
		   pba_off < table_off + table_size) {
		pr_warn("%s: MSI-X table and PBA overlap: not used\n", pdev->name);
	} else {
		map = pci_iomap_range(pdev, table_bar, table_off, table_size);
		if (!map)
			pr_warn("%s: cannot map the MSI-X table\n", pdev->name);
	}
	return map;
}

static u8 *msix_entry(const struct pci_dev *pdev, unsigned int nr)
{
	return (u8 *)pdev->msix_table + (size_t)nr * PCI_MSIX_ENTRY_SIZE;
}

static void msix_set_mask(const struct pci_dev *pdev, unsigned int nr, bool masked)
{
	writel(masked ? PCI_MSIX_ENTRY_CTRL_MASKBIT : 0,
	       msix_entry(pdev, nr) + PCI_MSIX_ENTRY_VECTOR_CTRL);
}

static void msix_set_flags(const struct pci_dev *pdev, u16 clear, u16 set)
{
	u16 flags = pci_read_config_word(pdev, pdev->msix_cap + PCI_MSIX_FLAGS);

	pci_write_config_word(pdev, pdev->msix_cap + PCI_MSIX_FLAGS, (u16)((flags & ~clear) | set));
}

/* Gets a number for each of n vectors, and tells the table. Returns how many there were. */
static unsigned int msix_setup_entries(struct pci_dev *pdev, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		struct msi_msg msg;
		int irq = irq_alloc_msi(&msg);

		if (irq < 0)
			return i;
		pdev->vectors[i] = irq;
		writel((u32)msg.address, msix_entry(pdev, i) + PCI_MSIX_ENTRY_LOWER_ADDR);
		writel((u32)(msg.address >> 32), msix_entry(pdev, i) + PCI_MSIX_ENTRY_UPPER_ADDR);
		writel(msg.data, msix_entry(pdev, i) + PCI_MSIX_ENTRY_DATA);
	}
	return n;
}

static void msix_shutdown(struct pci_dev *pdev)
{
	for (unsigned int i = 0; i < pdev->nr_vectors; i++) {
		msix_set_mask(pdev, i, true);
		irq_free_msi(pdev->vectors[i]);
	}
	msix_set_flags(pdev, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL, 0);
	kfree(pdev->vectors);
	pdev->vectors = NULL;
	pdev->nr_vectors = 0;
}

void pci_msix_init(struct pci_dev *pdev)
{
	u8 pos = pci_find_capability(pdev, PCI_CAP_ID_MSIX);

	pdev->msix_cap = pos + PCI_MSIX_PBA + 4 <= 256 ? pos : 0;
	if (pdev->msix_cap)
		msix_set_flags(pdev, PCI_MSIX_FLAGS_ENABLE, 0);
}

int pci_alloc_irq_vectors(struct pci_dev *pdev, unsigned int min_vecs, unsigned int max_vecs)
{
	unsigned int size, n;

	BUG_ON(pdev->vectors || min_vecs == 0 || min_vecs > max_vecs);
	if (pci_no_msi || !pdev->msix_cap)
		return -ENODEV;
	size = pci_read_config_word(pdev, pdev->msix_cap + PCI_MSIX_FLAGS) & PCI_MSIX_FLAGS_QSIZE;
	size++;
	n = min(size, max_vecs);
	if (n < min_vecs)
		return -ENOSPC;
	pdev->msix_table = msix_map_table(pdev, size);
	if (!pdev->msix_table)
		return -ENODEV;
	pdev->vectors = kzalloc(n * sizeof(*pdev->vectors));
	if (!pdev->vectors)
		return -ENOMEM;
	/*
	 * Enabled as a whole but masked: only so may the table be written on every device (6.8.2).
	 */
	msix_set_flags(pdev, 0, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	for (unsigned int i = 0; i < size; i++)
		msix_set_mask(pdev, i, true);
	pdev->nr_vectors = (u16)msix_setup_entries(pdev, n);
	if (pdev->nr_vectors < min_vecs) {
		pr_warn("%s: only %u of %u interrupt vectors left\n", pdev->name, pdev->nr_vectors,
			n);
		msix_shutdown(pdev);
		return -ENOSPC;
	}
	pci_intx(pdev, false);
	for (unsigned int i = 0; i < pdev->nr_vectors; i++)
		msix_set_mask(pdev, i, false);
	msix_set_flags(pdev, PCI_MSIX_FLAGS_MASKALL, 0);
	return pdev->nr_vectors;
}

void pci_free_irq_vectors(struct pci_dev *pdev)
{
	if (pdev->vectors)
		msix_shutdown(pdev);
}

int pci_irq_vector(const struct pci_dev *pdev, unsigned int nr)
{
	BUG_ON(nr >= pdev->nr_vectors);
	return pdev->vectors[nr];
}
