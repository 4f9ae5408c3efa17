/*
 * Which connection a segment is for (patches/0010): a hash table of all that are active or in
 * TIME_WAIT, chained through the pcbs, in place of lwIP's search through its lists. The key is the
 * boot's secret, so no peer can choose ports and addresses that meet in one bucket. The table is as
 * large as the number of connections wants, up to what memp.c allows of them.
 *
 * Listeners are not in it: they are as many as the apps opened, and only a SYN looks for one.
 */
#include "net/lwip/tcp_hash.h"

#include "kernel/lib/types.h"
#include "kernel/mm.h"
#include "kernel/random.h"
#include "kernel/stats.h"
#include "net/lwip/glue.h"
#include "net/lwip/hooks.h"
#include "net/lwip/memp_priv.h"

#include "lwip/ip.h"
#include "lwip/netif.h"
#include "lwip/priv/tcp_priv.h"

#define MIN_BUCKETS 512u /* one page, always there */

static struct tcp_pcb *first_buckets[MIN_BUCKETS];
static struct tcp_pcb **buckets = first_buckets;
static u32 nr_buckets = MIN_BUCKETS, nr_hashed;
static u32 grow_at = MIN_BUCKETS;
static u64 hash_key[2];
/* Found last: of several segments in a row for one connection only the first is hashed. */
static struct tcp_pcb *last_found;
static u64 steps; /* pcbs looked at */

void lwip_tcp_hash_init(void)
{
	get_random_bytes(hash_key, sizeof(hash_key));
}

static inline u64 rol(u64 x, u32 n)
{
	return x << n | x >> (64 - n);
}

