/* The scan, addresses, capabilities, MSI-X and INTx of drivers/pci against fake hardware. */
#include "tests/unit/test.h"

#include <string.h>

#include "drivers/bus.h"
#include "drivers/pci/pci.h"
#include "drivers/pci/pci_regs.h"
#include "kernel/lib/errno.h"
#include "kernel/softirq.h"
#include "tests/fake/fake_kernel.h"
#include "tests/fake/fake_pci.h"

/* vring_transport_features() is not linked here. */
u64 vring_transport_features(void);
u64 vring_transport_features(void)
{
	return 0;
}

#define BAR_MEM32 0u
#define BAR_IO 1u
#define BAR_MEM64 4u
#define BAR_PREF 8u

static size_t live_before;

static int setup(void **state)
{
	(void)state;
	fake_pci_reset();
	fake_kernel_reset();
	live_before = fake_alloc_live();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fake_pci_reset();
	assert_int_equal(fake_alloc_live(), live_before);
	return 0;
}

static struct pci_dev *find(const char *name)
{
	struct pci_dev *pdev;

	list_for_each_entry(pdev, &pci_devices, node) {
		if (!strcmp(pdev->name, name))
			return pdev;
	}
	return NULL;
}

static unsigned int count(void)
{
	struct pci_dev *pdev;
	unsigned int n = 0;

	list_for_each_entry(pdev, &pci_devices, node)
		n++;
	return n;
}

/* pc's first three functions. */
static void add_pc(void)
{
	fake_pci_add(NULL, 0, 0, 0x8086, 0x1237, 0x060000);
	fake_pci_add(NULL, 1, 0, 0x8086, 0x7000, 0x060100)->cfg[PCI_HEADER_TYPE] = 0x80;
	fake_pci_add(NULL, 1, 1, 0x8086, 0x7010, 0x010180);
}

/* QEMU's microvm,pcie=on. */
static void make_microvm(void)
{
	fake_machine.conf1 = false;
	fake_machine.ecam = 0xe0000000;
	fake_pci_add(NULL, 0, 0, 0x1b36, 0x0008, 0x060000);
}

/* ---- ways to configuration space ---- */

static void test_no_pci(void **state)
{
	(void)state;
	fake_machine.conf1 = false;
	pci_scan();
	assert_int_equal(count(), 0);
	assert_true(fake_log_has("no PCI bus found"));
}

static void test_conf1(void **state)
{
	(void)state;
	add_pc();
	pci_scan();
	assert_int_equal(count(), 3);
	assert_int_equal(find("0000:00:01.1")->class, 0x010180);
	assert_true(fake_log_has("pci 0000:00:01.1: [8086:7010] type 00 class 0x010180"));
	assert_int_equal(fake_log_count("pci 0000:"), 3);
	/* 32 slots, 7 more functions of one, and some 30 for each function: nobody scans 256 buses.
	 */
	assert_in_range(fake_machine.cfg_reads, 42, 160);
}

static void test_mcfg(void **state)
{
	(void)state;
	fake_machine.ecam = fake_machine.mcfg_base = 0xb0000000;
	fake_machine.mcfg_end = 0xff;
	add_pc();
	pci_scan();
	assert_int_equal(count(), 3);
	assert_non_null(find("0000:00:00.0")->bus->ecam);
}

static void test_mcfg_lies(void **state)
{
	(void)state;
	fake_machine.mcfg_base = 0xb0000000; /* nothing is there */
	fake_machine.mcfg_end = 0xff;
	add_pc();
	pci_scan();
	assert_int_equal(count(), 3);
	assert_null(find("0000:00:00.0")->bus->ecam);
	assert_true(fake_log_has("MCFG: no configuration space at 0xb0000000"));
}

static void test_mcfg_over_ram(void **state)
{
	(void)state;
	fake_machine.mcfg_base = 0x100000;
	fake_machine.mcfg_end = 0xff;
	fake_machine.conf1 = false;
	pci_scan();
	assert_int_equal(count(), 0);
}

static void test_microvm_found(void **state)
{
	(void)state;
	make_microvm();
	pci_scan();
	assert_int_equal(count(), 1);
	assert_true(find("0000:00:00.0")->bus->host->microvm);
}

/* Something else lives at that address. */
static void test_microvm_other_bridge(void **state)
{
	(void)state;
	fake_machine.conf1 = false;
	fake_machine.ecam = 0xe0000000;
	fake_pci_add(NULL, 0, 0, 0x8086, 0x29c0, 0x060000);
	pci_scan();
	assert_int_equal(count(), 0);
}

static void test_no_memory(void **state)
{
	(void)state;
	for (unsigned int n = 1; n < 8; n++) {
		fake_pci_reset();
		add_pc();
		fake_pci_add_bridge(NULL, 3, 0, 1, 1);
		fake_alloc_fail_nth(n);
		pci_scan();
		assert_in_range(count(), 0, 4);
	}
	fake_alloc_fail_nth(0);
}

/* ---- functions and bridges ---- */

static void test_multifunction(void **state)
{
	(void)state;
	fake_pci_add(NULL, 2, 0, 1, 1, 0x020000)->cfg[PCI_HEADER_TYPE] = 0x80;
	fake_pci_add(NULL, 2, 7, 1, 2, 0x020000);
	fake_pci_add(NULL, 3, 0, 1, 3, 0x020000); /* says nothing of its second function */
	fake_pci_add(NULL, 3, 1, 1, 4, 0x020000);
	fake_pci_add(NULL, 4, 1, 1, 5, 0x020000); /* no function 0 */
	pci_scan();
	assert_int_equal(count(), 3);
	assert_non_null(find("0000:00:02.7"));
	assert_null(find("0000:00:03.1"));
	assert_null(find("0000:00:04.1"));
}

