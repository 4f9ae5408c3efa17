/*
 * Four-level page tables (SDM vol. 3A, "4-Level Paging"), 4 KiB and 2 MiB pages. Tables come from
 * the page allocator and are never freed: mappings are made at boot and by probes, and stay.
 */
#include "kernel/x86/paging.h"

#include "boot/boot.h"
#include "kernel/bug.h"
#include "kernel/lib/string.h"
#include "kernel/mm.h"
#include "kernel/x86/cpu.h"
#include "kernel/x86/msr.h"
#include "kernel/x86/sections.h"
#include "kernel/x86/stacks.h"

#define PTE_P (1ull << 0)
#define PTE_W (1ull << 1)
#define PTE_U (1ull << 2)
#define PTE_PWT (1ull << 3)
#define PTE_PCD (1ull << 4)
#define PTE_A (1ull << 5)
#define PTE_D (1ull << 6)
#define PTE_PS (1ull << 7)
#define PTE_G (1ull << 8)
#define PTE_NX (1ull << 63)
#define PTE_ADDR 0x000ffffffffff000ull

/* Accessed and dirty are set beforehand: the CPU then has no reason to write to a table. */
#define PROT_RX (PTE_P | PTE_A | PTE_G)
#define PROT_RO (PTE_P | PTE_A | PTE_G | PTE_NX)
#define PROT_RW (PTE_P | PTE_W | PTE_A | PTE_D | PTE_G | PTE_NX)
#define PROT_IO (PROT_RW | PTE_PCD | PTE_PWT)

#define PAGE_2M (2ull << 20)
/* Identity mapping ends where canonical lower-half addresses do. */
#define VA_LIMIT (1ull << 47)

static u64 *pml4;
static const struct boot_info *memory_map;

static u64 *table_of(u64 entry)
{
	return (u64 *)(uintptr_t)(entry & PTE_ADDR);
}

static u64 *new_table(void)
{
	u64 *t = alloc_pages_exact(PAGE_SIZE);

	if (t)
		memset(t, 0, PAGE_SIZE);
	return t;
}

/*
 * The table below entry, made if there is none. A 2 MiB page in the way is split into 512 small
 * ones.
 */
static u64 *next_table(u64 *entry)
{
	u64 *t;

	if ((*entry & PTE_P) && !(*entry & PTE_PS))
		return table_of(*entry);
	t = new_table();
	if (!t)
		return NULL;
	if (*entry & PTE_P) {
		u64 prot = *entry & ~(PTE_ADDR | PTE_PS), base = *entry & PTE_ADDR;

		for (unsigned int i = 0; i < 512; i++)
			t[i] = (base + i * PAGE_SIZE) | prot;
	}
	/* Permissions are those of the last level; upper levels allow all but user access. */
	*entry = (u64)(uintptr_t)t | PTE_P | PTE_W | PTE_A;
	return t;
}

/* Maps [start, end), page aligned, virtual = physical. False: no memory for a table. */
static bool map_range(u64 start, u64 end, u64 prot)
{
	u64 a = start;

	while (a < end) {
		u64 *pdpt = next_table(&pml4[a >> 39 & 511]);
		u64 *pd = pdpt ? next_table(&pdpt[a >> 30 & 511]) : NULL;
		u64 *pde, *pt;

		if (!pd)
			return false;
		pde = &pd[a >> 21 & 511];
		if (!(a & (PAGE_2M - 1)) && end - a >= PAGE_2M && !(*pde & PTE_P)) {
			*pde = a | prot | PTE_PS;
			a += PAGE_2M;
			continue;
		}
		pt = next_table(pde);
		if (!pt)
			return false;
		do {
			pt[a >> 12 & 511] = a | prot;
			a += PAGE_SIZE;
		} while (a < end && (a & (PAGE_2M - 1)));
	}
	return true;
}

/* A guard page of the image. */
static void unmap_page(u64 a)
{
	u64 *pd = table_of(table_of(pml4[a >> 39 & 511])[a >> 30 & 511]);
	u64 *pt = next_table(&pd[a >> 21 & 511]);

	if (!pt)
		panic("out of memory for page tables");
	pt[a >> 12 & 511] = 0;
}

/* Linker symbols are page aligned where sections change. */
static void map_image(void)
{
	u64 text = (u64)(uintptr_t)__text_start, text_end = (u64)(uintptr_t)__text_end;
	u64 ro_end = (u64)(uintptr_t)__rodata_end, end = (u64)(uintptr_t)__image_end;
	bool ok = map_range(text, text_end, PROT_RX) && map_range(text_end, ro_end, PROT_RO) &&
		  map_range(ro_end, end, PROT_RW);

	BUG_ON(!ok);
	for (size_t i = 0; i < NR_KERNEL_STACKS; i++)
		unmap_page((u64)(uintptr_t)kernel_stacks[i].guard);
	unmap_page((u64)(uintptr_t)last_guard);
}

