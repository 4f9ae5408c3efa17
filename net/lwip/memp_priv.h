/* How many objects of one of lwIP's pools are out (memp.c). Softirq context; for timers.c,
 * tcp_hash.c and the tests. */
#ifndef NET_LWIP_MEMP_PRIV_H
#define NET_LWIP_MEMP_PRIV_H

#include "kernel/lib/types.h"

#include "lwip/memp.h"

u32 lwip_memp_used(memp_t type);
/* And how many there may be. */
u32 lwip_memp_limit(memp_t type);

#endif
