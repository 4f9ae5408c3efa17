/* Virtio over PCI: probe, interrupts, notification. See virtio_pci_common.h. */
#define pr_fmt(fmt) "virtio_pci: " fmt

#include "drivers/virtio/virtio_pci_common.h"

#include "drivers/bus.h"
#include "drivers/pci/pci_regs.h"
#include "kernel/bug.h"
#include "kernel/irq.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/string.h"
#include "kernel/printk.h"
#include "kernel/slab.h"
#include "kernel/x86/io.h"

#define PCI_VENDOR_ID_REDHAT_QUMRANET 0x1af4
/* VIRTIO 1.2, 4.1.2: transitional devices, then modern ones at 0x1040 + type. */
#define VIRTIO_PCI_FIRST 0x1000
#define VIRTIO_PCI_FIRST_MODERN 0x1040
#define VIRTIO_PCI_LAST 0x107f

/* 4.1.5.2: a driver notifies by writing the queue's index, 16 bits. */
noinline bool vp_notify(struct virtqueue *vq)
{
	const struct virtio_pci_device *vp_dev = to_vp_device(vq->vdev);

	if (vp_dev->ioaddr)
		outw(vq->index, (u16)(uintptr_t)vq->priv);
	else
		writew(vq->index, vq->priv);
	return true;
}

bool vp_valid_queue_size(u32 num)
{
	return IS_POWER_OF_2(num) && num <= VIRTQ_MAX_SIZE;
}

const char *vp_irq_name(struct virtio_device *vdev)
{
	static const char *const names[] = {
		[VP_IRQ_NONE] = "polled",
		[VP_IRQ_MSIX] = "msix",
		[VP_IRQ_MSIX_SHARED] = "msix-shared",
		[VP_IRQ_INTX] = "intx",
	};

	return names[to_vp_device(vdev)->irq_mode];
}

const char *vp_bus_name(struct virtio_device *vdev)
{
	return to_vp_device(vdev)->bus_name;
}

/* ---- interrupts ---- */

static irqreturn_t vp_config_changed(int irq, void *opaque)
{
	struct virtio_pci_device *vp_dev = opaque;

	(void)irq;
	if (vp_dev->vdev.config_changed)
		vp_dev->vdev.config_changed(&vp_dev->vdev);
	return IRQ_HANDLED;
}

/* One vector for all queues: ask each. */
static irqreturn_t vp_vring_interrupt(int irq, void *opaque)
{
	struct virtio_pci_device *vp_dev = opaque;
	irqreturn_t ret = IRQ_NONE;

	for (unsigned int i = 0; i < vp_dev->nvqs; i++) {
		if (vring_interrupt(irq, vp_dev->vqs[i]) == IRQ_HANDLED)
			ret = IRQ_HANDLED;
	}
	return ret;
}

/*
 * The wire, which others may share: the ISR register says whether it was us, and reading it lets
 * go.
 */
static irqreturn_t vp_interrupt(int irq, void *opaque)
{
	struct virtio_pci_device *vp_dev = opaque;
	u8 isr = vp_dev->read_isr(vp_dev);

	if (isr == 0 || isr == 0xff) /* not us; or the device is gone */
		return IRQ_NONE;
	if (isr & VIRTIO_PCI_ISR_CONFIG)
		vp_config_changed(irq, vp_dev);
	/* It was ours even if a poll has emptied the queues meanwhile. */
	(void)vp_vring_interrupt(irq, vp_dev);
	return IRQ_HANDLED;
}

/* ---- queues ---- */

/* What find_vqs() was asked for. */
struct vp_request {
	unsigned int nvqs;
	struct virtqueue **vqs;
	vq_callback_t **callbacks;
	const char *const *names;
	u16 max_num;
};

/*
 * Vectors: one for the configuration if the driver wants to know, then one for all queues or for
 * each.
 */
static int vp_request_msix(struct virtio_pci_device *vp_dev, unsigned int nr_queue_vectors)
{
	struct virtio_device *vdev = &vp_dev->vdev;
	unsigned int n = nr_queue_vectors + vp_dev->config_irq;
	int err;

	err = pci_alloc_irq_vectors(vp_dev->pci_dev, n, n);
	if (err < 0)
		return err;
	if (!vp_dev->config_irq)
		return 0;
	err = request_irq(pci_irq_vector(vp_dev->pci_dev, 0), vp_config_changed, 0, vdev->name,
			  vp_dev);
	if (err)
		goto err_free_vectors;
	/* 4.1.5.1.2.1: read back; NO_VECTOR means that the device could not. */
	if (vp_dev->config_vector(vp_dev, 0) != 0) {
		err = -EBUSY;
		goto err_free_irq;
	}
	return 0;

err_free_irq:
	free_irq(pci_irq_vector(vp_dev->pci_dev, 0), vp_dev);
err_free_vectors:
	pci_free_irq_vectors(vp_dev->pci_dev);
	return err;
}

