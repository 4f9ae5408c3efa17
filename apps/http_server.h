/*
 * A small HTTP/1.1 server: connections, keep-alive, pipelining, timeouts. What there is to fetch,
 * the site says. Softirq context; http_listen() from an app's init function.
 */
#ifndef APPS_HTTP_SERVER_H
#define APPS_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_conn;
struct tcp_pcb;

/*
 * A body that is made while it is sent, of a length nobody knows yet; the site's object has it
 * inside. It goes out in chunks (RFC 9112, 7.1), or to an HTTP/1.0 client until the connection
 * ends. A client that ends its side meanwhile is taken to have gone.
 */
struct http_stream {
	/*
	 * Up to size bytes (2 KiB at least) into buf: how many, HTTP_STREAM_WAIT if there is
	 * nothing yet, or 0 at the end. Called again when there is room, and after
	 * http_stream_wake().
	 */
	int (*read)(struct http_stream *s, char *buf, size_t size);
	/* Called once: at the end, or when the client has gone. */
	void (*release)(struct http_stream *s);
	/* The server's own. */
	struct http_conn *conn;
	char *buf;
	uint16_t len, off; /* of what was read and is not with lwIP yet */
	bool ended;
};
#define HTTP_STREAM_WAIT (-1)

/* There is something to read. Softirq context, not from within read() or a callback of lwIP's. */
void http_stream_wake(struct http_stream *s);

struct http_response {
	uint16_t status;  /* 0: 200 */
	const char *type; /* NULL: there is no such page, 404 */
	const char *body;
	size_t len;
	/*
	 * What to call with body when all of it has been copied for sending. NULL: body never
	 * changes and never goes away, and is sent from where it lies.
	 */
	void (*release)(const char *body);
	struct http_stream *stream; /* instead of body */
};

struct http_get {
	const char *path;
	const char *query;         /* behind the '?', as it came; "" */
	const struct tcp_pcb *pcb; /* who asks */
};

struct http_site {
	/* Fills *res for this request; *res is cleared before. */
	void (*get)(const struct http_get *req, struct http_response *res);
};

/* Serves the site on a port; site must stay. Returns what app_tcp_listen() does. */
int http_listen(uint16_t port, const struct http_site *site);

#endif
