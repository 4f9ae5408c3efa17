/*
 * The NIC driver between the fake device and a stack of a few lines, with net/ as it is: what the
 * programs test_virtio_net*.c share. Each test ends with the leak check: every packet is back in
 * its pool or in the receive ring, and no timer runs.
 */
#ifndef TESTS_UNIT_VIRTIO_NET_FIXTURE_H
#define TESTS_UNIT_VIRTIO_NET_FIXTURE_H

#include "drivers/net/virtio_net.h"
#include "tests/fake/fake_virtio.h"

#define F(feature) (1ull << (feature))
#define MODERN (F(VIRTIO_F_VERSION_1) | F(VIRTIO_NET_F_MAC) | F(VIRTIO_NET_F_STATUS))
#define LEGACY (F(VIRTIO_NET_F_MAC) | F(VIRTIO_NET_F_STATUS))
#define RX 0
#define TX 1

extern const u8 our_mac[ETH_ALEN];
extern struct fake_virtio *dev;
extern struct virtnet_info *vi;

/* ---- the stack above ---- */

/* What it does with a frame: LATE puts another behind the poll's last look. */
enum stack_mode { FREE, HOLD, ECHO, LATE };
extern enum stack_mode mode;
extern struct pkt_buf *held[4096];
extern unsigned int nr_held, received, tx_done, carrier_changes, notified_peers;
/* The last frame, flat, and what came with it. */
extern u8 last_frame[70000];
extern u32 last_len, last_pieces;
extern u64 last_offloads; /* struct pkt_buf.offloads */

/* What the next frames of xmit() leave to the device: struct pkt_buf.offloads. */
extern u64 tx_offloads;
/* A frame of our own: `data` must stay until it is done. `block`: freed with it. */
int xmit(const void *data, u32 len, unsigned int pieces, u8 headroom, struct pkt_buf *block);
void release_held(void);

/* ---- the device below ---- */

/* A device of these features, not yet probed; the probe; both. */
void prepare(u64 features);
int probe(void);
void boot(u64 features);
/* VIRTIO 1.2, 5.1.6.1: of the virtio_net_hdr. */
u16 hdr_len(void);
/* Puts a frame into the next receive buffer, header as given. False: none posted. */
bool dev_put(struct virtio_net_hdr hdr, const void *frame, u32 len);
/* The same without offloads, and delivers it. */
bool dev_send(const void *frame, u32 len);
/*
 * Takes a frame out of the transmit ring, whose header must be zero. Its length, 0: none. Not yet
 * used.
 */
u32 dev_take(struct fake_buf *buf, u8 *frame);
/* The same with any header, which it gives. */
u32 dev_take_hdr(struct fake_buf *buf, u8 *frame, struct virtio_net_hdr_v1 *hdr);
void dev_done(const struct fake_buf *buf);
/* Takes and completes all that is there. */
unsigned int dev_drain(void);

/* The device's counters, without its prefix. */
u64 vn_stat(const char *name);
static inline u64 stat(const char *name)
{
	return vn_stat(name);
}
const char *stat_text(const char *name);

/* ---- life ---- */

/* Once. */
void start(void);
int setup(void **state);
int teardown(void **state);
void check_no_leak(void);

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
