/*
 * Port 9100, only with the word `diag` on the command line: /netstat, every counter and pool of the
 * system as lines of "name value".
 */
#include <string.h>

#include "apps/app.h"
#include "apps/http_server.h"
#include "lwip/mem.h"

#define DIAG_PORT 9100
#define NETSTAT_MAX \
	(32 * 1024) /* some 400 lines are 12 KiB; a line that would not fit is left out */

struct text {
	char *body;
	size_t len;
};

static void add_line(void *ctx, const char *name, const char *value)
{
	struct text *t = ctx;
	size_t room = NETSTAT_MAX - t->len;
	size_t n = (size_t)app_format(t->body + t->len, room, "%s %s\n", name, value);

	if (n < room)
		t->len += n;
}

static void free_text(const char *body)
{
	mem_free((void *)(uintptr_t)body);
}

static void get(const char *path, struct http_response *res)
{
	struct text t = { 0 };

	if (strcmp(path, "/netstat"))
		return;
	t.body = mem_malloc(NETSTAT_MAX);
	if (!t.body)
		return;
	app_for_each_stat(add_line, &t);
	res->type = "text/plain; charset=utf-8";
	res->body = t.body;
	res->len = t.len;
	res->release = free_text;
}

static const struct http_site site = { .get = get };

static int diag_init(const struct app_args *args)
{
	(void)args;
	return http_listen(DIAG_PORT, &site);
}
APP_WANTED("diag", diag_init, app_diag_wanted);
