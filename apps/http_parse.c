/* See http_parse.h. Strict where leniency has been a hole (RFC 9112, 11): one way to end a line,
 * one length. */
#include "apps/http_parse.h"

#include <string.h>

/* Fields that matter to us; all others are skipped, but must be well formed. */
enum { FIELD_OTHER, FIELD_CONNECTION, FIELD_LENGTH, FIELD_TRANSFER, FIELD_HOST };
static const char *const field_name[] = {
	[FIELD_CONNECTION] = "connection",
	[FIELD_LENGTH] = "content-length",
	[FIELD_TRANSFER] = "transfer-encoding",
	[FIELD_HOST] = "host",
};
#define NR_FIELDS (sizeof(field_name) / sizeof(field_name[0]))
#define EMPTY_LINES_MAX 4
#define HTTP_VERSION_LEN 8 /* "HTTP/1.1" */

void http_request_init(struct http_request *req)
{
	memset(req, 0, sizeof(*req));
}

static void fail(struct http_request *req, uint16_t status)
{
	req->state = HTTP_FAILED;
	req->status = status;
	req->keep_alive = false;
}

/* Which bytes may follow one another: of a token (RFC 9110, 5.6.2), a target, a field's value. */
enum { TOKEN = 1, TARGET = 2, VALUE = 4 };
#define V VALUE
#define T (TARGET | VALUE)
#define A (TOKEN | TARGET | VALUE)
static const uint8_t class_of[256] = {
	/* clang-format off */
	0, 0, 0, 0, 0, 0, 0, 0, 0, V, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	/*  ! " # $ % & ' ( ) * + , - . / 0 1 2 3 4 5 6 7 8 9 : ; < = > ? */
	V, A, T, A, A, A, A, A, T, T, A, A, T, A, A, T, A, A, A, A, A, A, A, A, A, A, T, T, T, T, T, T,
	/* @ A ... Z [ \ ] ^ _ */
	T, A, A, A, A, A, A, A, A, A, A, A, A, A, A, A, A, A, A, A, A, A, A, A, A, A, A, T, T, T, A, A,
	/* ` a ... z { | } ~ */
	A, A, A, A, A, A, A, A, A, A, A, A, A, A, A, A, A, A, A, A, A, A, A, A, A, A, A, T, A, T, A, 0,
	/* Not ASCII: in values only. */
	V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V,
	V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V,
	V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V,
	V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V,
	/* clang-format on */
};
#undef V
#undef T
#undef A

