/*
 * Driver and device on two threads, under ThreadSanitizer: an echo through a transmit and a receive
 * queue. Two things are proved. Order: each side sees the other's descriptors and payload before
 * the index that exposes them, or TSan reports a race. No lost wakeup: each side sleeps only after
 * its "enable and look again" said so, and must then be woken before a deadline. For each way of
 * telling, flags, and event indices with indirect descriptors; in a split ring and in a packed one.
 *
 * A wakeup is a relaxed atomic and not a semaphore, so that it orders nothing: only the ring does.
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/fake/fake_kernel.h"
#include "tests/fake/fake_virtio.h"

#define RING 16
#ifndef MESSAGES
#define MESSAGES 30000u /* of each kind */
#endif
#define DEADLINE_S 10

struct event {
	bool set;
	const char *who;
	unsigned long sleeps;
};

static struct virtio_device vdev = { .name = "virtio0" };
static struct virtqueue *rx, *tx;
static struct fake_vring dev_rx, dev_tx;
static struct event kick = { .who = "device" }, irq = { .who = "driver" };
static bool stop;

static void die(const char *what)
{
	fprintf(stderr, "FAILED: %s\n", what);
	_exit(1);
}

static void wake(struct event *e)
{
	__atomic_store_n(&e->set, true, __ATOMIC_RELAXED);
}

static void sleep_on(struct event *e)
{
	time_t end = time(NULL) + DEADLINE_S;

	e->sleeps++;
	while (!__atomic_exchange_n(&e->set, false, __ATOMIC_RELAXED)) {
		if (__atomic_load_n(&stop, __ATOMIC_RELAXED))
			return;
		if (time(NULL) > end) {
			fprintf(stderr, "lost wakeup: the %s sleeps (sleep %lu)\n", e->who,
				e->sleeps);
			_exit(1);
		}
		sched_yield();
	}
}

static bool notify(struct virtqueue *vq)
{
	(void)vq;
	wake(&kick);
	return true;
}

/* ---- the device: copies each frame sent into a receive buffer ---- */

/* True if it moved one. */
static bool device_echo(void)
{
	struct fake_buf from, to;
	u32 msg[4];

	if (!fake_vring_pending(&dev_tx) || !fake_vring_pending(&dev_rx))
		return false;
	if (!fake_vring_pop(&dev_tx, &from) || !fake_vring_pop(&dev_rx, &to))
		die("pending but not there");
	fake_buf_read(&from, msg, sizeof(msg));
	fake_vring_push(&dev_tx, from.head, 0);
	msg[3] = ~msg[0];
	fake_buf_write(&to, msg, sizeof(msg));
	fake_vring_push(&dev_rx, to.head, sizeof(msg));
	if (fake_vring_wants_interrupt(&dev_rx) | fake_vring_wants_interrupt(&dev_tx))
		wake(&irq);
	return true;
}

static void *device(void *arg)
{
	(void)arg;
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		fake_vring_disable_notify(&dev_tx);
		fake_vring_disable_notify(&dev_rx);
		while (device_echo())
			;
		/* | and not ||: both have to be enabled. It sleeps when one of the two is empty. */
		if (!fake_vring_enable_notify(&dev_tx) | !fake_vring_enable_notify(&dev_rx))
			sleep_on(&kick);
	}
	return NULL;
}

/* ---- the driver ---- */

struct msg {
	u32 data[4];
};
static struct msg rx_mem[RING], tx_mem[RING];
static struct msg *tx_free[RING];
static unsigned int nr_tx_free;

static void post(struct msg *m)
{
	struct virtio_sg sg = { (dma_addr_t)(uintptr_t)m, sizeof(*m) };

	if (virtqueue_add_inbuf(rx, &sg, 1, m))
		die("add_inbuf");
}

/* In one piece or two. */
static void send(u32 seq)
{
	struct msg *m = tx_free[--nr_tx_free];
	struct virtio_sg sg[2] = { { (dma_addr_t)(uintptr_t)m, sizeof(*m) },
				   { (dma_addr_t)(uintptr_t)&m->data[1], sizeof(*m) - 4 } };
	unsigned int n = 1 + seq % 2;

	if (n == 2)
		sg[0].len = 4;
	*m = (struct msg){ { seq, seq * 3, seq ^ 0x5a5a5a5a, 0 } };
	if (virtqueue_add_outbuf(tx, sg, n, m))
		die("add_outbuf");
}

static void reclaim(void)
{
	struct msg *m;
	u32 len;

	while ((m = virtqueue_get_buf(tx, &len)))
		tx_free[nr_tx_free++] = m;
}

