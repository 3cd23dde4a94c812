#include "engine/script/co.h"

#include <event2/event.h>
#include <stdlib.h>

#include "engine/script/args.h"
#include "engine/script/script_internal.h"
#include "engine/script/timer.h"

#define JOIN_TYPE "provium.join"

/* ---- spawn ---- */

static int run_to_first_wait(lua_State *L, int status, lua_KContext ctx)
{
	struct pv_script *script = pv_script_of(L);
	struct pv_task *task = (struct pv_task *)ctx;

	(void)status;
	for (;;) {
		pv_task_step(task, L);
		if (task->state != PV_TASK_STARTING)
			return 1;
		/* It computes for long before its first wait: the spawner is pre-empted with it. */
		if (lua_isyieldable(L)) {
			script->yield = PV_YIELD_PREEMPT;
			return lua_yieldk(L, 0, ctx, run_to_first_wait);
		}
		pv_task_turn_held(script);
	}
}

/* The function and its arguments are all that is on the stack. */
static int spawn(lua_State *L)
{
	struct pv_task *task;

	pv_task_current(L, "co.spawn");
	task = pv_task_push(L, PV__TASK_KIND__TASK_KIND_CO, lua_gettop(L) - 1, NULL);
	return run_to_first_wait(L, LUA_OK, (lua_KContext)task);
}

static int co_spawn(lua_State *L)
{
	if (lua_type(L, 1) != LUA_TFUNCTION)
		pv_raise(L, "co.spawn: a function is needed, got %s", luaL_typename(L, 1));
	return spawn(L);
}

static int wrapped(lua_State *L)
{
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_insert(L, 1);
	return spawn(L);
}

static int co_wrap(lua_State *L)
{
	if (lua_type(L, 1) != LUA_TFUNCTION)
		pv_raise(L, "co.wrap: a function is needed, got %s", luaL_typename(L, 1));
	lua_settop(L, 1);
	lua_pushcclosure(L, wrapped, 1);
	return 1;
}

/* ---- join ---- */

struct pv_join {
	struct pv_wait wait;
	struct pv_task *target; /* NULL: not in its list; the Task lies on the joiner's stack */
	struct pv_timer timer;
	LIST_ENTRY(pv_join) link;
};

static void withdraw_join(struct pv_wait *wait)
{
	struct pv_join *join = (struct pv_join *)wait;

	pv_timer_stop(&join->timer);
	if (join->target != NULL)
		LIST_REMOVE(join, link);
	join->target = NULL;
}

void pv_task_wake_joins(struct pv_task *task)
{
	struct pv_join *join;

	while ((join = LIST_FIRST(&task->joins)) != NULL) {
		withdraw_join(&join->wait);
		pv_wait_finish(&join->wait);
	}
}

static int collect_join(lua_State *L)
{
	withdraw_join(lua_touserdata(L, 1));
	return 0;
}

static int push_outcome(lua_State *L, struct pv_task *task)
{
	int n = task->n_results;

	if (task->verdict == PV__VERDICT__VERDICT_INTERRUPTED)
		pv_raise(L, "task:join: the task was cancelled");
	if (task->verdict != PV__VERDICT__VERDICT_PASSED)
		n = lua_gettop(task->L);
	luaL_checkstack(L, n, "too many results");
	if (!lua_checkstack(task->L, n))
		pv_raise(L, "task:join: too many results");
	for (int i = 1; i <= n; i++)
		lua_pushvalue(task->L, i);
	lua_xmove(task->L, L, n);
	return task->verdict == PV__VERDICT__VERDICT_PASSED ? n : lua_error(L);
}

static struct pv_join *push_join(lua_State *L, struct pv_task *target, int (*then)(lua_State *L, struct pv_wait *wait))
{
	struct pv_join *join = lua_newuserdatauv(L, sizeof(*join), 0);

