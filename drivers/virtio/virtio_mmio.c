/*
 * Virtio over MMIO, version 2 (VIRTIO 1.2, 4.2): one block of registers, one wire. Which blocks
 * there are is in virtio_mmio_scan.c. The device is not trusted here either: sizes are checked, and
 * what lies in RAM is no device.
 */
#define pr_fmt(fmt) "virtio_mmio: " fmt

#include "drivers/virtio/virtio_mmio.h"

#include "drivers/virtio/virtio_config.h"
#include "drivers/virtio/virtio_io.h"
#include "drivers/virtio/virtio_mmio_dev.h"
#include "kernel/bug.h"
#include "kernel/lib/container_of.h"
#include "kernel/printk.h"
#include "kernel/slab.h"

/* Registers (4.2.2): offsets, 32 bits each. */
#define VIRTIO_MMIO_MAGIC_VALUE 0x000 /* RO: "virt" */
#define VIRTIO_MMIO_VERSION 0x004     /* RO: 2; 1 is the legacy interface */
#define VIRTIO_MMIO_DEVICE_ID 0x008   /* RO: VIRTIO_ID_*; 0: nothing here */
#define VIRTIO_MMIO_DEVICE_FEATURES 0x010
#define VIRTIO_MMIO_DEVICE_FEATURES_SEL 0x014
#define VIRTIO_MMIO_DRIVER_FEATURES 0x020
#define VIRTIO_MMIO_DRIVER_FEATURES_SEL 0x024
#define VIRTIO_MMIO_QUEUE_SEL 0x030
#define VIRTIO_MMIO_QUEUE_NUM_MAX 0x034
#define VIRTIO_MMIO_QUEUE_NUM 0x038
#define VIRTIO_MMIO_QUEUE_READY 0x044
#define VIRTIO_MMIO_QUEUE_NOTIFY 0x050
#define VIRTIO_MMIO_INTERRUPT_STATUS 0x060
#define VIRTIO_MMIO_INTERRUPT_ACK 0x064
#define VIRTIO_MMIO_STATUS 0x070
#define VIRTIO_MMIO_QUEUE_DESC_LOW 0x080 /* and the high half behind it, here and below */
#define VIRTIO_MMIO_QUEUE_DRIVER_LOW 0x090
#define VIRTIO_MMIO_QUEUE_DEVICE_LOW 0x0a0
#define VIRTIO_MMIO_CONFIG_GENERATION 0x0fc
#define VIRTIO_MMIO_CONFIG 0x100

#define VIRTIO_MMIO_MAGIC 0x74726976 /* "virt", little endian */

/* Interrupt status and acknowledgement: masks. */
#define VIRTIO_MMIO_INT_VRING 0x1
#define VIRTIO_MMIO_INT_CONFIG 0x2

#define VM_MAX_VQS 8

struct virtio_mmio_device {
	struct virtio_device vdev;
	u8 *regs;
	u32 size;
	int irq; /* number; taken while nvqs is not 0 */
	char name[16], bus_name[32], irq_name[16];
	unsigned int nvqs;
	bool irq_requested;
	struct virtqueue *vqs[VM_MAX_VQS];
};

#define to_vm_device(_vdev) container_of(_vdev, struct virtio_mmio_device, vdev)

static u32 vm_read(const struct virtio_device *vdev, u32 reg)
{
	return readl(to_vm_device(vdev)->regs + reg);
}

static void vm_write(const struct virtio_device *vdev, u32 v, u32 reg)
{
	writel(v, to_vm_device(vdev)->regs + reg);
}

/* ---- configuration, status, features ---- */

static int vm_get(struct virtio_device *vdev, unsigned int offset, void *buf, unsigned int len)
{
	const struct virtio_mmio_device *vm_dev = to_vm_device(vdev);

	return virtio_io_read(vm_dev->regs + VIRTIO_MMIO_CONFIG, vm_dev->size - VIRTIO_MMIO_CONFIG,
			      offset, buf, len);
}

