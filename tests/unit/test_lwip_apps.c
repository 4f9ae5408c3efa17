/* The apps on real lwIP, against a TCP peer of a few lines: every byte, every end, nothing left
 * behind. */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/lwip_fixture.h"
#include "tests/unit/test.h"

#include "apps/run.h"
#include "kernel/debugfs.h"
#include "kernel/lib/byteorder.h"
#include "kernel/lib/errno.h"
#include "kernel/softirq.h"
#include "kernel/tasklet.h"
#include "kernel/time.h"
#include "net/lwip/glue.h"
#include "net/lwip/memp_priv.h"
#include "tests/fake/fake_kernel.h"

#include "lwip/netif.h"
#include "lwip/opt.h"

#define FIN 1
#define SYN 2
#define RST 4
#define PSH 8
#define ACK 16

#define FX_TEST(t) cmocka_unit_test_setup_teardown(t, fx_begin, fx_end)

/* ---- a peer ---- */

struct peer {
	u16 sport, dport, window;
	u32 snd, rcv; /* sequence numbers: ours to send next, theirs to come next */
	u8 *data;     /* what came */
	u32 len;
	bool syn, fin, rst;
};
static struct peer peer;

static void send_flags(u8 flags, const void *data, u32 len)
{
	fx_rx_tcp(&(struct fx_tcp){ .sport = peer.sport,
				    .dport = peer.dport,
				    .seq = peer.snd,
				    .ack = peer.rcv,
				    .flags = flags,
				    .window = peer.window,
				    .data = data,
				    .data_len = len });
	peer.snd += len + !!(flags & FIN) + !!(flags & SYN);
}

/* Looks at one frame of the guest. True: it was news. */
static bool see(const u8 *b, u32 len)
{
	u32 hlen, data, seq;

	if (len < 54 || get_unaligned_be16(b + 12) != 0x0800 || b[23] != 6 ||
	    get_unaligned_be16(b + 36) != peer.sport)
		return false;
	assert_int_equal(fx_sum(b + 14, 20, 0), 0);
	hlen = (b[46] >> 4) * 4u;
	data = get_unaligned_be16(b + 16) - 20u - hlen;
	seq = get_unaligned_be32(b + 38);
	peer.rst |= !!(b[47] & RST);
	if (b[47] & SYN) {
		peer.syn = true;
		peer.rcv = seq + 1;
		return true;
	}
	if (seq != peer.rcv || (!data && !(b[47] & FIN)))
		return false;
	peer.data = realloc(peer.data, peer.len + data + 1);
	memcpy(peer.data + peer.len, b + 34 + hlen, data);
	peer.len += data;
	peer.data[peer.len] = '\0';
	peer.rcv += data + (b[47] & FIN);
	peer.fin |= b[47] & FIN;
	return true;
}

/* Takes and acknowledges what the guest has sent, until it sends nothing more (chargen: for a
 * while). */
static void settle(void)
{
	u32 rounds = 0;
	bool news;

	do {
		news = false;
		for (u32 i = 0; i < fx_nr_tx; i++)
			news |= see(fx_tx[i].bytes, fx_tx[i].len);
		fx_forget();
		if (news && !peer.rst)
			send_flags(ACK, NULL, 0);
	} while (news && ++rounds < 20);
}

static void dial(u16 port)
{
	static u16 sport = 20000;

	free(peer.data);
	peer = (struct peer){ .sport = ++sport, .dport = port, .snd = 1000, .window = 65535 };
	peer.data = calloc(1, 1);
	fx_learn_peer();
	send_flags(SYN, NULL, 0);
	settle();
	assert_true(peer.syn);
}

static void say(const char *text)
{
	send_flags(PSH | ACK, text, (u32)strlen(text));
	settle();
}

static void hang_up(void)
{
	send_flags(FIN | ACK, NULL, 0);
	settle();
	assert_true(peer.fin || peer.rst);
}

/* ---- echo, discard, chargen ---- */

static void fill(u8 *p, u32 len)
{
	for (u32 i = 0; i < len; i++)
		p[i] = (u8)(i * 31 + (i >> 8));
}

static void test_echo(void **state)
{
	u8 data[1400];

	(void)state;
	fill(data, sizeof(data));
	dial(7);
	for (u32 i = 1; i <= 100; i++) {
		send_flags(PSH | ACK, data, sizeof(data));
		settle();
		assert_int_equal(peer.len, i * sizeof(data));
		assert_memory_equal(peer.data + (i - 1) * sizeof(data), data, sizeof(data));
	}
	hang_up();
	assert_true(peer.fin && !peer.rst);
}

