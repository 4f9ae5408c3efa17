/*
 * See journey.h. Everything down to trace_own() is called for each packet while a session is open,
 * and is counted by tests/boot/test_trace_cost.py: at most 40 instructions a stage.
 */
#include "net/journey.h"

#include "kernel/lib/byteorder.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/string.h"
#include "kernel/mm.h"
#include "net/inet_hdr.h"
#include "net/netdevice.h"
#include "net/trace.h"

const char *const journey_function[NR_JOURNEY_STAGES] = {
	"common_interrupt", "net_rx_action",  "napi_poll",  "napi_gro_receive", "lwip_input",
	"app_callback",     "dev_queue_xmit", "start_xmit", "virtqueue_kick",   "free_old_xmit",
};
const char *const journey_name[NR_JOURNEY_STAGES] = {
	"interrupt", "softirq", "poll", "gro",      "input",
	"app",       "queue",   "ring", "doorbell", "complete",
};

/* One session; recs is NULL outside. */
static struct {
	struct journey *recs;
	u32 *scratch;
	u32 n, started, finished;
	struct pkt_filter filter;
	void (*done)(void *ctx);
	void *ctx;
} session;

/*
 * pkt->journey is the session's number (never 0) in the upper half, the record's index in the
 * lower: what an earlier session left in a packet means nothing in this one.
 */
static u32 session_id;
#define SESSION_ID_STEP 0x10000u

static u64 poll_cycles, previous_poll_cycles;
/* The frame that the stack is looking at: its record, and its pkt->journey. */
static struct journey *current;
static u32 current_id;
static struct journey *unrung; /* the first of those that wait for the doorbell */

/* In pkt->journey: the asker's own packet. */
#define JOURNEY_OWN 0xffffffffu

static inline struct journey *record_of(const struct pkt_buf *pkt)
{
	u32 i = pkt->journey ^ session_id;

	/* Numbers come round again, too: what is beyond the records is of another session as well.
	 */
	return likely(i < session.started) ? &session.recs[i] : NULL;
}

static inline void finish(struct journey *j, u8 flags)
{
	if (j->flags & JOURNEY_DONE)
		return;
	j->flags |= JOURNEY_DONE | flags;
	if (unlikely(++session.finished == session.n))
		session.done(session.ctx);
}

/* A new record for pkt, whose first bytes are at head. NULL: enough, or not wanted. */
static inline struct journey *begin(struct pkt_buf *pkt, const struct pkt_parts *p, const u8 *head,
				    u32 len)
{
	struct journey *j;

	if (unlikely(session.started >= session.n) || !pkt_filter_match(&session.filter, p))
		return NULL;
	j = &session.recs[session.started];
	pkt->journey = session_id | session.started++;
	memcpy(j->head, head + JOURNEY_HEAD_AT, JOURNEY_HEAD_LEN);
	j->len = (u16)min(len, 65535u);
	return j;
}

/* ---- the stages ---- */

void __trace_poll(void)
{
	previous_poll_cycles = poll_cycles;
	poll_cycles = get_cycles();
}

static inline void journey_rx(struct pkt_buf *pkt, const struct pkt_parts *p)
{
	/* A receive block has room for more than PKT_HEAD_LEN, whatever the frame's length. */
	struct journey *j = begin(pkt, p, pkt->data, pkt->len);

	if (!j)
		return;
	/*
	 * A softirq from before the last poll began was about other frames; so was an interrupt,
	 * and so is one that came while the softirq ran already.
	 */
	if (trace_softirq_cycles > previous_poll_cycles) {
		j->cycles[JOURNEY_SOFTIRQ] = trace_softirq_cycles;
		if (trace_irq_cycles > previous_poll_cycles &&
		    trace_irq_cycles <= trace_softirq_cycles)
			j->cycles[JOURNEY_INTERRUPT] = trace_irq_cycles;
	}
	j->cycles[JOURNEY_POLL] = poll_cycles;
	j->cycles[JOURNEY_GRO] = get_cycles();
}

void __trace_rx(struct pkt_buf *pkt)
{
	struct pkt_parts p;

	pkt_parts(&p, pkt->data, min(pkt->len, (u32)PKT_HEAD_LEN));
	if (trace_own(&p)) {
		pkt->journey = JOURNEY_OWN;
		return;
	}
	pkt->journey = 0;
	if (tracing & TRACE_JOURNEY)
		journey_rx(pkt, &p);
	if (tracing & TRACE_CAPTURE)
		capture_rx(pkt, &p);
}

void __trace_merge(struct pkt_buf *held, struct pkt_buf *pkt)
{
	struct journey *j = record_of(pkt), *into = record_of(held);

	if (j)
		finish(j, JOURNEY_MERGED);
	if (into)
		into->merged++;
}

void __trace_input(struct pkt_buf *pkt)
{
	trace_blind = pkt->journey == JOURNEY_OWN;
	if (tracing & TRACE_PROBE)
		stack_probe_input(pkt);
	if (!(tracing & TRACE_JOURNEY))
		return;
	current = record_of(pkt);
	current_id = pkt->journey;
	if (likely(current))
		current->cycles[JOURNEY_INPUT] = get_cycles();
}

