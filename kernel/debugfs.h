/*
 * What the kernel shows of itself while it runs, as files in Linux's debugfs are: a path, and what
 * is to be read there. Whoever has something to show declares it; the diag app (port 9100, only
 * with `diag`) is the one reader. Softirq context throughout, one call at a time.
 *
 *	DEBUGFS_FILE(stack_file) = { .path = "/stack", .type = "text/plain", .open = ... };
 */
#ifndef KERNEL_DEBUGFS_H
#define KERNEL_DEBUGFS_H

#include "kernel/lib/types.h"

/* One who reads one file. The reader's side fills the first part before open(). */
struct debugfs_reader {
	const char *name;  /* behind the file's path; "" if that is all */
	const char *query; /* "n=3&match=icmp", as it came; only valid during open() */
	/* To be called, in any context, when a read that said -EAGAIN would say something else. */
	void (*wake)(struct debugfs_reader *r);

	void *private;  /* the file's */
	char error[96]; /* open(): why not, in words; may stay empty */
};

struct debugfs_file {
	/* Exact; or, with a '/' at its end, the beginning of the paths it serves. */
	const char *path;
	const char *type; /* media type */
	/* 0, -ENOENT (no such thing), -EINVAL (the query is wrong), -EBUSY (somebody else reads, it
	 * serves one at a time), -ENOMEM. */
	int (*open)(struct debugfs_reader *r);
	/* Bytes put into buf, at most size (2048 at least); 0 at the end; -EAGAIN: nothing yet. */
	int (*read)(struct debugfs_reader *r, char *buf, size_t size);
	/* After an open() that said 0: the end, or the reader has gone. May be NULL. */
	void (*release)(struct debugfs_reader *r);
};

#define DEBUGFS_FILE(ident)                           \
	static const struct debugfs_file ident __used \
		__attribute__((section("debugfs_files"), aligned(8)))

/* The file for a path, or NULL; *name is what the path has beyond the file's. */
const struct debugfs_file *debugfs_lookup(const char *path, const char **name);

/*
 * The value of key in a query, percent-decoded (and '+' a space), into buf: its length, or -ENOENT,
 * or -EINVAL if it does not fit or is not well encoded.
 */
int debugfs_query(const char *query, const char *key, char *buf, size_t size);
/* The same as a number from min to max; without the key, *val stays. 0, or -EINVAL with r->error.
 */
int __must_check debugfs_query_u32(struct debugfs_reader *r, const char *key, u32 min, u32 max,
				   u32 *val);

/*
 * Text that is made in pieces, each of which fits into a read() or waits for the next one (Linux's
 * seq_file, turned round):
 *
 *	while (next item) { seq_begin(&s); seq_printf(&s, ...); if (!seq_end(&s)) break; }
 */
struct seq_file {
	char *buf;
	size_t size, len;
	size_t begin;
	bool full;
};
static inline void seq_init(struct seq_file *s, char *buf, size_t size)
{
	*s = (struct seq_file){ .buf = buf, .size = size };
}
static inline void seq_begin(struct seq_file *s)
{
	s->begin = s->len;
}
void seq_printf(struct seq_file *s, const char *fmt, ...) __printf(2, 3);
/* False: it did not fit, and is taken back. */
bool seq_end(struct seq_file *s);

#endif
