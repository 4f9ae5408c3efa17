/*
 * The split ring against the device's end of it (tests/fake/fake_virtio.c): the protocol, its
 * corners, and every lie of the used ring (reliability.md, section 2: V1, V2, V4, V6, V7, V23); all
 * of it without and with EVENT_IDX and INDIRECT_DESC. What is peculiar to these is in
 * test_virtio_ring_event.c.
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
#define EXTENDED (1ull << VIRTIO_RING_F_EVENT_IDX | 1ull << VIRTIO_RING_F_INDIRECT_DESC)

static struct virtio_device vdev = { .name = "virtio0" };
static struct virtqueue *vq;
static struct fake_vring dev;
static unsigned int notified, called;
static bool notify_ok;
static size_t live;
static u8 mem[64][64];

static bool notify(struct virtqueue *q)
{
	(void)q;
	notified++;
	return notify_ok;
}

static void callback(struct virtqueue *q)
{
	assert_ptr_equal(q, vq);
	called++;
}

static void make(u16 num)
{
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
	notify_ok = true;
	make(NUM);
	return 0;
}

/* The leak check: no buffer in flight, all descriptors free, all memory back. */
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

static struct virtio_sg sg_of(unsigned int i, u32 len)
{
	return (struct virtio_sg){ (dma_addr_t)(uintptr_t)mem[i], len };
}

static int add_in(unsigned int i, u32 len)
{
	struct virtio_sg sg = sg_of(i, len);

	return virtqueue_add_inbuf(vq, &sg, 1, mem[i]);
}

static int add_out(unsigned int first, unsigned int n)
{
	struct virtio_sg sg[NUM + 1];

	for (unsigned int i = 0; i < n; i++)
		sg[i] = sg_of(first + i, 10 + i);
	return virtqueue_add_outbuf(vq, sg, n, mem[first]);
}

static void expect_get(void *token, u32 len)
{
	u32 got = 12345;

	assert_ptr_equal(virtqueue_get_buf(vq, &got), token);
	if (token)
		assert_int_equal(got, len);
}

/* ---- life ---- */

