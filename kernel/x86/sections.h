/* Addresses that linker.ld and entry.asm define. Take the address; there is nothing to read. */
#ifndef KERNEL_X86_SECTIONS_H
#define KERNEL_X86_SECTIONS_H

#include "kernel/lib/types.h"

extern u8 __image_start[], __image_end[];
extern u8 __text_start[], __text_end[];
extern u8 __noinstr_text_start[], __noinstr_text_end[];
extern u8 __irqentry_text_start[], __irqentry_text_end[];
extern u8 __rodata_start[], __rodata_end[];
extern u8 __data_start[], __bss_end[];
extern u8 __stacks_start[], __stacks_end[];

/* Each stack lies between its guard page and _top; entry.asm. */
extern u8 start_stack_guard[], start_stack[], start_stack_top[];
extern u8 double_fault_stack_guard[], double_fault_stack[], double_fault_stack_top[];
extern u8 nmi_stack_guard[], nmi_stack[], nmi_stack_top[];
extern u8 machine_check_stack_guard[], machine_check_stack[], machine_check_stack_top[];
extern u8 page_fault_stack_guard[], page_fault_stack[], page_fault_stack_top[];
extern u8 last_guard[];

#endif
