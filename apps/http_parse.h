/*
 * The head of an HTTP/1.x request (RFC 9112), byte by byte, so that it may come in pieces of any
 * size. Holds what a small server needs and nothing that grows: a method, a target, and what three
 * header fields said. No allocation, no lwIP, any context.
 */
#ifndef APPS_HTTP_PARSE_H
#define APPS_HTTP_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_HEAD_MAX 8192 /* request line and fields: beyond it 431 */
#define HTTP_METHOD_MAX 15
#define HTTP_TARGET_MAX 255 /* beyond it 414 */

enum http_state {
	HTTP_LINE_START, /* before the request line; empty lines are skipped (RFC 9112, 2.2) */
	HTTP_METHOD,
	HTTP_TARGET,
	HTTP_VERSION,
	HTTP_FIELD_START,
	HTTP_FIELD_NAME,
	HTTP_FIELD_VALUE,
	HTTP_DONE,   /* the whole head is here */
	HTTP_FAILED, /* status says what to answer; then close */
};

struct http_request {
	enum http_state state;
	uint16_t status; /* of HTTP_FAILED */
	uint16_t head_len;
	bool cr; /* the last byte was CR: LF must follow */

	char method[HTTP_METHOD_MAX + 1];
	char target[HTTP_TARGET_MAX + 1];
	const char *query; /* after http_path(): what followed its '?', or "" */
	uint8_t minor;     /* of HTTP/1.minor */
	bool keep_alive;
	bool has_body; /* Content-Length above 0, or Transfer-Encoding */
	bool chunked;

	/* The parser's own. */
	uint16_t len;   /* of what is being read: method, target, version, name or value */
	char text[40];  /* version, then a field's name */
	char value[64]; /* a field's value, if it is one of those we read */
	uint8_t field;
	uint8_t empty_lines;
	uint8_t hosts;
	bool has_length;
	uint64_t content_length;
};

void http_request_init(struct http_request *req);
/* Takes bytes up to the end of the head. Returns how many it took: all of them unless the state is
 * DONE or FAILED. */
size_t http_parse(struct http_request *req, const void *data, size_t len);
/* The path of a DONE request's target, without query; "" for a target that has none (`*`). */
const char *http_path(struct http_request *req);

#endif
