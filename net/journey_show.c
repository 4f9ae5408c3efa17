/*
 * /journey, /journey.json and /journey/histogram: the next n packets that match, recorded
 * (journey.h), then shown. Queries: n=, match= (pkt_filter.h), seconds= (how long to wait at most).
 *
 * /journey is laid out as ftrace's function_graph is, so that it can be laid beside a trace of
 * Linux; /journey.json is Chrome's trace format, which Perfetto opens.
 */
#include "kernel/debugfs.h"
#include "kernel/lib/byteorder.h"
#include "kernel/lib/container_of.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/string.h"
#include "kernel/slab.h"
#include "kernel/time.h"
#include "kernel/timex.h"
#include "net/inet_hdr.h"
#include "net/journey.h"
#include "net/netdevice.h"

#define DEFAULT_SECONDS 10
/* After the last of them has begun: for the device to be done with what was sent. */
#define COMPLETION_NS (1 * NSEC_PER_SEC)

struct journey_session {
	struct debugfs_reader *reader;
	struct hrtimer deadline;
	u32 n, seconds;
	bool finished; /* nothing more is recorded: now it is shown */
	bool grace;    /* the deadline is the one for completions */
	u32 shown;     /* what the file has printed: records, or stages */
	bool head, tail;
	char match[64];
};

/* ---- recording ---- */

static void session_finish(struct journey_session *s)
{
	if (s->finished)
		return;
	journey_stop();
	hrtimer_cancel(&s->deadline);
	s->finished = true;
	s->reader->wake(s->reader);
}

static void session_done(void *ctx)
{
	session_finish(ctx);
}

static void session_deadline(struct hrtimer *timer)
{
	struct journey_session *s = container_of(timer, struct journey_session, deadline);

	/* What has begun may end. */
	if (!s->grace && journey_finished() < journey_started()) {
		s->grace = true;
		hrtimer_start(&s->deadline, ktime_get() + COMPLETION_NS);
		return;
	}
	session_finish(s);
}

static int journey_open(struct debugfs_reader *r)
{
	u32 n = 1, seconds = DEFAULT_SECONDS;
	struct journey_session *s;
	struct pkt_filter filter;
	char match[64] = "";
	int err;

	if (debugfs_query_u32(r, "n", 1, JOURNEY_MAX, &n) ||
	    debugfs_query_u32(r, "seconds", 1, 600, &seconds))
		return -EINVAL;
	if (pkt_filter_query(r, "match", match, sizeof(match), &filter) < 0)
		return -EINVAL;
	s = kzalloc(sizeof(*s));
	if (!s)
		return -ENOMEM;
	err = journey_start(n, &filter, session_done, s);
	if (err) {
		if (err == -EBUSY)
			strscpy(r->error, "journeys are being recorded for somebody else",
				sizeof(r->error));
		else
			snprintf(r->error, sizeof(r->error), "no memory for %u records", n);
		kfree(s);
		return err;
	}
	s->reader = r;
	s->n = n;
	s->seconds = seconds;
	strscpy(s->match, match, sizeof(s->match));
	hrtimer_setup(&s->deadline, session_deadline);
	hrtimer_start(&s->deadline, ktime_get() + seconds * NSEC_PER_SEC);
	r->private = s;
	return 0;
}

static void journey_close(struct debugfs_reader *r)
{
	struct journey_session *s = r->private;

	hrtimer_cancel(&s->deadline);
	journey_release();
	kfree(s);
}

/* ---- what a record says ---- */

/* The stages it came by, in the order of time, into stage[]; their number. */
static u32 stages_of(const struct journey *j, u8 stage[NR_JOURNEY_STAGES])
{
	u32 n = 0;

	for (u8 i = 0; i < NR_JOURNEY_STAGES; i++) {
		u32 at = n;

		if (!j->cycles[i])
			continue;
		for (; at && j->cycles[stage[at - 1]] > j->cycles[i]; at--)
			stage[at] = stage[at - 1];
		stage[at] = i;
		n++;
	}
	return n;
}

static u64 ns_of(const struct journey *j, u8 stage)
{
	return cycles_to_ns(j->cycles[stage]);
}

static const char *proto_name(const struct pkt_parts *p)
{
	switch (p->proto) {
	case IPPROTO_ICMP:
		return "ICMP";
	case IPPROTO_ICMPV6:
		return "ICMPv6";
	case IPPROTO_TCP:
		return "TCP";
	case IPPROTO_UDP:
		return "UDP";
	default:
		return p->ethertype == ETH_P_ARP  ? "ARP" :
		       p->ethertype == ETH_P_IP   ? "IPv4" :
		       p->ethertype == ETH_P_IPV6 ? "IPv6" :
						    "Ethernet";
	}
}

