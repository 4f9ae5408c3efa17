/*
 * Starts the apps that are linked in, says when all of it is ready, and gives them the few things
 * that lwIP does not (app.h).
 */
#include "apps/app.h"

#include "apps/run.h"
#include "kernel/init.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/string.h"
#include "kernel/printk.h"
#include "kernel/random.h"
#include "kernel/softirq.h"
#include "kernel/stats.h"
#include "kernel/time.h"
#include "kernel/variant.h"
#include "kernel/x86/tsc.h"
#include "net/lwip/stack.h"

#include "lwip/netif.h"

extern const struct app __start_apps[], __stop_apps[];

static char app_list[128]; /* what `app=` said; "": all */
static char running[128];  /* for the ready line, in link order */
static bool diag_wanted;

/* ---- the command line ---- */

static bool in_list(const char *list, const char *name)
{
	size_t len = strlen(name);

	while (*list) {
		const char *end = strchr(list, ',');
		size_t n = end ? (size_t)(end - list) : strlen(list);

		if (n == len && !strncmp(list, name, n))
			return true;
		list += n + (end != NULL);
	}
	return false;
}

/* One that starts for a reason of its own (diag) is no matter of `app=` and the ready line. */
static bool selectable(const struct app *a)
{
	return !a->wanted;
}

static bool is_linked(const char *name, size_t len)
{
	for (const struct app *a = __start_apps; a < __stop_apps; a++) {
		if (selectable(a) && strlen(a->name) == len && !strncmp(a->name, name, len))
			return true;
	}
	return false;
}

/* Adds a name to a list with commas between. */
static void append(char *list, size_t size, const char *name)
{
	size_t len = strlen(list);

	scnprintf(list + len, size - len, "%s%s", len ? "," : "", name);
}

static int setup_app(const char *val)
{
	char linked[128] = "";

	if (!val || !*val || strlen(val) >= sizeof(app_list))
		return -EINVAL;
	for (const char *p = val; *p;) {
		const char *end = strchr(p, ',');
		size_t len = end ? (size_t)(end - p) : strlen(p);

		if (!is_linked(p, len)) {
			for (const struct app *a = __start_apps; a < __stop_apps; a++) {
				if (selectable(a))
					append(linked, sizeof(linked), a->name);
			}
			pr_err("app=: there is no app %.*s in this image; it has %s\n", (int)len, p,
			       linked);
			return -EINVAL;
		}
		p += len + (end != NULL);
	}
	strscpy(app_list, val, sizeof(app_list));
	return 0;
}
__setup("app", setup_app);

static int setup_diag(const char *val)
{
	if (!val) {
		diag_wanted = true;
		return 0;
	}
	return param_set_bool(val, &diag_wanted);
}
__setup("diag", setup_diag);

/* ---- start ---- */

static void start(const struct app *a)
{
	const struct app_args args = { .name = a->name };
	int err = a->init(&args);

	if (err)
		pr_err("%s: does not start (error %d)\n", a->name, err);
	else if (selectable(a))
		append(running, sizeof(running), a->name);
}

/* Bits of a netmask: contiguous, as ipconfig.c and lwIP's DHCP client have it. */
static unsigned int prefix_length(const ip4_addr_t *netmask)
{
	unsigned int n = 0;

	for (u32 m = lwip_ntohl(ip4_addr_get_u32(netmask)); m & 0x80000000u; m <<= 1)
		n++;
	return n;
}

/*
 * An address is there; the apps have been listening since apps_init(). Said again when it changes.
 */
static void ready(const struct netif *netif)
{
	static ip4_addr_t said_ip, said_mask, said_gw;
	const ip4_addr_t *ip = netif_ip4_addr(netif), *mask = netif_ip4_netmask(netif),
			 *gw = netif_ip4_gw(netif);
	char ip_text[IP4ADDR_STRLEN_MAX], gw_text[IP4ADDR_STRLEN_MAX];

	if (ip4_addr_isany(ip)) {
		said_ip = *ip; /* the same address again is news then */
		return;
	}
	if (ip4_addr_eq(ip, &said_ip) && ip4_addr_eq(mask, &said_mask) && ip4_addr_eq(gw, &said_gw))
		return;
	said_ip = *ip;
	said_mask = *mask;
	said_gw = *gw;
	tsc_mark_ready();
	console_line("barewire: ready ip=%s/%u gw=%s mac=" MAC_FMT " apps=%s",
		     ip4addr_ntoa_r(ip, ip_text, sizeof(ip_text)), prefix_length(mask),
		     ip4addr_ntoa_r(gw, gw_text, sizeof(gw_text)), MAC_ARG(netif->hwaddr), running);
}

void apps_init(void)
{
	local_bh_disable();
	for (const struct app *a = __start_apps; a < __stop_apps; a++) {
		if (a->wanted ? a->wanted() : !app_list[0] || in_list(app_list, a->name))
			start(a);
	}
	lwip_on_address(ready);
	local_bh_enable();
}

/* ---- app.h ---- */

void app_log(const char *fmt, ...)
{
	char text[200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	pr_info("%s\n", text);
}

int app_format(char *buf, size_t size, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(buf, size, fmt, ap);
	va_end(ap);
	return n;
}

uint32_t app_now_ms(void)
{
	return (uint32_t)(ktime_get() / NSEC_PER_MSEC);
}

const char *app_version(void)
{
	return barewire_version;
}

bool app_diag_wanted(void)
{
	return diag_wanted;
}

int app_tcp_listen(uint16_t port, tcp_accept_fn accept, void *arg)
{
	struct tcp_pcb *pcb, *listener;
	err_t err;

	if (!random_tcp_allowed()) {
		pr_err("port %u: TCP is refused: no hardware source of randomness, and random.strict\n",
		       port);
		return -EPERM;
	}
	pcb = tcp_new_ip_type(IPADDR_TYPE_ANY);
	if (!pcb)
		return -ENOMEM;
	err = tcp_bind(pcb, IP_ANY_TYPE, port);
	listener = err == ERR_OK ?
			   tcp_listen_with_backlog_and_err(pcb, TCP_DEFAULT_LISTEN_BACKLOG, &err) :
			   NULL;
	if (!listener) {
		tcp_close(pcb);
		return err == ERR_USE ? -EEXIST : -ENOMEM;
	}
	tcp_arg(listener, arg);
	tcp_accept(listener, accept);
	return 0;
}

struct for_each {
	struct stats_sink sink; /* first: a sink's address is its own */
	void (*emit)(void *ctx, const char *name, const char *value);
	void *ctx;
};

static void for_each_emit(struct stats_sink *s, const char *name, const char *value)
{
	struct for_each *f = (struct for_each *)s;

	f->emit(f->ctx, name, value);
}

void app_for_each_stat(void (*emit)(void *ctx, const char *name, const char *value), void *ctx)
{
	struct for_each f = { .sink = { .emit = for_each_emit }, .emit = emit, .ctx = ctx };

	stats_dump(&f.sink);
}
