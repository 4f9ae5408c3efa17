/* The life of a virtio device, whatever the transport (VIRTIO 1.2, 3.1.1): see virtio.h. */
#define pr_fmt(fmt) "virtio: " fmt

#include "drivers/virtio/virtio.h"

#include "drivers/bus.h"
#include "drivers/virtio/virtio_config.h"
#include "kernel/bug.h"
#include "kernel/lib/errno.h"
#include "kernel/printk.h"
#include "kernel/time.h"

#define CONFIG_READ_TRIES 16
#define RESET_TIMEOUT_US 1000000u
#define STATUS_GONE 0xff /* what a device that has left the bus reads as */

void virtio_add_status(struct virtio_device *vdev, u8 status)
{
	vdev->config->set_status(vdev, vdev->config->get_status(vdev) | status);
}

int register_virtio_device(struct virtio_device *vdev)
{
	int err;

	/* Step 1: whoever used it before us, its queues and interrupts are gone then. */
	err = vdev->config->reset(vdev);
	if (err) {
		pr_err("%s: %s: reset failed: error %d\n", vdev->name, vdev->config->bus_name(vdev),
		       -err);
		return -EIO;
	}
	/* Step 2; step 3 when a driver is found. */
	virtio_add_status(vdev, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	err = virtio_bus_probe(vdev);
	if (err && !vdev->failed)
		virtio_device_fail(vdev);
	return err;
}

int virtio_finalize_features(struct virtio_device *vdev, u64 supported)
{
	u64 offered = vdev->config->get_features(vdev);
	u8 status;
	int err;

	/*
	 * VERSION_1 is the transport's, which demands or cannot have it. ACCESS_PLATFORM: device
	 * addresses are those of the platform, and ours are physical, as on any machine without an
	 * IOMMU.
	 */
	supported |= vring_transport_features() & ~vdev->masked;
	supported |= 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_ACCESS_PLATFORM;
	vdev->features = offered & supported;
	err = vdev->config->finalize_features(vdev);
	if (err)
		goto err_fail;
	/* Legacy devices have no FEATURES_OK (VIRTIO 1.2, 3.1.2). */
	if (!virtio_has_feature(vdev, VIRTIO_F_VERSION_1))
		return 0;
	virtio_add_status(vdev, VIRTIO_CONFIG_S_FEATURES_OK);
	status = vdev->config->get_status(vdev);
	if (status == STATUS_GONE || !(status & VIRTIO_CONFIG_S_FEATURES_OK))
		goto err_fail;
	return 0;

err_fail:
	pr_err("%s: %s: features %#llx of %#llx refused\n", vdev->name,
	       vdev->config->bus_name(vdev), (unsigned long long)vdev->features,
	       (unsigned long long)offered);
	virtio_device_fail(vdev);
	return -ENODEV;
}

void virtio_device_ready(struct virtio_device *vdev)
{
	virtio_add_status(vdev, VIRTIO_CONFIG_S_DRIVER_OK);
}

void virtio_device_fail(struct virtio_device *vdev)
{
	vdev->failed = true;
	virtio_add_status(vdev, VIRTIO_CONFIG_S_FAILED);
	if (vdev->config->reset(vdev))
		pr_err("%s: %s: does not answer a reset\n", vdev->name,
		       vdev->config->bus_name(vdev));
}

int virtio_wait_reset(struct virtio_device *vdev)
{
	u32 step = 10;

	/* 2.4.1, 4.1.4.3.2: until device_status reads 0. Most devices answer at once. */
	for (u32 us = 0; us < RESET_TIMEOUT_US; us += step) {
		u8 status = vdev->config->get_status(vdev);

		if (status == 0)
			return 0;
		if (status == STATUS_GONE)
			return -EIO;
		if (us >= 1000)
			step = 1000;
		udelay(step);
	}
	return -ETIMEDOUT;
}

int virtio_cread_bytes(struct virtio_device *vdev, unsigned int offset, void *buf, unsigned int len)
{
	const struct virtio_config_ops *ops = vdev->config;

	for (int i = 0; i < CONFIG_READ_TRIES; i++) {
		u32 before = ops->generation ? ops->generation(vdev) : 0;
		int err = ops->get(vdev, offset, buf, len);

		if (err || !ops->generation || ops->generation(vdev) == before)
			return err;
	}
	pr_warn_ratelimited("%s: configuration changes without end\n", vdev->name);
	return -EIO;
}
