/* lwIP includes <stdlib.h> and uses this one function of it (net/lwip/stack.c). */
#ifndef NET_LWIP_LIBC_STDLIB_H
#define NET_LWIP_LIBC_STDLIB_H

int atoi(const char *s);

#endif
