/*
 * EVENT_IDX and INDIRECT_DESC of the split ring (VIRTIO 1.2, 2.7.5.3, 2.7.7.2, 2.7.10): who is told
 * when, that nobody who waits is forgotten, and what is in a table.
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

static struct virtio_device vdev = { .name = "virtio0" };
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

static void make(u16 num, u64 features)
{
	vdev.features = features;
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
	make(NUM, 1ull << VIRTIO_RING_F_EVENT_IDX | 1ull << VIRTIO_RING_F_INDIRECT_DESC);
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

/* The device uses the next buffer. */
static void use(void)
{
	struct fake_buf buf;

	assert_true(fake_vring_pop(&dev, &buf));
	fake_vring_push(&dev, buf.head, 0);
}

static void get(void *token)
{
	u32 len;

	assert_ptr_equal(virtqueue_get_buf(vq, &len), token);
}

/* The device uses the next buffer and interrupts if it may. */
static bool use_and_interrupt(void)
{
	use();
	if (!fake_vring_wants_interrupt(&dev))
		return false;
	assert_int_equal(vring_interrupt(1, vq), IRQ_HANDLED);
	return true;
}

/* ---- interrupts ---- */

static void test_one_interrupt_for_a_batch(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < NUM; i++)
		assert_int_equal(add(i, 1, true), 0);
	assert_true(use_and_interrupt());
	virtqueue_disable_cb(vq); /* costs no write: the device has passed used_event */
	assert_int_equal(dev.avail->ring[NUM], 0);
	for (unsigned int i = 1; i < NUM; i++)
		assert_false(use_and_interrupt());
	for (unsigned int i = 0; i < NUM; i++)
		get(mem[i]);
	get(NULL);
	assert_true(virtqueue_enable_cb(vq));
	assert_int_equal(dev.avail->ring[NUM], NUM);
	assert_int_equal(add(0, 1, true), 0);
	assert_true(use_and_interrupt());
	assert_int_equal(called, 2);
	get(mem[0]);
}

static void test_disabled_before_it_came(void **state)
{
	(void)state;
	assert_int_equal(add(0, 1, true), 0);
	virtqueue_disable_cb(vq);
	assert_int_equal(dev.avail->ring[NUM], 0xffff);
	assert_false(use_and_interrupt());
	assert_false(virtqueue_enable_cb(vq)); /* it is there, and nobody will say so */
	get(mem[0]);
	assert_true(virtqueue_enable_cb(vq));
}

/* Disabled means at most one in 65,536: the index comes round. */
static void test_disabled_for_long(void **state)
{
	unsigned int interrupts = 0;

	(void)state;
	virtqueue_disable_cb(vq);
	for (unsigned int i = 0; i < 200000; i++) {
		assert_int_equal(add(0, 1, true), 0);
		interrupts += use_and_interrupt();
		get(mem[0]);
	}
	assert_int_equal(interrupts, 200000 / 65536);
}

/*
 * What was waited for is had by a poll before its interrupt, which then finds nothing. The next one
 * must still interrupt, or a stopped queue would never be woken.
 */
static void test_poll_was_quicker(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(add(i, 1, false), 0);
	assert_true(virtqueue_enable_cb(vq));
	use();
	assert_true(fake_vring_wants_interrupt(&dev));
	get(mem[0]);
	assert_int_equal(vring_interrupt(1, vq), IRQ_NONE);
	assert_int_equal(called, 0);
	assert_true(use_and_interrupt());
	assert_int_equal(called, 1);
	get(mem[1]);

	/* The same before the device has thought of interrupting. */
	use();
	get(mem[2]);
	assert_false(fake_vring_wants_interrupt(&dev));
	assert_true(use_and_interrupt());
	get(mem[3]);
}

static void test_delayed(void **state)
{
	(void)state;
	for (unsigned int round = 0; round < 10000; round++) {
		virtqueue_disable_cb(vq);
		for (unsigned int i = 0; i < NUM; i++)
			assert_int_equal(add(i, 1, false), 0);
		assert_true(virtqueue_enable_cb_delayed(vq));
		for (unsigned int i = 0; i < NUM; i++)
			assert_int_equal(use_and_interrupt(), i == 6); /* after 3/4 of 8 */
		assert_false(virtqueue_enable_cb_delayed(vq));
		virtqueue_disable_cb(vq);
		for (unsigned int i = 0; i < NUM; i++)
			get(mem[i]);
		/* Nothing is in flight: as if not delayed. */
		assert_true(virtqueue_enable_cb_delayed(vq));
		assert_true(fake_vring_armed(&dev));
	}
}

static void test_delayed_without_event_idx(void **state)
{
	(void)state;
	unmake();
	make(NUM, 0);
	virtqueue_disable_cb(vq);
	assert_int_equal(add(0, 1, false), 0);
	assert_int_equal(add(1, 1, false), 0);
	assert_true(virtqueue_enable_cb_delayed(vq));
	assert_true(use_and_interrupt());
	assert_false(virtqueue_enable_cb_delayed(vq));
	get(mem[0]);
	assert_true(use_and_interrupt());
	get(mem[1]);
}

