#include "engine/script/background.h"

#include <stdlib.h>
#include <string.h>

#include "engine/script/barrier.h"
#include "engine/script/coroutine.h"
#include "engine/script/script_internal.h"
#include "proto/mem.h"

/* In the registry: coroutine -> task, keys weak. While the task lives, the registry also anchors the coroutine by its address. */
static char tasks_key;

/* ---- the task ---- */

static int conclude(lua_State *L, int n)
{
	return n >= 0 ? n : lua_error(L);
}

static int go_on(lua_State *L, int status, lua_KContext ctx)
{
	(void)status;
	return conclude(L, pv_coroutine_go_on(L, (lua_State *)ctx, go_on));
}

/* The body of the task; it starts when the wait is over. */
static int background(lua_State *L)
{
	lua_State *co = lua_tothread(L, 1);
	struct pv_wait *wait = lua_touserdata(L, 2);
	struct pv_task *task = pv_script_of(L)->running;
	struct pv_buf *trouble;
	int n_args = 0;

	task->wait = NULL;
	wait->task = NULL;
	trouble = pv_buf_push(L);
	if (!pv_barrier_wait_settle(L, (struct pv_barrier_wait *)wait, trouble)) {
		lua_pushstring(L, pv_buf_str(trouble));
		if (!lua_checkstack(co, 1))
			pv_raise(L, "lab:barrier: stack overflow");
		lua_xmove(L, co, 1);
		n_args = 1;
	}
	return conclude(L, pv_coroutine_resume(L, co, n_args, go_on));
}

static void push_tasks(lua_State *L)
{
	lua_rawgetp(L, LUA_REGISTRYINDEX, &tasks_key);
}

struct pv_task *pv_background_push(lua_State *L)
{
	int wait = lua_gettop(L);
	struct pv_task *task;

	luaL_checkstack(L, 8, NULL);
	/* Room for what is set once the task is there, when nothing may fail any more. */
	push_tasks(L);
	lua_pushthread(L);
	lua_pushboolean(L, 0);
	lua_rawset(L, -3);
	lua_pushthread(L);
	lua_rawsetp(L, LUA_REGISTRYINDEX, L);

	lua_pushcfunction(L, background);
	lua_pushthread(L);
	lua_pushvalue(L, wait);
	task = pv_task_push(L, PV__TASK_KIND__TASK_KIND_CO, 2, NULL);
	task->background = L;
	pv_thread_set_background(L, true);
	lua_pushthread(L);
	lua_insert(L, -2);
	lua_rawset(L, -3);
	lua_settop(L, wait);
	return task;
}

void pv_background_start(lua_State *L, struct pv_task *task, struct pv_wait *wait)
{
	(void)L;
	task->state = PV_TASK_WAITING;
	task->wait = wait;
	wait->task = task;
}

void pv_background_abandon(lua_State *L, struct pv_task *task)
{
	pv_thread_set_background(L, false);
	task->background = NULL;
	pv_task_cancel(task);
	pv_task_make_ready(task);
}

struct pv_task *pv_background_task(lua_State *L, lua_State *co)
{
	struct pv_task *task;

	luaL_checkstack(L, 4, NULL);
	push_tasks(L);
	lua_pushthread(co);
	lua_xmove(co, L, 1);
	lua_rawget(L, -2);
	task = lua_touserdata(L, -1);
	lua_pop(L, 2);
	PV_ASSERT(task != NULL);
	return task;
}

/* ---- the outcome ---- */

static struct pv_kept_error *find_error(struct pv_script *script, uint32_t task)
{
	struct pv_kept_error *error;

	TAILQ_FOREACH (error, &script->kept_errors, link) {
		if (error->task == task)
			return error;
	}
	return NULL;
}

static void drop_error(struct pv_script *script, struct pv_kept_error *error)
{
	TAILQ_REMOVE(&script->kept_errors, error, link);
	free(error->message);
	free(error);
}

int pv_background_fetch(lua_State *L, lua_State *co)
{
	struct pv_task *task = pv_background_task(L, co);
	struct pv_kept_error *error = find_error(task->script, task->id);
	bool passed = task->verdict == PV__VERDICT__VERDICT_PASSED;
	int n = passed ? task->n_results : 1;

	PV_ASSERT(task->state == PV_TASK_ENDED);
	luaL_checkstack(L, n, "too many results to resume");
	if (passed || (task->verdict == PV__VERDICT__VERDICT_FAILED && lua_gettop(task->L) > 0)) {
		lua_xmove(task->L, L, n);
	} else if (task->verdict == PV__VERDICT__VERDICT_SKIPPED) {
		lua_xmove(task->L, L, n);
	} else {
		lua_pushliteral(L, "cannot resume dead coroutine");
	}
	if (error != NULL)
		drop_error(task->script, error);
	pv_thread_set_background(co, false);
	return passed ? n : -1;
}

void pv_background_close(struct pv_task *task)
{
	struct pv_script *script = task->script;
	struct pv_task *before = script->running;

	if (task->verdict != PV__VERDICT__VERDICT_PASSED) {
		script->running = task;
		pv_thread_set_held(task->background, false);
		lua_resetthread(task->background);
		lua_settop(task->background, 0);
		script->running = before;
	}
	/* The key is there, so nothing is allocated. */
	lua_pushnil(script->L);
	lua_rawsetp(script->L, LUA_REGISTRYINDEX, task->background);
}

void pv_background_keep_error(struct pv_task *task, const char *message)
{
	struct pv_kept_error *error = PV_NEW(struct pv_kept_error);

	error->task = task->id;
	error->message = pv_xstrdup(message);
	TAILQ_INSERT_TAIL(&task->script->kept_errors, error, link);
}

void pv_background_fail_unit(struct pv_script *script)
{
	struct pv_kept_error *error;

	while ((error = TAILQ_FIRST(&script->kept_errors)) != NULL) {
		pv_unit_fail(script, error->message, strlen(error->message));
		drop_error(script, error);
	}
}

void pv_open_background(lua_State *L)
{
	lua_newtable(L);
	lua_createtable(L, 0, 1);
	lua_pushliteral(L, "k");
	lua_setfield(L, -2, "__mode");
	lua_setmetatable(L, -2);
	lua_rawsetp(L, LUA_REGISTRYINDEX, &tasks_key);
}
