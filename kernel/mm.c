/*
 * The page allocator: free memory as a list of runs, each described by a header in its own first
 * page, sorted by address so that neighbours merge. First fit. There is no array of pages to set
 * up, so boot costs nothing, and the few long-lived allocations of a unikernel keep the list short.
 */
#include "kernel/mm.h"

#include "boot/boot.h"
#include "kernel/bug.h"
#include "kernel/lib/string.h"
#include "kernel/stats.h"
#include "kernel/x86/sections.h"

struct run {
	struct run *next;
	size_t pages;
};

static struct run *free_runs;
static size_t free_pages, total_pages;

/* BIOS data, option ROMs, the EBDA: not worth the risk for 600 KiB. */
#define LOW_MEMORY (1ull << 20)

static void insert_run(uintptr_t start, size_t pages)
{
	struct run **link = &free_runs, *prev = NULL, *r = (struct run *)start;

	while (*link && (uintptr_t)*link < start) {
		prev = *link;
		link = &prev->next;
	}
	/* Overlap is a double free, or a memory map that lists a page twice. */
	BUG_ON(prev && (uintptr_t)prev + prev->pages * PAGE_SIZE > start);
	BUG_ON(*link && start + pages * PAGE_SIZE > (uintptr_t)*link);
	free_pages += pages;
	r->pages = pages;
	r->next = *link;
	if (r->next && start + pages * PAGE_SIZE == (uintptr_t)r->next) {
		r->pages += r->next->pages;
		r->next = r->next->next;
	}
	if (prev && (uintptr_t)prev + prev->pages * PAGE_SIZE == start) {
		prev->pages += r->pages;
		prev->next = r->next;
	} else {
		*link = r;
	}
}

/*
 * True if [start, end) shares a page with a run that is free already: firmware tables are not to be
 * trusted.
 */
static bool overlaps_free(uintptr_t start, uintptr_t end)
{
	for (struct run *r = free_runs; r; r = r->next) {
		if (start < (uintptr_t)r + r->pages * PAGE_SIZE && end > (uintptr_t)r)
			return true;
	}
	return false;
}

static void add_range(u64 start, u64 end)
{
	u64 image = (u64)(uintptr_t)__image_start, image_end = (u64)(uintptr_t)__image_end;

	start = ALIGN_UP(max(start, (u64)LOW_MEMORY), PAGE_SIZE);
	end = ALIGN_DOWN(min(end, 1ull << 47), PAGE_SIZE);
	if (start >= end)
		return;
	if (start < image_end && end > image) {
		add_range(start, min(image, end));
		add_range(max(image_end, start), end);
		return;
	}
	if (overlaps_free(start, end))
		return;
	total_pages += (end - start) >> PAGE_SHIFT;
	insert_run(start, (end - start) >> PAGE_SHIFT);
}

/* Before paging_init() the firmware's tables may cover only the first 4 GiB (boot/pvh.asm). */
#define EARLY_LIMIT (4ull << 30)

void mm_init(const struct boot_info *bi)
{
	for (u32 i = 0; i < bi->nr_ranges; i++) {
		if (!bi->range[i].reclaim)
			add_range(bi->range[i].start, min(bi->range[i].end, EARLY_LIMIT));
	}
}

void mm_init_late(const struct boot_info *bi)
{
	for (u32 i = 0; i < bi->nr_ranges; i++) {
		u64 start = bi->range[i].start;

		if (!bi->range[i].reclaim)
			start = max(start, EARLY_LIMIT);
		add_range(start, bi->range[i].end);
	}
}

void *alloc_pages_aligned(size_t size, size_t align)
{
	size_t pages = (size >> PAGE_SHIFT) + !!(size & (PAGE_SIZE - 1));

	BUG_ON(!IS_POWER_OF_2(align) || align < PAGE_SIZE);
	if (!pages)
		return NULL;
	for (struct run **link = &free_runs; *link; link = &(*link)->next) {
		struct run *r = *link;
		uintptr_t end = (uintptr_t)r + r->pages * PAGE_SIZE;
		uintptr_t start = ALIGN_UP((uintptr_t)r, align);
		size_t left = (start - (uintptr_t)r) >> PAGE_SHIFT;

		if (start >= end || (end - start) >> PAGE_SHIFT < pages)
			continue;
		/*
		 * What remains on the right becomes a run of its own, what remains on the left
		 * stays this one.
		 */
		if (start + pages * PAGE_SIZE < end) {
			struct run *right = (struct run *)(start + pages * PAGE_SIZE);

			right->pages = r->pages - left - pages;
			right->next = r->next;
			r->next = right;
		}
		if (left)
			r->pages = left;
		else
			*link = r->next;
		free_pages -= pages;
		return (void *)start;
	}
	return NULL;
}

void *alloc_pages_exact(size_t size)
{
	return alloc_pages_aligned(size, PAGE_SIZE);
}

void free_pages_exact(void *addr, size_t size)
{
	BUG_ON((uintptr_t)addr & (PAGE_SIZE - 1));
	insert_run((uintptr_t)addr, DIV_ROUND_UP(size, PAGE_SIZE));
}

size_t nr_free_pages(void)
{
	return free_pages;
}

size_t totalram_pages(void)
{
	return total_pages;
}

void *dma_alloc_coherent(size_t size, dma_addr_t *handle)
{
	void *p = alloc_pages_exact(size);

	if (!p)
		return NULL;
	memset(p, 0, size);
	*handle = virt_to_phys(p);
	return p;
}

void dma_free_coherent(size_t size, void *addr, dma_addr_t handle)
{
	(void)handle;
	free_pages_exact(addr, size);
}

static void mm_stats(struct stats_sink *s)
{
	stats_u64(s, NULL, "mm_pages_total", total_pages);
	stats_u64(s, NULL, "mm_pages_free", free_pages);
}
STATS_PROVIDER(mm_stats);
