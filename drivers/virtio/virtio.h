/*
 * A virtio device as its driver sees it, and the steps of its life (VIRTIO 1.2, 3.1). A transport
 * (virtio_pci_*.c) finds the device, fills struct virtio_device and calls register_virtio_device();
 * that resets it, acknowledges it and probes the driver of its type. Task context.
 */
#ifndef DRIVERS_VIRTIO_VIRTIO_H
#define DRIVERS_VIRTIO_VIRTIO_H

#include "kernel/lib/types.h"

/* Device status bits (VIRTIO 1.2, 2.1): masks. */
#define VIRTIO_CONFIG_S_ACKNOWLEDGE 0x01
#define VIRTIO_CONFIG_S_DRIVER 0x02
#define VIRTIO_CONFIG_S_DRIVER_OK 0x04
#define VIRTIO_CONFIG_S_FEATURES_OK 0x08
#define VIRTIO_CONFIG_S_NEEDS_RESET 0x40
#define VIRTIO_CONFIG_S_FAILED 0x80

/* Device types (VIRTIO 1.2, 5): numbers. */
#define VIRTIO_ID_NET 1
#define VIRTIO_ID_RNG 4

/* Feature bits common to all devices (VIRTIO 1.2, 6): bit numbers. */
#define VIRTIO_F_NOTIFY_ON_EMPTY 24 /* legacy */
#define VIRTIO_F_ANY_LAYOUT 27      /* legacy */
#define VIRTIO_RING_F_INDIRECT_DESC 28
#define VIRTIO_RING_F_EVENT_IDX 29
#define VIRTIO_F_VERSION_1 32
#define VIRTIO_F_ACCESS_PLATFORM 33
#define VIRTIO_F_RING_PACKED 34

struct virtio_config_ops;
struct virtqueue;

struct virtio_device {
	const char *name; /* "virtio0" for the log */
	u32 id;           /* VIRTIO_ID_* */
	const struct virtio_config_ops *config;
	u64 masked;   /* the driver's: not to be accepted, whoever implements it */
	u64 features; /* negotiated: what virtio_has_feature() answers from */
	bool failed;  /* status FAILED was set; left alone from then on */
	void *priv;   /* the driver's */
	/*
	 * The driver's: the configuration has changed (transport calls it from hard IRQ). May be
	 * NULL.
	 */
	void (*config_changed)(struct virtio_device *vdev);
};

static inline bool virtio_has_feature(const struct virtio_device *vdev, unsigned int fbit)
{
	return vdev->features & (1ull << fbit);
}

/*
 * Steps 1 to 3 of 3.1.1, then the driver. Returns 0, -ENODEV (no driver), -EIO (reset failed) or
 * the probe's error.
 */
int __must_check register_virtio_device(struct virtio_device *vdev);

/*
 * Steps 4 to 6: accepts (offered & supported), supported being what the driver implements, plus
 * what ring and transport implement themselves, less vdev->masked. Re-reads FEATURES_OK. Returns 0,
 * or -ENODEV if the device refuses or demands what we have not got; then FAILED is set. Logged.
 */
int __must_check virtio_finalize_features(struct virtio_device *vdev, u64 supported);

/* Step 8: the device is live. */
void virtio_device_ready(struct virtio_device *vdev);
/* Gives the device up: status FAILED, then reset, so that it touches our memory no more. */
void virtio_device_fail(struct virtio_device *vdev);

/* ORs bits into the status (VIRTIO 1.2, 2.1.1: never clear one but by reset). */
void virtio_add_status(struct virtio_device *vdev, u8 status);

#endif
