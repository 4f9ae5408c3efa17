/* RSDP -> RSDT or XSDT -> MADT, FADT, MCFG; two byte patterns in the DSDT (ACPI 6.4, 5.2). */
#include "kernel/x86/acpi.h"

#define pr_fmt(fmt) "ACPI: " fmt
#include "kernel/lib/string.h"
#include "kernel/printk.h"
#include "kernel/x86/paging.h"

struct rsdp {
	char signature[8];
	u8 checksum;
	char oem_id[6];
	u8 revision;
	u32 rsdt;
	u32 length; /* from here on: revision 2 */
	u64 xsdt;
	u8 checksum2;
	u8 reserved[3];
} __packed;
#define RSDP_V1_SIZE 20

struct acpi_header {
	char signature[4];
	u32 length;
	u8 revision;
	u8 checksum;
	char oem_id[6];
	char oem_table_id[8];
	u32 oem_revision;
	u32 creator_id;
	u32 creator_revision;
} __packed;
_Static_assert(sizeof(struct acpi_header) == 36, "ACPI 6.4, table 5.4");

#define TABLE_MAX (1u << 20)

struct acpi_power acpi_power;

static u64 lapic_address;
static struct acpi_ioapic ioapics[ACPI_MAX_IOAPICS];
static int nr_ioapics;
static struct acpi_mcfg_entry mcfg[ACPI_MAX_MCFG];
static int nr_mcfg;

/* MADT interrupt source overrides for ISA IRQs. */
static struct {
	bool present;
	u32 gsi;
	enum irq_trigger trigger;
	enum irq_polarity polarity;
} overrides[16];

static bool checksum_ok(const void *p, size_t len)
{
	const u8 *b = p;
	u8 sum = 0;

	while (len--)
		sum = (u8)(sum + *b++);
	return sum == 0;
}

/* Maps and checks a table. NULL with a log line if it is not a sound one. */
static const struct acpi_header *map_table(u64 phys)
{
	const struct acpi_header *h = memremap_ro(phys, sizeof(*h));

	if (!h) {
		pr_warn("table at 0x%lx cannot be mapped\n", phys);
		return NULL;
	}
	if (h->length < sizeof(*h) || h->length > TABLE_MAX || !memremap_ro(phys, h->length) ||
	    !checksum_ok(h, h->length)) {
		pr_warn("table %.4s at 0x%lx is damaged, ignored\n", h->signature, phys);
		return NULL;
	}
	return h;
}

static const struct rsdp *check_rsdp(u64 phys)
{
	const struct rsdp *r = memremap_ro(phys, sizeof(*r));

	if (!r || memcmp(r->signature, "RSD PTR ", 8) || !checksum_ok(r, RSDP_V1_SIZE))
		return NULL;
	return r;
}

/*
 * ACPI 6.4, 5.2.5.1: 0xe0000..0xfffff, on 16-byte boundaries. Only for a loader that names none;
 * none of ours.
 */
static const struct rsdp *find_rsdp(void)
{
	const struct rsdp *r;

	for (u64 a = 0xe0000; a < 0x100000; a += 16) {
		r = check_rsdp(a);
		if (r)
			return r;
	}
	return NULL;
}

