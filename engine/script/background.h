/* Plain coroutines that wait at a barrier: a background task goes on with the coroutine when the barrier opens, up to its next yield,
 * return or error, which is kept for whoever resumes the coroutine then.
 *
 * While the task is at work and until its outcome was fetched, the coroutine carries the mark "background" and counts as suspended. */
#ifndef PV_SCRIPT_BACKGROUND_H
#define PV_SCRIPT_BACKGROUND_H

#include <lua.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "engine/script/task.h"

struct pv_barrier_wait;
struct pv_script;

/* An error of a background task that nobody has fetched yet. */
struct pv_kept_error {
	uint32_t task;
	char *message;
	TAILQ_ENTRY(pv_kept_error) link;
};
TAILQ_HEAD(pv_kept_error_list, pv_kept_error);

/* Takes the wait (a userdata) from the top of `L` and makes the task that waits with it in the place of the coroutine `L`; the task
 * waits from pv_background_start() on, until then nothing may raise. Raises. */
struct pv_task *pv_background_push(lua_State *L);
void pv_background_start(lua_State *L, struct pv_task *task, struct pv_wait *wait);
/* The task never came to wait. */
void pv_background_abandon(lua_State *L, struct pv_task *task);

/* The task of a coroutine with the mark. */
struct pv_task *pv_background_task(lua_State *L, lua_State *co);

/* Pushes the outcome of a task that has ended: the number of values, or -1 with the error value. The coroutine loses the mark. */
int pv_background_fetch(lua_State *L, lua_State *co);

/* For the end of the task: closes what its coroutine left open if it did not come to a yield or a return. */
void pv_background_close(struct pv_task *task);
void pv_background_keep_error(struct pv_task *task, const char *message);

/* What was not fetched fails the unit. */
void pv_background_fail_unit(struct pv_script *script);

#endif
