/*
 * The modern interface (VIRTIO 1.2, 4.1.4): four structures somewhere in the BARs, found by vendor
 * capabilities. Where they are and how large is the device's word: each is checked against its BAR
 * before it is mapped, and each access against what was mapped.
 */
#define pr_fmt(fmt) "virtio_pci: " fmt

#include "drivers/pci/pci_regs.h"
#include "drivers/virtio/virtio_io.h"
#include "drivers/virtio/virtio_pci_common.h"
#include "kernel/bug.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/string.h"
#include "kernel/printk.h"
#include "kernel/x86/io.h"

/* struct virtio_pci_cap (4.1.4): offsets in configuration space. */
#define VIRTIO_PCI_CAP_LEN 2      /* 8 */
#define VIRTIO_PCI_CAP_CFG_TYPE 3 /* 8 */
#define VIRTIO_PCI_CAP_BAR 4      /* 8 */
#define VIRTIO_PCI_CAP_OFFSET 8   /* 32 */
#define VIRTIO_PCI_CAP_LENGTH 12  /* 32 */
#define VIRTIO_PCI_CAP_SIZE 16
#define VIRTIO_PCI_NOTIFY_CAP_MULT 16 /* 32: notify_off_multiplier (4.1.4.4) */
#define VIRTIO_PCI_NOTIFY_CAP_SIZE 20

/* struct virtio_pci_common_cfg (4.1.4.3): offsets. */
#define VIRTIO_PCI_COMMON_DFSELECT 0       /* 32, RW: device_feature_select */
#define VIRTIO_PCI_COMMON_DF 4             /* 32, RO */
#define VIRTIO_PCI_COMMON_GFSELECT 8       /* 32, RW: driver_feature_select */
#define VIRTIO_PCI_COMMON_GF 12            /* 32, RW */
#define VIRTIO_PCI_COMMON_MSIX 16          /* 16, RW: config_msix_vector */
#define VIRTIO_PCI_COMMON_NUMQ 18          /* 16, RO */
#define VIRTIO_PCI_COMMON_STATUS 20        /* 8, RW */
#define VIRTIO_PCI_COMMON_CFGGENERATION 21 /* 8, RO */
#define VIRTIO_PCI_COMMON_Q_SELECT 22      /* 16, RW */
#define VIRTIO_PCI_COMMON_Q_SIZE 24        /* 16, RW */
#define VIRTIO_PCI_COMMON_Q_MSIX 26        /* 16, RW */
#define VIRTIO_PCI_COMMON_Q_ENABLE 28      /* 16, RW */
#define VIRTIO_PCI_COMMON_Q_NOFF 30        /* 16, RO: queue_notify_off */
#define VIRTIO_PCI_COMMON_Q_DESC 32        /* 64, RW */
#define VIRTIO_PCI_COMMON_Q_AVAIL 40       /* 64, RW */
#define VIRTIO_PCI_COMMON_Q_USED 48        /* 64, RW */
#define VIRTIO_PCI_COMMON_SIZE 56          /* VIRTIO 1.0's; later fields are not ours */

/* What we ask of each structure (4.1.4.3 to 4.1.4.6), and how much of it we map at most. */
static const struct {
	const char *name;
	u32 min_len, align, map_len;
} vp_structs[VP_NUM_REGIONS] = {
	[VIRTIO_PCI_CAP_COMMON_CFG] = { "common", VIRTIO_PCI_COMMON_SIZE, 4,
					VIRTIO_PCI_COMMON_SIZE },
	[VIRTIO_PCI_CAP_NOTIFY_CFG] = { "notify", 2, 2, 1u << 20 },
	[VIRTIO_PCI_CAP_ISR_CFG] = { "isr", 1, 1, 1 },
	[VIRTIO_PCI_CAP_DEVICE_CFG] = { "device", 1, 4, 4096 },
};

static u8 *common(const struct virtio_pci_device *vp_dev)
{
	return vp_dev->region[VIRTIO_PCI_CAP_COMMON_CFG].addr;
}

/* ---- configuration ---- */

static int vp_get(struct virtio_device *vdev, unsigned int offset, void *buf, unsigned int len)
{
	const struct vp_region *r = &to_vp_device(vdev)->region[VIRTIO_PCI_CAP_DEVICE_CFG];

	return virtio_io_read(r->addr, r->len, offset, buf, len);
}