static u32 vm_generation(struct virtio_device *vdev)
{
	return vm_read(vdev, VIRTIO_MMIO_CONFIG_GENERATION);
}

static u8 vm_get_status(struct virtio_device *vdev)
{
	return (u8)vm_read(vdev, VIRTIO_MMIO_STATUS);
}

static void vm_set_status(struct virtio_device *vdev, u8 status)
{
	BUG_ON(status == 0); /* that is a reset */
	vm_write(vdev, status, VIRTIO_MMIO_STATUS);
}

static int vm_reset(struct virtio_device *vdev)
{
	vm_write(vdev, 0, VIRTIO_MMIO_STATUS);
	return virtio_wait_reset(vdev);
}

static u64 vm_get_features(struct virtio_device *vdev)
{
	u64 features;

	vm_write(vdev, 1, VIRTIO_MMIO_DEVICE_FEATURES_SEL);
	features = (u64)vm_read(vdev, VIRTIO_MMIO_DEVICE_FEATURES) << 32;
	vm_write(vdev, 0, VIRTIO_MMIO_DEVICE_FEATURES_SEL);
	return features | vm_read(vdev, VIRTIO_MMIO_DEVICE_FEATURES);
}

static int vm_finalize_features(struct virtio_device *vdev)
{
	/* 6.1: version 2 is VERSION_1's interface. */
	if (!virtio_has_feature(vdev, VIRTIO_F_VERSION_1)) {
		pr_err("%s: no VERSION_1\n", to_vm_device(vdev)->bus_name);
		return -EINVAL;
	}
	vm_write(vdev, 1, VIRTIO_MMIO_DRIVER_FEATURES_SEL);
	vm_write(vdev, (u32)(vdev->features >> 32), VIRTIO_MMIO_DRIVER_FEATURES);
	vm_write(vdev, 0, VIRTIO_MMIO_DRIVER_FEATURES_SEL);
	vm_write(vdev, (u32)vdev->features, VIRTIO_MMIO_DRIVER_FEATURES);
	return 0;
}

/* ---- notification and interrupt ---- */

static noinline bool vm_notify(struct virtqueue *vq)
{
	writel(vq->index, vq->priv);
	return true;
}

/*
 * 4.2.2: the status says what it was, and writing it back lets go of the wire. First that, then the
 * queues: what comes meanwhile raises the wire again, which may be an edge and seen only then.
 */
static irqreturn_t vm_interrupt(int irq, void *opaque)
{
	struct virtio_mmio_device *vm_dev = opaque;
	struct virtio_device *vdev = &vm_dev->vdev;
	u32 status = vm_read(vdev, VIRTIO_MMIO_INTERRUPT_STATUS);

	if (status == 0 || status == 0xffffffff) /* not us; or the device is gone */
		return IRQ_NONE;
	vm_write(vdev, status, VIRTIO_MMIO_INTERRUPT_ACK);
	if (status & VIRTIO_MMIO_INT_CONFIG && vdev->config_changed)
		vdev->config_changed(vdev);
	for (unsigned int i = 0; i < vm_dev->nvqs; i++)
		(void)vring_interrupt(irq, vm_dev->vqs[i]);
	return IRQ_HANDLED;
}

/* ---- queues ---- */

static void vm_write_addr(struct virtio_device *vdev, u64 addr, u32 reg)
{
	vm_write(vdev, (u32)addr, reg);
	vm_write(vdev, (u32)(addr >> 32), reg + 4);
}

/* V13: the largest power of two that both sides can have. 0: none (logged). */
static u16 vm_queue_size(struct virtio_mmio_device *vm_dev, u16 index, u16 max_num)
{
	u32 most = vm_read(&vm_dev->vdev, VIRTIO_MMIO_QUEUE_NUM_MAX);
	u32 num = VIRTQ_MAX_SIZE;

	if (most == 0 || most > VIRTQ_MAX_SIZE) {
		pr_err("%s: queue %u: bad size %u\n", vm_dev->bus_name, index, most);
		return 0;
	}
	while (num > most || num > max_num)
		num /= 2;
	return (u16)num;
}

