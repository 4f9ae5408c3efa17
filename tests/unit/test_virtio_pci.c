/* The PCI transports of virtio, modern and legacy, against fake devices that are strict, and that
 * lie. */
#include "tests/unit/test.h"

#include <string.h>

#include "drivers/bus.h"
#include "drivers/pci/pci.h"
#include "drivers/pci/pci_regs.h"
#include "drivers/virtio/virtio_pci_common.h"
#include "kernel/lib/errno.h"
#include "kernel/random.h"
#include "kernel/slab.h"
#include "kernel/time.h"
#include "tests/fake/fake_kernel.h"
#include "tests/fake/fake_virtio_pci.h"

#define TYPE_TEST 42
#define F_A (1ull << 3)
#define F_B (1ull << 40)

/* ---- a driver that does as the test says ---- */

static struct {
	u64 supported;
	unsigned int nvqs;
	u16 max_num;
	bool polled, with_config, give_up;
	/* what came of it */
	struct virtio_device *vdev;
	struct virtqueue *vq[3];
	int features_err, vqs_err, probes;
	unsigned int called[3], config_called;
} drv;

static void called0(struct virtqueue *vq)
{
	assert_int_equal(vq->index, 0);
	drv.called[0]++;
}

static void called1(struct virtqueue *vq)
{
	assert_int_equal(vq->index, 1);
	drv.called[1]++;
}

static void config_changed(struct virtio_device *vdev)
{
	assert_ptr_equal(vdev, drv.vdev);
	drv.config_called++;
}

static int test_probe(struct virtio_device *vdev)
{
	static vq_callback_t *callbacks[] = { called0, called1, NULL };
	static vq_callback_t *none[3];
	static const char *const names[] = { "zero", "one", "two" };

	drv.probes++;
	drv.vdev = vdev;
	if (drv.with_config)
		vdev->config_changed = config_changed;
	drv.features_err = virtio_finalize_features(vdev, drv.supported);
	if (drv.features_err)
		return drv.features_err;
	drv.vqs_err = vdev->config->find_vqs(vdev, drv.nvqs, drv.vq, drv.polled ? none : callbacks,
					     names, drv.max_num);
	if (drv.vqs_err)
		return drv.vqs_err;
	if (drv.give_up) {
		virtio_device_fail(vdev);
		vdev->config->del_vqs(vdev);
		return -EPROTO;
	}
	virtio_device_ready(vdev);
	return 0;
}

static const struct virtio_driver test_driver = { "test", TYPE_TEST, test_probe };
module_virtio_driver(test_driver);

/* ---- the random pool ---- */

static u8 entropy[128];
static size_t entropy_len;

void add_hwgenerator_randomness(const char *name, const void *buf, size_t len)
{
	assert_string_equal(name, "virtio-rng");
	assert_true(len <= sizeof(entropy));
	memcpy(entropy, buf, len);
	entropy_len = len;
}

/* ---- frame ---- */

static size_t live_before;

static int setup(void **state)
{
	(void)state;
	fake_vp_reset();
	fake_pci_reset();
	fake_kernel_reset();
	fake_msi_limit(-1);
	memset(&drv, 0, sizeof(drv));
	drv.supported = F_A | F_B;
	drv.nvqs = 2;
	drv.max_num = 256;
	drv.with_config = true;
	entropy_len = 0;
	live_before = fake_alloc_live();
	return 0;
}

/* Frees the transports; a device that is still up is stopped. */
static void remove_devices(void)
{
	struct pci_dev *pdev;

	list_for_each_entry(pdev, &pci_devices, node) {
		struct virtio_pci_device *vp_dev = pdev->driver_data;

		if (vp_dev && vp_dev->nvqs) {
			assert_int_equal(vp_dev->vdev.config->reset(&vp_dev->vdev), 0);
			vp_dev->vdev.config->del_vqs(&vp_dev->vdev);
		}
		kfree(vp_dev);
		pdev->driver_data = NULL;
	}
}

static int teardown(void **state)
{
	(void)state;
	remove_devices();
	fake_pci_reset();
	fake_vp_reset();
	assert_int_equal(fake_alloc_live(), live_before);
	for (int irq = 1; irq < FAKE_IRQ_MAX; irq++)
		assert_int_equal(fake_irq_handlers(irq), 0);
	return 0;
}

static struct fake_vp *add_modern(unsigned int vectors)
{
	struct fake_vp *vp = fake_vp_add(NULL, 3, TYPE_TEST, false, 3, vectors);

	vp->features |= F_A | F_B | 1ull << 50;
	return vp;
}

