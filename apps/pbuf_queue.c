/* See pbuf_queue.h. Only pbuf_free() ever sees the links made here; it does not look at tot_len. */
#include "apps/pbuf_queue.h"

#include <string.h>

/* The first few pieces are kept as they came; after them, short ones share blocks of this size. */
#define KEEP_COUNT 16
#define SHORT 256
#define BLOCK_SIZE 1460

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

/* Copies a short piece behind the last one. */
static bool pack(struct pbuf_queue *q, struct pbuf *p)
{
	if (q->room < p->tot_len) {
		struct pbuf *block = pbuf_alloc(PBUF_RAW, BLOCK_SIZE, PBUF_RAM);

		if (!block)
			return false;
		block->len = block->tot_len = 0;
		append(q, block);
		q->room = BLOCK_SIZE;
	}
	pbuf_copy_partial(p, (uint8_t *)q->tail->payload + q->tail->len, p->tot_len, 0);
	q->tail->len = q->tail->tot_len = (u16_t)(q->tail->len + p->tot_len);
	q->bytes += p->tot_len;
	q->room -= p->tot_len;
	pbuf_free(p);
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
	if (!q->head) {
		q->tail = NULL;
		q->room = 0;
	}
}

bool pbuf_queue_put(struct pbuf_queue *q, struct pbuf *p)
{
	if (p->tot_len < SHORT && p->tot_len && q->count >= KEEP_COUNT)
		return pack(q, p);
	append(q, p);
	q->room = 0;
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
