/* Pings: until a booting guest answers, and one after the other. */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static uint16_t cksum(const void *p, size_t n)
{
	const unsigned char *s = p;
	uint32_t t = 0;
	for (size_t i = 0; i + 1 < n; i += 2)
		t += s[i] << 8 | s[i + 1];
	while (t >> 16)
		t = (t & 0xffff) + (t >> 16);
	return htons(~t & 0xffff);
}

static int icmp_open(void)
{
	int fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
	if (fd < 0)
		fail("raw socket: %s", strerror(errno));
	return fd;
}

#define PINGLEN 64
static void icmp_send(int fd, uint16_t seq)
{
	unsigned char b[PINGLEN];
	struct icmphdr *h = (void *)b;
	for (int i = 0; i < PINGLEN; i++)
		b[i] = i;
	memset(h, 0, sizeof *h);
	h->type = ICMP_ECHO;
	h->un.echo.id = htons(getpid() & 0xffff);
	h->un.echo.sequence = htons(seq);
	h->checksum = cksum(b, sizeof b);
	sendto(fd, b, sizeof b, 0, (struct sockaddr *)&peer, sizeof peer);
}

/* 1: a reply to us (seq, or any when seq < 0) came within ms. */
static int icmp_wait(int fd, int seq, int ms)
{
	uint64_t end = now() + ms * 1000000ull;
	unsigned char b[2048];

	for (;;) {
		int64_t left = (int64_t)(end - now());
		struct timespec ts = { left / 1000000000, left % 1000000000 };
		struct pollfd p = { fd, POLLIN, 0 };
		if (left <= 0 || ppoll(&p, 1, &ts, NULL) <= 0)
			return 0;
		ssize_t n = recv(fd, b, sizeof b, 0);
		if (n < 20)
			continue;
		size_t hl = (b[0] & 15) * 4;
		struct icmphdr *h = (void *)(b + hl);
		if ((size_t)n < hl + PINGLEN || h->type != ICMP_ECHOREPLY ||
		    h->un.echo.id != htons(getpid() & 0xffff))
			continue;
		if (seq >= 0 && h->un.echo.sequence != htons(seq))
			continue;
		for (size_t i = sizeof *h; i < PINGLEN; i++)
			if (b[hl + i] != i)
				fail("icmp payload differs");
		return 1;
	}
}

void t_boot(int ms)
{
	int fd = icmp_open();
	uint64_t start = now();
	unsigned n = 0;

	printf("polling\n");
	fflush(stdout);
	while (now() - start < ms * 1000000ull) {
		icmp_send(fd, n++);
		if (icmp_wait(fd, -1, 5)) {
			begin();
			printf("{\"test\": \"boot\", \"mono_ns\": %llu, \"polls\": %u",
			       (unsigned long long)s0.t, n);
			printf("}\n");
			return;
		}
	}
	fail("no ping reply in %d ms", ms);
}

void t_icmp(long n, double secs)
{
	int fd = icmp_open();
	long i, lost = 0;
	char extra[64];

	for (i = 0; i < 20; i++) {
		icmp_send(fd, i);
		if (!icmp_wait(fd, i, 1000))
			fail("no reply in the warm-up");
	}
	begin();
	for (i = 0; (!n || i < n) && now() - s0.t < secs * 1e9; i++) {
		uint64_t t = now();
		icmp_send(fd, i + 1000);
		if (icmp_wait(fd, (i + 1000) & 0xffff, 1000))
			add_lat(now() - t);
		else if (++lost > 5)
			fail("icmp replies lost");
		pace();
	}
	finish();
	snprintf(extra, sizeof extra, ", \"lost\": %ld", lost);
	report("icmp_rr", i - lost, extra);
}
