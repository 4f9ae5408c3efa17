/*
 * One struct http_conn for each connection. Bytes wait in `in` until the answer before theirs is
 * written; while they wait, the window stays closed, so a peer that does not read cannot make us
 * hold more than one window and one answer. See http_server.h.
 */
#include "apps/http_server.h"

#include <string.h>

#include "apps/app.h"
#include "apps/http_parse.h"
#include "apps/pbuf_queue.h"
#include "lwip/mem.h"
#include "lwip/tcp.h"

#define POLL_INTERVAL 4      /* of lwIP's half seconds */
#define HEAD_MS 20000u       /* a request head must be complete this long after its first byte */
#define IDLE_MS 30000u       /* between requests */
#define SEND_MS 60000u       /* an answer of which nothing was acknowledged */
#define LINGER_MS 5000u      /* for the peer to end a connection that we ended */
#define LINGER_BYTES 262144u /* and how much more of it we listen to */
#define STREAM_BUF 2560      /* of a stream: one chunk */
#define CHUNK_HEAD 5         /* "abc\r\n" */
/* A stream may be silent for as long as it likes: whether its reader lives is asked of TCP. */
#define STREAM_KEEP_IDLE_MS 10000u
#define STREAM_KEEP_INTVL_MS 5000u
#define STREAM_KEEP_CNT 3

struct http_conn {
	struct tcp_pcb *pcb;
	const struct http_site *site;
	struct http_request req;
	struct http_response res; /* the answer that is being written */
	size_t body_sent;         /* of res.body; res.len is what remains */
	size_t written;           /* of its body */
	struct pbuf_queue in;
	uint32_t since;   /* when the state below began, or last made progress */
	uint32_t unacked; /* bytes written and not acknowledged */
	uint32_t lingered;
	uint8_t req_minor; /* HTTP/1.minor of the request that is being answered */
	bool in_head;      /* a request has begun */
	bool eof;          /* the peer has ended its side */
	bool last;         /* no further request is answered */
	bool closing;      /* our side is ended */
};

static const char *reason(uint16_t status)
{
	switch (status) {
	case 200:
		return "OK";
	case 400:
		return "Bad Request";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 408:
		return "Request Timeout";
	case 411:
		return "Length Required";
	case 413:
		return "Content Too Large";
	case 414:
		return "URI Too Long";
	case 409:
		return "Conflict";
	case 503:
		return "Service Unavailable";
	case 431:
		return "Request Header Fields Too Large";
	case 501:
		return "Not Implemented";
	default:
		return "HTTP Version Not Supported";
	}
}

/* ---- end of a connection ---- */

/* Nothing more of the answer is to be written. */
static void end_answer(struct http_conn *c)
{
	struct http_stream *s = c->res.stream;

	if (s) {
		mem_free(s->buf);
		s->release(s);
	}
	if (c->res.release)
		c->res.release(c->res.body);
	c->res = (struct http_response){ 0 };
	c->written = 0;
}

static void conn_free(struct http_conn *c)
{
	end_answer(c);
	pbuf_queue_free(&c->in);
	mem_free(c);
}

/* Nothing of lwIP calls us any more for this pcb. */
static void detach(struct tcp_pcb *pcb)
{
	tcp_arg(pcb, NULL);
	tcp_recv(pcb, NULL);
	tcp_sent(pcb, NULL);
	tcp_err(pcb, NULL);
	tcp_poll(pcb, NULL, 0);
}

/* Both sides are done: lwIP sends what is left. */
static err_t conn_close(struct http_conn *c)
{
	struct tcp_pcb *pcb = c->pcb;

	detach(pcb);
	conn_free(c);
	if (tcp_close(pcb) == ERR_OK)
		return ERR_OK;
	tcp_abort(pcb);
	return ERR_ABRT;
}

static err_t conn_abort(struct http_conn *c)
{
	struct tcp_pcb *pcb = c->pcb;

	detach(pcb);
	conn_free(c);
	tcp_abort(pcb);
	return ERR_ABRT;
}

/*
 * Our side ends; the other is read to its end (RFC 9112, 9.6): closing with bytes unread would send
 * a reset, and that can overtake the answer.
 */
