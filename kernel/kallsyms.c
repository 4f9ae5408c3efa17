/*
 * Names for addresses. The table lies in .kallsyms, written by scripts/kallsyms from the previous
 * link of the same objects: the count, sorted 32-bit addresses (the image is below 4 GiB), offsets
 * into the names, names.
 */
#include "kernel/kallsyms.h"

#include "kernel/lib/string.h"
#include "kernel/x86/sections.h"

extern const u32 kallsyms_num;
extern const u32 kallsyms_addresses[];
extern const u32 kallsyms_name_offsets[];
extern const char kallsyms_names[];

const char *kallsyms_lookup(u64 addr, u64 *offset)
{
	u32 lo = 0, hi = kallsyms_num;

	if (addr < (u64)(uintptr_t)__image_start || addr >= (u64)(uintptr_t)__image_end)
		return NULL;
	/* The last symbol whose address is not beyond addr. */
	while (lo < hi) {
		u32 mid = lo + (hi - lo) / 2;

		if (kallsyms_addresses[mid] <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == 0)
		return NULL;
	*offset = addr - kallsyms_addresses[lo - 1];
	return kallsyms_names + kallsyms_name_offsets[lo - 1];
}

u32 kallsyms_lookup_function(const char *name, u64 *addr)
{
	size_t len = strlen(name);
	u32 found = 0;

	*addr = 0;
	for (u32 i = 0; i < kallsyms_num; i++) {
		const char *sym = kallsyms_names + kallsyms_name_offsets[i];
		u64 at = kallsyms_addresses[i];

		if (strncmp(sym, name, len) || (sym[len] && sym[len] != '.') ||
		    at < (u64)(uintptr_t)__text_start || at >= (u64)(uintptr_t)__text_end ||
		    strstr(sym, ".cold"))
			continue;
		*addr = at;
		found++;
	}
	return found;
}

static char *print_symbol(char *buf, size_t size, u64 addr, u64 behind)
{
	u64 offset;
	const char *name = kallsyms_lookup(addr - behind, &offset);

	if (name)
		snprintf(buf, size, "%s+0x%lx", name, offset + behind);
	else
		snprintf(buf, size, "0x%lx+0x0", addr);
	return buf;
}

char *sprint_symbol(char *buf, size_t size, u64 addr)
{
	return print_symbol(buf, size, addr, 0);
}

char *sprint_backtrace(char *buf, size_t size, u64 addr)
{
	return print_symbol(buf, size, addr, 1);
}
