/* A test for each of net/lwip/patches/ that fails without it. */
#include <string.h>

#include "tests/unit/test_lwip.h"

#include "kernel/lib/byteorder.h"
#include "kernel/time.h"
#include "net/lwip/glue.h"
#include "tests/fake/fake_kernel.h"

#include "lwip/netif.h"
#include "lwip/pbuf.h"
#include "lwip/tcp.h"
#include "lwip/udp.h"
#include "netif/ethernet.h"

/* 0001: the first fragment of a datagram, in more pbufs than may be held: refused, and leaves
 * nothing behind. */
static void test_ip6_reass_refused_first_fragment(void **state)
{
	u8 frag[8 + IP_REASS_MAX_PBUFS * 8] = { 17, 0, 0, 1, 0, 0, 0, 9 }, buf[2000];
	u32 len = fx_ip6(buf, 44, frag, sizeof(frag)), head = 14 + 40 + 8;
	struct pbuf *p = pbuf_alloc(PBUF_RAW, (u16_t)head, PBUF_RAM);

	(void)state;
	memcpy(p->payload, buf, head);
	for (u32 at = head; at < len; at += 8) {
		struct pbuf *q = pbuf_alloc(PBUF_RAW, 8, PBUF_RAM);

		memcpy(q->payload, buf + at, 8);
		pbuf_cat(p, q);
	}
	assert_true(pbuf_clen(p) > IP_REASS_MAX_PBUFS);
	ethernet_input(p, &lwip_netif);
	assert_int_equal(fake_stat("mem_bytes"), 0);
	/* Without the patch this follows a null pointer. */
	fake_time_advance(100 * NSEC_PER_SEC);
}

/* 0002: the numbers of ten datagrams to one place are no sequence, and none comes twice. */
static void test_ip4_id_is_no_counter(void **state)
{
	struct udp_pcb *pcb = udp_new();
	ip_addr_t peer = IPADDR4_INIT(__builtin_bswap32(PEER_IP));
	u16 id[200];
	u32 steps = 0;

	(void)state;
	fx_learn_peer();
	for (u32 i = 0; i < ARRAY_SIZE(id); i++) {
		struct pbuf *p = pbuf_alloc(PBUF_TRANSPORT, 4, PBUF_RAM);

		memset(p->payload, 0, 4);
		assert_int_equal(udp_sendto(pcb, p, &peer, 9), ERR_OK);
		pbuf_free(p);
		id[i] = get_unaligned_be16(fx_tx[i].bytes + 18);
		for (u32 j = 0; j < i; j++)
			assert_int_not_equal(id[i], id[j]);
		steps += i && (u16)(id[i] - id[i - 1]) < 64;
	}
	assert_true(steps < 10);
	udp_remove(pcb);
}

/* 0003 */
static void test_local_ports_do_not_count(void **state)
{
	struct tcp_pcb *tcp[32];
	struct udp_pcb *udp[32];
	u32 near = 0;

	(void)state;
	for (u32 i = 0; i < 32; i++) {
		tcp[i] = tcp_new();
		udp[i] = udp_new();
		assert_int_equal(tcp_bind(tcp[i], IP_ANY_TYPE, 0), ERR_OK);
		assert_int_equal(udp_bind(udp[i], IP_ANY_TYPE, 0), ERR_OK);
		assert_true(tcp[i]->local_port >= 0xc000 && udp[i]->local_port >= 0xc000);
		near += i && (u16)(tcp[i]->local_port - tcp[i - 1]->local_port) < 16;
		near += i && (u16)(udp[i]->local_port - udp[i - 1]->local_port) < 16;
	}
	assert_true(near < 4);
	for (u32 i = 0; i < 32; i++) {
		tcp_close(tcp[i]);
		udp_remove(udp[i]);
	}
}

int run_patch_tests(void)
{
	static const struct CMUnitTest tests[] = {
		FX_TEST(test_ip6_reass_refused_first_fragment),
		FX_TEST(test_ip4_id_is_no_counter),
		FX_TEST(test_local_ports_do_not_count),
	};

	return cmocka_run_group_tests_name("patches", tests, NULL, NULL);
}