static int vp_request_intx(struct virtio_pci_device *vp_dev)
{
	int irq = pci_assign_irq(vp_dev->pci_dev), err;

	if (irq < 0)
		return irq;
	err = request_irq(irq, vp_interrupt, IRQF_SHARED, vp_dev->vdev.name, vp_dev);
	if (!err)
		pci_intx(vp_dev->pci_dev, true);
	return err;
}

static int vp_request_irqs(struct virtio_pci_device *vp_dev, const struct vp_request *req)
{
	unsigned int n = 0;
	int err;

	switch (vp_dev->irq_mode) {
	case VP_IRQ_MSIX:
		for (unsigned int i = 0; i < req->nvqs; i++)
			n += req->callbacks[i] != NULL;
		return vp_request_msix(vp_dev, n);
	case VP_IRQ_MSIX_SHARED:
		err = vp_request_msix(vp_dev, 1);
		if (err)
			return err;
		err = request_irq(pci_irq_vector(vp_dev->pci_dev, vp_dev->config_irq),
				  vp_vring_interrupt, 0, vp_dev->vdev.name, vp_dev);
		if (err && vp_dev->config_irq)
			free_irq(pci_irq_vector(vp_dev->pci_dev, 0), vp_dev);
		if (err)
			pci_free_irq_vectors(vp_dev->pci_dev);
		return err;
	case VP_IRQ_INTX:
		return vp_request_intx(vp_dev);
	default:
		return 0;
	}
}

/* Undoes vp_request_irqs(). */
static void vp_free_irqs(struct virtio_pci_device *vp_dev)
{
	struct pci_dev *pdev = vp_dev->pci_dev;

	if (vp_dev->irq_mode == VP_IRQ_INTX) {
		pci_intx(pdev, false);
		free_irq(pdev->irq, vp_dev);
	}
	if (vp_dev->irq_mode == VP_IRQ_MSIX_SHARED)
		free_irq(pci_irq_vector(pdev, vp_dev->config_irq), vp_dev);
	if (vp_msix_enabled(vp_dev)) {
		if (vp_dev->config_irq) {
			(void)vp_dev->config_vector(vp_dev, VIRTIO_MSI_NO_VECTOR);
			free_irq(pci_irq_vector(pdev, 0), vp_dev);
		}
		pci_free_irq_vectors(pdev);
	}
	vp_dev->irq_mode = VP_IRQ_NONE;
}

static void vp_del_last_vq(struct virtio_pci_device *vp_dev)
{
	unsigned int i = --vp_dev->nvqs;
	struct virtqueue *vq = vp_dev->vqs[i];

	if (vp_dev->irq_mode == VP_IRQ_MSIX && vp_dev->vq_vector[i] != VIRTIO_MSI_NO_VECTOR)
		free_irq(pci_irq_vector(vp_dev->pci_dev, vp_dev->vq_vector[i]), vq);
	vp_dev->vqs[i] = NULL;
	vp_dev->del_vq(vp_dev, vq);
}

void vp_del_vqs(struct virtio_device *vdev)
{
	struct virtio_pci_device *vp_dev = to_vp_device(vdev);

	while (vp_dev->nvqs)
		vp_del_last_vq(vp_dev);
	vp_free_irqs(vp_dev);
}

/* One queue, with its interrupt. */
static int vp_setup_vq(struct virtio_pci_device *vp_dev, const struct vp_request *req, u16 vector)
{
	unsigned int i = vp_dev->nvqs;
	struct virtqueue *vq;
	int err;

	err = vp_dev->setup_vq(vp_dev, (u16)i, req->callbacks[i], req->names[i], req->max_num,
			       vector, &vq);
	if (err)
		return err;
	if (vp_dev->irq_mode == VP_IRQ_MSIX && vector != VIRTIO_MSI_NO_VECTOR) {
		err = request_irq(pci_irq_vector(vp_dev->pci_dev, vector), vring_interrupt, 0,
				  vq->name, vq);
		if (err) {
			vp_dev->del_vq(vp_dev, vq);
			return err;
		}
	}
	vp_dev->vq_vector[i] = vector;
	vp_dev->vqs[i] = vq;
	vp_dev->nvqs++; /* last: from here on the shared handlers see it */
	req->vqs[i] = vq;
	return 0;
}

/* -EAGAIN: not by this kind of interrupt. */
static int vp_try_find_vqs(struct virtio_pci_device *vp_dev, const struct vp_request *req,
			   enum vp_irq_mode mode)
{
	u16 next = vp_dev->config_irq;
	int err;

