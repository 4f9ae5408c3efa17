/*
 * The small services of RFC 862 (echo), 863 (discard) and 864 (chargen). TCP echo is the pattern
 * for a server with backpressure: received segments are kept in a chain, the window is opened only
 * by what has been passed on, and so a peer that does not read holds one window of memory and no
 * more.
 */
#include <string.h>

#include "apps/app.h"
#include "apps/pbuf_queue.h"
#include "lwip/ip.h"
#include "lwip/mem.h"
#include "lwip/netif.h"
#include "lwip/pbuf.h"
#include "lwip/udp.h"

#define ECHO_PORT 7
#define DISCARD_PORT 9
#define CHARGEN_PORT 19

#define ENOMEM 12
#define EADDRINUSE 98

#define POLL_INTERVAL 4        /* half seconds */
#define POLL_SENT 120          /* the same when all of it is sent: lwIP repeats it by itself */
#define STALL_TIMEOUT_MS 60000 /* a peer that takes nothing of what we have for it */

struct conn {
	struct tcp_pcb *pcb;
	/* Passes on what it can; called whenever there may be something to do. NULL: discard. */
	void (*send)(struct conn *c);
	struct pbuf_queue pending; /* echo: received, not yet written */
	uint16_t pos;              /* chargen: place in the pattern */
	bool peer_done;            /* its FIN is here */
	uint32_t progress;         /* ms: when the peer last took or sent something */
};

/* ---- what the services do with a connection ---- */

static void echo_send(struct conn *c)
{
	const uint8_t *data;
	u16_t len;

	while ((data = pbuf_queue_peek(&c->pending, &len))) {
		u16_t n = LWIP_MIN(len, tcp_sndbuf(c->pcb));

		/* Copied: the segment may be needed again long after the receive buffer should be
		 * back in its ring. */
		if (n == 0 || tcp_write(c->pcb, data, n, TCP_WRITE_FLAG_COPY) != ERR_OK)
			break;
		pbuf_queue_skip(&c->pending, n);
		tcp_recved(c->pcb, n);
	}
}

/*
 * RFC 864's pattern: 95 lines of 72 characters, each line beginning one character further on. Sent
 * from where it lies.
 */
#define LINE_CHARS 72
#define LINE_SIZE (LINE_CHARS + 2)
#define NR_LINES 95
static char chargen_pattern[NR_LINES * LINE_SIZE];

static void chargen_init(void)
{
	for (int line = 0; line < NR_LINES; line++) {
		char *p = chargen_pattern + line * LINE_SIZE;

		for (int i = 0; i < LINE_CHARS; i++)
			p[i] = (char)(' ' + (line + i) % 95);
		p[LINE_CHARS] = '\r';
		p[LINE_CHARS + 1] = '\n';
	}
}

static void chargen_send(struct conn *c)
{
	u16_t n;

	while ((n = LWIP_MIN(tcp_sndbuf(c->pcb), (u16_t)(sizeof(chargen_pattern) - c->pos))) > 0) {
		if (tcp_write(c->pcb, chargen_pattern + c->pos, n, TCP_WRITE_FLAG_MORE) != ERR_OK)
			return;
		c->pos = (uint16_t)((c->pos + n) % sizeof(chargen_pattern));
	}
}

/* ---- a connection's life ---- */

static err_t on_poll(void *arg, struct tcp_pcb *pcb);

static void conn_free(struct conn *c)
{
	pbuf_queue_free(&c->pending);
	mem_free(c);
}

static void conn_detach(struct conn *c)
{
	tcp_arg(c->pcb, NULL);
	tcp_recv(c->pcb, NULL);
	tcp_sent(c->pcb, NULL);
	tcp_err(c->pcb, NULL);
	tcp_poll(c->pcb, NULL, 0);
}

/* ERR_ABRT is what a callback must return once its pcb is aborted. */
static err_t conn_abort(struct conn *c)
{
	struct tcp_pcb *pcb = c->pcb;

	conn_detach(c);
	conn_free(c);
	tcp_abort(pcb);
	return ERR_ABRT;
}

static err_t conn_close(struct conn *c)
{
	struct tcp_pcb *pcb = c->pcb;

	/* First: tcp_close() may free the pcb at once. Without memory for a FIN lwIP tries again by
	 * itself. */
	conn_detach(c);
	conn_free(c);
	if (tcp_close(pcb) == ERR_OK)
		return ERR_OK;
	tcp_abort(pcb);
	return ERR_ABRT;
}

/* There is something that the peer has not taken. */
static bool owes(const struct conn *c)
{
	return c->pending.count || c->pcb->unsent || c->pcb->unacked;
}

/*
 * lwIP is to call on_poll(), soon if something waits here. Of a connection that is idle nobody need
 * remind us: on_poll() ends it.
 */
static void remind(const struct conn *c)
{
	bool waits = c->pending.count || c->pcb->unsent || c->send == chargen_send;
	u8_t interval = waits ? POLL_INTERVAL : POLL_SENT;

	if ((waits || c->pcb->unacked) && (!c->pcb->poll || interval < c->pcb->pollinterval))
		tcp_poll(c->pcb, on_poll, interval);
}

