/* ip= and gw=: a table of lines, and DHCP's talk with a server of a few lines. */
#include <stdio.h>
#include <string.h>

#include "tests/unit/test_lwip.h"

#include "kernel/lib/byteorder.h"
#include "kernel/lib/errno.h"
#include "kernel/time.h"
#include "net/lwip/glue.h"
#include "net/lwip/ipconfig.h"
#include "tests/fake/fake_kernel.h"

#include "lwip/dhcp.h"
#include "lwip/netif.h"

static const char *text(const struct ip_config *c)
{
	static char out[256];
	const u8 *a = (const u8 *)&c->addr, *s = (const u8 *)&c->server, *g = (const u8 *)&c->gw;

	snprintf(out, sizeof(out),
		 "%u.%u.%u.%u %u.%u.%u.%u %u.%u.%u.%u /%d %s %s %s %08x %08x %08x", a[0], a[1],
		 a[2], a[3], s[0], s[1], s[2], s[3], g[0], g[1], g[2], g[3],
		 __builtin_popcount(c->netmask), c->hostname[0] ? c->hostname : "-",
		 c->device[0] ? c->device : "-", c->dynamic ? "dhcp" : "off",
		 be32_to_cpu(c->dns[0]), be32_to_cpu(c->dns[1]), be32_to_cpu(c->ntp));
	return out;
}

#define NONE "0.0.0.0 0.0.0.0 0.0.0.0 /0 - - "

static void test_ip_lines(void **state)
{
	static const struct {
		const char *line, *want; /* NULL: refused */
	} cases[] = {
		{ "dhcp", NONE "dhcp 00000000 00000000 00000000" },
		{ "on", NONE "dhcp 00000000 00000000 00000000" },
		{ "any", NONE "dhcp 00000000 00000000 00000000" },
		{ "both", NONE "dhcp 00000000 00000000 00000000" },
		{ "bootp", NONE "dhcp 00000000 00000000 00000000" },
		{ "off", NONE "off 00000000 00000000 00000000" },
		{ "none", NONE "off 00000000 00000000 00000000" },
		{ ":::::eth0:dhcp",
		  "0.0.0.0 0.0.0.0 0.0.0.0 /0 - eth0 dhcp 00000000 00000000 00000000" },
		{ "::::web-1:eth0:dhcp",
		  "0.0.0.0 0.0.0.0 0.0.0.0 /0 web-1 eth0 dhcp 00000000 00000000 00000000" },
		{ "10.0.2.2::10.0.2.1:255.255.255.0::eth0:off",
		  "10.0.2.2 0.0.0.0 10.0.2.1 /24 - eth0 off 00000000 00000000 00000000" },
		{ "10.0.2.9::10.0.2.1:255.255.255.0:name:eth0:none",
		  "10.0.2.9 0.0.0.0 10.0.2.1 /24 name eth0 off 00000000 00000000 00000000" },
		{ "192.168.7.9:1.2.3.4:192.168.7.1:255.255.0.0:h:eth0:off:8.8.8.8:9.9.9.9:5.6.7.8",
		  "192.168.7.9 1.2.3.4 192.168.7.1 /16 h eth0 off 08080808 09090909 05060708" },
		{ "10.0.2.2", "10.0.2.2 0.0.0.0 0.0.0.0 /8 - - off 00000000 00000000 00000000" },
		{ "172.16.0.5:::",
		  "172.16.0.5 0.0.0.0 0.0.0.0 /16 - - off 00000000 00000000 00000000" },
		{ "192.168.0.5::",
		  "192.168.0.5 0.0.0.0 0.0.0.0 /24 - - off 00000000 00000000 00000000" },
		{ "10.0.2.2::::::dhcp",
		  "10.0.2.2 0.0.0.0 0.0.0.0 /8 - - off 00000000 00000000 00000000" },
		{ "10.0.2.2/24",
		  "10.0.2.2 0.0.0.0 0.0.0.0 /24 - - off 00000000 00000000 00000000" },
		{ "10.0.2.2/32",
		  "10.0.2.2 0.0.0.0 0.0.0.0 /32 - - off 00000000 00000000 00000000" },
		{ "10.0.2.2/1", "10.0.2.2 0.0.0.0 0.0.0.0 /1 - - off 00000000 00000000 00000000" },
		{ "::::::off", NONE "off 00000000 00000000 00000000" },
		{ ":", NONE "dhcp 00000000 00000000 00000000" },
		{ "", NULL },
		{ "dhcpp", NULL },
		{ "rarp", NULL },
		{ "10.0.2", NULL },
		{ "10.0.2.256", NULL },
		{ "10.0.2.2.", NULL },
		{ "10.0.2.2/33", NULL },
		{ "10.0.2.2/0", NULL },
		{ "10.0.2.2/", NULL },
		{ "10.0.2.2/24x", NULL },
		{ "10.0.2.2/24:", NULL },
		{ "/24", NULL },
		{ "0010.0.2.2", NULL },
		{ "10.0.2.2::10.0.2.x", NULL },
		{ "10.0.2.2:::255.0.255.0", NULL },
		{ "10.0.2.2:::0.0.0.0", NULL },
		{ "127.0.0.1", NULL },
		{ "224.0.0.1", NULL },
		{ "255.255.255.255", NULL },
		{ "0.0.0.1", NULL },
		{ "10.0.2.2::127.0.0.1", NULL },
		{ ":::::a-very-long-device-name:dhcp", NULL },
		{ "::::bad name:eth0:dhcp", NULL },
		{ "::::bad\"name::dhcp", NULL },
		{ ":::::eth0:maybe", NULL },
		{ "10.0.2.2:::::::::::1", NULL },
		{ "1.2.3.4,5", NULL },
		{ "::::0123456789012345678901234567890123456789012345678901234567890123::", NULL },
	};

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ip_config c = { .hostname = "untouched" };
		int err = ipconfig_parse(cases[i].line, &c);

		if (!cases[i].want) {
			if (err != -EINVAL || strcmp(c.hostname, "untouched"))
				fail_msg("\"%s\" is not refused", cases[i].line);
		} else if (err || strcmp(text(&c), cases[i].want)) {
			fail_msg("\"%s\": %d, %s", cases[i].line, err, text(&c));
		}
	}
	assert_int_equal(ipconfig_parse(NULL, &ip_config), -EINVAL);
}

