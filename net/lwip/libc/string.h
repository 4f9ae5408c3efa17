/* lwIP includes <string.h>; the kernel's is kernel/lib/string.h. Host tests use their C library's.
 */
#ifndef NET_LWIP_LIBC_STRING_H
#define NET_LWIP_LIBC_STRING_H

#include "kernel/lib/string.h"

#endif
