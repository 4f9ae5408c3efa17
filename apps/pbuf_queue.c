/* See pbuf_queue.h. Only pbuf_free() ever sees the links made here; it does not look at tot_len. */
#include "apps/pbuf_queue.h"

#include <string.h>

/* More pieces than this, and small ones: pack them. A window of full segments is 88. */
#define PACK_COUNT 128
#define PACK_AVERAGE 256

static void append(struct pbuf_queue *q, struct pbuf *p)
{
	if (q->tail)
		q->tail->next = p;
	else
		q->head = p;
	for (; p; p = p->next) {
		q->tail = p;
		q->bytes += p->len;
		q->count++;
	}
}

/* All pieces in one. The bytes are fewer than PACK_AVERAGE for each of some PACK_COUNT pieces. */
static bool pack(struct pbuf_queue *q)
{
	struct pbuf *one = pbuf_alloc(PBUF_RAW, (u16_t)q->bytes, PBUF_RAM);
	uint8_t *to;

	if (!one)
		return false;
	to = one->payload;
	for (const struct pbuf *p = q->head; p; p = p->next) {
		memcpy(to, p->payload, p->len);
		to += p->len;
	}
	pbuf_queue_free(q);
	append(q, one);
	return true;
}

/* A piece without bytes (what is left of a header's) must not look like the end. */
static void trim(struct pbuf_queue *q)
{
	struct pbuf *p;

	while ((p = q->head) && p->len == 0) {
		q->head = p->next;
		q->count--;
		p->next = NULL;
		pbuf_free(p);
	}
	if (!q->head)
		q->tail = NULL;
}

bool pbuf_queue_put(struct pbuf_queue *q, struct pbuf *p)
{
	if (q->count >= PACK_COUNT && q->bytes < PACK_COUNT * PACK_AVERAGE && !pack(q))
		return false;
	append(q, p);
	trim(q);
	return true;
}

void pbuf_queue_skip(struct pbuf_queue *q, uint16_t n)
{
	pbuf_remove_header(q->head, n);
	q->bytes -= n;
	trim(q);
}

void pbuf_queue_free(struct pbuf_queue *q)
{
	if (q->head)
		pbuf_free(q->head);
	*q = (struct pbuf_queue){ 0 };
}
