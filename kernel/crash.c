/*
 * `crash=<case>`, test images only: faults on purpose, one function each, after Linux's LKDTM.
 * tests/boot reads the function's name in the panic line. Built with UBSan (kernel/ubsan.c), unlike
 * everything else.
 */
#include "kernel/bug.h"
#include "kernel/init.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/string.h"
#include "kernel/mm.h"
#include "kernel/printk.h"
#include "kernel/variant.h"
#include "kernel/x86/crash_ops.h"
#include "kernel/x86/sections.h"

#define RET 0xc3

static char wanted[24];

/* Hides where a pointer or number came from, so that the compiler lets the fault happen. */
#define OPAQUE(v)                       \
	({                              \
		__typeof__(v) _v = (v); \
		__asm__("" : "+r"(_v)); \
		_v;                     \
	})

static u8 crash_data_code[16] = { RET };
static u8 crash_bss_code[16];

static void call(const void *code)
{
	((void (*)(void))(uintptr_t)OPAQUE(code))();
}

static noinline void crash_write_text(void)
{
	*(volatile u8 *)OPAQUE(&__text_start[0]) = RET;
}

static noinline void crash_write_rodata(void)
{
	*(volatile u8 *)OPAQUE(&__rodata_start[0]) = 0;
}

static noinline void crash_exec_data(void)
{
	call(crash_data_code);
	barrier();
}

static noinline void crash_exec_bss(void)
{
	crash_bss_code[0] = RET;
	call(crash_bss_code);
	barrier();
}

static noinline void crash_exec_stack(void)
{
	u8 code[16] = { RET };

	call(code);
	barrier();
}

static noinline void crash_exec_heap(void)
{
	u8 *code = alloc_pages_exact(PAGE_SIZE);

	BUG_ON(!code);
	code[0] = RET;
	call(code);
	barrier();
}

static noinline void crash_null_read(void)
{
	(void)*(volatile u8 *)OPAQUE((uintptr_t)8);
}

static noinline void crash_null_write(void)
{
	*(volatile u8 *)OPAQUE((uintptr_t)8) = 1;
}

static noinline void crash_null_call(void)
{
	call(NULL);
	barrier();
}

static noinline void crash_noncanonical(void)
{
	(void)*(volatile u8 *)OPAQUE((uintptr_t)0x8000000000000000ull);
}

static noinline u64 crash_stack_overflow(u64 depth)
{
	volatile u64 local[16];

	local[depth & 15] = depth;
	if (depth == ~0ull)
		return 0;
	return crash_stack_overflow(depth + 1) + local[depth & 15];
}

static void run_stack_overflow(void)
{
	(void)crash_stack_overflow(OPAQUE((u64)0));
}

static noinline void crash_stack_smash(void)
{
	char small[16];

	memset(OPAQUE((char *)small), 'A', OPAQUE((size_t)64));
	barrier();
}

static noinline void crash_assert(void)
{
	BUG_ON(OPAQUE(1) == 1);
}

static noinline void crash_oom_fatal(void)
{
	if (!alloc_pages_exact(OPAQUE((size_t)1 << 46)))
		panic("out of memory");
}

static noinline void crash_ubsan_overflow(void)
{
	volatile int v = OPAQUE(0x7fffffff);

	v = v + 1;
}

static noinline void crash_ubsan_shift(void)
{
	volatile int v = 1;

	v = v << OPAQUE(40);
}

static noinline void crash_ubsan_bounds(void)
{
	static volatile int table[4];

	table[OPAQUE(7)] = table[0];
}

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
	{ "write_text", crash_write_text },       { "write_rodata", crash_write_rodata },
	{ "exec_data", crash_exec_data },         { "exec_bss", crash_exec_bss },
	{ "exec_stack", crash_exec_stack },       { "exec_heap", crash_exec_heap },
	{ "null_read", crash_null_read },         { "null_write", crash_null_write },
	{ "null_call", crash_null_call },         { "divide", crash_divide },
	{ "undefined", crash_undefined },         { "noncanonical", crash_noncanonical },
	{ "stack_overflow", run_stack_overflow }, { "stack_smash", crash_stack_smash },
	{ "df_nested", crash_df_nested },         { "assert", crash_assert },
	{ "oom_fatal", crash_oom_fatal },         { "ubsan_overflow", crash_ubsan_overflow },
	{ "ubsan_shift", crash_ubsan_shift },     { "ubsan_bounds", crash_ubsan_bounds },
};

static int __must_check set_crash(const char *val)
{
	for (size_t i = 0; val && i < ARRAY_SIZE(cases); i++) {
		if (!strcmp(val, cases[i].name)) {
			strscpy(wanted, val, sizeof(wanted));
			return 0;
		}
	}
	return -EINVAL;
}
__setup("crash", set_crash);

void crash_run(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (strcmp(wanted, cases[i].name))
			continue;
		pr_info("crash: %s\n", wanted);
		cases[i].run();
		panic("crash=%s did not crash", wanted);
	}
}
