/*
 * string.h. The compiler turns loops that look like memcpy into calls to it, so this file is built
 * with -fno-tree-loop-distribute-patterns (Makefile). "rep movs" is one instruction to a guest's
 * counter and fast on every CPU since 2012; short copies, which headers are, go by plain moves.
 */
#include "kernel/lib/string.h"

#include "kernel/lib/errno.h"

#if !__STDC_HOSTED__ /* the host's test has names of its own */
#undef memcpy
#undef memmove
#undef memset
#undef memcmp
#undef strlen
#endif

#define E2BIG 7

void *memcpy(void *restrict dst, const void *restrict src, size_t n)
{
	u8 *d = dst;
	const u8 *s = src;

	if (n >= 64) {
		size_t words = n / 8;

		n &= 7;
		__asm__ volatile("rep movsq" : "+D"(d), "+S"(s), "+c"(words) : : "memory");
	}
	for (; n >= 8; n -= 8, d += 8, s += 8)
		__builtin_memcpy(d, s, 8);
	while (n--)
		*d++ = *s++;
	return dst;
}

void *memmove(void *dst, const void *src, size_t n)
{
	u8 *d = dst;
	const u8 *s = src;

	if (d <= s || d >= s + n) {
		for (; n >= 8; n -= 8, d += 8, s += 8)
			__builtin_memcpy(d, s, 8);
		while (n--)
			*d++ = *s++;
		return dst;
	}
	while (n--)
		d[n] = s[n];
	return dst;
}

void *memset(void *dst, int c, size_t n)
{
	u8 *d = dst;
	u64 word = 0x0101010101010101ull * (u8)c;

	if (n >= 64) {
		size_t words = n / 8;

		n &= 7;
		__asm__ volatile("rep stosq" : "+D"(d), "+c"(words) : "a"(word) : "memory");
	}
	for (; n >= 8; n -= 8, d += 8)
		__builtin_memcpy(d, &word, 8);
	while (n--)
		*d++ = (u8)c;
	return dst;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const u8 *x = a, *y = b;

	for (; n--; x++, y++) {
		if (*x != *y)
			return *x - *y;
	}
	return 0;
}

void *memchr(const void *s, int c, size_t n)
{
	for (const u8 *p = s; n--; p++) {
		if (*p == (u8)c)
			return (void *)(uintptr_t)p;
	}
	return NULL;
}

size_t strlen(const char *s)
{
	const char *p = s;

	while (*p)
		p++;
	return (size_t)(p - s);
}

size_t strnlen(const char *s, size_t max)
{
	size_t n = 0;

	while (n < max && s[n])
		n++;
	return n;
}

int strcmp(const char *a, const char *b)
{
	for (; *a && *a == *b; a++, b++)
		;
	return (u8)*a - (u8)*b;
}

int strncmp(const char *a, const char *b, size_t n)
{
	for (; n && *a && *a == *b; a++, b++, n--)
		;
	return n ? (u8)*a - (u8)*b : 0;
}

char *strchr(const char *s, int c)
{
	for (;; s++) {
		if (*s == (char)c)
			return (char *)(uintptr_t)s;
		if (!*s)
			return NULL;
	}
}

char *strstr(const char *s, const char *what)
{
	size_t n = strlen(what);

	for (;; s++) {
		if (!strncmp(s, what, n))
			return (char *)(uintptr_t)s;
		if (!*s)
			return NULL;
	}
}

long strscpy(char *dst, const char *src, size_t size)
{
	size_t n = strnlen(src, size);

	if (!size)
		return -E2BIG;
	if (n == size) {
		memcpy(dst, src, size - 1);
		dst[size - 1] = '\0';
		return -E2BIG;
	}
	memcpy(dst, src, n + 1);
	return (long)n;
}

static unsigned int digit(char c)
{
	if (c >= '0' && c <= '9')
		return (unsigned int)(c - '0');
	if (c >= 'a' && c <= 'z')
		return (unsigned int)(c - 'a') + 10;
	if (c >= 'A' && c <= 'Z')
		return (unsigned int)(c - 'A') + 10;
	return 99;
}

int kstrtoull(const char *s, unsigned int base, u64 *out)
{
	u64 v = 0;

	if (base == 0) {
		base = 10;
		if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X')) {
			base = 16;
			s += 2;
		}
	}
	if (!*s)
		return -EINVAL;
	for (; *s; s++) {
		unsigned int d = digit(*s);

		if (d >= base)
			return -EINVAL;
		if (__builtin_mul_overflow(v, (u64)base, &v) ||
		    __builtin_add_overflow(v, (u64)d, &v))
			return -ERANGE;
	}
	*out = v;
	return 0;
}
