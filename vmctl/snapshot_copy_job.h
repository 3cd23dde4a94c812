/* pv_snapshot_write() in a thread of its own, with news of it in the loop.
 *
 * What the thread works with is its own. Whoever started it can let it go at any time: then the thread comes to its end alone, removes the file that
 * it may have made, and frees what is left.
 */
#ifndef PV_VMCTL_SNAPSHOT_COPY_JOB_H
#define PV_VMCTL_SNAPSHOT_COPY_JOB_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/err.h"
#include "proto/mem.h"
#include "vmctl/snapshot.h"

struct event_base;
struct pv_copy_job;

/* What is written. Taken over by pv_copy_job_start(), also if that fails. */
struct pv_copy_job_parts {
	char *path;
	struct pv_snapshot_memory memory;
	struct pv_buf devices;
	struct pv_buf firmware;
	char *console_path; /* NULL: no console */
	uint64_t console_from;
	Pvs__Manifest *manifest;
	char **disk_paths; /* one for each of its disks */
	bool durable;
};
void pv_copy_job_parts_free(struct pv_copy_job_parts *parts);

struct pv_copy_job_handler {
	/* The memory is read. Once, before `done`; not at all if it fails before that. */
	void (*may_run)(void *arg);
	/* The thread is through, the job gone. `msg` only with an error, else there is a file at `path`. */
	void (*done)(void *arg, enum pv_err err, const char *path, uint64_t file_bytes, const struct pv_errmsg *msg);
};

/* Handlers are called from the loop; may_run() may let the job go. */
enum pv_err pv_copy_job_start(struct event_base *base, struct pv_copy_job_parts *parts,
                              const struct pv_copy_job_handler *handler, void *arg, struct pv_copy_job **out,
                              struct pv_errmsg *msg) PV_MUST_CHECK;

/* No handler is called any more, and no file is left when the thread is through. Does not wait. NULL is fine. */
void pv_copy_job_let_go(struct pv_copy_job *job);

#endif
