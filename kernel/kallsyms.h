/*
 * The image's own symbols: the table that scripts/kallsyms makes out of the linked kernel. Any
 * context.
 */
#ifndef KERNEL_KALLSYMS_H
#define KERNEL_KALLSYMS_H

#include "kernel/lib/types.h"

/*
 * The symbol that addr lies in, and how far from its start; NULL if addr is outside the image or
 * before all symbols.
 */
const char *kallsyms_lookup(u64 addr, u64 *offset);

/*
 * The other way: a function's address, and 0 in *addr if there is none. Returns how many have that
 * name (static ones may share it); what the compiler added behind a '.' does not count.
 */
u32 kallsyms_lookup_function(const char *name, u64 *addr);

/* "symbol+0x12" or "0x1234+0x0" into buf. Returns buf. */
char *sprint_symbol(char *buf, size_t size, u64 addr);
/*
 * The same for a return address: it lies behind its call, and so, where a function ends with a call
 * that does not return, in the next symbol. The name is the caller's. (Linux's %pB.)
 */
char *sprint_backtrace(char *buf, size_t size, u64 addr);

#endif
