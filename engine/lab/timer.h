/* Timers of a file. What they do to its script is an event (TimerFired), so that it happens at the same point when the record of the file
 * is gone through again; then no clock runs, the record fires them.
 */
#ifndef PV_LAB_TIMER_H
#define PV_LAB_TIMER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct event;
struct pv_engine;
struct pv_track;

/* The caller's; a zeroed struct is a timer that does not run. */
struct pv_engine_timer {
	struct pv_engine *engine; /* NULL: it does not run; these are the engine's */
	struct pv_track *track;
	uint64_t number;
	uint64_t at_ns; /* engine time */
	bool urgent;
	struct event *event;
	void (*fired)(void *arg);
	void *arg;
	LIST_ENTRY(pv_engine_timer) link;
};

/* Calls `fired` once, `ns` from now, from the loop. The timer does not run any more then. An urgent one does not wait for the end of
 * what the script computes (see pv_engine_set_busy()). */
void pv_engine_timer_start(struct pv_engine *engine, struct pv_engine_timer *timer, uint32_t file, uint64_t ns,
                           bool urgent, void (*fired)(void *arg), void *arg);
/* A timer that does not run is fine. */
void pv_engine_timer_stop(struct pv_engine_timer *timer);

#endif