static void print_address(struct seq_file *s, const struct pkt_parts *p, const u8 *addr, u32 port)
{
	if (p->addr_len == 4)
		seq_printf(s, "%u.%u.%u.%u", addr[0], addr[1], addr[2], addr[3]);
	else
		for (u32 i = 0; i < 16; i += 2)
			seq_printf(s, i ? ":%x" : "%x", get_unaligned_be16(addr + i));
	if (port)
		seq_printf(s, p->addr_len == 4 ? ":%u" : ".%u", port);
}

/* "TCP 10.0.2.1:4711 > 10.0.2.2:7" */
static void print_packet(struct seq_file *s, const struct journey *j)
{
	u8 frame[PKT_HEAD_LEN] = { 0 };
	struct pkt_parts p;
	bool ports;

	memcpy(frame + JOURNEY_HEAD_AT, j->head, JOURNEY_HEAD_LEN);
	pkt_parts(&p, frame, min((u32)j->len, (u32)(JOURNEY_HEAD_AT + JOURNEY_HEAD_LEN)));
	seq_printf(s, "%s", proto_name(&p));
	if (!p.saddr)
		return;
	ports = p.l4 && (p.proto == IPPROTO_TCP || p.proto == IPPROTO_UDP);
	seq_printf(s, " ");
	print_address(s, &p, p.saddr, ports ? get_unaligned_be16(p.l4) : 0);
	seq_printf(s, " > ");
	print_address(s, &p, p.daddr, ports ? get_unaligned_be16(p.l4 + 2) : 0);
}

/* How it ended, if not with an answer that the device was done with. */
static const char *ending(const struct journey *j)
{
	if (!(j->flags & JOURNEY_DONE))
		return ", not finished";
	if (j->flags & JOURNEY_MERGED)
		return ", merged into an earlier one by GRO";
	if (j->flags & JOURNEY_DROPPED)
		return ", dropped";
	return j->flags & JOURNEY_SENT ? "" : ", nothing sent";
}

static u32 lost(const struct journey_session *s)
{
	(void)s;
	return journey_started() - journey_finished();
}

/* ---- text ---- */

/* Nanoseconds as ftrace prints a duration: with a sign in front from 10 us on. */
static void print_duration(struct seq_file *s, u64 ns)
{
	char text[32];
	int len = snprintf(text, sizeof(text), "%lu", ns / 1000);
	char sign = ns > 1000000000 ? '$' :
		    ns > 100000000  ? '@' :
		    ns > 10000000   ? '*' :
		    ns > 1000000    ? '#' :
		    ns > 100000     ? '!' :
		    ns > 10000      ? '+' :
				      ' ';

	/* Eight characters of number. */
	if (len < 7) {
		snprintf(text + len, sizeof(text) - (size_t)len, ".%03lu", ns % 1000);
		text[8] = '\0';
	}
	seq_printf(s, " 0) %c %s us %*s|", sign, text, max(8 - (int)strlen(text), 0), "");
}

static void print_blank(struct seq_file *s)
{
	seq_printf(s, " 0)               |");
}

static void indent(struct seq_file *s, u32 depth)
{
	seq_printf(s, "  %*s", (int)(2 * depth), "");
}

/* "interrupt 0.412 + softirq 0.733 + ... = 12.345 us to doorbell" */
static void print_sum(struct seq_file *s, const struct journey *j, const u8 *stage, u32 n)
{
	u64 ns;

	if (stage[n - 1] == JOURNEY_COMPLETE)
		n--;
	for (u32 i = 0; i + 1 < n; i++) {
		ns = ns_of(j, stage[i + 1]) - ns_of(j, stage[i]);
		seq_printf(s, "%s%s %lu.%03lu", i ? " + " : "", journey_name[stage[i]], ns / 1000,
			   ns % 1000);
	}
	ns = ns_of(j, stage[n - 1]) - ns_of(j, stage[0]);
	seq_printf(s, " = %lu.%03lu us to %s", ns / 1000, ns % 1000, journey_name[stage[n - 1]]);
}

int journey_comment(u32 journey, char *buf, size_t size)
{
	const struct journey *j = journey_lookup(journey);
	u8 stage[NR_JOURNEY_STAGES];
	struct seq_file s;
	u32 n;

	if (!j)
		return 0;
	n = stages_of(j, stage);
	if (!(j->flags & JOURNEY_DONE))
		return -EAGAIN;
	seq_init(&s, buf, size);
	seq_begin(&s);
	if (n > 1)
		print_sum(&s, j, stage, n);
	seq_printf(&s, "%s", ending(j));
	return seq_end(&s) ? (int)s.len : 0;
}

