/* The faults of kernel/crash.c that take an instruction of their own. They do not come back. */
#ifndef KERNEL_X86_CRASH_OPS_H
#define KERNEL_X86_CRASH_OPS_H

void crash_divide(void);
void crash_undefined(void);
/* A fault with no stack to report it on. */
void crash_df_nested(void);

#endif
