/*
 * Virtio over PCI (VIRTIO 1.2, 4.1): what the modern and the legacy interface share.
 * virtio_pci_common.c probes the function, tries virtio_pci_modern.c and then virtio_pci_legacy.c,
 * and does interrupts and notifications for both. Task context, but for the handlers (hard IRQ) and
 * vp_notify() (softirq).
 */
#ifndef DRIVERS_VIRTIO_VIRTIO_PCI_COMMON_H
#define DRIVERS_VIRTIO_VIRTIO_PCI_COMMON_H

#include "drivers/pci/pci.h"
#include "drivers/virtio/virtio_config.h"
#include "kernel/lib/container_of.h"

#define VIRTIO_MSI_NO_VECTOR 0xffff /* VIRTIO 1.2, 4.1.5.1.2 */
#define VP_MAX_VQS 32

/* ISR status (4.1.4.5): masks. Reading clears it and lets go of the wire. */
#define VIRTIO_PCI_ISR_QUEUE 0x1
#define VIRTIO_PCI_ISR_CONFIG 0x2

/* Types of structure that a modern device shows by capabilities (4.1.4): numbers. */
enum {
	VIRTIO_PCI_CAP_COMMON_CFG = 1,
	VIRTIO_PCI_CAP_NOTIFY_CFG,
	VIRTIO_PCI_CAP_ISR_CFG,
	VIRTIO_PCI_CAP_DEVICE_CFG,
	VP_NUM_REGIONS
};

/* A structure in a BAR, mapped. addr NULL: not there. */
struct vp_region {
	u8 *addr;
	u32 len;
};

enum vp_irq_mode { VP_IRQ_NONE, VP_IRQ_MSIX, VP_IRQ_MSIX_SHARED, VP_IRQ_INTX };

struct virtio_pci_device {
	struct virtio_device vdev;
	struct pci_dev *pci_dev;
	char name[16], bus_name[32];

	/* Modern. */
	struct vp_region region[VP_NUM_REGIONS];
	u32 notify_off_multiplier;
	/* Legacy: I/O ports; 0 if modern. */
	u16 ioaddr, io_len;

	enum vp_irq_mode irq_mode;
	bool config_irq; /* vector 0 is for configuration changes */
	unsigned int nvqs;
	struct virtqueue *vqs[VP_MAX_VQS];
	u16 vq_vector[VP_MAX_VQS];

	/*
	 * What differs below find_vqs(). setup_vq: makes a queue and tells the device, with that
	 * vector; 0, -ENOENT (no such queue), -EBUSY (vector refused) or another error; logged but
	 * for -EBUSY.
	 */
	int (*setup_vq)(struct virtio_pci_device *vp_dev, u16 index, vq_callback_t *callback,
			const char *name, u16 max_num, u16 vector, struct virtqueue **out);
	void (*del_vq)(struct virtio_pci_device *vp_dev, struct virtqueue *vq);
	/* Sets the vector for configuration changes. Returns what the device made of it. */
	u16 (*config_vector)(struct virtio_pci_device *vp_dev, u16 vector);
	u8 (*read_isr)(struct virtio_pci_device *vp_dev);
};

#define to_vp_device(_vdev) container_of(_vdev, struct virtio_pci_device, vdev)

static inline bool vp_msix_enabled(const struct virtio_pci_device *vp_dev)
{
	return vp_dev->irq_mode == VP_IRQ_MSIX || vp_dev->irq_mode == VP_IRQ_MSIX_SHARED;
}

/* Fill in what their interface needs. 0, or -ENODEV: it is not there, or not sane (logged). */
int __must_check virtio_pci_modern_probe(struct virtio_pci_device *vp_dev);
int __must_check virtio_pci_legacy_probe(struct virtio_pci_device *vp_dev);

/* Members of virtio_config_ops, the same for both. */
int vp_find_vqs(struct virtio_device *vdev, unsigned int nvqs, struct virtqueue *vqs[],
		vq_callback_t *callbacks[], const char *const names[], u16 max_num);
void vp_del_vqs(struct virtio_device *vdev);
const char *vp_irq_name(struct virtio_device *vdev);
const char *vp_bus_name(struct virtio_device *vdev);
/* V13: a queue size that the specification allows. */
bool vp_valid_queue_size(u32 num);
bool vp_notify(struct virtqueue *vq);

#endif
