#include "tests/unit/lwip_fixture.h"

#include <stdlib.h>
#include <string.h>

#include "tests/unit/test.h"

#include "kernel/lib/byteorder.h"
#include "kernel/softirq.h"
#include "kernel/time.h"
#include "kernel/variant.h"
#include "net/lwip/glue.h"
#include "net/lwip/ipconfig.h"
#include "net/lwip/stack.h"
#include "net/trace.h"
#include "tests/fake/fake_kernel.h"

#include "lwip/memp.h"
#include "lwip/netif.h"

const char barewire_version[] = "test";
const u32 tcp_msl_ms = 5000;

const u8 fx_guest_mac[6] = { 0x52, 0x54, 0x00, 0x12, 0x34, 0x56 };
const u8 fx_peer_mac[6] = { 0x02, 0x00, 0x00, 0x00, 0x00, 0x01 };
const u8 fx_peer_ip6[16] = { 0xfe, 0x80, [15] = 1 };
const u8 fx_guest_ip6[16] = { 0xfe, 0x80, 0, 0,    0,    0,    0,    0,
			      0x50, 0x54, 0, 0xff, 0xfe, 0x12, 0x34, 0x56 };

struct fx_frame fx_tx[4096];
u32 fx_nr_tx, fx_rx_out;
bool fx_hold;
struct pkt_pool fx_pool = { .name = "fx", .size = 1000 };
static size_t live_before;

/* ---- the driver ---- */

static int drv_open(struct net_device *dev)
{
	(void)dev;
	return 0;
}

static netdev_tx_t drv_xmit(struct pkt_buf *pkt, struct net_device *dev)
{
	struct fx_frame *f = &fx_tx[fx_nr_tx++];
	u32 at = 0;

	(void)dev;
	assert_true(fx_nr_tx < ARRAY_SIZE(fx_tx));
	*f = (struct fx_frame){ .len = pkt->len, .bytes = malloc(pkt->len), .pkt = pkt };
	f->first = pkt->frags[0].addr;
	f->headroom = pkt->headroom;
	f->nr_frags = pkt->nr_frags;
	f->ip_summed = pkt->ip_summed;
	f->gso_hlen = pkt->gso_hlen;
	f->gso_size = pkt->gso_size;
	f->csum_start = pkt->csum_start;
	f->csum_offset = pkt->csum_offset;
	/* As the driver does: its header goes in front, if it may. */
	memset((u8 *)(uintptr_t)pkt->frags[0].addr - pkt->headroom, 0xee, pkt->headroom);
	for (u32 i = 0; i < pkt->nr_frags; i++) {
		memcpy(f->bytes + at, pkt->frags[i].addr, pkt->frags[i].len);
		at += pkt->frags[i].len;
	}
	assert_int_equal(at, pkt->len);
	trace_ring(pkt);
	trace_doorbell();
	if (!fx_hold) {
		f->pkt = NULL;
		trace_complete(pkt);
		pkt_free(pkt);
	}
	return NETDEV_TX_OK;
}

static const struct net_device_ops drv_ops = { .ndo_open = drv_open, .ndo_start_xmit = drv_xmit };
struct net_device fx_dev = { .mtu = 1500, .netdev_ops = &drv_ops, .carrier = true };

void fx_complete(void)
{
	for (u32 i = 0; i < fx_nr_tx; i++) {
		if (fx_tx[i].pkt) {
			trace_complete(fx_tx[i].pkt);
			pkt_free(fx_tx[i].pkt);
		}
		fx_tx[i].pkt = NULL;
	}
}

void fx_forget(void)
{
	fx_complete();
	for (u32 i = 0; i < fx_nr_tx; i++)
		free(fx_tx[i].bytes);
	fx_nr_tx = 0;
}

static void rx_free(struct pkt_buf *pkt)
{
	fx_rx_out--;
	free(pkt);
}

static struct napi_struct fx_napi;

static struct pkt_buf *rx_packet(const void *frame, u32 len)
{
	size_t head = ALIGN_UP(sizeof(struct pkt_buf), 16) + PKT_PRIV_SIZE + PKT_HEADROOM;
	struct pkt_buf *pkt = malloc(head + len);

	memset(pkt, 0, sizeof(*pkt));
	pkt->dev = &fx_dev;
	pkt->destructor = rx_free;
	pkt->destructor_arg = &fx_pool;
	pkt->data = (u8 *)pkt + head;
	pkt->len = len;
	memcpy(pkt->data, frame, len);
	fx_rx_out++;
	return pkt;
}

const void *fx_rx(const void *frame, u32 len)
{
	struct pkt_buf *pkt = rx_packet(frame, len);
	const void *data = pkt->data;

	netif_receive_pkt(pkt);
	return data;
}

void fx_rx_large(const void *frame, u32 len, u32 piece, u8 ip_summed)
{
	u32 n = piece ? min(piece, len) : len;
	struct pkt_buf *pkt = rx_packet(frame, n), *last = pkt;

	pkt->ip_summed = ip_summed;
	for (u32 at = n; at < len; at += n) {
		n = min(piece, len - at);
		last->frag_list = rx_packet((const u8 *)frame + at, n);
		last = last->frag_list;
		pkt->len += n;
		pkt->data_len += n;
	}
	netif_receive_pkt(pkt);
}

void fx_gro_rx(const void *frame, u32 len)
{
	napi_gro_receive(&fx_napi, rx_packet(frame, len));
}

void fx_gro_flush(void)
{
	napi_gro_flush(&fx_napi);
}

/* ---- life ---- */