static void test_create_refuses_bad_sizes(void **state)
{
	static const u16 bad[] = { 0, 3, 12, 255, 32769, 65535 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_null(vring_create_virtqueue(0, bad[i], &vdev, notify, callback, "x"));
	for (u32 num = 1; num <= VIRTQ_MAX_SIZE; num *= 2) {
		struct virtqueue *q =
			vring_create_virtqueue(0, (u16)num, &vdev, notify, callback, "x");

		assert_non_null(q);
		assert_int_equal(q->num_free, num);
		vring_del_virtqueue(q);
	}
}

static void test_create_without_memory(void **state)
{
	(void)state;
	for (unsigned int n = 1; n <= 3; n++) {
		size_t before = fake_alloc_live();

		fake_alloc_fail_nth(n);
		assert_null(vring_create_virtqueue(0, NUM, &vdev, notify, callback, "x"));
		assert_int_equal(fake_alloc_live(), before);
	}
}

static void test_layout_is_the_legacy_one(void **state)
{
	dma_addr_t desc = virtqueue_get_desc_addr(vq);

	(void)state;
	assert_int_equal(desc % 4096, 0);
	assert_int_equal(virtqueue_get_avail_addr(vq), desc + 16 * NUM);
	assert_int_equal(virtqueue_get_used_addr(vq), desc + 4096);
}

static void test_features(void **state)
{
	(void)state;
	assert_int_equal(vring_transport_features(),
			 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_ANY_LAYOUT | EXTENDED |
				 1ull << VIRTIO_F_RING_PACKED);
}

/* ---- the protocol ---- */

static void test_in_and_out(void **state)
{
	struct fake_buf buf;
	char text[64] = "";

	(void)state;
	strcpy((char *)mem[0], "question!");
	assert_int_equal(add_out(0, 2), 0);
	assert_int_equal(add_in(5, 64), 0);
	assert_int_equal(vq->num_free, NUM - 3);

	assert_true(fake_vring_pop(&dev, &buf));
	assert_int_equal(buf.nr_out, 2);
	assert_int_equal(buf.nr_in, 0);
	assert_int_equal(buf.out_len, 21);
	fake_buf_read(&buf, text, 10);
	assert_string_equal(text, "question!");
	fake_vring_push(&dev, buf.head, 0);

	assert_true(fake_vring_pop(&dev, &buf));
	assert_int_equal(buf.nr_in, 1);
	assert_int_equal(fake_buf_write(&buf, "answer", 7), 7);
	fake_vring_push(&dev, buf.head, 7);
	assert_false(fake_vring_pop(&dev, &buf));

	expect_get(mem[0], 0);
	expect_get(mem[5], 7);
	assert_string_equal((char *)mem[5], "answer");
	expect_get(NULL, 0);
}

static void test_exhaustion(void **state)
{
	struct fake_buf buf;

	(void)state;
	for (unsigned int i = 0; i < NUM; i++)
		assert_int_equal(add_in(i, 64), 0);
	assert_int_equal(vq->num_free, 0);
	assert_int_equal(add_in(NUM, 64), -ENOSPC);

	assert_true(fake_vring_pop(&dev, &buf));
	fake_vring_push(&dev, buf.head, 1);
	expect_get(mem[0], 1);
	assert_int_equal(add_out(10, 2), -ENOSPC); /* one is free, two are not */
	assert_int_equal(vq->num_free, 1);
	assert_int_equal(add_in(NUM, 64), 0);
	assert_false(virtqueue_is_broken(vq));
}

static void test_out_of_order_chains(void **state)
{
	static const unsigned int order[] = { 2, 0, 1 };
	struct fake_buf buf[3];

	(void)state;
	for (unsigned int round = 0; round < 100; round++) {
		assert_int_equal(add_out(0, 3), 0);
		assert_int_equal(add_out(3, 1), 0);
		assert_int_equal(add_out(4, 4), 0);
		assert_int_equal(vq->num_free, 0);
		for (unsigned int i = 0; i < 3; i++)
			assert_true(fake_vring_pop(&dev, &buf[i]));
		for (unsigned int i = 0; i < 3; i++)
			fake_vring_push(&dev, buf[order[i]].head, 0);
		expect_get(mem[4], 0);
		expect_get(mem[0], 0);
		expect_get(mem[3], 0);
		expect_get(NULL, 0);
		assert_int_equal(vq->num_free, NUM);
	}
}

/* 16-bit indices wrap, whatever the size of the ring (2.7.13.3). */
static void test_index_wraps(void **state)
{
	struct fake_buf buf;

	(void)state;
	for (u16 num = 1; num <= 64; num *= 8) {
		unmake();
		make(num);
		for (unsigned int i = 0; i < 70000; i++) {
			assert_int_equal(add_in(i % 64, 64), 0);
			assert_true(fake_vring_pop(&dev, &buf));
			fake_vring_push(&dev, buf.head, i % 65);
			expect_get(mem[i % 64], i % 65);
		}
		expect_get(NULL, 0);
	}
}

/* A seeded mix of chains, out-of-order completion and full rings, against a list of what must come
 * back. */
static void test_random_traffic(void **state)
{
	struct fake_buf held[NUM];
	unsigned int nr_held = 0, out = 0, back = 0;
	bool mine[64] = { false };

	(void)state;
	srandom(4711);
	for (unsigned int step = 0; step < 200000; step++) {
		unsigned int n = 1 + (unsigned int)random() % 3, i = (unsigned int)random() % 60;
		u32 len;
		u8(*token)[64];

		switch (random() % 3) {
		case 0:
			if (mine[i])
				break;
			if (vq->num_free < n) {
				assert_int_equal(add_out(i, n), -ENOSPC);
				break;
			}
			assert_int_equal(add_out(i, n), 0);
			mine[i] = true;
			out++;
			break;
		case 1:
			if (nr_held < NUM && fake_vring_pop(&dev, &held[nr_held]))
				nr_held++;
			if (nr_held && random() % 2) {
				unsigned int k = (unsigned int)random() % nr_held;

				fake_vring_push(&dev, held[k].head, 0);
				held[k] = held[--nr_held];
			}
			break;
		default:
			token = virtqueue_get_buf(vq, &len);
			if (!token)
				break;
			assert_true(mine[token - mem]);
			mine[token - mem] = false;
			back++;
		}
	}
	assert_false(virtqueue_is_broken(vq));
	assert_true(out > 10000 && out - back <= NUM);
}

/* ---- notifications and interrupts ---- */

static void test_kick(void **state)
{
	(void)state;
	assert_true(virtqueue_kick(vq)); /* nothing added: nothing to say */
	assert_int_equal(notified, 0);
	assert_int_equal(add_in(0, 64), 0);
	assert_int_equal(add_in(1, 64), 0);
	assert_true(virtqueue_kick(vq));
	assert_int_equal(notified, 1);
	fake_vring_disable_notify(&dev);
	assert_int_equal(add_in(2, 64), 0);
	assert_true(virtqueue_kick(vq));
	assert_int_equal(notified, 1);
	assert_int_equal(vq->kicks, 1);
	assert_int_equal(vq->kicks_suppressed, 1);
	assert_true(fake_vring_enable_notify(&dev)); /* the device looks again */
}

static void test_device_gone(void **state)
{
	(void)state;
	notify_ok = false;
	assert_int_equal(add_in(0, 64), 0);
	assert_false(virtqueue_kick(vq));
	assert_true(virtqueue_is_broken(vq));
	assert_true(fake_log_has("virtio0: input.0: the device is gone"));
}

static void test_callbacks(void **state)
{
	struct fake_buf buf;

	(void)state;
	assert_true(fake_vring_armed(&dev));
	virtqueue_disable_cb(vq);
	assert_false(fake_vring_armed(&dev));
	assert_int_equal(add_in(0, 64), 0);
	assert_true(virtqueue_enable_cb(vq));
	assert_true(fake_vring_armed(&dev));

	/* Used while nobody looked: enabling says so (2.7.14). */
	virtqueue_disable_cb(vq);
	assert_true(fake_vring_pop(&dev, &buf));
	fake_vring_push(&dev, buf.head, 3);
	assert_true(virtqueue_more_used(vq));
	assert_false(virtqueue_enable_cb(vq));
	expect_get(mem[0], 3);
	assert_false(virtqueue_more_used(vq));
	assert_true(virtqueue_enable_cb(vq));
}

static void test_interrupt(void **state)
{
	struct fake_buf buf;

	(void)state;
	assert_int_equal(vring_interrupt(1, vq), IRQ_NONE);
	assert_int_equal(vq->spurious, 1);
	assert_int_equal(called, 0);
	assert_int_equal(add_in(0, 64), 0);
	assert_true(fake_vring_pop(&dev, &buf));
	fake_vring_push(&dev, buf.head, 3);
	assert_int_equal(vring_interrupt(1, vq), IRQ_HANDLED);
	assert_int_equal(vq->interrupts, 1);
	assert_int_equal(called, 1);
	expect_get(mem[0], 3);
}

/* ---- a device that lies ---- */

/* Broken is final, logged once, and keeps what was posted for detach. */
static void expect_broken(const char *why, unsigned int posted)
{
	u32 len;

	assert_null(virtqueue_get_buf(vq, &len));
	assert_true(virtqueue_is_broken(vq));
	assert_int_equal(vq->bad_used, 1);
	assert_true(fake_log_has(why));
	assert_int_equal(fake_log_count("virtio_ring: virtio0: input.0: "), 1);

	assert_null(virtqueue_get_buf(vq, &len));
	assert_int_equal(add_in(20, 64), -EIO);
	assert_int_equal(add_out(20, 2), -EIO);
	assert_false(virtqueue_kick(vq));
	assert_false(virtqueue_more_used(vq));
	assert_int_equal(notified, 0);
	assert_int_equal(vq->bad_used, 1);
	assert_int_equal(fake_log_count("virtio_ring: "), 1);
	for (; posted; posted--)
		assert_non_null(virtqueue_detach_unused_buf(vq));
	assert_null(virtqueue_detach_unused_buf(vq));
}

static void test_v1_id_out_of_range(void **state)
{
	(void)state;
	assert_int_equal(add_in(0, 64), 0);
	fake_vring_push_raw(&dev, NUM, 10);
	expect_broken("id 8 out of range", 1);
}

static void test_v1_id_huge(void **state)
{
	(void)state;
	assert_int_equal(add_in(0, 64), 0);
	fake_vring_push_raw(&dev, 0xffffffff, 10);
	expect_broken("id 4294967295 out of range", 1);
}

static void test_v2_foreign_id(void **state)
{
	(void)state;
	assert_int_equal(add_in(0, 64), 0);
	fake_vring_push_raw(&dev, 5, 10);
	expect_broken("id 5 is not a head", 1);
}

static void test_v2_double_completion(void **state)
{
	struct fake_buf buf;

	(void)state;
	assert_int_equal(add_in(0, 64), 0);
	assert_int_equal(add_in(1, 64), 0);
	assert_true(fake_vring_pop(&dev, &buf));
	fake_vring_push(&dev, buf.head, 10);
	fake_vring_push_raw(&dev, buf.head, 10);
	expect_get(mem[0], 10);
	expect_broken("id 0 is not a head", 1);
}

static void test_v2_middle_of_a_chain(void **state)
{
	struct fake_buf buf;

	(void)state;
	assert_int_equal(add_out(0, 3), 0);
	assert_true(fake_vring_pop(&dev, &buf));
	fake_vring_push_raw(&dev, dev.shadow[buf.head].next, 0);
	expect_broken("is not a head", 1);
}

static void test_v4_len_beyond_posted(void **state)
{
	(void)state;
	assert_int_equal(add_in(0, 64), 0);
	fake_vring_push_raw(&dev, 0, 65);
	expect_broken("id 0: 65 bytes used of 64", 1);
}

static void test_v4_len_of_a_chain(void **state)
{
	struct virtio_sg sg[2] = { sg_of(0, 10), sg_of(1, 20) };

	(void)state;
	assert_int_equal(virtqueue_add_inbuf(vq, sg, 2, mem[0]), 0);
	fake_vring_push_raw(&dev, 0, 30);
	expect_get(mem[0], 30);
	assert_int_equal(virtqueue_add_inbuf(vq, sg, 2, mem[0]), 0);
	fake_vring_push_raw(&dev, 0, 31);
	expect_broken("31 bytes used of 30", 1);
}

static void test_v6_index_ahead(void **state)
{
	(void)state;
	assert_int_equal(add_in(0, 64), 0);
	assert_int_equal(add_in(1, 64), 0);
	fake_vring_set_used_idx_raw(&dev, 3);
	expect_broken("used index 3 is 3 ahead, with 2 in flight", 2);
}

static void test_v6_index_backwards(void **state)
{
	struct fake_buf buf;

	(void)state;
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(add_in(i, 64), 0);
	assert_true(fake_vring_pop(&dev, &buf));
	fake_vring_push(&dev, buf.head, 1);
	expect_get(mem[0], 1);
	fake_vring_set_used_idx_raw(&dev, 0);
	expect_broken("used index 0 is 65535 ahead", 2);
}

static void test_v6_nothing_in_flight(void **state)
{
	(void)state;
	fake_vring_set_used_idx_raw(&dev, 1);
	expect_broken("used index 1 is 1 ahead, with 0 in flight", 0);
}

/* The device scribbles over the descriptor table: our own links and lengths do not care. */
static void test_v7_scribbled_descriptors(void **state)
{
	struct fake_buf buf[2];

	(void)state;
	assert_int_equal(add_out(0, 3), 0);
	assert_int_equal(add_in(5, 64), 0);
	assert_true(fake_vring_pop(&dev, &buf[0]));
	assert_true(fake_vring_pop(&dev, &buf[1]));
	memset(dev.desc, 0xff, NUM * sizeof(*dev.desc));
	memset(dev.avail->ring, 0xff, NUM * sizeof(le16));
	fake_vring_push_raw(&dev, buf[0].head, 0);
	expect_get(mem[0], 0);
	assert_int_equal(vq->num_free, NUM - 1);
	/* The length posted is remembered, too. */
	fake_vring_push_raw(&dev, buf[1].head, 65);
	expect_broken("65 bytes used of 64", 1);
}

/* V23: transmit is checked alike, but for the length, which old devices set at random (2.7.8.2). */
static void test_v23_transmit(void **state)
{
	(void)state;
	assert_int_equal(add_out(0, 2), 0);
	fake_vring_push_raw(&dev, 0, 1514);
	expect_get(mem[0], 0);
	assert_int_equal(add_out(0, 2), 0);
	fake_vring_push_raw(&dev, NUM, 0);
	expect_broken("id 8 out of range", 1);
}

/* The checker itself: what the fake device would say to a driver that misbehaves. */
static jmp_buf violated;
static char violation[256];

static void catch_violation(const char *text)
{
	strncpy(violation, text, sizeof(violation) - 1);
	longjmp(violated, 1);
}

static void test_fake_is_strict(void **state)
{
	void (*before)(const char *) = fake_violation;
	struct fake_buf buf;

	(void)state;
	fake_violation = catch_violation;
	assert_int_equal(add_in(0, 64), 0);
	assert_true(fake_vring_pop(&dev, &buf));
	if (setjmp(violated) == 0) {
		dev.desc[buf.head].len++;
		fake_vring_push(&dev, buf.head, 1);
		fail_msg("a changed descriptor was not seen");
	}
	assert_non_null(strstr(violation, "changed while the device had it"));
	if (setjmp(violated) == 0) {
		dev.avail->ring[1] = buf.head;
		dev.avail->idx = 2;
		fake_vring_pop(&dev, &buf);
		fail_msg("a reused descriptor was not seen");
	}
	assert_non_null(strstr(violation, "reused before it was used"));
	fake_violation = before;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_create_refuses_bad_sizes),
		TEST(test_create_without_memory),
		TEST(test_layout_is_the_legacy_one),
		TEST(test_features),
		TEST(test_in_and_out),
		TEST(test_exhaustion),
		TEST(test_out_of_order_chains),
		TEST(test_index_wraps),
		TEST(test_random_traffic),
		TEST(test_kick),
		TEST(test_device_gone),
		TEST(test_callbacks),
		TEST(test_interrupt),
		TEST(test_v1_id_out_of_range),
		TEST(test_v1_id_huge),
		TEST(test_v2_foreign_id),
		TEST(test_v2_double_completion),
		TEST(test_v2_middle_of_a_chain),
		TEST(test_v4_len_beyond_posted),
		TEST(test_v4_len_of_a_chain),
		TEST(test_v6_index_ahead),
		TEST(test_v6_index_backwards),
		TEST(test_v6_nothing_in_flight),
		TEST(test_v7_scribbled_descriptors),
		TEST(test_v23_transmit),
		TEST(test_fake_is_strict),
	};

	int failed = cmocka_run_group_tests_name("virtio_ring", tests, NULL, NULL);

	vdev.features = EXTENDED;
	return failed + cmocka_run_group_tests_name("virtio_ring extended", tests, NULL, NULL);
}
