/*
 * Port and memory-mapped I/O: one instruction each. The host tests put a file of this name earlier
 * in the include path and so see every access (tests/fake). Any context.
 */
#ifndef KERNEL_X86_IO_H
#define KERNEL_X86_IO_H

#include "kernel/lib/types.h"

static inline void outb(u8 v, u16 port)
{
	__asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port) : "memory");
}
static inline void outw(u16 v, u16 port)
{
	__asm__ volatile("outw %0, %1" : : "a"(v), "Nd"(port) : "memory");
}
static inline void outl(u32 v, u16 port)
{
	__asm__ volatile("outl %0, %1" : : "a"(v), "Nd"(port) : "memory");
}

static inline u8 inb(u16 port)
{
	u8 v;
	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}

static inline u16 inw(u16 port)
{
	u16 v;
	__asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}

static inline u32 inl(u16 port)
{
	u32 v;
	__asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}

/*
 * Plain moves of the given width, written out so that the compiler neither splits nor merges them.
 */
static inline u8 readb(const volatile void *a)
{
	u8 v;
	__asm__ volatile("movb %1, %0" : "=q"(v) : "m"(*(const volatile u8 *)a) : "memory");
	return v;
}

static inline u16 readw(const volatile void *a)
{
	u16 v;
	__asm__ volatile("movw %1, %0" : "=r"(v) : "m"(*(const volatile u16 *)a) : "memory");
	return v;
}

static inline u32 readl(const volatile void *a)
{
	u32 v;
	__asm__ volatile("movl %1, %0" : "=r"(v) : "m"(*(const volatile u32 *)a) : "memory");
	return v;
}

static inline void writeb(u8 v, volatile void *a)
{
	__asm__ volatile("movb %0, %1" : : "q"(v), "m"(*(volatile u8 *)a) : "memory");
}
static inline void writew(u16 v, volatile void *a)
{
	__asm__ volatile("movw %0, %1" : : "r"(v), "m"(*(volatile u16 *)a) : "memory");
}
static inline void writel(u32 v, volatile void *a)
{
	__asm__ volatile("movl %0, %1" : : "r"(v), "m"(*(volatile u32 *)a) : "memory");
}

static inline void cpu_relax(void)
{
	__asm__ volatile("pause" ::: "memory");
}

#endif
