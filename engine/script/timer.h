/* A timer that ends a wait. */
#ifndef PV_SCRIPT_TIMER_H
#define PV_SCRIPT_TIMER_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/lab/timer.h"

struct pv_script;
struct pv_wait;

/* Embedded in the wait's userdata. A zeroed struct is a timer that does not run. */
struct pv_timer {
	struct pv_engine_timer timer;
	char shown[32]; /* the limit, as messages give it */
};

/* A limit on several waits in a row. It runs from the start of the first of them. */
struct pv_limit {
	uint64_t ns;
	uint64_t deadline_ns; /* in engine time; 0: it does not run yet */
};

/* What is left of it. */
uint64_t pv_limit_left(lua_State *L, const struct pv_limit *limit);
/* A wait under the limit has ended, which began at `started_ns`. */
void pv_limit_begin(struct pv_limit *limit, uint64_t started_ns);

/* "5s", "0.05s" into `out`; returns `out`. */
const char *pv_show_limit(uint64_t ns, char out[32]);

/* Finishes `wait` after `ns`. */
void pv_timer_start(struct pv_script *script, struct pv_timer *timer, uint64_t ns, struct pv_wait *wait);
/* Twice is fine. */
void pv_timer_stop(struct pv_timer *timer);

/* Pushes a wait that a timer alone ends, for pv_await(). */
struct pv_wait *pv_sleep_push(lua_State *L, uint64_t ns);

/* True if a timer alone ends the wait. */
bool pv_wait_is_timer(const struct pv_wait *wait);

#endif
