/*
 * Journeys: time stamps of single packets at the stages of their way, recorded on request and shown
 * as text, as JSON and as percentiles (/journey, net/journey_show.c). Softirq context.
 *
 * A record begins when a frame comes from the device, or when one is to be sent that answers none;
 * it ends when the stack is done with the frame, or, if that caused one to be sent, when the device
 * is done with that. One session at a time: n records, in memory that is there before the first.
 */
#ifndef NET_JOURNEY_H
#define NET_JOURNEY_H

#include "net/pkt_filter.h"

enum journey_stage {
	JOURNEY_INTERRUPT, /* common_interrupt() */
	JOURNEY_SOFTIRQ,   /* net_rx_action() */
	JOURNEY_POLL,      /* napi_poll(): the driver's poll function */
	JOURNEY_GRO,       /* napi_gro_receive() */
	JOURNEY_INPUT,     /* lwip_input() */
	JOURNEY_APP,       /* an application's callback */
	JOURNEY_QUEUE,     /* dev_queue_xmit() */
	JOURNEY_RING,      /* start_xmit() has put it into the ring */
	JOURNEY_DOORBELL,  /* virtqueue_kick() */
	JOURNEY_COMPLETE,  /* free_old_xmit() has found it done */
	NR_JOURNEY_STAGES,
};

/* Masks. */
#define JOURNEY_SENT 1    /* caused a frame to be sent, or is one */
#define JOURNEY_TX_ONLY 2 /* begins with its sending: a timer's, or a second answer */
#define JOURNEY_MERGED 4  /* GRO made it part of an earlier one, whose journey goes on */
#define JOURNEY_DROPPED 8
#define JOURNEY_DONE 16

#define JOURNEY_HEAD_AT 12 /* the first byte of the frame that is kept: the ethertype's */
#define JOURNEY_HEAD_LEN 48

struct journey {
	u64 cycles[NR_JOURNEY_STAGES]; /* get_cycles(); 0: did not come there */
	u64 end;                       /* the stack was done with what was received */
	u8 head[JOURNEY_HEAD_LEN];     /* of the frame it began with */
	u16 len;                       /* of that frame, bytes */
	u16 merged;                    /* later frames that GRO made part of it */
	u8 flags;
	struct journey *next; /* of those that the doorbell has not rung for */
};

#define JOURNEY_MAX 32767u

/*
 * Begins to record the next n packets that match; done is called, in softirq context, once n
 * records are complete. 0, -EBUSY (one session at a time), -ENOMEM.
 */
int journey_start(u32 n, const struct pkt_filter *filter, void (*done)(void *ctx), void *ctx);
/* No more is recorded. What there is stays until journey_release(). */
void journey_stop(void);
void journey_release(void);
/* Records begun, and of them complete. */
u32 journey_started(void);
u32 journey_finished(void);
const struct journey *journey_get(u32 i);
/*
 * The stage times of the packet with this pkt->journey as a line of text, for a capture: its
 * length, 0 if there is no such record (any more), or -EAGAIN: its journey is not finished.
 */
int journey_comment(u32 journey, char *buf, size_t size);
/* The record that pkt->journey stands for; NULL: none of this session. */
const struct journey *journey_lookup(u32 journey);
/* For sorting: room for n numbers, as long as the session. */
u32 *journey_scratch(void);

/* The function that a stage is shown as. */
extern const char *const journey_function[NR_JOURNEY_STAGES];
/* What it is called in tables. */
extern const char *const journey_name[NR_JOURNEY_STAGES];

#endif
