/*
 * lwIP's time (lwip/timeouts.h, LWIP_TIMERS_CUSTOM). lwIP would call its cyclic timers for ever;
 * here each runs only while its table holds something, so that an idle guest sleeps. One deadline
 * of kernel/time.h, moved only when an earlier one appears, stands for all of them and for the
 * apps' sys_timeout().
 */
#include "kernel/lib/list.h"
#include "kernel/slab.h"
#include "kernel/stats.h"
#include "kernel/time.h"
#include "net/lwip/glue.h"
#include "net/lwip/memp_priv.h"

#include "lwip/dhcp.h"
#include "lwip/etharp.h"
#include "lwip/ip4_frag.h"
#include "lwip/ip6_frag.h"
#include "lwip/mld6.h"
#include "lwip/nd6.h"
#include "lwip/netif.h"
#include "lwip/priv/nd6_priv.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/sys.h"
#include "lwip/timeouts.h"

#define NEVER (~0ull)
#define MAX_TIMEOUTS 256

/* ---- is there something in the table? The number of ticks until it matters; 0: no. ---- */

static u32 tcp_ticks_needed(void)
{
	return tcp_active_pcbs || tcp_tw_pcbs;
}

static u32 reass_ticks(void)
{
	return lwip_memp_used(MEMP_REASSDATA) != 0;
}

static u32 reass6_ticks(void)
{
	return lwip_memp_used(MEMP_IP6_REASSDATA) != 0;
}

/* Seconds after the last ARP frame (netif.c kicks with each) in which a request may still be
 * repeated. */
#define ARP_PENDING_TICKS 6
static u32 arp_quiet;
/*
 * Afterwards entries only grow older: so many seconds are slept through and counted at once. The
 * shortest age that means something is 15 s (ARP_AGE_REREQUEST_USED_BROADCAST). An ARP frame ends
 * the sleep, and what had passed of it is lost, since the new entry must not be made older by it:
 * with a frame in each of them an entry lives for up to 500 s instead of 300.
 */
#define ARP_LAZY_TICKS 5

static u32 arp_ticks(void)
{
	struct netif *netif;
	ip4_addr_t *ip;
	struct eth_addr *mac;

	if (arp_quiet < ARP_PENDING_TICKS)
		return 1;
	for (size_t i = 0; i < ARP_TABLE_SIZE; i++) {
		if (etharp_get_entry(i, &ip, &netif, &mac))
			return ARP_LAZY_TICKS;
	}
	return 0;
}

static void arp_tmr(void)
{
	arp_quiet++;
	etharp_tmr();
}

static u32 dhcp_fine_ticks(void)
{
	return lwip_dhcp_fine_needed();
}

/* Our own addresses: duplicate detection, lifetimes, router solicitations. */
static bool nd6_own_needed(void)
{
	if (!netif_is_up(&lwip_netif) || !netif_is_link_up(&lwip_netif))
		return false;
	for (s8_t i = 0; i < LWIP_IPV6_NUM_ADDRESSES; i++) {
		u8 state = netif_ip6_addr_state(&lwip_netif, i);

		if (ip6_addr_istentative(state))
			return true;
		if (!ip6_addr_isinvalid(state) && !netif_ip6_addr_isstatic(&lwip_netif, i))
			return true;
	}
	return lwip_netif.rs_count > 0 &&
	       !ip6_addr_isinvalid(netif_ip6_addr_state(&lwip_netif, 0)) &&
	       !ip6_addr_isduplicated(netif_ip6_addr_state(&lwip_netif, 0));
}

static u32 nd6_ticks(void)
{
	for (u32 i = 0; i < LWIP_ND6_NUM_NEIGHBORS; i++) {
		u8 state = neighbor_cache[i].state;

		if (state != ND6_NO_ENTRY && state != ND6_STALE)
			return 1;
	}
	for (u32 i = 0; i < LWIP_ND6_NUM_ROUTERS; i++) {
		if (default_router_list[i].neighbor_entry)
			return 1;
	}
	for (u32 i = 0; i < LWIP_ND6_NUM_PREFIXES; i++) {
		if (prefix_list[i].netif)
			return 1;
	}
	return nd6_own_needed();
}

static u32 mld6_ticks(void)
{
	struct mld_group *group = netif_mld6_data(&lwip_netif);

	for (; group; group = group->next) {
		if (group->timer)
			return 1;
	}
	return 0;
}

/* ---- the table ---- */

static const struct {
	const char *name;
	u32 interval_ms;
	void (*handler)(void);
	u32 (*ticks)(void);
} cyclic[NR_LWIP_TIMERS] = {
	[LWIP_TIMER_TCP] = { "tcp", TCP_TMR_INTERVAL, lwip_tcp_tmr, tcp_ticks_needed },
	[LWIP_TIMER_IP_REASS] = { "ip_reass", IP_TMR_INTERVAL, ip_reass_tmr, reass_ticks },
	[LWIP_TIMER_ARP] = { "arp", ARP_TMR_INTERVAL, arp_tmr, arp_ticks },
	[LWIP_TIMER_DHCP_FINE] = { "dhcp_fine", DHCP_FINE_TIMER_MSECS, dhcp_fine_tmr,
				   dhcp_fine_ticks },
	[LWIP_TIMER_DHCP_COARSE] = { "dhcp_coarse", DHCP_COARSE_TIMER_MSECS, dhcp_coarse_tmr,
				     lwip_dhcp_coarse_ticks },
	[LWIP_TIMER_ND6] = { "nd6", ND6_TMR_INTERVAL, nd6_tmr, nd6_ticks },
	[LWIP_TIMER_IP6_REASS] = { "ip6_reass", IP6_REASS_TMR_INTERVAL, ip6_reass_tmr,
				   reass6_ticks },
	[LWIP_TIMER_MLD6] = { "mld6", MLD6_TMR_INTERVAL, mld6_tmr, mld6_ticks },
};

