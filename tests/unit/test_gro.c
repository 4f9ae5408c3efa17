/*
 * net/gro.c alone: each of Linux's rules by a pair of segments, and the property that whatever
 * comes, every flow's bytes leave in the order and number they came in.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/test.h"

#include "kernel/lib/byteorder.h"
#include "net/checksum.h"
#include "net/inet_hdr.h"
#include "net/netdevice.h"
#include "tests/fake/fake_kernel.h"

#define PUSH (TCP_FLAG_ACK | TCP_FLAG_PSH)

static struct net_device dev;
static struct napi_struct napi;
static struct pkt_pool pool;

/* ---- what came out ---- */

static struct {
	u8 frame[70000]; /* all pieces */
	u32 len, segs;
	bool verified;
} out[4096];
static u32 nr_out;

static void stack_receive(struct pkt_buf *pkt)
{
	u32 at = 0;

	assert_true(nr_out < ARRAY_SIZE(out));
	for (const struct pkt_buf *p = pkt; p; p = p->frag_list) {
		u32 n = p->len - p->data_len;

		assert_true(at + n <= sizeof(out[0].frame));
		memcpy(out[nr_out].frame + at, p->data, n);
		at += n;
	}
	assert_int_equal(at, pkt->len);
	out[nr_out].len = at;
	out[nr_out].segs = pkt_segs(pkt);
	out[nr_out++].verified = pkt->ip_summed == CHECKSUM_UNNECESSARY;
	pkt_free(pkt);
}

static void stack_ignore(struct net_device *d)
{
	(void)d;
}

static const struct net_stack_ops stack = { stack_ignore, stack_receive, stack_ignore, NULL };

/* ---- what goes in ---- */

struct segment {
	bool v6;
	u8 flow; /* which ports */
	u32 seq, ack, len;
	u16 window, id, frag_off;
	u8 flags, tos, ttl;
	u8 options[12];
	u32 opt_len;
	u32 pad;    /* bytes behind the packet in its frame */
	bool wrong; /* checksum */
	u8 smac;
};

/* The byte at a place in a flow's stream. */
static u8 stream(u8 flow, u32 seq)
{
	return (u8)(seq * 31 + (seq >> 8) * 7 + flow);
}

static u32 build(u8 *f, const struct segment *s)
{
	u32 hlen = 20 + s->opt_len, tlen = hlen + s->len, thoff = s->v6 ? 54 : 34;
	struct tcphdr *th = (struct tcphdr *)(f + thoff);
	u32 sum = (u32)cpu_to_be16((u16)tlen) + cpu_to_be16(IPPROTO_TCP);

	memset(f, 0, thoff + hlen);
	f[11] = s->smac;
	f[12] = s->v6 ? 0x86 : 0x08;
	f[13] = s->v6 ? 0xdd : 0x00;
	if (s->v6) {
		struct ipv6hdr *h = (struct ipv6hdr *)(f + 14);

		h->flow = cpu_to_be32(0x60000000u | (u32)s->tos << 20);
		h->payload_len = cpu_to_be16((u16)tlen);
		h->nexthdr = IPPROTO_TCP;
		h->hop_limit = s->ttl;
		h->saddr[15] = 1;
		h->daddr[15] = 2;
		sum = csum_partial(h->saddr, 32, sum);
	} else {
		struct iphdr *h = (struct iphdr *)(f + 14);

		*h = (struct iphdr){ .version_ihl = 0x45,
				     .tos = s->tos,
				     .tot_len = cpu_to_be16((u16)(20 + tlen)),
				     .id = cpu_to_be16(s->id),
				     .frag_off = cpu_to_be16(s->frag_off),
				     .ttl = s->ttl,
				     .protocol = IPPROTO_TCP,
				     .saddr = 0x0102000a,
				     .daddr = 0x0202000a };
		h->check = csum_fold(csum_partial(h, sizeof(*h), 0));
		sum = csum_partial(&h->saddr, 8, sum);
	}
	th->source = cpu_to_be16(4000);
	th->dest = cpu_to_be16(7 + s->flow);
	th->seq = cpu_to_be32(s->seq);
	th->ack_seq = cpu_to_be32(s->ack);
	th->doff = (u8)(hlen / 4 << 4);
	th->flags = s->flags;
	th->window = cpu_to_be16(s->window);
	memcpy(th + 1, s->options, s->opt_len);
	for (u32 i = 0; i < s->len; i++)
		f[thoff + hlen + i] = stream(s->flow, s->seq + i);
	th->check = csum_fold(csum_partial(th, tlen, sum));
	if (s->wrong)
		f[thoff + 16] ^= 0x55;
	memset(f + thoff + tlen, 0xee, s->pad);
	return thoff + tlen + s->pad;
}

