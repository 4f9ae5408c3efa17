/* A virtio device behind PCI registers: see fake_virtio_pci.h. */
#include "tests/fake/fake_virtio_pci.h"

#include <stdlib.h>
#include <string.h>

#include "drivers/pci/pci_regs.h"
#include "drivers/virtio/virtio.h"
#include "drivers/virtio/virtio_ring.h"
#include "kernel/bug.h"
#include "kernel/mm.h"
#include "tests/fake/fake_kernel.h"

#define NO_VECTOR 0xffff
#define NOTIFY_MULTIPLIER 4

static struct fake_vp *devices[8];
static unsigned int nr_devices;

/* ---- DMA memory: addresses that fit the legacy interface, and are no pointers ---- */

#define MAX_DMA 64
static struct {
	void *ptr;
	u64 addr;
	size_t size;
} dma[MAX_DMA];

void *dma_alloc_coherent(size_t size, dma_addr_t *handle)
{
	static u64 next = 0x10000000;
	void *p = alloc_pages_exact(size);

	if (!p)
		return NULL;
	memset(p, 0, size);
	for (int i = 0; i < MAX_DMA; i++) {
		if (dma[i].ptr)
			continue;
		dma[i].ptr = p;
		dma[i].addr = *handle = next;
		dma[i].size = size;
		next += ALIGN_UP((u64)size, PAGE_SIZE) + PAGE_SIZE;
		return p;
	}
	abort();
}

void dma_free_coherent(size_t size, void *addr, dma_addr_t handle)
{
	for (int i = 0; i < MAX_DMA; i++) {
		if (dma[i].ptr != addr)
			continue;
		BUG_ON(dma[i].addr != handle || dma[i].size != size);
		dma[i].ptr = NULL;
		free_pages_exact(addr, size);
		return;
	}
	BUG();
}

void *fake_dma_ptr(u64 addr, size_t len)
{
	for (int i = 0; i < MAX_DMA; i++) {
		if (dma[i].ptr && addr >= dma[i].addr && addr + len <= dma[i].addr + dma[i].size)
			return (u8 *)dma[i].ptr + (addr - dma[i].addr);
	}
	fake_violation("device was given address %#llx, which is not ours",
		       (unsigned long long)addr);
	abort();
}

/* ---- the state machine ---- */

static bool msix_on(const struct fake_vp *vp)
{
	return vp->vectors &&
	       fake_cfg16(vp->fn, FAKE_VP_MSIX_OFF + PCI_MSIX_FLAGS) & PCI_MSIX_FLAGS_ENABLE;
}

static void device_reset(struct fake_vp *vp)
{
	vp->status = 0;
	vp->accepted = 0;
	vp->isr = 0;
	vp->config_vector = NO_VECTOR;
	vp->features_ok_checked = false;
	vp->resets++;
	for (int i = 0; i < FAKE_VP_MAX_VQS; i++) {
		struct fake_vq *q = &vp->vq[i];

		q->size = q->max;
		q->vector = NO_VECTOR;
		q->enabled = 0;
		q->desc = q->avail = q->used = 0;
		if (!vp->keep_pfn)
			q->pfn = 0;
		q->last_avail = 0;
	}
}

static void write_status(struct fake_vp *vp, u8 v, bool legacy)
{
	u8 old = vp->status;

	if (v == 0) {
		if (!vp->stuck_reset)
			device_reset(vp);
		return;
	}
	if (old & ~v)
		fake_violation("2.1.1: status bits %#x cleared", old & ~v);
	if (v & VIRTIO_CONFIG_S_DRIVER && !(v & VIRTIO_CONFIG_S_ACKNOWLEDGE))
		fake_violation("3.1.1: DRIVER before ACKNOWLEDGE");
	if (v & VIRTIO_CONFIG_S_FEATURES_OK && (legacy || !(v & VIRTIO_CONFIG_S_DRIVER)))
		fake_violation("3.1.1: FEATURES_OK too early, or on a legacy device");
	if (v & ~old & VIRTIO_CONFIG_S_DRIVER_OK && !legacy &&
	    !(old & VIRTIO_CONFIG_S_FEATURES_OK && vp->features_ok_checked))
		fake_violation("3.1.1: DRIVER_OK without FEATURES_OK re-read");
	if (vp->refuse_features)
		v &= (u8)~VIRTIO_CONFIG_S_FEATURES_OK;
	vp->status = v;
}

