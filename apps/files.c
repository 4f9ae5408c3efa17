/* See files.h: between the kernel's files and an app that knows nothing of the kernel. */
#include "apps/files.h"

#include "kernel/debugfs.h"
#include "kernel/lib/container_of.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/string.h"
#include "kernel/slab.h"
#include "kernel/tasklet.h"
#include "kernel/trace.h"

#include "lwip/tcp.h"

struct app_file {
	const struct debugfs_file *file;
	struct debugfs_reader reader;
	struct tasklet_struct tasklet;
	void (*wake)(void *ctx);
	void *ctx;
};

static void file_wake(struct debugfs_reader *r)
{
	tasklet_schedule(&container_of(r, struct app_file, reader)->tasklet);
}

static void file_tasklet(struct tasklet_struct *t)
{
	struct app_file *f = container_of(t, struct app_file, tasklet);

	trace_blind = true; /* what is sent now is the reader's own */
	f->wake(f->ctx);
	trace_blind = false;
}

struct app_file *app_file_open(const struct app_file_request *req, uint16_t *status,
			       char error[APP_FILE_ERROR_MAX])
{
	const char *name;
	const struct debugfs_file *file = debugfs_lookup(req->path, &name);
	struct app_file *f;
	int err;

	error[0] = '\0';
	*status = 404;
	if (!file)
		return NULL;
	*status = 503;
	f = kzalloc(sizeof(*f));
	if (!f)
		return NULL;
	f->file = file;
	f->wake = req->wake;
	f->ctx = req->ctx;
	f->reader.name = name;
	f->reader.query = req->query;
	f->reader.wake = file_wake;
	tasklet_setup(&f->tasklet, file_tasklet);
	/* The request is being handled right now. */
	trace_own_port = req->pcb->local_port;
	trace_blind = true;
	err = file->open(&f->reader);
	trace_blind = tracing; /* until the end of this delivery, if anybody looks */
	if (!err)
		return f;
	*status = err == -ENOENT ? 404 : err == -EINVAL ? 400 : err == -EBUSY ? 409 : 503;
	strscpy(error, f->reader.error, APP_FILE_ERROR_MAX);
	kfree(f);
	return NULL;
}

const char *app_file_type(const struct app_file *f)
{
	return f->file->type;
}

int app_file_read(struct app_file *f, char *buf, size_t size)
{
	int n = f->file->read(&f->reader, buf, size);

	return n < 0 ? -1 : n;
}

void app_file_close(struct app_file *f)
{
	if (f->file->release)
		f->file->release(&f->reader);
	tasklet_kill(&f->tasklet);
	kfree(f);
}
