/*
 * A device that cuts, and a TCP receiver behind it: what the guest's stack sends comes apart as
 * VIRTIO 1.2, 5.1.6.2 has it, each piece is checked as a network would, perhaps lost, and the
 * receiver acknowledges what it has. The guest's side is a listener at port 99 that sends stream[]
 * as fast as it may. Over the fixture of lwip_fixture.h.
 */
#ifndef TESTS_UNIT_TSO_PEER_H
#define TESTS_UNIT_TSO_PEER_H

#include "tests/unit/lwip_fixture.h"
#include "tests/unit/test.h"

struct tcp_pcb;

#define FX_TEST(t) cmocka_unit_test_setup_teardown(t, fx_begin, tso_end)

#define PEER_MSS 1460u
#define STREAM (1u << 20)
extern u8 stream[STREAM];

/* The guest's side. */
extern struct tso_app {
	struct tcp_pcb *listener, *pcb;
	u32 total;        /* bytes of stream[] to be sent */
	u32 written;      /* so far */
	u32 acknowledged; /* as the sent callback said */
	u8 how;           /* TCP_WRITE_FLAG_* */
	bool close;       /* behind the last */
	bool failed;      /* the connection was given up */
	u32 chunk;        /* of one tcp_write() at most; 0: as much as goes */
} app;
/* Writes what goes, as the callback does. */
void app_write(void);

/* The receiver. */
extern struct tso_peer {
	bool v6;
	u32 seq, base;   /* our next number; that of stream[0] */
	u32 next, end;   /* of the stream: bytes had in order; the advertised right edge */
	u32 window;      /* to advertise: kept as it is, the right edge moves on with what comes */
	u8 have[STREAM]; /* byte by byte */
	bool fin;
	/* What came. */
	u32 frames, pieces, largest; /* largest: payload of a frame before it was cut */
	u32 largest_piece;
	u32 twice;         /* bytes that it had already */
	u32 retransmitted; /* bytes below the highest that was ever sent */
	u32 highest;
	/* Is the piece lost, whose first byte is this one of the stream? NULL: none is. */
	bool (*lost)(u32 at, u32 len);
	/* Acknowledgements are kept back. */
	bool silent;
	u32 owed; /* acknowledgements kept back */
} peer;

void peer_connect(bool v6, u32 window, u32 total);
/* Delivers what the guest has sent, and what it sends in answer, until it is silent. */
void peer_run(void);
/* The same, time moving on while not all has come. Fails after so many seconds. */
void peer_finish(u32 seconds);
void peer_ack(void);
/* The receiver has all, the guest knows, and nothing is left in its queues. */
void peer_check(void);
/* Ends the connection the hard way; and so does the end of a test that failed. */
int tso_end(void **state);
void peer_end(void);

/* Checks a frame that the guest sent, cuts it, and hands on each piece. */
void device_cut(const struct fx_frame *f, void (*piece)(const u8 *frame, u32 len));
u32 rnd(u32 below);
extern u32 rnd_state;

int run_tso_loss_tests(void);
int run_tso_rx_tests(void);

#endif