static bool is_token(char c)
{
	return class_of[(uint8_t)c] & TOKEN;
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static void enter(struct http_request *req, enum http_state state)
{
	req->state = state;
	req->len = 0;
}

/* ---- the request line ---- */

static void on_method(struct http_request *req, char c)
{
	if (c == ' ' && req->len) {
		enter(req, HTTP_TARGET);
	} else if (!is_token(c)) {
		fail(req, 400);
	} else if (req->len == HTTP_METHOD_MAX) {
		fail(req, 501);
	} else {
		req->method[req->len++] = c;
	}
}

/* RFC 9112, 3.2: origin-form, absolute-form, or `*` for OPTIONS. */
static bool target_ok(const struct http_request *req)
{
	const char *t = req->target;

	return t[0] == '/' || !strncmp(t, "http://", 7) ||
	       (!strcmp(t, "*") && !strcmp(req->method, "OPTIONS"));
}

static void on_target(struct http_request *req, char c)
{
	if (c == ' ') {
		if (target_ok(req))
			enter(req, HTTP_VERSION);
		else
			fail(req, 400);
	} else if (!(class_of[(uint8_t)c] & TARGET)) {
		fail(req, 400);
	} else if (req->len == HTTP_TARGET_MAX) {
		fail(req, 414);
	} else {
		req->target[req->len++] = c;
	}
}

static void end_version(struct http_request *req)
{
	const char *v = req->text;

	if (req->len != HTTP_VERSION_LEN || strncmp(v, "HTTP/", 5) || v[5] < '0' || v[5] > '9' ||
	    v[6] != '.' || v[7] < '0' || v[7] > '9') {
		fail(req, 400);
	} else if (v[5] != '1') {
		fail(req, 505);
	} else {
		req->minor = (uint8_t)(v[7] - '0');
		req->keep_alive = req->minor >= 1; /* RFC 9112, 9.3 */
		enter(req, HTTP_FIELD_START);
	}
}

static void on_version(struct http_request *req, char c)
{
	if (c == '\n')
		end_version(req);
	else if (req->len == HTTP_VERSION_LEN || c <= ' ')
		fail(req, 400);
	else
		req->text[req->len++] = c;
}

/* ---- the fields ---- */

static void on_name(struct http_request *req, char c)
{
	if (c == ':' && req->len) {
		req->text[req->len < sizeof(req->text) ? req->len : 0] = '\0';
		req->field = FIELD_OTHER;
		for (uint8_t i = 1; i < NR_FIELDS; i++) {
			if (!strcmp(req->text, field_name[i]))
				req->field = i;
		}
		enter(req, HTTP_FIELD_VALUE);
	} else if (!is_token(c)) {
		fail(req, 400); /* a space before the colon, too (RFC 9112, 5.1) */
	} else {
		if (req->len < sizeof(req->text))
			req->text[req->len] = lower(c);
		req->len++;
	}
}

/* Is one of the comma-separated words of a value? */
static bool has_word(const char *value, const char *word)
{
	size_t n = strlen(word);

	while (*value) {
		const char *end;

		while (*value == ' ' || *value == '\t' || *value == ',')
			value++;
		for (end = value; *end && *end != ',' && *end != ' ' && *end != '\t';)
			end++;
		if ((size_t)(end - value) == n && !strncmp(value, word, n))
			return true;
		value = end;
	}
	return false;
}

/* RFC 9110, 8.6: digits. A second one, even if equal, is refused. */
static void end_content_length(struct http_request *req)
{
	const char *v = req->value;

	if (req->has_length || !*v || strlen(v) > 18) {
		fail(req, 400);
		return;
	}
	req->has_length = true;
	for (; *v; v++) {
		if (*v < '0' || *v > '9') {
			fail(req, 400);
			return;
		}
		req->content_length = req->content_length * 10 + (uint64_t)(*v - '0');
	}
}

static void end_value(struct http_request *req)
{
	while (req->len && (req->value[req->len - 1] == ' ' || req->value[req->len - 1] == '\t'))
		req->len--;
	req->value[req->len] = '\0';
	switch (req->field) {
	case FIELD_CONNECTION:
		if (has_word(req->value, "close"))
			req->keep_alive = false;
		else if (has_word(req->value, "keep-alive"))
			req->keep_alive = true;
		break;
	case FIELD_LENGTH:
		end_content_length(req);
		break;
	case FIELD_TRANSFER:
		req->chunked = true;
		break;
	case FIELD_HOST:
		req->hosts++;
		break;
	default:
		break;
	}
	if (req->state != HTTP_FAILED)
		enter(req, HTTP_FIELD_START);
}

static void on_value(struct http_request *req, char c)
{
	if (c == '\n') {
		end_value(req);
	} else if (!(class_of[(uint8_t)c] & VALUE)) {
		fail(req, 400);
	} else if (req->field == FIELD_OTHER || req->field == FIELD_HOST ||
		   (req->len == 0 && (c == ' ' || c == '\t'))) {
		return;
	} else if (req->len < sizeof(req->value) - 1) {
		req->value[req->len++] = lower(c);
	} else if (req->field == FIELD_LENGTH) {
		fail(req, 400); /* of the others a beginning is enough */
	}
}

static void end_head(struct http_request *req)
{
	req->has_body = req->chunked || req->content_length > 0;
	/* RFC 9112, 3.2: exactly one Host in HTTP/1.1; 6.1: not two ways to say the length. */
	if (req->hosts > 1 || (req->minor >= 1 && !req->hosts) || (req->chunked && req->has_length))
		fail(req, 400);
	else
		req->state = HTTP_DONE;
}

/* ---- */

static void on_line_start(struct http_request *req, char c)
{
	if (c != '\n') {
		enter(req, HTTP_METHOD);
		on_method(req, c);
	} else if (++req->empty_lines > EMPTY_LINES_MAX) {
		fail(req, 400);
	}
}

static void on_field_start(struct http_request *req, char c)
{
	if (c == '\n') {
		end_head(req);
	} else {
		enter(req, HTTP_FIELD_NAME);
		on_name(req, c); /* a line that begins with a space is no token: obsolete folding is
				    refused */
	}
}

/* c is not CR; a line's end is seen as LF alone. */
static void on_byte(struct http_request *req, char c)
{
	switch (req->state) {
	case HTTP_LINE_START:
		on_line_start(req, c);
		break;
	case HTTP_METHOD:
		on_method(req, c);
		break;
	case HTTP_TARGET:
		on_target(req, c);
		break;
	case HTTP_VERSION:
		on_version(req, c);
		break;
	case HTTP_FIELD_START:
		on_field_start(req, c);
		break;
	case HTTP_FIELD_NAME:
		on_name(req, c);
		break;
	case HTTP_FIELD_VALUE:
		on_value(req, c);
		break;
	default:
		break;
	}
}

static size_t min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* How many bytes from p on are of this class, at most n. */
static size_t run_of(const char *p, size_t n, uint8_t class)
{
	size_t i = 0;

	while (i < n && class_of[(uint8_t)p[i]] & class)
		i++;
	return i;
}

/*
 * As many bytes at once as only lengthen what is being read; what on_byte() would do with each, but
 * quicker. Most bytes of a head are of this kind.
 */
static size_t take_run(struct http_request *req, const char *p, size_t n)
{
	size_t k = 0;

	n = min_size(n, HTTP_HEAD_MAX - req->head_len);
	switch (req->state) {
	case HTTP_METHOD:
		k = run_of(p, min_size(n, HTTP_METHOD_MAX - req->len), TOKEN);
		memcpy(req->method + req->len, p, k);
		req->len += (uint16_t)k;
		break;
	case HTTP_TARGET:
		k = run_of(p, min_size(n, HTTP_TARGET_MAX - req->len), TARGET);
		memcpy(req->target + req->len, p, k);
		req->len += (uint16_t)k;
		break;
	case HTTP_VERSION:
		k = run_of(p, min_size(n, HTTP_VERSION_LEN - req->len), TARGET);
		memcpy(req->text + req->len, p, k);
		req->len += (uint16_t)k;
		break;
	case HTTP_FIELD_NAME:
		k = run_of(p, n, TOKEN);
		for (size_t i = 0; i < k; i++, req->len++) {
			if (req->len < sizeof(req->text))
				req->text[req->len] = lower(p[i]);
		}
		break;
	case HTTP_FIELD_VALUE:
		if (req->field == FIELD_OTHER || req->field == FIELD_HOST)
			k = run_of(p, n, VALUE);
		break;
	default:
		break;
	}
	req->head_len += (uint16_t)k;
	return k;
}

size_t http_parse(struct http_request *req, const void *data, size_t len)
{
	const char *p = data;
	size_t n = 0;

	while (n < len && req->state < HTTP_DONE) {
		char c;

		if (!req->cr) {
			n += take_run(req, p + n, len - n);
			if (n == len)
				break;
		}
		c = p[n++];
		if (++req->head_len > HTTP_HEAD_MAX) {
			fail(req, 431);
		} else if (req->cr && c != '\n') {
			fail(req, 400); /* a lone CR (RFC 9112, 2.2) */
		} else if (c == '\r') {
			req->cr = true;
		} else {
			req->cr = false;
			on_byte(req, c);
		}
	}
	return n;
}

const char *http_path(struct http_request *req)
{
	char *path = req->target, *query;

	req->query = "";
	if (path[0] != '/') {
		path = strncmp(path, "http://", 7) ? NULL : strchr(path + 7, '/');
		if (!path)
			return req->target[0] == '*' ? "" : "/";
	}
	query = strchr(path, '?');
	if (query) {
		*query = '\0';
		req->query = query + 1;
	}
	return path;
}