static struct {
	u64 due;   /* NEVER: its table is empty */
	u32 ticks; /* calls of the handler that are due then */
	u64 runs;
} state[NR_LWIP_TIMERS];

struct timeout {
	struct list_head node; /* sorted by due */
	u64 due;
	sys_timeout_handler handler;
	void *arg;
};
static LIST_HEAD(timeouts);
static struct kmem_cache timeout_cache;
static struct hrtimer timer;

static void arm(u64 due)
{
	if (!hrtimer_is_queued(&timer) || due < timer.expires)
		hrtimer_start(&timer, due);
}

static void cyclic_start(u32 t, u64 now, u32 ticks)
{
	state[t].ticks = ticks;
	state[t].due = now + (u64)ticks * cyclic[t].interval_ms * NSEC_PER_MSEC;
}

void lwip_timer_kick(enum lwip_timer t)
{
	if (t == LWIP_TIMER_ARP) {
		arp_quiet = 0;
		if (state[t].ticks == ARP_LAZY_TICKS)
			state[t].due = NEVER;
	}
	if (likely(state[t].due != NEVER))
		return;
	cyclic_start(t, ktime_get(), 1);
	arm(state[t].due);
}

void lwip_timer_restart(enum lwip_timer t)
{
	u32 ticks = cyclic[t].ticks();

	state[t].due = NEVER;
	if (!ticks)
		return;
	cyclic_start(t, ktime_get(), ticks);
	arm(state[t].due);
}

/* tcp_active_pcbs or tcp_tw_pcbs got their first entry (lwIP calls). */
void tcp_timer_needed(void)
{
	lwip_timer_kick(LWIP_TIMER_TCP);
}

static void cyclic_run(u32 t, u64 now)
{
	u32 ticks;

	state[t].due = NEVER;
	state[t].runs++;
	for (ticks = state[t].ticks; ticks; ticks--)
		cyclic[t].handler();
	ticks = cyclic[t].ticks();
	if (ticks)
		cyclic_start(t, now, ticks);
}

/* TIMER_SOFTIRQ */
static void timers_run(struct hrtimer *unused)
{
	u64 now = ktime_get(), next = NEVER;

	(void)unused;
	for (u32 t = 0; t < NR_LWIP_TIMERS; t++) {
		if (state[t].due <= now)
			cyclic_run(t, now);
	}
	while (!list_empty(&timeouts)) {
		struct timeout *to = list_first_entry(&timeouts, struct timeout, node);
		sys_timeout_handler handler = to->handler;
		void *arg = to->arg;

		if (to->due > now)
			break;
		list_del(&to->node);
		kmem_cache_free(&timeout_cache, to);
		handler(arg);
	}
	for (u32 t = 0; t < NR_LWIP_TIMERS; t++)
		next = min(next, state[t].due);
	if (!list_empty(&timeouts))
		next = min(next, list_first_entry(&timeouts, struct timeout, node)->due);
	if (next != NEVER)
		arm(next);
}

/* ---- lwip/timeouts.h, lwip/sys.h: for apps ---- */

void sys_timeout(u32_t msecs, sys_timeout_handler handler, void *arg)
{
	struct timeout *to = kmem_cache_alloc(&timeout_cache), *pos;

	if (!to)
		return; /* the cache counts it */
	to->due = ktime_get() + (u64)msecs * NSEC_PER_MSEC;
	to->handler = handler;
	to->arg = arg;
	list_for_each_entry(pos, &timeouts, node) {
		if (pos->due > to->due)
			break;
	}
	list_add_tail(&to->node, &pos->node);
	arm(to->due);
}

void sys_untimeout(sys_timeout_handler handler, void *arg)
{
	struct timeout *to;

	list_for_each_entry(to, &timeouts, node) {
		if (to->handler == handler && to->arg == arg) {
			list_del(&to->node);
			kmem_cache_free(&timeout_cache, to);
			return;
		}
	}
}

/* Milliseconds since boot, 32 bits. */
u32_t sys_now(void)
{
	return (u32_t)(ktime_get() / NSEC_PER_MSEC);
}

/* lwip_init() calls it. */
void sys_timeouts_init(void)
{
	lwip_timers_init();
}

void lwip_timers_init(void)
{
	hrtimer_setup(&timer, timers_run);
	INIT_LIST_HEAD(&timeouts);
	kmem_cache_init(&timeout_cache, "timeout", sizeof(struct timeout), MAX_TIMEOUTS);
	for (u32 t = 0; t < NR_LWIP_TIMERS; t++)
		state[t].due = NEVER;
}

static void timer_stats(struct stats_sink *s)
{
	for (u32 t = 0; t < NR_LWIP_TIMERS; t++)
		stats_u64(s, "timer_", cyclic[t].name, state[t].runs);
}
STATS_PROVIDER(timer_stats);