/* ---- doorbells ---- */

static void test_doorbell(void **state)
{
	u32 sent = 0;

	(void)state;
	/* The device sleeps before each burst, and wakes for its first buffer, wherever it is. */
	for (unsigned int round = 0; round < 30000; round++) {
		unsigned int burst = 1 + round % NUM;

		assert_false(fake_vring_enable_notify(&dev));
		for (unsigned int i = 0; i < burst; i++) {
			assert_int_equal(add(i, 1, false), 0);
			assert_true(virtqueue_kick(vq));
			assert_int_equal(notified, round + 1);
			sent++;
		}
		fake_vring_disable_notify(&dev);
		for (unsigned int i = 0; i < burst; i++) {
			use();
			get(mem[i]);
		}
	}
	assert_true(sent > 65536);
	assert_int_equal(vq->kicks, 30000);
	assert_int_equal(vq->kicks_suppressed, sent - 30000);
}

/* One kick for a burst that runs over avail_event, none for one that stays in front of it. */
static void test_doorbell_of_a_burst(void **state)
{
	(void)state;
	*(le16 *)&dev.used->ring[NUM] = 3;
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(add(i, 1, false), 0);
	assert_false(virtqueue_kick_prepare(vq));
	for (unsigned int i = 3; i < 6; i++)
		assert_int_equal(add(i, 1, false), 0);
	assert_true(virtqueue_kick_prepare(vq));
	assert_false(virtqueue_kick_prepare(vq));
}

/* 2.7.10.1: with EVENT_IDX the flags of the used ring are not looked at. */
static void test_flags_are_ignored(void **state)
{
	(void)state;
	dev.used->flags = VIRTQ_USED_F_NO_NOTIFY;
	assert_int_equal(add(0, 1, false), 0);
	assert_true(virtqueue_kick_prepare(vq));
}

/* ---- tables ---- */

static void test_indirect_when_short(void **state)
{
	struct fake_buf buf;

	(void)state;
	assert_true(virtqueue_use_indirect(vq, PIECES));
	assert_int_equal(add(0, 3, false), 0); /* plenty of room: a chain */
	assert_int_equal(vq->num_free, NUM - 3);
	assert_int_equal(add(3, 2, false), 0);
	assert_int_equal(vq->num_free, NUM - 5);
	assert_int_equal(vq->indirect, 0);
	assert_int_equal(add(5, PIECES, false), 0);
	assert_int_equal(vq->num_free, NUM - 6);
	assert_int_equal(vq->indirect, 1);
	assert_int_equal(add(9, 1, false), 0);
	assert_int_equal(vq->indirect, 1);
	assert_int_equal(add(10, PIECES, true), 0);
	assert_int_equal(vq->num_free, 0);
	assert_int_equal(add(14, 2, false), -ENOSPC);
	assert_int_equal(add(14, 1, false), -ENOSPC);

	use();
	use();
	assert_true(fake_vring_pop(&dev, &buf));
	assert_int_equal(buf.nr_out, PIECES);
	assert_int_equal(buf.nr_in, 0);
	for (unsigned int i = 0; i < PIECES; i++) {
		assert_ptr_equal(buf.sg[i].addr, mem[5 + i]);
		assert_int_equal(buf.sg[i].len, 10 + i);
	}
	fake_vring_push(&dev, buf.head, 0);
	use();
	assert_true(fake_vring_pop(&dev, &buf));
	assert_int_equal(buf.nr_in, PIECES);
	assert_int_equal(buf.in_len, 46);
	fake_vring_push_raw(&dev, buf.head, 46);
	get(mem[0]);
	get(mem[3]);
	get(mem[5]);
	get(mem[9]);
	get(mem[10]);
	assert_int_equal(vq->num_free, NUM);
}

/* Longer than a table: a chain, if there is room for it. */
static void test_too_long_for_a_table(void **state)
{
	(void)state;
	assert_true(virtqueue_use_indirect(vq, PIECES));
	assert_int_equal(add(0, 2, false), 0);
	assert_int_equal(add(2, PIECES + 1, false), 0);
	assert_int_equal(vq->num_free, 1);
	assert_int_equal(add(7, PIECES + 1, false), -ENOSPC);
	assert_int_equal(add(7, PIECES, false), 0);
	assert_int_equal(vq->indirect, 1);
}

static void test_indirect_is_not_to_be_had(void **state)
{
	(void)state;
	assert_false(virtqueue_use_indirect(vq, NUM + 1)); /* 2.7.5.3.1 */
	fake_alloc_fail_nth(1);
	assert_false(virtqueue_use_indirect(vq, PIECES));
	assert_int_equal(add(0, 5, false), 0);
	assert_int_equal(add(5, 4, false), -ENOSPC);
	while (virtqueue_detach_unused_buf(vq))
		;
	unmake();
	make(NUM, 1ull << VIRTIO_RING_F_EVENT_IDX);
	assert_false(virtqueue_use_indirect(vq, PIECES));
}

