/*
 * Formatting, by stb_sprintf (Debian: libstb-dev). Under -mgeneral-regs-only gcc refuses its
 * va_arg(va, double) even with STB_SPRINTF_NOFLOAT; with the standard headers included first,
 * double may stand for long in the rest of this file.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "kernel/lib/string.h"

#define double long
#define STB_SPRINTF_NOFLOAT
#define STB_SPRINTF_STATIC
#define STB_SPRINTF_IMPLEMENTATION
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#include <stb_sprintf.h>
#pragma GCC diagnostic pop
#undef double

int vsnprintf(char *buf, size_t size, const char *fmt, va_list ap)
{
	return stbsp_vsnprintf(buf, size > INT32_MAX ? INT32_MAX : (int)size, fmt, ap);
}

int snprintf(char *buf, size_t size, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(buf, size, fmt, ap);
	va_end(ap);
	return n;
}

int scnprintf(char *buf, size_t size, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(buf, size, fmt, ap);
	va_end(ap);
	if (!size)
		return 0;
	return n < (int)size ? n : (int)size - 1;
}
