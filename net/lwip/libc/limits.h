/* lwIP includes <limits.h>; the compiler's own asks for a C library's. This is all it takes from
 * it. */
#ifndef NET_LWIP_LIBC_LIMITS_H
#define NET_LWIP_LIBC_LIMITS_H

#define INT_MAX __INT_MAX__

#endif
