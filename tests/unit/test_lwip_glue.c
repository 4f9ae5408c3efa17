/* netif.c, memp.c, mem.c and the ISN: the way of a packet through the glue, and what fails on it.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/test_lwip.h"

#include "kernel/lib/byteorder.h"
#include "kernel/lib/errno.h"
#include "kernel/time.h"
#include "net/lwip/glue.h"
#include "net/lwip/hooks.h"
#include "net/lwip/memp_priv.h"
#include "tests/fake/fake_kernel.h"

#include "lwip/mem.h"
#include "lwip/memp.h"
#include "lwip/netif.h"
#include "lwip/pbuf.h"
#include "lwip/udp.h"

static u8 buf[70000];

static void test_ping_is_answered_in_place(void **state)
{
	const void *data;
	u32 len;

	(void)state;
	fx_learn_peer();
	fx_hold = true;
	for (u32 size = 0; size <= 1472; size += 184) {
		len = fx_icmp_echo(buf, (u16)size, size);
		data = fx_rx(buf, len);
		assert_int_equal(fx_nr_tx, 1);
		assert_ptr_equal(fx_tx[0].first, data); /* where it lay */
		assert_int_equal(fx_tx[0].nr_frags, 1);
		assert_int_equal(fx_tx[0].len, len);
		assert_int_equal(fx_tx[0].headroom, PBUF_LINK_ENCAPSULATION_HLEN);
		assert_int_equal(fx_tx[0].bytes[34], 0); /* echo reply */
		assert_int_equal(fx_sum(fx_tx[0].bytes + 14, 20, 0), 0);
		assert_int_equal(fx_sum(fx_tx[0].bytes + 34, len - 34, 0), 0);
		assert_memory_equal(fx_tx[0].bytes + 42, buf + 42, size);
		assert_int_equal(fx_rx_out, 1);
		fx_forget();
		assert_int_equal(fx_rx_out, 0);
	}
	assert_int_equal(fx_dev.stats.tx_copied, 0);
}

/* 65,507 bytes each way: 45 fragments, nothing copied, everything back. */
static void test_largest_ping(void **state)
{
	enum { SIZE = 65507 + 8 };
	u8 *icmp = malloc(SIZE), *back = malloc(SIZE), frame[1600];
	u64 copied = fx_dev.stats.tx_copied;
	u32 frags = 0;

	(void)state;
	fx_learn_peer();
	fx_hold = true;
	memset(icmp, 0, SIZE);
	icmp[0] = 8;
	for (u32 i = 8; i < SIZE; i++)
		icmp[i] = (u8)(i ^ i >> 8);
	*(u16 *)(void *)(icmp + 2) = __builtin_bswap16(fx_sum(icmp, SIZE, 0));
	for (u32 at = 0; at < SIZE; at += 1480, frags++) {
		u32 n = min(SIZE - at, 1480u);

		fx_rx(frame, fx_ip4(frame, 1, 77, (u16)(at / 8 | (at + n < SIZE ? 0x2000 : 0)),
				    icmp + at, n));
	}
	assert_int_equal(frags, 45);
	assert_int_equal(fx_nr_tx, 45);
	for (u32 i = 0; i < fx_nr_tx; i++) {
		u32 at = (get_unaligned_be16(fx_tx[i].bytes + 20) & 0x1fffu) * 8;

		memcpy(back + at, fx_tx[i].bytes + 34, fx_tx[i].len - 34);
	}
	assert_int_equal(back[0], 0);
	assert_int_equal(fx_sum(back, SIZE, 0), 0);
	assert_memory_equal(back + 8, icmp + 8, SIZE - 8);
	assert_int_equal(fx_dev.stats.tx_copied, copied);
	free(icmp);
	free(back);
}

/*
 * The pool runs low: what lwIP could keep moves to its heap, or is dropped if that is full; what it
 * cannot keep passes all the same.
 */