static u8 read_status(struct fake_vp *vp)
{
	if (vp->slow_reset && vp->status == 0) {
		vp->slow_reset--;
		return VIRTIO_CONFIG_S_ACKNOWLEDGE;
	}
	if (vp->stuck_reset && vp->status == 0)
		return VIRTIO_CONFIG_S_ACKNOWLEDGE;
	if (vp->status & VIRTIO_CONFIG_S_FEATURES_OK)
		vp->features_ok_checked = true;
	return vp->status;
}

static void accept_features(struct fake_vp *vp, unsigned int shift, u32 v)
{
	if (!(vp->status & VIRTIO_CONFIG_S_DRIVER) || vp->status & VIRTIO_CONFIG_S_FEATURES_OK)
		fake_violation("3.1.1: features written in status %#x", vp->status);
	if (v & ~(u32)(vp->features >> shift))
		fake_violation("2.2.1: feature that was not offered: %#x",
			       v & ~(u32)(vp->features >> shift));
	vp->accepted = (vp->accepted & ~(0xffffffffull << shift)) | (u64)v << shift;
}

static u32 read_config(struct fake_vp *vp, u64 off, unsigned int width)
{
	u32 v = 0;

	if (!(vp->status & VIRTIO_CONFIG_S_ACKNOWLEDGE))
		fake_violation("3.1.1: configuration read in status %#x", vp->status);
	if (off % width)
		fake_violation("4.1.3.1: configuration read at %#x, width %u", (unsigned int)off,
			       width);
	if (vp->restless) {
		vp->restless--;
		vp->generation++;
	}
	if (off + width <= sizeof(vp->config))
		memcpy(&v, vp->config + off, width);
	return v;
}

static u16 set_vector(struct fake_vp *vp, u16 v)
{
	if (!msix_on(vp))
		fake_violation("4.1.5.1.2.1: vector written while MSI-X is off");
	if (v == NO_VECTOR || v >= vp->vectors || vp->refuse_vectors ||
	    (vp->refuse_vector && v == vp->refuse_vector))
		return NO_VECTOR;
	return v;
}

static struct fake_vq *selected(struct fake_vp *vp)
{
	static struct fake_vq none;

	memset(&none, 0, sizeof(none));
	return vp->select < vp->nvqs ? &vp->vq[vp->select] : &none;
}

/* ---- modern: struct virtio_pci_common_cfg ---- */

static void check_width(u64 off, unsigned int width)
{
	unsigned int want = off < 16 || off >= 32 ? 4 : off == 20 || off == 21 ? 1 : 2;

	if (width != want || off % width)
		fake_violation("4.1.3.1: common configuration at %#x with width %u",
			       (unsigned int)off, width);
}

static u32 common_read(struct fake_vp *vp, u64 off, unsigned int width)
{
	struct fake_vq *q = selected(vp);

	check_width(off, width);
	switch (off) {
	case 0:
		return vp->dfselect;
	case 4:
		return vp->dfselect < 2 ? (u32)(vp->features >> 32 * vp->dfselect) : 0;
	case 16:
		return vp->config_vector;
	case 18:
		return vp->nvqs;
	case 20:
		return read_status(vp);
	case 21:
		return vp->generation;
	case 22:
		return vp->select;
	case 24:
		return q->size;
	case 26:
		return q->vector;
	case 28:
		return q->enabled;
	case 30:
		return q->notify_off;
	default:
		return 0;
	}
}

static void set_half(u64 *field, bool high, u32 v)
{
	*field = high ? (u32)*field | (u64)v << 32 : (*field & ~0xffffffffull) | v;
}

