/*
 * lwIP's lists of connections (patches/0010 and 0011). They are what they were, singly linked from
 * tcp_active_pcbs and so on, with two additions: a pointer back, so that removing one of 100,000
 * does not walk 100,000; and an order, so that the timers do not either.
 *
 * A connection of which nothing is due sleeps: it stands behind those that are awake, where lwIP's
 * walks end, and hangs in a wheel at the tick at which tcp_slowtmr() must look at it next. It wakes
 * at that tick, or before anything about it changes (LWIP_HOOK_TCP_TOUCH: a segment for it, or a
 * call of the app's), and moves to the front; how long it slept is made up for then. So what lwIP
 * does and when is the same as if it had been looked at in each tick (but for the keepalive probes
 * of a crowd, below), which is what tests/unit/test_lwip_sleep.c checks.
 *
 * The one thing that nobody tells us of is an option or a keepalive time that an app writes into
 * the pcb of a sleeping connection, outside its callbacks: it counts from the next time the
 * connection wakes.
 */
#include "kernel/bug.h"
#include "kernel/lib/types.h"
#include "kernel/stats.h"
#include "net/lwip/glue.h"
#include "net/lwip/hooks.h"
#include "net/lwip/tcp_hash.h"

#include "lwip/ip.h"
#include "lwip/priv/tcp_priv.h"

#define WHEEL_TICKS 512u /* slots, one a tick of tcp_slowtmr(); a power of two */

struct line {
	struct tcp_pcb **head;
	struct tcp_pcb **tail;   /* the last one's next, or the head */
	struct tcp_pcb *sleeper; /* the first that sleeps: all behind it do */
	bool hashed;
};

static struct line active = { &tcp_active_pcbs, &tcp_active_pcbs, NULL, true };
static struct line tw = { &tcp_tw_pcbs, &tcp_tw_pcbs, NULL, true };
static struct line bound = { &tcp_bound_pcbs, &tcp_bound_pcbs, NULL, false };

/*
 * Connections that came in a burst would all send their keepalive probe in one tick, more than the
 * device takes, and those it did not take again in the next. So a probe may come later than asked
 * for where as many as this are due already, fewer than wait for the device in net/sch_fifo.c.
 */
#define CROWD 768u

static struct tcp_pcb *wheel[WHEEL_TICKS];
static u32 nr_due[WHEEL_TICKS];
static u32 nr_asleep;
static u64 looked_at, woken;
static u8 lowest_prio = TCP_PRIO_MAX; /* that any connection ever had */

static struct line *line_of(struct tcp_pcb **list)
{
	return list == &tcp_active_pcbs ? &active :
	       list == &tcp_tw_pcbs     ? &tw :
	       list == &tcp_bound_pcbs  ? &bound :
					  NULL;
}

/* ---- the list ---- */

static void push_front(struct line *l, struct tcp_pcb *pcb)
{
	pcb->next = *l->head;
	if (pcb->next)
		pcb->next->port.pprev = &pcb->next;
	else
		l->tail = &pcb->next;
	pcb->port.pprev = l->head;
	*l->head = pcb;
}

static void push_back(struct line *l, struct tcp_pcb *pcb)
{
	pcb->next = NULL;
	pcb->port.pprev = l->tail;
	*l->tail = pcb;
	l->tail = &pcb->next;
}

/* pcb->next stays: lwIP's walks go on from there. */
static void unlink_pcb(struct line *l, struct tcp_pcb *pcb)
{
	if (l->sleeper == pcb)
		l->sleeper = pcb->next;
	*pcb->port.pprev = pcb->next;
	if (pcb->next)
		pcb->next->port.pprev = pcb->port.pprev;
	else
		l->tail = pcb->port.pprev;
	pcb->port.pprev = NULL;
}

/* ---- sleeping and waking ---- */

static void wheel_del(struct tcp_pcb *pcb)
{
	*pcb->port.wheel_pprev = pcb->port.wheel_next;
	if (pcb->port.wheel_next)
		pcb->port.wheel_next->port.wheel_pprev = pcb->port.wheel_pprev;
	pcb->port.wheel_pprev = NULL;
	nr_due[pcb->port.slot]--;
	nr_asleep--;
}