static void test_words(void **state)
{
	struct ip_config saved = ip_config;

	(void)state;
	assert_int_equal(fake_cmdline("ip", "10.9.8.7/24"), 0);
	assert_int_equal(fake_cmdline("gw", "10.9.8.1"), 0);
	assert_int_equal(fake_cmdline("gw", "10.9.8"), -EINVAL);
	assert_int_equal(fake_cmdline("gw", NULL), -EINVAL);
	assert_int_equal(fake_cmdline("ip", "nonsense"), -EINVAL);
	assert_int_equal(be32_to_cpu(ip_config.addr), 0x0a090807);
	ip_config = saved;
}

/* ---- DHCP ---- */

static u32 count_dhcp(u8 *xid)
{
	u32 n = 0;

	for (u32 i = 0; i < fx_nr_tx; i++) {
		const u8 *b = fx_tx[i].bytes;

		if (fx_tx[i].len > 282 && b[13] == 0 && b[23] == 17 &&
		    get_unaligned_be16(b + 36) == 67) {
			n++;
			memcpy(xid, b + 46, 4);
		}
	}
	return n;
}

static void serve(u8 type, const u8 *xid, u32 addr, u32 lease)
{
	u8 udp[8 + 300] = { 0, 67, 0, 68 }, *m = udp + 8, *o = m + 240, buf[500];
	be32 you = cpu_to_be32(addr), server = cpu_to_be32(PEER_IP), secs = cpu_to_be32(lease);
	u32 len;

	udp[4] = (u8)(sizeof(udp) >> 8);
	udp[5] = (u8)sizeof(udp);
	m[0] = 2;
	m[1] = 1;
	m[2] = 6;
	memcpy(m + 4, xid, 4);
	if (type != 6)
		memcpy(m + 16, &you, 4);
	memcpy(m + 28, fx_guest_mac, 6);
	memcpy(m + 236, "\x63\x82\x53\x63", 4);
	memcpy(o, ((u8[]){ 53, 1, type, 54, 4 }), 5);
	memcpy(o + 5, &server, 4);
	memcpy(o + 9, ((u8[]){ 51, 4 }), 2);
	memcpy(o + 11, &secs, 4);
	memcpy(o + 15, ((u8[]){ 1, 4, 255, 255, 255, 0, 255 }), 7);
	len = fx_ip4(buf, 17, 3, 0, udp, sizeof(udp));
	memset(buf + 30, 255, 4); /* to 255.255.255.255 */
	buf[24] = buf[25] = 0;
	*(u16 *)(void *)(buf + 24) = __builtin_bswap16(fx_sum(buf + 14, 20, 0));
	fx_rx(buf, len);
}