static void enable_queue(struct fake_vp *vp, struct fake_vq *q, u32 v)
{
	if (v != 1)
		fake_violation("4.1.4.3.2: %u written to queue_enable", v);
	if (!(vp->status & VIRTIO_CONFIG_S_FEATURES_OK))
		fake_violation("3.1.1: queue enabled in status %#x", vp->status);
	if (!q->desc || !q->avail || !q->used || q->desc % 16 || q->avail % 2 || q->used % 4)
		fake_violation("2.7: queue enabled with addresses %#llx %#llx %#llx",
			       (unsigned long long)q->desc, (unsigned long long)q->avail,
			       (unsigned long long)q->used);
	q->enabled = !vp->refuse_enable;
}

static void common_write(struct fake_vp *vp, u64 off, unsigned int width, u32 v)
{
	struct fake_vq *q = selected(vp);

	check_width(off, width);
	if (off >= 24 && off != 26 && q->enabled)
		fake_violation("4.1.4.3.2: register %#x of an enabled queue written",
			       (unsigned int)off);
	switch (off) {
	case 0:
		vp->dfselect = v;
		break;
	case 8:
		vp->gfselect = v;
		break;
	case 12:
		accept_features(vp, 32 * vp->gfselect, v);
		break;
	case 16:
		vp->config_vector = set_vector(vp, (u16)v);
		break;
	case 20:
		write_status(vp, (u8)v, false);
		break;
	case 22:
		vp->select = (u16)v;
		break;
	case 24:
		if (!IS_POWER_OF_2(v) || v > q->max)
			fake_violation("4.1.4.3.2: queue size %u of %u", v, q->max);
		if (!vp->refuse_size)
			q->size = (u16)v;
		break;
	case 26:
		q->vector = set_vector(vp, (u16)v);
		break;
	case 28:
		enable_queue(vp, q, v);
		break;
	case 32:
	case 36:
		set_half(&q->desc, off == 36, v);
		break;
	case 40:
	case 44:
		set_half(&q->avail, off == 44, v);
		break;
	case 48:
	case 52:
		set_half(&q->used, off == 52, v);
		break;
	default:
		fake_violation("4.1.4.3: write to read-only register %#x", (unsigned int)off);
	}
}

static void notify(struct fake_vp *vp, u32 index, unsigned int width)
{
	if (width != 2 || index >= vp->nvqs)
		fake_violation("4.1.5.2: notification %u, width %u", index, width);
	else if (!(vp->status & VIRTIO_CONFIG_S_DRIVER_OK))
		fake_violation("3.1.1: queue %u notified before DRIVER_OK", index);
	else
		vp->vq[index].notified++;
	if (vp->answer_len)
		fake_vp_serve(vp, index, vp->answer_fill, vp->answer_len);
	if (vp->gone_on_notify)
		vp->fn->gone = true;
}

static u32 read_isr(struct fake_vp *vp)
{
	u8 isr = vp->isr;

	if (msix_on(vp))
		fake_violation("4.1.4.5.2: ISR read while MSI-X is on");
	vp->isr = 0;
	return isr;
}

/* ---- legacy ports (4.1.4.10) ---- */

static u32 legacy_read(struct fake_vp *vp, u64 off, unsigned int width)
{
	struct fake_vq *q = selected(vp);
	unsigned int config = msix_on(vp) ? 24 : 20;

	if (off >= config)
		return read_config(vp, off - config, width);
	switch (off) {
	case 0:
		return (u32)vp->features;
	case 8:
		return q->pfn;
	case 12:
		return q->max;
	case 18:
		return read_status(vp);
	case 19:
		return read_isr(vp);
	case 20:
		return vp->config_vector;
	case 22:
		return q->vector;
	default:
		return 0;
	}
}

