/*
 * What journeys and captures need beyond lwip_fixture.h: frames that come by an interrupt, a
 * softirq and a poll, in blocks of a real pool; and a reader of the kernel's files.
 */
#ifndef TESTS_UNIT_TRACE_FIXTURE_H
#define TESTS_UNIT_TRACE_FIXTURE_H

#include "kernel/debugfs.h"
#include "tests/unit/lwip_fixture.h"

/* Group setup, instead of fx_start(): time stands, but each stamp takes 10 ns. Test setup and
 * teardown. */
int tf_start(void **state);
int tf_begin(void **state);
int tf_end(void **state);

/* Frames for the next tf_interrupt(), which brings them all in one poll; tf_rx() is both for one.
 */
void tf_queue(const void *frame, u32 len);
void tf_interrupt(void);
void tf_rx(const void *frame, u32 len);
u32 tf_udp(u8 *buf, u16 sport, u16 dport, u32 len); /* builds a datagram of len bytes */

struct tf_reader {
	struct debugfs_reader r;
	const struct debugfs_file *file;
	u32 woken;
	char *text; /* all that was read, NUL-terminated */
	size_t len, room;
};
/* What open() said. */
int tf_open(struct tf_reader *t, const char *path, const char *query);
/* Reads, at most size bytes at a time into memory of exactly that size, until -EAGAIN or 0, which
 * it returns. */
int tf_read(struct tf_reader *t, size_t size);
void tf_close(struct tf_reader *t);

#endif
