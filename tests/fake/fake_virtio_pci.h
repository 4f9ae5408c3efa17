/*
 * The device side of virtio over PCI (VIRTIO 1.2, 4.1) on top of fake_pci.c: registers of the
 * modern and the legacy interface, MSI-X table, ISR, and just enough of a ring to answer a request.
 * Laid out as QEMU does it: BAR 0 legacy ports, BAR 1 the MSI-X table, BAR 4 the modern structures.
 *
 * Strict: what a driver MUST NOT do goes to fake_violation() with the clause. The lies are the
 * fields below the line.
 */
#ifndef TESTS_FAKE_FAKE_VIRTIO_PCI_H
#define TESTS_FAKE_FAKE_VIRTIO_PCI_H

#include "tests/fake/fake_pci.h"

#define FAKE_VP_MAX_VQS 4
#define FAKE_VP_MSIX_OFF 0x98

/* Where the structures are in BAR 4. */
#define FAKE_VP_COMMON 0x0000u
#define FAKE_VP_ISR 0x1000u
#define FAKE_VP_DEVICE 0x2000u
#define FAKE_VP_NOTIFY 0x3000u
/* Their capabilities in configuration space. */
#define FAKE_VP_CAP_COMMON 0x84
#define FAKE_VP_CAP_ISR 0x74
#define FAKE_VP_CAP_DEVICE 0x64
#define FAKE_VP_CAP_NOTIFY 0x50

struct fake_vq {
	u16 max, size, vector, notify_off;
	u16 enabled;
	u64 desc, avail, used; /* modern */
	u32 pfn;               /* legacy */
	unsigned int notified;
	u16 last_avail;
};

struct fake_vp {
	struct fake_fn *fn;
	bool modern, legacy; /* the interfaces it has */
	u64 features;        /* offered */
	u64 accepted;
	u8 status, isr, generation;
	u16 nvqs, select, config_vector;
	u32 dfselect, gfselect;
	struct fake_vq vq[FAKE_VP_MAX_VQS];
	u8 config[64];
	u32 msix[4 * 8];
	unsigned int vectors;
	bool features_ok_checked;
	unsigned int resets;
	u32 answer_len; /* not 0: each notification is served at once, with buffers of so many bytes
			   ... */
	u8 answer_fill; /* ... of this */
	/* ---- lies ---- */
	bool refuse_features;       /* FEATURES_OK does not stay */
	bool stuck_reset;           /* the status never reads 0 */
	unsigned int slow_reset;    /* it does after so many reads */
	bool refuse_vectors;        /* NO_VECTOR reads back */
	unsigned int refuse_vector; /* only this one does, if not 0 */
	bool refuse_size;           /* a smaller queue_size does not stay */
	bool keep_pfn;              /* a reset does not take the queues' addresses away (legacy) */
	bool refuse_enable;         /* queue_enable does not stay */
	unsigned int restless;      /* the configuration changes during the next so many reads */
	u32 bad_id;                 /* not 0: added to the id in the used ring */
	bool gone_on_notify;        /* unplugged at the first notification */
};

/*
 * A device of type (VIRTIO_ID_*) in slot: transitional (modern and legacy), or modern with the
 * modern ID. nvqs queues of 256; MSI-X with so many vectors (0: none).
 */
struct fake_vp *fake_vp_add(struct fake_fn *bridge, unsigned int slot, u32 type, bool transitional,
			    u16 nvqs, unsigned int vectors);
/* Frees the models. fake_pci_reset() frees their functions. */
void fake_vp_reset(void);

/* The device has used buffers of that queue, or (vq < 0) changed its configuration. True: an
 * interrupt was taken. */
bool fake_vp_interrupt(struct fake_vp *vp, int vq);
/* Fills each buffer that the driver posted with fill, up to len bytes, and returns how many there
 * were. */
unsigned int fake_vp_serve(struct fake_vp *vp, unsigned int vq, u8 fill, u32 len);
/* A DMA address as the device sees it. */
void *fake_dma_ptr(u64 addr, size_t len);

#endif
