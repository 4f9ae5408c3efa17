/*
 * The end of the line. panic() and BUG_ON() are for *our* bugs only; outside input (device,
 * firmware, network) is dropped and counted, lack of memory is returned (architecture.md, 5).
 * Any context.
 */
#ifndef KERNEL_BUG_H
#define KERNEL_BUG_H

#include "kernel/lib/types.h"

/*
 * What a panic writes to isa-debug-exit, making QEMU's status (value << 1) | 1 (interface.md).
 */
enum panic_class {
	PANIC_ASSERT = 0x20,    /* 65: assertion, or fatal lack of memory */
	PANIC_UBSAN = 0x21,     /* 67: UBSan trap */
	PANIC_EXCEPTION = 0x22, /* 69: any other CPU exception */
	PANIC_STACK = 0x23,     /* 71: double fault, guard page */
	PANIC_CANARY = 0x24,    /* 73: stack protector */
	PANIC_WATCHDOG = 0x25,  /* 75: watchdog */
};

/*
 * Prints "barewire: panic: <text>", registers and a backtrace, and ends the machine as `panic=`
 * says.
 */
void __noreturn panic(const char *fmt, ...) __printf(1, 2);
void __noreturn panic_with(enum panic_class cls, const char *fmt, ...) __printf(2, 3);

/* A warning with file and line. The kernel's backtrace follows where there is one. */
void warn_slowpath(const char *file, int line, const char *cond);

#define BUG() panic("BUG at %s:%d", __FILE__, __LINE__)
/* cond must have no side effect. */
#define BUG_ON(cond)                                                             \
	do {                                                                     \
		if (unlikely(cond))                                              \
			panic("BUG_ON(%s) at %s:%d", #cond, __FILE__, __LINE__); \
	} while (0)
/* True if cond is; reports the first time. */
#define WARN_ON_ONCE(cond)                                        \
	({                                                        \
		static bool _warned;                              \
		bool _c = !!(cond);                               \
		if (unlikely(_c && !_warned)) {                   \
			_warned = true;                           \
			warn_slowpath(__FILE__, __LINE__, #cond); \
		}                                                 \
		_c;                                               \
	})

#endif
