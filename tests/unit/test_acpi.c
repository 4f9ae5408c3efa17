/*
 * kernel/x86/acpi.c on tables that a test builds, and on the same tables with every byte damaged:
 * nothing outside a table may be read (each is its own exact-size allocation under ASan).
 */
#include "tests/unit/test.h"

#include <stdlib.h>
#include <string.h>

#include "kernel/x86/acpi.h"
#include "kernel/x86/paging.h"
#include "tests/fake/fake_kernel.h"

#define MAX_TABLES 8

/* "Physical memory": a few exact-size blocks. */
static struct {
	u64 phys;
	u8 *mem;
	size_t size;
} tables[MAX_TABLES];
static int nr_tables;

const void *memremap_ro(phys_addr_t phys, size_t size)
{
	for (int i = 0; i < nr_tables; i++) {
		if (phys >= tables[i].phys && phys + size <= tables[i].phys + tables[i].size)
			return tables[i].mem + (phys - tables[i].phys);
	}
	return NULL;
}

static void fix_checksum(u8 *t, size_t len, size_t at)
{
	u8 sum = 0;

	t[at] = 0;
	for (size_t i = 0; i < len; i++)
		sum = (u8)(sum + t[i]);
	t[at] = (u8)-sum;
}

static u8 *add_raw(u64 phys, const void *data, size_t size)
{
	u8 *mem = malloc(size);

	assert_non_null(mem);
	memcpy(mem, data, size);
	tables[nr_tables].phys = phys;
	tables[nr_tables].mem = mem;
	tables[nr_tables++].size = size;
	return mem;
}

static void put32(u8 *p, u32 v)
{
	memcpy(p, &v, 4);
}

static void put64(u8 *p, u64 v)
{
	memcpy(p, &v, 8);
}

static u8 *add_table(u64 phys, const char *sig, const u8 *body, size_t body_size)
{
	u8 t[512] = { 0 };
	u8 *mem;

	memcpy(t, sig, 4);
	put32(t + 4, (u32)(36 + body_size));
	memcpy(t + 36, body, body_size);
	mem = add_raw(phys, t, 36 + body_size);
	fix_checksum(mem, 36 + body_size, 9);
	return mem;
}

static void build(void)
{
	static const u8 dsdt[] = { 0x08, '_',  'S',  '5',  '_',  0x12, 0x06, 0x04, 0x0a,
				   0x05, 0x01, 0x00, 0x00, 0x5b, 0x80, 'E',  'R',  'E',
				   'G',  0x00, 0x0c, 0x00, 0x00, 0xa0, 0xfe, 0x0a, 0x04 };
	u8 madt[8 + 12 + 10 + 10] = { 0 }, fadt[268 - 36] = { 0 }, mcfg[8 + 16] = { 0 },
			      root[24] = { 0 };
	u8 rsdp[36] = "RSD PTR ";

	put32(madt, 0xfee00000);
	memcpy(madt + 8, (u8[]){ 1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 24, 0, 0, 0 }, 12);
	memcpy(madt + 20, (u8[]){ 2, 10, 0, 9, 9, 0, 0, 0, 0x0f, 0 }, 10); /* level, low */
	memcpy(madt + 30, (u8[]){ 2, 10, 0, 0, 2, 0, 0, 0, 0, 0 }, 10);    /* ISA 0 -> GSI 2 */
	put32(fadt + 40 - 36, 0x5000);
	fadt[46 - 36] = 9;
	put32(fadt + 48 - 36, 0xb2);
	fadt[52 - 36] = 0xf1;
	put32(fadt + 56 - 36, 0x600);
	put32(fadt + 64 - 36, 0x604);
	put32(fadt + 76 - 36, 0x608);
	fadt[88 - 36] = 4;
	fadt[91 - 36] = 4;
	put32(fadt + 112 - 36, 1u << 10 | 1u << 8);
	fadt[116 - 36] = 1;
	put64(fadt + 120 - 36, 0xcf9);
	fadt[128 - 36] = 0x0f;
	put64(mcfg + 8, 0xb0000000);
	mcfg[8 + 11] = 255;
	put64(root, 0x2000);
	put64(root + 8, 0x3000);
	put64(root + 16, 0x4000);
	add_table(0x2000, "APIC", madt, sizeof(madt));
	add_table(0x3000, "FACP", fadt, sizeof(fadt));
	add_table(0x4000, "MCFG", mcfg, sizeof(mcfg));
	add_table(0x5000, "DSDT", dsdt, sizeof(dsdt));
	add_table(0x1000, "XSDT", root, sizeof(root));
	rsdp[15] = 2;
	put32(rsdp + 20, 36);
	put64(rsdp + 24, 0x1000);
	fix_checksum(rsdp, 20, 8);
	fix_checksum(rsdp, 36, 32);
	add_raw(0x500, rsdp, sizeof(rsdp));
}

