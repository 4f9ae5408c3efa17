/*
 * Memory: physical pages, DMA memory and device mappings. Virtual = physical for RAM, so an address
 * of ours is also what a device is told. Called from task and softirq context, not from a hard IRQ.
 * The caller owns what it gets and gives it back with the size it asked for.
 */
#ifndef KERNEL_MM_H
#define KERNEL_MM_H

#include "kernel/lib/types.h"

#define PAGE_SIZE 4096UL
#define PAGE_SHIFT 12

struct boot_info;

/*
 * Takes the free ranges of the firmware's memory map, less the kernel image. Task, once, at boot.
 */
void mm_init(const struct boot_info *bi);
/*
 * After paging_init(): what lay beyond the first page tables or belonged to the loader is free now
 * too.
 */
void mm_init_late(const struct boot_info *bi);

/*
 * size bytes rounded up to whole pages, contiguous, page aligned, not cleared. NULL if there is no
 * such range left.
 */
void *alloc_pages_exact(size_t size) __must_check;
/* As above, aligned to align bytes (a power of two, at least PAGE_SIZE). */
void *alloc_pages_aligned(size_t size, size_t align) __must_check;
void free_pages_exact(void *addr, size_t size);

/* Pages now free, and all that were ever given to the allocator. */
size_t nr_free_pages(void);
size_t totalram_pages(void);

/*
 * Memory for a device and us, cleared, contiguous, page aligned; *handle is its address for the
 * device.
 */
void *dma_alloc_coherent(size_t size, dma_addr_t *handle) __must_check;
void dma_free_coherent(size_t size, void *addr, dma_addr_t handle);

static inline phys_addr_t virt_to_phys(const volatile void *p)
{
	return (phys_addr_t)(uintptr_t)p;
}

/*
 * Makes size bytes of device registers at phys accessible: uncached, not executable. NULL if the
 * range is RAM, wraps, lies beyond the CPU's physical width, or there is no memory for tables.
 * Mapping the same range again is harmless.
 */
void *ioremap(phys_addr_t phys, size_t size) __must_check;

/* True if any byte of the range is memory of ours: then no device may be put there. */
bool region_intersects_ram(phys_addr_t start, u64 size);

#endif