static u32 receive(u32 seq)
{
	struct msg *m;
	u32 len;

	while ((m = virtqueue_get_buf(rx, &len))) {
		if (len != sizeof(*m) || m->data[0] != seq || m->data[1] != seq * 3 ||
		    m->data[2] != (seq ^ 0x5a5a5a5a) || m->data[3] != ~seq)
			die("wrong message");
		seq++;
		memset(m, 0, sizeof(*m));
		post(m);
	}
	return seq;
}

static void pause_a_while(void)
{
	volatile unsigned int n = random() % 4 ? 0 : (unsigned int)random() % 4000;

	while (n)
		n--;
}

/* As the interrupt would, on the driver's CPU. */
static void sleep_on_irq(void)
{
	sleep_on(&irq);
	vring_interrupt(1, rx);
	vring_interrupt(1, tx);
}

/* All is sent: wait until most of it, or any of it, has gone. */
static void await_tx(void)
{
	if (random() % 2 ? virtqueue_enable_cb_delayed(tx) : virtqueue_enable_cb(tx))
		sleep_on_irq();
	reclaim();
	virtqueue_disable_cb(tx);
}

static void driver(void)
{
	u32 sent = 0, received = 0, burst;

	virtqueue_disable_cb(tx);
	while (received < MESSAGES) {
		virtqueue_disable_cb(rx);
		received = receive(received);
		virtqueue_kick(rx);
		reclaim();
		/* Now one message, now a full ring, and pauses that let the device fall asleep. */
		burst = random() % 2 ? 1 : 1 + (u32)random() % RING;
		pause_a_while();
		while (sent < MESSAGES && nr_tx_free && sent - received < burst)
			send(sent++);
		virtqueue_kick(tx);
		if (nr_tx_free < RING / 2 && random() % 2)
			await_tx();
		if (received < MESSAGES && virtqueue_enable_cb(rx))
			sleep_on_irq();
		if (virtqueue_is_broken(rx) || virtqueue_is_broken(tx))
			die("broken");
	}
}

static void race(const char *kind, u64 features)
{
	pthread_t thread;

	vdev.features = features;
	irq.sleeps = kick.sleeps = nr_tx_free = 0;
	irq.set = kick.set = stop = false;
	rx = vring_create_virtqueue(0, RING, &vdev, notify, NULL, "input.0");
	tx = vring_create_virtqueue(1, 2 * RING, &vdev, notify, NULL, "output.0");
	if (!rx || !tx)
		die("no queues");
	if (virtqueue_use_indirect(tx, 2) != virtio_has_feature(&vdev, VIRTIO_RING_F_INDIRECT_DESC))
		die("indirect");
	fake_vring_init(&dev_rx, rx);
	fake_vring_init(&dev_tx, tx);
	for (unsigned int i = 0; i < RING; i++) {
		post(&rx_mem[i]);
		tx_free[nr_tx_free++] = &tx_mem[i];
	}
	if (pthread_create(&thread, NULL, device, NULL))
		die("no thread");
	driver();
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	reclaim();
	if (nr_tx_free != RING || rx->num_free != 0)
		die("leak");
	printf("ring_race %s: %u messages, driver slept %lu times, device %lu, %llu kicks, %llu "
	       "spared, %llu tables\n",
	       kind, MESSAGES, irq.sleeps, kick.sleeps, (unsigned long long)(rx->kicks + tx->kicks),
	       (unsigned long long)(rx->kicks_suppressed + tx->kicks_suppressed),
	       (unsigned long long)tx->indirect);
	if (irq.sleeps < MESSAGES / 100 || kick.sleeps < MESSAGES / 100)
		die("they hardly ever slept: nothing was proved");
	if (virtio_has_feature(&vdev, VIRTIO_RING_F_INDIRECT_DESC) &&
	    tx->indirect < MESSAGES / 1000)
		die("hardly a table: nothing was proved");
	fake_vring_exit(&dev_rx);
	fake_vring_exit(&dev_tx);
	vring_del_virtqueue(rx);
	vring_del_virtqueue(tx);
}

int main(void)
{
	race("by flags", 0);
	race("by event index",
	     1ull << VIRTIO_RING_F_EVENT_IDX | 1ull << VIRTIO_RING_F_INDIRECT_DESC);
	race("packed, by flags", 1ull << VIRTIO_F_RING_PACKED);
	race("packed, by event index", 1ull << VIRTIO_F_RING_PACKED |
					       1ull << VIRTIO_RING_F_EVENT_IDX |
					       1ull << VIRTIO_RING_F_INDIRECT_DESC);
	printf("[       OK ] ring_race\n"); /* as cmocka says it, for scripts/run-unit */
	return 0;
}