static void give(const struct segment *s)
{
	struct pkt_buf *pkt = pkt_alloc_rx(&pool);

	assert_non_null(pkt);
	pkt->dev = &dev;
	pkt->len = build(pkt->data, s);
	napi_gro_receive(&napi, pkt);
}

static const struct segment plain = { .flow = 0,
				      .seq = 1000,
				      .ack = 5,
				      .len = 100,
				      .window = 1000,
				      .id = 7,
				      .frag_off = IP_DF,
				      .flags = TCP_FLAG_ACK,
				      .ttl = 64 };

static struct segment next_of(const struct segment *s)
{
	struct segment n = *s;

	n.seq += n.len;
	n.id++;
	return n;
}

static int setup(void **state)
{
	(void)state;
	fake_kernel_reset();
	nr_out = 0;
	memset(&dev, 0, sizeof(dev));
	dev.gro = true;
	netif_napi_add(&dev, &napi, NULL, 64);
	netdev_set_stack(&stack);
	return pkt_pool_init(&pool, "rx", 2000, 600);
}

static int teardown(void **state)
{
	(void)state;
	napi_gro_flush(&napi);
	netdev_set_stack(NULL);
	pkt_pool_exit(&pool); /* all are back */
	return 0;
}

/* Bytes of the packet behind the Ethernet header. */
static u32 ip_len(const u8 *f)
{
	return f[12] == 0x86 ? get_unaligned_be16(f + 18) + 40u : get_unaligned_be16(f + 16);
}

/* A merged packet is one that could have been sent so: lengths, checksum of the IP header, bytes.
 */
static void assert_sound(u32 i)
{
	const u8 *f = out[i].frame;
	bool v6 = f[12] == 0x86;
	u32 thoff = v6 ? 54 : 34;
	u32 len = ip_len(f);
	u32 hlen = (f[thoff + 12] >> 4) * 4u, seq = get_unaligned_be32(f + thoff + 4);

	if (out[i].segs == 1)
		return;
	assert_int_equal(len, out[i].len - 14);
	if (!v6)
		assert_int_equal(csum_fold(csum_partial(f + 14, 20, 0)), 0);
	assert_true(out[i].verified);
	for (u32 n = 0; n < out[i].len - thoff - hlen; n++)
		assert_int_equal(f[thoff + hlen + n], stream((u8)(f[thoff + 3] - 7), seq + n));
}

/* ---- merges ---- */

static void test_in_order(void **state)
{
	static const bool v6[] = { false, true };

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(v6); i++) {
		struct segment s = plain;

		nr_out = 0;
		s.v6 = v6[i];
		for (u32 n = 0; n < 10; n++, s = next_of(&s)) {
			give(&s);
			assert_int_equal(nr_out, 0);
		}
		napi_gro_flush(&napi);
		assert_int_equal(nr_out, 1);
		assert_int_equal(out[0].segs, 10);
		assert_sound(0);
	}
	assert_int_equal(dev.stats.rx_packets, 20);
	assert_int_equal(dev.stats.rx_gro_merged, 18);
	assert_int_equal(dev.stats.rx_bytes, 10 * (54 + 100) + 10 * (74 + 100));
}

/* PSH, FIN and a short one end it, and the first two are seen in the merged header. */
static void test_last_of_a_burst(void **state)
{
	static const struct {
		u8 flags;
		u32 len;
	} last[] = { { PUSH, 100 }, { TCP_FLAG_ACK | TCP_FLAG_FIN, 100 }, { TCP_FLAG_ACK, 99 } };

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(last); i++) {
		struct segment s = plain;

		nr_out = 0;
		give(&s);
		s = next_of(&s);
		s.flags = last[i].flags;
		s.len = last[i].len;
		give(&s);
		assert_int_equal(napi.gro_count, 0);
		napi_gro_flush(&napi);
		assert_int_equal(nr_out, 1);
		assert_int_equal(out[0].segs, 2);
		assert_int_equal(out[0].frame[47], last[i].flags);
		assert_sound(0);
	}
}

