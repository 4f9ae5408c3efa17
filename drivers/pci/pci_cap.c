/*
 * The capability list (PCI Local Bus 3.0, 6.7), as if the device had an interest in our going
 * astray: a bounded number of steps, never below the header, the low two bits ignored as 6.7
 * demands.
 */
#include "drivers/pci/pci.h"
#include "drivers/pci/pci_regs.h"

/* link: where the pointer to the next capability is. */
static u8 find_from(const struct pci_dev *pdev, unsigned int link, u8 id)
{
	for (int ttl = PCI_FIND_CAP_TTL; ttl > 0; ttl--) {
		u8 pos = pci_read_config_byte(pdev, link) & 0xfc;
		u8 found;

		if (pos < PCI_STD_HEADER_SIZEOF)
			return 0;
		found = pci_read_config_byte(pdev, pos);
		if (found == 0xff) /* nobody answers any more */
			return 0;
		if (found == id)
			return pos;
		link = pos + PCI_CAP_LIST_NEXT;
	}
	return 0;
}

u8 pci_find_capability(const struct pci_dev *pdev, u8 id)
{
	u16 status = pci_read_config_word(pdev, PCI_STATUS);

	if (!(status & PCI_STATUS_CAP_LIST) || pdev->hdr_type > PCI_HEADER_TYPE_BRIDGE)
		return 0;
	return find_from(pdev, PCI_CAPABILITY_LIST, id);
}

u8 pci_find_next_capability(const struct pci_dev *pdev, u8 pos, u8 id)
{
	return find_from(pdev, pos + PCI_CAP_LIST_NEXT, id);
}
