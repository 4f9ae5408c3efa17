/*
 * Where virtio-mmio devices are. Two sources: the command line, in Linux's syntax,
 *
 *	virtio_mmio.device=<size>[KMG]@<base>:<irq>[:<id>]
 *
 * which QEMU's microvm adds without ACPI, and Firecracker; and microvm itself, whose slots only the
 * DSDT describes, which takes an interpreter (architecture: none here). They are at the same place
 *in every version of QEMU (hw/i386/microvm.c), so a machine that has microvm's sleep register is
 *looked at there.
 */
#define pr_fmt(fmt) "virtio_mmio: " fmt

#include "drivers/virtio/virtio_mmio.h"

#include "drivers/virtio/virtio_mmio_dev.h"
#include "kernel/init.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/string.h"
#include "kernel/printk.h"
#include "kernel/x86/acpi.h"

#define VM_MAX_NAMED 32

#define MICROVM_SLEEP_CONTROL 0xfea00200ull
#define MICROVM_VIRTIO_BASE 0xfeb00000ull
#define MICROVM_VIRTIO_SIZE 0x200u
/* With a second I/O APIC the slots have all of its pins; else eight of the first one's. */
#define MICROVM_SLOTS 24u
#define MICROVM_GSI 24u
#define MICROVM_SLOTS_1 8u
#define MICROVM_GSI_1 16u

/* ---- the command line ---- */

static struct vm_slot named[VM_MAX_NAMED];
static unsigned int nr_named;

/* The number at *p, decimal or after 0x; *p moves behind it. */
static bool parse_number(const char **p, u64 *out)
{
	char digits[20];
	size_t n = 0;

	while (n < sizeof(digits) - 1 && (((*p)[n] >= '0' && (*p)[n] <= '9') ||
					  (((*p)[n] | 0x20) >= 'a' && ((*p)[n] | 0x20) <= 'f') ||
					  ((*p)[n] == 'x' && n == 1))) {
		digits[n] = (*p)[n];
		n++;
	}
	digits[n] = '\0';
	*p += n;
	return kstrtoull(digits, 0, out) == 0;
}

static bool parse_size(const char **p, u64 *size)
{
	unsigned int shift = 0;

	if (!parse_number(p, size))
		return false;
	switch (**p | 0x20) {
	case 'k':
		shift = 10;
		break;
	case 'm':
		shift = 20;
		break;
	case 'g':
		shift = 30;
		break;
	default:
		return true;
	}
	(*p)++;
	if (*size >> (64 - shift))
		return false;
	*size <<= shift;
	return true;
}

static bool expect(const char **p, char c)
{
	if (**p != c)
		return false;
	(*p)++;
	return true;
}

static bool is_named(phys_addr_t base)
{
	for (unsigned int i = 0; i < nr_named; i++)
		if (named[i].base == base)
			return true;
	return false;
}

static int __must_check set_device(const char *val)
{
	u64 size, base, irq, id;
	const char *p = val;

	if (!val || !parse_size(&p, &size) || !expect(&p, '@') || !parse_number(&p, &base) ||
	    !expect(&p, ':') || !parse_number(&p, &irq))
		return -EINVAL;
	/* Linux lets the word give the device a number; ours have their own. */
	if (expect(&p, ':') && !parse_number(&p, &id))
		return -EINVAL;
	if (*p || size < VM_MIN_SIZE || base & 3 || base + size < base || irq > 0xffff)
		return -EINVAL;
	if (is_named(base))
		return 0;
	if (nr_named == VM_MAX_NAMED)
		return -ENOSPC;
	named[nr_named++] = (struct vm_slot){
		.base = base,
		.size = (u32)min(size, (u64)0x1000),
		.gsi = (u32)irq,
		.named = true,
	};
	return 0;
}
__setup("virtio_mmio.device", set_device);

/* A legacy IRQ: edge, active high, unless the MADT knows better, as Linux takes it. */
static void resolve_irq(struct vm_slot *slot)
{
	if (slot->gsi < 16)
		acpi_isa_irq_to_gsi((u8)slot->gsi, &slot->gsi, &slot->trigger, &slot->polarity);
}

/* ---- microvm ---- */

static void scan_microvm(void)
{
	const struct acpi_ioapic *ioapics;
	bool two = acpi_ioapics(&ioapics) > 1;
	u32 slots = two ? MICROVM_SLOTS : MICROVM_SLOTS_1;

	/* From the last one: that is where QEMU puts the first device it is given. */
	for (u32 n = slots; n-- > 0;) {
		const struct vm_slot slot = {
			.base = MICROVM_VIRTIO_BASE + n * MICROVM_VIRTIO_SIZE,
			.size = MICROVM_VIRTIO_SIZE,
			.gsi = (two ? MICROVM_GSI : MICROVM_GSI_1) + n,
			.trigger = IRQ_LEVEL,
			.polarity = IRQ_ACTIVE_HIGH,
		};

		if (!is_named(slot.base))
			(void)virtio_mmio_probe(&slot);
	}
}

void virtio_mmio_scan(void)
{
	const struct acpi_gas *sleep = &acpi_power.sleep_control;

	for (unsigned int i = 0; i < nr_named; i++) {
		resolve_irq(&named[i]);
		(void)virtio_mmio_probe(&named[i]);
	}
	if (sleep->space == 0 && sleep->address == MICROVM_SLEEP_CONTROL)
		scan_microvm();
}