static u32 vp_generation(struct virtio_device *vdev)
{
	return readb(common(to_vp_device(vdev)) + VIRTIO_PCI_COMMON_CFGGENERATION);
}

/* ---- status and features ---- */

static u8 vp_get_status(struct virtio_device *vdev)
{
	return readb(common(to_vp_device(vdev)) + VIRTIO_PCI_COMMON_STATUS);
}

static void vp_set_status(struct virtio_device *vdev, u8 status)
{
	BUG_ON(status == 0); /* that is a reset */
	writeb(status, common(to_vp_device(vdev)) + VIRTIO_PCI_COMMON_STATUS);
}

static int vp_reset(struct virtio_device *vdev)
{
	writeb(0, common(to_vp_device(vdev)) + VIRTIO_PCI_COMMON_STATUS);
	return virtio_wait_reset(vdev);
}

static u64 vp_get_features(struct virtio_device *vdev)
{
	u8 *cfg = common(to_vp_device(vdev));
	u64 features;

	writel(0, cfg + VIRTIO_PCI_COMMON_DFSELECT);
	features = readl(cfg + VIRTIO_PCI_COMMON_DF);
	writel(1, cfg + VIRTIO_PCI_COMMON_DFSELECT);
	return features | (u64)readl(cfg + VIRTIO_PCI_COMMON_DF) << 32;
}

static int vp_finalize_features(struct virtio_device *vdev)
{
	u8 *cfg = common(to_vp_device(vdev));

	/*
	 * 6.1: a driver of the modern interface accepts VERSION_1, and a device that lacks it is
	 * none.
	 */
	if (!virtio_has_feature(vdev, VIRTIO_F_VERSION_1)) {
		pr_err("%s: modern interface without VERSION_1\n", vp_bus_name(vdev));
		return -EINVAL;
	}
	writel(0, cfg + VIRTIO_PCI_COMMON_GFSELECT);
	writel((u32)vdev->features, cfg + VIRTIO_PCI_COMMON_GF);
	writel(1, cfg + VIRTIO_PCI_COMMON_GFSELECT);
	writel((u32)(vdev->features >> 32), cfg + VIRTIO_PCI_COMMON_GF);
	return 0;
}

/* ---- queues ---- */

static u16 vp_config_vector(struct virtio_pci_device *vp_dev, u16 vector)
{
	writew(vector, common(vp_dev) + VIRTIO_PCI_COMMON_MSIX);
	return readw(common(vp_dev) + VIRTIO_PCI_COMMON_MSIX);
}

static u8 vp_read_isr(struct virtio_pci_device *vp_dev)
{
	return readb(vp_dev->region[VIRTIO_PCI_CAP_ISR_CFG].addr);
}

/* 4.1.3.1: 64-bit fields as two 32-bit halves. */
static void write_addr(u64 addr, u8 *reg)
{
	writel((u32)addr, reg);
	writel((u32)(addr >> 32), reg + 4);
}

/* The size of the selected queue, no larger than max_num: the device is told (4.1.5.1.3). */
static int vp_negotiate_size(struct virtio_pci_device *vp_dev, u16 index, u16 max_num, u16 *num)
{
	u8 *cfg = common(vp_dev);
	u16 size = readw(cfg + VIRTIO_PCI_COMMON_Q_SIZE);

	if (index >= readw(cfg + VIRTIO_PCI_COMMON_NUMQ) || size == 0) {
		pr_err("%s: no queue %u\n", vp_dev->bus_name, index);
		return -ENOENT;
	}
	if (!vp_valid_queue_size(size)) {
		pr_err("%s: queue %u: bad size %u\n", vp_dev->bus_name, index, size);
		return -EINVAL;
	}
	if (readw(cfg + VIRTIO_PCI_COMMON_Q_ENABLE)) {
		pr_err("%s: queue %u: enabled before it was set up\n", vp_dev->bus_name, index);
		return -EIO;
	}
	while (size > max_num)
		size /= 2;
	writew(size, cfg + VIRTIO_PCI_COMMON_Q_SIZE);
	if (readw(cfg + VIRTIO_PCI_COMMON_Q_SIZE) != size) {
		pr_err("%s: queue %u: size %u refused\n", vp_dev->bus_name, index, size);
		return -EIO;
	}
	*num = size;
	return 0;
}