static void legacy_write(struct fake_vp *vp, u64 off, unsigned int width, u32 v)
{
	struct fake_vq *q = selected(vp);

	switch (off) {
	case 4:
		accept_features(vp, 0, v);
		break;
	case 8:
		q->pfn = v;
		break;
	case 14:
		vp->select = (u16)v;
		break;
	case 16:
		notify(vp, v, width);
		break;
	case 18:
		write_status(vp, (u8)v, true);
		break;
	case 20:
		vp->config_vector = set_vector(vp, (u16)v);
		break;
	case 22:
		q->vector = set_vector(vp, (u16)v);
		break;
	default:
		fake_violation("4.1.4.10: write to port %#x", (unsigned int)off);
	}
}

/* ---- BARs ---- */

static u32 bar_read(struct fake_fn *fn, unsigned int bar, u64 off, unsigned int width)
{
	struct fake_vp *vp = fn->priv;

	if (bar == 0)
		return legacy_read(vp, off, width);
	if (bar == 1)
		return off < sizeof(vp->msix) ? vp->msix[off / 4] : 0;
	if (off < FAKE_VP_ISR)
		return common_read(vp, off, width);
	if (off < FAKE_VP_DEVICE)
		return read_isr(vp);
	if (off < FAKE_VP_NOTIFY)
		return read_config(vp, off - FAKE_VP_DEVICE, width);
	fake_violation("4.1.4.4: notification structure read");
	return 0;
}

static void bar_write(struct fake_fn *fn, unsigned int bar, u64 off, unsigned int width, u32 v)
{
	struct fake_vp *vp = fn->priv;

	if (bar == 0) {
		legacy_write(vp, off, width, v);
	} else if (bar == 1) {
		if (off < sizeof(vp->msix))
			vp->msix[off / 4] = v;
	} else if (off < FAKE_VP_ISR) {
		common_write(vp, off, width, v);
	} else if (off >= FAKE_VP_NOTIFY) {
		u16 index = (u16)v;

		if (index < vp->nvqs &&
		    off - FAKE_VP_NOTIFY != (u64)vp->vq[index].notify_off * NOTIFY_MULTIPLIER)
			fake_violation("4.1.4.4: queue %u notified at %#llx", index,
				       (unsigned long long)off);
		notify(vp, v, width);
	} else {
		fake_violation("write to BAR 4 at %#llx", (unsigned long long)off);
	}
}

/* ---- making one ---- */

static void add_virtio_cap(struct fake_fn *fn, u8 pos, u8 type, u32 off, u32 len)
{
	u8 body[18] = { type == 2 ? 20 : 16, type, 4 };
	u32 mult = NOTIFY_MULTIPLIER;

	memcpy(body + 6, &off, 4);
	memcpy(body + 10, &len, 4);
	memcpy(body + 14, &mult, 4);
	fake_pci_add_cap(fn, pos, 0x09, body, type == 2 ? 18 : 14);
}

