#include "tests/unit/tso_peer.h"

#include <stdlib.h>
#include <string.h>

#include "kernel/lib/byteorder.h"
#include "kernel/time.h"
#include "net/lwip/glue.h"
#include "tests/fake/fake_kernel.h"

#include "lwip/nd6.h"
#include "lwip/tcp.h"

#define FIN 1
#define SYN 2
#define RST 4
#define PSH 8
#define ACK 16
#define WSCALE 3 /* the peer's windows are multiples of 8 */

u8 stream[STREAM];
struct tso_app app;
struct tso_peer peer;
u32 rnd_state;

u32 rnd(u32 below)
{
	rnd_state = rnd_state * 1664525u + 1013904223u;
	return (u32)((u64)(rnd_state >> 8) * below >> 24);
}

static void put16(u8 *p, u32 v)
{
	p[0] = (u8)(v >> 8);
	p[1] = (u8)v;
}

static void put32(u8 *p, u32 v)
{
	put16(p, v >> 16);
	put16(p + 2, v);
}

/* ---- the guest's side ---- */

void app_write(void)
{
	while (app.pcb && app.written < app.total) {
		u32 n = min(app.total - app.written, (u32)tcp_sndbuf(app.pcb));

		if (app.chunk)
			n = min(n, app.chunk);
		n = min(n, 65535u);
		if (!n || tcp_write(app.pcb, stream + app.written, (u16_t)n, app.how) != ERR_OK)
			break;
		app.written += n;
	}
	if (app.pcb && app.close && app.written == app.total) {
		struct tcp_pcb *pcb = app.pcb;

		app.pcb = NULL;
		tcp_shutdown(pcb, 0, 1);
		app.pcb = pcb;
		app.close = false;
	}
	if (app.pcb)
		tcp_output(app.pcb);
}

static err_t on_sent(void *arg, struct tcp_pcb *pcb, u16_t len)
{
	(void)arg;
	(void)pcb;
	app.acknowledged += len;
	app_write();
	return ERR_OK;
}

static void on_err(void *arg, err_t err)
{
	(void)arg;
	(void)err;
	app.pcb = NULL;
	app.failed = true;
}

static err_t on_accept(void *arg, struct tcp_pcb *pcb, err_t err)
{
	(void)arg;
	(void)err;
	app.pcb = pcb;
	tcp_sent(pcb, on_sent);
	tcp_err(pcb, on_err);
	return ERR_OK;
}

int tso_end(void **state)
{
	peer_end();
	return fx_end(state);
}

/* ---- the wire: a network that checks ---- */

static u32 pseudo(const u8 *f, u32 len)
{
	bool v6 = f[12] == 0x86;
	const u8 *addrs = f + 14 + (v6 ? 8 : 12);
	u32 sum = 6 + len;

	for (u32 i = 0; i < (v6 ? 32u : 8u); i += 2)
		sum += get_unaligned_be16(addrs + i);
	return sum;
}

static u32 l4_of(const u8 *f)
{
	return f[12] == 0x86 ? 54 : 34;
}

/* Right lengths and checksums, no longer than the MTU. */
static void check_piece(const u8 *f, u32 len)
{
	u32 l4 = l4_of(f);

	assert_true(len <= fx_dev.mtu + 14u);
	if (l4 == 34) {
		assert_int_equal(get_unaligned_be16(f + 16), len - 14);
		assert_int_equal(fx_sum(f + 14, 20, 0), 0);
	} else {
		assert_int_equal(get_unaligned_be16(f + 18), len - 54);
	}
	assert_int_equal(fx_sum(f + l4, len - l4, pseudo(f, len - l4)), 0);
}