static void test_pool_runs_low(void **state)
{
	/* A UDP datagram to a closed port: the answer quotes it, and it is done with. */
	const u8 udp[12] = { 0x10, 0, 0x10, 1, 0, 12, 0, 0, 'd', 'a', 't', 'a' };
	u64 dropped = fx_dev.stats.rx_dropped_no_mem;
	const void *data;
	u32 len;

	(void)state;
	fx_learn_peer();
	fx_hold = true;
	fx_pool.used = fx_pool.size - fx_pool.size / 8 + 1;
	len = fx_icmp_echo(buf, 1, 100);
	fake_alloc_fail_nth(1); /* needs no memory */
	data = fx_rx(buf, len);
	assert_int_equal(fx_nr_tx, 1);
	assert_ptr_equal(fx_tx[0].first, (const u8 *)data);
	fx_complete();
	fx_forget();
	fake_alloc_fail_nth(0);

	len = fx_ip4(buf, 17, 7, 0, udp, sizeof(udp));
	fx_rx(buf, len);
	assert_int_equal(fx_rx_out, 0); /* given back at once */
	assert_int_equal(fx_dev.stats.rx_dropped_no_mem, dropped);
	fx_complete();
	fx_forget();
	fake_alloc_fail_nth(1);
	fx_rx(buf, len);
	fake_alloc_fail_nth(0);
	assert_int_equal(fx_dev.stats.rx_dropped_no_mem, dropped + 1);
	assert_int_equal(fx_nr_tx, 0);
}

static void test_short_and_foreign_frames(void **state)
{
	struct net_device_stats before = fx_dev.stats;
	u32 len = fx_icmp_echo(buf, 1, 4);

	(void)state;
	for (u32 n = 0; n < 14 + 20; n++)
		fx_rx(buf, n);
	assert_int_equal(fx_dev.stats.rx_dropped_short, before.rx_dropped_short + 34);
	for (u32 n = 34; n < len; n++)
		fx_rx(buf, n);
	assert_int_equal(fx_dev.stats.rx_dropped_filter, before.rx_dropped_filter + len - 34);
	buf[12] = 0x88;
	fx_rx(buf, len);
	assert_int_equal(fx_dev.stats.rx_dropped_proto, before.rx_dropped_proto + 1);
	assert_int_equal(fx_nr_tx, 0);
	fx_dev.rx_handler_data = NULL;
	fx_rx(buf, len);
	fx_dev.rx_handler_data = &lwip_netif;
	assert_int_equal(fx_dev.stats.rx_dropped_no_stack, before.rx_dropped_no_stack + 1);
}

/* ---- down: pieces, copies, failures ---- */

static err_t output(struct pbuf *p)
{
	return lwip_netif.linkoutput(&lwip_netif, p);
}

static struct pbuf *chain(u32 pieces, u16 each, pbuf_type type)
{
	static u8 memory[64];
	struct pbuf *head = NULL;

	for (u32 i = 0; i < pieces; i++) {
		struct pbuf *p = type == PBUF_RAM ? pbuf_alloc(PBUF_RAW_TX, each, PBUF_RAM) :
						    pbuf_alloc_reference(memory, each, type);

		memset(p->payload, (int)i, each);
		if (head)
			pbuf_cat(head, p);
		else
			head = p;
	}
	return head;
}

static void test_chains(void **state)
{
	u64 copied = fx_dev.stats.tx_copied;
	struct pbuf *p;

	(void)state;
	fx_hold = true;
	p = chain(PKT_MAX_FRAGS, 20, PBUF_RAM);
	assert_int_equal(output(p), ERR_OK);
	pbuf_free(p); /* the device still has it */
	assert_int_equal(fx_tx[0].nr_frags, PKT_MAX_FRAGS);
	assert_int_equal(fx_dev.stats.tx_copied, copied);

	p = chain(PKT_MAX_FRAGS + 1, 20, PBUF_RAM);
	assert_int_equal(output(p), ERR_OK);
	pbuf_free(p);
	assert_int_equal(fx_tx[1].nr_frags, 1);
	assert_int_equal(fx_tx[1].len, (PKT_MAX_FRAGS + 1) * 20);
	for (u32 i = 0; i < fx_tx[1].len; i++)
		assert_int_equal(fx_tx[1].bytes[i], i / 20);
	assert_int_equal(fx_tx[1].headroom, PBUF_LINK_ENCAPSULATION_HLEN);
	assert_int_equal(fx_dev.stats.tx_copied, copied + 1);

	/* Memory that its owner may change after the call; and memory that stays. */
	p = chain(1, 60, PBUF_REF);
	assert_int_equal(output(p), ERR_OK);
	assert_ptr_not_equal(fx_tx[2].first, p->payload);
	pbuf_free(p);
	p = chain(1, 60, PBUF_ROM);
	assert_int_equal(output(p), ERR_OK);
	assert_ptr_equal(fx_tx[3].first, p->payload);
	assert_int_equal(fx_tx[3].headroom, 0);
	pbuf_free(p);
	assert_int_equal(fx_dev.stats.tx_copied, copied + 2);
}

