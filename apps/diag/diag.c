/*
 * Port 9100, only with the word `diag` on the command line: /netstat, every counter and pool of the
 * system as lines of "name value", and the kernel's files about itself: /stack, /journey,
 * /capture.pcapng (apps/files.h).
 */
#include <string.h>

#include "apps/app.h"
#include "apps/files.h"
#include "apps/http_server.h"
#include "lwip/mem.h"

#define DIAG_PORT 9100
#define NETSTAT_MAX \
	(64 * 1024) /* some 500 lines are 16 KiB; a line that would not fit is left out */

/* ---- /netstat: all at once, so that the figures belong together ---- */

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

static void netstat(struct http_response *res)
{
	struct text t = { .body = mem_malloc(NETSTAT_MAX) };

	if (!t.body)
		return;
	app_for_each_stat(add_line, &t);
	res->type = "text/plain; charset=utf-8";
	res->body = t.body;
	res->len = t.len;
	res->release = free_text;
}

/* ---- files ---- */

struct diag_stream {
	struct http_stream http; /* first: the server's pointer is ours */
	struct app_file *file;
};

static int stream_read(struct http_stream *s, char *buf, size_t size)
{
	int n = app_file_read(((struct diag_stream *)s)->file, buf, size);

	return n < 0 ? HTTP_STREAM_WAIT : n;
}

static void stream_release(struct http_stream *s)
{
	app_file_close(((struct diag_stream *)s)->file);
	mem_free(s);
}

static void wake(void *ctx)
{
	http_stream_wake(ctx);
}

/* A file that says no: why, as a page with the status that fits. */
static void refuse(struct http_response *res, uint16_t status, const char *why)
{
	char *body = mem_malloc(APP_FILE_ERROR_MAX + 1);

	if (!body || !*why) {
		mem_free(body);
		/* 404 is what an empty answer is. */
		res->status = status;
		res->type = status == 404 ? NULL : "text/plain";
		return;
	}
	res->status = status;
	res->type = "text/plain; charset=utf-8";
	res->len = (size_t)app_format(body, APP_FILE_ERROR_MAX + 1, "%s\n", why);
	res->body = body;
	res->release = free_text;
}

static void open_file(const struct http_get *req, struct http_response *res)
{
	struct diag_stream *s = mem_calloc(1, sizeof(*s));
	struct app_file_request want = {
		.path = req->path, .query = req->query, .pcb = req->pcb, .wake = wake, .ctx = s
	};
	char why[APP_FILE_ERROR_MAX];
	uint16_t status;

	if (!s) {
		refuse(res, 503, "");
		return;
	}
	s->file = app_file_open(&want, &status, why);
	if (!s->file) {
		mem_free(s);
		refuse(res, status, why);
		return;
	}
	s->http.read = stream_read;
	s->http.release = stream_release;
	res->stream = &s->http;
	res->type = app_file_type(s->file);
}

static void get(const struct http_get *req, struct http_response *res)
{
	if (!strcmp(req->path, "/netstat"))
		netstat(res);
	else
		open_file(req, res);
}

static const struct http_site site = { .get = get };

static int diag_init(const struct app_args *args)
{
	(void)args;
	return http_listen(DIAG_PORT, &site);
}
APP_WANTED("diag", diag_init, app_diag_wanted);
