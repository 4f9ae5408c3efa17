#include "kernel/x86/ioapic.h"

#define pr_fmt(fmt) "ioapic: " fmt
#include "kernel/mm.h"
#include "kernel/printk.h"
#include "kernel/x86/acpi.h"
#include "kernel/x86/apic.h"
#include "kernel/x86/io.h"

/* Registers are reached through an index and a window. */
#define IOREGSEL 0x00
#define IOWIN 0x10
#define IOAPIC_VER 0x01
#define IOAPIC_REDTBL(n) (0x10 + 2 * (n))

#define REDIR_ACTIVE_LOW (1u << 13)
#define REDIR_LEVEL (1u << 15)
#define REDIR_MASKED (1u << 16)

static struct ioapic {
	u8 *regs;
	u32 gsi_base;
	u32 pins;
} ioapics[ACPI_MAX_IOAPICS];
static int nr_ioapics;

static u32 ioapic_read(const struct ioapic *io, u8 reg)
{
	writel(reg, io->regs + IOREGSEL);
	return readl(io->regs + IOWIN);
}

static void ioapic_write(const struct ioapic *io, u8 reg, u32 v)
{
	writel(reg, io->regs + IOREGSEL);
	writel(v, io->regs + IOWIN);
}

/* The I/O APIC of a GSI and the pin on it, or NULL. */
static const struct ioapic *find(u32 gsi, u8 *pin)
{
	for (int i = 0; i < nr_ioapics; i++) {
		if (gsi >= ioapics[i].gsi_base && gsi - ioapics[i].gsi_base < ioapics[i].pins) {
			*pin = (u8)(gsi - ioapics[i].gsi_base);
			return &ioapics[i];
		}
	}
	return NULL;
}

void ioapic_init(void)
{
	/* MultiProcessor Specification 1.4, 3.6.5: where the one is if no table says otherwise. */
	static const struct acpi_ioapic by_default = { .address = 0xfec00000 };
	const struct acpi_ioapic *table;
	int n = acpi_ioapics(&table);

	if (n == 0) {
		table = &by_default;
		n = 1;
	}
	for (int i = 0; i < n; i++) {
		struct ioapic *io = &ioapics[nr_ioapics];

		io->regs = ioremap(table[i].address, 4096);
		io->gsi_base = table[i].gsi_base;
		if (!io->regs) {
			pr_warn("0x%lx cannot be mapped, ignored\n", table[i].address);
			continue;
		}
		io->pins = (ioapic_read(io, IOAPIC_VER) >> 16 & 0xff) + 1;
		if (io->pins > 120) {
			pr_warn("0x%lx is not there, ignored\n", table[i].address);
			continue;
		}
		for (u32 pin = 0; pin < io->pins; pin++)
			ioapic_write(io, (u8)IOAPIC_REDTBL(pin), REDIR_MASKED);
		nr_ioapics++;
	}
}

bool ioapic_has_gsi(u32 gsi)
{
	u8 pin;

	return find(gsi, &pin);
}

void ioapic_route(u32 gsi, u8 vector, enum irq_trigger trigger, enum irq_polarity polarity)
{
	u8 pin;
	const struct ioapic *io = find(gsi, &pin);
	u32 low = vector | REDIR_MASKED;

	if (!io)
		return;
	low |= trigger == IRQ_LEVEL ? REDIR_LEVEL : 0;
	low |= polarity == IRQ_ACTIVE_LOW ? REDIR_ACTIVE_LOW : 0;
	ioapic_write(io, (u8)(IOAPIC_REDTBL(pin) + 1), (u32)apic_id() << 24);
	ioapic_write(io, (u8)IOAPIC_REDTBL(pin), low);
}

void ioapic_mask(u32 gsi, bool masked)
{
	u8 pin;
	const struct ioapic *io = find(gsi, &pin);
	u32 low;

	if (!io)
		return;
	low = ioapic_read(io, (u8)IOAPIC_REDTBL(pin));
	low = masked ? low | REDIR_MASKED : low & ~REDIR_MASKED;
	ioapic_write(io, (u8)IOAPIC_REDTBL(pin), low);
}