static err_t conn_finish(struct http_conn *c)
{
	/* All of it: closing with a window that is not whole sends a reset. */
	while (c->in.bytes) {
		u16_t n = (u16_t)LWIP_MIN(c->in.bytes, 0xffffu);

		tcp_recved(c->pcb, n);
		c->in.bytes -= n;
	}
	pbuf_queue_free(&c->in);
	if (c->eof)
		return conn_close(c);
	c->closing = true;
	c->since = app_now_ms();
	if (tcp_shutdown(c->pcb, 0, 1) != ERR_OK)
		return conn_abort(c);
	return ERR_OK;
}

/*
 * Both sides have ended, but what we said may not have arrived: until it has, on_poll() watches
 * over it. lwIP alone would repeat itself to a dead peer for many minutes.
 */
static err_t conn_closed(struct http_conn *c)
{
	return c->eof && !c->unacked ? conn_close(c) : ERR_OK;
}

/* ---- answers ---- */

static void put(char *head, size_t *len, const char *text)
{
	size_t n = strlen(text);

	memcpy(head + *len, text, n);
	*len += n;
}

/* The same for a text whose length the compiler knows. */
#define PUT(head, len, text)                                     \
	do {                                                     \
		memcpy((head) + *(len), text, sizeof(text) - 1); \
		*(len) += sizeof(text) - 1;                      \
	} while (0)