static void test_size_limit(void **state)
{
	struct segment s = plain;

	(void)state;
	s.len = 1460;
	for (u32 i = 0; i < 100; i++, s = next_of(&s))
		give(&s);
	napi_gro_flush(&napi);
	assert_int_equal(nr_out, 3);
	assert_int_equal(out[0].segs, 44);
	assert_true(out[0].len <= 65535);
	for (u32 i = 0; i < nr_out; i++)
		assert_sound(i);
}

/* ---- does not merge ---- */

/* The second segment, after a change that must keep it apart. */
static void apart(const struct segment *first, const struct segment *second)
{
	u8 one[2000], two[2000];
	u32 len1 = build(one, first), len2 = build(two, second);

	nr_out = 0;
	give(first);
	give(second);
	napi_gro_flush(&napi);
	assert_int_equal(nr_out, 2);
	/* In order, and untouched. */
	assert_int_equal(out[0].len, len1);
	assert_memory_equal(out[0].frame, one, len1);
	assert_int_equal(out[1].len, len2);
	assert_memory_equal(out[1].frame, two, len2);
	assert_int_equal(out[0].segs, 1);
	assert_int_equal(out[1].segs, 1);
}

#define APART(v6_, change)                   \
	do {                                 \
		struct segment a = plain, b; \
                                             \
		a.v6 = v6_;                  \
		b = next_of(&a);             \
		change;                      \
		apart(&a, &b);               \
	} while (0)

static void test_rules(void **state)
{
	(void)state;
	for (u32 v6 = 0; v6 < 2; v6++) {
		APART(v6, b.seq++);
		APART(v6, b.seq--);
		APART(v6, b.seq = a.seq);
		APART(v6, b.ack++);
		APART(v6, b.window++);
		APART(v6, b.tos = 3);
		APART(v6, b.ttl--);
		APART(v6, b.len = 101);
		APART(v6, b.len = 0);
		APART(v6, b.wrong = true);
		APART(v6, a.wrong = true);
		APART(v6, a.flags = PUSH);
		APART(v6, b.smac = 1);
		APART(v6, b.pad = 6);
		APART(v6, b.flags |= TCP_FLAG_URG);
		APART(v6, b.flags |= TCP_FLAG_RST);
		APART(v6, b.flags |= TCP_FLAG_SYN);
		APART(v6, b.flags |= TCP_FLAG_ECE);
		APART(v6, b.flags |= TCP_FLAG_CWR);
		APART(v6, b.flags = 0);
		APART(v6, a.flags = b.flags = 0);
		APART(v6, b.opt_len = 4; memset(b.options, 1, 4));
		APART(v6, a.opt_len = b.opt_len = 12; memset(a.options, 1, 12);
		      memset(b.options, 1, 12); b.options[7] = 2);
	}
	APART(false, b.id = a.id + 2);
	APART(false, a.frag_off = b.frag_off = 0; b.id = a.id);
	APART(false, b.frag_off = 0);
}

/* A fragment has no ports to know its flow by; it may overtake. */
static void test_fragments_pass(void **state)
{
	static const u16 frag_off[] = { 0x2000, 5, 0x2005 };

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(frag_off); i++) {
		struct segment a = plain, b = next_of(&a);

		b.frag_off = frag_off[i];
		nr_out = 0;
		give(&a);
		give(&b);
		napi_gro_flush(&napi);
		assert_int_equal(nr_out, 2);
		assert_int_equal(out[0].segs + out[1].segs, 2);
	}
}

/* RFC 6864: with DF the identification may stand still; without, it must count. */
static void test_identification(void **state)
{
	struct segment a = plain, b = next_of(&a);

	(void)state;
	b.id = a.id;
	give(&a);
	give(&b);
	napi_gro_flush(&napi);
	assert_int_equal(nr_out, 1);
	nr_out = 0;
	a.frag_off = 0;
	b = next_of(&a);
	give(&a);
	give(&b);
	napi_gro_flush(&napi);
	assert_int_equal(nr_out, 1);
}