static void wheel_add(struct tcp_pcb *pcb, u32 ticks)
{
	u32 slot = (tcp_ticks + ticks) % WHEEL_TICKS;

	pcb->port.slot = (u16)slot;
	pcb->port.wheel_next = wheel[slot];
	if (wheel[slot])
		wheel[slot]->port.wheel_pprev = &pcb->port.wheel_next;
	pcb->port.wheel_pprev = &wheel[slot];
	wheel[slot] = pcb;
	nr_due[slot]++;
	nr_asleep++;
}

/* Ticks from now until `since` lies more than `limit` ticks back; at least 1. */
static u32 ticks_until(u32 since, u32 limit)
{
	u32 age = tcp_ticks - since;

	return age > limit ? 1 : limit - age + 1;
}

/*
 * Ticks until the next keepalive probe, or a later one that is less crowded: by half of what
 * remains then until the connection is given up, or, if that is what is due, half of the time for
 * an answer.
 */
static u32 keepalive_ticks(const struct tcp_pcb *pcb)
{
	u32 give_up = pcb->keep_idle + pcb->keep_cnt * pcb->keep_intvl;
	u32 probe = pcb->keep_idle + pcb->keep_cnt_sent * pcb->keep_intvl;
	u32 ticks = ticks_until(pcb->tmr, min(probe, give_up) / TCP_SLOW_INTERVAL);
	u32 late = (probe < give_up ? give_up - probe : pcb->keep_intvl) / 2 / TCP_SLOW_INTERVAL;
	u32 best = ticks, least = ~0u;

	for (u32 n = ticks; n > 1 && n < WHEEL_TICKS && n <= ticks + late; n++) {
		u32 due = nr_due[(tcp_ticks + n) % WHEEL_TICKS];

		if (due < CROWD)
			return n;
		if (due < least) {
			least = due;
			best = n;
		}
	}
	return best;
}

/*
 * Ticks until tcp_slowtmr() has something to do with this connection, all that tcp_fasttmr() and
 * the retransmission, persist and reassembly timers look at being empty; 1: it must stay awake.
 */
static u32 ticks_to_sleep(const struct tcp_pcb *pcb)
{
	u32 n = WHEEL_TICKS - 1;

	if (pcb->state == TIME_WAIT)
		return min(n, ticks_until(pcb->tmr, 2 * TCP_MSL / TCP_SLOW_INTERVAL));
	if (pcb->unsent || pcb->unacked || pcb->ooseq || pcb->refused_data)
		return 1;
	if (pcb->rtime >= 0 || pcb->persist_backoff || pcb->nrtx >= TCP_MAXRTX)
		return 1;
	if (pcb->flags & (TF_ACK_DELAY | TF_ACK_NOW | TF_CLOSEPEND | TF_NAGLEMEMERR))
		return 1;
	if (pcb->poll && pcb->pollinterval <= pcb->polltmr)
		return 1;
	if (pcb->poll)
		n = min(n, (u32)pcb->pollinterval - pcb->polltmr);
	switch (pcb->state) {
	case ESTABLISHED:
	case CLOSE_WAIT:
		return ip_get_option(pcb, SOF_KEEPALIVE) ? min(n, keepalive_ticks(pcb)) : n;
	case FIN_WAIT_2:
		return pcb->flags & TF_RXCLOSED ?
			       min(n, ticks_until(pcb->tmr,
						  TCP_FIN_WAIT_TIMEOUT / TCP_SLOW_INTERVAL)) :
			       n;
	default:
		return 1; /* every other state waits for an acknowledgement */
	}
}

static void sleep_or_not(struct line *l, struct tcp_pcb *pcb)
{
	u32 ticks = ticks_to_sleep(pcb);

	looked_at++;
	if (ticks <= 1)
		return;
	unlink_pcb(l, pcb);
	push_back(l, pcb);
	if (!l->sleeper)
		l->sleeper = pcb;
	pcb->port.slept = (u16)tcp_ticks;
	wheel_add(pcb, ticks);
}

