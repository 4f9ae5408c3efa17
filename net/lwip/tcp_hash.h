/*
 * The table of connections (tcp_hash.c), as the lists see it (tcp_lists.c). Softirq context.
 */
#ifndef NET_LWIP_TCP_HASH_H
#define NET_LWIP_TCP_HASH_H

#include "kernel/lib/types.h"

struct tcp_pcb;

/* Draws the key. Task, once, after random_init(). */
void lwip_tcp_hash_init(void);

/* Addresses and ports stay as they are while a connection is in the table. */
void lwip_tcp_hash_add(struct tcp_pcb *pcb);
void lwip_tcp_hash_del(struct tcp_pcb *pcb);

/*
 * SipHash of n words, the last of which ends in the length: SipHash-2-4 if full, which siphash()
 * can be compared with, else the SipHash-1-3 that the table takes. For the tests.
 */
u64 lwip_siphash_words(const u64 *words, u32 n, const u64 key[2], bool full);

#endif
