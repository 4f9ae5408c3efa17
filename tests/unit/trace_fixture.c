#include "tests/unit/trace_fixture.h"

#include <stdlib.h>
#include <string.h>

#include "tests/unit/test.h"

#include "kernel/lib/container_of.h"
#include "kernel/lib/errno.h"
#include "kernel/softirq.h"
#include "kernel/tasklet.h"
#include "net/trace.h"
#include "tests/fake/fake_kernel.h"

#define FRAME_MAX 1514

static struct pkt_pool pool;
static struct napi_struct napi;
static struct list_head waiting;

/* ---- frames ---- */

static int poll(struct napi_struct *n, int budget)
{
	int work = 0;

	while (work < budget && !list_empty(&waiting)) {
		struct pkt_buf *pkt = list_first_entry(&waiting, struct pkt_buf, list);

		list_del(&pkt->list);
		napi_gro_receive(n, pkt);
		work++;
	}
	if (work < budget)
		napi_complete_done(n, work);
	return work;
}

void tf_queue(const void *frame, u32 len)
{
	struct pkt_buf *pkt = pkt_alloc_rx(&pool);

	assert_non_null(pkt);
	assert_true(len <= FRAME_MAX);
	pkt->dev = &fx_dev;
	pkt->len = len;
	memcpy(pkt->data, frame, len);
	list_add_tail(&pkt->list, &waiting);
}

void tf_interrupt(void)
{
	trace_irq();
	napi_schedule(&napi);
	fake_softirq_leave();
	do_softirq();
	fake_softirq_enter();
}

void tf_rx(const void *frame, u32 len)
{
	tf_queue(frame, len);
	tf_interrupt();
}

u32 tf_udp(u8 *buf, u16 sport, u16 dport, u32 len)
{
	u8 seg[FRAME_MAX] = { (u8)(sport >> 8), (u8)sport, (u8)(dport >> 8), (u8)dport };

	seg[4] = (u8)(len >> 8);
	seg[5] = (u8)len;
	for (u32 i = 8; i < len; i++)
		seg[i] = (u8)i;
	return fx_ip4(buf, 17, 7, 0, seg, len);
}

/* ---- a reader ---- */

static void wake(struct debugfs_reader *r)
{
	container_of(r, struct tf_reader, r)->woken++;
}

int tf_open(struct tf_reader *t, const char *path, const char *query)
{
	const char *name;
	/* Only valid during open(). */
	char *q = strdup(query);
	int err;

	*t = (struct tf_reader){ .r = { .query = q, .wake = wake } };
	t->file = debugfs_lookup(path, &name);
	assert_non_null(t->file);
	t->r.name = name;
	err = t->file->open(&t->r);
	free(q);
	return err;
}

int tf_read(struct tf_reader *t, size_t size)
{
	for (;;) {
		char *buf = malloc(size);
		int n = t->file->read(&t->r, buf, size);

		assert_true(n <= (int)size);
		if (n > 0) {
			while (t->len + (size_t)n + 1 > t->room)
				t->text = realloc(t->text, t->room = 2 * t->room + 4096);
			memcpy(t->text + t->len, buf, (size_t)n);
			t->len += (size_t)n;
			t->text[t->len] = '\0';
		}
		free(buf);
		if (n <= 0)
			return n;
	}
}

void tf_close(struct tf_reader *t)
{
	t->file->release(&t->r);
	free(t->text);
	t->text = NULL;
}

/* ---- life ---- */

int tf_start(void **state)
{
	if (fx_start(state))
		return -1;
	fx_dev.gro = true;
	INIT_LIST_HEAD(&waiting);
	netif_napi_add(&fx_dev, &napi, poll, NAPI_POLL_WEIGHT);
	tasklet_init();
	return pkt_pool_init(&pool, "rx", FRAME_MAX, 256);
}

int tf_begin(void **state)
{
	fx_learn_peer();
	fake_cycles_step = 10;
	return fx_begin(state);
}

int tf_end(void **state)
{
	assert_int_equal(tracing, 0);
	fake_cycles_step = 0;
	fx_complete();
	assert_int_equal(pool.used, 0);
	return fx_end(state);
}