static struct fake_vp *add_legacy(unsigned int vectors)
{
	struct fake_vp *vp = fake_vp_add(NULL, 3, TYPE_TEST, true, 3, vectors);

	vp->features |= F_A;
	/* Only the MSI-X capability is left. */
	vp->fn->cfg[PCI_CAPABILITY_LIST] = FAKE_VP_MSIX_OFF;
	return vp;
}

static u16 command(const struct fake_vp *vp)
{
	return fake_cfg16(vp->fn, PCI_COMMAND);
}

static void assert_refused(struct fake_vp *vp)
{
	assert_null(list_first_entry(&pci_devices, struct pci_dev, node)->driver_data);
	assert_int_equal(command(vp) & 7, 0);
}

/* Queues, interrupts and notifications all arrive where they belong. */
static void check_traffic(struct fake_vp *vp, const char *irq_name, bool config_heard)
{
	unsigned int shared = !strcmp(irq_name, "msix-shared") || !strcmp(irq_name, "intx");
	const struct virtio_sg sg = { 0x1000, 16 };
	u32 len;

	assert_non_null(drv.vdev);
	assert_string_equal(drv.vdev->config->irq_name(drv.vdev), irq_name);
	assert_int_equal(vp->status & VIRTIO_CONFIG_S_DRIVER_OK, VIRTIO_CONFIG_S_DRIVER_OK);
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(virtqueue_add_outbuf(drv.vq[i], &sg, 1, vp), 0);
		assert_true(virtqueue_kick(drv.vq[i]));
		assert_int_equal(vp->vq[i].notified, 1);
	}
	assert_int_equal(fake_vp_serve(vp, 1, 0, 0), 1);
	assert_true(fake_vp_interrupt(vp, 1));
	assert_int_equal(drv.called[0], 0);
	assert_int_equal(drv.called[1], 1);
	assert_ptr_equal(virtqueue_get_buf(drv.vq[1], &len), vp);
	assert_int_equal(fake_vp_serve(vp, 0, 0, 0), 1);
	assert_true(fake_vp_interrupt(vp, 0));
	assert_int_equal(drv.called[0], 1);
	assert_int_equal(drv.called[1], 1);
	assert_ptr_equal(virtqueue_get_buf(drv.vq[0], &len), vp);
	assert_int_equal(drv.vq[0]->spurious, shared);
	assert_int_equal(fake_vp_interrupt(vp, -1), config_heard);
	assert_int_equal(drv.config_called, config_heard);
}

/* ---- modern ---- */

