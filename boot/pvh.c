/*
 * PVH: from hvm_start_info to boot_info. Runs once, on the kernel's stack, before start_kernel().
 * The structure is Xen's (xen/include/public/arch-x86/hvm/start_info.h), laid down by the
 * hypervisor, so it is read with care: a table that lies gives a smaller memory map, never a wild
 * read.
 */
#include "boot/boot.h"
#include "boot/pvh.h"

#include "kernel/lib/types.h"

#define XEN_HVM_START_MAGIC_VALUE 0x336ec578u
#define XEN_HVM_MEMMAP_TYPE_RAM 1

struct hvm_start_info {
	u32 magic;
	u32 version; /* 1: has the memory map */
	u32 flags;
	u32 nr_modules;
	u64 modlist_paddr;
	u64 cmdline_paddr;
	u64 rsdp_paddr;
	u64 memmap_paddr;
	u32 memmap_entries;
	u32 reserved;
};
_Static_assert(sizeof(struct hvm_start_info) == 56, "start_info.h");

struct hvm_memmap_table_entry {
	u64 addr;
	u64 size;
	u32 type;
	u32 reserved;
};
_Static_assert(sizeof(struct hvm_memmap_table_entry) == 24, "start_info.h");

/* The early page tables reach this far. */
#define EARLY_MAPPED (4ull << 30)
#define MEMMAP_MAX_ENTRIES 1024u

static struct boot_info info;

static bool reachable(u64 addr, u64 size)
{
	return addr != 0 && size <= EARLY_MAPPED && addr <= EARLY_MAPPED - size;
}

static void set_note(const char *text)
{
	size_t i = 0;

	for (; text[i] && i < sizeof(info.note) - 1; i++)
		info.note[i] = text[i];
	info.note[i] = '\0';
}

static void read_cmdline(u64 paddr)
{
	const char *src = (const char *)(uintptr_t)paddr;
	size_t i = 0;

	if (!reachable(paddr, BOOT_CMDLINE_SIZE))
		return;
	while (i < BOOT_CMDLINE_SIZE - 1 && src[i]) {
		info.cmdline[i] = src[i];
		i++;
	}
	info.cmdline[i] = '\0';
	info.cmdline_cut = src[i] != '\0';
}

static void read_memmap(const struct hvm_start_info *si)
{
	const struct hvm_memmap_table_entry *e = (const void *)(uintptr_t)si->memmap_paddr;
	u32 n = min(si->memmap_entries, MEMMAP_MAX_ENTRIES);

	if (si->version < 1 || !reachable(si->memmap_paddr, (u64)n * sizeof(*e))) {
		set_note("pvh: no memory map in hvm_start_info");
		return;
	}
	for (u32 i = 0; i < n; i++) {
		u64 end = e[i].addr + e[i].size;

		/* QEMU 7.2's microvm ends its map with an entry of zeros. */
		if (e[i].type != XEN_HVM_MEMMAP_TYPE_RAM || e[i].size == 0 || end < e[i].addr)
			continue;
		if (info.nr_ranges == BOOT_MAX_RANGES) {
			info.dropped_ranges++;
			continue;
		}
		info.range[info.nr_ranges++] =
			(struct boot_range){ .start = e[i].addr, .end = end };
	}
}

struct boot_info *pvh_boot_info(const void *start_info)
{
	const struct hvm_start_info *si = start_info;

	info.magic = BOOT_INFO_MAGIC;
	__builtin_memcpy(info.origin, "pvh", sizeof("pvh"));
	if (!reachable((uintptr_t)si, sizeof(*si)) || si->magic != XEN_HVM_START_MAGIC_VALUE) {
		set_note("pvh: no hvm_start_info");
		return &info;
	}
	info.rsdp = si->rsdp_paddr;
	read_cmdline(si->cmdline_paddr);
	read_memmap(si);
	return &info;
}