	*join = (struct pv_join){ .wait = { .withdraw = withdraw_join, .then = then } };
	luaL_setmetatable(L, JOIN_TYPE);
	join->target = target;
	LIST_INSERT_HEAD(&target->joins, join, link);
	return join;
}

static int joined(lua_State *L, struct pv_wait *wait)
{
	struct pv_join *join = (struct pv_join *)wait;
	struct pv_task *task = lua_touserdata(L, 1);

	withdraw_join(&join->wait);
	if (task->state != PV_TASK_ENDED)
		pv_raise(L, "task:join: the task has not ended within %s", join->timer.shown);
	return push_outcome(L, task);
}

/* Tasks that join each other without limit would wait for ever. */
static bool would_wait_for_itself(const struct pv_task *self, const struct pv_task *target)
{
	while (target != NULL && target != self) {
		const struct pv_join *join = (const struct pv_join *)target->wait;

		if (join == NULL || join->wait.withdraw != withdraw_join || join->timer.timer.engine != NULL)
			return false;
		target = join->target;
	}
	return target == self;
}

static struct pv_task *check_task(lua_State *L, const char *what)
{
	struct pv_task *task = luaL_testudata(L, 1, PV_TASK_TYPE);

	if (task == NULL)
		pv_raise(L, "%s: call it with a colon on a Task, got %s", what, luaL_typename(L, 1));
	return task;
}

static int task_join(lua_State *L)
{
	struct pv_task *self = pv_task_current(L, "task:join");
	struct pv_task *task = check_task(L, "task:join");
	bool limited = !lua_isnoneornil(L, 2);
	uint64_t limit_ns = limited ? pv_arg_duration(L, 2, "task:join: timeout") : 0;
	struct pv_join *join;

	lua_settop(L, 2);
	if (task->state == PV_TASK_ENDED)
		return push_outcome(L, task);
	if (!limited && would_wait_for_itself(self, task))
		pv_raise(L, "task:join: the task waits for the task that joins it; this would never end");
	join = push_join(L, task, joined);
	if (limited)
		pv_timer_start(pv_script_of(L), &join->timer, limit_ns, &join->wait);
	return pv_await(L, &join->wait);
}

int pv_task_await_end(lua_State *L, struct pv_task *task, int (*then)(lua_State *L, struct pv_wait *wait))
{
	if (would_wait_for_itself(pv_task_current(L, "coroutine.resume"), task))
		pv_raise(L, "coroutine.resume: the coroutine waits for the one that resumes it; this would never end");
	return pv_await(L, &push_join(L, task, then)->wait);
}

static int task_status(lua_State *L)
{
	const struct pv_task *task = check_task(L, "task:status");
	const char *status = "running";

	if (task->state == PV_TASK_ENDED) {
		if (task->verdict == PV__VERDICT__VERDICT_PASSED)
			status = "done";
		else if (task->verdict == PV__VERDICT__VERDICT_INTERRUPTED)
			status = "cancelled";
		else
			status = "failed";
	}
	lua_pushstring(L, status);
	return 1;
}

static int task_tostring(lua_State *L)
{
	lua_pushfstring(L, "Task %d", (int)check_task(L, "Task")->id);
	return 1;
}

void pv_open_co(lua_State *L)
{
	static const luaL_Reg functions[] = { { "spawn", co_spawn }, { "wrap", co_wrap }, { NULL, NULL } };
	static const luaL_Reg methods[] = { { "join", task_join }, { "status", task_status }, { NULL, NULL } };
	static const luaL_Reg join_meta[] = { { "__gc", collect_join }, { NULL, NULL } };

	luaL_newlib(L, functions);
	lua_setglobal(L, "co");
	pv_new_type(L, PV_TASK_TYPE, "task", methods, task_tostring);
	luaL_newmetatable(L, JOIN_TYPE);
	luaL_setfuncs(L, join_meta, 0);
	lua_pop(L, 1);
}
