/*
 * lwIP's heap (lwip/mem.h): pbufs that are built to be sent, and little else. Blocks come from slab
 * caches of a few sizes that fit what lwIP asks for, larger ones (a reassembled datagram to be
 * copied) from kmalloc(). All of it together is bounded, so that no peer can have the machine's
 * memory.
 */
#include "kernel/bug.h"
#include "kernel/lib/string.h"
#include "kernel/mm.h"
#include "kernel/slab.h"
#include "kernel/stats.h"
#include "net/lwip/glue.h"

#include "lwip/mem.h"

struct mem_header {
	u32 size;  /* of the block, this included */
	u32 class; /* index into caches, or NR_CLASSES: kmalloc() */
	u64 magic;
};
_Static_assert(sizeof(struct mem_header) == 16, "keeps blocks 16-byte aligned");

#define MEM_MAGIC 0x6d656d2070496c77ull

/*
 * A pbuf's header and the room in front of its payload take 24 + 96 bytes, ours 16: 192 holds a
 * pure ACK or a SYN, 1,664 a full segment that was copied. 96 is for what an app keeps of an idle
 * connection.
 */
static const u16 class_size[] = { 96, 192, 352, 704, 1664 };
static const char *const class_name[] = { "mem_96", "mem_192", "mem_352", "mem_704", "mem_1664" };
#define SMALL 192
#define NR_CLASSES ARRAY_SIZE(class_size)

static struct kmem_cache caches[NR_CLASSES];
static size_t used, most;
static u64 failed;
size_t lwip_mem_limit;

void mem_init(void)
{
	/* A quarter of memory: what else there is, is receive buffers and pools with limits of
	 * their own. */
	lwip_mem_limit = totalram_pages() * PAGE_SIZE / 4;
	used = most = 0;
	for (u32 i = 0; i < NR_CLASSES; i++)
		kmem_cache_init(&caches[i], class_name[i], class_size[i],
				(u32)min(lwip_mem_limit / class_size[i], (size_t)~0u));
}

/* The smallest class that a block fits into, or NR_CLASSES. */
static u32 class_of(size_t total)
{
	u32 i = 0;

	while (i < NR_CLASSES && total > class_size[i])
		i++;
	return i;
}

void *mem_malloc(mem_size_t size)
{
	size_t total = size + sizeof(struct mem_header), limit = lwip_mem_limit;
	u32 class = class_of(total);
	struct mem_header *h;

	lwip_assert_core_locked();
	/* Charged is what a block takes, not what was asked for. */
	if (class < NR_CLASSES)
		total = class_size[class];
	/* The last eighth is for what is small: the ACK, the ARP reply that lets memory be freed.
	 */
	if (total > SMALL)
		limit -= limit / 8;
	if (unlikely(used > limit || total > limit - used))
		goto no_mem;
	h = class < NR_CLASSES ? kmem_cache_alloc(&caches[class]) : kmalloc(total);
	if (unlikely(!h))
		goto no_mem;
	*h = (struct mem_header){ .size = (u32)total, .class = class, .magic = MEM_MAGIC };
	used += total;
	if (used > most)
		most = used;
	return h + 1;
no_mem:
	failed++;
	return NULL;
}

void *mem_calloc(mem_size_t count, mem_size_t size)
{
	size_t total;
	void *p;

	if (__builtin_mul_overflow(count, size, &total))
		return NULL;
	p = mem_malloc(total);
	if (p)
		memset(p, 0, total);
	return p;
}

/* A block never shrinks: what lwIP would trim is in the same class, or soon gone. */
void *mem_trim(void *mem, mem_size_t size)
{
	(void)size;
	return mem;
}

void mem_free(void *mem)
{
	struct mem_header *h;

	if (!mem)
		return;
	h = (struct mem_header *)mem - 1;
	BUG_ON(h->magic != MEM_MAGIC);
	h->magic = 0;
	used -= h->size;
	if (h->class < NR_CLASSES)
		kmem_cache_free(&caches[h->class], h);
	else
		kfree(h);
}

static void mem_stats(struct stats_sink *s)
{
	stats_pool(s, NULL, "mem_bytes", used, most, lwip_mem_limit);
	stats_u64(s, NULL, "mem_failed", failed);
}
STATS_PROVIDER(mem_stats);
