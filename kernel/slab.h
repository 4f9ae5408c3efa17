/*
 * Objects of one size, in slabs taken from the page allocator and given back when empty. Task and
 * softirq context (one CPU, hard IRQs never allocate). Linux's names; a cache also has a limit, so
 * that no flood of one kind of object starves the others, and counts what it holds.
 */
#ifndef KERNEL_SLAB_H
#define KERNEL_SLAB_H

#include "kernel/lib/list.h"

struct kmem_cache {
	const char *name;
	u32 object_size; /* rounded up to 16 bytes */
	u32 limit;       /* objects at most */
	u32 used;        /* objects handed out now */
	u32 max;         /* the most there ever were */
	u64 failed;      /* allocations refused: limit or no pages */
	u32 per_slab;
	u32 empty_slabs;          /* kept back, at most one */
	struct list_head partial; /* slabs with a free object */
	struct list_head full;
	struct kmem_cache *next; /* all caches, for the statistics */
};

/*
 * Makes *s a cache of objects of size bytes (16 to 8192). Registers it for the statistics; never
 * undone.
 */
void kmem_cache_init(struct kmem_cache *s, const char *name, u32 size, u32 limit);
/* Not cleared, 16-byte aligned. NULL: limit reached or no memory (counted). */
void *kmem_cache_alloc(struct kmem_cache *s) __must_check;
void kmem_cache_free(struct kmem_cache *s, void *obj);

/* Any size up to 128 KiB, 16-byte aligned, not cleared. NULL if there is no memory. */
void *kmalloc(size_t size) __must_check;
void *kzalloc(size_t size) __must_check;
/* NULL is allowed. */
void kfree(void *p);

#endif