static inline void sipround(u64 v[4])
{
	v[0] += v[1];
	v[1] = rol(v[1], 13) ^ v[0];
	v[0] = rol(v[0], 32);
	v[2] += v[3];
	v[3] = rol(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rol(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rol(v[1], 17) ^ v[2];
	v[2] = rol(v[2], 32);
}

/*
 * SipHash with c rounds a word and d at the end, which are constants where it is called: unrolled,
 * its words and its state are registers.
 */
static inline __attribute__((always_inline)) u64 siphash_words(const u64 *words, u32 n,
							       const u64 key[2], u32 c, u32 d)
{
	u64 v[4] = { key[0] ^ 0x736f6d6570736575ull, key[1] ^ 0x646f72616e646f6dull,
		     key[0] ^ 0x6c7967656e657261ull, key[1] ^ 0x7465646279746573ull };

#pragma GCC unroll 5
	for (u32 i = 0; i < n; i++) {
		v[3] ^= words[i];
#pragma GCC unroll 2
		for (u32 r = 0; r < c; r++)
			sipround(v);
		v[0] ^= words[i];
	}
	v[2] ^= 0xff;
#pragma GCC unroll 4
	for (u32 r = 0; r < d; r++)
		sipround(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

u64 lwip_siphash_words(const u64 *words, u32 n, const u64 key[2], bool full)
{
	return full ? siphash_words(words, n, key, 2, 4) : siphash_words(words, n, key, 1, 3);
}

/*
 * SipHash-1-3, what Linux takes for its tables, of the addresses and ports. The last word ends in
 * the number of bytes before it, as in SipHash of bytes, so that an IPv4 tuple is no IPv6 tuple.
 * The zone is not hashed, only compared.
 */
static u32 hash_tuple(const ip_addr_t *local, const ip_addr_t *remote, u16 local_port,
		      u16 remote_port)
{
	u64 ports = (u64)remote_port << 16 | local_port, h;

	if (IP_IS_V6(remote)) {
		const u32 *l = ip_2_ip6(local)->addr, *r = ip_2_ip6(remote)->addr;
		const u64 words[5] = { (u64)l[1] << 32 | l[0], (u64)l[3] << 32 | l[2],
				       (u64)r[1] << 32 | r[0], (u64)r[3] << 32 | r[2],
				       36ull << 56 | ports };

		h = siphash_words(words, 5, hash_key, 1, 3);
	} else {
		const u64 words[2] = { (u64)ip4_addr_get_u32(ip_2_ip4(remote)) << 32 |
					       ip4_addr_get_u32(ip_2_ip4(local)),
				       12ull << 56 | ports };

		h = siphash_words(words, 2, hash_key, 1, 3);
	}
	return (u32)h ^ (u32)(h >> 32);
}

/* ---- the table ---- */

static void link_hashed(struct tcp_pcb *pcb)
{
	struct tcp_pcb **bucket = &buckets[pcb->port.hash & (nr_buckets - 1)];

	pcb->port.hash_next = *bucket;
	if (*bucket)
		(*bucket)->port.hash_pprev = &pcb->port.hash_next;
	pcb->port.hash_pprev = bucket;
	*bucket = pcb;
}

static size_t table_size(u32 n)
{
	return n * sizeof(struct tcp_pcb *);
}

static void resize(u32 n)
{
	struct tcp_pcb **old = buckets, *pcb;
	u32 nr_old = nr_buckets;

	buckets = n == MIN_BUCKETS ? first_buckets : alloc_pages_exact(table_size(n));
	if (!buckets) {
		/* Longer chains until there is memory: asked for again at twice as many. */
		buckets = old;
		grow_at *= 2;
		return;
	}
	nr_buckets = n;
	grow_at = n;
	for (u32 i = 0; i < n; i++)
		buckets[i] = NULL;
	for (u32 i = 0; i < nr_old; i++) {
		while ((pcb = old[i])) {
			old[i] = pcb->port.hash_next;
			link_hashed(pcb);
		}
	}
	if (old != first_buckets)
		free_pages_exact(old, table_size(nr_old));
}

void lwip_tcp_hash_add(struct tcp_pcb *pcb)
{
	if (unlikely(nr_hashed >= grow_at) && nr_buckets < lwip_memp_limit(MEMP_TCP_PCB))
		resize(nr_buckets * 2);
	nr_hashed++;
	pcb->port.hash =
		hash_tuple(&pcb->local_ip, &pcb->remote_ip, pcb->local_port, pcb->remote_port);
	link_hashed(pcb);
}

void lwip_tcp_hash_del(struct tcp_pcb *pcb)
{
	if (last_found == pcb)
		last_found = NULL;
	*pcb->port.hash_pprev = pcb->port.hash_next;
	if (pcb->port.hash_next)
		pcb->port.hash_next->port.hash_pprev = pcb->port.hash_pprev;
	pcb->port.hash_pprev = NULL;
	nr_hashed--;
	/* An eighth: a number that goes up and down a little does not resize each time. */
	if (unlikely(nr_hashed < nr_buckets / 8) && nr_buckets > MIN_BUCKETS)
		resize(nr_buckets / 2);
}

/* ---- looking up ---- */

/* What tcp_input() would compare. */
static inline __attribute__((always_inline)) bool is_for(const struct tcp_pcb *pcb, u16 remote_port,
							 u16 local_port)
{
	steps++;
	return pcb->remote_port == remote_port && pcb->local_port == local_port &&
	       ip_addr_eq(&pcb->remote_ip, ip_current_src_addr()) &&
	       ip_addr_eq(&pcb->local_ip, ip_current_dest_addr()) &&
	       (pcb->netif_idx == NETIF_NO_INDEX ||
		pcb->netif_idx == netif_get_index(ip_data.current_input_netif));
}

/* In a function of its own: one that was found last time pays for none of this. */
static noinline struct tcp_pcb *look_up(u16 remote_port, u16 local_port)
{
	u32 hash =
		hash_tuple(ip_current_dest_addr(), ip_current_src_addr(), local_port, remote_port);
	struct tcp_pcb *pcb, *found = NULL;

	for (pcb = buckets[hash & (nr_buckets - 1)]; pcb; pcb = pcb->port.hash_next) {
		if (pcb->port.hash != hash || !is_for(pcb, remote_port, local_port))
			continue;
		if (pcb->state != TIME_WAIT) {
			last_found = pcb;
			return pcb;
		}
		if (!found)
			found = pcb;
	}
	return found;
}

struct tcp_pcb *lwip_hook_tcp_lookup(u16_t remote_port, u16_t local_port)
{
	struct tcp_pcb *pcb = last_found;

	/* On its way to TIME_WAIT it leaves the table, and is no more the one found last. */
	if (!pcb || !is_for(pcb, remote_port, local_port))
		pcb = look_up(remote_port, local_port);
	if (pcb)
		LWIP_HOOK_TCP_TOUCH(pcb);
	return pcb;
}

static void hash_stats(struct stats_sink *s)
{
	stats_u64(s, NULL, "tcp_hash_connections", nr_hashed);
	stats_u64(s, NULL, "tcp_hash_buckets", nr_buckets);
	stats_u64(s, NULL, "tcp_hash_steps", steps);
}
STATS_PROVIDER(hash_stats);
