/*
 * Slabs: SLAB_SIZE bytes of pages, aligned to their size so that an object finds its slab by its
 * address, cut into objects that are chained through their first word when free. A cache keeps one
 * empty slab back; the others return to the page allocator, so no cache starves another for long.
 */
#include "kernel/slab.h"

#include "kernel/bug.h"
#include "kernel/lib/string.h"
#include "kernel/mm.h"
#include "kernel/stats.h"
#include "kernel/variant.h"

#define SLAB_SIZE (16 * 1024ul)
#define SLAB_MAGIC 0x51ab51abu
#define POISON 0x6b

struct slab {
	struct list_head list;
	struct kmem_cache *cache;
	u32 magic;
	u32 in_use;
	u32 fresh; /* objects from here on were never handed out */
	u32 pad;
	void *free;
};
_Static_assert(sizeof(struct slab) % 16 == 0, "objects are 16-byte aligned");

static struct kmem_cache *caches;

void kmem_cache_init(struct kmem_cache *s, const char *name, u32 size, u32 limit)
{
	memset(s, 0, sizeof(*s));
	s->name = name;
	s->object_size = ALIGN_UP(max(size, 16u), 16u);
	s->limit = limit;
	s->per_slab = (SLAB_SIZE - sizeof(struct slab)) / s->object_size;
	BUG_ON(s->per_slab == 0);
	INIT_LIST_HEAD(&s->partial);
	INIT_LIST_HEAD(&s->full);
	s->next = caches;
	caches = s;
}

static struct slab *new_slab(struct kmem_cache *s)
{
	struct slab *slab = alloc_pages_aligned(SLAB_SIZE, SLAB_SIZE);

	if (!slab)
		return NULL;
	*slab = (struct slab){ .cache = s, .magic = SLAB_MAGIC };
	list_add(&slab->list, &s->partial);
	s->empty_slabs++;
	return slab;
}

static u8 *slab_object(struct slab *slab, u32 i)
{
	return (u8 *)(slab + 1) + (size_t)i * slab->cache->object_size;
}

/* Test images: a freed object is filled, and must still be so when it is handed out again. */
static void check_poison(const struct kmem_cache *s, const u8 *obj)
{
	for (u32 i = sizeof(void *); i < s->object_size; i++) {
		if (obj[i] != POISON)
			panic("%s: object %p was written to after it was freed (offset %u)",
			      s->name, (const void *)obj, i);
	}
}

void *kmem_cache_alloc(struct kmem_cache *s)
{
	struct slab *slab;
	void *obj;

	if (unlikely(s->used >= s->limit))
		goto failed;
	if (unlikely(list_empty(&s->partial)) && !new_slab(s))
		goto failed;
	slab = list_first_entry(&s->partial, struct slab, list);
	obj = slab->free;
	if (obj) {
		slab->free = *(void **)obj;
		if (pool_checks)
			check_poison(s, obj);
	} else {
		obj = slab_object(slab, slab->fresh++);
	}
	s->empty_slabs -= slab->in_use == 0;
	if (++slab->in_use == s->per_slab) {
		list_del(&slab->list);
		list_add(&slab->list, &s->full);
	}
	if (++s->used > s->max)
		s->max = s->used;
	return obj;
failed:
	s->failed++;
	return NULL;
}

static void check_free(const struct kmem_cache *s, struct slab *slab, const void *obj)
{
	size_t at = (size_t)((const u8 *)obj - (u8 *)(slab + 1));

	if (at % s->object_size || at / s->object_size >= slab->fresh)
		panic("%s: %p is no object", s->name, obj);
	for (void *f = slab->free; f; f = *(void **)f) {
		if (f == obj)
			panic("%s: %p is freed twice", s->name, obj);
	}
}