static void test_transmit_failures(void **state)
{
	struct net_device_stats before;
	struct pkt_buf *all[4096];
	u32 n = 0;
	struct pbuf *p = chain(1, 60, PBUF_RAM), *many = chain(PKT_MAX_FRAGS + 1, 4, PBUF_RAM);

	(void)state;
	while ((all[n] = pkt_alloc_tx()))
		n++;
	before = fx_dev.stats;
	assert_int_equal(output(p), ERR_MEM);
	assert_int_equal(fx_dev.stats.tx_dropped_no_mem, before.tx_dropped_no_mem + 1);
	while (n)
		pkt_free(all[--n]);

	fake_alloc_fail_nth(1); /* no room to flatten */
	assert_int_equal(output(many), ERR_MEM);
	assert_int_equal(fx_dev.stats.tx_dropped_no_mem, before.tx_dropped_no_mem + 2);

	fx_dev.carrier = false;
	assert_int_equal(output(p), ERR_IF);
	assert_int_equal(fx_dev.stats.tx_dropped_down, before.tx_dropped_down + 1);
	fx_dev.carrier = true;

	fx_dev.mtu = 40;
	assert_int_equal(output(p), ERR_IF);
	fx_dev.mtu = 1500;
	assert_int_equal(p->ref, 1);
	assert_int_equal(fx_nr_tx, 0);
	pbuf_free(p);
	pbuf_free(many);
}

static void test_link_down_and_up(void **state)
{
	(void)state;
	netif_carrier_off(&fx_dev);
	assert_false(netif_is_link_up(&lwip_netif));
	fake_time_advance(10 * NSEC_PER_SEC);
	assert_int_equal(fx_nr_tx, 0);
	netif_carrier_on(&fx_dev);
	assert_true(netif_is_link_up(&lwip_netif));
	assert_true(fx_nr_tx >= 1); /* announces its address */
	assert_int_equal(get_unaligned_be16(fx_tx[0].bytes + 12), 0x0806);
}

/* The same without a change of the link: a gratuitous ARP, and nothing before there is an address.
 */
