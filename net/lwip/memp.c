/*
 * lwIP's pools (lwip/memp.h) as slab caches: one per kind of object, none of its memory taken
 * before it is asked for, each with a limit that follows the machine's memory. The statistics know
 * them by name: memp_tcp_pcb 3/17/1024.
 */
#include "kernel/lib/string.h"
#include "kernel/mm.h"
#include "kernel/slab.h"
#include "net/lwip/glue.h"
#include "net/lwip/memp_priv.h"

#include "lwip/memp.h"
/* The types whose sizes memp_std.h takes. */
#include "lwip/altcp.h"
#include "lwip/etharp.h"
#include "lwip/ip4_frag.h"
#include "lwip/ip6_frag.h"
#include "lwip/mld6.h"
#include "lwip/pbuf.h"
#include "lwip/priv/nd6_priv.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/udp.h"

static struct kmem_cache caches[MEMP_MAX];

static const struct {
	const char *name;
	u16 size;
} kinds[MEMP_MAX] = {
#define LWIP_MEMPOOL(name, num, size, desc) { "memp_" #name, LWIP_MEM_ALIGN_SIZE(size) },
#include "lwip/priv/memp_std.h"
};
static char names[MEMP_MAX][24];

/* So many for each MiB, between two bounds. */
static u32 scale(u32 mib, u32 each, u32 least, u32 most)
{
	u64 n = (u64)mib * each;

	return n < least ? least : n > most ? most : (u32)n;
}

/* Objects of this kind at most, on a machine of so many MiB. */
static u32 memp_limit(memp_t type, u32 mib)
{
	switch (type) {
	case MEMP_TCP_PCB:
		/*
		 * A connection that is idle takes no more than this and what its app keeps of it
		 * (docs/connections.md): 256 of them are a tenth of each MiB. 1,024 at the least.
		 */
		return scale(mib, 256, 1024, 1048576);
	case MEMP_TCP_SEG:
	case MEMP_PBUF:
		return scale(mib, 512, 8192, 524288);
	case MEMP_FRAG_PBUF:
		/* A 65,507-byte ping is 45; several replies may wait for the device. */
		return scale(mib, 16, 512, 4096);
	case MEMP_UDP_PCB:
	case MEMP_TCP_PCB_LISTEN:
		return 256;
	case MEMP_REASSDATA:
	case MEMP_IP6_REASSDATA:
		return MEMP_NUM_REASSDATA;
	default:
		return 256;
	}
}

void memp_init(void)
{
	u32 mib = (u32)(totalram_pages() / 256);

	for (u32 i = 0; i < MEMP_MAX; i++) {
		char *c;

		strscpy(names[i], kinds[i].name, sizeof(names[i]));
		for (c = names[i]; *c; c++)
			*c = *c >= 'A' && *c <= 'Z' ? (char)(*c + 'a' - 'A') : *c;
		kmem_cache_init(&caches[i], names[i], kinds[i].size, memp_limit((memp_t)i, mib));
	}
}

void *memp_malloc(memp_t type)
{
	lwip_assert_core_locked();
	/* What the cyclic timers look after begins here. */
	switch (type) {
	case MEMP_REASSDATA:
		lwip_timer_kick(LWIP_TIMER_IP_REASS);
		break;
	case MEMP_IP6_REASSDATA:
		lwip_timer_kick(LWIP_TIMER_IP6_REASS);
		break;
	case MEMP_MLD6_GROUP:
		lwip_timer_kick(LWIP_TIMER_MLD6);
		break;
	default:
		break;
	}
	return kmem_cache_alloc(&caches[type]);
}

void memp_free(memp_t type, void *mem)
{
	if (mem)
		kmem_cache_free(&caches[type], mem);
}

u32 lwip_memp_used(memp_t type)
{
	return caches[type].used;
}

u32 lwip_memp_limit(memp_t type)
{
	return caches[type].limit;
}
