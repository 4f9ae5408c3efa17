/*
 * The entropy device (VIRTIO 1.2, 5.4), asked once at boot: one buffer, one answer, and then it is
 * put back to sleep. Also the smallest complete user of virtio_ring.h: the whole life of a device
 * in one function.
 */
#define pr_fmt(fmt) "virtio_rng: " fmt

#include "drivers/bus.h"
#include "drivers/virtio/virtio_config.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/string.h"
#include "kernel/mm.h"
#include "kernel/printk.h"
#include "kernel/random.h"
#include "kernel/time.h"

#define RNG_BYTES 64 /* twice the pool's key: a source may be worth half of what it says */
#define RNG_QUEUE_SIZE 8
#define RNG_POLL_US 20
#define RNG_TIMEOUT_US 5000u /* the host has its randomness at hand, or boot goes on without */

/* Posts the buffer and waits a little. Returns how many bytes the device wrote. */
static u32 virtrng_request(struct virtqueue *vq, dma_addr_t addr, void *buf)
{
	const struct virtio_sg sg = { addr, RNG_BYTES };
	u32 len = 0;

	if (virtqueue_add_inbuf(vq, &sg, 1, buf) || !virtqueue_kick(vq))
		return 0;
	for (u32 us = 0; us < RNG_TIMEOUT_US; us += RNG_POLL_US) {
		if (virtqueue_get_buf(vq, &len))
			return len;
		if (virtqueue_is_broken(vq))
			return 0;
		udelay(RNG_POLL_US);
	}
	return 0;
}

static int virtrng_probe(struct virtio_device *vdev)
{
	static vq_callback_t *callbacks[] = { NULL }; /* polled: no interrupt */
	static const char *const names[] = { "requests" };
	struct virtqueue *vq;
	dma_addr_t addr;
	void *buf;
	u32 len;
	int err;

	buf = dma_alloc_coherent(RNG_BYTES, &addr);
	if (!buf)
		return -ENOMEM;
	err = virtio_finalize_features(vdev, 0); /* 5.4.3: it has none of its own */
	if (err)
		goto err_free;
	err = vdev->config->find_vqs(vdev, 1, &vq, callbacks, names, RNG_QUEUE_SIZE);
	if (err)
		goto err_free;
	virtio_device_ready(vdev);

	len = virtrng_request(vq, addr, buf);
	if (len) {
		add_hwgenerator_randomness("virtio-rng", buf, len);
		pr_info("%s: %s: %u bytes\n", vdev->name, vdev->config->bus_name(vdev), len);
	} else {
		pr_warn("%s: %s: no answer in %u us\n", vdev->name, vdev->config->bus_name(vdev),
			RNG_TIMEOUT_US);
	}

	/* A device that will not stop may still write: then buffer and ring stay where they are. */
	err = vdev->config->reset(vdev);
	if (err)
		return err;
	while (virtqueue_detach_unused_buf(vq))
		;
	vdev->config->del_vqs(vdev);
	memset(buf, 0, RNG_BYTES); /* what was secret is not left for the next user of the page */
err_free:
	dma_free_coherent(RNG_BYTES, buf, addr);
	return err;
}

static const struct virtio_driver virtio_rng_driver = {
	.name = "virtio_rng",
	.device = VIRTIO_ID_RNG,
	.probe = virtrng_probe,
};
module_virtio_driver(virtio_rng_driver);
