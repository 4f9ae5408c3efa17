/*
 * /capture.pcapng: the frames that the device receives and sends, as a stream that Wireshark and
 * tshark read live. Queries: filter= (pkt_filter.h), snaplen= (bytes of each frame at most), n= and
 * seconds= (when to end; never by default), journey=N (stage times of the first N packets as
 * comments; any other's journeys that are being recorded are commented as well).
 *
 * Frames are copied into a ring of bounded size as they pass, and taken out of it as fast as the
 * reader's connection goes; what finds the ring full is counted, not waited for.
 */
#include "kernel/debugfs.h"
#include "kernel/lib/container_of.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/string.h"
#include "kernel/mm.h"
#include "kernel/slab.h"
#include "kernel/stats.h"
#include "kernel/time.h"
#include "net/journey.h"
#include "net/netdevice.h"
#include "net/pcapng.h"
#include "net/trace.h"

#define RING_MAX (1024 * 1024u)
#define RING_MIN (64 * 1024u)
#define SNAPLEN_MAX 65550u /* the largest frame there can be */
/* How long a frame waits for the end of its journey, and how often is looked. */
#define COMMENT_WAIT_NS (300 * NSEC_PER_MSEC)
#define COMMENT_POLL_NS (20 * NSEC_PER_MSEC)

/* In the ring, 8-byte aligned, the frame's bytes behind it. len 0: go on at the ring's start. */
struct entry {
	u32 len;  /* bytes of the frame that are here */
	u32 orig; /* that it has */
	u64 cycles;
	u32 journey;
	u8 sent;
};

static struct capture {
	struct debugfs_reader *reader; /* NULL: nobody captures */
	struct pkt_filter filter;
	struct hrtimer timer;
	u64 until;
	u8 *ring;
	u32 size, snaplen, limit;
	u32 in, out; /* next byte to write and to read */
	u32 used;
	u32 taken;   /* frames put into the ring */
	u64 dropped; /* frames that found it full */
	u64 told;    /* of them, how many the reader knows of */
	u32 shown;   /* frames taken out of it */
	bool head, journeys, ended;
	struct pcapng_block block; /* what is being read out */
} capture;

static u64 total_packets, total_dropped;

/* ---- into the ring ---- */

/* Room for an entry of len bytes of frame; NULL: there is none. */
static struct entry *ring_reserve(u32 len)
{
	u32 need = (u32)ALIGN_UP(sizeof(struct entry) + len, 8), tail = capture.size - capture.in;
	struct entry *e;

	/* At the end, a marker's worth of room is kept or there is no end to see. */
	if (tail < need + sizeof(struct entry)) {
		if (capture.size - capture.used < tail + need)
			return NULL;
		((struct entry *)(capture.ring + capture.in))->len = 0;
		capture.used += tail;
		capture.in = 0;
	} else if (capture.size - capture.used < need) {
		return NULL;
	}
	e = (struct entry *)(capture.ring + capture.in);
	capture.in += need;
	capture.used += need;
	return e;
}

static u8 *put(u32 len, u32 orig, u32 journey, bool sent)
{
	struct entry *e;

	if (capture.limit && capture.taken == capture.limit)
		return NULL;
	e = ring_reserve(len);
	if (!e) {
		capture.dropped++;
		total_dropped++;
		return NULL;
	}
	*e = (struct entry){
		.len = len, .orig = orig, .cycles = get_cycles(), .journey = journey, .sent = sent
	};
	capture.taken++;
	total_packets++;
	capture.reader->wake(capture.reader);
	return (u8 *)(e + 1);
}

void capture_rx(const struct pkt_buf *pkt, const struct pkt_parts *p)
{
	u32 len = min(pkt->len, capture.snaplen);
	u8 *to;

	if (!pkt_filter_match(&capture.filter, p))
		return;
	to = put(len, pkt->len, pkt->journey, false);
	for (; to && len; pkt = pkt->frag_list) {
		u32 n = min(pkt->len - pkt->data_len, len);

		memcpy(to, pkt->data, n);
		to += n;
		len -= n;
	}
}

void capture_tx(const struct pkt_buf *pkt)
{
	u32 len = min(pkt->len, capture.snaplen), n;
	u8 head[PKT_HEAD_LEN], *to;
	struct pkt_parts p;

	pkt_parts(&p, head, pkt_head(pkt, head));
	if (trace_own(&p) || !pkt_filter_match(&capture.filter, &p))
		return;
	to = put(len, pkt->len, pkt->journey, true);
	for (u32 i = 0; to && len; i++) {
		n = min(pkt->frags[i].len, len);
		memcpy(to, pkt->frags[i].addr, n);
		to += n;
		len -= n;
	}
}

/* ---- out of it ---- */

static struct entry *ring_first(void)
{
	struct entry *e = (struct entry *)(capture.ring + capture.out);

	if (!capture.used)
		return NULL;
	if (e->len)
		return e;
	capture.used -= capture.size - capture.out;
	capture.out = 0;
	return capture.used ? (struct entry *)capture.ring : NULL;
}

static void ring_drop_first(void)
{
	struct entry *e = (struct entry *)(capture.ring + capture.out);
	u32 n = (u32)ALIGN_UP(sizeof(struct entry) + e->len, 8);

	capture.out += n;
	capture.used -= n;
	capture.shown++;
}

