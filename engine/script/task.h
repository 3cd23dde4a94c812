/* Tasks: coroutines that the engine's turns resume, and what they wait for.
 *
 * A task is a full userdata (the `Task` of scripts) whose first user value is its thread; the registry anchors it while it
 * lives. Tasks of one script give up the processor only at waits: a task that the count hook pre-empts goes on before any other
 * task of its script, so that between two waits a script sees no change that it did not make itself.
 */
#ifndef PV_SCRIPT_TASK_H
#define PV_SCRIPT_TASK_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "engine/lab/engine.h"
#include "proto/err.h"
#include "proto/journal.pb-c.h"

struct pv_script;
struct pv_site;
struct pv_task;

enum pv_task_state {
	PV_TASK_READY,    /* in the script's ready queue */
	PV_TASK_RUNNING,  /* on the C stack: at work, or turning the engine until its wait is over */
	PV_TASK_STARTING, /* pre-empted before its first wait; the task that spawned it resumes it */
	PV_TASK_WAITING,
	PV_TASK_ENDED,
};

/* What a task waits for. Embedded at the start of a userdata that lies on the waiting coroutine's stack. */
struct pv_wait {
	struct pv_task *task; /* NULL: nobody waits now */
	bool done;
	/* Ends what is under way; nothing touches the wait afterwards. Also called for a wait that is done. */
	void (*withdraw)(struct pv_wait *wait);
	/* Goes on in the waiting C function: pushes its results. */
	int (*then)(lua_State *L, struct pv_wait *wait);
};

struct pv_join;
LIST_HEAD(pv_join_list, pv_join);

struct pv_task {
	struct pv_script *script;
	lua_State *L;
	uint32_t id; /* in events */
	Pv__TaskKind kind;
	enum pv_task_state state;
	bool started;
	bool mid_step;            /* pre-empted: what follows belongs to the same step */
	bool cancelled;           /* ends at its next wait or hook, and cannot catch that */
	struct pv_wait *wait;     /* NULL unless it waits */
	struct pv_deferred *poke; /* while it turns the engine itself: keeps a turn from waiting for the world */
	Pv__Verdict verdict;      /* when ended */
	int n_results;            /* PASSED: at the bottom of its stack; FAILED: the error value is there */
	struct pv_join_list joins;
	lua_State *background; /* the plain coroutine that it goes on with; NULL: it is no background task */
	lua_State **chain;     /* coroutines it is in, outermost first, without its own thread */
	size_t chain_len;
	size_t chain_cap;
	TAILQ_ENTRY(pv_task) live_link;
	TAILQ_ENTRY(pv_task) ready_link;
};
TAILQ_HEAD(pv_task_list, pv_task);

#define PV_TASK_TYPE "Task"

/* Takes the function and its `n_args` arguments from the top of `L` and pushes the new Task instead. `site` is where it comes from; NULL: the Lua
 * frame that `L` is in. Raises. */
struct pv_task *pv_task_push(lua_State *L, Pv__TaskKind kind, int n_args, const struct pv_site *site);

/* Puts a new task at the end of the ready queue. */
void pv_task_make_ready(struct pv_task *task);

/* Runs the task until it waits, is pre-empted or ends. `from` is the coroutine that starts it, or NULL. After the call a task that ended
 * is only as alive as its Task value. */
void pv_task_step(struct pv_task *task, lua_State *from);

/* The wait of the task is over. */
void pv_task_wake(struct pv_task *task);

/* Flags the task and withdraws what it waits for. */
void pv_task_cancel(struct pv_task *task);

/* The text of the error value on top of `from`'s stack; the caller frees. */
char *pv_error_text(struct pv_script *script, lua_State *from);

/* A turn of the script: runs what is ready, ends the unit if all tasks have ended (its `done` may destroy the script). */
void pv_script_turn(void *script);

/* ---- waiting; for C functions that Lua calls ---- */

/* The running task. Raises where no task runs or a finalizer does, with `what` in front. */
struct pv_task *pv_task_current(lua_State *L, const char *what);

/* Gives up the task until the wait is done, then returns wait->then(). Where Lua cannot yield, turns the engine. Raises the
 * cancellation. Use: return pv_await(L, wait). */
int pv_await(lua_State *L, struct pv_wait *wait);

/* The same where Lua cannot yield; returns when the wait is done. */
void pv_await_here(lua_State *L, struct pv_wait *wait);

/* The wait is over: from callbacks, never raises. */
void pv_wait_finish(struct pv_wait *wait);

/* Turns the engine until the wait of `task` is done or it is cancelled; for C code that cannot yield. Returns an error text
 * if that cannot be done. */
const char *pv_task_turn_until_done(struct pv_task *task);

/* One turn of the engine in which no task of this script runs. */
void pv_task_turn_held(struct pv_script *script);

/* The light userdata that a cancelled task is unwound with. */
_Noreturn void pv_raise_cancelled(lua_State *L);

/* ---- marks on threads ---- */

bool pv_thread_is_task(lua_State *L);
void pv_thread_mark_task(lua_State *L);
/* A coroutine that is suspended by the engine, not by itself. */
bool pv_thread_is_held(lua_State *L);
void pv_thread_set_held(lua_State *L, bool held);

/* A coroutine with which a background task is at work, or whose outcome nobody has fetched. */
bool pv_thread_is_background(lua_State *L);
void pv_thread_set_background(lua_State *L, bool background);

void pv_chain_push(struct pv_task *task, lua_State *co);
void pv_chain_pop(struct pv_task *task);

/* True while `L` runs inside a finalizer (__gc). */
bool pv_in_finalizer(lua_State *L);

/* The count hook of every coroutine. */
void pv_hook(lua_State *L, lua_Debug *ar);
#define PV_HOOK_COUNT 100000 /* VM instructions, about a millisecond */

#endif