/* 4.2.3.2, in its order. */
static int vm_setup_vq(struct virtio_mmio_device *vm_dev, u16 index, vq_callback_t *callback,
		       const char *name, u16 max_num)
{
	struct virtio_device *vdev = &vm_dev->vdev;
	struct virtqueue *vq;
	u16 num;

	vm_write(vdev, index, VIRTIO_MMIO_QUEUE_SEL);
	if (vm_read(vdev, VIRTIO_MMIO_QUEUE_READY)) {
		pr_err("%s: queue %u: ready before it was set up\n", vm_dev->bus_name, index);
		return -EIO;
	}
	num = vm_queue_size(vm_dev, index, max_num);
	if (!num)
		return -ENOENT;
	vq = vring_create_virtqueue(index, num, vdev, vm_notify, callback, name);
	if (!vq) {
		pr_err("%s: queue %u: no memory for %u entries\n", vm_dev->bus_name, index, num);
		return -ENOMEM;
	}
	vq->priv = vm_dev->regs + VIRTIO_MMIO_QUEUE_NOTIFY;
	vm_write(vdev, num, VIRTIO_MMIO_QUEUE_NUM);
	vm_write_addr(vdev, virtqueue_get_desc_addr(vq), VIRTIO_MMIO_QUEUE_DESC_LOW);
	vm_write_addr(vdev, virtqueue_get_avail_addr(vq), VIRTIO_MMIO_QUEUE_DRIVER_LOW);
	vm_write_addr(vdev, virtqueue_get_used_addr(vq), VIRTIO_MMIO_QUEUE_DEVICE_LOW);
	vm_write(vdev, 1, VIRTIO_MMIO_QUEUE_READY);
	if (vm_read(vdev, VIRTIO_MMIO_QUEUE_READY) != 1) {
		pr_err("%s: queue %u: cannot be made ready\n", vm_dev->bus_name, index);
		vring_del_virtqueue(vq);
		return -EIO;
	}
	vm_dev->vqs[vm_dev->nvqs++] = vq; /* last: from here on the handler sees it */
	return 0;
}

static void vm_del_vqs(struct virtio_device *vdev)
{
	struct virtio_mmio_device *vm_dev = to_vm_device(vdev);

	if (vm_dev->irq_requested)
		free_irq(vm_dev->irq, vm_dev);
	vm_dev->irq_requested = false;
	while (vm_dev->nvqs) {
		vm_dev->nvqs--;
		vring_del_virtqueue(vm_dev->vqs[vm_dev->nvqs]);
	}
}

static int vm_find_vqs(struct virtio_device *vdev, unsigned int nvqs, struct virtqueue *vqs[],
		       vq_callback_t *callbacks[], const char *const names[], u16 max_num)
{
	struct virtio_mmio_device *vm_dev = to_vm_device(vdev);
	bool wanted = vdev->config_changed != NULL;
	int err = 0;

	BUG_ON(vm_dev->nvqs || nvqs > VM_MAX_VQS || !max_num);
	for (unsigned int i = 0; i < nvqs; i++)
		wanted = wanted || callbacks[i];
	if (wanted) {
		err = vm_dev->irq > 0 ? request_irq(vm_dev->irq, vm_interrupt, IRQF_SHARED,
						    vdev->name, vm_dev) :
					-ENODEV;
		if (err) {
			pr_err("%s: no interrupt to be had\n", vm_dev->bus_name);
			return err;
		}
		vm_dev->irq_requested = true;
	}
	for (unsigned int i = 0; i < nvqs && !err; i++)
		err = vm_setup_vq(vm_dev, (u16)i, callbacks[i], names[i], max_num);
	if (err) {
		/* Queues that are ready already must not outlive their memory. */
		(void)vm_reset(vdev);
		vm_del_vqs(vdev);
		return err;
	}
	for (unsigned int i = 0; i < nvqs; i++)
		vqs[i] = vm_dev->vqs[i];
	return 0;
}

