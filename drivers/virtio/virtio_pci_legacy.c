/*
 * The legacy interface (virtio 0.9.5; VIRTIO 1.2, 4.1.4.10 and the "Legacy Interface" notes): I/O
 * ports in BAR 0, 32 feature bits, one address for the whole ring, no FEATURES_OK, and no way to
 * make a queue smaller.
 */
#define pr_fmt(fmt) "virtio_pci: " fmt

#include "drivers/virtio/virtio_pci_common.h"
#include "kernel/bug.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/string.h"
#include "kernel/printk.h"
#include "kernel/x86/io.h"

/* Ports, relative to BAR 0 (4.1.4.10). */
#define VIRTIO_PCI_HOST_FEATURES 0  /* 32, RO */
#define VIRTIO_PCI_GUEST_FEATURES 4 /* 32, RW */
#define VIRTIO_PCI_QUEUE_PFN 8      /* 32, RW: address of the ring, in pages; 0: none */
#define VIRTIO_PCI_QUEUE_NUM 12     /* 16, RO */
#define VIRTIO_PCI_QUEUE_SEL 14     /* 16, RW */
#define VIRTIO_PCI_QUEUE_NOTIFY 16  /* 16, RW */
#define VIRTIO_PCI_STATUS 18        /* 8, RW */
#define VIRTIO_PCI_ISR 19           /* 8, RO */
/* Only while MSI-X is enabled; the device's configuration moves behind them. */
#define VIRTIO_MSI_CONFIG_VECTOR 20 /* 16, RW */
#define VIRTIO_MSI_QUEUE_VECTOR 22  /* 16, RW */
#define VIRTIO_PCI_CONFIG_OFF(msix_enabled) ((msix_enabled) ? 24 : 20)

#define VIRTIO_PCI_QUEUE_ADDR_SHIFT 12
#define VIRTIO_PCI_ABI_VERSION 0 /* the revision ID of every legacy device */

static u16 port(const struct virtio_pci_device *vp_dev, unsigned int reg)
{
	return (u16)(vp_dev->ioaddr + reg);
}

/* 4.1.4.10: the device's configuration has the CPU's byte order and may be read in any width. */
static int vp_get(struct virtio_device *vdev, unsigned int offset, void *buf, unsigned int len)
{
	const struct virtio_pci_device *vp_dev = to_vp_device(vdev);
	unsigned int base = VIRTIO_PCI_CONFIG_OFF(vp_msix_enabled(vp_dev));
	u8 *out = buf;

	memset(buf, 0, len);
	if (offset > vp_dev->io_len - base || len > vp_dev->io_len - base - offset)
		return -ERANGE;
	for (unsigned int i = 0; i < len; i++)
		out[i] = inb(port(vp_dev, base + offset + i));
	return 0;
}

static u8 vp_get_status(struct virtio_device *vdev)
{
	return inb(port(to_vp_device(vdev), VIRTIO_PCI_STATUS));
}

static void vp_set_status(struct virtio_device *vdev, u8 status)
{
	BUG_ON(status == 0); /* that is a reset */
	outb(status, port(to_vp_device(vdev), VIRTIO_PCI_STATUS));
}

static int vp_reset(struct virtio_device *vdev)
{
	outb(0, port(to_vp_device(vdev), VIRTIO_PCI_STATUS));
	return virtio_wait_reset(vdev);
}

static u64 vp_get_features(struct virtio_device *vdev)
{
	return inl(port(to_vp_device(vdev), VIRTIO_PCI_HOST_FEATURES));
}

static int vp_finalize_features(struct virtio_device *vdev)
{
	if (vdev->features >> 32)
		return -EINVAL;
	outl((u32)vdev->features, port(to_vp_device(vdev), VIRTIO_PCI_GUEST_FEATURES));
	return 0;
}

static u16 vp_config_vector(struct virtio_pci_device *vp_dev, u16 vector)
{
	outw(vector, port(vp_dev, VIRTIO_MSI_CONFIG_VECTOR));
	return inw(port(vp_dev, VIRTIO_MSI_CONFIG_VECTOR));
}

static u8 vp_read_isr(struct virtio_pci_device *vp_dev)
{
	return inb(port(vp_dev, VIRTIO_PCI_ISR));
}