void device_cut(const struct fx_frame *f, void (*piece)(const u8 *frame, u32 len))
{
	u32 l4 = l4_of(f->bytes), hlen = l4 + (f->bytes[l4 + 12] >> 4) * 4u, i = 0;
	u8 *b = malloc(f->len), flags = f->bytes[l4 + 13];

	memcpy(b, f->bytes, f->len);
	/* A window's probe is no segment, and has its sum. */
	if (f->len > hlen + 1 || !(fx_dev.features & NETIF_F_HW_CSUM))
		assert_int_equal(f->ip_summed == CHECKSUM_PARTIAL,
				 !!(fx_dev.features & NETIF_F_HW_CSUM));
	if (f->ip_summed == CHECKSUM_PARTIAL) {
		assert_int_equal(f->csum_start, l4);
		assert_int_equal(f->csum_offset, 16);
		/* The sum as the device makes it, over what stands in its place. */
		put16(b + l4 + 16, fx_sum(b + l4, f->len - l4, 0));
		assert_int_equal(fx_sum(b + l4, f->len - l4, pseudo(b, f->len - l4)), 0);
	}
	if (!f->gso_size) {
		check_piece(b, f->len);
		piece(b, f->len);
		free(b);
		return;
	}
	assert_true(fx_dev.features & (l4 == 34 ? NETIF_F_TSO : NETIF_F_TSO6));
	assert_int_equal(f->gso_hlen, hlen);
	assert_true(f->len > hlen + f->gso_size && f->len <= 65549);
	for (u32 at = hlen; at < f->len; at += f->gso_size, i++) {
		u32 n = min((u32)f->gso_size, f->len - at), len = hlen + n;
		u8 *p = malloc(len);

		memcpy(p, f->bytes, hlen);
		memcpy(p + hlen, f->bytes + at, n);
		if (l4 == 34) {
			put16(p + 16, len - 14);
			put16(p + 18, get_unaligned_be16(p + 18) + i);
			put16(p + 24, 0);
			put16(p + 24, fx_sum(p + 14, 20, 0));
		} else {
			put16(p + 18, len - 54);
		}
		put32(p + l4 + 4, get_unaligned_be32(p + l4 + 4) + (at - hlen));
		if (at + n < f->len)
			p[l4 + 13] = flags & (u8) ~(FIN | PSH);
		put16(p + l4 + 16, 0);
		put16(p + l4 + 16, fx_sum(p + l4, len - l4, pseudo(p, len - l4)));
		check_piece(p, len);
		piece(p, len);
		free(p);
	}
	free(b);
}

/* ---- the receiver ---- */

static void peer_sends(u8 flags, const u8 *options, u32 opt_len)
{
	u8 seg[64] = { 0 }, buf[256];
	u32 hlen = 20 + opt_len, sum = 6 + hlen;
	u32 ack = flags & SYN ? 0 : peer.base + peer.next + (peer.fin && peer.next == app.total);

	put16(seg, 4000);
	put16(seg + 2, 99);
	put32(seg + 4, peer.seq);
	put32(seg + 8, ack);
	seg[12] = (u8)(hlen / 4 << 4);
	seg[13] = flags;
	/* RFC 7323, 2.2: not scaled in a SYN. */
	put16(seg + 14, flags & SYN ? min(peer.window, 65535u) : peer.window >> WSCALE);
	if (opt_len)
		memcpy(seg + 20, options, opt_len);
	if (peer.v6) {
		for (u32 i = 0; i < 16; i += 2)
			sum += get_unaligned_be16(fx_peer_ip6 + i) +
			       get_unaligned_be16(fx_guest_ip6 + i);
		put16(seg + 16, fx_sum(seg, hlen, sum));
		fx_rx(buf, fx_ip6(buf, 6, seg, hlen));
	} else {
		sum += (PEER_IP >> 16) + (PEER_IP & 0xffff) + (GUEST_IP >> 16) +
		       (GUEST_IP & 0xffff);
		put16(seg + 16, fx_sum(seg, hlen, sum));
		fx_rx(buf, fx_ip4(buf, 6, 1, 0, seg, hlen));
	}
	peer.seq += !!(flags & SYN);
}

void peer_ack(void)
{
	u32 end = peer.next + (peer.window & ~7u);

	if ((s32)(end - peer.end) > 0)
		peer.end = end;
	peer.owed = 0;
	peer_sends(ACK, NULL, 0);
}

static void take(u32 at, const u8 *data, u32 len)
{
	assert_true(at + len <= app.total);
	assert_memory_equal(data, stream + at, len);
	for (u32 i = at; i < at + len; i++) {
		peer.twice += peer.have[i];
		peer.have[i] = 1;
	}
	while (peer.next < app.total && peer.have[peer.next])
		peer.next++;
}

static void receive(const u8 *f, u32 len)
{
	u32 l4 = l4_of(f), hlen = l4 + (f[l4 + 12] >> 4) * 4u, at, n = len - hlen;
	bool in_order;

	if (f[l4 + 13] & SYN) {
		peer.base = get_unaligned_be32(f + l4 + 4) + 1;
		return;
	}
	assert_false(f[l4 + 13] & RST);
	at = get_unaligned_be32(f + l4 + 4) - peer.base;
	if (!n && !(f[l4 + 13] & FIN))
		return;
	peer.pieces++;
	peer.largest_piece = max(peer.largest_piece, n);
	/* A probe of a closed window is one byte beyond it. */
	assert_true(at + n <= peer.end || n == 1);
	if (at < peer.highest)
		peer.retransmitted += min(n, peer.highest - at);
	peer.highest = max(peer.highest, at + n);
	if (peer.lost && peer.lost(at, n))
		return;
	if (f[l4 + 13] & FIN) {
		assert_int_equal(at + n, app.total);
		peer.fin = true;
	}
	in_order = at == peer.next && peer.next + n == peer.highest;
	if (at + n <= peer.end)
		take(at, f + hlen, n);
	peer.owed++;
	/* RFC 5681, 4.2: at once, if there is a hole; else it may wait for more. */
	if (!peer.silent && (!in_order || peer.owed == 4))
		peer_ack();
}

