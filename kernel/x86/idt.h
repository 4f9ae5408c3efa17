/* The interrupt descriptor table, and the report of exceptions. Task, once, at boot. */
#ifndef KERNEL_X86_IDT_H
#define KERNEL_X86_IDT_H

void idt_init(void);

#endif
