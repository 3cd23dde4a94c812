#include "vmctl/snapshot_copy_job.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmctl/job.h"

#define CONSOLE_MAX (64u << 20) /* the end of a longer one goes along */

struct pv_copy_job {
	struct pv_copy_job_parts parts;
	const struct pv_copy_job_handler *handler;
	void *owner;
	struct pv_job *job;
	enum pv_err err;
	uint64_t file_bytes;
	struct pv_errmsg msg;
};

void pv_copy_job_parts_free(struct pv_copy_job_parts *parts)
{
	free(parts->path);
	pv_buf_free(&parts->devices);
	pv_buf_free(&parts->firmware);
	free(parts->console_path);
	for (size_t i = 0; parts->disk_paths && i < parts->manifest->n_disks; i++)
		free(parts->disk_paths[i]);
	free(parts->disk_paths);
	if (parts->manifest)
		pvs__manifest__free_unpacked(parts->manifest, NULL);
	*parts = (struct pv_copy_job_parts){ 0 };
}

static void copy_free(struct pv_copy_job *copy)
{
	pv_copy_job_parts_free(&copy->parts);
	free(copy);
}

/* ---- the thread ---- */

static void may_run(void *arg)
{
	struct pv_copy_job *copy = arg;

	pv_job_tell(copy->job);
}

/* The guest stands still, so nothing is added to the log meanwhile. */
static enum pv_err read_console(const struct pv_copy_job_parts *parts, struct pv_buf *out, struct pv_errmsg *msg)
{
	int fd = open(parts->console_path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	uint64_t at = parts->console_from, end;
	struct stat st;
	ssize_t n = -1;

	if (fd >= 0 && fstat(fd, &st) == 0) {
		end = (uint64_t)st.st_size;
		if (end > at + CONSOLE_MAX)
			at = end - CONSOLE_MAX;
		pv_buf_reserve(out, end > at ? end - at : 0);
		while (at < end && (n = pread(fd, out->data + out->len, end - at, (off_t)at)) > 0) {
			out->len += (size_t)n;
			at += (uint64_t)n;
		}
		if (at >= end)
			n = 0;
	}
	if (fd >= 0)
		close(fd);
	return n == 0 ? PV_OK
	              : pv_err_sys(msg, PV_ERR_IO, errno, "cannot read the console log %s", parts->console_path);
}

static void work(void *arg)
{
	struct pv_copy_job *copy = arg;
	const struct pv_copy_job_parts *parts = &copy->parts;
	struct pv_snapshot_parts whole = {
		.memory = parts->memory,
		.devices = { parts->devices.data, parts->devices.len },
		.firmware = { parts->firmware.data, parts->firmware.len },
		.manifest = parts->manifest,
		.disk_paths = (const char *const *)parts->disk_paths,
		.durable = parts->durable,
	};
	struct pv_buf console = { 0 };

	if (parts->console_path)
		copy->err = read_console(parts, &console, &copy->msg);
	whole.console = (struct pv_bytes){ console.data, console.len };
	if (!copy->err)
		copy->err = pv_snapshot_write(parts->path, &whole, may_run, copy, &copy->file_bytes, &copy->msg);
	pv_buf_free(&console);
}

/* ---- the loop ---- */

static void on_may_run(void *arg)
{
	struct pv_copy_job *copy = arg;

	copy->handler->may_run(copy->owner);
}

static void on_done(void *arg)
{
	struct pv_copy_job *copy = arg;

	copy->handler->done(copy->owner, copy->err, copy->parts.path, copy->file_bytes, copy->err ? &copy->msg : NULL);
	copy_free(copy);
}

/* Nobody wants the file any more. */
static void drop(void *arg)
{
	struct pv_copy_job *copy = arg;

	if (!copy->err)
		unlink(copy->parts.path);
	copy_free(copy);
}

static const struct pv_job_ops job_ops = { .work = work, .news = on_may_run, .done = on_done, .drop = drop };

enum pv_err pv_copy_job_start(struct event_base *base, struct pv_copy_job_parts *parts,
                              const struct pv_copy_job_handler *handler, void *arg, struct pv_copy_job **out,
                              struct pv_errmsg *msg)
{
	struct pv_copy_job *copy = PV_NEW(struct pv_copy_job);
	enum pv_err err;

	copy->parts = *parts;
	*parts = (struct pv_copy_job_parts){ 0 };
	copy->handler = handler;
	copy->owner = arg;
	*out = copy;
	err = pv_job_start(base, &job_ops, copy, &copy->job, msg);
	if (!err)
		return PV_OK;
	*out = NULL;
	err = pv_err_wrap(msg, err, "%s cannot be written", copy->parts.path);
	copy_free(copy);
	return err;
}

void pv_copy_job_let_go(struct pv_copy_job *copy)
{
	if (copy)
		pv_job_abandon(copy->job);
}