/* V17: where the selected queue is notified. NULL: outside the structure. */
static void *vp_notify_addr(struct virtio_pci_device *vp_dev, u16 index)
{
	const struct vp_region *r = &vp_dev->region[VIRTIO_PCI_CAP_NOTIFY_CFG];
	u64 off = (u64)readw(common(vp_dev) + VIRTIO_PCI_COMMON_Q_NOFF) *
		  vp_dev->notify_off_multiplier;

	if (off & 1 || off + 2 > r->len) {
		pr_err("%s: queue %u: notification at %#llx, beyond %#x\n", vp_dev->bus_name, index,
		       (unsigned long long)off, r->len);
		return NULL;
	}
	return r->addr + off;
}

/* Everything but queue_enable, which cannot be taken back except by a reset. */
static int setup_vq(struct virtio_pci_device *vp_dev, u16 index, vq_callback_t *callback,
		    const char *name, u16 max_num, u16 vector, struct virtqueue **out)
{
	u8 *cfg = common(vp_dev);
	struct virtqueue *vq;
	void *notify;
	u16 num;
	int err;

	writew(index, cfg + VIRTIO_PCI_COMMON_Q_SELECT);
	err = vp_negotiate_size(vp_dev, index, max_num, &num);
	if (err)
		return err;
	notify = vp_notify_addr(vp_dev, index);
	if (!notify)
		return -EINVAL;
	vq = vring_create_virtqueue(index, num, &vp_dev->vdev, vp_notify, callback, name);
	if (!vq) {
		pr_err("%s: queue %u: no memory for %u entries\n", vp_dev->bus_name, index, num);
		return -ENOMEM;
	}
	vq->priv = notify;
	write_addr(virtqueue_get_desc_addr(vq), cfg + VIRTIO_PCI_COMMON_Q_DESC);
	write_addr(virtqueue_get_avail_addr(vq), cfg + VIRTIO_PCI_COMMON_Q_AVAIL);
	write_addr(virtqueue_get_used_addr(vq), cfg + VIRTIO_PCI_COMMON_Q_USED);
	if (vp_msix_enabled(vp_dev)) {
		writew(vector, cfg + VIRTIO_PCI_COMMON_Q_MSIX);
		/* 4.1.5.1.2.1: read back; NO_VECTOR means that the device could not. */
		if (readw(cfg + VIRTIO_PCI_COMMON_Q_MSIX) != vector) {
			vring_del_virtqueue(vq);
			return -EBUSY;
		}
	}
	*out = vq;
	return 0;
}

static void del_vq(struct virtio_pci_device *vp_dev, struct virtqueue *vq)
{
	if (vp_msix_enabled(vp_dev)) {
		writew(vq->index, common(vp_dev) + VIRTIO_PCI_COMMON_Q_SELECT);
		writew(VIRTIO_MSI_NO_VECTOR, common(vp_dev) + VIRTIO_PCI_COMMON_Q_MSIX);
	}
	vring_del_virtqueue(vq);
}

static int vp_modern_find_vqs(struct virtio_device *vdev, unsigned int nvqs,
			      struct virtqueue *vqs[], vq_callback_t *callbacks[],
			      const char *const names[], u16 max_num)
{
	u8 *cfg = common(to_vp_device(vdev));
	int err;

	err = vp_find_vqs(vdev, nvqs, vqs, callbacks, names, max_num);
	if (err)
		return err;
	/* 4.1.4.3.2: after all other fields, and never 0. */
	for (unsigned int i = 0; i < nvqs; i++) {
		writew(vqs[i]->index, cfg + VIRTIO_PCI_COMMON_Q_SELECT);
		writew(1, cfg + VIRTIO_PCI_COMMON_Q_ENABLE);
		if (readw(cfg + VIRTIO_PCI_COMMON_Q_ENABLE) != 1) {
			pr_err("%s: queue %u: cannot be enabled\n", vp_bus_name(vdev), i);
			goto err_reset;
		}
	}
	return 0;

err_reset:
	/* Queues that are enabled already must not outlive their memory. */
	(void)vp_reset(vdev);
	vp_del_vqs(vdev);
	return -EIO;
}

