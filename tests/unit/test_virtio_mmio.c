/*
 * Virtio over MMIO against blocks of registers (tests/fake/fake_virtio_mmio.c): where devices are
 * looked for, the life of one, its interrupt, and what is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "drivers/bus.h"
#include "drivers/virtio/virtio_mmio.h"
#include "kernel/lib/errno.h"
#include "kernel/x86/acpi.h"
#include "tests/fake/fake_kernel.h"
#include "tests/fake/fake_virtio_mmio.h"

#define MICROVM 0xfeb00000ull
#define F_A (1ull << 5)

struct acpi_power acpi_power;
static int nr_ioapics;

int acpi_ioapics(const struct acpi_ioapic **out)
{
	*out = NULL;
	return nr_ioapics;
}

/* ---- a driver ---- */

static struct {
	struct virtio_device *vdev;
	struct virtqueue *vq[2];
	unsigned int probes, called[2], config_changes;
	bool polled;
	int err;
} drv;

/* A device stays registered for good. */
static struct virtio_device *registered[32];
static unsigned int nr_registered;

static void config_changed(struct virtio_device *vdev)
{
	assert_ptr_equal(vdev, drv.vdev);
	drv.config_changes++;
}

static void callback(struct virtqueue *vq)
{
	drv.called[vq->index]++;
}

int virtio_bus_probe(struct virtio_device *vdev)
{
	static vq_callback_t *callbacks[] = { callback, callback };
	static vq_callback_t *none[] = { NULL, NULL };
	static const char *const names[] = { "zero", "one" };

	drv.probes++;
	if (vdev->id != VIRTIO_ID_NET)
		return -ENODEV;
	virtio_add_status(vdev, VIRTIO_CONFIG_S_DRIVER);
	drv.err = virtio_finalize_features(vdev, F_A);
	if (drv.err)
		return drv.err;
	if (!drv.polled)
		vdev->config_changed = config_changed;
	drv.err =
		vdev->config->find_vqs(vdev, 2, drv.vq, drv.polled ? none : callbacks, names, 256);
	if (drv.err)
		return drv.err;
	virtio_device_ready(vdev);
	drv.vdev = registered[nr_registered++] = vdev;
	return 0;
}

static void stop_driver(void)
{
	if (!drv.vdev)
		return;
	assert_int_equal(drv.vdev->config->reset(drv.vdev), 0);
	drv.vdev->config->del_vqs(drv.vdev);
	drv.vdev = NULL;
}

static int setup(void **state)
{
	(void)state;
	fake_kernel_reset();
	fake_vm_reset();
	memset(&drv, 0, sizeof(drv));
	memset(&acpi_power, 0, sizeof(acpi_power));
	nr_ioapics = 1;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	stop_driver();
	return 0;
}

static void be_microvm(int ioapics)
{
	acpi_power.sleep_control.address = 0xfea00200;
	nr_ioapics = ioapics;
	for (unsigned int n = 0; n < (ioapics > 1 ? 24u : 8u); n++)
		fake_vm_add(MICROVM + n * 0x200, 0)->version = 1; /* as QEMU's empty slots are */
}

/* Each test names its device elsewhere: what was named stays named. */
static u64 next_base = 0xd0000000;

static struct fake_vm *name_device(u32 device_id)
{
	struct fake_vm *vm = fake_vm_add(next_base, device_id);
	char word[64];

	snprintf(word, sizeof(word), "4K@%#llx:5", (unsigned long long)next_base);
	assert_int_equal(fake_cmdline("virtio_mmio.device", word), 0);
	next_base += 0x1000;
	return vm;
}

/* ---- where they are ---- */

static void test_microvm(void **state)
{
	struct fake_vm *vm;

	(void)state;
	be_microvm(2);
	fake_vm_reset();
	for (unsigned int n = 0; n < 24; n++)
		vm = fake_vm_add(MICROVM + n * 0x200, n == 6 ? VIRTIO_ID_NET : 0);
	assert_non_null(vm);
	virtio_mmio_scan();
	assert_non_null(drv.vdev);
	assert_string_equal(drv.vdev->config->bus_name(drv.vdev), "mmio@0xfeb00c00");
	assert_string_equal(drv.vdev->config->irq_name(drv.vdev), "gsi 30");
	assert_int_equal(fake_irq_handlers(31), 1); /* GSI 24 + 6 */
	assert_int_equal(vm->reads, 1);             /* an empty slot costs one */
}

static void test_microvm_with_one_ioapic(void **state)
{
	(void)state;
	be_microvm(1);
	fake_vm_reset();
	fake_vm_add(MICROVM + 7 * 0x200, VIRTIO_ID_NET);
	virtio_mmio_scan();
	assert_string_equal(drv.vdev->config->irq_name(drv.vdev), "gsi 23");
}

/* Nothing is read where nobody said that something is. */
static void test_other_machine(void **state)
{
	struct fake_vm *vm = fake_vm_add(MICROVM, VIRTIO_ID_NET);

	(void)state;
	virtio_mmio_scan();
	assert_int_equal(drv.probes, 0);
	assert_int_equal(vm->reads, 0);
}