static void test_len_of_a_table(void **state)
{
	u32 len;

	(void)state;
	assert_true(virtqueue_use_indirect(vq, PIECES));
	assert_int_equal(add(0, 5, false), 0);
	assert_int_equal(add(5, PIECES, true), 0);
	assert_int_equal(vq->indirect, 1);
	fake_vring_push_raw(&dev, 5, 47); /* descriptor 5; its table holds 46 bytes */
	assert_null(virtqueue_get_buf(vq, &len));
	assert_true(virtqueue_is_broken(vq));
	assert_true(fake_log_has("id 5: 47 bytes used of 46"));
}

/* Chains and tables of all lengths, completed in any order. */
static void test_random_tables(void **state)
{
	struct fake_buf held[NUM];
	unsigned int nr_held = 0, out = 0, back = 0;
	bool mine[64] = { false };
	u32 len;

	(void)state;
	assert_true(virtqueue_use_indirect(vq, PIECES));
	srandom(815);
	for (unsigned int step = 0; step < 200000; step++) {
		unsigned int n = 1 + (unsigned int)random() % PIECES;
		unsigned int i = (unsigned int)random() % 60;
		u8(*token)[64];

		if (!mine[i] && vq->num_free) {
			/* From two pieces on, one free descriptor of a short ring is enough. */
			if (vq->num_free >= n || vq->num_free < NUM / 2) {
				assert_int_equal(add(i, n, false), 0);
				mine[i] = true;
				out++;
			}
		}
		if (fake_vring_pop(&dev, &held[nr_held]))
			nr_held++;
		if (nr_held && (nr_held == NUM || random() % 2)) {
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
	assert_true(vq->indirect > 1000);
}

/* ---- the checker itself ---- */

static jmp_buf violated;
static char violation[256];

static void catch_violation(const char *text)
{
	strncpy(violation, text, sizeof(violation) - 1);
	longjmp(violated, 1);
}

/* What the fake device says if `spoil` has been at the indirect descriptor and its table. */
static void expect_violation(void (*spoil)(struct virtq_desc *d, struct virtq_desc *table),
			     const char *says)
{
	void (*before)(const char *) = fake_violation;
	struct fake_buf buf;

	unmake();
	make(NUM, 1ull << VIRTIO_RING_F_EVENT_IDX | 1ull << VIRTIO_RING_F_INDIRECT_DESC);
	assert_true(virtqueue_use_indirect(vq, PIECES));
	assert_int_equal(add(0, 5, false), 0);
	assert_int_equal(add(5, 3, false), 0);
	assert_true(fake_vring_pop(&dev, &buf));
	spoil(&dev.desc[5], (struct virtq_desc *)(uintptr_t)dev.desc[5].addr);
	fake_violation = catch_violation;
	violation[0] = '\0';
	if (setjmp(violated) == 0)
		fake_vring_pop(&dev, &buf);
	fake_violation = before;
	assert_non_null(strstr(violation, says));
	while (virtqueue_detach_unused_buf(vq))
		;
}

static void spoil_next(struct virtq_desc *d, struct virtq_desc *table)
{
	(void)table;
	d->flags |= VIRTQ_DESC_F_NEXT;
}

static void spoil_len(struct virtq_desc *d, struct virtq_desc *table)
{
	(void)table;
	d->len--;
}

static void spoil_nested(struct virtq_desc *d, struct virtq_desc *table)
{
	(void)d;
	table[1].flags = VIRTQ_DESC_F_INDIRECT;
}

static void spoil_link(struct virtq_desc *d, struct virtq_desc *table)
{
	(void)d;
	table[1].next = 3;
}

static void test_fake_is_strict(void **state)
{
	(void)state;
	expect_violation(spoil_next, "INDIRECT together with NEXT");
	expect_violation(spoil_len, "a table of 47 bytes");
	expect_violation(spoil_nested, "flags 0x4 in a table");
	expect_violation(spoil_link, "entry 3 of 3");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_one_interrupt_for_a_batch),
		TEST(test_disabled_before_it_came),
		TEST(test_disabled_for_long),
		TEST(test_poll_was_quicker),
		TEST(test_delayed),
		TEST(test_delayed_without_event_idx),
		TEST(test_doorbell),
		TEST(test_doorbell_of_a_burst),
		TEST(test_flags_are_ignored),
		TEST(test_indirect_when_short),
		TEST(test_too_long_for_a_table),
		TEST(test_indirect_is_not_to_be_had),
		TEST(test_len_of_a_table),
		TEST(test_random_tables),
		TEST(test_fake_is_strict),
	};

	return cmocka_run_group_tests_name("virtio_ring_event", tests, NULL, NULL);
}
