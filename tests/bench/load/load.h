/*
 * What the load generators share: samples of counters and clocks around the counted operations, and
 * sockets that end the program when the guest does not do its part.
 */
#ifndef TESTS_BENCH_LOAD_LOAD_H
#define TESTS_BENCH_LOAD_LOAD_H

#define _GNU_SOURCE 1
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define NCTR 10 /* counters of insncount.so */

struct sample {
	uint64_t t, cpu, c[NCTR];
};

extern struct sockaddr_in peer;
extern volatile uint64_t *ctr; /* NULL: nobody counts */
extern clockid_t cpuclk;
extern int have_cpu, hold_on;
extern long pace_us;
extern struct sample s0, s1; /* at begin() and finish() */
extern uint64_t t_last;      /* the end of the last operation */
extern uint64_t rng_state;

void fail(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));
uint64_t now(void); /* ns */
void sample(struct sample *s);
void hold(void);
void begin(void);
void finish(void);
void pace(void);
void add_lat(uint64_t ns);
/* ops in the unit of the test; extra: more of the JSON, or NULL */
void report(const char *test, double ops, const char *extra);

int tcp(int port);
void send_all(int fd, const void *p, size_t n);
void recv_all(int fd, void *p, size_t n);
void fill(void *p, size_t n);

void t_boot(int ms);
void t_icmp(long n, double secs);
void t_tcp_rr(size_t size, long n, double secs);
void t_tcp_many(long conns, size_t size, long n, double secs);
void t_udp_rr(size_t size, long n, double secs);
void t_crr(long n, double secs);
void t_http(long n, double secs);
void t_send(double mib, double secs);
void t_recv(double mib, double secs);
void t_echo(double mib, uint64_t seed);

#endif
