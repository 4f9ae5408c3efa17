/*
 * Where a packet's way can be looked at (kernel/trace.h): one call for each stage, two instructions
 * while nobody looks. In the order of the way; who calls which is written beside it. Softirq
 * context.
 */
#ifndef NET_TRACE_H
#define NET_TRACE_H

#include "kernel/trace.h"

struct pkt_buf;
struct pkt_parts;

void __trace_poll(void);
void __trace_rx(struct pkt_buf *pkt);
void __trace_merge(struct pkt_buf *held, struct pkt_buf *pkt);
void __trace_input(struct pkt_buf *pkt);
void __trace_input_end(void);
void __trace_app(void);
void __trace_xmit(struct pkt_buf *pkt);
void __trace_ring(struct pkt_buf *pkt);
void __trace_doorbell(void);
void __trace_complete(struct pkt_buf *pkt);
void __trace_drop(struct pkt_buf *pkt);

/* napi_poll(): a device is about to be polled. */
static inline void trace_poll(void)
{
	if (trace_wanted(TRACE_JOURNEY))
		__trace_poll();
}
/* napi_gro_receive(): a frame has come from the device. */
static inline void trace_rx(struct pkt_buf *pkt)
{
	if (unlikely(tracing))
		__trace_rx(pkt);
}
/* gro_merge(): pkt becomes part of held. */
static inline void trace_merge(struct pkt_buf *held, struct pkt_buf *pkt)
{
	if (trace_wanted(TRACE_JOURNEY))
		__trace_merge(held, pkt);
}
/* lwip_input(): into the stack; and out again, all being done that is done at once. */
static inline void trace_input(struct pkt_buf *pkt)
{
	if (unlikely(tracing))
		__trace_input(pkt);
}
static inline void trace_input_end(void)
{
	if (unlikely(tracing))
		__trace_input_end();
}
/* The stack is about to call an application. */
static inline void trace_app(void)
{
	if (trace_wanted(TRACE_JOURNEY))
		__trace_app();
}
/* dev_queue_xmit(): a frame for the device. */
static inline void trace_xmit(struct pkt_buf *pkt)
{
	if (trace_wanted(TRACE_JOURNEY))
		__trace_xmit(pkt);
}
/* The driver: it is in the ring. */
static inline void trace_ring(struct pkt_buf *pkt)
{
	if (unlikely(tracing))
		__trace_ring(pkt);
}
/* The driver: the device is about to be told of all that was put into the ring since the last time.
 */
static inline void trace_doorbell(void)
{
	if (trace_wanted(TRACE_JOURNEY))
		__trace_doorbell();
}
/* The driver: the device is done with it. */
static inline void trace_complete(struct pkt_buf *pkt)
{
	if (trace_wanted(TRACE_JOURNEY))
		__trace_complete(pkt);
}
/* A frame that was to be sent, or delivered, and will not. */
static inline void trace_drop(struct pkt_buf *pkt)
{
	if (trace_wanted(TRACE_JOURNEY))
		__trace_drop(pkt);
}

/* The first PKT_HEAD_LEN bytes of a frame that is to be sent into head, zeros behind its end. How
 * many it has. */
u32 pkt_head(const struct pkt_buf *pkt, u8 *head);
/* Traffic of the diagnostics port itself. */
bool trace_own(const struct pkt_parts *p);

/* ---- net/stack_probe.c ---- */

/* The stack begins to handle a received frame, or has done with it. */
void stack_probe_input(const struct pkt_buf *pkt);
void stack_probe_input_end(void);

/* ---- net/capture.c ---- */

/* A frame as it lies in one piece, or in the pieces of a transmit packet. */
void capture_rx(const struct pkt_buf *pkt, const struct pkt_parts *p);
void capture_tx(const struct pkt_buf *pkt);

#endif
