/*
 * Port and memory-mapped I/O on the host: every access goes to fake_pci.c, which knows what is
 * there. Found before kernel/x86/io.h in the include path of the unit tests.
 */
#ifndef KERNEL_X86_IO_H
#define KERNEL_X86_IO_H

#include "kernel/lib/types.h"

u32 fake_port_read(u16 port, unsigned int width);
void fake_port_write(u16 port, unsigned int width, u32 v);
u32 fake_mmio_read(u64 addr, unsigned int width);
void fake_mmio_write(u64 addr, unsigned int width, u32 v);

static inline void outb(u8 v, u16 port)
{
	fake_port_write(port, 1, v);
}

static inline void outw(u16 v, u16 port)
{
	fake_port_write(port, 2, v);
}

static inline void outl(u32 v, u16 port)
{
	fake_port_write(port, 4, v);
}

static inline u8 inb(u16 port)
{
	return (u8)fake_port_read(port, 1);
}

static inline u16 inw(u16 port)
{
	return (u16)fake_port_read(port, 2);
}

static inline u32 inl(u16 port)
{
	return fake_port_read(port, 4);
}

static inline u8 readb(const volatile void *a)
{
	return (u8)fake_mmio_read((u64)(uintptr_t)a, 1);
}

static inline u16 readw(const volatile void *a)
{
	return (u16)fake_mmio_read((u64)(uintptr_t)a, 2);
}

static inline u32 readl(const volatile void *a)
{
	return fake_mmio_read((u64)(uintptr_t)a, 4);
}

static inline void writeb(u8 v, volatile void *a)
{
	fake_mmio_write((u64)(uintptr_t)a, 1, v);
}

static inline void writew(u16 v, volatile void *a)
{
	fake_mmio_write((u64)(uintptr_t)a, 2, v);
}

static inline void writel(u32 v, volatile void *a)
{
	fake_mmio_write((u64)(uintptr_t)a, 4, v);
}

static inline void cpu_relax(void)
{
}

#endif