	vp_dev->irq_mode = mode;
	if (vp_request_irqs(vp_dev, req)) {
		vp_dev->irq_mode = VP_IRQ_NONE;
		return -EAGAIN;
	}
	for (unsigned int i = 0; i < req->nvqs; i++) {
		u16 vector = VIRTIO_MSI_NO_VECTOR;

		if (req->callbacks[i] && vp_msix_enabled(vp_dev))
			vector = mode == VP_IRQ_MSIX ? next++ : next;
		err = vp_setup_vq(vp_dev, req, vector);
		if (err) {
			vp_del_vqs(&vp_dev->vdev);
			return err == -EBUSY ? -EAGAIN : err;
		}
	}
	return 0;
}

int vp_find_vqs(struct virtio_device *vdev, unsigned int nvqs, struct virtqueue *vqs[],
		vq_callback_t *callbacks[], const char *const names[], u16 max_num)
{
	struct virtio_pci_device *vp_dev = to_vp_device(vdev);
	const struct vp_request req = { nvqs, vqs, callbacks, names, max_num };
	bool wanted = vdev->config_changed != NULL;
	int err;

	BUG_ON(vp_dev->nvqs || nvqs > VP_MAX_VQS || !max_num);
	vp_dev->config_irq = wanted;
	for (unsigned int i = 0; i < nvqs; i++)
		wanted = wanted || callbacks[i];
	if (!wanted)
		return vp_try_find_vqs(vp_dev, &req, VP_IRQ_NONE);
	for (enum vp_irq_mode mode = VP_IRQ_MSIX; mode <= VP_IRQ_INTX; mode++) {
		err = vp_try_find_vqs(vp_dev, &req, mode);
		if (err != -EAGAIN)
			return err;
	}
	pr_err("%s: no interrupt to be had\n", vp_dev->bus_name);
	return -ENODEV;
}

/* ---- probe ---- */

/*
 * 4.1.2.1: a transitional device tells its type by the subsystem ID, a modern one by the device ID.
 */
static u32 vp_device_type(const struct pci_dev *pdev)
{
	if (pdev->device < VIRTIO_PCI_FIRST_MODERN)
		return pci_read_config_word(pdev, PCI_SUBSYSTEM_ID);
	return pdev->device - VIRTIO_PCI_FIRST_MODERN;
}

/* Modern if it can be used, else legacy where the device may have it. */
static int vp_probe_interface(struct virtio_pci_device *vp_dev)
{
	struct pci_dev *pdev = vp_dev->pci_dev;
	const char *interface = "modern";
	int err = virtio_pci_modern_probe(vp_dev);

	if (err && pdev->device < VIRTIO_PCI_FIRST_MODERN) {
		interface = "legacy";
		err = virtio_pci_legacy_probe(vp_dev);
	}
	if (err) {
		pr_err("%s: neither a modern nor a legacy interface that works\n", pdev->name);
		return err;
	}
	snprintf(vp_dev->bus_name, sizeof(vp_dev->bus_name), "%s %s", pdev->name, interface);
	return 0;
}

static int virtio_pci_probe(struct pci_dev *pdev)
{
	static unsigned int next_index;
	struct virtio_pci_device *vp_dev;
	int err;

	if (pdev->device < VIRTIO_PCI_FIRST || pdev->device > VIRTIO_PCI_LAST)
		return -ENODEV;
	vp_dev = kzalloc(sizeof(*vp_dev));
	if (!vp_dev)
		return -ENOMEM;
	pdev->driver_data = vp_dev;
	vp_dev->pci_dev = pdev;
	vp_dev->vdev.id = vp_device_type(pdev);
	vp_dev->vdev.name = vp_dev->name;
	snprintf(vp_dev->name, sizeof(vp_dev->name), "virtio%u", next_index++);
	err = pci_enable_device(pdev);
	if (err)
		goto err_free;
	err = vp_probe_interface(vp_dev);
	if (err)
		goto err_disable;
	pci_intx(pdev, false);
	pci_set_master(pdev);
	err = register_virtio_device(&vp_dev->vdev);
	if (err)
		goto err_disable;
	return 0;

err_disable:
	/* Whatever the device was told, it reaches no memory any more. */
	pci_disable_device(pdev);
err_free:
	/* A driver that could not stop the device has left its queues: their handlers need us. */
	if (!vp_dev->nvqs) {
		pdev->driver_data = NULL;
		kfree(vp_dev);
	}
	return err;
}

static const struct pci_device_id virtio_pci_id_table[] = {
	{ PCI_VENDOR_ID_REDHAT_QUMRANET, PCI_ANY_ID },
	{ 0, 0 },
};

static const struct pci_driver virtio_pci_driver = {
	.name = "virtio-pci",
	.id_table = virtio_pci_id_table,
	.probe = virtio_pci_probe,
};
module_pci_driver(virtio_pci_driver);
