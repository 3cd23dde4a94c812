#include "vmctl/snapshot_copy_job.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONSOLE_MAX (64u << 20) /* the end of a longer one goes along */

struct pv_copy_job {
	struct pv_copy_job_parts parts; /* the thread's until it is through */
	const struct pv_copy_job_handler *handler;
	void *arg;
	pthread_t thread;
	struct event *news; /* on `news_fd`, which the thread writes */
	int news_fd;
	bool told_may_run; /* the loop's */

	pthread_mutex_t lock; /* what follows */
	bool may_run;
	bool through;
	bool let_go; /* nobody waits for it: the thread cleans up */
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

static void job_free(struct pv_copy_job *job)
{
	if (job->news)
		event_free(job->news);
	if (job->news_fd >= 0)
		close(job->news_fd);
	pthread_mutex_destroy(&job->lock);
	pv_copy_job_parts_free(&job->parts);
	free(job);
}

/* ---- the thread ---- */

static void tell(struct pv_copy_job *job)
{
	if (eventfd_write(job->news_fd, 1) != 0)
		PV_BUG("an eventfd cannot be written: %s", strerror(errno));
}

static void may_run(void *arg)
{
	struct pv_copy_job *job = arg;

	pthread_mutex_lock(&job->lock);
	job->may_run = true;
	if (!job->let_go)
		tell(job);
	pthread_mutex_unlock(&job->lock);
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

static enum pv_err write_file(struct pv_copy_job *job, uint64_t *file_bytes, struct pv_errmsg *msg)
{
	const struct pv_copy_job_parts *parts = &job->parts;
	struct pv_snapshot_parts whole = {
		.memory = parts->memory,
		.devices = { parts->devices.data, parts->devices.len },
		.firmware = { parts->firmware.data, parts->firmware.len },
		.manifest = parts->manifest,
		.disk_paths = (const char *const *)parts->disk_paths,
		.durable = parts->durable,
	};
	struct pv_buf console = { 0 };
	enum pv_err err = PV_OK;

	if (parts->console_path)
		err = read_console(parts, &console, msg);
	whole.console = (struct pv_bytes){ console.data, console.len };
	if (!err)
		err = pv_snapshot_write(parts->path, &whole, may_run, job, file_bytes, msg);
	pv_buf_free(&console);
	return err;
}

static void *run(void *arg)
{
	struct pv_copy_job *job = arg;
	struct pv_errmsg msg = { 0 };
	uint64_t file_bytes = 0;
	enum pv_err err = write_file(job, &file_bytes, &msg);
	bool alone;

	pthread_mutex_lock(&job->lock);
	job->err = err;
	job->file_bytes = file_bytes;
	job->msg = msg;
	job->through = true;
	alone = job->let_go;
	if (!alone)
		tell(job);
	pthread_mutex_unlock(&job->lock);
	if (!alone)
		return NULL;
	if (!err)
		unlink(job->parts.path);
	job_free(job);
	return NULL;
}

/* ---- the loop ---- */

static void on_news(evutil_socket_t fd, short what, void *arg)
{
	struct pv_copy_job *job = arg;
	const struct pv_copy_job_handler *handler = job->handler;
	void *owner = job->arg;
	eventfd_t count;
	bool go_on, through;

	(void)what;
	(void)eventfd_read(fd, &count);
	pthread_mutex_lock(&job->lock);
	through = job->through;
	go_on = job->may_run && !job->told_may_run;
	pthread_mutex_unlock(&job->lock);
	if (go_on && through)
		tell(job); /* the end is told in a turn of its own: the job may be gone after may_run() */
	if (go_on) {
		job->told_may_run = true;
		handler->may_run(owner);
	} else if (through) {
		pthread_join(job->thread, NULL);
		handler->done(owner, job->err, job->parts.path, job->file_bytes, job->err ? &job->msg : NULL);
		job_free(job);
	}
}

static int spawn(struct pv_copy_job *job)
{
	sigset_t all, before;
	int rc;

	/* Signals are for the thread with the loop. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&job->thread, NULL, run, job);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return rc;
}

enum pv_err pv_copy_job_start(struct event_base *base, struct pv_copy_job_parts *parts,
                              const struct pv_copy_job_handler *handler, void *arg, struct pv_copy_job **out,
                              struct pv_errmsg *msg)
{
	struct pv_copy_job *job = PV_NEW(struct pv_copy_job);
	int rc;

	job->parts = *parts;
	*parts = (struct pv_copy_job_parts){ 0 };
	job->handler = handler;
	job->arg = arg;
	pthread_mutex_init(&job->lock, NULL);
	job->news_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = job->news_fd < 0 ? errno : 0;
	if (rc == 0) {
		job->news = event_new(base, job->news_fd, EV_READ | EV_PERSIST, on_news, job);
		if (!job->news || event_add(job->news, NULL) != 0)
			PV_BUG("cannot watch an eventfd");
		rc = spawn(job);
	}
	if (rc != 0) {
		pv_err_sys(msg, PV_ERR_IO, rc, "no thread can be started that writes %s", job->parts.path);
		job_free(job);
		return PV_ERR_IO;
	}
	*out = job;
	return PV_OK;
}

void pv_copy_job_let_go(struct pv_copy_job *job)
{
	bool through;

	if (!job)
		return;
	event_free(job->news);
	job->news = NULL;
	pthread_mutex_lock(&job->lock);
	job->let_go = true;
	through = job->through;
	if (!through)
		pthread_detach(job->thread);
	pthread_mutex_unlock(&job->lock);
	if (!through)
		return;
	pthread_join(job->thread, NULL);
	if (!job->err)
		unlink(job->parts.path);
	job_free(job);
}
