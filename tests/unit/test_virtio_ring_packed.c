/*
 * The packed ring (VIRTIO 1.2, 2.8) against the device's end of it
 * (tests/fake/fake_vring_packed.c): wrap counters, chains, tables, any order of completion, event
 * suppression, and a device that lies.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernel/lib/errno.h"
#include "tests/fake/fake_kernel.h"
#include "tests/fake/fake_virtio.h"

#define NUM 8
#define PIECES 4
#define F(feature) (1ull << (feature))

static struct virtio_device vdev = { .name = "virtio0" };
static u64 features; /* beside RING_PACKED, for the whole group of tests */
static struct virtqueue *vq;
static struct fake_vring dev;
static unsigned int notified, called;
static size_t live;
static u8 mem[64][64];

static bool notify(struct virtqueue *q)
{
	(void)q;
	notified++;
	return true;
}

static void callback(struct virtqueue *q)
{
	(void)q;
	called++;
}

static void make(u16 num)
{
	vdev.features = F(VIRTIO_F_RING_PACKED) | features;
	vq = vring_create_virtqueue(0, num, &vdev, notify, callback, "input.0");
	assert_non_null(vq);
	fake_vring_init(&dev, vq);
}

static void unmake(void)
{
	fake_vring_exit(&dev);
	vring_del_virtqueue(vq);
}

static int setup(void **state)
{
	(void)state;
	fake_kernel_reset();
	live = fake_alloc_live();
	notified = called = 0;
	make(NUM);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	while (virtqueue_detach_unused_buf(vq))
		;
	assert_int_equal(vq->num_free, vq->num);
	unmake();
	assert_int_equal(fake_alloc_live(), live);
	return 0;
}

static int add(unsigned int first, unsigned int n, bool in)
{
	struct virtio_sg sg[NUM + 1];

	for (unsigned int i = 0; i < n; i++)
		sg[i] = (struct virtio_sg){ (dma_addr_t)(uintptr_t)mem[first + i], 10 + i };
	return in ? virtqueue_add_inbuf(vq, sg, n, mem[first]) :
		    virtqueue_add_outbuf(vq, sg, n, mem[first]);
}

static void use(u32 len)
{
	struct fake_buf buf;

	assert_true(fake_vring_pop(&dev, &buf));
	fake_vring_push(&dev, buf.head, len);
}

static void get(void *token, u32 len)
{
	u32 got = 12345;

	assert_ptr_equal(virtqueue_get_buf(vq, &got), token);
	if (token)
		assert_int_equal(got, len);
}

static bool use_and_interrupt(void)
{
	use(0);
	if (!fake_vring_wants_interrupt(&dev))
		return false;
	assert_int_equal(vring_interrupt(1, vq), IRQ_HANDLED);
	return true;
}

/* ---- the protocol ---- */