static void test_bridge_firmware_numbers(void **state)
{
	struct fake_fn *a, *b;

	(void)state;
	a = fake_pci_add_bridge(NULL, 1, 0, 4, 6);
	b = fake_pci_add_bridge(a, 0, 4, 6, 6);
	fake_pci_add(b, 9, 0, 1, 1, 0x020000);
	fake_pci_add_bridge(NULL, 2, 0, 1, 3);
	pci_scan();
	assert_int_equal(count(), 4);
	assert_non_null(find("0000:06:09.0"));
	assert_int_equal(fake_cfg32(a, PCI_PRIMARY_BUS), 0x00060400);
}

static void test_bridge_new_numbers(void **state)
{
	struct fake_fn *a, *b, *c;

	(void)state;
	a = fake_pci_add_bridge(NULL, 1, 0, 0, 0);
	b = fake_pci_add_bridge(a, 0, 0, 0, 0);
	fake_pci_add(b, 0, 0, 1, 1, 0x020000);
	c = fake_pci_add_bridge(NULL, 2, 0, 1,
				2); /* the firmware's: kept, the others go round it */
	fake_pci_add(c, 0, 0, 1, 2, 0x020000);
	pci_scan();
	assert_int_equal(count(), 5);
	assert_int_equal(fake_cfg32(c, PCI_PRIMARY_BUS), 0x00020100);
	assert_int_equal(fake_cfg32(a, PCI_PRIMARY_BUS), 0x00040300);
	assert_int_equal(fake_cfg32(b, PCI_PRIMARY_BUS), 0x00040403);
	assert_non_null(find("0000:04:00.0"));
}

/* Numbers that cannot be meant: a loop to the root, a sibling's, wrong way round, wrong primary. */
static void test_bridge_bad_numbers(void **state)
{
	static const u8 bad[][3] = { { 0, 0, 5 }, { 0, 1, 1 }, { 0, 7, 3 }, { 9, 5, 5 } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct fake_fn *a, *b;

		fake_pci_reset();
		a = fake_pci_add_bridge(NULL, 1, 0, 1, 2);
		b = fake_pci_add_bridge(NULL, 2, bad[i][0], bad[i][1], bad[i][2]);
		fake_pci_add(b, 0, 0, 1, 1, 0x020000);
		/* Until the driver has mended it the model sees two bridges claim a bus. */
		if (bad[i][1] == 1)
			fake_cfg_set32(b, PCI_PRIMARY_BUS, 0x00020200);
		pci_scan();
		assert_int_equal(fake_cfg32(a, PCI_PRIMARY_BUS), 0x00020100);
		assert_int_equal(fake_cfg32(b, PCI_PRIMARY_BUS), 0x00030300);
		assert_non_null(find("0000:03:00.0"));
	}
	assert_int_equal(fake_log_count("given new ones"), ARRAY_SIZE(bad));
}

/* Leads to the bus it is on. */
static void test_bridge_loop(void **state)
{
	struct fake_fn *a;

	(void)state;
	a = fake_pci_add_bridge(NULL, 1, 0, 0, 5);
	fake_pci_add(a, 3, 0, 1, 1, 0x020000);
	pci_scan();
	assert_int_equal(count(), 2);
	assert_int_equal(fake_cfg32(a, PCI_PRIMARY_BUS), 0x00010100);
}

static void test_bridge_depth(void **state)
{
	struct fake_fn *br = NULL;

	(void)state;
	for (u8 i = 0; i < 20; i++)
		br = fake_pci_add_bridge(br, 0, 0, 0, 0);
	pci_scan();
	assert_int_equal(count(), PCI_MAX_DEPTH + 1);
	assert_true(fake_log_has("bridges in a row"));
}

/* No number is left below a firmware-given range. */
static void test_bridge_numbers_exhausted(void **state)
{
	struct fake_fn *a, *b;

	(void)state;
	a = fake_pci_add_bridge(NULL, 1, 0, 1, 1);
	b = fake_pci_add_bridge(a, 0, 0, 0, 0);
	fake_pci_add(b, 0, 0, 1, 1, 0x020000);
	pci_scan();
	assert_int_equal(count(), 2);
	assert_true(fake_log_has("0000:01:00.0: no bus number left"));
	assert_int_equal(fake_cfg32(b, PCI_PRIMARY_BUS), 1);
}

/* Behind a root port only slot 0 is asked. */
static void test_root_port(void **state)
{
	static const u8 exp_root_port[] = { 0x42, 0x00 };
	struct fake_fn *rp;
	unsigned int without;

	(void)state;
	fake_pci_add_bridge(NULL, 1, 0, 1, 1);
	pci_scan();
	without = fake_machine.cfg_reads;
	fake_pci_reset();
	rp = fake_pci_add_bridge(NULL, 1, 0, 1, 1);
	fake_pci_add_cap(rp, 0x40, PCI_CAP_ID_EXP, exp_root_port, 2);
	fake_pci_add(rp, 0, 0, 0x1af4, 0x1041, 0x020000);
	pci_scan();
	assert_non_null(find("0000:01:00.0"));
	assert_true(fake_machine.cfg_reads < without + 15);
}

static void test_too_many_functions(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 300; i++) {
		static struct fake_fn *br;

		if (i == 0)
			br = NULL;
		if (i == 0 || i == 150)
			br = fake_pci_add_bridge(NULL, i ? 1 : 0, 0, i ? 2 : 1, i ? 2 : 1);
		fake_pci_add(br, i % 150 / 8, i % 150 % 8, 1, 1, 0x020000)->cfg[PCI_HEADER_TYPE] =
			0x80;
	}
	pci_scan();
	assert_int_equal(count(), PCI_MAX_FUNCTIONS);
	assert_true(fake_log_has("the rest is left out"));
}

/* ---- BARs ---- */

