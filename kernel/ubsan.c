/*
 * Where -fsanitize=undefined code goes when it finds something (test images only). The names are
 * the compiler's; the arguments, which describe types, are not needed: the backtrace says where.
 */
#include "kernel/bug.h"

#define UBSAN_HANDLER(name)                                  \
	void __noreturn __ubsan_handle_##name##_abort(void); \
	void __ubsan_handle_##name##_abort(void)             \
	{                                                    \
		panic_with(PANIC_UBSAN, "UBSan: " #name);    \
	}

UBSAN_HANDLER(add_overflow)
UBSAN_HANDLER(sub_overflow)
UBSAN_HANDLER(mul_overflow)
UBSAN_HANDLER(negate_overflow)
UBSAN_HANDLER(divrem_overflow)
UBSAN_HANDLER(shift_out_of_bounds)
UBSAN_HANDLER(out_of_bounds)
UBSAN_HANDLER(type_mismatch_v1)
UBSAN_HANDLER(pointer_overflow)
UBSAN_HANDLER(load_invalid_value)
UBSAN_HANDLER(nonnull_arg)
UBSAN_HANDLER(vla_bound_not_positive)
