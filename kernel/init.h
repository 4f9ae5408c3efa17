/*
 * Words of the kernel command line, each declared by the file that understands it:
 *
 *	static int __must_check set_weight(const char *val) { ... return 0 or -EINVAL; }
 *	__setup("virtio_net.napi_weight", set_weight);
 *
 * val is what follows '=' or NULL if the word had none. Called once per occurrence in task context
 * before any driver. A negative return makes the kernel print that the value is refused and the
 * default is kept (interface.md, "Kernel command line").
 */
#ifndef KERNEL_INIT_H
#define KERNEL_INIT_H

#include "kernel/lib/types.h"

struct obs_kernel_param {
	const char *str;
	int (*setup_func)(const char *val);
};

#define __SETUP_CAT(a, b) a##b
#define __SETUP_NAME(n) __SETUP_CAT(__setup_, n)
#define __setup(name, fn)                                                     \
	static const struct obs_kernel_param __SETUP_NAME(__COUNTER__) __used \
		__attribute__((section("setup_params"), aligned(8))) = { name, fn }

/* For words that are 0 or 1: "0" and "1" only. Returns 0 or -EINVAL. */
int __must_check param_set_bool(const char *val, bool *out);

#endif