static void test_bar_sizing(void **state)
{
	struct fake_fn *fn;
	struct pci_dev *pdev;

	(void)state;
	fn = fake_pci_add(NULL, 3, 0, 1, 1, 0x020000);
	fake_pci_set_bar(fn, 0, 0x20, BAR_IO, 0xc000);
	fake_pci_set_bar(fn, 1, 0x1000, BAR_MEM32, 0xfebc0000);
	fake_pci_set_bar(fn, 2, 0x1000000, BAR_MEM32 | BAR_PREF, 0xfd000000);
	fake_pci_set_bar(fn, 4, 0x4000, BAR_MEM64 | BAR_PREF, 0xe000000000);
	fake_cfg_set16(fn, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
	pci_scan();
	pdev = find("0000:00:03.0");
	assert_int_equal(pdev->bar[0].start, 0xc000);
	assert_int_equal(pdev->bar[0].size, 0x20);
	assert_int_equal(pdev->bar[0].flags, PCI_BAR_IO);
	assert_int_equal(pdev->bar[1].start, 0xfebc0000);
	assert_int_equal(pdev->bar[1].size, 0x1000);
	assert_int_equal(pdev->bar[2].size, 0x1000000);
	assert_int_equal(pdev->bar[2].flags, PCI_BAR_PREFETCH);
	assert_int_equal(pdev->bar[3].size, 0);
	assert_int_equal(pdev->bar[4].start, 0xe000000000);
	assert_int_equal(pdev->bar[4].size, 0x4000);
	assert_int_equal(pdev->bar[4].flags, PCI_BAR_MEM_64 | PCI_BAR_PREFETCH);
	/* Everything is as it was. */
	assert_int_equal(fake_pci_bar(fn, 0), 0xc000);
	assert_int_equal(fake_pci_bar(fn, 4), 0xe000000000);
	assert_int_equal(fake_cfg16(fn, PCI_COMMAND), PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
}

static void test_bar_4g_and_more(void **state)
{
	struct fake_fn *fn;

	(void)state;
	fn = fake_pci_add(NULL, 3, 0, 1, 1, 0x020000);
	fake_pci_set_bar(fn, 0, 16ull << 30, BAR_MEM64, 0x8000000000);
	fake_pci_set_bar(fn, 2, 1ull << 50, BAR_MEM64, 0);
	pci_scan();
	assert_int_equal(find("0000:00:03.0")->bar[0].size, 16ull << 30);
	assert_int_equal(find("0000:00:03.0")->bar[0].start, 0x8000000000);
	assert_int_equal(find("0000:00:03.0")->bar[2].size, 0);
	assert_true(fake_log_has("BAR 2: no sane size"));
}

/* V16 */
static void test_bar_64bit_at_the_end(void **state)
{
	struct fake_fn *fn;
	struct pci_dev *pdev;

	(void)state;
	fn = fake_pci_add(NULL, 3, 0, 1, 1, 0x020000);
	fake_cfg_set32(fn, 0x24, BAR_MEM64);
	fn->wmask[0x27] = 0xff;
	pci_scan();
	pdev = find("0000:00:03.0");
	assert_int_equal(pdev->bar[5].size, 0);
	assert_true(fake_log_has("BAR 5: 64 bits in the last register"));
	assert_int_equal(pci_enable_device(pdev), -ENODEV);
	assert_int_equal(fake_cfg16(fn, PCI_COMMAND), 0);
}

static void test_bar_io_without_size(void **state)
{
	struct fake_fn *fn;

	(void)state;
	fn = fake_pci_add(NULL, 3, 0, 1, 1, 0x020000);
	fake_cfg_set32(fn, 0x10, 1);
	pci_scan();
	assert_true(fake_log_has("BAR 0: I/O without a size"));
}

/* V16: a BAR over RAM would let the device answer for it. */
static void test_bar_over_ram(void **state)
{
	struct fake_fn *fn;
	struct pci_dev *pdev;

	(void)state;
	fn = fake_pci_add(NULL, 3, 0, 1, 1, 0x020000);
	fake_pci_set_bar(fn, 0, 0x1000, BAR_MEM32, 0x200000);
	pci_scan();
	pdev = find("0000:00:03.0");
	assert_int_equal(pdev->bar[0].start, 0);
	assert_true(fake_log_has("BAR 0: 0x200000 lies over RAM"));
	assert_true(fake_log_has("BAR 0: no address space for 0x1000 bytes"));
	assert_int_equal(pci_enable_device(pdev), -ENODEV);
	assert_int_equal(fake_cfg16(fn, PCI_COMMAND), 0);
	assert_null(pci_iomap_range(pdev, 0, 0, 4));
}

/* One that starts below RAM and reaches into it. */
static void test_bar_reaches_into_ram(void **state)
{
	struct fake_fn *fn;

	(void)state;
	fake_machine.ram_start = 0x80001000;
	fake_machine.ram_end = 0x80002000;
	fn = fake_pci_add(NULL, 3, 0, 1, 1, 0x020000);
	fake_pci_set_bar(fn, 0, 0x2000, BAR_MEM32, 0x80000000);
	pci_scan();
	assert_int_equal(find("0000:00:03.0")->bar[0].start, 0);
}

/* While it is sized, the register says 16 KiB. */
static void lie_about_size(struct fake_fn *fn, unsigned int off, unsigned int width)
{
	(void)width;
	if (off == PCI_BASE_ADDRESS_0 && fake_cfg32(fn, off) == 0xfffff000)
		fake_cfg_set32(fn, off, 0xffffc000);
}

/* An address that is not aligned to the size. */
static void test_bar_misaligned(void **state)
{
	struct fake_fn *fn;

	(void)state;
	fn = fake_pci_add(NULL, 3, 0, 1, 1, 0x020000);
	fake_pci_set_bar(fn, 0, 0x1000, BAR_MEM32, 0xfebc1000);
	fn->cfg_written = lie_about_size;
	pci_scan();
	assert_int_equal(find("0000:00:03.0")->bar[0].start, 0);
	assert_true(fake_log_has("no valid address"));
}

static void test_gone_while_sizing(void **state)
{
	(void)state;
	/* All bits writable and none fixed: reads back all ones, as a device does that has left. */
	memset(fake_pci_add(NULL, 3, 0, 1, 1, 0x020000)->wmask + 0x10, 0xff, 24);
	pci_scan();
	for (int i = 0; i < PCI_STD_NUM_BARS; i++)
		assert_int_equal(find("0000:00:03.0")->bar[i].size, 0);
}

static void test_host_bridge_not_sized(void **state)
{
	struct fake_fn *fn;

	(void)state;
	fn = fake_pci_add(NULL, 0, 0, 0x8086, 0x1237, 0x060000);
	fake_pci_set_bar(fn, 0, 0x10000000, BAR_MEM32, 0xd0000000);
	pci_scan();
	assert_int_equal(find("0000:00:00.0")->bar[0].size, 0);
}

static void test_iomap_bounds(void **state)
{
	struct fake_fn *fn;
	struct pci_dev *pdev;

	(void)state;
	fn = fake_pci_add(NULL, 3, 0, 1, 1, 0x020000);
	fake_pci_set_bar(fn, 0, 0x20, BAR_IO, 0xc000);
	fake_pci_set_bar(fn, 1, 0x1000, BAR_MEM32, 0xfebc0000);
	pci_scan();
	pdev = find("0000:00:03.0");
	assert_null(pci_iomap_range(pdev, 1, 0, 4)); /* not enabled */
	assert_int_equal(pci_enable_device(pdev), 0);
	assert_int_equal(fake_cfg16(fn, PCI_COMMAND), PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
	assert_ptr_equal(pci_iomap_range(pdev, 1, 0xff0, 0x10), (void *)0xfebc0ff0);
	assert_null(pci_iomap_range(pdev, 1, 0xff0, 0x11));
	assert_null(pci_iomap_range(pdev, 1, 0x1001, 1));
	assert_null(pci_iomap_range(pdev, 1, ~0ull, 2));
	assert_null(pci_iomap_range(pdev, 1, 0, 0));
	assert_null(pci_iomap_range(pdev, 0, 0, 4));
	assert_null(pci_iomap_range(pdev, 6, 0, 4));
	pci_set_master(pdev);
	assert_int_equal(fake_cfg16(fn, PCI_COMMAND), 7);
	pci_disable_device(pdev);
	assert_int_equal(fake_cfg16(fn, PCI_COMMAND), 0);
}

/* ---- assignment ---- */

static struct fake_fn *add_virtio(struct fake_fn *bridge, unsigned int slot)
{
	struct fake_fn *fn = fake_pci_add(bridge, slot, 0, 0x1af4, 0x1000, 0x020000);

	fake_pci_set_bar(fn, 0, 0x20, BAR_IO, 0);
	fake_pci_set_bar(fn, 1, 0x1000, BAR_MEM32, 0);
	fake_pci_set_bar(fn, 4, 0x4000, BAR_MEM64 | BAR_PREF, 0);
	fn->cfg[PCI_INTERRUPT_PIN] = 1;
	return fn;
}

static void test_assign_microvm(void **state)
{
	struct fake_fn *fn[3], *big;
	struct pci_dev *pdev;

	(void)state;
	make_microvm();
	for (unsigned int i = 0; i < 3; i++)
		fn[i] = add_virtio(NULL, 1 + i);
	big = fake_pci_add(NULL, 9, 0, 1, 1, 0x038000);
	fake_pci_set_bar(big, 0, 1ull << 30, BAR_MEM64 | BAR_PREF, 0);
	fake_pci_set_bar(big, 2, 1ull << 30, BAR_MEM64, 0);
	pci_scan();
	for (unsigned int i = 0; i < 3; i++) {
		u64 a = fake_pci_bar(fn[i], 1), b = fake_pci_bar(fn[i], 4);

		assert_in_range(a, 0xc0000000, 0xdffff000);
		assert_in_range(b, 0xc0000000, 0xdfffc000);
		assert_int_equal(b % 0x4000, 0);
		assert_int_equal(fake_pci_bar(fn[i], 0), 0);
		for (unsigned int j = 0; j < i; j++) {
			assert_int_not_equal(a, fake_pci_bar(fn[j], 1));
			assert_int_not_equal(b, fake_pci_bar(fn[j], 4));
		}
		/* Nobody has asked for it yet. */
		assert_int_equal(fake_cfg16(fn[i], PCI_COMMAND), 0);
	}
	/* Too large for the window below 4 GiB; not prefetchable, so it has no other. */
	assert_int_equal(fake_pci_bar(big, 0), 0xc000000000);
	assert_int_equal(fake_pci_bar(big, 2), 0);
	assert_true(fake_log_has("0000:00:09.0: BAR 2: no address space"));
	assert_false(fake_log_has("0000:00:01.0: BAR 0: no address space"));

	pdev = find("0000:00:01.0");
	assert_int_equal(pci_enable_device(pdev), 0);
	assert_true(pdev->mem_enabled);
	assert_false(pdev->io_enabled);
	assert_int_equal(fake_cfg16(fn[0], PCI_COMMAND), PCI_COMMAND_MEMORY);
	assert_non_null(pci_iomap_range(pdev, 4, 0x3000, 0x1000));
	assert_int_equal(pci_enable_device(find("0000:00:09.0")), -ENODEV);
}

/* 39 address bits: the high window ends there. */
static void test_assign_microvm_39_bits(void **state)
{
	struct fake_fn *big;

	(void)state;
	make_microvm();
	fake_machine.phys_bits = 39;
	big = fake_pci_add(NULL, 9, 0, 1, 1, 0x038000);
	fake_pci_set_bar(big, 0, 1ull << 30, BAR_MEM64 | BAR_PREF, 0);
	pci_scan();
	assert_int_equal(fake_pci_bar(big, 0), 0x6000000000);
}

static void test_assign_bridges(void **state)
{
	struct fake_fn *a, *b, *x, *y, *z;

	(void)state;
	make_microvm();
	a = fake_pci_add_bridge(NULL, 1, 0, 0, 0);
	fake_pci_set_bar(a, 0, 0x1000, BAR_MEM32, 0);
	b = fake_pci_add_bridge(a, 2, 0, 0, 0);
	x = add_virtio(b, 0);
	y = add_virtio(a, 3);
	z = fake_pci_add(a, 4, 0, 1, 1, 0x038000);
	fake_pci_set_bar(z, 0, 0x1000000, BAR_MEM32, 0);
	fake_pci_add_bridge(NULL, 2, 0, 0, 0); /* with nothing behind */
	pci_scan();
	assert_non_null(find("0000:02:00.0"));
	assert_int_equal(pci_enable_device(find("0000:02:00.0")), 0);
	assert_int_equal(pci_enable_device(find("0000:01:03.0")), 0);
	assert_int_equal(pci_enable_device(find("0000:01:04.0")), 0);
	/* The model routes through both bridges; an access that got lost would end the test. */
	assert_int_equal(pci_read_config_dword(find("0000:02:00.0"), 0), 0x10001af4);
	(void)fake_cfg16(x, 0);
	assert_int_not_equal(fake_pci_bar(x, 1), 0);
	assert_int_not_equal(fake_pci_bar(y, 4), 0);
	assert_int_equal(fake_pci_bar(z, 0) % 0x1000000, 0);
	assert_int_equal(fake_cfg16(a, PCI_COMMAND), PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	assert_int_equal(fake_cfg16(b, PCI_COMMAND), PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

/* Windows that were left at zero must not forward the lowest megabyte. */
static void test_empty_windows_closed(void **state)
{
	struct fake_fn *a;
	u32 v;

	(void)state;
	make_microvm();
	a = fake_pci_add_bridge(NULL, 1, 0, 0, 0);
	pci_scan();
	v = fake_cfg32(a, PCI_MEMORY_BASE);
	assert_true((v & 0xfff0) > v >> 16);
	v = fake_cfg32(a, PCI_PREF_MEMORY_BASE);
	assert_true((v & 0xfff0) > (v >> 16 & 0xfff0));
	assert_true((a->cfg[PCI_IO_BASE] & 0xf0) > (a->cfg[PCI_IO_LIMIT] & 0xf0));
}

/* q35 behind a root port: addresses in the firmware's windows are kept; one that is missing comes
 * from there. */
static void test_firmware_windows(void **state)
{
	struct fake_fn *a, *x, *y;
	struct pci_dev *pdev;

	(void)state;
	a = fake_pci_add_bridge(NULL, 1, 0, 1, 1);
	fake_pci_set_window(a, PCI_IO_BASE, 0xd000, 0xe000);
	fake_pci_set_window(a, PCI_MEMORY_BASE, 0xfe800000, 0xfea00000);
	fake_pci_set_window(a, PCI_PREF_MEMORY_BASE, 0x380000000000, 0x380000100000);
	fake_machine.phys_bits = 46;
	x = add_virtio(a, 0);
	fake_pci_set_bar(x, 0, 0x20, BAR_IO, 0xd000);
	fake_pci_set_bar(x, 1, 0x1000, BAR_MEM32, 0xfe800000);
	fake_pci_set_bar(x, 4, 0x4000, BAR_MEM64 | BAR_PREF, 0x380000000000);
	y = add_virtio(a, 1);
	pci_scan();
	pdev = find("0000:01:00.0");
	assert_int_equal(pdev->bar[0].start, 0xd000);
	assert_int_equal(pdev->bar[4].start, 0x380000000000);
	assert_int_equal(fake_pci_bar(y, 0), 0xd020);
	assert_int_equal(fake_pci_bar(y, 1), 0xfe801000);
	assert_int_equal(fake_pci_bar(y, 4), 0x380000004000);
	assert_int_equal(pci_enable_device(pdev), 0);
	assert_int_equal(fake_cfg16(a, PCI_COMMAND), 7);
	assert_int_equal(fake_log_count("BAR"), 0);
}

static void test_outside_window(void **state)
{
	struct fake_fn *a, *x;

	(void)state;
	a = fake_pci_add_bridge(NULL, 1, 0, 1, 1);
	fake_pci_set_window(a, PCI_MEMORY_BASE, 0xfe800000, 0xfea00000);
	x = fake_pci_add(a, 0, 0, 1, 1, 0x020000);
	fake_pci_set_bar(x, 0, 0x1000, BAR_MEM32, 0xfd000000);
	pci_scan();
	assert_true(fake_log_has("BAR 0: 0xfd000000 is not forwarded by the bridge above"));
	assert_int_equal(fake_pci_bar(x, 0), 0xfe800000);
}

/* The inner bridge claims what the outer one does not forward. */
static void test_inner_window_outside(void **state)
{
	struct fake_fn *a, *b;

	(void)state;
	a = fake_pci_add_bridge(NULL, 1, 0, 1, 2);
	b = fake_pci_add_bridge(a, 0, 1, 2, 2);
	fake_pci_set_window(a, PCI_MEMORY_BASE, 0xfe800000, 0xfea00000);
	fake_pci_set_window(b, PCI_MEMORY_BASE, 0xfd800000, 0xfda00000);
	fake_pci_set_bar(fake_pci_add(b, 0, 0, 1, 1, 0x020000), 0, 0x1000, BAR_MEM32, 0);
	pci_scan();
	assert_true(fake_log_has("window 0xfd800000-0xfd9fffff is not forwarded"));
	/* It gets one inside. */
	assert_in_range(find("0000:02:00.0")->bar[0].start, 0xfe800000, 0xfe9fffff);
}

/* Assigned, but the register keeps something else. */
static void test_bar_does_not_keep(void **state)
{
	struct fake_fn *fn;

	(void)state;
	make_microvm();
	fn = fake_pci_add(NULL, 1, 0, 1, 1, 0x020000);
	fake_pci_set_bar(fn, 0, 0x1000, BAR_MEM32, 0);
	fn->wmask[0x13] = 0x7f; /* the highest bit is stuck */
	pci_scan();
	assert_true(fake_log_has("BAR 0: does not keep its address"));
	assert_int_equal(pci_enable_device(find("0000:00:01.0")), -ENODEV);
}

static void test_window_full(void **state)
{
	(void)state;
	make_microvm();
	for (unsigned int i = 1; i < 4; i++)
		fake_pci_set_bar(fake_pci_add(NULL, i, 0, 1, 1, 0x038000), 0, 256u << 20, BAR_MEM32,
				 0);
	pci_scan();
	assert_int_equal(fake_log_count("no address space"), 1);
	assert_int_equal(find("0000:00:01.0")->bar[0].start, 0xc0000000);
	assert_int_equal(find("0000:00:02.0")->bar[0].start, 0xd0000000);
}

/* ---- capabilities: V14 ---- */

static void test_cap_list(void **state)
{
	struct fake_fn *fn;
	struct pci_dev *pdev;

	(void)state;
	fn = fake_pci_add(NULL, 3, 0, 1, 1, 0x020000);
	fake_pci_add_cap(fn, 0x40, 0x09, NULL, 0);
	fake_pci_add_cap(fn, 0x50, 0x01, NULL, 0);
	fake_pci_add_cap(fn, 0x60, 0x09, NULL, 0);
	pci_scan();
	pdev = find("0000:00:03.0");
	assert_int_equal(pci_find_capability(pdev, 0x09), 0x60);
	assert_int_equal(pci_find_next_capability(pdev, 0x60, 0x09), 0x40);
	assert_int_equal(pci_find_next_capability(pdev, 0x40, 0x09), 0);
	assert_int_equal(pci_find_capability(pdev, 0x05), 0);
	/* 6.7: the low two bits are reserved. */
	fn->cfg[PCI_CAPABILITY_LIST] |= 3;
	assert_int_equal(pci_find_capability(pdev, 0x01), 0x50);
	/* No list at all. */
	fn->cfg[PCI_STATUS] = 0;
	assert_int_equal(pci_find_capability(pdev, 0x09), 0);
}

static void test_cap_loops(void **state)
{
	struct fake_fn *fn;
	struct pci_dev *pdev;

	(void)state;
	fn = fake_pci_add(NULL, 3, 0, 1, 1, 0x020000);
	fake_pci_add_cap(fn, 0x40, 0x09, NULL, 0);
	fake_pci_add_cap(fn, 0x50, 0x01, NULL, 0);
	fn->cfg[0x41] = 0x50; /* a circle */
	pci_scan();
	pdev = find("0000:00:03.0");
	fake_machine.cfg_reads = 0;
	assert_int_equal(pci_find_capability(pdev, 0x05), 0);
	assert_in_range(fake_machine.cfg_reads, 1, 2 * PCI_FIND_CAP_TTL + 2);
	fn->cfg[0x41] = 0x40; /* to itself */
	assert_int_equal(pci_find_capability(pdev, 0x05), 0);
	fn->cfg[0x41] =
		0x3c; /* into the header, where the interrupt line looks like a capability */
	fn->cfg[PCI_INTERRUPT_LINE] = 0x05;
	assert_int_equal(pci_find_capability(pdev, 0x05), 0);
	fn->cfg[PCI_CAPABILITY_LIST] = 0x04;
	assert_int_equal(pci_find_capability(pdev, 0x09), 0);
	fn->cfg[PCI_CAPABILITY_LIST] = 0x50;
	fn->gone = true;
	assert_int_equal(pci_find_capability(pdev, 0x09), 0);
}

/* ---- MSI-X ---- */

struct msix_model {
	u32 reg[64];
};

static u32 msix_read(struct fake_fn *fn, unsigned int bar, u64 off, unsigned int width)
{
	struct msix_model *m = fn->priv;

	assert_int_equal(width, 4);
	return bar == 1 && off < sizeof(m->reg) ? m->reg[off / 4] : 0;
}

static void msix_write(struct fake_fn *fn, unsigned int bar, u64 off, unsigned int width, u32 v)
{
	struct msix_model *m = fn->priv;

	assert_int_equal(width, 4);
	assert_int_equal(bar, 1);
	assert_true(off < sizeof(m->reg));
	/* 6.8.2: an entry is changed only while it is masked. */
	if (off % 16 < 12)
		assert_int_equal(m->reg[off / 16 * 4 + 3] & 1, 1);
	m->reg[off / 4] = v;
}

static struct msix_model msix_model;

static struct fake_fn *add_msix(unsigned int vectors, u32 table, u32 pba)
{
	struct fake_fn *fn = fake_pci_add(NULL, 3, 0, 1, 1, 0x020000);

	memset(&msix_model, 0, sizeof(msix_model));
	fake_pci_set_bar(fn, 0, 0x20, BAR_IO, 0xc000);
	fake_pci_set_bar(fn, 1, 0x1000, BAR_MEM32, 0xfebc0000);
	fake_pci_add_msix(fn, 0x98, vectors, table, pba);
	fn->priv = &msix_model;
	fn->read = msix_read;
	fn->write = msix_write;
	return fn;
}

static void test_msix(void **state)
{
	struct fake_fn *fn;
	struct pci_dev *pdev;

	(void)state;
	fn = add_msix(4, 1, 0x801);
	pci_scan();
	pdev = find("0000:00:03.0");
	fn->cfg[0x9b] = 0x80; /* left enabled by the firmware */
	assert_int_equal(pci_enable_device(pdev), 0);
	assert_int_equal(fake_cfg16(fn, 0x9a) & PCI_MSIX_FLAGS_ENABLE, 0);

	assert_int_equal(pci_alloc_irq_vectors(pdev, 5, 5), -ENOSPC);
	assert_int_equal(pci_alloc_irq_vectors(pdev, 1, 3), 3);
	assert_int_equal(fake_cfg16(fn, 0x9a), 0x8003);
	assert_true(fake_cfg16(fn, PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE);
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(msix_model.reg[4 * i], 0xfee00000);
		assert_int_equal(msix_model.reg[4 * i + 1], 0);
		assert_int_equal(msix_model.reg[4 * i + 2], pci_irq_vector(pdev, i));
		assert_int_equal(msix_model.reg[4 * i + 3], 0);
	}
	assert_int_equal(msix_model.reg[15], 1); /* not ours: masked */
	pci_free_irq_vectors(pdev);
	assert_int_equal(fake_cfg16(fn, 0x9a), 0x0003);
	assert_int_equal(msix_model.reg[3], 1);
	pci_free_irq_vectors(pdev);
}

static void test_msix_no_vectors(void **state)
{
	struct fake_fn *fn;
	struct pci_dev *pdev;

	(void)state;
	fn = add_msix(4, 1, 0x801);
	pci_scan();
	pdev = find("0000:00:03.0");
	assert_int_equal(pci_enable_device(pdev), 0);
	fake_msi_limit(2);
	assert_int_equal(pci_alloc_irq_vectors(pdev, 3, 3), -ENOSPC);
	assert_int_equal(fake_cfg16(fn, 0x9a), 0x0003);
	assert_true(fake_log_has("only 2 of 3 interrupt vectors left"));
	fake_msi_limit(2);
	assert_int_equal(pci_alloc_irq_vectors(pdev, 1, 3), 2);
	pci_free_irq_vectors(pdev);
	fake_msi_limit(-1);
	fake_alloc_fail_nth(1);
	assert_int_equal(pci_alloc_irq_vectors(pdev, 1, 3), -ENOMEM);
}

static void test_msix_bad_tables(void **state)
{
	static const struct {
		unsigned int vectors;
		u32 table, pba;
	} bad[] = {
		{ 4, 0x0fd1, 0x801 },     /* the table's end sticks out */
		{ 4, 0x1001, 0x801 },     /* behind the BAR */
		{ 4, 0xfffffff9, 0x801 }, /* far behind */
		{ 4, 0x0001, 0x1001 },    /* PBA behind the BAR */
		{ 4, 0x0001, 0x2001 },    /* PBA far behind */
		{ 4, 0x0001, 0x0031 },    /* PBA inside the table */
		{ 4, 0x0000, 0x801 },     /* in an I/O BAR */
		{ 4, 0x0002, 0x801 },     /* in a BAR that is not there */
		{ 4, 0x0007, 0x801 },     /* in BAR 7 */
		{ 2048, 0x0001, 0x801 },  /* larger than the BAR */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct pci_dev *pdev;

		fake_pci_reset();
		add_msix(bad[i].vectors, bad[i].table, bad[i].pba);
		pci_scan();
		pdev = find("0000:00:03.0");
		assert_int_equal(pci_enable_device(pdev), 0);
		assert_int_equal(pci_alloc_irq_vectors(pdev, 1, 3), -ENODEV);
	}
	assert_int_equal(fake_log_count("MSI-X table"), ARRAY_SIZE(bad));
}

/* The capability begins so late that its registers would lie beyond configuration space. */
static void test_msix_cap_cut_off(void **state)
{
	struct fake_fn *fn;
	struct pci_dev *pdev;

	(void)state;
	fn = fake_pci_add(NULL, 3, 0, 1, 1, 0x020000);
	fake_pci_set_bar(fn, 1, 0x1000, BAR_MEM32, 0xfebc0000);
	fake_pci_add_cap(fn, 0xf8, PCI_CAP_ID_MSIX, NULL, 0);
	pci_scan();
	pdev = find("0000:00:03.0");
	assert_int_equal(pci_enable_device(pdev), 0);
	assert_int_equal(pci_alloc_irq_vectors(pdev, 1, 1), -ENODEV);
}

/* ---- INTx ---- */

static void test_intx_line(void **state)
{
	struct fake_fn *fn;
	struct pci_dev *pdev;

	(void)state;
	fn = fake_pci_add(NULL, 3, 0, 1, 1, 0x020000);
	fn->cfg[PCI_INTERRUPT_PIN] = 1;
	fn->cfg[PCI_INTERRUPT_LINE] = 11;
	pci_scan();
	pdev = find("0000:00:03.0");
	assert_int_equal(pci_assign_irq(pdev), 12);
	assert_int_equal(pdev->irq, 12);
	assert_int_equal(fake_machine.gsi, 11);
	assert_int_equal(fake_machine.trigger, IRQ_LEVEL);
	assert_int_equal(fake_machine.polarity, IRQ_ACTIVE_HIGH);
	/* Without an override in the MADT: as PCI says, not as ISA. */
	pdev->irq = 0;
	fake_machine.isa_override = 0;
	assert_int_equal(pci_assign_irq(pdev), 12);
	assert_int_equal(fake_machine.trigger, IRQ_LEVEL);
	assert_int_equal(fake_machine.polarity, IRQ_ACTIVE_LOW);
	pci_intx(pdev, false);
	assert_int_equal(fake_cfg16(fn, PCI_COMMAND), PCI_COMMAND_INTX_DISABLE);
	pci_intx(pdev, true);
	assert_int_equal(fake_cfg16(fn, PCI_COMMAND), 0);
}

static void test_intx_not_routed(void **state)
{
	static const u8 bad[] = { 0, 16, 255 };
	struct fake_fn *fn;
	struct pci_dev *pdev;

	(void)state;
	fn = fake_pci_add(NULL, 3, 0, 1, 1, 0x020000);
	fn->cfg[PCI_INTERRUPT_PIN] = 2;
	fake_pci_add(NULL, 4, 0, 1, 1, 0x020000);
	fake_pci_add(NULL, 5, 0, 1, 1, 0x020000)->cfg[PCI_INTERRUPT_PIN] = 77;
	pci_scan();
	pdev = find("0000:00:03.0");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		fn->cfg[PCI_INTERRUPT_LINE] = bad[i];
		assert_int_equal(pci_assign_irq(pdev), -ENODEV);
	}
	assert_int_equal(pci_assign_irq(find("0000:00:04.0")), -ENODEV);
	assert_int_equal(pci_assign_irq(find("0000:00:05.0")), -ENODEV);
}

static void test_intx_microvm(void **state)
{
	struct fake_fn *br;

	(void)state;
	make_microvm();
	add_virtio(NULL, 1);
	add_virtio(NULL, 2)->cfg[PCI_INTERRUPT_PIN] = 4;
	br = fake_pci_add_bridge(NULL, 3, 0, 0, 0);
	add_virtio(br, 2)->cfg[PCI_INTERRUPT_PIN] = 3;
	pci_scan();
	assert_int_equal(pci_assign_irq(find("0000:00:01.0")), 17 + 1);
	assert_int_equal(fake_machine.trigger, IRQ_LEVEL);
	assert_int_equal(fake_machine.polarity, IRQ_ACTIVE_HIGH);
	assert_int_equal(pci_assign_irq(find("0000:00:02.0")), 16 + (2 + 3) % 4 + 1);
	/* INTC# of slot 2 is INTA# of the bridge (2 + 2 = 4, 0 mod 4), which is in slot 3. */
	assert_int_equal(pci_assign_irq(find("0000:01:02.0")), 16 + 3 + 1);
}

/* ---- drivers ---- */

static int probe_calls, probe_result;
static bool probe_in_softirq;

static int test_probe(struct pci_dev *pdev)
{
	assert_int_equal(pdev->vendor, 0x1234);
	/* Nothing of a device that is up comes between a probe's allocations. */
	probe_in_softirq &= in_softirq();
	probe_calls++;
	return probe_result;
}

static const struct pci_device_id test_ids[] = { { 0x1234, 0x5678 }, { 0x1234, 0x9abc }, { 0, 0 } };
static const struct pci_driver test_driver = { "test", test_ids, test_probe };
module_pci_driver(test_driver);

static void test_driver_match(void **state)
{
	(void)state;
	fake_pci_add(NULL, 1, 0, 0x1234, 0x9abc, 0x020000);
	fake_pci_add(NULL, 2, 0, 0x1234, 0x5679, 0x020000);
	fake_pci_add(NULL, 3, 0, 0x1235, 0x5678, 0x020000);
	probe_calls = probe_result = 0;
	probe_in_softirq = true;
	driver_init();
	assert_int_equal(probe_calls, 1);
	assert_true(probe_in_softirq);
	assert_false(in_softirq());
	probe_result = -EIO;
	assert_int_equal(pci_bus_probe(find("0000:00:01.0")), -EIO);
	assert_int_equal(pci_bus_probe(find("0000:00:02.0")), -ENODEV);
}

static void test_driver_fails(void **state)
{
	(void)state;
	fake_pci_add(NULL, 1, 0, 0x1234, 0x9abc, 0x020000);
	probe_result = -EIO;
	driver_init();
	assert_true(fake_log_has("pci 0000:00:01.0: probe failed: error 5"));
}

/* Last: there is no way back. */
static void test_nomsi(void **state)
{
	struct pci_dev *pdev;

	(void)state;
	assert_int_equal(fake_cmdline("pci", NULL), -EINVAL);
	assert_int_equal(fake_cmdline("pci", ""), -EINVAL);
	assert_int_equal(fake_cmdline("pci", "nomsix"), -EINVAL);
	assert_int_equal(fake_cmdline("pci", "noms"), -EINVAL);
	assert_int_equal(fake_cmdline("pci", "off"), 0);
	add_msix(4, 1, 0x801);
	pci_scan();
	pdev = find("0000:00:03.0");
	assert_int_equal(pci_enable_device(pdev), 0);
	assert_int_equal(pci_alloc_irq_vectors(pdev, 1, 3), 3);
	pci_free_irq_vectors(pdev);
	assert_int_equal(fake_cmdline("pci", "off,nomsi"), 0);
	assert_int_equal(pci_alloc_irq_vectors(pdev, 1, 3), -ENODEV);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_no_pci),
		T(test_conf1),
		T(test_mcfg),
		T(test_mcfg_lies),
		T(test_mcfg_over_ram),
		T(test_microvm_found),
		T(test_microvm_other_bridge),
		T(test_no_memory),
		T(test_multifunction),
		T(test_bridge_firmware_numbers),
		T(test_bridge_new_numbers),
		T(test_bridge_bad_numbers),
		T(test_bridge_loop),
		T(test_bridge_depth),
		T(test_bridge_numbers_exhausted),
		T(test_root_port),
		T(test_too_many_functions),
		T(test_bar_sizing),
		T(test_bar_4g_and_more),
		T(test_bar_64bit_at_the_end),
		T(test_bar_io_without_size),
		T(test_bar_over_ram),
		T(test_bar_reaches_into_ram),
		T(test_bar_misaligned),
		T(test_gone_while_sizing),
		T(test_host_bridge_not_sized),
		T(test_iomap_bounds),
		T(test_assign_microvm),
		T(test_assign_microvm_39_bits),
		T(test_assign_bridges),
		T(test_empty_windows_closed),
		T(test_firmware_windows),
		T(test_outside_window),
		T(test_inner_window_outside),
		T(test_bar_does_not_keep),
		T(test_window_full),
		T(test_cap_list),
		T(test_cap_loops),
		T(test_msix),
		T(test_msix_no_vectors),
		T(test_msix_bad_tables),
		T(test_msix_cap_cut_off),
		T(test_intx_line),
		T(test_intx_not_routed),
		T(test_intx_microvm),
		T(test_driver_match),
		T(test_driver_fails),
		T(test_nomsi),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
