/*
 * The kernel's files about itself (kernel/debugfs.h), for the app that serves them. Softirq
 * context.
 */
#ifndef APPS_FILES_H
#define APPS_FILES_H

#include <stddef.h>
#include <stdint.h>

struct app_file;
struct tcp_pcb;

struct app_file_request {
	const char *path, *query;
	const struct tcp_pcb *pcb; /* whose packets the file leaves out */
	void (*wake)(void *ctx);   /* softirq context: reading is worth while again */
	void *ctx;
};

#define APP_FILE_ERROR_MAX 96

/*
 * NULL: no such file, or it says no; *status is HTTP's number for that (404, 400, 409, 503) and
 * error a line about it, perhaps empty.
 */
struct app_file *app_file_open(const struct app_file_request *req, uint16_t *status,
			       char error[APP_FILE_ERROR_MAX]);
const char *app_file_type(const struct app_file *f);
/* As debugfs_file.read(), but -1 for "nothing yet". */
int app_file_read(struct app_file *f, char *buf, size_t size);
void app_file_close(struct app_file *f);

#endif