/* The peer makes itself known, so that a unicast request goes out at once. */
static void learn(u32 addr)
{
	u8 buf[64];

	fx_rx(buf, fx_arp_request(buf, PEER_IP, addr));
	fx_forget();
}

static void test_dhcp(void **state)
{
	u8 xid[4];

	(void)state;
	fake_log_clear();
	lwip_dhcp_start();
	assert_int_equal(count_dhcp(xid), 1);
	/* Nobody: it goes on, and says so now and then. */
	fake_time_advance(200 * NSEC_PER_SEC);
	assert_in_range(count_dhcp(xid), 6, 12);
	assert_in_range(fake_log_count("no server has answered"), 3, 5);
	fx_forget();
	fake_time_advance(60 * NSEC_PER_SEC);
	assert_true(count_dhcp(xid) >= 1);

	serve(2, xid, 0x0a000242, 100);
	assert_true(count_dhcp(xid) >= 2);
	serve(5, xid, 0x0a000242, 100);
	assert_int_equal(ip4_addr_get_u32(netif_ip4_addr(&lwip_netif)), cpu_to_be32(0x0a000242));
	assert_true(fake_log_has("lease of 10.0.2.66"));
	fx_forget();

	/* Renewed at half of it, not before; and nothing runs meanwhile. */
	fake_time_advance(12 * NSEC_PER_SEC);
	u64 runs = fake_stat("timer_dhcp_coarse") + fake_stat("timer_dhcp_fine");

	fake_time_advance(30 * NSEC_PER_SEC);
	assert_int_equal(fake_stat("timer_dhcp_coarse") + fake_stat("timer_dhcp_fine"), runs);
	assert_int_equal(count_dhcp(xid), 0);
	learn(0x0a000242);
	fake_time_advance(10 * NSEC_PER_SEC);
	assert_int_equal(count_dhcp(xid), 1);
	serve(5, xid, 0x0a000242, 100);
	assert_true(fake_log_has("renewed for 100 s"));
	fx_forget();

	/* Refused: the address goes, and it asks anew. */
	learn(0x0a000242);
	fake_time_advance(51 * NSEC_PER_SEC);
	assert_int_equal(count_dhcp(xid), 1);
	serve(6, xid, 0, 0);
	assert_true(ip4_addr_isany(netif_ip4_addr(&lwip_netif)));
	assert_true(fake_log_has("refused or has ended"));
	assert_int_equal(count_dhcp(xid), 2);
	serve(2, xid, 0x0a000243, 60);
	count_dhcp(xid);
	serve(5, xid, 0x0a000243, 60);
	assert_true(fake_log_has("lease of 10.0.2.67"));
	fx_forget();

	/* Never answered again: the lease ends after its 60 s and the address with it. */
	fake_time_advance(75 * NSEC_PER_SEC);
	assert_true(ip4_addr_isany(netif_ip4_addr(&lwip_netif)));
	dhcp_release_and_stop(&lwip_netif);
	dhcp_cleanup(&lwip_netif);
}

int run_ipconfig_tests(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ip_lines), cmocka_unit_test(test_words),
		cmocka_unit_test(test_dhcp), /* last: the static address is gone after it */
	};

	return cmocka_run_group_tests_name("ipconfig", tests, NULL, NULL);
}