static void map_ram(const struct boot_info *bi)
{
	u64 image = (u64)(uintptr_t)__image_start, image_end = (u64)(uintptr_t)__image_end;

	for (u32 i = 0; i < bi->nr_ranges; i++) {
		/* Page 0 stays away, whatever the firmware calls it. */
		u64 start = max(ALIGN_UP(bi->range[i].start, PAGE_SIZE), (u64)PAGE_SIZE);
		u64 end = min(ALIGN_DOWN(bi->range[i].end, PAGE_SIZE), (u64)VA_LIMIT);
		bool ok = true;

		if (start >= end)
			continue;
		/* Around the image, which has its own rights. */
		if (start < image_end && end > image) {
			if (start < image)
				ok = map_range(start, image, PROT_RW);
			if (end > image_end)
				ok = ok && map_range(image_end, end, PROT_RW);
		} else {
			ok = map_range(start, end, PROT_RW);
		}
		if (!ok)
			panic("out of memory for page tables");
	}
}

void paging_init(const struct boot_info *bi)
{
	/* Without it bit 63 of an entry is reserved, and the switch a triple fault. */
	if (!cpu_has_nx())
		panic("this CPU has no NX, which memory protection needs");
	memory_map = bi;
	pml4 = new_table();
	if (!pml4)
		panic("out of memory for page tables");
	map_ram(bi);
	map_image();
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NX);
	write_cr3((u64)(uintptr_t)pml4);
}

static bool is_ram(u64 start, u64 end)
{
	for (u32 i = 0; i < memory_map->nr_ranges; i++) {
		if (start < memory_map->range[i].end && end > memory_map->range[i].start)
			return true;
	}
	return start < (u64)(uintptr_t)__image_end && end > (u64)(uintptr_t)__image_start;
}

bool region_intersects_ram(phys_addr_t start, u64 size)
{
	return size && (size > ~0ull - start || is_ram(start, start + size));
}

/*
 * Page-aligned bounds of a range that may be mapped; false if it wraps or lies where nothing can.
 */
static bool check_range(phys_addr_t phys, size_t size, u64 *start, u64 *end)
{
	u32 bits = min(cpu_phys_bits(), 52u);
	u64 limit = min(1ull << bits, VA_LIMIT);

	if (!size || phys < PAGE_SIZE || phys >= limit || size > limit - phys)
		return false;
	*start = ALIGN_DOWN(phys, PAGE_SIZE);
	*end = ALIGN_UP(phys + size, PAGE_SIZE);
	return true;
}

void *ioremap(phys_addr_t phys, size_t size)
{
	u64 start, end;

	if (!check_range(phys, size, &start, &end) || is_ram(start, end) ||
	    !map_range(start, end, PROT_IO))
		return NULL;
	return (void *)(uintptr_t)phys;
}

static bool mapped(u64 a)
{
	u64 e = pml4[a >> 39 & 511];

	if (!(e & PTE_P))
		return false;
	e = table_of(e)[a >> 30 & 511];
	if (!(e & PTE_P))
		return false;
	e = table_of(e)[a >> 21 & 511];
	if (!(e & PTE_P) || (e & PTE_PS))
		return e & PTE_P;
	return table_of(e)[a >> 12 & 511] & PTE_P;
}

const void *memremap_ro(phys_addr_t phys, size_t size)
{
	u64 start, end;

	if (!check_range(phys, size, &start, &end))
		return NULL;
	for (u64 a = start; a < end; a += PAGE_SIZE) {
		if (!mapped(a) && !map_range(a, a + PAGE_SIZE, PROT_RO))
			return NULL;
	}
	return (const void *)(uintptr_t)phys;
}

static void scan_entry(struct paging_report *r, u64 entry)
{
	r->wx_pages += (entry & PTE_W) && !(entry & PTE_NX);
	r->user_pages += !!(entry & PTE_U);
}

static void scan_pd(struct paging_report *r, const u64 *pd)
{
	for (unsigned int i = 0; i < 512; i++) {
		if (!(pd[i] & PTE_P))
			continue;
		if (pd[i] & PTE_PS) {
			scan_entry(r, pd[i]);
			continue;
		}
		for (unsigned int j = 0; j < 512; j++) {
			if (table_of(pd[i])[j] & PTE_P)
				scan_entry(r, table_of(pd[i])[j]);
		}
	}
}

void paging_scan(struct paging_report *out)
{
	memset(out, 0, sizeof(*out));
	for (unsigned int i = 0; i < 512; i++) {
		if (!(pml4[i] & PTE_P))
			continue;
		for (unsigned int j = 0; j < 512; j++) {
			u64 e = table_of(pml4[i])[j];

			if (e & PTE_P)
				scan_pd(out, table_of(e));
		}
	}
	out->null_mapped = mapped(0);
}
