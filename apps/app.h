/*
 * What an app includes, beside lwip/(anything). An app is one init function that opens its pcbs
 *with lwIP's raw API and returns; all else happens in its callbacks, which run in softirq context,
 *one at a time, and must not block. An app owns its pcbs and nothing else.
 *
 *	static int hello_init(const struct app_args *args) { ... return 0; }
 *	APP("hello", hello_init);
 */
#ifndef APPS_APP_H
#define APPS_APP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lwip/tcp.h"

struct app_args {
	const char *name;
};

struct app {
	const char *name;
	/* 0, or a negative errno: logged, and the app is missing from the ready line. */
	int (*init)(const struct app_args *args);
	/* Started when this returns true; NULL: when `app=` names it, or there is no `app=`. */
	bool (*wanted)(void);
};

#define APP_CAT(a, b) a##b
#define APP_NAME(n) APP_CAT(app_entry_, n)
/* For an app that starts when wanted() says so, whatever `app=` names. */
#define APP_WANTED(name, init, wanted)                \
	static const struct app APP_NAME(__COUNTER__) \
		__attribute__((used, section("apps"), aligned(8))) = { name, init, wanted }
#define APP(name, init) APP_WANTED(name, init, NULL)

/* A line in the log, as printf; the prefix is yours. */
void app_log(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* As C's snprintf without floating point: the length the whole text has, or would have. */
int app_format(char *buf, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* "0.1.0" */
const char *app_version(void);

/* Milliseconds since boot; wraps after 49 days, compare by subtraction. */
uint32_t app_now_ms(void);

/* `diag` is on the command line: what shows traffic may be opened. */
bool app_diag_wanted(void);

/*
 * Listens on a TCP port on every address, IPv4 and IPv6; accept gets arg with each connection.
 * Returns 0, -ENOMEM, -EEXIST (the port is taken), or -EPERM: `random.strict` refuses TCP on this
 * machine (said in the log).
 */
int app_tcp_listen(uint16_t port, tcp_accept_fn accept, void *arg);

/* Every counter of the system in turn, as text (see kernel/stats.h). */
void app_for_each_stat(void (*emit)(void *ctx, const char *name, const char *value), void *ctx);

#endif
