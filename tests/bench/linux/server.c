/*
 * The one program of the Linux guest: what apps/echo and apps/http serve, in plain C over epoll,
 * one thread. (With -DUSE_POLL it needs poll(2) only and builds for other POSIX systems, too.)
 *
 *   TCP 7   echo     (RFC 862)      UDP 7  echo
 *   TCP 9   discard  (RFC 863)
 *   TCP 19  chargen  (RFC 864: data until the peer closes, in big writes)
 *   TCP 80  HTTP/1.1 keep-alive; any GET is answered with 1024 fixed bytes
 *
 * The address is configured outside.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#if !defined(__linux__) && !defined(USE_EPOLL)
#define USE_POLL 1
#endif
#ifdef USE_POLL
#include <poll.h>
#define EV_IN POLLIN
#define EV_OUT POLLOUT
#else
#include <sys/epoll.h>
#define EV_IN EPOLLIN
#define EV_OUT EPOLLOUT
#endif

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

#define MAXFD 16384 /* descriptors served at once */
#define BUFSZ 65536
#define HTTPBUF 4096 /* longest request head */
#define BODY 1024

enum kind {
	FREE,
	L_ECHO,
	L_DISCARD,
	L_CHARGEN,
	L_HTTP,
	U_ECHO,
	C_ECHO,
	C_DISCARD,
	C_CHARGEN,
	C_HTTP
};

struct conn {
	int fd;
	enum kind kind;
	int want;    /* events asked for */
	int closing; /* close once the output is gone */
	char *buf;   /* echo: data owed; HTTP: request head */
	size_t off, len;
	size_t owed, sent; /* HTTP: answers owed, bytes of the first out */
};

static struct conn tab[MAXFD];
static char iobuf[BUFSZ];
static char pattern[BUFSZ];
static char reply[BODY + 256];
static size_t reply_len;
#ifdef USE_POLL
static struct pollfd pfd[MAXFD];
static int npfd;
#else
static int ep;
#endif

static void die(const char *what)
{
	fprintf(stderr, "bench_server: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void set_want(struct conn *c, int want)
{
	if (c->want == want)
		return;
	c->want = want;
#ifndef USE_POLL
	struct epoll_event e = { .events = want, .data.ptr = c };
	if (epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e) < 0)
		die("epoll_ctl");
#endif
}

static struct conn *add(int fd, enum kind kind, int want)
{
	struct conn *c = NULL;

	for (int i = 0; i < MAXFD && !c; i++)
		if (tab[i].kind == FREE)
			c = &tab[i];
	if (!c) {
		close(fd);
		return NULL;
	}
	char *keep = c->buf;
	memset(c, 0, sizeof *c);
	c->buf = keep;
	if (!c->buf && (kind == C_ECHO || kind == C_HTTP) && !(c->buf = malloc(BUFSZ))) {
		close(fd);
		return NULL;
	}
	c->fd = fd;
	c->kind = kind;
	c->want = want;
#ifndef USE_POLL
	struct epoll_event e = { .events = want, .data.ptr = c };
	if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) < 0)
		die("epoll_ctl");
#endif
	return c;
}

static void drop(struct conn *c)
{
#ifndef USE_POLL
	epoll_ctl(ep, EPOLL_CTL_DEL, c->fd, NULL);
#endif
	close(c->fd);
	c->kind = FREE;
}

static void nonblock(int fd)
{
	int f = fcntl(fd, F_GETFL, 0);
	if (f < 0 || fcntl(fd, F_SETFL, f | O_NONBLOCK) < 0)
		die("O_NONBLOCK");
}

static void listen_on(int type, int port, enum kind kind)
{
	struct sockaddr_in a;
	int one = 1, fd = socket(AF_INET, type, 0);

	if (fd < 0)
		die("socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	memset(&a, 0, sizeof a);
	a.sin_family = AF_INET;
	a.sin_port = htons(port);
	a.sin_addr.s_addr = htonl(INADDR_ANY);
	if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0)
		die("bind");
	if (type == SOCK_STREAM && listen(fd, 64) < 0)
		die("listen");
	nonblock(fd);
	if (!add(fd, kind, EV_IN))
		die("table");
}

