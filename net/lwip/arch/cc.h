/*
 * What lwIP wants to know about the compiler and the machine (lwIP's doc/sys_arch.txt). Included by
 * every lwIP file, and so sees nothing of the kernel but these three functions.
 */
#ifndef NET_LWIP_ARCH_CC_H
#define NET_LWIP_ARCH_CC_H

#include <stdint.h>

#ifndef BYTE_ORDER /* a host C library has it */
#define BYTE_ORDER LITTLE_ENDIAN
#endif

/* An instruction each; lwIP's own are calls. */
#define lwip_htons(x) __builtin_bswap16((uint16_t)(x))
#define lwip_htonl(x) __builtin_bswap32(x)

/* The kernel has no ctype.h or inttypes.h; the formats below stand in for inttypes.h. */
#define LWIP_NO_CTYPE_H 1
#define LWIP_NO_INTTYPES_H 1
#define X8_F "02x"
#define U16_F "u"
#define S16_F "d"
#define X16_F "x"
#define U32_F "u"
#define S32_F "d"
#define X32_F "x"
#define SZT_F "zu"

/* An assertion that fails is a bug of lwIP or ours, never the network's: the class says so
 * (interface.md). */
__attribute__((noreturn)) void lwip_platform_assert(const char *msg, const char *file, int line);
#define LWIP_PLATFORM_ASSERT(x) lwip_platform_assert(x, __FILE__, __LINE__)
/* The data path prints nothing. */
#define LWIP_PLATFORM_DIAG(x) \
	do {                  \
	} while (0)

/* ChaCha20 (kernel/random.c): ports, DHCP and neighbour discovery identifiers. */
uint32_t get_random_u32(void);
#define LWIP_RAND() get_random_u32()

/* Ours, eight bytes at a time; lwIP wants the folded sum not inverted. */
uint32_t csum_partial(const void *data, uint32_t len, uint32_t start);
static inline uint16_t lwip_chksum(const void *data, int len)
{
	uint32_t sum = csum_partial(data, (uint32_t)len, 0);

	sum = (sum >> 16) + (sum & 0xffff);
	return (uint16_t)((sum >> 16) + sum);
}
#define LWIP_CHKSUM lwip_chksum

#endif