static void test_words(void **state)
{
	static const char *const bad[] = { "",
					   "512",
					   "512@",
					   "512@0xfeb00e00",
					   "512@0xfeb00e00:",
					   "512@0xfeb00e00:12x",
					   "512@0xfeb00e00:12:",
					   "x512@0xfeb00e00:12",
					   "512M0xfeb00e00:12",
					   "16@0xfeb00e00:12",
					   "512@0xfeb00e01:12",
					   "512@0xfeb00e00:70000",
					   "512@0xffffffffffffff00:5",
					   "99999999999G@0xfeb00e00:12",
					   "512@0xfeb00e00:-1",
					   "512@0x11112222333344445555:5" };

	(void)state;
	assert_int_equal(fake_cmdline("virtio_mmio.device", NULL), -EINVAL);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(fake_cmdline("virtio_mmio.device", bad[i]), -EINVAL);
	virtio_mmio_scan();
	assert_int_equal(fake_log_count("virtio_mmio"), 0);

	fake_vm_add(0xc1000000, VIRTIO_ID_NET);
	assert_int_equal(fake_cmdline("virtio_mmio.device", "4K@3238002688:7:3"), 0);
	assert_int_equal(fake_cmdline("virtio_mmio.device", "4K@0xc1000000:7"), 0); /* again */
	virtio_mmio_scan();
	assert_int_equal(drv.probes, 1);
	assert_string_equal(drv.vdev->config->bus_name(drv.vdev), "mmio@0xc1000000");
	assert_string_equal(drv.vdev->config->irq_name(drv.vdev), "gsi 7");
}

static void test_nothing_where_it_was_named(void **state)
{
	struct fake_vm *vm = name_device(VIRTIO_ID_NET);

	(void)state;
	vm->magic = 0;
	virtio_mmio_scan();
	vm->gone = true;
	virtio_mmio_scan();
	assert_int_equal(drv.probes, 0);
	assert_true(fake_log_count("no virtio device here") >= 2);
}

static void test_versions(void **state)
{
	struct fake_vm *vm = name_device(VIRTIO_ID_NET);

	(void)state;
	vm->version = 1;
	virtio_mmio_scan();
	assert_true(fake_log_has("device 1 has the legacy interface (version 1), which is not "
				 "supported; QEMU: -global virtio-mmio.force-legacy=false"));
	vm->version = 3;
	virtio_mmio_scan();
	assert_true(fake_log_has("device 1 has version 3, which is not known"));
	assert_int_equal(drv.probes, 0);
	assert_int_equal(vm->resets, 0); /* left alone */
}

/* ---- the life of a device ---- */

static void test_traffic(void **state)
{
	struct fake_vm *vm = name_device(VIRTIO_ID_NET);
	static u8 mem[64];
	struct virtio_sg sg = { (dma_addr_t)(uintptr_t)mem, sizeof(mem) };
	struct fake_vring ring;
	struct fake_buf buf;
	u32 len;

	(void)state;
	vm->features |= F_A | 1ull << 50;
	vm->vq[0].num_max = 1024;
	vm->vq[1].num_max = 100; /* no power of two: 64 of them */
	virtio_mmio_scan();
	assert_int_equal(vm->accepted, 1ull << VIRTIO_F_VERSION_1 | F_A);
	assert_int_equal(vm->status, 0x0f);
	assert_int_equal(vm->vq[0].num, 256);
	assert_int_equal(vm->vq[1].num, 64);
	assert_int_equal(vm->vq[1].desc, virtqueue_get_desc_addr(drv.vq[1]));
	assert_int_equal(vm->vq[1].driver, virtqueue_get_avail_addr(drv.vq[1]));
	assert_int_equal(vm->vq[1].device, virtqueue_get_used_addr(drv.vq[1]));
	fake_vring_init(&ring, drv.vq[1]);
	assert_int_equal(virtqueue_add_inbuf(drv.vq[1], &sg, 1, mem), 0);
	assert_true(virtqueue_kick(drv.vq[1]));
	assert_int_equal(vm->vq[1].notified, 1);
	assert_true(fake_vring_pop(&ring, &buf));
	fake_vring_push(&ring, buf.head, 3);
	vm->isr = 1;
	assert_true(fake_irq_raise(6)); /* GSI 5 */
	assert_int_equal(vm->isr, 0);
	assert_int_equal(drv.called[0], 0);
	assert_int_equal(drv.called[1], 1);
	assert_ptr_equal(virtqueue_get_buf(drv.vq[1], &len), mem);
	vm->isr = 2;
	assert_true(fake_irq_raise(6));
	assert_int_equal(drv.config_changes, 1);
	assert_int_equal(vm->isr, 0);
	assert_false(fake_irq_raise(6)); /* somebody else's */
	fake_vring_exit(&ring);
	stop_driver();
	assert_int_equal(fake_irq_handlers(6), 0);
	assert_int_equal(vm->vq[0].ready, 0);
}

