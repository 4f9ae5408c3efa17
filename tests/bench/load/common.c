/* Samples, the result, sockets. */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAXLAT 400000
#define SETTLE_US 20000
#define OPTIMEOUT_MS 5000

struct sockaddr_in peer;
volatile uint64_t *ctr;
clockid_t cpuclk;
int have_cpu;

struct sample s0, s1;
uint64_t t_last;
static uint64_t lat[MAXLAT];
static size_t nlat;

void fail(const char *fmt, ...)
{
	va_list ap;
	printf("{\"error\": \"");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\"}\n");
	exit(1);
}

uint64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

void sample(struct sample *s)
{
	struct timespec t;
	s->t = now();
	if (have_cpu && !clock_gettime(cpuclk, &t))
		s->cpu = t.tv_sec * 1000000000ull + t.tv_nsec;
	if (ctr)
		for (int i = 0; i < NCTR; i++)
			s->c[i] = ctr[i];
}

int hold_on;
void hold(void)
{
	if (!hold_on)
		return;
	puts("hold");
	fflush(stdout);
	while (getchar() != '\n' && !feof(stdin)) {
	}
}

void begin(void)
{
	hold();
	sample(&s0);
}

void finish(void)
{
	t_last = now();
	usleep(SETTLE_US);
	sample(&s1);
	hold();
}

long pace_us;
void pace(void)
{
	if (pace_us)
		usleep(pace_us);
}

static int cmp(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

void report(const char *test, double ops, const char *extra)
{
	printf("{\"test\": \"%s\", \"ops\": %.6f, \"secs\": %.6f, \"window\": %.6f", test, ops,
	       (t_last - s0.t) / 1e9, (s1.t - s0.t) / 1e9);
	if (have_cpu)
		printf(", \"cpu\": %.6f", (s1.cpu - s0.cpu) / 1e9);
	if (ctr) {
		printf(", \"ctr\": [");
		for (int i = 0; i < NCTR; i++)
			printf("%s%llu", i ? ", " : "", (unsigned long long)(s1.c[i] - s0.c[i]));
		printf("]");
	}
	if (nlat) {
		qsort(lat, nlat, sizeof lat[0], cmp);
		printf(", \"p50_us\": %.3f, \"p99_us\": %.3f, \"min_us\": %.3f, \"max_us\": %.3f",
		       lat[nlat / 2] / 1e3, lat[(size_t)(nlat * 0.99)] / 1e3, lat[0] / 1e3,
		       lat[nlat - 1] / 1e3);
	}
	printf("%s}\n", extra ? extra : "");
}

void add_lat(uint64_t ns)
{
	if (nlat < MAXLAT)
		lat[nlat++] = ns;
}

int tcp(int port)
{
	int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
	struct timeval tv = { OPTIMEOUT_MS / 1000, 0 };

	if (fd < 0)
		fail("socket: %s", strerror(errno));
	peer.sin_port = htons(port);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (connect(fd, (struct sockaddr *)&peer, sizeof peer) < 0)
		fail("connect port %d: %s", port, strerror(errno));
	return fd;
}

void send_all(int fd, const void *p, size_t n)
{
	const char *s = p;
	while (n) {
		ssize_t k = send(fd, s, n, 0);
		if (k <= 0)
			fail("send: %s", strerror(errno));
		s += k;
		n -= k;
	}
}

void recv_all(int fd, void *p, size_t n)
{
	char *s = p;
	while (n) {
		ssize_t k = recv(fd, s, n, 0);
		if (k <= 0)
			fail("recv: %s", k ? strerror(errno) : "closed by the guest");
		s += k;
		n -= k;
	}
}

uint64_t rng_state;
static uint64_t rng(void) /* xorshift64* */
{
	rng_state ^= rng_state >> 12;
	rng_state ^= rng_state << 25;
	rng_state ^= rng_state >> 27;
	return rng_state * 2685821657736338717ull;
}

void fill(void *p, size_t n)
{
	unsigned char *s = p;
	for (size_t i = 0; i < n; i += 8) {
		uint64_t v = rng();
		memcpy(s + i, &v, n - i < 8 ? n - i : 8);
	}
}