/* What comes when the stack is done with the packet is nobody's call in its way. */
static void print_later(struct seq_file *s, const struct journey *j, u8 stage, u8 before)
{
	u64 ns = ns_of(j, stage) - ns_of(j, before);

	print_blank(s);
	seq_printf(s, "  /* %s: %lu.%03lu us after %s */\n", journey_function[stage], ns / 1000,
		   ns % 1000, journey_function[before]);
}

/*
 * Each stage is called by the one before, up to the end of the stack's work; behind it there may be
 * a doorbell that rings for several packets, and the completion, which a later packet's poll finds.
 */
static void print_graph(struct seq_file *s, const struct journey *j, const u8 *stage, u32 n)
{
	u32 calls = 0;
	u64 end;

	while (calls < n && stage[calls] != JOURNEY_COMPLETE &&
	       !(j->end && j->cycles[stage[calls]] > j->end))
		calls++;
	if (calls) {
		end = j->end ? cycles_to_ns(j->end) : ns_of(j, stage[calls - 1]);
		for (u32 i = 0; i + 1 < calls; i++) {
			print_blank(s);
			indent(s, i);
			seq_printf(s, "%s() {\n", journey_function[stage[i]]);
		}
		print_duration(s, end - ns_of(j, stage[calls - 1]));
		indent(s, calls - 1);
		seq_printf(s, "%s();\n", journey_function[stage[calls - 1]]);
		for (u32 i = calls - 1; i-- > 0;) {
			print_duration(s, end - ns_of(j, stage[i]));
			indent(s, i);
			seq_printf(s, "} /* %s */\n", journey_function[stage[i]]);
		}
	}
	for (u32 i = calls; i < n && i > 0; i++)
		print_later(s, j, stage[i], stage[i - 1]);
}

static void print_record(struct seq_file *s, u32 i)
{
	const struct journey *j = journey_get(i);
	u8 stage[NR_JOURNEY_STAGES];
	u32 n = stages_of(j, stage);
	u64 at = n ? ns_of(j, stage[0]) : 0;

	seq_printf(s, "\n /* %u: ", i + 1);
	print_packet(s, j);
	seq_printf(s, ", %u bytes, at %lu.%09lu s%s%s", j->len, (u64)(at / NSEC_PER_SEC),
		   (u64)(at % NSEC_PER_SEC),
		   j->flags & JOURNEY_TX_ONLY ? ", sent of our own accord" : "", ending(j));
	if (j->merged)
		seq_printf(s, ", with %u more merged into it", j->merged);
	seq_printf(s, " */\n");
	if (n > 1) {
		seq_printf(s, " /* ");
		print_sum(s, j, stage, n);
		seq_printf(s, " */\n");
	}
	print_graph(s, j, stage, n);
}

static int text_read(struct debugfs_reader *r, char *buf, size_t size)
{
	struct journey_session *s = r->private;
	struct seq_file f;

	if (!s->finished)
		return -EAGAIN;
	seq_init(&f, buf, size);
	if (!s->head) {
		seq_printf(&f,
			   "# tracer: function_graph\n#\n"
			   "# %u of %u packets%s%s; %u lost\n#\n"
			   "# CPU  DURATION                  FUNCTION CALLS\n"
			   "# |     |   |                     |   |   |   |\n",
			   journey_started(), s->n, s->match[0] ? ", match " : "", s->match,
			   lost(s));
		s->head = true;
	}
	for (; s->shown < journey_started(); s->shown++) {
		seq_begin(&f);
		print_record(&f, s->shown);
		if (!seq_end(&f))
			break;
	}
	return (int)f.len;
}

DEBUGFS_FILE(journey_text) = {
	.path = "/journey",
	.type = "text/plain; charset=utf-8",
	.open = journey_open,
	.read = text_read,
	.release = journey_close,
};

/* ---- Chrome trace format: "X" events, times in microseconds ---- */

static void print_event(struct seq_file *s, u32 tid, u64 from, u64 to)
{
	seq_printf(s, "\"ph\":\"X\",\"pid\":1,\"tid\":%u,\"ts\":%lu.%03lu,\"dur\":%lu.%03lu", tid,
		   from / 1000, from % 1000, (to - from) / 1000, (to - from) % 1000);
}