static void del_vq(struct virtio_pci_device *vp_dev, struct virtqueue *vq)
{
	outw(vq->index, port(vp_dev, VIRTIO_PCI_QUEUE_SEL));
	if (vp_msix_enabled(vp_dev))
		outw(VIRTIO_MSI_NO_VECTOR, port(vp_dev, VIRTIO_MSI_QUEUE_VECTOR));
	outl(0, port(vp_dev, VIRTIO_PCI_QUEUE_PFN));
	vring_del_virtqueue(vq);
}

/* The size of the selected queue (V13), which is not ours to choose. */
static int vp_check_queue(struct virtio_pci_device *vp_dev, u16 index, u16 *num)
{
	*num = inw(port(vp_dev, VIRTIO_PCI_QUEUE_NUM));
	if (*num == 0) {
		pr_err("%s: no queue %u\n", vp_dev->bus_name, index);
		return -ENOENT;
	}
	if (!vp_valid_queue_size(*num)) {
		pr_err("%s: queue %u: bad size %u\n", vp_dev->bus_name, index, *num);
		return -EINVAL;
	}
	if (inl(port(vp_dev, VIRTIO_PCI_QUEUE_PFN))) {
		pr_err("%s: queue %u: has a ring before it was set up\n", vp_dev->bus_name, index);
		return -EIO;
	}
	return 0;
}

static int setup_vq(struct virtio_pci_device *vp_dev, u16 index, vq_callback_t *callback,
		    const char *name, u16 max_num, u16 vector, struct virtqueue **out)
{
	struct virtqueue *vq;
	u64 pfn;
	u16 num;
	int err;

	(void)max_num; /* virtio_config.h: a legacy queue cannot be made smaller */
	outw(index, port(vp_dev, VIRTIO_PCI_QUEUE_SEL));
	err = vp_check_queue(vp_dev, index, &num);
	if (err)
		return err;
	vq = vring_create_virtqueue(index, num, &vp_dev->vdev, vp_notify, callback, name);
	if (!vq) {
		pr_err("%s: queue %u: no memory for %u entries\n", vp_dev->bus_name, index, num);
		return -ENOMEM;
	}
	vq->priv = (void *)(uintptr_t)port(vp_dev, VIRTIO_PCI_QUEUE_NOTIFY);
	pfn = virtqueue_get_desc_addr(vq) >> VIRTIO_PCI_QUEUE_ADDR_SHIFT;
	if (pfn >> 32) {
		pr_err("%s: queue %u: ring at an address beyond 44 bits\n", vp_dev->bus_name,
		       index);
		vring_del_virtqueue(vq);
		return -ERANGE;
	}
	outl((u32)pfn, port(vp_dev, VIRTIO_PCI_QUEUE_PFN));
	if (vp_msix_enabled(vp_dev)) {
		outw(vector, port(vp_dev, VIRTIO_MSI_QUEUE_VECTOR));
		if (inw(port(vp_dev, VIRTIO_MSI_QUEUE_VECTOR)) != vector) {
			del_vq(vp_dev, vq);
			return -EBUSY;
		}
	}
	*out = vq;
	return 0;
}

static const struct virtio_config_ops virtio_pci_config_ops = {
	.get = vp_get,
	.get_status = vp_get_status,
	.set_status = vp_set_status,
	.reset = vp_reset,
	.get_features = vp_get_features,
	.finalize_features = vp_finalize_features,
	.find_vqs = vp_find_vqs,
	.del_vqs = vp_del_vqs,
	.irq_name = vp_irq_name,
	.bus_name = vp_bus_name,
};

int virtio_pci_legacy_probe(struct virtio_pci_device *vp_dev)
{
	const struct pci_dev *pdev = vp_dev->pci_dev;
	const struct pci_bar *bar = &pdev->bar[0];

	if (!pdev->io_enabled || !(bar->flags & PCI_BAR_IO) ||
	    bar->size < VIRTIO_PCI_CONFIG_OFF(true))
		return -ENODEV;
	if (pdev->revision != VIRTIO_PCI_ABI_VERSION) {
		pr_warn("%s: revision %u is no legacy device\n", pdev->name, pdev->revision);
		return -ENODEV;
	}
	vp_dev->ioaddr = (u16)bar->start;
	vp_dev->io_len = (u16)min(bar->size, (u64)0xffff);
	vp_dev->vdev.config = &virtio_pci_config_ops;
	vp_dev->setup_vq = setup_vq;
	vp_dev->del_vq = del_vq;
	vp_dev->config_vector = vp_config_vector;
	vp_dev->read_isr = vp_read_isr;
	return 0;
}
