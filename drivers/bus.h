/*
 * Which driver serves which device. Drivers declare themselves in a linker section; the bus that
 * finds a device walks the table (architecture.md, 12: another NIC is one more entry). Task
 * context, at boot.
 */
#ifndef DRIVERS_BUS_H
#define DRIVERS_BUS_H

#include "kernel/lib/types.h"

struct pci_dev;
struct virtio_device;

#define PCI_ANY_ID 0xffffu

struct pci_device_id {
	u16 vendor, device; /* PCI_ANY_ID: any */
};

struct pci_driver {
	const char *name;
	const struct pci_device_id *id_table; /* ends with vendor 0 */
	/* 0: it is ours. -ENODEV: not for us, ask the next. Else an error that has been logged. */
	int (*probe)(struct pci_dev *pdev);
};

struct virtio_driver {
	const char *name;
	u32 device; /* VIRTIO_ID_* (VIRTIO 1.2, 5) */
	int (*probe)(struct virtio_device *vdev);
};

#define module_pci_driver(drv)                                   \
	static const struct pci_driver *const __pci_##drv __used \
		__attribute__((section("pci_drivers"), aligned(8))) = &(drv)
#define module_virtio_driver(drv)                                      \
	static const struct virtio_driver *const __virtio_##drv __used \
		__attribute__((section("virtio_drivers"), aligned(8))) = &(drv)

/* Scans PCI, then virtio-mmio, and probes what is found. The composition root calls it once. */
void driver_init(void);

/*
 * Offers a device to the drivers of its bus. Returns 0, -ENODEV if nobody wants it, or the probe's
 * error.
 */
int pci_bus_probe(struct pci_dev *pdev);
int virtio_bus_probe(struct virtio_device *vdev);

#endif