static void test_off(void **state)
{
	struct segment a = plain, b = next_of(&a);

	(void)state;
	dev.gro = false;
	give(&a);
	give(&b);
	napi_gro_flush(&napi);
	assert_int_equal(nr_out, 2);
	assert_false(out[0].verified);
}

/* What it has verified nobody verifies again; what the device has, GRO does not. */
static void test_verified_once(void **state)
{
	struct segment a = plain;
	struct pkt_buf *pkt;

	(void)state;
	a.flags = PUSH;
	give(&a);
	a.len = 0;
	give(&a);
	a.len = 100;
	a.wrong = true;
	give(&a);
	pkt = pkt_alloc_rx(&pool);
	pkt->dev = &dev;
	pkt->len = build(pkt->data, &a);
	pkt->ip_summed = CHECKSUM_UNNECESSARY;
	napi_gro_receive(&napi, pkt);
	napi_gro_flush(&napi);
	assert_int_equal(nr_out, 4);
	assert_true(out[0].verified);
	assert_false(out[1].verified);
	assert_false(out[2].verified);
	assert_true(out[3].verified);
}

/* The device's word is about TCP's checksum: a wrong IP header is not merged, which would mend it.
 */
static void test_ip_header_is_checked(void **state)
{
	struct segment s = plain;

	(void)state;
	for (u32 i = 0; i < 4; i++) {
		struct pkt_buf *pkt = pkt_alloc_rx(&pool);

		pkt->dev = &dev;
		pkt->len = build(pkt->data, &s);
		pkt->ip_summed = CHECKSUM_UNNECESSARY;
		if (i % 2)
			pkt->data[24] ^= 0x55; /* the IP header's checksum */
		napi_gro_receive(&napi, pkt);
		s = next_of(&s);
	}
	napi_gro_flush(&napi);
	assert_int_equal(nr_out, 4);
	for (u32 i = 0; i < 4; i++)
		assert_int_equal(!csum_fold(csum_partial(out[i].frame + 14, 20, 0)), i % 2 == 0);
}

/* What the device merged passes as it is, behind what is held of any flow; and is never held. */
static void test_merged_by_the_device(void **state)
{
	struct segment s = plain, other = plain;
	struct pkt_buf *pkt, *piece;

	(void)state;
	other.flow = 1;
	give(&other);
	give(&s);
	s = next_of(&s);
	s.len = 1200;
	pkt = pkt_alloc_rx(&pool);
	pkt->dev = &dev;
	pkt->len = build(pkt->data, &s);
	pkt->ip_summed = CHECKSUM_UNNECESSARY;
	pkt->gso_size = 100;
	piece = pkt_alloc_rx(&pool);
	memcpy(piece->data, pkt->data + 1000, pkt->len - 1000);
	piece->len = pkt->data_len = pkt->len - 1000;
	pkt->frag_list = piece;
	napi_gro_receive(&napi, pkt);
	s = next_of(&s);
	s.len = 100;
	give(&s);
	napi_gro_flush(&napi);
	assert_int_equal(nr_out, 4);
	assert_int_equal(out[0].frame[37], 8); /* the port */
	assert_int_equal(out[1].frame[37], 7);
	assert_int_equal(out[2].len, 14 + 20 + 20 + 1200);
	assert_int_equal(out[3].len, 14 + 20 + 20 + 100);
}

/* Frames of every length, cut from good ones: none is read past its end (ASan), none is merged. */
static void test_cut_frames(void **state)
{
	static const bool v6[] = { false, true };

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(v6); i++) {
		struct segment s = plain;
		u8 whole[300];
		u32 len;

		s.v6 = v6[i];
		len = build(whole, &s);
		for (u32 n = ETH_HLEN; n < len; n++) {
			size_t head = sizeof(struct pkt_buf);
			struct pkt_buf *pkt = malloc(head + n);

			memset(pkt, 0, head);
			pkt->dev = &dev;
			pkt->destructor = (void (*)(struct pkt_buf *))(void (*)(void))free;
			pkt->data = (u8 *)pkt + head;
			pkt->len = n;
			memcpy(pkt->data, whole, n);
			nr_out = 0;
			napi_gro_receive(&napi, pkt);
			assert_int_equal(napi.gro_count, 0);
			napi_gro_flush(&napi);
			assert_int_equal(nr_out, 1);
		}
	}
}

/* ---- the property ---- */

#define FLOWS 12 /* more than are held at once */

