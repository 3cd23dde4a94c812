/* Work that blocks, done in a thread of its own; its end comes through the loop. */
#ifndef PV_LAB_JOB_H
#define PV_LAB_JOB_H

#include <stdbool.h>

struct event_base;
struct pv_job;

/* `work` runs in the thread, at the lowest priority if `lazy`, and may touch nothing but what `arg` gives to it; then `done` is called from the loop. The
 * job is gone before `done`. */
struct pv_job *pv_job_start(struct event_base *base, bool lazy, void (*work)(void *arg), void (*done)(void *arg),
                            void *arg);

/* Waits for the end of `work`, however long it takes; `done` is not called. NULL is fine. */
void pv_job_join(struct pv_job *job);

#endif
