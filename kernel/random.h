/*
 * Random numbers: ChaCha20 with fast key erasure, seeded at boot from what the machine offers
 * (RDSEED, RDRAND, virtio-rng, else timing jitter with a warning). Task and softirq context.
 */
#ifndef KERNEL_RANDOM_H
#define KERNEL_RANDOM_H

#include "kernel/lib/types.h"

void random_init(void);
void get_random_bytes(void *buf, size_t len);
u32 get_random_u32(void);

/* Mixes len bytes from a hardware source called name into the pool (Linux's name). */
void add_hwgenerator_randomness(const char *name, const void *buf, size_t len);
/* After drivers are up: says in the log which sources there were. False: jitter only. */
bool random_report(void);
/* False if `random.strict` was given and no hardware source was found: TCP must not be served. */
bool random_tcp_allowed(void);

/* RFC 8439, 2.3: block number counter of 64 bytes, as sixteen words. */
void chacha20_block(const u32 k[8], u32 counter, const u32 nonce[3], u32 out[16]);

/* SipHash-2-4 (Aumasson and Bernstein, 2012) of len bytes under a 128-bit key. */
u64 siphash(const void *data, size_t len, const u64 k[2]);

#endif