static void test_modern_msix(void **state)
{
	struct fake_vp *vp = add_modern(4);

	(void)state;
	vp->vq[0].max = 1024;
	vp->vq[1].max = 64;
	driver_init();
	assert_int_equal(vp->accepted, 1ull << VIRTIO_F_VERSION_1 |
					       1ull << VIRTIO_RING_F_INDIRECT_DESC | F_A | F_B);
	assert_int_equal(vp->status, 0x0f);
	assert_string_equal(drv.vdev->config->bus_name(drv.vdev), "0000:00:03.0 modern");
	assert_int_equal(drv.vq[0]->num, 256);
	assert_int_equal(vp->vq[0].size, 256);
	assert_int_equal(drv.vq[1]->num, 64);
	assert_int_equal(vp->config_vector, 0);
	assert_int_equal(vp->vq[0].vector, 1);
	assert_int_equal(vp->vq[1].vector, 2);
	assert_int_equal(command(vp),
			 PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
	check_traffic(vp, "msix", true);
	assert_int_equal(fake_log_count("virtio"), 0);
}

/* A third queue has no callback and needs no vector. */
static void test_modern_msix_queue_without_callback(void **state)
{
	struct fake_vp *vp = add_modern(3);

	(void)state;
	drv.nvqs = 3;
	driver_init();
	assert_int_equal(vp->vq[2].vector, 0xffff);
	assert_int_equal(vp->vq[2].enabled, 1);
	check_traffic(vp, "msix", true);
}

static void test_modern_msix_no_config(void **state)
{
	struct fake_vp *vp = add_modern(2);

	(void)state;
	drv.with_config = false;
	driver_init();
	assert_int_equal(vp->config_vector, 0xffff);
	check_traffic(vp, "msix", false);
}

static void test_modern_shared(void **state)
{
	struct fake_vp *vp = add_modern(2);

	(void)state;
	driver_init();
	assert_int_equal(vp->vq[0].vector, 1);
	assert_int_equal(vp->vq[1].vector, 1);
	check_traffic(vp, "msix-shared", true);
}

static void test_modern_intx(void **state)
{
	struct fake_vp *vp = add_modern(0);

	(void)state;
	driver_init();
	assert_int_equal(command(vp), PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	check_traffic(vp, "intx", true);
	/* The wire is shared: not ours, and gone. */
	assert_false(fake_irq_raise(12));
	vp->fn->gone = true;
	assert_false(fake_irq_raise(12));
	vp->fn->gone = false;
	/* Ours, although a poll was quicker. */
	assert_true(fake_vp_interrupt(vp, 0));
	remove_devices();
	assert_true(command(vp) & PCI_COMMAND_INTX_DISABLE);
}

/* One vector is too few for configuration and queues. */
static void test_modern_one_vector(void **state)
{
	struct fake_vp *vp = add_modern(1);

	(void)state;
	driver_init();
	check_traffic(vp, "intx", true);
}

static void test_modern_polled(void **state)
{
	struct fake_vp *vp = add_modern(4);

	(void)state;
	drv.polled = true;
	drv.with_config = false;
	driver_init();
	assert_string_equal(drv.vdev->config->irq_name(drv.vdev), "polled");
	assert_false(fake_vp_interrupt(vp, 0));
	assert_true(command(vp) & PCI_COMMAND_INTX_DISABLE);
}

static void test_vectors_refused(void **state)
{
	struct fake_vp *vp = add_modern(4);

	(void)state;
	vp->refuse_vectors = true;
	driver_init();
	check_traffic(vp, "intx", true);
}

/* The device has too few resources for one vector each, but for one. */
static void test_second_vector_refused(void **state)
{
	struct fake_vp *vp = add_modern(4);

	(void)state;
	vp->refuse_vector = 2;
	driver_init();
	check_traffic(vp, "msix-shared", true);
}

static void test_kernel_short_of_vectors(void **state)
{
	struct fake_vp *vp = add_modern(4);

	(void)state;
	fake_msi_limit(2);
	driver_init();
	fake_msi_limit(-1);
	check_traffic(vp, "intx", true);
}

static void test_no_interrupt_at_all(void **state)
{
	struct fake_vp *vp = add_modern(0);

	(void)state;
	vp->fn->cfg[PCI_INTERRUPT_PIN] = 0;
	driver_init();
	assert_int_equal(drv.vqs_err, -ENODEV);
	assert_true(fake_log_has("no interrupt to be had"));
	assert_refused(vp);
}

static void test_root_port(void **state)
{
	struct fake_fn *rp;
	struct fake_vp *vp;

	(void)state;
	rp = fake_pci_add_bridge(NULL, 2, 0, 1, 1);
	fake_pci_set_window(rp, PCI_MEMORY_BASE, 0xfeb00000, 0xfed00000);
	fake_pci_set_window(rp, PCI_PREF_MEMORY_BASE, 0xe000000000, 0xe000100000);
	vp = fake_vp_add(rp, 0, TYPE_TEST, false, 3, 4);
	vp->features |= F_A | F_B;
	driver_init();
	check_traffic(vp, "msix", true);
	assert_string_equal(drv.vdev->config->bus_name(drv.vdev), "0000:01:00.0 modern");
}

/* As after a broken ring: reset, free, and all over again. */
static void test_second_life(void **state)
{
	struct fake_vp *vp = add_modern(4);

	(void)state;
	driver_init();
	for (int i = 0; i < 3; i++) {
		assert_int_equal(drv.vdev->config->reset(drv.vdev), 0);
		drv.vdev->config->del_vqs(drv.vdev);
		virtio_add_status(drv.vdev, VIRTIO_CONFIG_S_ACKNOWLEDGE);
		virtio_add_status(drv.vdev, VIRTIO_CONFIG_S_DRIVER);
		assert_int_equal(test_probe(drv.vdev), 0);
	}
	check_traffic(vp, "msix", true);
}

static void test_driver_gives_up(void **state)
{
	struct fake_vp *vp = add_modern(4);

	(void)state;
	drv.give_up = true;
	driver_init();
	assert_int_equal(vp->status, 0);
	assert_int_equal(vp->resets, 2);
	assert_refused(vp);
	assert_true(fake_log_has("probe failed: error 71"));
}

/* A type that we have no driver for: put back to sleep, no line. */
static void test_no_driver(void **state)
{
	struct fake_vp *vp = fake_vp_add(NULL, 3, 2, true, 1, 2);

	(void)state;
	driver_init();
	assert_int_equal(vp->status, 0);
	assert_int_equal(drv.probes, 0);
	assert_refused(vp);
	assert_int_equal(fake_log_count("virtio"), 0);
}

static void test_other_qumranet(void **state)
{
	(void)state;
	fake_pci_add(NULL, 3, 0, 0x1af4, 0x1110, 0x050000); /* ivshmem */
	driver_init();
	assert_int_equal(drv.probes, 0);
}

/* ---- configuration: V11 ---- */

static void test_config_access(void **state)
{
	struct fake_vp *vp = add_modern(4);
	u8 buf[16];
	u16 w;

	(void)state;
	driver_init();
	assert_int_equal(virtio_cread_bytes(drv.vdev, 0, buf, 6), 0);
	assert_memory_equal(buf, vp->config, 6);
	assert_int_equal(virtio_cread_bytes(drv.vdev, 6, &w, 2), 0);
	assert_memory_equal(&w, vp->config + 6, 2);
	assert_int_equal(virtio_cread_bytes(drv.vdev, 12, buf, 4), 0);
	assert_memory_equal(buf, vp->config + 12, 4);
	assert_int_equal(virtio_cread_bytes(drv.vdev, 16, buf, 8), 0);
	assert_memory_equal(buf, vp->config + 16, 8);
	assert_int_equal(virtio_cread_bytes(drv.vdev, 1, buf, 4),
			 0); /* a field that is not aligned */
	assert_memory_equal(buf, vp->config + 1, 4);
	/* Beyond the structure. */
	memset(buf, 0x55, sizeof(buf));
	assert_int_equal(virtio_cread_bytes(drv.vdev, 0xffe, buf, 4), -ERANGE);
	assert_int_equal(buf[0] | buf[1] | buf[2] | buf[3], 0);
	assert_int_equal(virtio_cread_bytes(drv.vdev, ~0u, buf, 4), -ERANGE);
}

static void test_config_generation(void **state)
{
	struct fake_vp *vp = add_modern(4);
	u32 v;

	(void)state;
	driver_init();
	vp->restless = 3;
	assert_int_equal(virtio_cread_bytes(drv.vdev, 8, &v, 4), 0);
	assert_memory_equal(&v, vp->config + 8, 4);
	vp->restless = 1000;
	assert_int_equal(virtio_cread_bytes(drv.vdev, 8, &v, 4), -EIO);
	assert_int_equal(vp->restless, 1000 - 16);
}

static void test_no_device_config(void **state)
{
	struct fake_vp *vp = add_modern(4);
	u8 b = 1;

	(void)state;
	vp->fn->cfg[FAKE_VP_CAP_DEVICE + 3] = 9; /* some other type */
	driver_init();
	assert_int_equal(virtio_cread_bytes(drv.vdev, 0, &b, 1), -ERANGE);
	assert_int_equal(b, 0);
	check_traffic(vp, "msix", true);
}

/* ---- queue sizes: V13 ---- */

static void test_queue_sizes(void **state)
{
	static const struct {
		u16 size, max_num, got;
		int err;
	} cases[] = {
		{ 0, 256, 0, -ENOENT },
		{ 3, 256, 0, -EINVAL },
		{ 0xffff, 256, 0, -EINVAL },
		{ 0x8001, 256, 0, -EINVAL },
		{ 256, 100, 64, 0 },
		{ 32768, 256, 256, 0 },
		{ 1, 256, 1, 0 },
		{ 256, 1, 1, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct fake_vp *vp;

		teardown(NULL);
		setup(NULL);
		vp = add_modern(4);
		vp->vq[1].max = cases[i].size;
		drv.max_num = cases[i].max_num;
		driver_init();
		assert_int_equal(drv.vqs_err, cases[i].err);
		if (cases[i].err) {
			assert_refused(vp);
			continue;
		}
		assert_int_equal(drv.vq[1]->num, cases[i].got);
		assert_int_equal(vp->vq[1].size, cases[i].got);
	}
}

static void test_too_few_queues(void **state)
{
	struct fake_vp *vp = add_modern(4);

	(void)state;
	vp->nvqs = 1;
	driver_init();
	assert_int_equal(drv.vqs_err, -ENOENT);
	assert_true(fake_log_has("no queue 1"));
	assert_refused(vp);
}

static void test_size_does_not_stay(void **state)
{
	struct fake_vp *vp = add_modern(4);

	(void)state;
	vp->vq[0].max = 512;
	vp->refuse_size = true;
	driver_init();
	assert_int_equal(drv.vqs_err, -EIO);
	assert_refused(vp);
}

static void test_enable_does_not_stay(void **state)
{
	struct fake_vp *vp = add_modern(4);

	(void)state;
	vp->refuse_enable = true;
	driver_init();
	assert_int_equal(drv.vqs_err, -EIO);
	assert_true(fake_log_has("queue 0: cannot be enabled"));
	assert_refused(vp);
}

/* ---- notification addresses: V17 ---- */

static void test_notify_off(void **state)
{
	static const struct {
		u16 off;
		u32 mult;
		int err;
	} cases[] = {
		{ 0x3ff, 4, 0 },
		{ 0x400, 4, -EINVAL },
		{ 0xffff, 4, -EINVAL },
		{ 0xffff, 0xffffffff, -EINVAL },
		{ 1, 0xfffffffe, -EINVAL },
		{ 3, 1, -EINVAL }, /* odd */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct fake_vp *vp;

		teardown(NULL);
		setup(NULL);
		vp = add_modern(4);
		vp->vq[1].notify_off = cases[i].off;
		fake_cfg_set32(vp->fn, FAKE_VP_CAP_NOTIFY + 16, cases[i].mult);
		driver_init();
		assert_int_equal(drv.vqs_err, cases[i].err);
		if (cases[i].err)
			assert_refused(vp);
		else
			check_traffic(vp, "msix", true);
	}
}

/* ---- features: V18 ---- */

static void test_features_refused(void **state)
{
	struct fake_vp *vp = add_modern(4);

	(void)state;
	vp->refuse_features = true;
	driver_init();
	assert_int_equal(drv.features_err, -ENODEV);
	assert_true(drv.probes == 1 && fake_log_count("refused") == 1);
	assert_int_equal(vp->status, 0);
	assert_refused(vp);
}

static void test_no_version_1(void **state)
{
	struct fake_vp *vp = add_modern(4);

	(void)state;
	vp->features &= ~(1ull << VIRTIO_F_VERSION_1);
	driver_init();
	assert_int_equal(drv.features_err, -ENODEV);
	assert_true(fake_log_has("modern interface without VERSION_1"));
	assert_refused(vp);
}

static void test_access_platform(void **state)
{
	struct fake_vp *vp = add_modern(4);

	(void)state;
	vp->features |= 1ull << VIRTIO_F_ACCESS_PLATFORM | 1ull << 35; /* IN_ORDER */
	driver_init();
	assert_true(vp->accepted & 1ull << VIRTIO_F_ACCESS_PLATFORM);
	assert_false(vp->accepted & 1ull << 35);
	assert_false(vp->accepted & 1ull << 50);
}

/* ---- reset: V20 ---- */

static void test_reset_slow(void **state)
{
	struct fake_vp *vp = add_modern(4);

	(void)state;
	vp->slow_reset = 500;
	driver_init();
	check_traffic(vp, "msix", true);
}

static void test_reset_stuck(void **state)
{
	struct fake_vp *vp = add_modern(4);
	u64 before = ktime_get();

	(void)state;
	vp->stuck_reset = true;
	driver_init();
	assert_in_range(ktime_get() - before, 900 * NSEC_PER_MSEC, 1100 * NSEC_PER_MSEC);
	assert_int_equal(drv.probes, 0);
	assert_true(fake_log_has("reset failed: error 110"));
	assert_refused(vp);
}

static void test_gone(void **state)
{
	struct fake_vp *vp = add_modern(4);
	u64 before;

	(void)state;
	driver_init();
	vp->fn->gone = true;
	before = ktime_get();
	assert_int_equal(drv.vdev->config->reset(drv.vdev), -EIO);
	assert_int_equal(ktime_get(), before);
	assert_int_equal(virtio_finalize_features(drv.vdev, F_A), -ENODEV);
	vp->fn->gone = false;
}

/* ---- capabilities: V14, V15, V16 ---- */

/* Spoils one field of one capability. */
static const struct {
	const char *what;
	u8 cap, field;
	u32 value;
	u8 width;
} spoiled[] = {
	{ "cap_len too short", FAKE_VP_CAP_COMMON, 2, 15, 1 },
	{ "notify cap_len too short", FAKE_VP_CAP_NOTIFY, 2, 16, 1 },
	{ "BAR 6", FAKE_VP_CAP_COMMON, 4, 6, 1 },
	{ "BAR 255", FAKE_VP_CAP_ISR, 4, 255, 1 },
	{ "a BAR that is not there", FAKE_VP_CAP_ISR, 4, 2, 1 },
	{ "the upper half of a BAR", FAKE_VP_CAP_ISR, 4, 5, 1 },
	{ "an I/O BAR", FAKE_VP_CAP_ISR, 4, 0, 1 },
	{ "length below the structure", FAKE_VP_CAP_COMMON, 12, 55, 4 },
	{ "length 0", FAKE_VP_CAP_ISR, 12, 0, 4 },
	{ "end outside the BAR", FAKE_VP_CAP_NOTIFY, 12, 0x1001, 4 },
	{ "offset outside the BAR", FAKE_VP_CAP_ISR, 8, 0x4000, 4 },
	{ "offset + length wraps", FAKE_VP_CAP_COMMON, 8, 0xfffffffc, 4 },
	{ "common not aligned", FAKE_VP_CAP_COMMON, 8, 2, 4 },
	{ "notify not aligned", FAKE_VP_CAP_NOTIFY, 8, 0x2fff, 4 },
};

static void spoil(struct fake_vp *vp, size_t i)
{
	for (u8 b = 0; b < spoiled[i].width; b++)
		vp->fn->cfg[spoiled[i].cap + spoiled[i].field + b] =
			(u8)(spoiled[i].value >> 8 * b);
}

static void test_bad_caps_modern_only(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(spoiled); i++) {
		struct fake_vp *vp;

		teardown(NULL);
		setup(NULL);
		vp = add_modern(4);
		spoil(vp, i);
		driver_init();
		if (drv.probes || !fake_log_has("not usable") ||
		    fake_log_count("neither a modern nor a legacy interface") != 1)
			fail_msg("%s: accepted", spoiled[i].what);
		assert_refused(vp);
	}
}

static void test_bad_caps_transitional(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(spoiled); i++) {
		struct fake_vp *vp;

		teardown(NULL);
		setup(NULL);
		vp = fake_vp_add(NULL, 3, TYPE_TEST, true, 3, 4);
		spoil(vp, i);
		driver_init();
		assert_string_equal(drv.vdev->config->bus_name(drv.vdev), "0000:00:03.0 legacy");
		check_traffic(vp, "msix", true);
	}
}

/* 4.1.4.1: the first instance that can be used. */
static void test_second_instance(void **state)
{
	struct fake_vp *vp = add_modern(4);
	u8 body[14];

	(void)state;
	/* In front of the list: a copy of the common capability that points outside. */
	memcpy(body, vp->fn->cfg + FAKE_VP_CAP_COMMON + 2, sizeof(body));
	body[9] = 0xff;
	fake_pci_add_cap(vp->fn, 0xb0, 0x09, body, sizeof(body));
	driver_init();
	assert_int_equal(fake_log_count("capability 0xb0 (common): not usable"), 1);
	check_traffic(vp, "msix", true);
}

/* A capability so late that its fields would lie beyond configuration space. */
static void test_cap_cut_off(void **state)
{
	struct fake_vp *vp = add_modern(4);
	static const u8 body[2] = { 16, 1 };

	(void)state;
	fake_pci_add_cap(vp->fn, 0xfc, 0x09, body, sizeof(body));
	driver_init();
	check_traffic(vp, "msix", true);
}

static void test_cap_circle(void **state)
{
	struct fake_vp *vp = add_modern(4);

	(void)state;
	vp->fn->cfg[FAKE_VP_CAP_COMMON + 1] = FAKE_VP_CAP_NOTIFY;
	driver_init();
	assert_true(fake_machine.cfg_reads < 1000);
	/* All that is needed lies in the circle but for MSI-X, which nothing leads to any more. */
	check_traffic(vp, "intx", true);
}

static void test_bar_over_ram(void **state)
{
	struct fake_vp *vp = add_modern(4);

	(void)state;
	fake_pci_set_bar(vp->fn, 4, 0x4000, 12, 0x200000);
	driver_init();
	assert_int_equal(drv.probes, 0);
	assert_true(fake_log_has("BAR 4: 0x200000 lies over RAM"));
	assert_refused(vp);
}

static void test_ioremap_fails(void **state)
{
	(void)state;
	for (unsigned int n = 1; n <= 5; n++) {
		struct fake_vp *vp;

		teardown(NULL);
		setup(NULL);
		vp = add_modern(4);
		fake_machine.ioremap_fail_nth = n;
		driver_init();
		if (n == 5) /* the MSI-X table */
			check_traffic(vp, "msix-shared", true);
		else if (n != 2) /* the device's configuration: optional */
			assert_refused(vp);
	}
}

/* ---- legacy ---- */

static void test_legacy_msix(void **state)
{
	struct fake_vp *vp = add_legacy(4);

	(void)state;
	driver_init();
	assert_string_equal(drv.vdev->config->bus_name(drv.vdev), "0000:00:03.0 legacy");
	assert_int_equal(vp->accepted, 1ull << VIRTIO_RING_F_INDIRECT_DESC | F_A);
	assert_int_equal(vp->status, 7);
	assert_int_equal((u64)vp->vq[0].pfn << 12, virtqueue_get_desc_addr(drv.vq[0]));
	assert_int_equal(vp->vq[1].vector, 2);
	check_traffic(vp, "msix", true);
	remove_devices();
	assert_int_equal(vp->vq[0].pfn, 0);
	assert_int_equal(vp->vq[1].pfn, 0);
}

static void test_legacy_shared(void **state)
{
	struct fake_vp *vp = add_legacy(2);

	(void)state;
	driver_init();
	check_traffic(vp, "msix-shared", true);
}

static void test_legacy_intx(void **state)
{
	struct fake_vp *vp = add_legacy(0);

	(void)state;
	driver_init();
	check_traffic(vp, "intx", true);
}

static void test_legacy_vectors_refused(void **state)
{
	struct fake_vp *vp = add_legacy(4);

	(void)state;
	vp->refuse_vector = 2;
	driver_init();
	check_traffic(vp, "msix-shared", true);
}

/* With MSI-X on, the configuration moves by 4 bytes. */
static void test_legacy_config(void **state)
{
	struct fake_vp *vp = add_legacy(4);
	u8 buf[6];

	(void)state;
	driver_init();
	assert_int_equal(virtio_cread_bytes(drv.vdev, 2, buf, 6), 0);
	assert_memory_equal(buf, vp->config + 2, 6);
	assert_int_equal(virtio_cread_bytes(drv.vdev, 0x40 - 24 - 6, buf, 6), 0);
	assert_int_equal(virtio_cread_bytes(drv.vdev, 0x40 - 24 - 5, buf, 6), -ERANGE);
	assert_int_equal(drv.vdev->config->reset(drv.vdev), 0);
	drv.vdev->config->del_vqs(drv.vdev);
	virtio_add_status(drv.vdev, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	assert_int_equal(virtio_cread_bytes(drv.vdev, 2, buf, 6), 0);
	assert_memory_equal(buf, vp->config + 2, 6);
}

static void test_legacy_queue_sizes(void **state)
{
	static const struct {
		u16 size;
		u32 pfn;
		int err;
	} cases[] = { { 0, 0, -ENOENT },
		      { 3, 0, -EINVAL },
		      { 0xffff, 0, -EINVAL },
		      { 256, 77, -EIO },
		      { 1024, 0, 0 } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct fake_vp *vp;

		teardown(NULL);
		setup(NULL);
		vp = add_legacy(4);
		vp->vq[1].max = vp->vq[1].size = cases[i].size;
		vp->vq[1].pfn = cases[i].pfn;
		vp->keep_pfn = true;
		driver_init();
		assert_int_equal(drv.vqs_err, cases[i].err);
		if (cases[i].err)
			assert_refused(vp);
		else
			assert_int_equal(drv.vq[1]->num, 1024); /* cannot be made smaller */
	}
}

static void test_legacy_refused(void **state)
{
	struct fake_vp *vp;

	(void)state;
	vp = add_legacy(4);
	vp->fn->cfg[PCI_REVISION_ID] = 1;
	driver_init();
	assert_int_equal(drv.probes, 0);
	assert_refused(vp);

	teardown(NULL);
	setup(NULL);
	vp = add_legacy(4);
	fake_pci_set_bar(vp->fn, 0, 0x10, 1, 0xc0c0); /* too small */
	driver_init();
	assert_int_equal(drv.probes, 0);

	teardown(NULL);
	setup(NULL);
	vp = add_legacy(4);
	vp->fn->cfg[PCI_CAPABILITY_LIST] = 0;
	fake_pci_set_bar(vp->fn, 0, 0x40, 0, 0xfec00000); /* memory */
	driver_init();
	assert_int_equal(drv.probes, 0);
}

static void test_legacy_reset_stuck(void **state)
{
	struct fake_vp *vp = add_legacy(4);

	(void)state;
	vp->stuck_reset = true;
	driver_init();
	assert_int_equal(drv.probes, 0);
	assert_refused(vp);
}

/* ---- no memory ---- */

static void sweep(struct fake_vp *(*add)(unsigned int vectors))
{
	bool done = false;

	for (unsigned int n = 1; !done; n++) {
		teardown(NULL);
		setup(NULL);
		add(4);
		fake_alloc_fail_nth(n);
		driver_init();
		/* Enough memory to come up in some way. */
		done = drv.vdev && !drv.vqs_err && drv.vdev->config->irq_name(drv.vdev)[4] == '\0';
		if (done)
			done = fake_log_count("no memory") == 0;
		fake_alloc_fail_nth(0);
		assert_true(n < 50);
	}
}

static void test_no_memory(void **state)
{
	(void)state;
	sweep(add_modern);
	sweep(add_legacy);
}

/* ---- virtio-rng ---- */

static struct fake_vp *add_rng(bool transitional)
{
	struct fake_vp *vp = fake_vp_add(NULL, 3, VIRTIO_ID_RNG, transitional, 1, 2);

	vp->vq[0].max = vp->vq[0].size = 8;
	vp->answer_len = 64;
	vp->answer_fill = 0x5a;
	return vp;
}

static void test_rng(void **state)
{
	(void)state;
	for (int legacy = 0; legacy < 2; legacy++) {
		struct fake_vp *vp;

		teardown(NULL);
		setup(NULL);
		vp = add_rng(legacy);
		if (legacy)
			vp->fn->cfg[PCI_CAPABILITY_LIST] = 0;
		driver_init();
		assert_int_equal(entropy_len, 64);
		assert_int_equal(entropy[0], 0x5a);
		assert_int_equal(entropy[63], 0x5a);
		assert_int_equal(vp->status, 0); /* asleep */
		assert_int_equal(fake_log_count("virtio_rng: virtio"), 1);
		assert_true(fake_log_has(legacy ? "0000:00:03.0 legacy: 64 bytes" :
						  "0000:00:03.0 modern: 64 bytes"));
	}
}

static void test_rng_short_answer(void **state)
{
	(void)state;
	add_rng(false)->answer_len = 5;
	driver_init();
	assert_int_equal(entropy_len, 5);
}

static void test_rng_silent(void **state)
{
	struct fake_vp *vp = add_rng(false);
	u64 before = ktime_get();

	(void)state;
	vp->answer_len = 0;
	driver_init();
	assert_int_equal(entropy_len, 0);
	assert_int_equal(vp->status, 0);
	assert_true(ktime_get() - before < 10 * NSEC_PER_MSEC);
	assert_true(fake_log_has("no answer"));
}

static void test_rng_broken_ring(void **state)
{
	struct fake_vp *vp = add_rng(false);

	(void)state;
	vp->bad_id = 1000;
	driver_init();
	assert_int_equal(entropy_len, 0);
	assert_int_equal(vp->status, 0);
}

/* A device that cannot be stopped keeps its buffer: the page is not given to someone else. */
static void test_rng_gone(void **state)
{
	struct fake_vp *vp = add_rng(false);

	(void)state;
	vp->gone_on_notify = true;
	vp->answer_len = 0;
	driver_init();
	assert_int_equal(entropy_len, 0);
	assert_true(fake_log_has("probe failed: error 5"));
	/* The queue is still there. teardown() frees it, but the buffer nobody will. */
	vp->fn->gone = false;
	fake_cfg_set16(vp->fn, PCI_COMMAND, PCI_COMMAND_MEMORY);
	live_before++;
}

static void test_rng_no_memory(void **state)
{
	(void)state;
	for (unsigned int n = 1; n < 12 && !entropy_len; n++) {
		teardown(NULL);
		setup(NULL);
		add_rng(false);
		fake_alloc_fail_nth(n);
		driver_init();
		fake_alloc_fail_nth(0);
	}
	assert_int_equal(entropy_len, 64);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_modern_msix),
		T(test_modern_msix_queue_without_callback),
		T(test_modern_msix_no_config),
		T(test_modern_shared),
		T(test_modern_intx),
		T(test_modern_one_vector),
		T(test_modern_polled),
		T(test_vectors_refused),
		T(test_second_vector_refused),
		T(test_kernel_short_of_vectors),
		T(test_no_interrupt_at_all),
		T(test_root_port),
		T(test_second_life),
		T(test_driver_gives_up),
		T(test_no_driver),
		T(test_other_qumranet),
		T(test_config_access),
		T(test_config_generation),
		T(test_no_device_config),
		T(test_queue_sizes),
		T(test_too_few_queues),
		T(test_size_does_not_stay),
		T(test_enable_does_not_stay),
		T(test_notify_off),
		T(test_features_refused),
		T(test_no_version_1),
		T(test_access_platform),
		T(test_reset_slow),
		T(test_reset_stuck),
		T(test_gone),
		T(test_bad_caps_modern_only),
		T(test_bad_caps_transitional),
		T(test_second_instance),
		T(test_cap_cut_off),
		T(test_cap_circle),
		T(test_bar_over_ram),
		T(test_ioremap_fails),
		T(test_legacy_msix),
		T(test_legacy_shared),
		T(test_legacy_intx),
		T(test_legacy_vectors_refused),
		T(test_legacy_config),
		T(test_legacy_queue_sizes),
		T(test_legacy_refused),
		T(test_legacy_reset_stuck),
		T(test_no_memory),
		T(test_rng),
		T(test_rng_short_answer),
		T(test_rng_silent),
		T(test_rng_broken_ring),
		T(test_rng_gone),
		T(test_rng_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