static bool over(void)
{
	return capture.ended || (capture.limit && capture.shown == capture.limit);
}

/* The next block, if there is one to be written. */
static bool next_block(void)
{
	u64 now = ktime_get();
	char comment[PCAPNG_COMMENT_MAX];
	struct entry *e;
	int n = 0;

	if (!capture.head) {
		capture.head = true;
		pcapng_start(&capture.block, netdev_next(NULL), capture.snaplen);
		return true;
	}
	e = ring_first();
	if (e) {
		u64 ns = cycles_to_ns(e->cycles);

		n = e->journey ? journey_comment(e->journey, comment, sizeof(comment)) : 0;
		if (n == -EAGAIN && now < ns + COMMENT_WAIT_NS) {
			hrtimer_start(&capture.timer, min(now + COMMENT_POLL_NS, capture.until));
			return false;
		}
		pcapng_packet(&capture.block, ns, e + 1, e->len, e->orig, e->sent,
			      n > 0 ? comment : NULL);
		return true;
	}
	if (capture.told != capture.dropped || over()) {
		capture.told = capture.dropped;
		pcapng_statistics(&capture.block, now, capture.shown + capture.dropped,
				  capture.dropped);
		capture.block.last = over();
		return true;
	}
	return false;
}

static int capture_read(struct debugfs_reader *r, char *buf, size_t size)
{
	size_t len = 0;

	(void)r;
	while (len < size) {
		if (!pcapng_pending(&capture.block)) {
			if (capture.block.data)
				ring_drop_first();
			if (capture.block.last)
				break;
			capture.block = (struct pcapng_block){ 0 };
			if (!next_block())
				return len ? (int)len : -EAGAIN;
		}
		len += pcapng_read(&capture.block, buf + len, size - len);
	}
	return (int)len;
}

/* ---- one session ---- */

static void capture_timer(struct hrtimer *timer)
{
	if (ktime_get() >= capture.until) {
		capture.ended = true;
		tracing &= (u8)~TRACE_CAPTURE;
	} else if (capture.until != ~0ull) {
		hrtimer_start(timer, capture.until);
	}
	capture.reader->wake(capture.reader);
}

/* journey_comment() finds them. */
static void journeys_done(void *ctx)
{
	(void)ctx;
	journey_stop();
}

static int capture_options(struct debugfs_reader *r, u32 *seconds, u32 *journeys)
{
	char filter[96];

	capture.snaplen = SNAPLEN_MAX;
	capture.limit = 0;
	if (debugfs_query_u32(r, "snaplen", 1, SNAPLEN_MAX, &capture.snaplen) ||
	    debugfs_query_u32(r, "n", 1, ~0u, &capture.limit) ||
	    debugfs_query_u32(r, "seconds", 1, 86400, seconds) ||
	    debugfs_query_u32(r, "journey", 1, JOURNEY_MAX, journeys))
		return -EINVAL;
	return min(pkt_filter_query(r, "filter", filter, sizeof(filter), &capture.filter), 0);
}

static int capture_open(struct debugfs_reader *r)
{
	u32 seconds = 0, journeys = 0;
	int err;

	if (capture.reader) {
		strscpy(r->error, "somebody else is capturing", sizeof(r->error));
		return -EBUSY;
	}
	capture = (struct capture){ 0 };
	err = capture_options(r, &seconds, &journeys);
	if (err)
		return err;
	capture.size = (u32)min((size_t)RING_MAX, nr_free_pages() * PAGE_SIZE / 8);
	capture.size &= ~(u32)(PAGE_SIZE - 1);
	capture.ring = capture.size >= RING_MIN ? alloc_pages_exact(capture.size) : NULL;
	if (!capture.ring)
		return -ENOMEM;
	if (journeys) {
		err = journey_start(journeys, &capture.filter, journeys_done, NULL);
		if (err) {
			free_pages_exact(capture.ring, capture.size);
			if (err == -EBUSY)
				strscpy(r->error, "journeys are being recorded for somebody else",
					sizeof(r->error));
			return err;
		}
	}
	capture.journeys = journeys;
	capture.until = seconds ? ktime_get() + seconds * NSEC_PER_SEC : ~0ull;
	hrtimer_setup(&capture.timer, capture_timer);
	if (seconds)
		hrtimer_start(&capture.timer, capture.until);
	capture.reader = r;
	tracing |= TRACE_CAPTURE;
	return 0;
}

static void capture_close(struct debugfs_reader *r)
{
	(void)r;
	tracing &= (u8)~TRACE_CAPTURE;
	hrtimer_cancel(&capture.timer);
	if (capture.journeys)
		journey_release();
	free_pages_exact(capture.ring, capture.size);
	capture.reader = NULL;
}

DEBUGFS_FILE(capture_file) = {
	.path = "/capture.pcapng",
	.type = "application/x-pcapng",
	.open = capture_open,
	.read = capture_read,
	.release = capture_close,
};

static void capture_stats(struct stats_sink *s)
{
	stats_u64(s, NULL, "capture_packets", total_packets);
	stats_u64(s, NULL, "capture_dropped", total_dropped);
}
STATS_PROVIDER(capture_stats);