static void test_notify_peers(void **state)
{
	static const u8 broadcast[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	unsigned int before;

	(void)state;
	fake_time_advance(10 * NSEC_PER_SEC);
	before = fx_nr_tx;
	netdev_notify_peers(&fx_dev);
	assert_true(fx_nr_tx > before);
	assert_memory_equal(fx_tx[before].bytes, broadcast, 6);
	assert_int_equal(get_unaligned_be16(fx_tx[before].bytes + 12), 0x0806);
	/* Sender and target are the same. */
	assert_memory_equal(fx_tx[before].bytes + 28, fx_tx[before].bytes + 38, 4);
	fake_time_advance(10 * NSEC_PER_SEC);
}

/* ---- memory ---- */

static void test_memp_limits(void **state)
{
	void *obj[MEMP_NUM_REASSDATA];

	(void)state;
	for (u32 i = 0; i < MEMP_NUM_REASSDATA; i++)
		assert_non_null(obj[i] = memp_malloc(MEMP_REASSDATA));
	assert_null(memp_malloc(MEMP_REASSDATA));
	assert_int_equal(lwip_memp_used(MEMP_REASSDATA), MEMP_NUM_REASSDATA);
	for (u32 i = 0; i < MEMP_NUM_REASSDATA; i++)
		memp_free(MEMP_REASSDATA, obj[i]);
	memp_free(MEMP_REASSDATA, NULL);
	assert_int_equal(lwip_memp_used(MEMP_REASSDATA), 0);
}

static void test_mem_limit(void **state)
{
	size_t limit = lwip_mem_limit;
	void *a, *b, *c;

	(void)state;
	lwip_mem_limit = 12000; /* the last 1,500 for small blocks only */
	a = mem_malloc(5000);
	assert_non_null(a);
	assert_null(mem_malloc(6000));
	b = mem_calloc(100, 40);
	assert_non_null(b);
	for (u32 i = 0; i < 4000; i++)
		assert_int_equal(((u8 *)b)[i], 0);
	assert_null(mem_calloc(1ul << 40, 1ul << 40));
	/* A block is charged with what it takes: 705 bytes are of the class of 1,664. */
	assert_null(mem_malloc(705));
	c = mem_malloc(40);
	assert_non_null(c);
	mem_free(c);
	assert_int_equal((uintptr_t)a % 16, 0);
	mem_free(a);
	mem_free(b);
	mem_free(NULL);
	assert_int_equal(fake_stat("mem_bytes"), 0);
	lwip_mem_limit = limit;
}

/* ---- RFC 6528 ---- */

static void test_isn(void **state)
{
	ip_addr_t local = IPADDR4_INIT(0x0202000a), remote = IPADDR4_INIT(0x0102000a);
	u32 a, b, seen[64];

	(void)state;
	/* One connection: forward by 250 per millisecond. */
	a = lwip_hook_tcp_isn(&local, 80, &remote, 4000);
	fake_time_advance(NSEC_PER_MSEC);
	b = lwip_hook_tcp_isn(&local, 80, &remote, 4000);
	assert_int_equal(b - a, 250);
	/* Others: nowhere near each other. */
	for (u32 i = 0; i < 64; i++) {
		seen[i] = lwip_hook_tcp_isn(&local, 80, &remote, (u16)(4000 + i));
		for (u32 j = 0; j < i; j++)
			assert_true(seen[i] - seen[j] + 1000 > 2000);
	}
	assert_int_not_equal(lwip_hook_tcp_isn(&local, 81, &remote, 4000), b);
	ip4_addr_set_u32(ip_2_ip4(&remote), 0x0302000a);
	assert_int_not_equal(lwip_hook_tcp_isn(&local, 80, &remote, 4000), b);
	/* Another boot, another secret. */
	ip4_addr_set_u32(ip_2_ip4(&remote), 0x0102000a);
	lwip_hooks_init();
	assert_int_not_equal(lwip_hook_tcp_isn(&local, 80, &remote, 4000), b);
}

/* ---- noise through all of lwIP, on exact memory ---- */

static void test_noise_through_the_stack(void **state)
{
	(void)state;
	fx_learn_peer();
	srandom(3);
	for (u32 i = 0; i < 30000; i++) {
		u8 options[40];
		u32 len;

		for (u32 n = 0; n < sizeof(options); n++)
			options[n] = random() % 3 ? (u8)random() % 10 : (u8)random();
		switch (random() % 5) {
		case 0:
			len = fx_icmp_echo(buf, (u16)i, (u32)random() % 60);
			break;
		case 1:
			len = fx_arp_request(buf, PEER_IP + (u32)random() % 200, GUEST_IP);
			break;
		case 2:
			len = fx_ip6(buf, (u8[]){ 0, 6, 17, 43, 44, 58, 60 }[random() % 7], options,
				     (u32)random() % 40);
			break;
		default:
			len = fx_tcp(buf, &(struct fx_tcp){ .sport = (u16)random(),
							    .dport = 7,
							    .seq = (u32)random(),
							    .flags = (u8)random(),
							    .options = options,
							    .opt_len = (u32)random() % 11 * 4 });
		}
		for (u32 flips = (u32)random() % 3; flips; flips--)
			buf[12 + (u32)random() % (len - 12)] = (u8)random();
		fx_rx(buf, random() % 4 ? len : (u32)random() % (len + 1));
		fx_forget();
		if (i % 500 == 0)
			fake_time_advance(NSEC_PER_SEC);
	}
}

int run_glue_tests(void)
{
	static const struct CMUnitTest tests[] = {
		FX_TEST(test_ping_is_answered_in_place),
		FX_TEST(test_largest_ping),
		FX_TEST(test_pool_runs_low),
		FX_TEST(test_short_and_foreign_frames),
		FX_TEST(test_chains),
		FX_TEST(test_transmit_failures),
		FX_TEST(test_link_down_and_up),
		FX_TEST(test_notify_peers),
		FX_TEST(test_memp_limits),
		FX_TEST(test_mem_limit),
		FX_TEST(test_isn),
		FX_TEST(test_noise_through_the_stack),
	};

	return cmocka_run_group_tests_name("glue", tests, NULL, NULL);
}
