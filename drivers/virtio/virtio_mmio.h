/*
 * Virtio over MMIO (VIRTIO 1.2, 4.2): QEMU's microvm without PCI, Firecracker. A device cannot be
 * discovered, somebody has to say where it is: the word virtio_mmio.device= of the command line,
 * or, on microvm with ACPI, what we know of that machine. Task context.
 */
#ifndef DRIVERS_VIRTIO_VIRTIO_MMIO_H
#define DRIVERS_VIRTIO_VIRTIO_MMIO_H

/* Offers every device that there is to the drivers. Once, at boot. */
void virtio_mmio_scan(void);

#endif