/* The peer takes nothing: the guest's window closes. Then it takes all, and has its FIN behind all
 * of it. */
static void test_echo_backpressure_and_half_close(void **state)
{
	u8 data[1400];
	u32 sent = 0, held;

	(void)state;
	fill(data, sizeof(data));
	dial(7);
	while (sent < 88 * 1400) {
		send_flags(PSH | ACK, data, sizeof(data)); /* never acknowledging what comes back */
		sent += sizeof(data);
	}
	held = fx_rx_out;
	send_flags(FIN | ACK, NULL, 0);
	assert_true(held <= 100);
	assert_false(peer.fin);
	for (u32 i = 0; i < 400 && !peer.fin; i++) {
		settle();
		fake_time_advance(NSEC_PER_SEC / 2);
	}
	assert_true(peer.fin && !peer.rst);
	assert_int_equal(peer.len, sent);
	for (u32 at = 0; at < sent; at += sizeof(data))
		assert_memory_equal(peer.data + at, data, sizeof(data));
}

/* A peer that sends single bytes and does not read: not a packet of memory for each. */
static void test_echo_single_bytes(void **state)
{
	(void)state;
	dial(7);
	peer.window = 1;
	for (u32 i = 0; i < 20000; i++) {
		send_flags(PSH | ACK, "x", 1);
		fx_forget();
		assert_true(fx_rx_out < 500);
	}
	send_flags(RST, NULL, 0);
}

static void test_echo_reset(void **state)
{
	u8 data[1400];

	(void)state;
	fill(data, sizeof(data));
	dial(7);
	for (u32 i = 0; i < 60; i++)
		send_flags(PSH | ACK, data, sizeof(data));
	fx_forget();
	send_flags(RST, NULL, 0);
}

static void test_dead_peers_are_given_up(void **state)
{
	static const u16 ports[] = { 7, 9, 19, 80 };
	u8 data[1400];

	(void)state;
	fill(data, sizeof(data));
	for (u32 i = 0; i < ARRAY_SIZE(ports); i++) {
		dial(ports[i]);
		send_flags(PSH | ACK, data, sizeof(data));
		fx_forget(); /* and never a word again: fx_end() wants everything back */
	}
}

/*
 * Both sides have ended, and the peer acknowledges nothing: the app's minute counts, not the many
 * retransmissions after which lwIP gives up by itself.
 */
static void test_http_closing_peer_that_is_dead(void **state)
{
	(void)state;
	dial(80);
	send_flags(PSH | ACK, "x\r\n\r\n", 5);
	fx_forget();
	send_flags(FIN | ACK, NULL, 0);
	fx_forget();
	assert_int_equal(lwip_memp_used(MEMP_TCP_PCB), 1);
	for (u32 i = 0; i < 70; i++) {
		fake_time_advance(NSEC_PER_SEC);
		fx_forget();
	}
	assert_int_equal(lwip_memp_used(MEMP_TCP_PCB), 0);
}

/* A closed window, probes answered: alive but no use. */
static void test_a_peer_that_never_reads(void **state)
{
	(void)state;
	dial(19);
	peer.window = 0;
	send_flags(ACK, NULL, 0);
	for (u32 i = 0; i < 300 && !peer.rst; i++) {
		fake_time_advance(NSEC_PER_SEC);
		for (u32 n = 0; n < fx_nr_tx; n++)
			peer.rst |= fx_tx[n].len >= 54 && fx_tx[n].bytes[23] == 6 &&
				    fx_tx[n].bytes[47] & RST;
		if (fx_nr_tx && !peer.rst) {
			fx_forget();
			peer.window = 0;
			fx_rx_tcp(&(struct fx_tcp){ .sport = peer.sport,
						    .dport = 19,
						    .seq = peer.snd,
						    .ack = peer.rcv,
						    .flags = ACK,
						    .window = 1 });
			fx_forget();
		}
	}
	assert_true(peer.rst || fx_nr_tx == 0);
}