void kmem_cache_free(struct kmem_cache *s, void *obj)
{
	struct slab *slab = (struct slab *)ALIGN_DOWN((uintptr_t)obj, SLAB_SIZE);

	BUG_ON(slab->magic != SLAB_MAGIC || slab->cache != s || slab->in_use == 0);
	if (pool_checks) {
		check_free(s, slab, obj);
		memset(obj, POISON, s->object_size);
	}
	*(void **)obj = slab->free;
	slab->free = obj;
	s->used--;
	if (slab->in_use-- == s->per_slab) {
		list_del(&slab->list);
		list_add(&slab->list, &s->partial);
	}
	if (slab->in_use == 0 && ++s->empty_slabs > 1) {
		list_del(&slab->list);
		s->empty_slabs--;
		slab->magic = 0;
		free_pages_exact(slab, SLAB_SIZE);
	}
}

/*
 * kmalloc: a header that says where the block came from, then a cache of its size or pages of its
 * own.
 */
struct kmalloc_header {
	u32 magic;
	u32 class; /* index into classes, or LARGE */
	u64 size;  /* of a large block, header included */
};
_Static_assert(sizeof(struct kmalloc_header) == 16, "keeps blocks 16-byte aligned");

#define KMALLOC_MAGIC 0x6b6d616cu
#define LARGE ~0u
#define KMALLOC_MAX (128 * 1024ul)

static const u16 class_sizes[] = { 64, 128, 256, 512, 768, 1088, 1600, 2048, 3200 };
static const char *const class_names[] = { "kmem_64",   "kmem_128",  "kmem_256",
					   "kmem_512",  "kmem_768",  "kmem_1088",
					   "kmem_1600", "kmem_2048", "kmem_3200" };
static struct kmem_cache classes[ARRAY_SIZE(class_sizes)];
static u64 large_used, large_max, large_failed;

static void kmalloc_init(void)
{
	for (u32 i = 0; i < ARRAY_SIZE(class_sizes); i++)
		kmem_cache_init(&classes[i], class_names[i], class_sizes[i], ~0u);
}

static void *kmalloc_large(size_t total)
{
	struct kmalloc_header *h = alloc_pages_exact(total);

	if (!h) {
		large_failed++;
		return NULL;
	}
	*h = (struct kmalloc_header){ .magic = KMALLOC_MAGIC, .class = LARGE, .size = total };
	large_used += total;
	large_max = max(large_max, large_used);
	return h + 1;
}

void *kmalloc(size_t size)
{
	size_t total = size + sizeof(struct kmalloc_header);
	struct kmalloc_header *h;

	if (size > KMALLOC_MAX)
		return NULL;
	if (!classes[0].per_slab)
		kmalloc_init();
	for (u32 i = 0; i < ARRAY_SIZE(class_sizes); i++) {
		if (total > class_sizes[i])
			continue;
		h = kmem_cache_alloc(&classes[i]);
		if (!h)
			return NULL;
		h->magic = KMALLOC_MAGIC;
		h->class = i;
		return h + 1;
	}
	return kmalloc_large(total);
}

void *kzalloc(size_t size)
{
	void *p = kmalloc(size);

	if (p)
		memset(p, 0, size);
	return p;
}

void kfree(void *p)
{
	struct kmalloc_header *h;

	if (!p)
		return;
	h = (struct kmalloc_header *)p - 1;
	BUG_ON(h->magic != KMALLOC_MAGIC);
	h->magic = 0;
	if (h->class == LARGE) {
		large_used -= h->size;
		free_pages_exact(h, h->size);
		return;
	}
	BUG_ON(h->class >= ARRAY_SIZE(class_sizes));
	kmem_cache_free(&classes[h->class], h);
}

static void slab_stats(struct stats_sink *s)
{
	for (struct kmem_cache *c = caches; c; c = c->next) {
		stats_pool(s, NULL, c->name, c->used, c->max, c->limit);
		stats_u64(s, c->name, "_failed", c->failed);
	}
	stats_pool(s, NULL, "kmem_large_bytes", large_used, large_max,
		   totalram_pages() * PAGE_SIZE);
	stats_u64(s, NULL, "kmem_large_failed", large_failed);
}
STATS_PROVIDER(slab_stats);
