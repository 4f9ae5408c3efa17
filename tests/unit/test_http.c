/* apps/http_parse.c: a table of heads, each given whole and cut in two and in single bytes. */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/test.h"

#include "apps/http_parse.h"

#define H "Host: g\r\n"

struct head {
	const char *text;
	int status; /* 0: sound */
	const char *method, *path;
	bool keep_alive, has_body;
};

static const struct head heads[] = {
	{ "GET / HTTP/1.1\r\n" H "\r\n", 0, "GET", "/", true, false },
	{ "GET /1k?x=1 HTTP/1.1\r\n" H "\r\n", 0, "GET", "/1k", true, false },
	{ "GET http://g/1k HTTP/1.1\r\n" H "\r\n", 0, "GET", "/1k", true, false },
	{ "GET http://g HTTP/1.1\r\n" H "\r\n", 0, "GET", "/", true, false },
	{ "OPTIONS * HTTP/1.1\r\n" H "\r\n", 0, "OPTIONS", "", true, false },
	{ "GET / HTTP/1.0\r\n\r\n", 0, "GET", "/", false, false },
	{ "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", 0, "GET", "/", true, false },
	{ "GET / HTTP/1.1\r\n" H "Connection: close\r\n\r\n", 0, "GET", "/", false, false },
	{ "GET / HTTP/1.1\r\n" H "CONNECTION:foo,\tClose \r\n\r\n", 0, "GET", "/", false, false },
	{ "GET / HTTP/1.1\r\n" H "Connection: closed\r\n\r\n", 0, "GET", "/", true, false },
	{ "GET / HTTP/1.7\r\n" H "\r\n", 0, "GET", "/", true, false },
	{ "\r\n\r\nHEAD / HTTP/1.1\r\n" H "\r\n", 0, "HEAD", "/", true, false },
	{ "GET / HTTP/1.1\n" H "\n", 0, "GET", "/", true, false },
	{ "POST / HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\n", 0, "POST", "/", true, true },
	{ "POST / HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n", 0, "POST", "/", true, false },
	{ "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n", 0, "POST", "/", true,
	  true },
	{ "GET / HTTP/1.1\r\n" H "X-Y: \xc3\xa4 \t\r\nEmpty:\r\n\r\n", 0, "GET", "/", true, false },
	{ "GET / HTTP/1.1\r\n\r\n", 400, NULL, NULL, false, false },
	{ "GET / HTTP/1.1\r\n" H H "\r\n", 400, NULL, NULL, false, false },
	{ "hello\r\n", 400, NULL, NULL, false, false },
	{ "GET\r\n", 400, NULL, NULL, false, false },
	{ "GET /\r\n", 400, NULL, NULL, false, false },
	{ " GET / HTTP/1.1\r\n", 400, NULL, NULL, false, false },
	{ "GET  / HTTP/1.1\r\n", 400, NULL, NULL, false, false },
	{ "GET 1k HTTP/1.1\r\n", 400, NULL, NULL, false, false },
	{ "GET * HTTP/1.1\r\n", 400, NULL, NULL, false, false },
	{ "GET / HTTP/1.1 \r\n", 400, NULL, NULL, false, false },
	{ "GET / HTTP/1.\r\n", 400, NULL, NULL, false, false },
	{ "GET / http/1.1\r\n", 400, NULL, NULL, false, false },
	{ "GET / HTTP/2.0\r\n", 505, NULL, NULL, false, false },
	{ "GET / HTTP/9.9\r\n", 505, NULL, NULL, false, false },
	{ "G\tT / HTTP/1.1\r\n", 400, NULL, NULL, false, false },
	{ "ABCDEFGHIJKLMNOP / HTTP/1.1\r\n", 501, NULL, NULL, false, false },
	{ "GET /\x7f HTTP/1.1\r\n", 400, NULL, NULL, false, false },
	{ "GET /\xc3\xa4 HTTP/1.1\r\n", 400, NULL, NULL, false, false },
	{ "GET / HTTP/1.1\r\n" H "No colon\r\n", 400, NULL, NULL, false, false },
	{ "GET / HTTP/1.1\r\n" H "A : b\r\n", 400, NULL, NULL, false, false },
	{ "GET / HTTP/1.1\r\n" H ": b\r\n", 400, NULL, NULL, false, false },
	{ "GET / HTTP/1.1\r\n" H "A: b\r\n c\r\n", 400, NULL, NULL, false, false },
	{ "GET / HTTP/1.1\r\n" H "A: b\x01\r\n", 400, NULL, NULL, false, false },
	{ "GET / HTTP/1.1\r" H, 400, NULL, NULL, false, false },
	{ "GET / HTTP/1.1\r\n" H "A: b\rc\r\n", 400, NULL, NULL, false, false },
	{ "\r\n\r\n\r\n\r\n\r\n", 400, NULL, NULL, false, false },
	{ "POST / HTTP/1.1\r\n" H "Content-Length: x\r\n", 400, NULL, NULL, false, false },
	{ "POST / HTTP/1.1\r\n" H "Content-Length: -1\r\n", 400, NULL, NULL, false, false },
	{ "POST / HTTP/1.1\r\n" H "Content-Length: +1\r\n", 400, NULL, NULL, false, false },
	{ "POST / HTTP/1.1\r\n" H "Content-Length:\r\n", 400, NULL, NULL, false, false },
	{ "POST / HTTP/1.1\r\n" H "Content-Length: 1, 1\r\n", 400, NULL, NULL, false, false },
	{ "POST / HTTP/1.1\r\n" H "Content-Length: 1\r\nContent-Length: 1\r\n", 400, NULL, NULL,
	  false, false },
	{ "POST / HTTP/1.1\r\n" H "Content-Length: 9999999999999999999\r\n", 400, NULL, NULL, false,
	  false },
	{ "POST / HTTP/1.1\r\n" H "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400,
	  NULL, NULL, false, false },
};
#define NR_HEADS (sizeof(heads) / sizeof(heads[0]))