int fx_start(void **state)
{
	(void)state;
	fake_softirq_enter();
	net_dev_init();
	netif_napi_add(&fx_dev, &fx_napi, NULL, NAPI_POLL_WEIGHT);
	lwip_stack_init();
	memcpy(fx_dev.dev_addr, fx_guest_mac, 6);
	if (register_netdev(&fx_dev))
		return -1;
	if (ipconfig_parse("10.0.2.2/24", &ip_config))
		return -1;
	lwip_stack_start();
	fake_time_advance(30 * NSEC_PER_SEC); /* IPv6 addresses are valid, announcements are over */
	fx_forget();
	return 0;
}

int fx_begin(void **state)
{
	(void)state;
	fx_forget();
	fx_hold = false;
	fx_pool.used = 0;
	live_before = fake_alloc_live();
	return 0;
}

int fx_end(void **state)
{
	(void)state;
	fx_forget();
	fake_time_advance(400 * NSEC_PER_SEC); /* TIME_WAIT, reassembly, ARP: all over */
	fx_forget();
	assert_int_equal(fx_rx_out, 0);
	assert_int_equal(fake_stat("pkt_tx"), 0);
	assert_int_equal(fake_alloc_live(), live_before);
	return 0;
}

/* ---- frames ---- */

u16 fx_sum(const void *data, u32 len, u32 start)
{
	const u8 *p = data;
	u32 sum = start;

	for (u32 i = 0; i < len; i++)
		sum += i & 1 ? p[i] : (u32)p[i] << 8;
	while (sum >> 16)
		sum = (sum >> 16) + (sum & 0xffff);
	return (u16)~sum;
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

u32 fx_eth(u8 *buf, u16 type, const void *payload, u32 len)
{
	memmove(buf + 14, payload, len);
	memcpy(buf, fx_guest_mac, 6);
	memcpy(buf + 6, fx_peer_mac, 6);
	put16(buf + 12, type);
	return 14 + len;
}

u32 fx_ip4(u8 *buf, u8 proto, u16 id, u16 frag, const void *payload, u32 len)
{
	u8 *ip = buf + 14;

	memmove(ip + 20, payload, len);
	memset(ip, 0, 20);
	ip[0] = 0x45;
	put16(ip + 2, 20 + len);
	put16(ip + 4, id);
	put16(ip + 6, frag);
	ip[8] = 64;
	ip[9] = proto;
	put32(ip + 12, PEER_IP);
	put32(ip + 16, GUEST_IP);
	put16(ip + 10, fx_sum(ip, 20, 0));
	return fx_eth(buf, 0x0800, ip, 20 + len);
}

u32 fx_icmp_echo(u8 *buf, u16 seq, u32 data_len)
{
	u8 *icmp = malloc(8 + data_len);
	u32 len;

	memset(icmp, 0, 8);
	icmp[0] = 8;
	put16(icmp + 4, 0x1234);
	put16(icmp + 6, seq);
	for (u32 i = 0; i < data_len; i++)
		icmp[8 + i] = (u8)(i * 7 + seq);
	put16(icmp + 2, fx_sum(icmp, 8 + data_len, 0));
	len = fx_ip4(buf, 1, seq, 0, icmp, 8 + data_len);
	free(icmp);
	return len;
}

u32 fx_arp_request(u8 *buf, u32 from, u32 whom)
{
	u8 arp[28] = { 0, 1, 8, 0, 6, 4, 0, 1 };

	memcpy(arp + 8, fx_peer_mac, 6);
	put32(arp + 14, from);
	put32(arp + 24, whom);
	return fx_eth(buf, 0x0806, arp, 28);
}

u32 fx_tcp(u8 *buf, const struct fx_tcp *t)
{
	u8 seg[2048] = { 0 };
	u32 hlen = 20 + t->opt_len, len = hlen + t->data_len, pseudo;

	put16(seg, t->sport);
	put16(seg + 2, t->dport);
	put32(seg + 4, t->seq);
	put32(seg + 8, t->ack);
	seg[12] = (u8)(hlen / 4 << 4);
	seg[13] = t->flags;
	if (!t->zero_window)
		put16(seg + 14, t->window ? t->window : 65535);
	if (t->opt_len)
		memcpy(seg + 20, t->options, t->opt_len);
	if (t->data_len)
		memcpy(seg + hlen, t->data, t->data_len);
	pseudo = (PEER_IP >> 16) + (PEER_IP & 0xffff) + (GUEST_IP >> 16) + (GUEST_IP & 0xffff) + 6 +
		 len;
	put16(seg + 16, fx_sum(seg, len, pseudo));
	return fx_ip4(buf, 6, t->ip_id ? t->ip_id : 1, 0, seg, len);
}

void fx_rx_tcp(const struct fx_tcp *t)
{
	u8 buf[2048];

	fx_rx(buf, fx_tcp(buf, t));
}

u32 fx_ip6(u8 *buf, u8 next, const void *payload, u32 len)
{
	u8 *ip = buf + 14;

	memmove(ip + 40, payload, len);
	memset(ip, 0, 8);
	ip[0] = 0x60;
	put16(ip + 4, len);
	ip[6] = next;
	ip[7] = 255;
	memcpy(ip + 8, fx_peer_ip6, 16);
	memcpy(ip + 24, fx_guest_ip6, 16);
	return fx_eth(buf, 0x86dd, ip, 40 + len);
}

void fx_learn_peer(void)
{
	u8 buf[64];

	fx_rx(buf, fx_arp_request(buf, PEER_IP, GUEST_IP));
	fx_forget();
}
