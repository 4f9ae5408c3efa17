/*
 * Counters by name, for `diag` (/netstat) and the tests. Whoever has counters declares a provider;
 * the reader gets "name value" pairs in link order. Task or softirq context.
 *
 *	static void my_stats(struct stats_sink *s) { stats_u64(s, n, "eth0_", "rx_packets"); }
 *	STATS_PROVIDER(my_stats);
 */
#ifndef KERNEL_STATS_H
#define KERNEL_STATS_H

#include "kernel/lib/types.h"

struct stats_sink {
	/* name: [a-z0-9_.]+; value: printable, no space. Both only valid during the call. */
	void (*emit)(struct stats_sink *s, const char *name, const char *value);
};

typedef void (*stats_provider_t)(struct stats_sink *s);

#define STATS_PROVIDER(fn)                                \
	static const stats_provider_t __stats_##fn __used \
		__attribute__((section("stats_providers"), aligned(8))) = fn

/* Emits prefix and name joined. prefix may be NULL. */
void stats_u64(struct stats_sink *s, const char *prefix, const char *name, u64 value);
/* A pool: "used/max/size". */
void stats_pool(struct stats_sink *s, const char *prefix, const char *name, u64 used, u64 most,
		u64 size);
/* Whatever else there is to say, as printf: printable, no space, less than 192 bytes. */
void stats_text(struct stats_sink *s, const char *prefix, const char *name, const char *fmt, ...)
	__printf(4, 5);
/* Calls every provider. */
void stats_dump(struct stats_sink *s);

#endif