static u32 rnd_state;

static u32 rnd(u32 below)
{
	rnd_state = rnd_state * 1664525u + 1013904223u;
	return (u32)((u64)(rnd_state >> 8) * below >> 24);
}

/* Per flow, what came in: start and length of each run of payload bytes, in order. */
static struct run {
	u32 seq, len;
} in_runs[FLOWS][4096];
static u32 nr_in[FLOWS];

/* The bytes of flow in the outputs, one by one, are the inputs' in the same order. */
static void assert_same_streams(void)
{
	for (u32 flow = 0; flow < FLOWS; flow++) {
		u32 run = 0, at = 0;

		for (u32 i = 0; i < nr_out; i++) {
			const u8 *f = out[i].frame;
			u32 thoff = f[12] == 0x86 ? 54 : 34;
			u32 hlen = (f[thoff + 12] >> 4) * 4u;
			u32 seq = get_unaligned_be32(f + thoff + 4);
			u32 len = ip_len(f) + 14 - thoff - hlen;

			if (f[thoff + 3] != 7 + flow)
				continue;
			for (u32 n = 0; n < len; n++) {
				while (run < nr_in[flow] && in_runs[flow][run].len == at) {
					run++;
					at = 0;
				}
				assert_true(run < nr_in[flow]);
				assert_int_equal(seq + n, in_runs[flow][run].seq + at);
				assert_int_equal(f[thoff + hlen + n], stream((u8)flow, seq + n));
				at++;
			}
		}
		while (run < nr_in[flow] && in_runs[flow][run].len == at) {
			run++;
			at = 0;
		}
		assert_int_equal(run, nr_in[flow]);
	}
}

static void test_streams_stay_whole(void **state)
{
	u64 merged = 0;

	(void)state;
	for (u32 round = 0; round < 300; round++) {
		struct segment s[FLOWS];
		u32 frames = 0, seen = 0;

		rnd_state = round;
		nr_out = 0;
		memset(nr_in, 0, sizeof(nr_in));
		for (u32 i = 0; i < FLOWS; i++) {
			s[i] = plain;
			s[i].flow = (u8)i;
			s[i].v6 = i & 1;
			s[i].seq = rnd(2) ? 0xffffff00u : rnd(1u << 24); /* some wrap */
			s[i].len = 1 + rnd(round & 1 ? 1400 : 20);
		}
		while (frames < 400) {
			u32 i = rnd(FLOWS), burst = 1 + rnd(12);

			for (; burst; burst--, frames++) {
				struct segment one = s[i];

				s[i] = next_of(&s[i]);
				switch (rnd(24)) {
				case 0: /* lost */
					continue;
				case 1: /* again, or out of order */
					one.seq -= one.len * rnd(3);
					break;
				case 2:
					one.flags |= (u8)(1u << rnd(8));
					break;
				case 3:
					one.len = rnd(one.len + 1);
					s[i].seq = one.seq + one.len;
					break;
				case 4:
					s[i].ack += one.ack += rnd(3);
					break;
				case 5:
					one.wrong = true;
					break;
				case 6:
					one.opt_len = 4 * rnd(3);
					memset(one.options, 1, one.opt_len);
					break;
				case 7:
					one.pad = rnd(8);
					break;
				case 8:
					napi_gro_flush(&napi);
					break;
				default:
					break;
				}
				in_runs[i][nr_in[i]++] = (struct run){ one.seq, one.len };
				give(&one);
				seen++;
			}
		}
		napi_gro_flush(&napi);
		assert_int_equal(pool.used, 0);
		assert_same_streams();
		for (u32 i = 0; i < nr_out; i++) {
			assert_sound(i);
			merged += out[i].segs - 1;
			seen -= out[i].segs;
		}
		assert_int_equal(seen, 0);
	}
	assert_true(merged > 10000);
	assert_int_equal(merged, dev.stats.rx_gro_merged);
}

int main(void)
{
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	static const struct CMUnitTest tests[] = {
		T(test_in_order),      T(test_last_of_a_burst),      T(test_size_limit),
		T(test_rules),         T(test_identification),       T(test_fragments_pass),
		T(test_off),           T(test_cut_frames),           T(test_streams_stay_whole),
		T(test_verified_once), T(test_ip_header_is_checked), T(test_merged_by_the_device),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