static bool is_tcp(const struct fx_frame *f)
{
	return f->bytes[12] == 0x86 ? f->bytes[20] == 6 : f->bytes[13] == 0 && f->bytes[23] == 6;
}

/* RFC 826 and neighbour discovery (RFC 4861, 4.4): where the peer is. */
static void answer(const struct fx_frame *f)
{
	u8 na[32] = { 136, 0, 0, 0, 0x60 }, buf[128];
	u32 sum = 58 + sizeof(na);

	if (f->bytes[13] == 0x06) {
		fx_arp_request(buf, PEER_IP, GUEST_IP);
		buf[21] = 2;
		memcpy(buf + 32, fx_guest_mac, 6);
		fx_rx(buf, 42);
		return;
	}
	if (f->bytes[12] != 0x86 || f->bytes[20] != 58 || f->bytes[54] != 135)
		return;
	memcpy(na + 8, fx_peer_ip6, 16);
	na[24] = 2;
	na[25] = 1;
	memcpy(na + 26, fx_peer_mac, 6);
	for (u32 i = 0; i < 16; i += 2)
		sum += get_unaligned_be16(fx_peer_ip6 + i) + get_unaligned_be16(fx_guest_ip6 + i);
	put16(na + 2, fx_sum(na, sizeof(na), sum));
	fx_rx(buf, fx_ip6(buf, 58, na, sizeof(na)));
}

void peer_run(void)
{
	static struct fx_frame batch[ARRAY_SIZE(fx_tx)];

	while (fx_nr_tx) {
		u32 n = fx_nr_tx;

		fx_complete();
		memcpy(batch, fx_tx, n * sizeof(*batch));
		fx_nr_tx = 0;
		for (u32 i = 0; i < n; i++) {
			if (is_tcp(&batch[i])) {
				u32 l4 = l4_of(batch[i].bytes);
				u32 hlen = l4 + (batch[i].bytes[l4 + 12] >> 4) * 4u;

				peer.frames++;
				peer.largest = max(peer.largest, batch[i].len - hlen);
				device_cut(&batch[i], receive);
			} else {
				answer(&batch[i]);
			}
			free(batch[i].bytes);
		}
		if (peer.owed && !peer.silent)
			peer_ack();
	}
}

void peer_finish(u32 seconds)
{
	for (u32 i = 0; i < 10 * seconds; i++) {
		app_write();
		peer_run();
		if (app.acknowledged == app.total || app.failed)
			break;
		fake_time_advance(100 * NSEC_PER_MSEC);
	}
	peer_check();
}

void peer_check(void)
{
	assert_false(app.failed);
	assert_int_equal(peer.next, app.total);
	assert_int_equal(app.acknowledged, app.total);
	assert_int_equal(app.pcb->snd_buf, TCP_SND_BUF);
	assert_int_equal(app.pcb->snd_queuelen, 0);
	assert_int_equal(app.pcb->acked_early, 0);
	assert_null(app.pcb->unsent);
	assert_null(app.pcb->unacked);
}

void peer_connect(bool v6, u32 window, u32 total)
{
	static const u8 options[8] = { 2, 4, PEER_MSS >> 8, PEER_MSS & 0xff, 1, 3, 3, WSCALE };
	struct tcp_pcb *pcb = tcp_new_ip_type(IPADDR_TYPE_ANY);

	for (u32 i = 0; i < STREAM; i++)
		stream[i] = (u8)(i * 7 + i / 255 * 3 + i / 65521);
	memset(&peer, 0, sizeof(peer));
	memset(&app, 0, sizeof(app));
	peer.v6 = v6;
	peer.seq = 1000;
	peer.window = window;
	app.how = TCP_WRITE_FLAG_COPY;
	fx_learn_peer();
	assert_int_equal(tcp_bind(pcb, IP_ANY_TYPE, 99), ERR_OK);
	app.listener = tcp_listen(pcb);
	tcp_accept(app.listener, on_accept);
	peer_sends(SYN, options, sizeof(options));
	peer_run();
	assert_true(peer.base != 0);
	peer_ack();
	assert_non_null(app.pcb);
	app.total = total;
}

void peer_end(void)
{
	/* What a Packet Too Big said of the path. */
	nd6_clear_destination_cache();
	fx_hold = false;
	if (app.pcb)
		tcp_abort(app.pcb);
	app.pcb = NULL;
	if (app.listener)
		assert_int_equal(tcp_close(app.listener), ERR_OK);
	app.listener = NULL;
	fx_forget();
	fx_dev.features = 0;
	fx_dev.mtu = 1500;
}