void lwip_hook_tcp_wake(struct tcp_pcb *pcb)
{
	struct line *l = pcb->state == TIME_WAIT ? &tw : &active;
	u16 slept = (u16)(tcp_ticks - pcb->port.slept);

	woken++;
	wheel_del(pcb);
	unlink_pcb(l, pcb);
	push_front(l, pcb);
	/* As tcp_slowtmr() would have counted, calling no one. */
	if (pcb->pollinterval)
		pcb->polltmr = (u8)((pcb->polltmr + slept) % pcb->pollinterval);
	/* Not seen by the pass that may be under way: it was made up for. */
	pcb->last_timer = tcp_timer_ctr;
}

static void put_to_sleep(struct line *l)
{
	struct tcp_pcb *pcb, *next;

	for (pcb = *l->head; pcb && !LWIP_HOOK_TCP_ASLEEP(pcb); pcb = next) {
		next = pcb->next;
		sleep_or_not(l, pcb);
	}
}

void lwip_tcp_tmr(void)
{
	u32 tick = tcp_ticks;
	struct tcp_pcb **due = &wheel[(tick + 1) % WHEEL_TICKS];

	while (*due)
		lwip_hook_tcp_wake(*due);
	tcp_tmr();
	if (tcp_ticks == tick)
		return; /* tcp_slowtmr() runs every other time */
	put_to_sleep(&active);
	put_to_sleep(&tw);
}

/* ---- what lwIP calls ---- */

void lwip_hook_tcp_reg(struct tcp_pcb **list, struct tcp_pcb *pcb)
{
	struct line *l = line_of(list);

	if (!l) {
		/* A listener: a shorter struct, without our fields. */
		pcb->next = *list;
		*list = pcb;
		return;
	}
	BUG_ON(pcb->port.pprev);
	push_front(l, pcb);
	if (l->hashed)
		lwip_tcp_hash_add(pcb);
	lwip_hook_tcp_setprio(pcb->prio);
}

void lwip_hook_tcp_rmv(struct tcp_pcb **list, struct tcp_pcb *pcb)
{
	struct line *l = line_of(list);

	if (!l) {
		while (*list && *list != pcb)
			list = &(*list)->next;
		if (*list)
			*list = pcb->next;
		return;
	}
	/* tcp_close() within a callback removes it, and tcp_input() once more when it frees it. */
	if (!pcb->port.pprev)
		return;
	if (pcb->port.wheel_pprev)
		wheel_del(pcb);
	unlink_pcb(l, pcb);
	if (l->hashed)
		lwip_tcp_hash_del(pcb);
}

void lwip_hook_tcp_setprio(u8_t prio)
{
	lowest_prio = min(lowest_prio, prio);
}

int lwip_hook_tcp_prio_unused(u8_t prio)
{
	return prio < lowest_prio;
}

/* It stands with the youngest again. */
void lwip_hook_tcp_timewait_again(struct tcp_pcb *pcb)
{
	if (LWIP_HOOK_TCP_ASLEEP(pcb))
		lwip_hook_tcp_wake(pcb);
}

/*
 * They go to sleep as they come, a tick's worth at a time, and stand in that order; those awake are
 * younger than a tick, or about to go. (lwIP's own search is for the one of which nothing was heard
 * longest before it was closed, too.)
 */
struct tcp_pcb *lwip_hook_tcp_oldest_timewait(void)
{
	struct tcp_pcb *pcb = tw.sleeper;

	if (pcb)
		return pcb;
	for (pcb = tcp_tw_pcbs; pcb && pcb->next; pcb = pcb->next)
		;
	return pcb;
}

static void list_stats(struct stats_sink *s)
{
	stats_u64(s, NULL, "tcp_asleep", nr_asleep);
	stats_u64(s, NULL, "tcp_woken", woken);
	stats_u64(s, NULL, "tcp_timer_looked_at", looked_at);
}
STATS_PROVIDER(list_stats);