static void test_discard_and_chargen(void **state)
{
	(void)state;
	dial(9);
	say("anything");
	assert_int_equal(peer.len, 0);
	hang_up();

	dial(19);
	settle();
	send_flags(RST, NULL, 0);
	assert_true(peer.len > 20000);
	for (u32 i = 0; i < peer.len; i++) {
		u32 line = i / 74 % 95, col = i % 74;
		char want = col < 72 ? (char)(' ' + (line + col) % 95) : col == 72 ? '\r' : '\n';

		assert_int_equal(peer.data[i], want);
	}
}

/* ---- UDP ---- */

static void udp(u16 sport, u16 dport, const char *text, bool broadcast)
{
	u8 seg[100] = { 0 }, buf[200];
	u32 len = 8 + (u32)strlen(text);

	seg[0] = (u8)(sport >> 8);
	seg[1] = (u8)sport;
	seg[2] = (u8)(dport >> 8);
	seg[3] = (u8)dport;
	seg[5] = (u8)len;
	memcpy(seg + 8, text, len - 8);
	len = fx_ip4(buf, 17, 9, 0, seg, len);
	if (broadcast) {
		buf[33] = 255;
		buf[24] = buf[25] = 0;
		*(u16 *)(void *)(buf + 24) = __builtin_bswap16(fx_sum(buf + 14, 20, 0));
	}
	fx_rx(buf, len);
}

static void test_udp_echo(void **state)
{
	u64 copied = fx_dev.stats.tx_copied;

	(void)state;
	fx_learn_peer();
	udp(4000, 7, "hello", false);
	assert_int_equal(fx_nr_tx, 1);
	assert_int_equal(fx_tx[0].len, 14 + 20 + 8 + 5);
	assert_int_equal(get_unaligned_be16(fx_tx[0].bytes + 36), 4000);
	assert_memory_equal(fx_tx[0].bytes + 42, "hello", 5);
	assert_int_equal(fx_dev.stats.tx_copied, copied);
	fx_forget();
	udp(7, 7, "loop", false);
	udp(19, 7, "loop", false);
	udp(4000, 7, "amplify", true);
	udp(4000, 9, "discard", false);
	assert_int_equal(fx_nr_tx, 0);
}

/* ---- HTTP ---- */

