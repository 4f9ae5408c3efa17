/* The driver tables, and who gets asked: see bus.h. */
#define pr_fmt(fmt) "bus: " fmt

#include "drivers/bus.h"

#include "drivers/pci/pci.h"
#include "drivers/virtio/virtio.h"
#include "drivers/virtio/virtio_mmio.h"
#include "kernel/lib/errno.h"
#include "kernel/printk.h"
#include "kernel/softirq.h"

/*
 * The tables that the linker gathers; weak, so that a program without drivers of a bus links too.
 */
extern const struct pci_driver *const __start_pci_drivers[] __attribute__((weak));
extern const struct pci_driver *const __stop_pci_drivers[] __attribute__((weak));
extern const struct virtio_driver *const __start_virtio_drivers[] __attribute__((weak));
extern const struct virtio_driver *const __stop_virtio_drivers[] __attribute__((weak));
#pragma weak virtio_mmio_scan

static bool pci_match_id(const struct pci_device_id *id, const struct pci_dev *pdev)
{
	for (; id->vendor; id++) {
		if ((id->vendor == PCI_ANY_ID || id->vendor == pdev->vendor) &&
		    (id->device == PCI_ANY_ID || id->device == pdev->device))
			return true;
	}
	return false;
}

int pci_bus_probe(struct pci_dev *pdev)
{
	const struct pci_driver *const *drv;

	for (drv = __start_pci_drivers; drv != __stop_pci_drivers; drv++) {
		int err;

		if (!pci_match_id((*drv)->id_table, pdev))
			continue;
		err = (*drv)->probe(pdev);
		if (err != -ENODEV)
			return err;
	}
	return -ENODEV;
}

int virtio_bus_probe(struct virtio_device *vdev)
{
	const struct virtio_driver *const *drv;

	for (drv = __start_virtio_drivers; drv != __stop_virtio_drivers; drv++) {
		int err;

		if ((*drv)->device != vdev->id)
			continue;
		/* VIRTIO 1.2, 3.1.1, step 3: we know how to drive it. */
		virtio_add_status(vdev, VIRTIO_CONFIG_S_DRIVER);
		err = (*drv)->probe(vdev);
		if (err != -ENODEV)
			return err;
	}
	return -ENODEV;
}

void driver_init(void)
{
	struct pci_dev *pdev;

	/*
	 * A device that is up may need a reset, which allocates, while the next one is being
	 * probed, which does so too: its softirqs wait.
	 */
	local_bh_disable();
	pci_scan();
	list_for_each_entry(pdev, &pci_devices, node) {
		int err = pci_bus_probe(pdev);

		if (err && err != -ENODEV)
			pr_err("pci %s: probe failed: error %d\n", pdev->name, -err);
	}
	if (virtio_mmio_scan)
		virtio_mmio_scan();
	local_bh_enable();
}