static void test_create(void **state)
{
	static const u16 bad[] = { 0, 3, 12, 255, 32769, 65535 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_null(vring_create_virtqueue(0, bad[i], &vdev, notify, callback, "x"));
	for (unsigned int n = 1; n <= 3; n++) {
		size_t before = fake_alloc_live();

		fake_alloc_fail_nth(n);
		assert_null(vring_create_virtqueue(0, NUM, &vdev, notify, callback, "x"));
		assert_int_equal(fake_alloc_live(), before);
	}
}

static void test_in_and_out(void **state)
{
	struct fake_buf buf;
	char text[64] = "";

	(void)state;
	strcpy((char *)mem[0], "question!");
	assert_int_equal(add(0, 2, false), 0);
	assert_int_equal(add(5, 1, true), 0);
	assert_int_equal(vq->num_free, NUM - 3);
	assert_true(fake_vring_pop(&dev, &buf));
	assert_int_equal(buf.nr_out, 2);
	assert_int_equal(buf.out_len, 21);
	fake_buf_read(&buf, text, 10);
	assert_string_equal(text, "question!");
	fake_vring_push(&dev, buf.head, 0);
	assert_true(fake_vring_pop(&dev, &buf));
	assert_int_equal(buf.nr_in, 1);
	fake_buf_write(&buf, "answer", 7);
	fake_vring_push(&dev, buf.head, 7);
	assert_false(fake_vring_pop(&dev, &buf));
	get(mem[0], 0);
	get(mem[5], 7);
	get(NULL, 0);
	assert_int_equal(vq->num_free, NUM);
}

static void test_exhaustion(void **state)
{
	(void)state;
	for (unsigned int round = 0; round < 5; round++) {
		for (unsigned int i = 0; i < NUM; i++)
			assert_int_equal(add(i, 1, true), 0);
		assert_int_equal(add(NUM, 1, true), -ENOSPC);
		use(1);
		get(mem[0], 1);
		assert_int_equal(add(10, 2, false), -ENOSPC);
		assert_int_equal(add(NUM, 1, true), 0);
		for (unsigned int i = 1; i <= NUM; i++) {
			use(2);
			get(mem[i], 2);
		}
		get(NULL, 0);
	}
}

static void test_out_of_order(void **state)
{
	static const unsigned int order[] = { 2, 0, 1 };
	struct fake_buf buf[3];

	(void)state;
	for (unsigned int round = 0; round < 100; round++) {
		assert_int_equal(add(0, 3, false), 0);
		assert_int_equal(add(3, 1, false), 0);
		assert_int_equal(add(4, 4, false), 0);
		assert_int_equal(vq->num_free, 0);
		for (unsigned int i = 0; i < 3; i++)
			assert_true(fake_vring_pop(&dev, &buf[i]));
		for (unsigned int i = 0; i < 3; i++)
			fake_vring_push(&dev, buf[order[i]].head, 0);
		get(mem[4], 0);
		get(mem[0], 0);
		get(mem[3], 0);
		get(NULL, 0);
		assert_int_equal(vq->num_free, NUM);
	}
}

/* A lap takes num descriptors; chains lie across its end in every way. */
static void test_wraps(void **state)
{
	(void)state;
	for (u16 num = 1; num <= 64; num *= 2) {
		unmake();
		make(num);
		for (unsigned int i = 0; i < 20000; i++) {
			unsigned int n = 1 + i % (num < 5 ? num : 5);

			assert_int_equal(add(0, n, true), 0);
			use(i % 10);
			get(mem[0], i % 10);
		}
		get(NULL, 0);
	}
}

/* The largest ring: its last index takes all fifteen bits of a position. */
static void test_largest(void **state)
{
	(void)state;
	unmake();
	make(VIRTQ_MAX_SIZE);
	for (unsigned int i = 0; i < 3u * VIRTQ_MAX_SIZE; i++) {
		assert_int_equal(add(0, 1, true), 0);
		virtqueue_kick(vq);
		assert_true(virtqueue_enable_cb(vq));
		assert_true(use_and_interrupt());
		get(mem[0], 0);
	}
}

static void random_traffic(bool tables)
{
	struct fake_buf held[NUM];
	unsigned int nr_held = 0, out = 0, back = 0;
	bool mine[64] = { false };
	u32 len;

	srandom(4711);
	for (unsigned int step = 0; step < 200000; step++) {
		unsigned int n = 1 + (unsigned int)random() % PIECES;
		unsigned int i = (unsigned int)random() % 60;
		u8(*token)[64];

		if (!mine[i] && random() % 2) {
			bool fits = vq->num_free >= n ||
				    (tables && n > 1 && vq->num_free && vq->num_free < NUM / 2);

			assert_int_equal(add(i, n, false), fits ? 0 : -ENOSPC);
			mine[i] = fits;
			out += fits;
		}
		if (nr_held < NUM && fake_vring_pop(&dev, &held[nr_held]))
			nr_held++;
		if (nr_held && random() % 2) {
			unsigned int k = (unsigned int)random() % nr_held;

			fake_vring_push(&dev, held[k].head, 0);
			held[k] = held[--nr_held];
		}
		if (random() % 2 && (token = virtqueue_get_buf(vq, &len))) {
			assert_true(mine[token - mem]);
			mine[token - mem] = false;
			back++;
		}
	}
	assert_false(virtqueue_is_broken(vq));
	assert_true(out > 10000 && out - back <= NUM);
}

static void test_random_traffic(void **state)
{
	(void)state;
	random_traffic(false);
	assert_int_equal(vq->indirect, 0);
}

static void test_random_tables(void **state)
{
	bool tables = virtqueue_use_indirect(vq, PIECES);

	(void)state;
	assert_int_equal(tables, !!(features & F(VIRTIO_RING_F_INDIRECT_DESC)));
	random_traffic(tables);
	assert_true(!tables || vq->indirect > 1000);
}

/* ---- who is told ---- */

static void test_kick(void **state)
{
	(void)state;
	assert_true(virtqueue_kick(vq)); /* nothing added: nothing to say */
	assert_int_equal(notified, 0);
	assert_int_equal(add(0, 1, true), 0);
	assert_int_equal(add(1, 1, true), 0);
	assert_true(virtqueue_kick(vq));
	assert_int_equal(notified, 1);
	fake_vring_disable_notify(&dev);
	assert_int_equal(add(2, 1, true), 0);
	assert_true(virtqueue_kick(vq));
	assert_int_equal(notified, 1);
	assert_int_equal(vq->kicks_suppressed, 1);
	assert_true(fake_vring_enable_notify(&dev)); /* the device looks again */
}

/* A device that slept is told of each burst: with its first buffer by index, with each by flag. */
static void test_doorbell(void **state)
{
	bool event = features & F(VIRTIO_RING_F_EVENT_IDX);
	unsigned int expected = 0;

	(void)state;
	for (unsigned int round = 0; round < 10000; round++) {
		unsigned int burst = 1 + round % NUM;

		assert_false(fake_vring_enable_notify(&dev));
		for (unsigned int i = 0; i < burst; i++) {
			assert_int_equal(add(i, 1, false), 0);
			assert_true(virtqueue_kick(vq));
			expected += i == 0 || !event;
			assert_int_equal(notified, expected);
		}
		fake_vring_disable_notify(&dev);
		for (unsigned int i = 0; i < burst; i++) {
			use(0);
			get(mem[i], 0);
		}
	}
}

/* One kick for a burst, wherever in it the device's position is; none for what lies in front. */
static void test_doorbell_of_a_burst(void **state)
{
	(void)state;
	if (!(features & F(VIRTIO_RING_F_EVENT_IDX)))
		return;
	for (unsigned int round = 0; round < 1000; round++) {
		for (unsigned int at = 0; at < NUM; at++) {
			u16 place = (u16)((dev.last_avail + at) % (2u * NUM));

			*dev.device_event = 2u << 16 | place % NUM | (place < NUM ? 0x8000 : 0);
			for (unsigned int i = 0; i < at; i++)
				assert_int_equal(add(i, 1, false), 0);
			assert_false(virtqueue_kick_prepare(vq));
			for (unsigned int i = at; i < NUM; i++)
				assert_int_equal(add(i, 1, false), 0);
			assert_true(virtqueue_kick_prepare(vq));
			assert_false(virtqueue_kick_prepare(vq));
			for (unsigned int i = 0; i < NUM; i++) {
				use(0);
				get(mem[i], 0);
			}
			/* Not every lap starts at 0. */
			assert_int_equal(add(0, 1, false), 0);
			(void)virtqueue_kick_prepare(vq);
			use(0);
			get(mem[0], 0);
		}
	}
}

/* A position that is none, or DESC where it was not negotiated, costs a doorbell and no more. */
static void test_device_event_lies(void **state)
{
	(void)state;
	for (u32 event = 0; event < 1u << 18; event += 13) {
		*dev.device_event = event;
		assert_int_equal(add(0, 1, false), 0);
		(void)virtqueue_kick_prepare(vq);
		use(0);
		get(mem[0], 0);
	}
	assert_false(virtqueue_is_broken(vq));
}

static void test_callbacks(void **state)
{
	(void)state;
	assert_true(fake_vring_armed(&dev));
	virtqueue_disable_cb(vq);
	assert_false(fake_vring_armed(&dev));
	assert_int_equal(add(0, 1, true), 0);
	assert_true(virtqueue_enable_cb(vq));
	assert_true(fake_vring_armed(&dev));
	virtqueue_disable_cb(vq);
	use(3);
	assert_true(virtqueue_more_used(vq));
	assert_false(virtqueue_enable_cb(vq));
	get(mem[0], 3);
	assert_false(virtqueue_more_used(vq));
	assert_true(virtqueue_enable_cb(vq));

	assert_int_equal(vring_interrupt(1, vq), IRQ_NONE);
	assert_int_equal(vq->spurious, 1);
	assert_int_equal(add(0, 1, true), 0);
	assert_true(use_and_interrupt());
	assert_int_equal(called, 1);
	get(mem[0], 0);
}

/* See test_virtio_ring_event.c: the poll was quicker than the interrupt. */
static void test_poll_was_quicker(void **state)
{
	(void)state;
	for (unsigned int round = 0; round < 100; round++) {
		for (unsigned int i = 0; i < 3; i++)
			assert_int_equal(add(i, 1, false), 0);
		assert_true(virtqueue_enable_cb(vq));
		use(0);
		get(mem[0], 0);
		(void)fake_vring_wants_interrupt(&dev);
		assert_true(use_and_interrupt());
		get(mem[1], 0);
		assert_true(use_and_interrupt());
		get(mem[2], 0);
		virtqueue_disable_cb(vq);
	}
}

/* After three quarters of the descriptors, wherever in the lap they lie. */
static void test_delayed(void **state)
{
	bool event = features & F(VIRTIO_RING_F_EVENT_IDX);

	(void)state;
	for (unsigned int round = 0; round < 1000; round++) {
		virtqueue_disable_cb(vq);
		for (unsigned int i = 0; i < NUM; i++)
			assert_int_equal(add(i, 1, false), 0);
		assert_true(virtqueue_enable_cb_delayed(vq));
		for (unsigned int i = 0; i < NUM; i++)
			assert_int_equal(use_and_interrupt(), !event || i == 6);
		assert_false(virtqueue_enable_cb_delayed(vq));
		virtqueue_disable_cb(vq);
		for (unsigned int i = 0; i < NUM; i++)
			get(mem[i], 0);
		assert_int_equal(add(0, 1, false), 0);
		use(0);
		get(mem[0], 0);
	}
}

/* Chains: the position may be in the middle of one. It must interrupt before all is used. */
static void test_delayed_chains(void **state)
{
	unsigned int interrupts;

	(void)state;
	for (unsigned int round = 0; round < 1000; round++) {
		unsigned int n = 1 + round % 4, bufs = NUM / n;

		virtqueue_disable_cb(vq);
		for (unsigned int i = 0; i < bufs; i++)
			assert_int_equal(add(4 * i, n, false), 0);
		assert_true(virtqueue_enable_cb_delayed(vq));
		interrupts = 0;
		for (unsigned int i = 0; i < bufs; i++)
			interrupts += use_and_interrupt();
		assert_true(interrupts >= 1);
		virtqueue_disable_cb(vq);
		for (unsigned int i = 0; i < bufs; i++)
			get(mem[4 * i], 0);
	}
}

/* ---- a device that lies ---- */

static void expect_broken(const char *why, unsigned int posted)
{
	u32 len;

	assert_null(virtqueue_get_buf(vq, &len));
	assert_true(virtqueue_is_broken(vq));
	assert_int_equal(vq->bad_used, 1);
	assert_true(fake_log_has(why));
	assert_null(virtqueue_get_buf(vq, &len));
	assert_int_equal(add(20, 1, true), -EIO);
	assert_false(virtqueue_kick(vq));
	assert_false(virtqueue_more_used(vq));
	assert_true(virtqueue_enable_cb(vq)); /* nothing to look at */
	assert_int_equal(fake_log_count("virtio_ring: "), 1);
	for (; posted; posted--)
		assert_non_null(virtqueue_detach_unused_buf(vq));
	assert_null(virtqueue_detach_unused_buf(vq));
}

static void test_id_out_of_range(void **state)
{
	(void)state;
	assert_int_equal(add(0, 1, true), 0);
	fake_vring_push_raw(&dev, NUM, 10);
	expect_broken("id 8 out of range", 1);
}

static void test_id_huge(void **state)
{
	(void)state;
	assert_int_equal(add(0, 1, true), 0);
	fake_vring_push_raw(&dev, 0xffff, 10);
	expect_broken("id 65535 out of range", 1);
}

static void test_foreign_id(void **state)
{
	(void)state;
	assert_int_equal(add(0, 1, true), 0);
	fake_vring_push_raw(&dev, 5, 10);
	expect_broken("id 5 is not a head", 1);
}

static void test_double_completion(void **state)
{
	struct fake_buf buf;

	(void)state;
	assert_int_equal(add(0, 1, true), 0);
	assert_int_equal(add(1, 1, true), 0);
	assert_true(fake_vring_pop(&dev, &buf));
	fake_vring_push(&dev, buf.head, 10);
	fake_vring_push_raw(&dev, buf.head, 10);
	get(mem[0], 10);
	expect_broken("is not a head", 1);
}

static void test_nothing_in_flight(void **state)
{
	(void)state;
	fake_vring_push_raw(&dev, 0, 0);
	expect_broken("with none in flight", 0);
}

static void test_len_beyond_posted(void **state)
{
	(void)state;
	assert_int_equal(add(0, 2, true), 0);
	fake_vring_push_raw(&dev, 0, 22);
	expect_broken("id 0: 22 bytes used of 21", 1);
}

/* Nothing can be written there: the length means nothing (2.7.8.2). */
static void test_len_of_transmit(void **state)
{
	(void)state;
	assert_int_equal(add(0, 2, false), 0);
	use(1514);
	get(mem[0], 0);
}

/* The device scribbles over the whole ring: our own links, lengths and counts do not care. */
static void test_scribbled_ring(void **state)
{
	struct fake_buf buf;

	(void)state;
	assert_int_equal(add(0, 3, false), 0);
	assert_int_equal(add(5, 1, true), 0);
	assert_true(fake_vring_pop(&dev, &buf));
	memset(dev.pdesc, 0x5a, NUM * sizeof(*dev.pdesc));
	fake_vring_push(&dev, buf.head, 0);
	get(mem[0], 0);
	assert_int_equal(vq->num_free, NUM - 1);
	memset(dev.pdesc, 0xff, NUM * sizeof(*dev.pdesc));
	expect_broken("id 65535 out of range", 1);
}

/* Random rings: whatever the device writes, what comes back was posted, once. */
static void test_random_lies(void **state)
{
	(void)state;
	srandom(99);
	for (unsigned int round = 0; round < 20000; round++) {
		bool mine[NUM] = { false };
		unsigned int left = 0;
		u8(*token)[64];
		u32 len;

		for (unsigned int i = 0; i < NUM; i++) {
			assert_int_equal(add(i, 1, true), 0);
			mine[i] = true;
			left++;
		}
		for (unsigned int i = 0; i < NUM; i++) {
			dev.pdesc[i].id = (u16)((unsigned int)random() % (NUM + 1));
			dev.pdesc[i].len = (u32)random() % 12;
			dev.pdesc[i].flags = (u16)(random() % 4 ? 0x8080 : random());
		}
		while ((token = virtqueue_get_buf(vq, &len))) {
			assert_true(mine[token - mem]);
			assert_true(len <= 10);
			mine[token - mem] = false;
			left--;
		}
		while ((token = virtqueue_detach_unused_buf(vq))) {
			assert_true(mine[token - mem]);
			mine[token - mem] = false;
			left--;
		}
		assert_int_equal(left, 0);
		assert_int_equal(vq->num_free, NUM);
		unmake();
		make(NUM);
		fake_log_clear();
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_create),
		TEST(test_in_and_out),
		TEST(test_exhaustion),
		TEST(test_out_of_order),
		TEST(test_wraps),
		TEST(test_largest),
		TEST(test_random_traffic),
		TEST(test_random_tables),
		TEST(test_kick),
		TEST(test_doorbell),
		TEST(test_doorbell_of_a_burst),
		TEST(test_device_event_lies),
		TEST(test_callbacks),
		TEST(test_poll_was_quicker),
		TEST(test_delayed),
		TEST(test_delayed_chains),
		TEST(test_id_out_of_range),
		TEST(test_id_huge),
		TEST(test_foreign_id),
		TEST(test_double_completion),
		TEST(test_nothing_in_flight),
		TEST(test_len_beyond_posted),
		TEST(test_len_of_transmit),
		TEST(test_scribbled_ring),
		TEST(test_random_lies),
	};
	int failed = cmocka_run_group_tests_name("virtio_ring packed", tests, NULL, NULL);

	features = F(VIRTIO_RING_F_EVENT_IDX) | F(VIRTIO_RING_F_INDIRECT_DESC);
	return failed +
	       cmocka_run_group_tests_name("virtio_ring packed, extended", tests, NULL, NULL);
}
