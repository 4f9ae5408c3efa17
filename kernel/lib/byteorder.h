/*
 * Byte order, Linux's names. x86-64 is little endian, as are the hosts that run the unit tests, so
 * the le side is the identity and exists to say what a field is.
 */
#ifndef KERNEL_LIB_BYTEORDER_H
#define KERNEL_LIB_BYTEORDER_H

#include "kernel/lib/types.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "byteorder.h is for little endian");

static inline u16 le16_to_cpu(le16 v)
{
	return v;
}
static inline u32 le32_to_cpu(le32 v)
{
	return v;
}
static inline u64 le64_to_cpu(le64 v)
{
	return v;
}
static inline le16 cpu_to_le16(u16 v)
{
	return v;
}
static inline le32 cpu_to_le32(u32 v)
{
	return v;
}
static inline le64 cpu_to_le64(u64 v)
{
	return v;
}
static inline u16 be16_to_cpu(be16 v)
{
	return __builtin_bswap16(v);
}
static inline u32 be32_to_cpu(be32 v)
{
	return __builtin_bswap32(v);
}
static inline be16 cpu_to_be16(u16 v)
{
	return __builtin_bswap16(v);
}
static inline be32 cpu_to_be32(u32 v)
{
	return __builtin_bswap32(v);
}

/* Fields inside packets and tables that need not be aligned. */
static inline u16 get_unaligned_be16(const void *p)
{
	const u8 *b = p;
	return (u16)(b[0] << 8 | b[1]);
}

static inline u32 get_unaligned_be32(const void *p)
{
	const u8 *b = p;
	return (u32)b[0] << 24 | (u32)b[1] << 16 | (u32)b[2] << 8 | b[3];
}

#endif
