/*
 * Blocks of a pcapng file (draft-ietf-opsawg-pcapng), one at a time, read out in pieces of any
 * size. One section, one Ethernet interface, time stamps in nanoseconds since boot. Any context.
 */
#ifndef NET_PCAPNG_H
#define NET_PCAPNG_H

#include "kernel/lib/types.h"

struct net_device;

#define PCAPNG_COMMENT_MAX 512

struct pcapng_block {
	u8 head[128];
	u8 tail[PCAPNG_COMMENT_MAX + 64];
	u32 head_len, tail_len;
	const u8 *data; /* of the frame, where it lies; between head and tail */
	u32 data_len;
	u32 off;   /* what has been read */
	bool last; /* the user's */
};

/* The section's header and the interface's description. dev may be NULL. */
void pcapng_start(struct pcapng_block *b, const struct net_device *dev, u32 snaplen);
/* A frame of orig bytes of which len are at data; comment: NUL-terminated, less than
 * PCAPNG_COMMENT_MAX bytes, or NULL. data must stay until the block has been read. */
void pcapng_packet(struct pcapng_block *b, u64 ns, const void *data, u32 len, u32 orig, bool sent,
		   const char *comment);
/* Frames that passed the filter so far, and of them those that found no room. */
void pcapng_statistics(struct pcapng_block *b, u64 ns, u64 received, u64 dropped);

/* Bytes of it that have not been read. */
static inline u32 pcapng_pending(const struct pcapng_block *b)
{
	return b->head_len + b->data_len + b->tail_len - b->off;
}
/* Up to size of them into buf; how many. */
size_t pcapng_read(struct pcapng_block *b, char *buf, size_t size);

#endif
