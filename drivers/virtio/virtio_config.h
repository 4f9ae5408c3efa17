/*
 * What a transport gives: the table that lets one driver run over PCI (modern, legacy), MMIO and
 * the fake device of the tests. Task context; notify() and the IRQ side also in softirq.
 */
#ifndef DRIVERS_VIRTIO_VIRTIO_CONFIG_H
#define DRIVERS_VIRTIO_VIRTIO_CONFIG_H

#include "drivers/virtio/virtio.h"
#include "drivers/virtio/virtio_ring.h"

struct virtio_config_ops {
	/*
	 * Device configuration (VIRTIO 1.2, 2.5); offset + len must lie inside, else all bytes read
	 * 0 and -ERANGE.
	 */
	int (*get)(struct virtio_device *vdev, unsigned int offset, void *buf, unsigned int len);
	/* May be NULL (legacy): then multi-field reads are not guarded. */
	u32 (*generation)(struct virtio_device *vdev);
	u8 (*get_status)(struct virtio_device *vdev);
	void (*set_status)(struct virtio_device *vdev, u8 status);
	/*
	 * Writes 0 and waits until it reads back 0, at most 1 s. 0, or -EIO (gone, all ones) /
	 * -ETIMEDOUT.
	 */
	int (*reset)(struct virtio_device *vdev);
	u64 (*get_features)(struct virtio_device *vdev);
	/* Writes vdev->features. 0 or -EINVAL (a bit the transport cannot express). */
	int (*finalize_features)(struct virtio_device *vdev);
	/*
	 * Makes nvqs queues: sizes from the device (checked, at most max_num each), rings,
	 * interrupts: one MSI-X vector each, else one shared vector, else INTx; none if there is no
	 * callback and no config_changed. All or none. Returns 0 or -errno, logged. A legacy queue
	 * cannot be made smaller: there num may exceed max_num.
	 */
	int (*find_vqs)(struct virtio_device *vdev, unsigned int nvqs, struct virtqueue *vqs[],
			vq_callback_t *callbacks[], const char *const names[], u16 max_num);
	/* Frees queues and interrupts. The device has been reset. */
	void (*del_vqs)(struct virtio_device *vdev);
	/* "msix", "msix-shared", "intx", "gsi 47", "polled": what find_vqs got. */
	const char *(*irq_name)(struct virtio_device *vdev);
	/* "0000:00:03.0 modern", "mmio@0xfeb02e00": for the probe line. */
	const char *(*bus_name)(struct virtio_device *vdev);
};

/*
 * Reads a piece of the configuration between two equal generations, at most 16 tries
 * (VIRTIO 1.2, 2.5.3). 0, -ERANGE, -EIO.
 */
int __must_check virtio_cread_bytes(struct virtio_device *vdev, unsigned int offset, void *buf,
				    unsigned int len);

/* Waits, at most 1 s, until the status reads 0. 0, -EIO (gone) or -ETIMEDOUT. */
int __must_check virtio_wait_reset(struct virtio_device *vdev);

#endif
