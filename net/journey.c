/*
 * See journey.h. Everything down to trace_own() is called for each packet while a session is open,
 * and is counted by tests/boot/test_journey.py: at most 40 instructions a stage.
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
 * pkt->journey is the session's number (never 0) above, the record's index below: what an earlier
 * session left in a packet means nothing in this one.
 */
static u32 generation;

static u64 poll_cycles, previous_poll_cycles;
static struct journey *current; /* of the frame that the stack is looking at */
static u16 unrung;              /* the first of those that wait for the doorbell: index + 1 */

static inline struct journey *record_of(const struct pkt_buf *pkt)
{
	return pkt->journey >> 16 == generation ? &session.recs[pkt->journey & 0xffff] : NULL;
}

static inline void stamp(struct pkt_buf *pkt, enum journey_stage stage)
{
	struct journey *j = record_of(pkt);

	if (likely(j))
		j->cycles[stage] = get_cycles();
}

static void finish(struct journey *j, u8 flags)
{
	if (j->flags & JOURNEY_DONE)
		return;
	j->flags |= JOURNEY_DONE | flags;
	if (++session.finished == session.n)
		session.done(session.ctx);
}

/* A new record for pkt, whose first bytes are at head. NULL: enough, or not wanted. */
static struct journey *begin(struct pkt_buf *pkt, const u8 *head, u32 len)
{
	struct journey *j;

	pkt->journey = 0;
	if (unlikely(session.started >= session.n) ||
	    !pkt_filter_match(&session.filter, head, min(len, (u32)PKT_HEAD_LEN)))
		return NULL;
	j = &session.recs[session.started];
	pkt->journey = generation << 16 | session.started++;
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

static void journey_rx(struct pkt_buf *pkt)
{
	/* A receive block has room for more than PKT_HEAD_LEN, whatever the frame's length. */
	struct journey *j = begin(pkt, pkt->data, pkt->len);

	if (!j)
		return;
	/* An interrupt from before the last poll began was about other frames. */
	if (trace_irq_cycles > previous_poll_cycles)
		j->cycles[JOURNEY_INTERRUPT] = trace_irq_cycles;
	if (trace_softirq_cycles > previous_poll_cycles)
		j->cycles[JOURNEY_SOFTIRQ] = trace_softirq_cycles;
	j->cycles[JOURNEY_POLL] = poll_cycles;
	j->cycles[JOURNEY_GRO] = get_cycles();
}

void __trace_rx(struct pkt_buf *pkt)
{
	pkt->journey = 0;
	if (trace_own(pkt->data, pkt->len))
		return;
	if (tracing & TRACE_JOURNEY)
		journey_rx(pkt);
	if (tracing & TRACE_CAPTURE)
		capture_rx(pkt);
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
	trace_blind = trace_own(pkt->data, pkt->len);
	if (tracing & TRACE_PROBE)
		stack_probe_input(pkt->data, pkt->len);
	if (!(tracing & TRACE_JOURNEY))
		return;
	current = record_of(pkt);
	stamp(pkt, JOURNEY_INPUT);
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

/* The first frame that is sent while one is being looked at is its answer. */
void __trace_xmit(struct pkt_buf *pkt)
{
	struct journey *j = current;
	u8 head[PKT_HEAD_LEN];
	u32 len;

	if (likely(j) && !(j->flags & JOURNEY_SENT)) {
		pkt->journey = generation << 16 | (u32)(j - session.recs);
		j->flags |= JOURNEY_SENT;
		j->cycles[JOURNEY_QUEUE] = get_cycles();
		return;
	}
	pkt->journey = 0;
	if (trace_blind || session.started >= session.n)
		return;
	len = pkt_head(pkt, head);
	if (len < PKT_HEAD_LEN)
		memset(head + len, 0, PKT_HEAD_LEN - len);
	if (trace_own(head, len))
		return;
	j = begin(pkt, head, pkt->len);
	if (!j)
		return;
	j->flags |= JOURNEY_SENT | JOURNEY_TX_ONLY;
	j->cycles[JOURNEY_QUEUE] = get_cycles();
}

void __trace_ring(struct pkt_buf *pkt)
{
	struct journey *j;

	if (!(tracing & TRACE_JOURNEY))
		pkt->journey = 0;
	if (tracing & TRACE_CAPTURE)
		capture_tx(pkt);
	if (!(tracing & TRACE_JOURNEY))
		return;
	j = record_of(pkt);
	if (!j)
		return;
	j->cycles[JOURNEY_RING] = get_cycles();
	j->next = unrung;
	unrung = (u16)(j - session.recs + 1);
}

void __trace_doorbell(void)
{
	u64 now = get_cycles();

	while (unrung) {
		struct journey *j = &session.recs[unrung - 1];

		j->cycles[JOURNEY_DOORBELL] = now;
		unrung = j->next;
	}
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

bool trace_own(const u8 *frame, u32 len)
{
	struct pkt_parts p;

	if (!trace_own_port)
		return false;
	pkt_parts(&p, frame, min(len, (u32)PKT_HEAD_LEN));
	return p.l4 && p.proto == IPPROTO_TCP &&
	       (get_unaligned_be16(p.l4) == trace_own_port ||
		get_unaligned_be16(p.l4 + 2) == trace_own_port);
}

u32 pkt_head(const struct pkt_buf *pkt, u8 *head)
{
	u32 len = 0;

	for (u32 i = 0; i < pkt->nr_frags && len < PKT_HEAD_LEN; i++) {
		u32 n = min(pkt->frags[i].len, PKT_HEAD_LEN - len);

		memcpy(head + len, pkt->frags[i].addr, n);
		len += n;
	}
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
	generation = generation == 0xffff ? 1 : generation + 1;
	current = NULL;
	unrung = 0;
	tracing |= TRACE_JOURNEY;
	return 0;
}

void journey_stop(void)
{
	tracing &= (u8)~TRACE_JOURNEY;
	current = NULL;
	unrung = 0;
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
	return session.recs && journey >> 16 == generation ? &session.recs[journey & 0xffff] : NULL;
}

u32 *journey_scratch(void)
{
	return session.scratch;
}