struct fake_vp *fake_vp_add(struct fake_fn *bridge, unsigned int slot, u32 type, bool transitional,
			    u16 nvqs, unsigned int vectors)
{
	struct fake_vp *vp = calloc(1, sizeof(*vp));
	struct fake_fn *fn;

	if (!vp || nr_devices == ARRAY_SIZE(devices))
		abort();
	devices[nr_devices++] = vp;
	fn = fake_pci_add(bridge, slot, 0, 0x1af4, (u16)(transitional ? 0x1000 : 0x1040 + type),
			  0x020000);
	fake_cfg_set16(fn, PCI_SUBSYSTEM_ID, (u16)type);
	fn->cfg[PCI_REVISION_ID] = !transitional;
	fn->cfg[PCI_INTERRUPT_PIN] = 1;
	fn->cfg[PCI_INTERRUPT_LINE] = 11;
	if (transitional)
		fake_pci_set_bar(fn, 0, 0x40, 1, 0xc000 + 0x40 * slot);
	fake_pci_set_bar(fn, 1, 0x1000, 0, 0xfebc0000 + 0x1000 * slot);
	fake_pci_set_bar(fn, 4, 0x4000, 12, 0xe000000000 + 0x4000 * slot);
	fake_pci_add_msix(fn, FAKE_VP_MSIX_OFF, vectors ? vectors : 1, 1, 0x801);
	add_virtio_cap(fn, FAKE_VP_CAP_COMMON, 1, FAKE_VP_COMMON, 0x1000);
	add_virtio_cap(fn, FAKE_VP_CAP_ISR, 3, FAKE_VP_ISR, 0x1000);
	add_virtio_cap(fn, FAKE_VP_CAP_DEVICE, 4, FAKE_VP_DEVICE, 0x1000);
	add_virtio_cap(fn, FAKE_VP_CAP_NOTIFY, 2, FAKE_VP_NOTIFY, 0x1000);
	if (!vectors)
		fn->cfg[FAKE_VP_MSIX_OFF] = 0x01; /* some other capability */
	fn->read = bar_read;
	fn->write = bar_write;
	fn->priv = vp;
	vp->fn = fn;
	vp->modern = true;
	vp->legacy = transitional;
	vp->nvqs = nvqs;
	vp->vectors = vectors;
	vp->features = 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_INDIRECT_DESC;
	for (u16 i = 0; i < nvqs; i++) {
		vp->vq[i].max = 256;
		vp->vq[i].notify_off = i;
	}
	for (unsigned int i = 0; i < sizeof(vp->config); i++)
		vp->config[i] = (u8)(0xc0 + i);
	device_reset(vp);
	vp->resets = 0;
	return vp;
}

void fake_vp_reset(void)
{
	while (nr_devices)
		free(devices[--nr_devices]);
}

/* ---- what the device does ---- */

bool fake_vp_interrupt(struct fake_vp *vp, int vq)
{
	u16 cmd = fake_cfg16(vp->fn, PCI_COMMAND);
	u16 vector;

	if (!msix_on(vp)) {
		vp->isr |= vq < 0 ? 2 : 1;
		if (cmd & PCI_COMMAND_INTX_DISABLE)
			return false;
		return fake_irq_raise(vp->fn->cfg[PCI_INTERRUPT_LINE] + 1);
	}
	vector = vq < 0 ? vp->config_vector : vp->vq[vq].vector;
	if (vector == NO_VECTOR || !(cmd & PCI_COMMAND_MASTER) || vp->msix[4 * vector + 3] & 1 ||
	    fake_cfg16(vp->fn, FAKE_VP_MSIX_OFF + PCI_MSIX_FLAGS) & PCI_MSIX_FLAGS_MASKALL)
		return false;
	return fake_irq_raise((int)vp->msix[4 * vector + 2]);
}

unsigned int fake_vp_serve(struct fake_vp *vp, unsigned int vq, u8 fill, u32 len)
{
	struct fake_vq *q = &vp->vq[vq];
	size_t avail_off = (size_t)q->size * 16,
	       used_off = ALIGN_UP(avail_off + 6 + 2 * (size_t)q->size, 4096);
	u64 base = (u64)q->pfn << 12;
	struct virtq_desc *desc = fake_dma_ptr(q->pfn ? base : q->desc, 16);
	struct virtq_avail *avail = fake_dma_ptr(q->pfn ? base + avail_off : q->avail, 4);
	struct virtq_used *used = fake_dma_ptr(q->pfn ? base + used_off : q->used, 4);
	unsigned int n = 0;

	if (!(fake_cfg16(vp->fn, PCI_COMMAND) & PCI_COMMAND_MASTER))
		fake_violation("4.1: DMA without bus mastering");
	for (; q->last_avail != avail->idx; q->last_avail++, n++) {
		u16 id = avail->ring[q->last_avail % q->size];
		u32 l = min(len, desc[id].len);

		if (l)
			memset(fake_dma_ptr(desc[id].addr, l), fill, l);
		used->ring[used->idx % q->size] = (struct virtq_used_elem){ id + vp->bad_id, l };
		__atomic_store_n(&used->idx, (u16)(used->idx + 1), __ATOMIC_RELEASE);
	}
	return n;
}
