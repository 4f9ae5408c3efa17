/* Streams in one direction and in both. */
#include "load.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static char big[262144];

void t_send(double mib, double secs)
{
	int fd = tcp(9);
	uint64_t total = mib * 1048576, done = 0;

	fill(big, sizeof big);
	begin();
	while ((!total || done < total) && now() - s0.t < secs * 1e9) {
		size_t n = sizeof big;
		if (total && total - done < n)
			n = total - done;
		send_all(fd, big, n);
		done += n;
	}
	shutdown(fd, SHUT_WR); /* discard closes when it has read it all */
	struct timeval tv = { 30, 0 };
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
	if (recv(fd, big, 1, 0) != 0)
		fail("tcp_send: no orderly close: %s", strerror(errno));
	finish();
	report("tcp_send", done / 1048576.0, NULL);
	close(fd);
}

void t_recv(double mib, double secs)
{
	int fd = tcp(19);
	uint64_t total = mib * 1048576, done = 0;

	begin();
	while ((!total || done < total) && now() - s0.t < secs * 1e9) {
		ssize_t n = recv(fd, big, sizeof big, 0);
		if (n <= 0)
			fail("tcp_recv: %s", n ? strerror(errno) : "closed by the guest");
		done += n;
	}
	close(fd); /* unread data: a reset, which ends it */
	finish();
	report("tcp_recv", done / 1048576.0, NULL);
}

void t_echo(double mib, uint64_t seed)
{
	size_t total = mib * 1048576, out = 0, in = 0;
	unsigned char *a = malloc(total);
	static unsigned char b[262144];
	int fd = tcp(7), done = 0;
	uint64_t stall;

	rng_state = seed ? seed : 1;
	fill(a, total);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	begin();
	stall = now();
	while (!done) {
		struct pollfd p = { fd, POLLIN | (out < total ? POLLOUT : 0), 0 };
		if (poll(&p, 1, 1000) <= 0 && now() - stall > 15e9)
			fail("echo: stalled after %zu sent, %zu received", out, in);
		if (p.revents & POLLOUT) {
			ssize_t n = send(fd, a + out, total - out < 65536 ? total - out : 65536, 0);
			if (n < 0 && errno != EAGAIN)
				fail("echo send: %s", strerror(errno));
			if (n > 0) {
				out += n;
				stall = now();
				if (out == total)
					shutdown(fd, SHUT_WR);
			}
		}
		if (p.revents & (POLLIN | POLLHUP | POLLERR)) {
			ssize_t n = recv(fd, b, sizeof b, 0);
			if (n < 0 && errno != EAGAIN)
				fail("echo recv after %zu: %s", in, strerror(errno));
			if (n > 0) {
				if (in + n > total || memcmp(a + in, b, n))
					fail("echo: bytes differ after %zu", in);
				in += n;
				stall = now();
			}
			if (n == 0)
				done = 1;
		}
	}
	if (in != total)
		fail("echo: closed after %zu of %zu bytes", in, total);
	finish();
	report("echo", mib, ", \"exact\": true");
	close(fd);
}
