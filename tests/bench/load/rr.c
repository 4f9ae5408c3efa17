/* Request and response: TCP, UDP, connections, HTTP. */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

void t_tcp_rr(size_t size, long n, double secs)
{
	int fd = tcp(7);
	char *a = malloc(size), *b = malloc(size);
	long i;

	rng_state = 88172645463325252ull;
	fill(a, size);
	for (i = 0; i < 50; i++) {
		send_all(fd, a, size);
		recv_all(fd, b, size);
	}
	begin();
	for (i = 0; (!n || i < n) && now() - s0.t < secs * 1e9; i++) {
		uint64_t t = now();
		a[0] = i;
		send_all(fd, a, size);
		recv_all(fd, b, size);
		add_lat(now() - t);
		if (memcmp(a, b, size))
			fail("tcp_rr: echo differs");
		pace();
	}
	finish();
	report("tcp_rr", i, NULL);
	close(fd);
}

/*
 * Each operation is on the next connection: what is remembered of the last one does not help. The
 * acknowledgement of each answer goes out at once, however long it is until a connection's next
 * turn; else few connections would have it for nothing, on the next request.
 */
void t_tcp_many(long conns, size_t size, long n, double secs)
{
	struct rlimit files;
	int *fd = calloc(conns, sizeof(*fd));
	char *a = malloc(size), *b = malloc(size);
	char extra[64] = "";
	long i;
	int one = 1;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	rng_state = 88172645463325252ull;
	fill(a, size);
	for (i = 0; i < conns; i++) {
		fd[i] = tcp(7);
		send_all(fd[i], a, size);
		recv_all(fd[i], b, size);
	}
	/* What the guest does for so many connections while nothing comes: its timers' walk. */
	sample(&s0);
	usleep(2000000);
	sample(&s1);
	if (ctr)
		snprintf(extra, sizeof extra, ", \"idle_per_s\": %.1f",
			 ((s1.c[0] - s1.c[1]) - (s0.c[0] - s0.c[1])) / ((s1.t - s0.t) / 1e9));
	begin();
	for (i = 0; (!n || i < n) && now() - s0.t < secs * 1e9; i++) {
		uint64_t t = now();
		/* a step that meets all of them, and few neighbours one after the other */
		int s = fd[(i * 7919) % conns];

		a[0] = i;
		send_all(s, a, size);
		setsockopt(s, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof one);
		recv_all(s, b, size);
		add_lat(now() - t);
		if (memcmp(a, b, size))
			fail("tcp_many: echo differs");
		pace();
	}
	finish();
	report("tcp_many", i, extra);
}

/* 1: the echo of a came within 200 ms. A late one of an earlier datagram is passed over. */
static int udp_wait(int fd, const char *a, size_t size)
{
	uint64_t end = now() + 200000000ull;
	struct pollfd p = { fd, POLLIN, 0 };
	static char b[65536];
	int64_t left;

	while ((left = (int64_t)(end - now())) > 0 && poll(&p, 1, (int)(left / 1000000) + 1) > 0) {
		ssize_t k = recv(fd, b, sizeof b, 0);

		if (k < 0)
			fail("udp recv: %s", strerror(errno));
		if ((size_t)k == size && !memcmp(a, b, size))
			return 1;
	}
	return 0;
}

void t_udp_rr(size_t size, long n, double secs)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	char *a = malloc(size + 8), extra[64];
	long i, lost = 0;

	peer.sin_port = htons(7);
	if (connect(fd, (struct sockaddr *)&peer, sizeof peer) < 0)
		fail("udp connect: %s", strerror(errno));
	rng_state = 88172645463325252ull;
	fill(a, size);
	for (i = -50;; i++) {
		if (i == 0)
			begin();
		if (i >= 0 && ((n && i >= n) || now() - s0.t >= secs * 1e9))
			break;
		uint64_t t = now();
		a[0] = i;
		for (;;) {
			if (send(fd, a, size, 0) < 0)
				fail("udp send: %s", strerror(errno));
			if (udp_wait(fd, a, size))
				break;
			if (++lost > 20)
				fail("udp replies lost");
		}
		if (i >= 0)
			add_lat(now() - t);
		pace();
	}
	finish();
	snprintf(extra, sizeof extra, ", \"lost\": %ld", lost);
	report("udp_rr", i, extra);
}

void t_crr(long n, double secs)
{
	long i;
	char c;

	for (i = -10;; i++) {
		if (i == 0)
			begin();
		if (i >= 0 && ((n && i >= n) || now() - s0.t >= secs * 1e9))
			break;
		uint64_t t = now();
		int fd = tcp(7);
		send_all(fd, "x", 1);
		recv_all(fd, &c, 1);
		shutdown(fd, SHUT_WR);
		if (c != 'x' || recv(fd, &c, 1, 0) != 0)
			fail("tcp_crr: no orderly close: %s", strerror(errno));
		close(fd);
		if (i >= 0)
			add_lat(now() - t);
		pace();
	}
	finish();
	report("tcp_crr", i, NULL);
}

static void http_one(int fd)
{
	static const char req[] = "GET /1k HTTP/1.1\r\nHost: 10.0.2.2\r\n\r\n";
	static char b[65536];
	size_t n = 0;

	send_all(fd, req, sizeof req - 1);
	for (;;) {
		ssize_t k = recv(fd, b + n, sizeof b - 1 - n, 0);
		if (k <= 0)
			fail("http recv: %s", k ? strerror(errno) : "closed");
		n += k;
		b[n] = 0;
		char *e = strstr(b, "\r\n\r\n");
		if (!e)
			continue;
		char *l = strcasestr(b, "content-length:");
		if (strncmp(b, "HTTP/1.1 200", 12) || !l || l > e)
			fail("http: not a 200 with a length");
		size_t want = e + 4 - b + strtoul(l + 15, NULL, 10);
		if (n > want)
			fail("http: more than the answer");
		if (n == want) {
			if (want - (e + 4 - b) != 1024)
				fail("http: the body is not 1024 bytes");
			return;
		}
	}
}

void t_http(long n, double secs)
{
	int fd = tcp(80);
	long i;

	for (i = 0; i < 50; i++)
		http_one(fd);
	begin();
	for (i = 0; (!n || i < n) && now() - s0.t < secs * 1e9; i++) {
		uint64_t t = now();
		http_one(fd);
		add_lat(now() - t);
		pace();
	}
	finish();
	report("http_rr", i, NULL);
	close(fd);
}