static void test_polled(void **state)
{
	(void)state;
	drv.polled = true;
	name_device(VIRTIO_ID_NET);
	virtio_mmio_scan();
	assert_non_null(drv.vdev);
	assert_int_equal(fake_irq_handlers(6), 0);
	assert_string_equal(drv.vdev->config->irq_name(drv.vdev), "polled");
}

static void test_config(void **state)
{
	struct fake_vm *vm = name_device(VIRTIO_ID_NET);
	u8 bytes[6];
	u16 half;
	u64 all;

	(void)state;
	for (unsigned int i = 0; i < sizeof(vm->config); i++)
		vm->config[i] = (u8)i;
	virtio_mmio_scan();
	assert_int_equal(virtio_cread_bytes(drv.vdev, 0, bytes, 6), 0);
	assert_memory_equal(bytes, vm->config, 6);
	assert_int_equal(virtio_cread_bytes(drv.vdev, 6, &half, 2), 0);
	assert_int_equal(half, 0x0706);
	assert_int_equal(virtio_cread_bytes(drv.vdev, 8, &all, 8), 0);
	assert_int_equal(all, 0x0f0e0d0c0b0a0908);
	vm->restless = 1;
	assert_int_equal(virtio_cread_bytes(drv.vdev, 6, &half, 2), 0);
	vm->restless = 1000;
	assert_int_equal(virtio_cread_bytes(drv.vdev, 6, &half, 2), -EIO);
	assert_int_equal(virtio_cread_bytes(drv.vdev, 0xf00, &half, 2), -ERANGE);
	assert_int_equal(half, 0);
}

/* ---- what is refused ---- */

static void expect_refused(struct fake_vm *vm, const char *why)
{
	size_t live = fake_alloc_live();

	virtio_mmio_scan();
	assert_null(drv.vdev);
	assert_true(fake_log_has(why));
	assert_int_equal(vm->vq[0].ready, 0);
	assert_int_equal(fake_irq_handlers(6), 0);
	assert_int_equal(fake_alloc_live(), live);
	vm->device_id = 0;
}

static void test_no_version_1(void **state)
{
	struct fake_vm *vm = name_device(VIRTIO_ID_NET);

	(void)state;
	vm->features = F_A;
	expect_refused(vm, "no VERSION_1");
}

static void test_bad_sizes(void **state)
{
	static const u32 bad[] = { 0, 32769, 0xffffffff };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct fake_vm *vm = name_device(VIRTIO_ID_NET);

		vm->vq[1].num_max = bad[i];
		expect_refused(vm, "queue 1: bad size");
		fake_log_clear();
	}
}

static void test_not_made_ready(void **state)
{
	struct fake_vm *vm = name_device(VIRTIO_ID_NET);

	(void)state;
	vm->refuse_ready = true;
	expect_refused(vm, "queue 0: cannot be made ready");
}

static void test_stuck_reset(void **state)
{
	struct fake_vm *vm = name_device(VIRTIO_ID_NET);

	(void)state;
	vm->stuck_reset = true;
	vm->status = 1;
	expect_refused(vm, "reset failed");
	assert_int_equal(drv.probes, 0);
}

static void test_no_such_wire(void **state)
{
	struct fake_vm *vm;
	size_t live;

	(void)state;
	be_microvm(2);
	fake_vm_reset();
	vm = fake_vm_add(MICROVM + 23 * 0x200, VIRTIO_ID_NET); /* GSI 47: the fake kernel has 31 */
	live = fake_alloc_live();
	virtio_mmio_scan();
	assert_null(drv.vdev);
	assert_true(fake_log_has("no interrupt to be had"));
	assert_int_equal(fake_alloc_live(), live);
	assert_int_equal(vm->status, 0);
}

static void test_no_memory(void **state)
{
	(void)state;
	for (unsigned int n = 1; n < 20 && !drv.vdev; n++) {
		struct fake_vm *vm = name_device(VIRTIO_ID_NET);
		size_t live = fake_alloc_live();

		fake_alloc_fail_nth(n);
		virtio_mmio_scan();
		fake_alloc_fail_nth(0);
		if (!drv.vdev) {
			assert_int_equal(fake_alloc_live(), live);
			assert_int_equal(fake_irq_handlers(6), 0);
			vm->device_id = 0;
		}
	}
	assert_non_null(drv.vdev);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(test_microvm),
		T(test_microvm_with_one_ioapic),
		T(test_other_machine),
		T(test_words),
		T(test_nothing_where_it_was_named),
		T(test_versions),
		T(test_traffic),
		T(test_polled),
		T(test_config),
		T(test_no_version_1),
		T(test_bad_sizes),
		T(test_not_made_ready),
		T(test_stuck_reset),
		T(test_no_such_wire),
		T(test_no_memory),
	};

	return cmocka_run_group_tests_name("virtio_mmio", tests, NULL, NULL);
}
