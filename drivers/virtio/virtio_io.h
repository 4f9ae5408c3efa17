/* Configuration of a device in memory-mapped registers, as PCI (modern) and MMIO have it. */
#ifndef DRIVERS_VIRTIO_VIRTIO_IO_H
#define DRIVERS_VIRTIO_VIRTIO_IO_H

#include "kernel/lib/errno.h"
#include "kernel/lib/string.h"
#include "kernel/x86/io.h"

/*
 * A piece of the room bytes at regs. Fields are read in their own width; a longer piece is a string
 * of bytes, or two halves (VIRTIO 1.2, 4.1.3.1 and 4.2.2.2). regs may be NULL. 0, or -ERANGE:
 * outside, and buf is zeroes.
 */
static inline int virtio_io_read(const u8 *regs, u32 room, unsigned int offset, void *buf,
				 unsigned int len)
{
	unsigned int width = (len | offset) & 1 ? 1 : (len | offset) & 2 ? 2 : 4;
	u8 *out = buf;

	memset(buf, 0, len);
	if (!regs || offset > room || len > room - offset)
		return -ERANGE;
	if (len != 2 && len != 4 && len != 8)
		width = 1;
	for (unsigned int i = 0; i < len; i += width) {
		const u8 *reg = regs + offset + i;
		u32 v = width == 4 ? readl(reg) : width == 2 ? readw(reg) : readb(reg);

		memcpy(out + i, &v, width);
	}
	return 0;
}

#endif