/* The packet as a whole, and in it each stage up to the next. */
static void print_json(struct seq_file *s, u32 i)
{
	const struct journey *j = journey_get(i);
	u8 stage[NR_JOURNEY_STAGES];
	u32 n = stages_of(j, stage);

	seq_printf(s, "%s{\"name\":\"", i ? ",\n" : "\n");
	print_packet(s, j);
	seq_printf(s, "\",\"cat\":\"packet\",");
	print_event(s, i + 1, n ? ns_of(j, stage[0]) : 0, n ? ns_of(j, stage[n - 1]) : 0);
	seq_printf(s,
		   ",\"args\":{\"packet\":%u,\"bytes\":%u,\"merged\":%u,\"sent\":%s,\"tx_only\":%s,"
		   "\"gro_merged\":%s,\"dropped\":%s,\"done\":%s}}",
		   i + 1, j->len, j->merged, j->flags & JOURNEY_SENT ? "true" : "false",
		   j->flags & JOURNEY_TX_ONLY ? "true" : "false",
		   j->flags & JOURNEY_MERGED ? "true" : "false",
		   j->flags & JOURNEY_DROPPED ? "true" : "false",
		   j->flags & JOURNEY_DONE ? "true" : "false");
	for (u32 k = 0; k < n; k++) {
		seq_printf(s, ",\n{\"name\":\"%s\",\"cat\":\"stage\",", journey_function[stage[k]]);
		print_event(s, i + 1, ns_of(j, stage[k]), ns_of(j, stage[k + 1 < n ? k + 1 : k]));
		seq_printf(s, ",\"args\":{\"packet\":%u,\"stage\":\"%s\"}}", i + 1,
			   journey_name[stage[k]]);
	}
}

static int json_read(struct debugfs_reader *r, char *buf, size_t size)
{
	struct journey_session *s = r->private;
	struct seq_file f;

	if (!s->finished)
		return -EAGAIN;
	seq_init(&f, buf, size);
	if (!s->head) {
		seq_printf(
			&f,
			"{\"displayTimeUnit\":\"ns\",\"otherData\":{\"wanted\":%u,\"packets\":%u,"
			"\"lost\":%u},\n\"traceEvents\":[",
			s->n, journey_started(), lost(s));
		s->head = true;
	}
	for (; s->shown < journey_started(); s->shown++) {
		seq_begin(&f);
		print_json(&f, s->shown);
		if (!seq_end(&f))
			break;
	}
	if (s->shown == journey_started() && !s->tail) {
		seq_begin(&f);
		seq_printf(&f, "\n]}\n");
		s->tail = seq_end(&f);
	}
	return (int)f.len;
}

DEBUGFS_FILE(journey_json) = {
	.path = "/journey.json",
	.type = "application/json",
	.open = journey_open,
	.read = json_read,
	.release = journey_close,
};

/* ---- percentiles ---- */

/* The k-th smallest of v[0..n): Hoare's selection. Changes their order. */
static u32 kth(u32 *v, u32 n, u32 k)
{
	u32 lo = 0, hi = n - 1;

	while (lo < hi) {
		u32 pivot = v[lo + (hi - lo) / 2], i = lo, j = hi;

		for (;;) {
			while (v[i] < pivot)
				i++;
			while (v[j] > pivot)
				j--;
			if (i >= j)
				break;
			u32 t = v[i];

			v[i++] = v[j];
			v[j--] = t;
		}
		if (k <= j)
			hi = j;
		else
			lo = j + 1;
	}
	return v[k];
}

/* From each record that came by this stage and another after it: the time between. */
static void print_stage(struct seq_file *s, u8 which)
{
	u32 *v = journey_scratch(), n = 0, most;
	u8 stage[NR_JOURNEY_STAGES];

	for (u32 i = 0; i < journey_started(); i++) {
		const struct journey *j = journey_get(i);
		u32 stages = stages_of(j, stage);

		for (u32 k = 0; k + 1 < stages; k++)
			if (stage[k] == which)
				v[n++] = (u32)min(ns_of(j, stage[k + 1]) - ns_of(j, which),
						  (u64)~0u);
	}
	if (!n) {
		seq_printf(s, "%-10s %8u %10s %10s %10s\n", journey_name[which], 0, "-", "-", "-");
		return;
	}
	most = kth(v, n, n - 1);
	seq_printf(s, "%-10s %8u %10u %10u %10u\n", journey_name[which], n, kth(v, n, n / 2),
		   kth(v, n, min(n * 99 / 100, n - 1)), most);
}

static int histogram_read(struct debugfs_reader *r, char *buf, size_t size)
{
	struct journey_session *s = r->private;
	struct seq_file f;

	if (!s->finished)
		return -EAGAIN;
	seq_init(&f, buf, size);
	if (!s->head) {
		seq_printf(
			&f,
			"# %u of %u packets; %u lost; nanoseconds from each stage to the packet's next\n"
			"%-10s %8s %10s %10s %10s\n",
			journey_started(), s->n, lost(s), "stage", "count", "p50", "p99", "max");
		s->head = true;
		return (int)f.len;
	}
	/* One stage at a time: sorting takes a while. */
	if (s->shown < NR_JOURNEY_STAGES)
		print_stage(&f, (u8)s->shown++);
	return (int)f.len;
}

DEBUGFS_FILE(journey_histogram) = {
	.path = "/journey/histogram",
	.type = "text/plain; charset=utf-8",
	.open = journey_open,
	.read = histogram_read,
	.release = journey_close,
};