/* Gives a piece, in memory of its exact size. */
static size_t give(struct http_request *req, const char *text, size_t len)
{
	char *exact = malloc(len ? len : 1);
	size_t n;

	memcpy(exact, text, len);
	n = http_parse(req, exact, len);
	free(exact);
	return n;
}

static void check(const struct head *h, struct http_request *req, size_t taken)
{
	if (h->status) {
		assert_int_equal(req->state, HTTP_FAILED);
		assert_int_equal(req->status, h->status);
		assert_false(req->keep_alive);
		return;
	}
	assert_int_equal(req->state, HTTP_DONE);
	assert_int_equal(taken, strlen(h->text));
	assert_string_equal(req->method, h->method);
	assert_string_equal(http_path(req), h->path);
	assert_int_equal(req->keep_alive, h->keep_alive);
	assert_int_equal(req->has_body, h->has_body);
}

static void test_whole(void **state)
{
	(void)state;
	for (size_t i = 0; i < NR_HEADS; i++) {
		struct http_request req;

		http_request_init(&req);
		check(&heads[i], &req, give(&req, heads[i].text, strlen(heads[i].text)));
	}
}

static void test_every_split(void **state)
{
	(void)state;
	for (size_t i = 0; i < NR_HEADS; i++) {
		size_t len = strlen(heads[i].text);

		for (size_t at = 0; at <= len; at++) {
			struct http_request req;
			size_t n;

			http_request_init(&req);
			n = give(&req, heads[i].text, at);
			n += give(&req, heads[i].text + at, len - at);
			check(&heads[i], &req, n);
		}
	}
}

static void test_single_bytes(void **state)
{
	(void)state;
	for (size_t i = 0; i < NR_HEADS; i++) {
		struct http_request req;
		size_t n = 0;

		http_request_init(&req);
		for (const char *p = heads[i].text; *p; p++)
			n += give(&req, p, 1);
		check(&heads[i], &req, n);
	}
}

/* What follows a head is not touched. */
static void test_pipelined(void **state)
{
	static const char two[] = "GET /a HTTP/1.1\r\n" H "\r\nGET /b HTTP/1.1\r\n" H "\r\n";
	struct http_request req;
	size_t n;

	(void)state;
	http_request_init(&req);
	n = give(&req, two, sizeof(two) - 1);
	assert_int_equal(n, (sizeof(two) - 1) / 2);
	assert_string_equal(http_path(&req), "/a");
	http_request_init(&req);
	assert_int_equal(give(&req, two + n, sizeof(two) - 1 - n), n);
	assert_string_equal(http_path(&req), "/b");
}

static int feed(const char *begin, char fill, const char *line)
{
	struct http_request req;

	http_request_init(&req);
	give(&req, begin, strlen(begin));
	for (int i = 0; i < 20000 && req.state < HTTP_DONE; i++) {
		if (line)
			give(&req, line, strlen(line));
		else
			give(&req, &fill, 1);
	}
	assert_int_equal(req.state, HTTP_FAILED);
	return req.status;
}

static void test_too_long(void **state)
{
	(void)state;
	assert_int_equal(feed("GET /", 'a', NULL), 414);
	assert_int_equal(feed("GET / HTTP/1.1\r\nX: ", 'a', NULL), 431);
	assert_int_equal(feed("GET / HTTP/1.1\r\n", 'a', NULL), 431);
	assert_int_equal(feed("GET / HTTP/1.1\r\n", 0, "X: 1\r\n"), 431);
	assert_int_equal(feed("GET / HTTP/1.1\r\nContent-Length: ", '0', NULL), 400);
	assert_int_equal(feed("GET / HTTP/1.1\r\nHost: ", 'a', NULL), 431);
	assert_int_equal(feed("", 'A', NULL), 501);
}

static void test_noise(void **state)
{
	(void)state;
	srandom(5);
	for (int i = 0; i < 100000; i++) {
		const char *base = heads[(size_t)random() % NR_HEADS].text;
		size_t len = strlen(base);
		char *text = malloc(len);
		struct http_request req;

		memcpy(text, base, len);
		for (int flips = (int)random() % 4; flips; flips--)
			text[(size_t)random() % len] = (char)random();
		http_request_init(&req);
		assert_true(http_parse(&req, text, len) <= len);
		if (req.state == HTTP_DONE)
			assert_non_null(http_path(&req));
		free(text);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),        cmocka_unit_test(test_every_split),
		cmocka_unit_test(test_single_bytes), cmocka_unit_test(test_pipelined),
		cmocka_unit_test(test_too_long),     cmocka_unit_test(test_noise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
