/*
 * What lwIP asks of us: see hooks.h. The secrets are drawn when the drivers are up, so that a
 * virtio-rng has had its say.
 */
#include "kernel/lib/string.h"
#include "kernel/lib/types.h"
#include "kernel/random.h"
#include "kernel/time.h"
#include "net/lwip/glue.h"
#include "net/lwip/hooks.h"

#include "lwip/priv/tcp_priv.h"

u32 lwip_rx_segs;

static u64 isn_key[2];

static struct {
	u8 mul[4], add[4];
	u16 count;
} ip4_id;

void lwip_hooks_init(void)
{
	get_random_bytes(isn_key, sizeof(isn_key));
	get_random_bytes(&ip4_id, sizeof(ip4_id));
}

/* RFC 6528, 3: ISN = M + F(localip, localport, remoteip, remoteport, secretkey), M a clock of 4
 * microseconds. */
u32_t lwip_hook_tcp_isn(const ip_addr_t *local, u16_t local_port, const ip_addr_t *remote,
			u16_t remote_port)
{
	struct {
		u32 local[4], remote[4];
		u16 local_port, remote_port;
		u32 type;
	} tuple = { .local_port = local_port,
		    .remote_port = remote_port,
		    .type = IP_GET_TYPE(remote) };

	if (IP_IS_V6(remote)) {
		memcpy(tuple.local, ip_2_ip6(local)->addr, 16);
		memcpy(tuple.remote, ip_2_ip6(remote)->addr, 16);
	} else {
		tuple.local[0] = ip4_addr_get_u32(ip_2_ip4(local));
		tuple.remote[0] = ip4_addr_get_u32(ip_2_ip4(remote));
	}
	return (u32)(ktime_get() / (4 * NSEC_PER_USEC)) +
	       (u32)siphash(&tuple, sizeof(tuple), isn_key);
}

/*
 * lwIP 2.2.1 reads an option's length byte without looking whether there is one (upstream
 * 3d896ba0). Here and not in filter.c: this sees a header that came in fragments, too.
 */
err_t lwip_hook_tcp_inpacket(struct tcp_pcb *pcb, const struct tcp_hdr *hdr, u16_t optlen,
			     u16_t opt1len, const u8_t *opt2, const struct pbuf *p)
{
	const u8 *opt1 = (const u8 *)hdr + TCP_HLEN;
	u32 at = 0;

	(void)p;
#define OPT(i) ((i) < opt1len || !opt2 ? opt1[i] : opt2[(i)-opt1len])
	while (at < optlen) {
		u8 kind = OPT(at);

		if (kind == LWIP_TCP_OPT_EOL)
			break;
		if (kind == LWIP_TCP_OPT_NOP) {
			at++;
			continue;
		}
		/* RFC 9293, 3.1: the length counts kind and itself. */
		if (at + 1 >= optlen || OPT(at + 1) < 2 || at + OPT(at + 1) > optlen) {
			lwip_filter_count[FILTER_TCP_OPT]++;
			return ERR_VAL;
		}
		at += OPT(at + 1);
	}
#undef OPT
	/*
	 * RFC 9293, 3.8.6.3: an acknowledgement for every second full segment at least. lwIP counts
	 * what GRO merged as one, and a sender whose whole window came in one would wait for the
	 * delayed one; so it is as if the first of them had been here.
	 */
	if (unlikely(lwip_rx_segs > 1) && pcb->state >= ESTABLISHED)
		tcp_set_flags(pcb, TF_ACK_DELAY);
	return ERR_OK;
}

/*
 * A counter behind a keyed permutation of 16 bits (a Feistel network): no number returns within
 * 65,536 datagrams, which reassembly wants (RFC 6864), and no one can count our traffic by them
 * (RFC 7739, 3).
 */
u16_t lwip_hook_ip4_id(void)
{
	u16 n = ip4_id.count++;
	u8 left = (u8)(n >> 8), right = (u8)n;

	for (u32 i = 0; i < 4; i++) {
		u32 f = (right + ip4_id.add[i]) * (ip4_id.mul[i] | 1u);
		u8 next = left ^ (u8)(f ^ f >> 7);

		left = right;
		right = next;
	}
	return (u16)(left << 8 | right);
}
