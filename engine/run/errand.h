/* A job (vmctl/job.h) whose end comes in a turn of the engine. */
#ifndef PV_RUN_ERRAND_H
#define PV_RUN_ERRAND_H

#include "engine/lab/engine.h"

struct pv_errand;

/* Runs work(arg) in a new thread; then, from a turn of the engine, done(arg), after which the errand is gone. Work must not touch what the loop's
 * thread uses meanwhile. `drop` frees `arg` of an errand that was abandoned; it may be called in the thread. */
struct pv_errand *pv_errand_start(struct pv_engine *engine, void (*work)(void *arg), void (*done)(void *arg),
                                  void (*drop)(void *arg), void *arg);

/* Nobody waits for it any more: `done` will not be called. What the thread is at, it ends in its own time, or with the process. NULL is fine. */
void pv_errand_abandon(struct pv_errand *errand);

#endif