/*
 * Passes on, and closes when the peer is done and has everything. Not before: a connection that
 * both sides have closed lwIP forgets after 2 MSL, whether the peer has read its last bytes by then
 * or not.
 */
static err_t conn_run(struct conn *c)
{
	if (c->send && !(c->peer_done && c->send == chargen_send))
		c->send(c);
	if (c->peer_done && !owes(c))
		return conn_close(c);
	tcp_output(c->pcb);
	remind(c);
	return ERR_OK;
}

static err_t on_recv(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
	struct conn *c = arg;

	(void)err;
	/* While we owe it something, only what it takes is progress. */
	if (!owes(c))
		c->progress = app_now_ms();
	if (!p) {
		c->peer_done = true;
	} else if (c->send == echo_send) {
		if (!pbuf_queue_put(&c->pending, p)) {
			pbuf_free(p);
			return conn_abort(c);
		}
	} else {
		tcp_recved(pcb, p->tot_len);
		pbuf_free(p);
	}
	return conn_run(c);
}

static err_t on_sent(void *arg, struct tcp_pcb *pcb, u16_t len)
{
	struct conn *c = arg;

	(void)pcb;
	(void)len;
	c->progress = app_now_ms();
	return conn_run(c);
}

static err_t on_poll(void *arg, struct tcp_pcb *pcb)
{
	struct conn *c = arg;

	if (!owes(c) && !c->peer_done && c->send != chargen_send) {
		tcp_poll(pcb, NULL, 0);
		return ERR_OK;
	}
	if (owes(c) && app_now_ms() - c->progress > STALL_TIMEOUT_MS)
		return conn_abort(c);
	/* lwIP may have been out of memory the last time. */
	return conn_run(c);
}

/* The connection is gone already: reset by the peer, given up by lwIP, or evicted for a newer one.
 */
static void on_err(void *arg, err_t err)
{
	(void)err;
	conn_free(arg);
}

/* arg: which service, by its send function. */
static err_t on_accept(void *arg, struct tcp_pcb *pcb, err_t err)
{
	struct conn *c;

	if (err != ERR_OK || !pcb)
		return ERR_VAL;
	c = mem_malloc(sizeof(*c));
	if (!c)
		return ERR_MEM; /* lwIP aborts it */
	memset(c, 0, sizeof(*c));
	c->pcb = pcb;
	c->send = (void (*)(struct conn *))arg;
	c->progress = app_now_ms();
	/* A peer that vanished without a word is found out and its memory freed. */
	ip_set_option(pcb, SOF_KEEPALIVE);
	tcp_nagle_disable(pcb);
	tcp_arg(pcb, c);
	tcp_recv(pcb, on_recv);
	tcp_sent(pcb, on_sent);
	tcp_err(pcb, on_err);
	/* The others wait for the peer. */
	return c->send == chargen_send ? conn_run(c) : ERR_OK;
}

/* ---- UDP ---- */

/*
 * Not to a broadcast, and not to a port that would answer again by itself: two echo services and
 * one forged datagram would talk for ever.
 */
static bool may_answer(u16_t port)
{
	return port != ECHO_PORT && port != CHARGEN_PORT &&
	       !ip_addr_isbroadcast(ip_current_dest_addr(), ip_current_netif()) &&
	       !ip_addr_ismulticast(ip_current_dest_addr());
}

static void udp_echo(void *arg, struct udp_pcb *pcb, struct pbuf *p, const ip_addr_t *addr,
		     u16_t port)
{
	(void)arg;
	/* From the address that was asked: a guest with several must not answer from another. */
	if (may_answer(port))
		udp_sendto_if_src(pcb, p, addr, port, ip_current_netif(), ip_current_dest_addr());
	pbuf_free(p);
}

static void udp_discard(void *arg, struct udp_pcb *pcb, struct pbuf *p, const ip_addr_t *addr,
			u16_t port)
{
	(void)arg;
	(void)pcb;
	(void)addr;
	(void)port;
	pbuf_free(p);
}

static int udp_serve(u16_t port, udp_recv_fn recv)
{
	struct udp_pcb *pcb = udp_new_ip_type(IPADDR_TYPE_ANY);

	if (!pcb)
		return -ENOMEM;
	if (udp_bind(pcb, IP_ANY_TYPE, port) != ERR_OK) {
		udp_remove(pcb);
		return -EADDRINUSE;
	}
	udp_recv(pcb, recv, NULL);
	return 0;
}

static int echo_init(const struct app_args *args)
{
	int err;

	(void)args;
	chargen_init();
	/* UDP first: it is served even where TCP is refused (random.strict). */
	err = udp_serve(ECHO_PORT, udp_echo);
	if (!err)
		err = udp_serve(DISCARD_PORT, udp_discard);
	if (!err)
		err = app_tcp_listen(ECHO_PORT, on_accept, (void *)echo_send);
	if (!err)
		err = app_tcp_listen(DISCARD_PORT, on_accept, NULL);
	if (!err)
		err = app_tcp_listen(CHARGEN_PORT, on_accept, (void *)chargen_send);
	return err;
}
APP("echo", echo_init);
