/* Work that blocks, in a thread of its own beside the loop; its news and its end come through the loop.
 *
 * The thread has all signals blocked: they are for the thread with the loop. What `arg` leads to is the thread's until the work has ended, but for what both
 * sides guard by a lock of their own. */
#ifndef PV_VMCTL_JOB_H
#define PV_VMCTL_JOB_H

#include <stdbool.h>

#include "proto/err.h"

struct event_base;
struct pv_job;

struct pv_job_ops {
	void (*work)(void *arg); /* in the thread */
	void (*news)(
	    void *
	        arg); /* NULL: none. From the loop, at least once after each pv_job_tell(), and before `done`; may abandon the job */
	void (*done)(void *arg); /* from the loop; the job is gone */
	void (*drop)(
	    void *
	        arg); /* NULL: it is never abandoned. After the end of the work of an abandoned job, which is gone; in either thread */
	bool lazy; /* the thread has the lowest priority */
};

/* `ops` must stay. *out is there before the work begins. PV_ERR_IO: there is no thread or descriptor to be had; *out is NULL and `arg` stays the
 * caller's. */
enum pv_err pv_job_start(struct event_base *base, const struct pv_job_ops *ops, void *arg, struct pv_job **out,
                         struct pv_errmsg *msg) PV_MUST_CHECK;

/* In `work`: there is news. Never blocks. */
void pv_job_tell(struct pv_job *job);

/* Waits for the end of the work, however long it takes; nothing else is called. NULL is fine. */
void pv_job_join(struct pv_job *job);

/* Nobody waits for it any more: of the functions only `drop` is called, at once if the work has ended. Does not wait. NULL is fine. */
void pv_job_abandon(struct pv_job *job);

#endif
