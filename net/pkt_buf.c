/*
 * Packets and their pools: see pkt_buf.h. Free blocks are kept last in, first out: the one handed
 * out next is the one most likely still in the cache.
 */
#define pr_fmt(fmt) "pkt_buf: " fmt

#include "net/pkt_buf.h"

#include "kernel/bug.h"
#include "kernel/lib/errno.h"
#include "kernel/mm.h"
#include "kernel/printk.h"
#include "kernel/stats.h"

#define TX_PACKETS_MAX 2048u
#define TX_BLOCK_SIZE (sizeof(struct pkt_buf) + PKT_MAX_FRAGS * sizeof(struct pkt_frag))

/* Cache line: no two blocks share one. */
#define BLOCK_ALIGN 64u

_Static_assert((ALIGN_UP(sizeof(struct pkt_buf), 16) + PKT_PRIV_SIZE + PKT_HEADROOM) % 4 == 2,
	       "the IP header behind 14 bytes of Ethernet is 4-byte aligned");

static struct pkt_pool tx_pool;

/* ---- pools ---- */

static int pool_init(struct pkt_pool *pool, const char *name, u32 block_size, u32 nr)
{
	*pool = (struct pkt_pool){
		.name = name,
		.block_size = ALIGN_UP(block_size, BLOCK_ALIGN),
		.size = nr,
	};
	INIT_LIST_HEAD(&pool->free);
	pool->mem = alloc_pages_exact((size_t)pool->block_size * nr);
	if (!pool->mem) {
		pool->size = 0;
		return -ENOMEM;
	}
	return 0;
}

static struct pkt_buf *pool_get(struct pkt_pool *pool, void (*destructor)(struct pkt_buf *))
{
	struct pkt_buf *pkt;

	if (likely(!list_empty(&pool->free))) {
		pkt = list_first_entry(&pool->free, struct pkt_buf, list);
		list_del(&pkt->list);
	} else if (pool->fresh < pool->size) {
		pkt = (struct pkt_buf *)(pool->mem + (size_t)pool->fresh++ * pool->block_size);
		pkt->journey = 0; /* the memory may hold anything */
	} else {
		pool->failed++;
		return NULL;
	}
	if (++pool->used > pool->max)
		pool->max = pool->used;
	pkt->destructor = destructor;
	pkt->destructor_arg = pool;
	pkt->len = 0;
	pkt->nr_frags = 0;
	pkt->in_use = true;
	pkt->headroom = 0;
	pkt->offloads = 0;
	pkt->frag_list = NULL;
	return pkt;
}

static inline void pool_put(struct pkt_pool *pool, struct pkt_buf *pkt)
{
	BUG_ON(!pkt->in_use);
	pkt->in_use = false;
	list_add(&pkt->list, &pool->free);
	pool->used--;
	if (unlikely(pool->on_free))
		pool->on_free(pool);
}

u32 pkt_pool_block_size(u32 frame_size)
{
	u32 size = ALIGN_UP((u32)sizeof(struct pkt_buf), 16) + PKT_PRIV_SIZE + PKT_HEADROOM +
		   frame_size;

	return ALIGN_UP(size, BLOCK_ALIGN);
}

int pkt_pool_init(struct pkt_pool *pool, const char *name, u32 frame_size, u32 nr)
{
	int err = pool_init(pool, name, pkt_pool_block_size(frame_size), nr);

	pool->frame_size = frame_size;
	return err;
}

void pkt_pool_exit(struct pkt_pool *pool)
{
	BUG_ON(pool->used != 0);
	free_pages_exact(pool->mem, (size_t)pool->block_size * pool->size);
	pool->mem = NULL;
	pool->size = 0;
}

/* ---- packets ---- */

void pkt_free(struct pkt_buf *pkt)
{
	struct pkt_buf *piece = pkt->frag_list;

	pkt->destructor(pkt);
	while (unlikely(piece)) {
		pkt = piece;
		piece = pkt->frag_list;
		pkt->destructor(pkt);
	}
}

static void pkt_release_rx(struct pkt_buf *pkt)
{
	pool_put(pkt->destructor_arg, pkt);
}

struct pkt_buf *pkt_alloc_rx(struct pkt_pool *pool)
{
	struct pkt_buf *pkt = pool_get(pool, pkt_release_rx);

	if (likely(pkt)) {
		pkt->data = (u8 *)pkt_priv(pkt) + PKT_PRIV_SIZE + PKT_HEADROOM;
		pkt->data_len = 0;
		pkt->gso_segs = 0;
	}
	return pkt;
}

struct pkt_buf *pkt_alloc_tx(void)
{
	return pool_get(&tx_pool, pkt_release_tx);
}

void pkt_release_tx(struct pkt_buf *pkt)
{
	pool_put(&tx_pool, pkt);
}

void pkt_buf_init(void)
{
	/* 1/64 of memory at most: on a 16 MiB machine still more than a ring and its queue hold. */
	size_t room = nr_free_pages() * PAGE_SIZE / 64 / TX_BLOCK_SIZE;

	if (pool_init(&tx_pool, "pkt_tx", TX_BLOCK_SIZE, (u32)min(room, (size_t)TX_PACKETS_MAX)))
		pr_err("no memory for transmit packets\n");
}

static void pkt_buf_stats(struct stats_sink *s)
{
	stats_pool(s, NULL, "pkt_tx", tx_pool.used, tx_pool.max, tx_pool.size);
	stats_u64(s, NULL, "pkt_tx_failed", tx_pool.failed);
}
STATS_PROVIDER(pkt_buf_stats);