static int setup(void **state)
{
	(void)state;
	memset(&acpi_power, 0, sizeof(acpi_power));
	build();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	while (nr_tables)
		free(tables[--nr_tables].mem);
	return 0;
}

static void sound_tables_are_read(void **state)
{
	const struct acpi_ioapic *io;
	struct acpi_mcfg_entry e[2];
	enum irq_trigger trigger;
	enum irq_polarity pol;
	u32 gsi;

	(void)state;
	acpi_init(0x500);
	assert_int_equal(acpi_lapic_address(), 0xfee00000);
	assert_int_equal(acpi_ioapics(&io), 1);
	assert_int_equal(io->address, 0xfec00000);
	assert_int_equal(io->gsi_base, 24);
	assert_int_equal(acpi_mcfg(e, 2), 1);
	assert_int_equal(e[0].base, 0xb0000000);
	assert_int_equal(e[0].end_bus, 255);
	acpi_isa_irq_to_gsi(9, &gsi, &trigger, &pol);
	assert_int_equal(gsi, 9);
	assert_int_equal(trigger, IRQ_LEVEL);
	assert_int_equal(pol, IRQ_ACTIVE_LOW);
	acpi_isa_irq_to_gsi(0, &gsi, &trigger, &pol);
	assert_int_equal(gsi, 2);
	assert_int_equal(trigger, IRQ_EDGE);
	acpi_isa_irq_to_gsi(11, &gsi, &trigger, &pol);
	assert_int_equal(gsi, 11);
	assert_int_equal(acpi_power.pm_timer, 0x608);
	assert_true(acpi_power.pm_timer_32bit);
	assert_int_equal(acpi_power.reset_reg.address, 0xcf9);
	assert_int_equal(acpi_power.reset_value, 0x0f);
	assert_true(acpi_power.have_s5);
	assert_int_equal(acpi_power.slp_typa, 5);
	assert_int_equal(acpi_power.slp_typb, 1);
	assert_int_equal(acpi_power.ged_event, 0xfea00000);
}

static void a_damaged_table_is_left_out_with_a_line(void **state)
{
	(void)state;
	tables[1].mem[60] ^= 1; /* FADT */
	fake_log_clear();
	acpi_init(0x500);
	assert_true(fake_log_has("FACP"));
	assert_false(acpi_power.have_fadt);
}

/*
 * Each byte of each table set to hostile values with the checksum made right again: no read
 * outside, no hang.
 */
static void hostile_bytes_with_good_checksums(void **state)
{
	static const u8 evil[] = { 0x00, 0x01, 0x02, 0x7f, 0x80, 0xff };

	(void)state;
	for (int t = 0; t < nr_tables - 1; t++) {
		for (size_t at = 4; at < tables[t].size; at++) {
			u8 saved = tables[t].mem[at];

			for (size_t v = 0; v < sizeof(evil); v++) {
				tables[t].mem[at] = evil[v];
				if (at != 9)
					fix_checksum(tables[t].mem, tables[t].size, 9);
				memset(&acpi_power, 0, sizeof(acpi_power));
				acpi_init(0x500);
			}
			tables[t].mem[at] = saved;
			fix_checksum(tables[t].mem, tables[t].size, 9);
		}
	}
}

static void no_rsdp_is_said(void **state)
{
	(void)state;
	fake_log_clear();
	acpi_init(0x777);
	assert_true(fake_log_has("no RSDP"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(sound_tables_are_read, setup, teardown),
		cmocka_unit_test_setup_teardown(a_damaged_table_is_left_out_with_a_line, setup,
						teardown),
		cmocka_unit_test_setup_teardown(hostile_bytes_with_good_checksums, setup, teardown),
		cmocka_unit_test_setup_teardown(no_rsdp_is_said, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
