/*
 * The part of C's string.h and stdio.h that the kernel has. Same contracts as in the C standard;
 * strscpy() and scnprintf() as in Linux. Any context. On the host the C library provides the
 * standard ones and tests/fake the rest.
 */
#ifndef KERNEL_LIB_STRING_H
#define KERNEL_LIB_STRING_H

#include <stdarg.h>

#include "kernel/lib/types.h"

void *memcpy(void *restrict dst, const void *restrict src, size_t n);
void *memmove(void *dst, const void *src, size_t n);
void *memset(void *dst, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);
void *memchr(const void *s, int c, size_t n);
size_t strlen(const char *s);
size_t strnlen(const char *s, size_t max);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t n);
char *strchr(const char *s, int c);
char *strstr(const char *s, const char *what);

/*
 * -ffreestanding takes away what the compiler knows of these names: a copy of 8 bytes would be a
 * call. Said so, it is a move again, and where it cannot tell, the call to the function above.
 */
#if !__STDC_HOSTED__
#define memcpy(dst, src, n) __builtin_memcpy(dst, src, n)
#define memmove(dst, src, n) __builtin_memmove(dst, src, n)
#define memset(dst, c, n) __builtin_memset(dst, c, n)
#define memcmp(a, b, n) __builtin_memcmp(a, b, n)
#define strlen(s) __builtin_strlen(s)
#endif

/*
 * Copies at most size - 1 bytes and always terminates. Returns the length copied, or -E2BIG (-7) if
 * cut.
 */
long strscpy(char *dst, const char *src, size_t size);

/*
 * Formatting is stb_sprintf's: C's printf without floating point. snprintf returns the length the
 * whole text would have; scnprintf the length it has, so that it may be added up (Linux).
 */
int snprintf(char *buf, size_t size, const char *fmt, ...) __printf(3, 4);
int vsnprintf(char *buf, size_t size, const char *fmt, va_list ap) __printf(3, 0);
int scnprintf(char *buf, size_t size, const char *fmt, ...) __printf(3, 4);

/* The value of a hexadecimal digit; -1: it is none. */
static inline int hex_to_bin(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/*
 * Parses a whole string as an unsigned number (base 0: 0x for hex, else decimal) into *out.
 * Returns 0, -EINVAL if it is not a number, -ERANGE if it does not fit. As Linux's kstrtoull.
 */
int __must_check kstrtoull(const char *s, unsigned int base, u64 *out);

#endif