static void put_number(char *head, size_t *len, size_t value)
{
	char digits[20];
	size_t n = 0;

	do {
		digits[n++] = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	while (n)
		head[(*len)++] = digits[--n];
}

static void put_status(char *head, size_t *len, uint16_t status)
{
	if (status == 200) {
		PUT(head, len, "HTTP/1.1 200 OK");
		return;
	}
	PUT(head, len, "HTTP/1.1 ");
	put_number(head, len, status);
	PUT(head, len, " ");
	put(head, len, reason(status));
}

/* Writes the head of an answer and remembers its body. False: no room now (checked by the caller)
 * or no memory. */
static bool respond(struct http_conn *c, uint16_t status, bool with_body)
{
	char head[256];
	size_t len = 0;

	put_status(head, &len, status);
	PUT(head, &len, "\r\nServer: barewire");
	if (!c->res.stream) {
		PUT(head, &len, "\r\nContent-Length: ");
		put_number(head, &len, c->res.len);
	} else if (c->req.minor >= 1) {
		PUT(head, &len, "\r\nTransfer-Encoding: chunked");
	}
	if (c->res.type) {
		PUT(head, &len, "\r\nContent-Type: ");
		put(head, &len, c->res.type);
	}
	if (status == 405)
		PUT(head, &len, "\r\nAllow: GET, HEAD");
	if (c->last)
		PUT(head, &len, "\r\nConnection: close");
	else if (c->req.minor == 0)
		PUT(head, &len, "\r\nConnection: keep-alive");
	PUT(head, &len, "\r\n\r\n");
	if (tcp_write(c->pcb, head, (u16_t)len,
		      TCP_WRITE_FLAG_COPY | (c->res.len ? TCP_WRITE_FLAG_MORE : 0)) != ERR_OK)
		return false;
	c->unacked += (uint32_t)len;
	if (!with_body)
		end_answer(c);
	return true;
}

/* An answer that is a short text about its own status. */
static bool respond_error(struct http_conn *c, uint16_t status, bool with_body)
{
	c->res = (struct http_response){ .type = "text/plain",
					 .body = reason(status),
					 .len = strlen(reason(status)) };
	return respond(c, status, with_body);
}

/* The answer is a stream. False: no memory. */
static bool start_stream(struct http_conn *c)
{
	struct http_stream *s = c->res.stream;

	s->conn = c;
	s->len = s->off = 0;
	s->ended = false;
	s->buf = mem_malloc(STREAM_BUF);
	if (!s->buf)
		return false;
	/* An HTTP/1.0 client takes the end of the connection for the end of the body. */
	c->last |= c->req.minor == 0;
	ip_set_option(c->pcb, SOF_KEEPALIVE);
	c->pcb->keep_idle = STREAM_KEEP_IDLE_MS;
	c->pcb->keep_intvl = STREAM_KEEP_INTVL_MS;
	c->pcb->keep_cnt = STREAM_KEEP_CNT;
	return true;
}

/* A head is complete, or will never be. */
static bool answer(struct http_conn *c)
{
	struct http_request *req = &c->req;
	struct http_get page = { .pcb = c->pcb };
	bool head = !strcmp(req->method, "HEAD"), get = !strcmp(req->method, "GET");

	/* We read no bodies, so what follows one cannot be found. */
	c->last = !req->keep_alive || req->has_body || req->state == HTTP_FAILED;
	if (req->state == HTTP_FAILED)
		return respond_error(c, req->status, true);
	if (!get && !head)
		return respond_error(c, 405, true);
	if (req->has_body)
		return respond_error(c, req->chunked ? 411 : 413, get);
	page.path = http_path(req);
	page.query = req->query;
	c->site->get(&page, &c->res);
	if (!c->res.type)
		return respond_error(c, 404, get);
	if (c->res.stream && !start_stream(c)) {
		end_answer(c);
		return respond_error(c, 503, get);
	}
	return respond(c, c->res.status ? c->res.status : 200, get);
}

/* Room for a head and a little more; below it tcp_write() would refuse. */
static bool has_room(const struct http_conn *c)
{
	return tcp_sndbuf(c->pcb) >= 512 && tcp_sndqueuelen(c->pcb) + 8 < TCP_SND_QUEUELEN;
}

/* The next piece of a stream into its buffer, as a chunk. False: there is none yet. */
static bool read_stream(struct http_conn *c)
{
	static const char hex[] = "0123456789abcdef";
	struct http_stream *s = c->res.stream;
	bool chunked = c->req_minor >= 1;
	size_t head = chunked ? CHUNK_HEAD : 0;
	int n = s->read(s, s->buf + head, STREAM_BUF - head - 2);

	if (n == HTTP_STREAM_WAIT)
		return false;
	s->ended = n == 0;
	s->off = 0;
	s->len = (uint16_t)n;
	if (!chunked)
		return true;
	for (int i = 0; i < 3; i++)
		s->buf[i] = hex[n >> (8 - 4 * i) & 0xf];
	memcpy(s->buf + 3, "\r\n", 2);
	memcpy(s->buf + CHUNK_HEAD + n, "\r\n", 2);
	s->len = (uint16_t)(CHUNK_HEAD + n + 2);
	return true;
}

/* As much of a stream as there is, and lwIP takes. True: it has ended. */
static bool write_stream(struct http_conn *c)
{
	struct http_stream *s = c->res.stream;
	bool done = false;

	while (!done && has_room(c)) {
		u16_t n = (u16_t)LWIP_MIN(s->len - s->off, tcp_sndbuf(c->pcb));

		if (n) {
			if (!c->unacked)
				c->since = app_now_ms();
			if (tcp_write(c->pcb, s->buf + s->off, n, TCP_WRITE_FLAG_COPY) != ERR_OK)
				break;
			s->off += n;
			c->unacked += n;
		}
		if (s->off < s->len)
			continue;
		done = s->ended;
		if (!done && !read_stream(c))
			break;
	}
	if (done)
		end_answer(c);
	return done;
}

/* Hands as much of the body to lwIP as it takes. True: all of it. */
static bool write_body(struct http_conn *c)
{
	if (c->res.stream)
		return write_stream(c);
	while (c->written < c->res.len && has_room(c)) {
		size_t left = c->res.len - c->written;
		u16_t n = (u16_t)LWIP_MIN(LWIP_MIN(left, tcp_sndbuf(c->pcb)), 16u * TCP_MSS);
		u8_t flags = (c->res.release ? TCP_WRITE_FLAG_COPY : 0) |
			     (n < left ? TCP_WRITE_FLAG_MORE : 0);

		if (tcp_write(c->pcb, c->res.body + c->written, n, flags) != ERR_OK)
			return false;
		c->written += n;
		c->unacked += n;
	}
	if (c->written < c->res.len)
		return false;
	end_answer(c);
	return true;
}

/* ---- requests ---- */

/* One request's worth of the bytes that wait. True: a head is complete, or refused. */
static bool parse_some(struct http_conn *c)
{
	const uint8_t *data;
	u16_t len;

	while ((data = pbuf_queue_peek(&c->in, &len))) {
		u16_t n = (u16_t)http_parse(&c->req, data, len);

		if (!c->in_head) {
			c->in_head = true;
			c->since = app_now_ms();
		}
		pbuf_queue_skip(&c->in, n);
		tcp_recved(c->pcb, n);
		if (c->req.state >= HTTP_DONE)
			return true;
	}
	return false;
}

/* Behind lwIP's callbacks it does this itself, but what wakes a stream is none of them. */
static err_t flush(struct http_conn *c)
{
	if (c->pcb->unsent)
		tcp_output(c->pcb);
	return ERR_OK;
}

/* As far as it goes: the rest of an answer, then requests one by one. */
static err_t pump(struct http_conn *c)
{
	while (!c->closing) {
		if (!write_body(c) || !has_room(c))
			return flush(c);
		if (c->last)
			return conn_finish(c);
		if (!parse_some(c))
			break;
		c->req_minor = c->req.minor;
		if (!answer(c))
			return conn_abort(c);
		http_request_init(&c->req);
		c->in_head = false;
		c->since = app_now_ms();
	}
	return c->eof ? conn_close(c) : flush(c);
}

void http_stream_wake(struct http_stream *s)
{
	pump(s->conn);
}

/* ---- lwIP's callbacks ---- */

static err_t on_recv(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
	struct http_conn *c = arg;

	(void)err;
	if (!p) {
		c->eof = true;
		/*
		 * Whoever closes his socket ends his side, and would answer with a reset only to
		 * something that we send: while a stream waits that may be never, and what it holds
		 * is scarce. So the end of the asker's side is the end of the stream.
		 */
		if (c->res.stream)
			return conn_abort(c);
		return c->closing ? conn_closed(c) : pump(c);
	}
	if (c->closing) {
		c->lingered += p->tot_len;
		tcp_recved(pcb, p->tot_len);
		pbuf_free(p);
		return c->lingered > LINGER_BYTES ? conn_abort(c) : ERR_OK;
	}
	if (!pbuf_queue_put(&c->in, p)) {
		pbuf_free(p);
		return conn_abort(c);
	}
	return pump(c);
}

static err_t on_sent(void *arg, struct tcp_pcb *pcb, u16_t len)
{
	struct http_conn *c = arg;

	(void)pcb;
	c->unacked -= LWIP_MIN(len, c->unacked);
	c->since = c->in_head ? c->since : app_now_ms();
	return c->closing ? conn_closed(c) : pump(c);
}

static err_t on_poll(void *arg, struct tcp_pcb *pcb)
{
	struct http_conn *c = arg;
	uint32_t age = app_now_ms() - c->since;

	(void)pcb;
	if (c->closing)
		return age > (c->unacked ? SEND_MS : LINGER_MS) ? conn_abort(c) : ERR_OK;
	if (c->res.stream && !c->unacked)
		return pump(c);
	if (c->res.len != c->written || c->unacked)
		return age > SEND_MS ? conn_abort(c) : pump(c);
	if (!c->in_head)
		return age > IDLE_MS ? conn_finish(c) : ERR_OK;
	if (age <= HEAD_MS)
		return ERR_OK;
	c->last = true;
	return respond_error(c, 408, true) ? pump(c) : conn_abort(c);
}

/* The pcb is gone already: reset by the peer, or given up. */
static void on_err(void *arg, err_t err)
{
	(void)err;
	conn_free(arg);
}

static err_t on_accept(void *arg, struct tcp_pcb *pcb, err_t err)
{
	struct http_conn *c;

	if (err != ERR_OK || !pcb)
		return ERR_VAL;
	c = mem_calloc(1, sizeof(*c));
	if (!c)
		return ERR_MEM; /* lwIP resets the connection */
	c->site = arg;
	c->pcb = pcb;
	c->since = app_now_ms();
	http_request_init(&c->req);
	tcp_arg(pcb, c);
	tcp_recv(pcb, on_recv);
	tcp_sent(pcb, on_sent);
	tcp_err(pcb, on_err);
	tcp_poll(pcb, on_poll, POLL_INTERVAL);
	tcp_nagle_disable(
		pcb); /* an answer is written at once; its end should not wait for an ACK */
	return ERR_OK;
}

int http_listen(uint16_t port, const struct http_site *site)
{
	return app_tcp_listen(port, on_accept, (void *)(uintptr_t)site);
}