static u32 count(const char *what)
{
	u32 n = 0;

	for (const char *p = (char *)peer.data; (p = strstr(p, what)); p++)
		n++;
	return n;
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: g\r\n\r\n"

static void test_http_pages(void **state)
{
	(void)state;
	dial(80);
	say(GET("/1k"));
	assert_int_equal(count("HTTP/1.1 200 OK\r\n"), 1);
	assert_int_equal(count("Content-Length: 1024\r\n"), 1);
	assert_int_equal(count("application/octet-stream"), 1);
	assert_int_equal(strlen(strstr((char *)peer.data, "\r\n\r\n") + 4), 1024);
	say("HEAD /1k HTTP/1.1\r\nHost: g\r\n\r\n");
	assert_int_equal(count("Content-Length: 1024\r\n"), 2);
	assert_memory_equal(peer.data + peer.len - 4, "\r\n\r\n", 4);
	say(GET("/nothing"));
	assert_int_equal(count("HTTP/1.1 404"), 1);
	say("DELETE / HTTP/1.1\r\nHost: g\r\n\r\n");
	assert_int_equal(count("HTTP/1.1 405"), 1);
	assert_int_equal(count("Allow: GET, HEAD\r\n"), 1);
	say(GET("/"));
	assert_int_equal(count("10.0.2.2"), 1);
	assert_false(peer.fin);
	hang_up();
	assert_false(peer.rst);
}

static void test_http_pipelining_and_pieces(void **state)
{
	static const char two[] = GET("/1k") GET("/nothing");

	(void)state;
	dial(80);
	say(GET("/1k") GET("/nothing") GET("/1k"));
	assert_int_equal(count("HTTP/1.1 "), 3);
	for (u32 at = 0; at < sizeof(two) - 1; at++) {
		send_flags(PSH | ACK, two + at, 1);
		settle();
	}
	assert_int_equal(count("HTTP/1.1 200"), 3);
	assert_int_equal(count("HTTP/1.1 404"), 2);
	/* The peer's end comes with the request: still answered. */
	send_flags(FIN | PSH | ACK, GET("/1k"), sizeof(GET("/1k")) - 1);
	settle();
	assert_int_equal(count("HTTP/1.1 200"), 4);
	assert_true(peer.fin && !peer.rst);
}

static void test_http_refusals(void **state)
{
	static const struct {
		const char *request, *status;
	} cases[] = {
		{ "hello\r\n\r\nmore and more", "HTTP/1.1 400" },
		{ "GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400" },
		{ "GET / HTTP/3.0\r\n\r\n", "HTTP/1.1 505" },
		{ "GET / HTTP/1.1\r\nHost: g\r\nContent-Length: 5\r\n\r\nabcde", "HTTP/1.1 413" },
		{ "GET / HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		  "HTTP/1.1 411" },
		{ "POST / HTTP/1.1\r\nHost: g\r\nContent-Length: 5\r\n\r\nabcde", "HTTP/1.1 405" },
		{ "GET / HTTP/1.0\r\n\r\n", "HTTP/1.1 200" },
		{ "GET / HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n" GET("/"),
		  "HTTP/1.1 200" },
	};

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
		dial(80);
		say(cases[i].request);
		assert_int_equal(count("HTTP/1.1 "), 1);
		assert_int_equal(count(cases[i].status), 1);
		assert_int_equal(count("Connection: close\r\n"), 1);
		assert_true(peer.fin && !peer.rst);
		send_flags(FIN | ACK, NULL, 0);
		settle();
		assert_false(peer.rst);
	}
}

static void test_http_keep_alive_1_0(void **state)
{
	(void)state;
	dial(80);
	say("GET /1k HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
	assert_int_equal(count("Connection: keep-alive\r\n"), 1);
	assert_false(peer.fin);
	say("GET /1k HTTP/1.0\r\n\r\n");
	assert_true(peer.fin);
	send_flags(FIN | ACK, NULL, 0);
	settle();
}

static void test_http_endless_head(void **state)
{
	char line[1000];
	u32 sent = 0;

	(void)state;
	memset(line, 'a', sizeof(line));
	memcpy(line, "X: ", 3);
	memcpy(line + 998, "\r\n", 2);
	dial(80);
	say("GET / HTTP/1.1\r\n");
	while (!peer.rst && sent < 1 << 20) {
		send_flags(PSH | ACK, line, sizeof(line));
		settle();
		sent += sizeof(line);
	}
	assert_int_equal(count("HTTP/1.1 431"), 1);
	assert_true(peer.rst && sent < 400000);
}

static void test_http_slow_client(void **state)
{
	u32 seconds = 0;

	(void)state;
	dial(80);
	say("GET / HTTP/1.1\r\n");
	while (!peer.fin && seconds < 60) {
		fake_time_advance(NSEC_PER_SEC);
		say("X: y\r\n");
		seconds++;
	}
	assert_int_equal(count("HTTP/1.1 408"), 1);
	assert_in_range(seconds, 19, 25);
	send_flags(FIN | ACK, NULL, 0);

	dial(80); /* says nothing at all */
	for (seconds = 0; !peer.fin && seconds < 60; seconds++) {
		fake_time_advance(NSEC_PER_SEC);
		settle();
	}
	assert_in_range(seconds, 29, 35);
	assert_int_equal(peer.len, 0);
}

/* A reader that does not read, and writes single bytes: the queue packs them. */
static void test_http_single_bytes_behind_an_unread_answer(void **state)
{
	static const char get[] = GET("/1k");
	u32 sent = 0;

	(void)state;
	dial(80);
	peer.window = 1;
	for (u32 i = 0; i < 200; i++) {
		send_flags(PSH | ACK, get, sizeof(get) - 1);
		fx_forget();
	}
	for (u32 i = 0; i < 3000; i++, sent++)
		send_flags(PSH | ACK, get + i % (sizeof(get) - 1), 1);
	assert_true(fx_rx_out < 500);
	fx_forget();
	send_flags(RST, NULL, 0);
	(void)sent;
}

static void test_netstat(void **state)
{
	(void)state;
	dial(9100);
	say(GET("/netstat"));
	settle();
	assert_int_equal(count("HTTP/1.1 200"), 1);
	assert_int_equal(count("text/plain"), 1);
	assert_int_equal(count("\nlwip_tcp_recv "), 1);
	assert_int_equal(count("\nmem_bytes "), 1);
	assert_int_equal(count("\nfilter_short "), 1);
	hang_up();
}

/* ---- streams ---- */

/* A file whose text the test makes while it is read. */
static struct {
	struct debugfs_reader *r;
	char *text;
	u32 len, at, opened, released;
	bool end;
} stream;

static int stream_open(struct debugfs_reader *r)
{
	if (!strcmp(r->query, "bad")) {
		strcpy(r->error, "no such thing as bad");
		return -EINVAL;
	}
	if (!strcmp(r->query, "none"))
		return -ENOENT;
	if (stream.r)
		return -EBUSY;
	if (!strcmp(r->query, "mem"))
		return -ENOMEM;
	stream.r = r;
	stream.at = 0;
	stream.opened++;
	return 0;
}

static int stream_read(struct debugfs_reader *r, char *buf, size_t size)
{
	u32 n = (u32)min((size_t)(stream.len - stream.at), size);

	assert_ptr_equal(r, stream.r);
	assert_true(size >= 2048);
	if (n)
		memcpy(buf, stream.text + stream.at, n);
	stream.at += n;
	return n ? (int)n : stream.end ? 0 : -EAGAIN;
}

static void stream_release(struct debugfs_reader *r)
{
	assert_ptr_equal(r, stream.r);
	stream.r = NULL;
	stream.released++;
}

DEBUGFS_FILE(stream_file) = { .path = "/test",
			      .type = "text/x-test",
			      .open = stream_open,
			      .read = stream_read,
			      .release = stream_release };

static int begin_stream(void **state)
{
	memset(&stream, 0, sizeof(stream));
	return fx_begin(state);
}

static int end_stream(void **state)
{
	assert_null(stream.r);
	assert_int_equal(stream.opened, stream.released);
	free(stream.text);
	stream.text = NULL;
	return fx_end(state);
}

#define STREAM_TEST(t) cmocka_unit_test_setup_teardown(t, begin_stream, end_stream)

static void softirqs(void)
{
	fake_softirq_leave();
	do_softirq();
	fake_softirq_enter();
}

/* len more bytes are there to be read; the peer takes what it gets of them. */
static void produce(u32 len)
{
	stream.text = realloc(stream.text, stream.len + len);
	for (u32 i = 0; i < len; i++)
		stream.text[stream.len + i] = (char)(' ' + (i * 31 + (i >> 8)) % 95);
	stream.len += len;
	stream.r->wake(stream.r);
	softirqs();
	settle();
}

static void finish_stream(void)
{
	stream.end = true;
	stream.r->wake(stream.r);
	softirqs();
	settle();
}

/* Takes the chunks from at on apart and puts them together there; the length. *end: the last was
 * there, and where the answer ended. */
static u32 dechunk(u32 at, u32 *end)
{
	u32 from = at, len = 0;

	*end = 0;
	while (from < peer.len) {
		char *next;
		u32 n = (u32)strtoul((char *)peer.data + from, &next, 16);

		assert_memory_equal(next, "\r\n", 2);
		from = (u32)(next + 2 - (char *)peer.data);
		if (from + n + 2 > peer.len)
			break;
		memmove(peer.data + at + len, peer.data + from, n);
		len += n;
		from += n;
		assert_memory_equal(peer.data + from, "\r\n", 2);
		from += 2;
		if (!n) {
			*end = from;
			break;
		}
	}
	return len;
}

static u32 body_at(void)
{
	const char *p = strstr((char *)peer.data, "\r\n\r\n");

	assert_non_null(p);
	return (u32)(p + 4 - (char *)peer.data);
}

/* Time passes, in which the peer's TCP answers whatever comes with what it has, and nothing more:
 * it is there. */
static void stay_alive(u32 seconds, bool no_room)
{
	while (seconds--) {
		fake_time_advance(NSEC_PER_SEC);
		if (!fx_nr_tx)
			continue;
		for (u32 i = 0; i < fx_nr_tx && !no_room; i++)
			see(fx_tx[i].bytes, fx_tx[i].len);
		fx_forget();
		fx_rx_tcp(&(struct fx_tcp){ .sport = peer.sport,
					    .dport = peer.dport,
					    .seq = peer.snd,
					    .ack = peer.rcv,
					    .flags = ACK,
					    .window = peer.window,
					    .zero_window = no_room });
	}
}

static void test_stream_chunked(void **state)
{
	u32 at, end;

	(void)state;
	dial(9100);
	say(GET("/test"));
	assert_int_equal(count("HTTP/1.1 200 OK\r\n"), 1);
	assert_int_equal(count("Transfer-Encoding: chunked\r\n"), 1);
	assert_int_equal(count("Content-Type: text/x-test\r\n"), 1);
	assert_int_equal(count("Content-Length"), 0);
	assert_int_equal(count("Connection: close"), 0);
	produce(1);
	produce(100000); /* more than a window and lwIP's queue */
	produce(2551);
	finish_stream();
	at = body_at();
	assert_int_equal(dechunk(at, &end), stream.len);
	assert_int_equal(end, peer.len);
	assert_memory_equal(peer.data + at, stream.text, stream.len);
	/* The connection goes on. */
	say(GET("/netstat"));
	assert_int_equal(strncmp((char *)peer.data + end, "HTTP/1.1 200", 12), 0);
	hang_up();
	assert_false(peer.rst);
}

static void test_stream_until_close(void **state)
{
	u32 at;

	(void)state;
	dial(9100);
	say("GET /test HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
	assert_int_equal(count("Transfer-Encoding"), 0);
	assert_int_equal(count("Connection: close\r\n"), 1);
	produce(5000);
	assert_false(peer.fin);
	produce(50000);
	finish_stream();
	assert_true(peer.fin && !peer.rst);
	at = body_at();
	assert_int_equal(peer.len - at, stream.len);
	assert_memory_equal(peer.data + at, stream.text, stream.len);
	hang_up();
}

static void test_stream_head(void **state)
{
	(void)state;
	dial(9100);
	say("HEAD /test HTTP/1.1\r\nHost: g\r\n\r\n" GET("/netstat"));
	assert_int_equal(stream.released, 1);
	assert_int_equal(count("HTTP/1.1 200"), 2);
	/* The next answer follows the head at once. */
	assert_memory_equal(peer.data + body_at(), "HTTP/1.1 200", 12);
	hang_up();
}

/* What is asked for behind a stream waits for its end, however long. */
static void test_stream_pipelined(void **state)
{
	u32 end;

	(void)state;
	dial(9100);
	say(GET("/test") GET("/nothing"));
	produce(10);
	stay_alive(100, false); /* lwIP asks now and then */
	assert_int_equal(count("HTTP/1.1 404"), 0);
	finish_stream();
	assert_int_equal(count("HTTP/1.1 404"), 1);
	assert_int_equal(dechunk(body_at(), &end), 10);
	assert_memory_equal(peer.data + end, "HTTP/1.1 404", 12);
	hang_up();
	assert_false(peer.rst);
}

/* It takes nothing more, though its TCP answers: after a minute it is given up. Meanwhile no more
 * is read than fits into one queue. */
static void test_stream_client_stops_reading(void **state)
{
	u32 read, seconds = 0;

	(void)state;
	dial(9100);
	say(GET("/test"));
	stream.len = 1 << 20;
	stream.text = calloc(1, stream.len);
	stream.r->wake(stream.r);
	softirqs();
	fx_forget();
	read = stream.at;
	assert_true(read <= TCP_SND_BUF + 2560);
	while (stream.r && seconds < 100) {
		stay_alive(1, true);
		seconds++;
		assert_true(stream.at == read);
	}
	assert_in_range(seconds, 58, 66);
	assert_int_equal(lwip_memp_used(MEMP_TCP_PCB), 0);
}

/* It reads slowly, but it reads: it is not given up. */
static void test_stream_slow_client(void **state)
{
	(void)state;
	dial(9100);
	peer.window = 1000;
	say(GET("/test"));
	stream.text = calloc(1, stream.len = 20000);
	stream.r->wake(stream.r);
	softirqs();
	for (u32 i = 0; i < 15; i++) {
		stay_alive(20, false);
		assert_non_null(stream.r);
	}
	settle();
	finish_stream();
	for (u32 i = 0; i < 50 && stream.r; i++) {
		fake_time_advance(NSEC_PER_SEC);
		settle();
	}
	assert_null(stream.r);
	send_flags(RST, NULL, 0);
}

/* A dead client of a stream that says nothing: TCP asks, and gives it up. */
static void test_stream_client_dies(void **state)
{
	u32 seconds = 0;

	(void)state;
	dial(9100);
	say(GET("/test"));
	while (stream.r && seconds < 100) {
		fake_time_advance(NSEC_PER_SEC);
		fx_forget();
		seconds++;
	}
	assert_in_range(seconds, 20, 40);
	assert_int_equal(lwip_memp_used(MEMP_TCP_PCB), 0);

	/* One that resets, and one that closes: at once. */
	dial(9100);
	say(GET("/test"));
	assert_non_null(stream.r);
	send_flags(RST, NULL, 0);
	assert_null(stream.r);
	dial(9100);
	say(GET("/test"));
	produce(100);
	assert_non_null(stream.r);
	send_flags(FIN | ACK, NULL, 0);
	assert_null(stream.r);
	settle();
}

/* Woken, and closed before the tasklet ran. */
static void test_stream_woken_and_gone(void **state)
{
	(void)state;
	dial(9100);
	say(GET("/test"));
	stream.r->wake(stream.r);
	send_flags(RST, NULL, 0);
	softirqs();
	assert_null(stream.r);
}

static void test_file_refusals(void **state)
{
	u16 held;

	(void)state;
	dial(9100);
	say(GET("/test?bad"));
	assert_int_equal(count("HTTP/1.1 400 Bad Request\r\n"), 1);
	assert_int_equal(count("\r\n\r\nno such thing as bad\n"), 1);
	say(GET("/test?none"));
	assert_int_equal(count("HTTP/1.1 404 Not Found\r\n"), 1);
	say(GET("/journey?n=x"));
	assert_int_equal(count("n= is a number from 1 to 32767\n"), 1);
	say(GET("/test?mem"));
	assert_int_equal(count("HTTP/1.1 503 Service Unavailable\r\n"), 1);
	say("HEAD /test?bad HTTP/1.1\r\nHost: g\r\n\r\n");
	assert_int_equal(count("HTTP/1.1 400"), 3);
	assert_int_equal(count("no such thing as bad"), 1);
	hang_up();
	assert_false(peer.rst);

	/* A second reader. */
	dial(9100);
	say(GET("/test"));
	held = peer.sport;
	dial(9100);
	say(GET("/test"));
	assert_int_equal(count("HTTP/1.1 409 Conflict\r\n"), 1);
	hang_up();
	peer.sport = held;
	stream.r->wake(stream.r);
	fx_forget();
	peer.snd = 1001 + sizeof(GET("/test")) - 1;
	send_flags(RST, NULL, 0);
	assert_null(stream.r);
}

/* Memory runs out at every point of a stream's beginning: said, or the connection ends; nothing is
 * left. */
static void test_stream_without_memory(void **state)
{
	(void)state;
	for (u32 nth = 1; nth < 12; nth++) {
		dial(9100);
		fake_alloc_fail_nth(nth);
		say(GET("/test"));
		fake_alloc_fail_nth(0);
		if (!peer.rst)
			assert_int_equal(count("HTTP/1.1 200") + count("HTTP/1.1 503"), 1);
		send_flags(RST, NULL, 0);
		assert_null(stream.r);
	}
}

static int start(void **state)
{
	if (fx_start(state))
		return -1;
	tasklet_init();
	if (fake_cmdline("diag", NULL))
		return -1;
	assert_int_equal(fake_cmdline("app", "echo,nonsense"), -22);
	assert_true(fake_log_has("it has echo,http"));
	assert_int_equal(fake_cmdline("app", "http,echo"), 0);
	apps_init();
	return 0;
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		FX_TEST(test_echo),
		FX_TEST(test_echo_backpressure_and_half_close),
		FX_TEST(test_echo_single_bytes),
		FX_TEST(test_echo_reset),
		FX_TEST(test_dead_peers_are_given_up),
		FX_TEST(test_http_closing_peer_that_is_dead),
		FX_TEST(test_a_peer_that_never_reads),
		FX_TEST(test_discard_and_chargen),
		FX_TEST(test_udp_echo),
		FX_TEST(test_http_pages),
		FX_TEST(test_http_pipelining_and_pieces),
		FX_TEST(test_http_refusals),
		FX_TEST(test_http_keep_alive_1_0),
		FX_TEST(test_http_endless_head),
		FX_TEST(test_http_slow_client),
		FX_TEST(test_http_single_bytes_behind_an_unread_answer),
		FX_TEST(test_netstat),
		STREAM_TEST(test_stream_chunked),
		STREAM_TEST(test_stream_until_close),
		STREAM_TEST(test_stream_head),
		STREAM_TEST(test_stream_pipelined),
		STREAM_TEST(test_stream_client_stops_reading),
		STREAM_TEST(test_stream_slow_client),
		STREAM_TEST(test_stream_client_dies),
		STREAM_TEST(test_stream_woken_and_gone),
		STREAM_TEST(test_file_refusals),
		STREAM_TEST(test_stream_without_memory),
	};
	int failed = cmocka_run_group_tests(tests, start, NULL);

	free(peer.data);
	return failed;
}
