/*
 * A small HTTP/1.1 server: connections, keep-alive, pipelining, timeouts. What there is to fetch,
 * the site says. Softirq context; http_listen() from an app's init function.
 */
#ifndef APPS_HTTP_SERVER_H
#define APPS_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_response {
	const char *type; /* NULL: there is no such page, 404 */
	const char *body;
	size_t len;
	/*
	 * What to call with body when all of it has been copied for sending. NULL: body never
	 * changes and never goes away, and is sent from where it lies.
	 */
	void (*release)(const char *body);
};

struct http_site {
	/* Fills *res for this path; *res is cleared before. */
	void (*get)(const char *path, struct http_response *res);
};

/* Serves the site on a port; site must stay. Returns what app_tcp_listen() does. */
int http_listen(uint16_t port, const struct http_site *site);

#endif