static u32 read32(const u8 *p)
{
	u32 v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static u64 read64(const u8 *p)
{
	u64 v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/*
 * ACPI 6.4, 5.2.12.5: bits 0-1 polarity, 2-3 trigger; 0 = as the ISA bus has it (edge, active
 * high).
 */
static void add_override(const u8 *e)
{
	u8 irq = e[3];
	u16 flags = (u16)(e[8] | e[9] << 8);

	if (e[2] != 0 || irq >= 16)
		return;
	overrides[irq].present = true;
	overrides[irq].gsi = read32(e + 4);
	overrides[irq].polarity = (flags & 3) == 3 ? IRQ_ACTIVE_LOW : IRQ_ACTIVE_HIGH;
	overrides[irq].trigger = (flags >> 2 & 3) == 3 ? IRQ_LEVEL : IRQ_EDGE;
}

/* ACPI 6.4, 5.2.12: entries of type, length from byte 44 on. */
static void parse_madt(const struct acpi_header *h)
{
	const u8 *t = (const u8 *)h;
	u32 at = 44;

	if (h->length < 44)
		return;
	lapic_address = read32(t + 36);
	while (at + 2 <= h->length && t[at + 1] >= 2 && at + t[at + 1] <= h->length) {
		const u8 *e = t + at;
		u8 len = e[1];

		if (e[0] == 1 && len >= 12 && nr_ioapics < ACPI_MAX_IOAPICS)
			ioapics[nr_ioapics++] =
				(struct acpi_ioapic){ read32(e + 4), read32(e + 8) };
		else if (e[0] == 2 && len >= 10)
			add_override(e);
		else if (e[0] == 5 && len >= 12)
			lapic_address = read64(e + 4);
		at += len;
	}
}

static void parse_mcfg(const struct acpi_header *h)
{
	const u8 *t = (const u8 *)h;

	for (u32 at = 44; at + 16 <= h->length && nr_mcfg < ACPI_MAX_MCFG; at += 16)
		mcfg[nr_mcfg++] =
			(struct acpi_mcfg_entry){ .base = read64(t + at),
						  .segment = (u16)(t[at + 8] | t[at + 9] << 8),
						  .start_bus = t[at + 10],
						  .end_bus = t[at + 11] };
}

/* An integer constant of AML (ACPI 6.4, 20.2.3): ZeroOp, OneOp, or a byte. */
static bool aml_small_int(const u8 *p, const u8 *end, u8 *value, const u8 **next)
{
	if (p < end && p[0] <= 1) {
		*value = p[0];
		*next = p + 1;
		return true;
	}
	if (end - p >= 2 && p[0] == 0x0a) {
		*value = p[1];
		*next = p + 2;
		return true;
	}
	return false;
}

/*
 * Name (_S5_, Package (n) { SLP_TYPa, SLP_TYPb, ... }): 08 "_S5_" 12 length count ... The sleep
 * types are constants on every machine we know, so a pattern does for an interpreter.
 */
static void parse_s5(const u8 *p, const u8 *end)
{
	const u8 *next;

	/*
	 * p is behind the name: PackageOp, PkgLength (its bits 6-7 count further bytes),
	 * NumElements.
	 */
	if (end - p < 4 || p[0] != 0x12)
		return;
	p += 2 + (p[1] >> 6) + 1;
	if (p >= end || !aml_small_int(p, end, &acpi_power.slp_typa, &next))
		return;
	if (!aml_small_int(next, end, &acpi_power.slp_typb, &next))
		acpi_power.slp_typb = acpi_power.slp_typa;
	acpi_power.have_s5 = true;
}

/*
 * OperationRegion (EREG, SystemMemory, address, ..): 5b 80 "EREG" 00 0c dword. QEMU's generic event
 * device.
 */
static void parse_ged(const u8 *p, const u8 *end)
{
	if (end - p >= 6 && p[0] == 0 && p[1] == 0x0c)
		acpi_power.ged_event = read32(p + 2);
}

static void parse_dsdt(const struct acpi_header *h)
{
	const u8 *t = (const u8 *)h, *end = t + h->length;

	for (const u8 *p = t + sizeof(*h); p + 6 < end; p++) {
		if (p[0] == 0x08 && !memcmp(p + 1, "_S5_", 4))
			parse_s5(p + 5, end);
		else if (p[0] == 0x5b && p[1] == 0x80 && !memcmp(p + 2, "EREG", 4))
			parse_ged(p + 6, end);
	}
}

static struct acpi_gas read_gas(const u8 *t)
{
	struct acpi_gas g;

	memcpy(&g, t, sizeof(g));
	return g;
}

#define FADT_FLAG_RESET_REG (1u << 10)
#define FADT_FLAG_TMR_VAL_EXT (1u << 8)
#define FADT_FLAG_HW_REDUCED (1u << 20)

/* ACPI 6.4, table 5.9; offsets as there. */
static void parse_fadt(const struct acpi_header *h)
{
	const u8 *t = (const u8 *)h;
	const struct acpi_header *dsdt;
	u32 flags;

	if (h->length < 116) {
		pr_warn("FADT too short (%u bytes), ignored\n", h->length);
		return;
	}
	flags = read32(t + 112);
	acpi_power.have_fadt = true;
	acpi_power.sci_irq = (u16)(t[46] | t[47] << 8);
	if (!(flags & FADT_FLAG_HW_REDUCED)) {
		acpi_power.smi_cmd = (u16)read32(t + 48);
		acpi_power.acpi_enable = t[52];
		acpi_power.pm1a_evt = (u16)read32(t + 56);
		acpi_power.pm1a_cnt = (u16)read32(t + 64);
		acpi_power.pm1b_cnt = (u16)read32(t + 68);
		acpi_power.pm_timer = t[91] == 4 ? (u16)read32(t + 76) : 0;
		acpi_power.pm1_evt_len = t[88];
		acpi_power.pm_timer_32bit = flags & FADT_FLAG_TMR_VAL_EXT;
	}
	if (h->length >= 129 && (flags & FADT_FLAG_RESET_REG)) {
		acpi_power.reset_reg = read_gas(t + 116);
		acpi_power.reset_value = t[128];
	}
	if (h->length >= 268 && (flags & FADT_FLAG_HW_REDUCED))
		acpi_power.sleep_control = read_gas(t + 244);
	dsdt = map_table(h->length >= 148 && read64(t + 140) ? read64(t + 140) : read32(t + 40));
	if (dsdt)
		parse_dsdt(dsdt);
}

static void parse_table(u64 phys)
{
	const struct acpi_header *h = map_table(phys);

	if (!h)
		return;
	if (!memcmp(h->signature, "APIC", 4))
		parse_madt(h);
	else if (!memcmp(h->signature, "FACP", 4))
		parse_fadt(h);
	else if (!memcmp(h->signature, "MCFG", 4))
		parse_mcfg(h);
}

void acpi_init(u64 rsdp)
{
	const struct rsdp *r = rsdp ? check_rsdp(rsdp) : find_rsdp();
	const struct acpi_header *root;
	const u8 *entry;
	u32 width;

	if (!r) {
		pr_notice("no RSDP: no ACPI on this machine\n");
		return;
	}
	width = r->revision >= 2 && r->xsdt ? 8 : 4;
	root = map_table(width == 8 ? r->xsdt : r->rsdt);
	if (!root)
		return;
	entry = (const u8 *)(root + 1);
	for (u32 left = (root->length - (u32)sizeof(*root)) / width; left; left--, entry += width)
		parse_table(width == 8 ? read64(entry) : read32(entry));
}

u64 acpi_lapic_address(void)
{
	return lapic_address;
}

int acpi_ioapics(const struct acpi_ioapic **out)
{
	*out = ioapics;
	return nr_ioapics;
}

int acpi_mcfg(struct acpi_mcfg_entry *out, int max)
{
	for (int i = 0; i < nr_mcfg && i < max; i++)
		out[i] = mcfg[i];
	return nr_mcfg;
}

void acpi_isa_irq_to_gsi(u8 isa_irq, u32 *gsi, enum irq_trigger *trigger, enum irq_polarity *pol)
{
	*gsi = isa_irq;
	*trigger = IRQ_EDGE;
	*pol = IRQ_ACTIVE_HIGH;
	if (isa_irq < 16 && overrides[isa_irq].present) {
		*gsi = overrides[isa_irq].gsi;
		*trigger = overrides[isa_irq].trigger;
		*pol = overrides[isa_irq].polarity;
	}
}
