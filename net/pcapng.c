/* See pcapng.h. Numbers are in our byte order, which the section's header tells the reader. */
#include "net/pcapng.h"

#include "kernel/lib/string.h"
#include "net/netdevice.h"

#define BLOCK_SECTION 0x0a0d0d0au
#define BLOCK_INTERFACE 1u
#define BLOCK_STATISTICS 5u
#define BLOCK_PACKET 6u
#define BYTE_ORDER_MAGIC 0x1a2b3c4du
#define LINKTYPE_ETHERNET 1u

#define OPT_END 0
#define OPT_COMMENT 1
#define OPT_SHB_USERAPPL 4
#define OPT_IF_NAME 2
#define OPT_IF_MACADDR 6
#define OPT_IF_TSRESOL 9
#define OPT_EPB_FLAGS 2
#define OPT_ISB_IFRECV 4
#define OPT_ISB_IFDROP 5
#define EPB_INBOUND 1u
#define EPB_OUTBOUND 2u

static void put(u8 **p, const void *data, u32 len)
{
	memcpy(*p, data, len);
	*p += len;
}

static void put_u16(u8 **p, u16 v)
{
	put(p, &v, sizeof(v));
}

static void put_u32(u8 **p, u32 v)
{
	put(p, &v, sizeof(v));
}

/* The upper half first, whatever the byte order. */
static void put_time(u8 **p, u64 ns)
{
	put_u32(p, (u32)(ns >> 32));
	put_u32(p, (u32)ns);
}

static void put_padding(u8 **p, u32 len)
{
	while (len++ & 3)
		*(*p)++ = 0;
}

static void put_option(u8 **p, u16 code, const void *value, u32 len)
{
	put_u16(p, code);
	put_u16(p, (u16)len);
	put(p, value, len);
	put_padding(p, len);
}

static void put_end_of_options(u8 **p)
{
	put_u16(p, OPT_END);
	put_u16(p, 0);
}

/* A block that lies whole in head: its length stands in front and behind. */
static void close_block(u8 *start, u8 **p)
{
	u32 len = (u32)(*p - start) + 4;

	memcpy(start + 4, &len, sizeof(len));
	put_u32(p, len);
}

void pcapng_start(struct pcapng_block *b, const struct net_device *dev, u32 snaplen)
{
	static const u8 nanoseconds = 9;
	u8 *p = b->head, *start = p;

	*b = (struct pcapng_block){ 0 };
	put_u32(&p, BLOCK_SECTION);
	put_u32(&p, 0);
	put_u32(&p, BYTE_ORDER_MAGIC);
	put_u16(&p, 1); /* version 1.0 */
	put_u16(&p, 0);
	put_u32(&p, ~0u); /* of unknown length */
	put_u32(&p, ~0u);
	put_option(&p, OPT_SHB_USERAPPL, "Barewire", 8);
	put_end_of_options(&p);
	close_block(start, &p);

	start = p;
	put_u32(&p, BLOCK_INTERFACE);
	put_u32(&p, 0);
	put_u16(&p, LINKTYPE_ETHERNET);
	put_u16(&p, 0);
	put_u32(&p, snaplen);
	if (dev) {
		put_option(&p, OPT_IF_NAME, dev->name, (u32)strlen(dev->name));
		put_option(&p, OPT_IF_MACADDR, dev->dev_addr, ETH_ALEN);
	}
	put_option(&p, OPT_IF_TSRESOL, &nanoseconds, 1);
	put_end_of_options(&p);
	close_block(start, &p);
	b->head_len = (u32)(p - b->head);
}

void pcapng_packet(struct pcapng_block *b, u64 ns, const void *data, u32 len, u32 orig, bool sent,
		   const char *comment)
{
	u32 flags = sent ? EPB_OUTBOUND : EPB_INBOUND, total;
	u8 *p = b->tail;

	*b = (struct pcapng_block){ .data = data, .data_len = len };
	put_padding(&p, len);
	put_option(&p, OPT_EPB_FLAGS, &flags, sizeof(flags));
	if (comment)
		put_option(&p, OPT_COMMENT, comment, (u32)strnlen(comment, PCAPNG_COMMENT_MAX - 1));
	put_end_of_options(&p);
	total = 28 + len + (u32)(p - b->tail) + 4;
	put_u32(&p, total);
	b->tail_len = (u32)(p - b->tail);

	p = b->head;
	put_u32(&p, BLOCK_PACKET);
	put_u32(&p, total);
	put_u32(&p, 0); /* the interface */
	put_time(&p, ns);
	put_u32(&p, len);
	put_u32(&p, orig);
	b->head_len = (u32)(p - b->head);
}

void pcapng_statistics(struct pcapng_block *b, u64 ns, u64 received, u64 dropped)
{
	u8 *p = b->head;

	*b = (struct pcapng_block){ 0 };
	put_u32(&p, BLOCK_STATISTICS);
	put_u32(&p, 0);
	put_u32(&p, 0); /* the interface */
	put_time(&p, ns);
	put_option(&p, OPT_ISB_IFRECV, &received, sizeof(received));
	put_option(&p, OPT_ISB_IFDROP, &dropped, sizeof(dropped));
	put_end_of_options(&p);
	close_block(b->head, &p);
	b->head_len = (u32)(p - b->head);
}

/* What of a part, which begins at byte `at` of the block, is to come next. */
static size_t read_part(struct pcapng_block *b, const u8 *part, u32 at, u32 len, char *buf,
			size_t size)
{
	u32 from = b->off - at;
	size_t n;

	if (b->off < at || from >= len)
		return 0;
	n = min((size_t)(len - from), size);
	memcpy(buf, part + from, n);
	b->off += (u32)n;
	return n;
}

size_t pcapng_read(struct pcapng_block *b, char *buf, size_t size)
{
	u32 data_at = b->head_len, tail_at = data_at + b->data_len;
	size_t n = read_part(b, b->head, 0, b->head_len, buf, size);

	n += read_part(b, b->data, data_at, b->data_len, buf + n, size - n);
	n += read_part(b, b->tail, tail_at, b->tail_len, buf + n, size - n);
	return n;
}