static const char *vm_irq_name(struct virtio_device *vdev)
{
	const struct virtio_mmio_device *vm_dev = to_vm_device(vdev);

	return vm_dev->irq_requested ? vm_dev->irq_name : "polled";
}

static const char *vm_bus_name(struct virtio_device *vdev)
{
	return to_vm_device(vdev)->bus_name;
}

static const struct virtio_config_ops virtio_mmio_config_ops = {
	.get = vm_get,
	.generation = vm_generation,
	.get_status = vm_get_status,
	.set_status = vm_set_status,
	.reset = vm_reset,
	.get_features = vm_get_features,
	.finalize_features = vm_finalize_features,
	.find_vqs = vm_find_vqs,
	.del_vqs = vm_del_vqs,
	.irq_name = vm_irq_name,
	.bus_name = vm_bus_name,
};

/* ---- probe ---- */

/* The type of the device whose registers these are. 0: none; negative: not for us (logged). */
static int vm_identify(const u8 *regs, const struct vm_slot *slot)
{
	u32 id = readl(regs + VIRTIO_MMIO_DEVICE_ID), version;
	bool known = slot->named || (id && id != 0xffffffff);

	/* An empty slot costs this one read. */
	if (!known)
		return 0;
	if (readl(regs + VIRTIO_MMIO_MAGIC_VALUE) != VIRTIO_MMIO_MAGIC) {
		pr_err("%#llx: no virtio device here\n", (unsigned long long)slot->base);
		return -ENODEV;
	}
	if (!id)
		return 0;
	version = readl(regs + VIRTIO_MMIO_VERSION);
	if (version == 1) {
		pr_err("%#llx: device %u has the legacy interface (version 1), which is not "
		       "supported; QEMU: -global virtio-mmio.force-legacy=false\n",
		       (unsigned long long)slot->base, id);
		return -ENODEV;
	}
	if (version != 2) {
		pr_err("%#llx: device %u has version %u, which is not known\n",
		       (unsigned long long)slot->base, id, version);
		return -ENODEV;
	}
	return id <= 0xffff ? (int)id : -ENODEV;
}

int virtio_mmio_probe(const struct vm_slot *slot)
{
	static unsigned int next_index;
	struct virtio_mmio_device *vm_dev;
	u8 *regs = ioremap(slot->base, slot->size);
	int id, err;

	if (!regs) {
		pr_err("%#llx: cannot be mapped\n", (unsigned long long)slot->base);
		return -EINVAL;
	}
	id = vm_identify(regs, slot);
	if (id <= 0)
		return id ? id : -ENODEV;
	vm_dev = kzalloc(sizeof(*vm_dev));
	if (!vm_dev)
		return -ENOMEM;
	vm_dev->regs = regs;
	vm_dev->size = slot->size;
	vm_dev->vdev.id = (u32)id;
	vm_dev->vdev.name = vm_dev->name;
	vm_dev->vdev.config = &virtio_mmio_config_ops;
	snprintf(vm_dev->name, sizeof(vm_dev->name), "virtio-mmio%u", next_index++);
	snprintf(vm_dev->bus_name, sizeof(vm_dev->bus_name), "mmio@%#llx",
		 (unsigned long long)slot->base);
	snprintf(vm_dev->irq_name, sizeof(vm_dev->irq_name), "gsi %u", slot->gsi);
	/* None is an error only for a driver that wants one. */
	vm_dev->irq = acpi_register_gsi(slot->gsi, slot->trigger, slot->polarity);
	err = register_virtio_device(&vm_dev->vdev);
	/* A driver that could not stop the device has left its queues: their handler needs us. */
	if (err && !vm_dev->nvqs)
		kfree(vm_dev);
	return err;
}
