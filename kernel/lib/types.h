/*
 * Integer types and the compiler's vocabulary, under Linux's names. Included by everything;
 * includes nothing but the compiler's own freestanding headers.
 */
#ifndef KERNEL_LIB_TYPES_H
#define KERNEL_LIB_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;

/*
 * Fields that a device or a protocol lays down in little or big endian; convert with byteorder.h.
 */
typedef u16 le16;
typedef u32 le32;
typedef u64 le64;
typedef u16 be16;
typedef u32 be32;

/*
 * A physical address as the CPU sees it, and an address as a device sees it (equal here: no IOMMU).
 */
typedef u64 phys_addr_t;
typedef u64 dma_addr_t;

#define __must_check __attribute__((warn_unused_result))
#define __noreturn __attribute__((noreturn))
#define __packed __attribute__((packed))
#define __aligned(n) __attribute__((aligned(n)))
#define __printf(fmt, args) __attribute__((format(printf, fmt, args)))
#define __used __attribute__((used))
#define __maybe_unused __attribute__((unused))
/* Keeps a function as a frame of its own in backtraces: the packet's way is meant to be seen. */
#define noinline __attribute__((noinline))

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define DIV_ROUND_UP(n, d) (((n) + (d)-1) / (d))
/* a must be a power of two. */
#define ALIGN_UP(x, a) (((x) + ((__typeof__(x))(a)-1)) & ~((__typeof__(x))(a)-1))
#define ALIGN_DOWN(x, a) ((x) & ~((__typeof__(x))(a)-1))
#define IS_POWER_OF_2(n) ((n) != 0 && ((n) & ((n)-1)) == 0)

#define min(a, b)                       \
	({                              \
		__typeof__(a) _a = (a); \
		__typeof__(b) _b = (b); \
		_a < _b ? _a : _b;      \
	})
#define max(a, b)                       \
	({                              \
		__typeof__(a) _a = (a); \
		__typeof__(b) _b = (b); \
		_a > _b ? _a : _b;      \
	})

/*
 * One access, neither torn nor repeated nor cached by the compiler: for memory that a device or an
 * interrupt shares.
 */
#define READ_ONCE(x) (*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile __typeof__(x) *)&(x) = (v))

#define barrier() __asm__ __volatile__("" ::: "memory")

#endif