static int again(void)
{
	return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

static void on_accept(struct conn *l)
{
	int one = 1, fd = accept(l->fd, NULL, NULL);

	if (fd < 0)
		return;
	nonblock(fd);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	enum kind k;
	switch (l->kind) {
	case L_ECHO:
		k = C_ECHO;
		break;
	case L_DISCARD:
		k = C_DISCARD;
		break;
	case L_CHARGEN:
		k = C_CHARGEN;
		break;
	default:
		k = C_HTTP;
		break;
	}
	add(fd, k, k == C_CHARGEN ? EV_IN | EV_OUT : EV_IN);
}

static void on_udp(struct conn *c)
{
	struct sockaddr_in from;
	for (int i = 0; i < 32; i++) {
		socklen_t fl = sizeof from;
		ssize_t n = recvfrom(c->fd, iobuf, sizeof iobuf, 0, (struct sockaddr *)&from, &fl);
		if (n < 0)
			return;
		sendto(c->fd, iobuf, n, MSG_NOSIGNAL, (struct sockaddr *)&from, fl);
	}
}

/* Sends what an echo connection owes; -1 when the connection is gone. */
static int echo_flush(struct conn *c)
{
	while (c->len) {
		ssize_t n = send(c->fd, c->buf + c->off, c->len, MSG_NOSIGNAL);
		if (n < 0) {
			if (!again()) {
				drop(c);
				return -1;
			}
			set_want(c, EV_OUT);
			return 0;
		}
		c->off += n;
		c->len -= n;
	}
	c->off = 0;
	set_want(c, EV_IN);
	return 0;
}

static void on_echo(struct conn *c, int ev)
{
	if (c->len) { /* nothing is read before it is all sent */
		if ((ev & ~EV_IN) && echo_flush(c) < 0)
			return;
		if (c->len)
			return;
	}
	if (!(ev & ~EV_OUT))
		return;
	ssize_t n = recv(c->fd, c->buf, BUFSZ, 0);
	if (n < 0) {
		if (!again())
			drop(c);
		return;
	}
	if (n == 0) {
		drop(c);
		return;
	}
	c->off = 0;
	c->len = n;
	echo_flush(c);
}

static void on_discard(struct conn *c)
{
	ssize_t n = recv(c->fd, iobuf, sizeof iobuf, 0);
	if (n == 0 || (n < 0 && !again()))
		drop(c);
}

static void on_chargen(struct conn *c, int ev)
{
	if (ev & ~EV_OUT) {
		ssize_t n = recv(c->fd, iobuf, sizeof iobuf, 0);
		if (n == 0 || (n < 0 && !again())) {
			drop(c);
			return;
		}
	}
	if (ev & EV_OUT) {
		ssize_t n = send(c->fd, pattern, sizeof pattern, MSG_NOSIGNAL);
		if (n < 0 && !again())
			drop(c);
	}
}

static int http_flush(struct conn *c)
{
	while (c->owed) {
		ssize_t n = send(c->fd, reply + c->sent, reply_len - c->sent, MSG_NOSIGNAL);
		if (n < 0) {
			if (!again()) {
				drop(c);
				return -1;
			}
			set_want(c, EV_OUT);
			return 0;
		}
		c->sent += n;
		if (c->sent == reply_len) {
			c->sent = 0;
			c->owed--;
		}
	}
	if (c->closing) {
		drop(c);
		return -1;
	}
	set_want(c, EV_IN);
	return 0;
}

/* End of the request head in p[0..n), or 0.  Sets *bye on "Connection: close". */
static size_t head_end(const char *p, size_t n, int *bye)
{
	const char *s = p, *end = p + n;

	*bye = 0;
	for (;;) {
		const char *nl = memchr(s, '\n', end - s);
		if (!nl)
			return 0;
		size_t l = nl - s;
		if (l && s[l - 1] == '\r')
			l--;
		if (l == 0 && s != p)
			return nl + 1 - p;
		if (l >= 17 && !strncasecmp(s, "connection: close", 17))
			*bye = 1;
		s = nl + 1;
	}
}

static void on_http(struct conn *c, int ev)
{
	int bye;
	size_t e;

	if (c->owed) {
		if ((ev & ~EV_IN) && http_flush(c) < 0)
			return;
		if (c->owed)
			return;
	}
	if (!(ev & ~EV_OUT))
		return;
	ssize_t n = recv(c->fd, c->buf + c->len, HTTPBUF - c->len, 0);
	if (n < 0) {
		if (!again())
			drop(c);
		return;
	}
	if (n == 0) {
		drop(c);
		return;
	}
	c->len += n;
	c->off = 0;
	while (!c->closing && (e = head_end(c->buf + c->off, c->len, &bye))) {
		if (memcmp(c->buf + c->off, "GET ", 4)) {
			static const char no[] = "HTTP/1.1 501 Not Implemented\r\n"
						 "Content-Length: 0\r\nConnection: close\r\n\r\n";
			send(c->fd, no, sizeof no - 1, MSG_NOSIGNAL);
			drop(c);
			return;
		}
		c->owed++;
		c->off += e;
		c->len -= e;
		c->closing = bye;
	}
	if (c->off && c->len)
		memmove(c->buf, c->buf + c->off, c->len);
	c->off = 0;
	if (c->len == HTTPBUF) {
		drop(c);
		return;
	}
	if (c->owed)
		http_flush(c);
}

static void handle(struct conn *c, int ev)
{
	switch (c->kind) {
	case L_ECHO:
	case L_DISCARD:
	case L_CHARGEN:
	case L_HTTP:
		on_accept(c);
		break;
	case U_ECHO:
		on_udp(c);
		break;
	case C_ECHO:
		on_echo(c, ev);
		break;
	case C_DISCARD:
		on_discard(c);
		break;
	case C_CHARGEN:
		on_chargen(c, ev);
		break;
	case C_HTTP:
		on_http(c, ev);
		break;
	case FREE:
		break;
	}
}

int main(void)
{
	struct rlimit files = { MAXFD + 64, MAXFD + 64 };

	signal(SIGPIPE, SIG_IGN);
	if (setrlimit(RLIMIT_NOFILE, &files) < 0)
		die("RLIMIT_NOFILE");
	for (int i = 0; i < BUFSZ; i++)
		pattern[i] = ' ' + i % 95;
	reply_len = snprintf(reply, 256,
			     "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
			     "Content-Length: %d\r\n\r\n",
			     BODY);
	for (int i = 0; i < BODY; i++)
		reply[reply_len + i] = i % 64 == 63 ? '\n' : 'a' + i % 26;
	reply_len += BODY;
#ifndef USE_POLL
	if ((ep = epoll_create1(0)) < 0)
		die("epoll_create1");
#endif
	listen_on(SOCK_STREAM, 7, L_ECHO);
	listen_on(SOCK_STREAM, 9, L_DISCARD);
	listen_on(SOCK_STREAM, 19, L_CHARGEN);
	listen_on(SOCK_STREAM, 80, L_HTTP);
	listen_on(SOCK_DGRAM, 7, U_ECHO);
	printf("bench_server: ready\n");
	fflush(stdout);

	for (;;) {
#ifdef USE_POLL
		static struct conn *who[MAXFD];
		npfd = 0;
		for (int i = 0; i < MAXFD; i++)
			if (tab[i].kind != FREE) {
				who[npfd] = &tab[i];
				pfd[npfd].fd = tab[i].fd;
				pfd[npfd].events = tab[i].want;
				pfd[npfd++].revents = 0;
			}
		int n = poll(pfd, npfd, -1);
		if (n < 0 && errno != EINTR)
			die("poll");
		for (int i = 0; n > 0 && i < npfd; i++)
			if (pfd[i].revents)
				handle(who[i], pfd[i].revents);
#else
		struct epoll_event evs[32];
		int n = epoll_wait(ep, evs, 32, -1);
		if (n < 0 && errno != EINTR)
			die("epoll_wait");
		for (int i = 0; i < n; i++)
			handle(evs[i].data.ptr, evs[i].events);
#endif
	}
}
