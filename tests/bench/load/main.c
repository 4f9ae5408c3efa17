/*
 * The load generators of the benchmark, one program.
 *
 *   load TEST ADDR [ARGS]         one line of JSON on stdout; status 0, or 1 with {"error": ...}
 *
 *   boot      MS                  ICMP echo every 5 ms until the first reply
 *   idle      SECS                measures the counters over an idle time
 *   icmp_rr   N SECS              ICMP echo, one after the other
 *   tcp_rr    SIZE N SECS         ping-pong over one connection to port 7
 *   tcp_many  CONNS SIZE N SECS   the same over CONNS connections in turn
 *   udp_rr    SIZE N SECS         ping-pong by UDP (a lost datagram is sent again)
 *   tcp_crr   N SECS              connect, 1 byte each way, close (port 7)
 *   http_rr   N SECS              keep-alive GETs on one connection (port 80)
 *   tcp_send  MIB SECS            to discard (port 9), until it closes
 *   tcp_recv  MIB SECS            from chargen (port 19)
 *   echo      MIB SEED            pseudo-random stream through port 7, compared
 *
 * N or MIB 0 means bounded by SECS alone. Environment:
 *   BENCH_CTR    the file insncount writes; BENCH_PID: the QEMU process. Both are sampled right
 *                before and right after the counted operations (after: 20 ms later, so that
 * trailing acknowledgements are in) BENCH_PACE   microseconds slept between operations, so that the
 * guest goes idle after each one (the counts of a guest that is caught before it halts depend on
 * timing) BENCH_HOLD   at those two moments prints "hold" and waits for a line on stdin, so that
 * somebody else can take samples
 */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	const char *e;

	if (argc < 4) {
		fprintf(stderr, "usage: load TEST ADDR ARGS, see load.c\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	peer.sin_family = AF_INET;
	if (strcmp(argv[2], "-") && inet_pton(AF_INET, argv[2], &peer.sin_addr) != 1)
		fail("bad address");
	if ((e = getenv("BENCH_PID")) && *e)
		have_cpu = !clock_getcpuclockid(atoi(e), &cpuclk);
	hold_on = getenv("BENCH_HOLD") != NULL;
	if ((e = getenv("BENCH_PACE")))
		pace_us = atol(e);
	if ((e = getenv("BENCH_CTR")) && *e) {
		int fd = open(e, O_RDONLY);
		void *m = fd < 0 ? MAP_FAILED :
				   mmap(NULL, NCTR * sizeof(*ctr), PROT_READ, MAP_SHARED, fd, 0);
		if (m == MAP_FAILED)
			fail("counters %s: %s", e, strerror(errno));
		ctr = m;
	}
#define A(i) (argc > (i) ? atof(argv[i]) : 0)
#define IS(s) (!strcmp(argv[1], s))
	if (IS("boot"))
		t_boot(A(3));
	else if (IS("idle")) {
		begin();
		usleep(A(3) * 1e6);
		t_last = now();
		sample(&s1);
		hold();
		report("idle", A(3), NULL);
	} else if (IS("icmp_rr"))
		t_icmp(A(3), A(4));
	else if (IS("tcp_rr"))
		t_tcp_rr(A(3), A(4), A(5));
	else if (IS("tcp_many"))
		t_tcp_many(A(3), A(4), A(5), A(6));
	else if (IS("udp_rr"))
		t_udp_rr(A(3), A(4), A(5));
	else if (IS("tcp_crr"))
		t_crr(A(3), A(4));
	else if (IS("http_rr"))
		t_http(A(3), A(4));
	else if (IS("tcp_send"))
		t_send(A(3), A(4));
	else if (IS("tcp_recv"))
		t_recv(A(3), A(4));
	else if (IS("echo"))
		t_echo(A(3), A(4));
	else {
		fprintf(stderr, "load: no test %s\n", argv[1]);
		return 2;
	}
	return 0;
}
