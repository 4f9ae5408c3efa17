/*
 * Page tables: identity mapping, W^X. RAM is writable and never executable, .text is executable and
 * never writable, page 0 and the guard pages are not there. Task context; no locking (one CPU).
 */
#ifndef KERNEL_X86_PAGING_H
#define KERNEL_X86_PAGING_H

#include "kernel/lib/types.h"

struct boot_info;

/* Builds the tables from the memory map and switches to them. Panics only for lack of memory. */
void paging_init(const struct boot_info *bi);

/*
 * Makes firmware tables readable: cached, read-only, not executable, at virtual = physical. NULL as
 * ioremap() (kernel/mm.h), except that ranges inside RAM are fine: they are mapped already.
 */
const void *memremap_ro(phys_addr_t phys, size_t size) __must_check;

/* What the tables hold, found by walking them. */
struct paging_report {
	u32 wx_pages;   /* writable and executable */
	u32 user_pages; /* reachable from ring 3 */
	bool null_mapped;
};
void paging_scan(struct paging_report *out);

#endif
