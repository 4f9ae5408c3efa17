/* See debugfs.h. */
#include "kernel/debugfs.h"

#include "kernel/lib/errno.h"
#include "kernel/lib/string.h"

extern const struct debugfs_file __start_debugfs_files[], __stop_debugfs_files[];

const struct debugfs_file *debugfs_lookup(const char *path, const char **name)
{
	for (const struct debugfs_file *f = __start_debugfs_files; f < __stop_debugfs_files; f++) {
		size_t n = strlen(f->path);

		if (strncmp(path, f->path, n) || (path[n] && f->path[n - 1] != '/'))
			continue;
		*name = path + n;
		return f;
	}
	return NULL;
}

/* ---- queries ---- */

/* One character of a value; *p moves behind it. Negative: not well encoded. */
static int decode(const char **p)
{
	char c = *(*p)++;
	int hi, lo;

	if (c == '+')
		return ' ';
	if (c != '%')
		return (u8)c;
	hi = hex_to_bin((*p)[0]);
	lo = hi < 0 ? -1 : hex_to_bin((*p)[1]);
	if (lo < 0 || hi + lo == 0)
		return -EINVAL;
	*p += 2;
	return hi << 4 | lo;
}

int debugfs_query(const char *query, const char *key, char *buf, size_t size)
{
	size_t n = strlen(key), len = 0;

	for (;;) {
		if (!strncmp(query, key, n) && query[n] == '=')
			break;
		query = strchr(query, '&');
		if (!query)
			return -ENOENT;
		query++;
	}
	query += n + 1;
	while (*query && *query != '&') {
		int c = decode(&query);

		if (c < 0 || len + 1 >= size)
			return -EINVAL;
		buf[len++] = (char)c;
	}
	buf[len] = '\0';
	return (int)len;
}

int debugfs_query_u32(struct debugfs_reader *r, const char *key, u32 min, u32 max, u32 *val)
{
	char text[16];
	int len = debugfs_query(r->query, key, text, sizeof(text));
	u64 n;

	if (len == -ENOENT)
		return 0;
	if (len > 0 && !kstrtoull(text, 10, &n) && n >= min && n <= max) {
		*val = (u32)n;
		return 0;
	}
	snprintf(r->error, sizeof(r->error), "%s= is a number from %u to %u", key, min, max);
	return -EINVAL;
}

/* ---- text ---- */

void seq_printf(struct seq_file *s, const char *fmt, ...)
{
	size_t room = s->size - s->len;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(s->buf + s->len, room, fmt, ap);
	va_end(ap);
	if ((size_t)n < room)
		s->len += (size_t)n;
	else
		s->full = true;
}

bool seq_end(struct seq_file *s)
{
	if (!s->full)
		return true;
	s->len = s->begin;
	return false;
}