/* ---- probe ---- */

/* V15: a capability is taken if it is whole and its structure lies inside a memory BAR, aligned. */
static bool vp_modern_map_capability(struct virtio_pci_device *vp_dev, u8 pos, unsigned int type)
{
	struct pci_dev *pdev = vp_dev->pci_dev;
	bool notify = type == VIRTIO_PCI_CAP_NOTIFY_CFG;
	u32 want = notify ? VIRTIO_PCI_NOTIFY_CAP_SIZE : VIRTIO_PCI_CAP_SIZE;
	u32 offset, length;
	u8 bar;

	if (pos + want > 256 || pci_read_config_byte(pdev, pos + VIRTIO_PCI_CAP_LEN) < want)
		return false;
	bar = pci_read_config_byte(pdev, pos + VIRTIO_PCI_CAP_BAR);
	/* 4.1.4.1: I/O BARs are optional to us; a device has its structures in memory too. */
	if (bar >= PCI_STD_NUM_BARS || pdev->bar[bar].flags & PCI_BAR_IO)
		return false;
	offset = pci_read_config_dword(pdev, pos + VIRTIO_PCI_CAP_OFFSET);
	length = pci_read_config_dword(pdev, pos + VIRTIO_PCI_CAP_LENGTH);
	if (offset & (vp_structs[type].align - 1) || length < vp_structs[type].min_len ||
	    (u64)offset + length > pdev->bar[bar].size)
		return false;
	length = min(length, vp_structs[type].map_len);
	vp_dev->region[type].addr = pci_iomap_range(pdev, bar, offset, length);
	vp_dev->region[type].len = length;
	if (notify)
		vp_dev->notify_off_multiplier =
			pci_read_config_dword(pdev, pos + VIRTIO_PCI_NOTIFY_CAP_MULT);
	return vp_dev->region[type].addr != NULL;
}

/* 4.1.4.1: of each type, the first that we can use. */
static void vp_modern_find_structs(struct virtio_pci_device *vp_dev)
{
	struct pci_dev *pdev = vp_dev->pci_dev;
	u8 pos = pci_find_capability(pdev, PCI_CAP_ID_VNDR);

	for (int ttl = PCI_FIND_CAP_TTL; pos && ttl > 0; ttl--) {
		u8 type = pci_read_config_byte(pdev, pos + VIRTIO_PCI_CAP_CFG_TYPE);

		if (type >= VIRTIO_PCI_CAP_COMMON_CFG && type < VP_NUM_REGIONS &&
		    !vp_dev->region[type].addr && !vp_modern_map_capability(vp_dev, pos, type))
			pr_warn("%s: capability %#x (%s): not usable\n", pdev->name, pos,
				vp_structs[type].name);
		pos = pci_find_next_capability(pdev, pos, PCI_CAP_ID_VNDR);
	}
}

static const struct virtio_config_ops virtio_pci_config_ops = {
	.get = vp_get,
	.generation = vp_generation,
	.get_status = vp_get_status,
	.set_status = vp_set_status,
	.reset = vp_reset,
	.get_features = vp_get_features,
	.finalize_features = vp_finalize_features,
	.find_vqs = vp_modern_find_vqs,
	.del_vqs = vp_del_vqs,
	.irq_name = vp_irq_name,
	.bus_name = vp_bus_name,
};

int virtio_pci_modern_probe(struct virtio_pci_device *vp_dev)
{
	vp_modern_find_structs(vp_dev);
	/* The device's own configuration is optional (4.1.4.6). */
	if (!vp_dev->region[VIRTIO_PCI_CAP_COMMON_CFG].addr ||
	    !vp_dev->region[VIRTIO_PCI_CAP_NOTIFY_CFG].addr ||
	    !vp_dev->region[VIRTIO_PCI_CAP_ISR_CFG].addr)
		return -ENODEV;
	vp_dev->vdev.config = &virtio_pci_config_ops;
	vp_dev->setup_vq = setup_vq;
	vp_dev->del_vq = del_vq;
	vp_dev->config_vector = vp_config_vector;
	vp_dev->read_isr = vp_read_isr;
	return 0;
}
