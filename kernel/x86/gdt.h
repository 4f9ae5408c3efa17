/* Segments and the task state segment with its interrupt stacks. Task, once, at boot. */
#ifndef KERNEL_X86_GDT_H
#define KERNEL_X86_GDT_H

#define KERNEL_CS 0x08
#define KERNEL_DS 0x10

/* Which stack of the TSS an IDT gate switches to; 0 would mean none. */
enum ist_index {
	IST_DF = 1,
	IST_NMI = 2,
	IST_MCE = 3,
	IST_PF = 4,
};

void gdt_init(void);

#endif