void __trace_input_end(void)
{
	struct journey *j = current;

	trace_blind = false;
	current = NULL;
	if (tracing & TRACE_PROBE)
		stack_probe_input_end();
	if (!j || !(tracing & TRACE_JOURNEY))
		return;
	j->end = get_cycles();
	if (!(j->flags & JOURNEY_SENT))
		finish(j, 0);
}

void __trace_app(void)
{
	if (current && !current->cycles[JOURNEY_APP])
		current->cycles[JOURNEY_APP] = get_cycles();
}

/* Sent, but no answer. */
static noinline void journey_tx_only(struct pkt_buf *pkt)
{
	u8 head[PKT_HEAD_LEN];
	struct pkt_parts p;
	struct journey *j;

	if (trace_blind || session.started >= session.n)
		return;
	pkt_parts(&p, head, pkt_head(pkt, head));
	if (trace_own(&p))
		return;
	j = begin(pkt, &p, head, pkt->len);
	if (!j)
		return;
	j->flags |= JOURNEY_SENT | JOURNEY_TX_ONLY;
	j->cycles[JOURNEY_QUEUE] = get_cycles();
}

/* The first frame that is sent while one is being looked at is its answer. */
void __trace_xmit(struct pkt_buf *pkt)
{
	struct journey *j = current;

	if (likely(j) && likely(!(j->flags & JOURNEY_SENT))) {
		pkt->journey = current_id;
		j->flags |= JOURNEY_SENT;
		j->cycles[JOURNEY_QUEUE] = get_cycles();
		return;
	}
	pkt->journey = 0;
	journey_tx_only(pkt);
}

void __trace_ring(struct pkt_buf *pkt)
{
	struct journey *j;

	if (unlikely(!(tracing & TRACE_JOURNEY)))
		pkt->journey = 0;
	if (unlikely(tracing & TRACE_CAPTURE))
		capture_tx(pkt);
	if (unlikely(!(tracing & TRACE_JOURNEY)))
		return;
	j = record_of(pkt);
	if (unlikely(!j))
		return;
	j->cycles[JOURNEY_RING] = get_cycles();
	j->next = unrung;
	unrung = j;
}

void __trace_doorbell(void)
{
	u64 now = get_cycles();

	for (; unrung; unrung = unrung->next)
		unrung->cycles[JOURNEY_DOORBELL] = now;
}

void __trace_complete(struct pkt_buf *pkt)
{
	struct journey *j = record_of(pkt);

	if (!j)
		return;
	j->cycles[JOURNEY_COMPLETE] = get_cycles();
	finish(j, 0);
}

void __trace_drop(struct pkt_buf *pkt)
{
	struct journey *j = record_of(pkt);

	if (j)
		finish(j, JOURNEY_DROPPED);
}

bool trace_own(const struct pkt_parts *p)
{
	return p->proto == IPPROTO_TCP && p->l4 && trace_own_port &&
	       (get_unaligned_be16(p->l4) == trace_own_port ||
		get_unaligned_be16(p->l4 + 2) == trace_own_port);
}

u32 pkt_head(const struct pkt_buf *pkt, u8 *head)
{
	u32 len = 0;

	for (u32 i = 0; i < pkt->nr_frags && len < PKT_HEAD_LEN; i++) {
		u32 n = min(pkt->frags[i].len, PKT_HEAD_LEN - len);

		memcpy(head + len, pkt->frags[i].addr, n);
		len += n;
	}
	memset(head + len, 0, PKT_HEAD_LEN - len);
	return len;
}

/* ---- sessions ---- */

static size_t recs_size(u32 n)
{
	return n * (sizeof(struct journey) + sizeof(u32));
}

int journey_start(u32 n, const struct pkt_filter *filter, void (*done)(void *ctx), void *ctx)
{
	if (session.recs)
		return -EBUSY;
	session.recs = alloc_pages_exact(recs_size(n));
	if (!session.recs)
		return -ENOMEM;
	memset(session.recs, 0, n * sizeof(struct journey));
	session.scratch = (u32 *)(session.recs + n);
	session.n = n;
	session.started = session.finished = 0;
	session.filter = *filter;
	session.done = done;
	session.ctx = ctx;
	session_id += SESSION_ID_STEP;
	if (!session_id)
		session_id = SESSION_ID_STEP;
	current = NULL;
	unrung = NULL;
	/* The poll that brings the request began before. */
	poll_cycles = previous_poll_cycles = 0;
	trace_irq_cycles = trace_softirq_cycles = 0;
	tracing |= TRACE_JOURNEY;
	return 0;
}

void journey_stop(void)
{
	tracing &= (u8)~TRACE_JOURNEY;
	current = NULL;
	unrung = NULL;
}

void journey_release(void)
{
	journey_stop();
	free_pages_exact(session.recs, recs_size(session.n));
	session.recs = NULL;
	session.n = 0;
}

u32 journey_started(void)
{
	return session.started;
}

u32 journey_finished(void)
{
	return session.finished;
}

const struct journey *journey_get(u32 i)
{
	return &session.recs[i];
}

const struct journey *journey_lookup(u32 journey)
{
	u32 i = journey ^ session_id;

	return session.recs && i < session.started ? &session.recs[i] : NULL;
}

u32 *journey_scratch(void)
{
	return session.scratch;
}
