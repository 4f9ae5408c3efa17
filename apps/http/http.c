/*
 * Port 80: `/` is a page about this guest, `/1k` exactly 1,024 bytes for load tests. How a request
 * gets here: apps/http_server.c.
 */
#include <string.h>

#include "apps/app.h"
#include "apps/http_server.h"
#include "lwip/mem.h"
#include "lwip/netif.h"
#include "lwip/stats.h"

#define HTTP_PORT 80
#define PAGE_MAX 1024

static const char page[] =
	"<!doctype html>\n"
	"<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Barewire</title></head><body>\n"
	"<h1>Barewire %s</h1>\n"
	"<p>A kernel that is nothing but a network stack served this page.</p>\n"
	"<table>\n"
	"<tr><td>address</td><td>%s</td></tr>\n"
	"<tr><td>up</td><td>%u.%03u s</td></tr>\n"
	"<tr><td>pages served</td><td>%u</td></tr>\n"
	"<tr><td>TCP segments in, out</td><td>%u, %u</td></tr>\n"
	"<tr><td>IPv4 packets in, out</td><td>%u, %u</td></tr>\n"
	"</table></body></html>\n";

static char one_kib[1024];
static uint32_t served;

static void free_page(const char *body)
{
	mem_free((void *)(uintptr_t)body);
}

/* Made anew each time: it shows the time. Too little memory for it is no page (404), not a fault.
 */
static void about(struct http_response *res)
{
	char address[IP4ADDR_STRLEN_MAX];
	uint32_t now = app_now_ms();
	char *body = mem_malloc(PAGE_MAX);

	if (!body)
		return;
	ip4addr_ntoa_r(netif_ip4_addr(netif_default), address, sizeof(address));
	res->len = (size_t)app_format(body, PAGE_MAX, page, app_version(), address, now / 1000,
				      now % 1000, served, lwip_stats.tcp.recv, lwip_stats.tcp.xmit,
				      lwip_stats.ip.recv, lwip_stats.ip.xmit);
	res->type = "text/html; charset=utf-8";
	res->body = body;
	res->release = free_page;
}

static void get(const struct http_get *req, struct http_response *res)
{
	served++;
	if (!strcmp(req->path, "/")) {
		about(res);
	} else if (!strcmp(req->path, "/1k")) {
		res->type = "application/octet-stream";
		res->body = one_kib;
		res->len = sizeof(one_kib);
	}
}

static const struct http_site site = { .get = get };

static int http_init(const struct app_args *args)
{
	(void)args;
	for (size_t i = 0; i < sizeof(one_kib); i++)
		one_kib[i] = (char)('a' + i % 26);
	return http_listen(HTTP_PORT, &site);
}
APP("http", http_init);
