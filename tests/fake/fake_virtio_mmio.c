/* Register blocks of virtio-mmio: see fake_virtio_mmio.h. Clauses are VIRTIO 1.2's. */
#include "tests/fake/fake_virtio_mmio.h"

#include <stdio.h>
#include <string.h>

#include "kernel/x86/io.h"

#define BLOCK_SIZE 0x200u

static struct fake_vm blocks[FAKE_VM_MAX_BLOCKS];
static unsigned int nr_blocks;

struct fake_vm *fake_vm_add(u64 base, u32 device_id)
{
	struct fake_vm *vm = &blocks[nr_blocks++];

	*vm = (struct fake_vm){
		.base = base,
		.magic = 0x74726976,
		.version = 2,
		.device_id = device_id,
		.features = 1ull << VIRTIO_F_VERSION_1,
	};
	for (unsigned int i = 0; i < FAKE_VM_MAX_VQS; i++)
		vm->vq[i].num_max = 256;
	return vm;
}

void fake_vm_reset(void)
{
	nr_blocks = 0;
}

static void must(bool ok, const char *what)
{
	if (!ok)
		fake_violation(what);
}

static struct fake_vm *find(u64 addr, u32 *reg)
{
	for (unsigned int i = 0; i < nr_blocks; i++) {
		if (addr - blocks[i].base < BLOCK_SIZE) {
			*reg = (u32)(addr - blocks[i].base);
			return blocks[i].gone ? NULL : &blocks[i];
		}
	}
	return NULL;
}

static struct fake_vm_queue *selected(struct fake_vm *vm)
{
	static struct fake_vm_queue none;

	none = (struct fake_vm_queue){ 0 };
	return vm->qsel < FAKE_VM_MAX_VQS ? &vm->vq[vm->qsel] : &none;
}

static u32 config_read(struct fake_vm *vm, u32 off, unsigned int width)
{
	u32 v = 0;

	must(off % width == 0, "4.2.2.2: configuration read out of alignment");
	if (vm->restless) {
		vm->restless--;
		vm->generation++;
		vm->config[off]++;
	}
	if (off + width <= sizeof(vm->config))
		memcpy(&v, vm->config + off, width);
	return v;
}

u32 fake_mmio_read(u64 addr, unsigned int width)
{
	u32 reg;
	struct fake_vm *vm = find(addr, &reg);

	if (!vm)
		return 0xffffffff >> (32 - 8 * width);
	vm->reads++;
	if (reg >= 0x100)
		return config_read(vm, reg - 0x100, width);
	must(width == 4 && reg % 4 == 0, "4.2.2.2: control registers are read as 32 bits");
	switch (reg) {
	case 0x000:
		return vm->magic;
	case 0x004:
		return vm->version;
	case 0x008:
		return vm->device_id;
	case 0x010:
		return vm->dfsel < 2 ? (u32)(vm->features >> 32 * vm->dfsel) : 0;
	case 0x034:
		return selected(vm)->num_max;
	case 0x044:
		return selected(vm)->ready;
	case 0x060:
		return vm->isr;
	case 0x070:
		if (vm->status & VIRTIO_CONFIG_S_FEATURES_OK)
			vm->reread = true;
		return vm->status;
	case 0x0fc:
		return vm->generation;
	default:
		must(false, "4.2.2: read of a register that is write-only or is none");
		return 0;
	}
}

static void set_status(struct fake_vm *vm, u32 v)
{
	if (v == 0) {
		vm->resets++;
		if (vm->stuck_reset)
			return;
		vm->status = vm->isr = 0;
		vm->accepted = 0;
		vm->reread = false;
		for (unsigned int i = 0; i < FAKE_VM_MAX_VQS; i++)
			vm->vq[i] = (struct fake_vm_queue){ .num_max = vm->vq[i].num_max };
		return;
	}
	must((v & vm->status) == vm->status, "2.1.1: status bit cleared");
	if (v & ~vm->status & VIRTIO_CONFIG_S_DRIVER_OK)
		must(vm->reread, "3.1.1: DRIVER_OK, and FEATURES_OK was not read back");
	vm->status = v;
}

static void set_half(u64 *to, u32 v, bool high)
{
	*to = high ? (*to & 0xffffffff) | (u64)v << 32 : (*to & ~0xffffffffull) | v;
}

void fake_mmio_write(u64 addr, unsigned int width, u32 v)
{
	u32 reg;
	struct fake_vm *vm = find(addr, &reg);
	struct fake_vm_queue *q;

	if (!vm)
		return;
	must(width == 4 && reg % 4 == 0 && reg < 0x100,
	     "4.2.2.2: control registers are written as 32 bits");
	q = selected(vm);
	switch (reg) {
	case 0x014:
		vm->dfsel = v;
		return;
	case 0x020:
		must(vm->status & VIRTIO_CONFIG_S_DRIVER && vm->gfsel < 2 &&
			     !(vm->status & VIRTIO_CONFIG_S_FEATURES_OK),
		     "3.1.1: features written at a wrong time");
		must(!(v & ~(u32)(vm->features >> 32 * vm->gfsel)), "2.2.1: not offered");
		vm->accepted |= (u64)v << 32 * vm->gfsel;
		return;
	case 0x024:
		vm->gfsel = v;
		return;
	case 0x030:
		vm->qsel = v;
		return;
	case 0x038:
		must(!q->ready && v && v <= q->num_max, "4.2.2.2: QueueNum");
		q->num = v;
		return;
	case 0x044:
		must(v <= 1 && (v == 0 || (q->num && q->desc && q->driver && q->device)),
		     "4.2.3.2: ready before it is set up");
		q->ready = vm->refuse_ready ? 0 : v;
		return;
	case 0x050:
		must(vm->status & VIRTIO_CONFIG_S_DRIVER_OK, "3.1.1: notified before DRIVER_OK");
		must(v < FAKE_VM_MAX_VQS && vm->vq[v].ready, "4.2.3.3: notification of no queue");
		vm->vq[v].notified++;
		return;
	case 0x064:
		must(!(v & ~3u), "4.2.2.2: acknowledges bits that are none");
		vm->isr &= ~v;
		return;
	case 0x070:
		set_status(vm, v);
		return;
	case 0x080:
	case 0x084:
		must(!q->ready, "4.2.2.2: address of a queue in use");
		set_half(&q->desc, v, reg & 4);
		return;
	case 0x090:
	case 0x094:
		must(!q->ready, "4.2.2.2: address of a queue in use");
		set_half(&q->driver, v, reg & 4);
		return;
	case 0x0a0:
	case 0x0a4:
		must(!q->ready, "4.2.2.2: address of a queue in use");
		set_half(&q->device, v, reg & 4);
		return;
	default:
		must(false, "4.2.2: write to a register that is read-only or is none");
	}
}

/* Ports: virtio-mmio has none. */
u32 fake_port_read(u16 port, unsigned int width)
{
	(void)port;
	return 0xffffffff >> (32 - 8 * width);
}

void fake_port_write(u16 port, unsigned int width, u32 v)
{
	(void)port;
	(void)width;
	(void)v;
}
