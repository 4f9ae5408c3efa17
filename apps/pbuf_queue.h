/*
 * Received bytes that an app has not taken yet: a queue of pbufs. Like lwIP's own chains, but it
 * knows its end, may hold more than 65,535 bytes, and does not let a peer that sends single bytes
 * have a whole packet of memory for each. The queue owns what is in it. Softirq context.
 */
#ifndef APPS_PBUF_QUEUE_H
#define APPS_PBUF_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lwip/pbuf.h"

struct pbuf_queue {
	struct pbuf *head, *tail;
	uint32_t bytes;
	uint32_t count; /* pbufs */
	uint32_t room;  /* bytes free at the end of the last one, for short pieces */
};

/* Adds what a recv callback got. False: no memory to pack a short piece; p is still the caller's.
 */
bool pbuf_queue_put(struct pbuf_queue *q, struct pbuf *p);
/* The first piece and its length, or NULL if there is none. */
static inline const uint8_t *pbuf_queue_peek(const struct pbuf_queue *q, uint16_t *len)
{
	*len = q->head ? q->head->len : 0;
	return q->head ? q->head->payload : NULL;
}
/* Drops n bytes of the first piece, n at most what pbuf_queue_peek() said. */
void pbuf_queue_skip(struct pbuf_queue *q, uint16_t n);
void pbuf_queue_free(struct pbuf_queue *q);

#endif
