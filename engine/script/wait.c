/* How a C function that Lua calls waits: by yielding its task, or, where Lua cannot yield, by turning the engine. */
#include "engine/script/prompt_internal.h"
#include "engine/script/script_internal.h"

/* Turns of the engine inside each other, over all scripts: each takes some KB of the C stack. */
#define NESTED_MAX 200

static unsigned nested;

/* Its address is the value a cancelled task is unwound with. */
static char cancelled_key;

void pv_raise_cancelled(lua_State *L)
{
	lua_pushlightuserdata(L, &cancelled_key);
	lua_error(L);
	__builtin_unreachable();
}

struct pv_task *pv_task_current(lua_State *L, const char *what)
{
	struct pv_script *script = pv_script_of(L);

	pv_prompt_refuse(L, what);
	if (script->closing || script->finalizing > 0 || (!lua_isyieldable(L) && pv_in_finalizer(L)))
		pv_raise(L, "%s: a finalizer (__gc) cannot call the lab", what);
	if (script->running == NULL)
		pv_raise(L, "%s: no task runs here, so nothing can wait", what);
	if (script->running->cancelled)
		pv_raise_cancelled(L);
	return script->running;
}

void pv_wait_finish(struct pv_wait *wait)
{
	wait->done = true;
	if (wait->task != NULL)
		pv_task_wake(wait->task);
}

/* The task runs again. Returns if the wait is done, raises if the task was cancelled. */
static void leave(lua_State *L, struct pv_wait *wait)
{
	struct pv_task *task = wait->task;

	task->wait = NULL;
	wait->task = NULL;
	if (task->cancelled) {
		wait->withdraw(wait);
		pv_raise_cancelled(L);
	}
	PV_ASSERT(wait->done);
}

static int resumed(lua_State *L, int status, lua_KContext ctx)
{
	struct pv_wait *wait = (struct pv_wait *)ctx;

	(void)status;
	leave(L, wait);
	return wait->then(L, wait);
}

static void nothing(void *arg)
{
	(void)arg;
}

const char *pv_task_turn_until_done(struct pv_task *task)
{
	struct pv_script *script = task->script;
	struct pv_deferred poke = { .run = nothing };
	const char *trouble = NULL;

	if (nested >= NESTED_MAX)
		return "too many calls wait where Lua cannot yield (inside string.gsub, table.sort, ...)";
	nested++;
	task->poke = &poke;
	pv_engine_set_busy(script->engine, script->file, false);
	while (!task->wait->done && !task->cancelled && trouble == NULL) {
		/* Those that were to run after this task in the same turn. */
		if (!TAILQ_EMPTY(&script->ready))
			pv_engine_defer(script->engine, &script->turn);
		pv_engine_turn(script->engine);
		if (pv_engine_failed(script->engine) != NULL)
			trouble = pv_engine_failed(script->engine)->text;
		else
			trouble = pv_engine_retrace_trouble(script->engine, script->file);
	}
	nested--;
	task->poke = NULL;
	pv_engine_undefer(script->engine, &poke);
	script->running = task;
	pv_engine_step(script->engine, script->file);
	return trouble;
}

void pv_task_turn_held(struct pv_script *script)
{
	struct pv_task *running = script->running;

	if (nested >= NESTED_MAX)
		return;
	nested++;
	script->held++;
	pv_engine_set_busy(script->engine, script->file, true);
	/* Keeps the turn from waiting for the world. */
	pv_engine_defer(script->engine, &script->turn);
	pv_engine_turn(script->engine);
	pv_engine_set_busy(script->engine, script->file, false);
	script->held--;
	nested--;
	script->running = running;
}

/* The running task waits from here on. */
static struct pv_task *enter(lua_State *L, struct pv_wait *wait)
{
	struct pv_task *task = pv_script_of(L)->running;

	wait->task = task;
	task->wait = wait;
	return task;
}

void pv_await_here(lua_State *L, struct pv_wait *wait)
{
	struct pv_task *task = enter(L, wait);
	const char *trouble = pv_task_turn_until_done(task);

	if (trouble != NULL) {
		task->wait = NULL;
		wait->task = NULL;
		wait->withdraw(wait);
		pv_raise(L, "%s", trouble);
	}
	leave(L, wait);
}

int pv_await(lua_State *L, struct pv_wait *wait)
{
	if (wait->done)
		return wait->then(L, wait);
	if (lua_isyieldable(L)) {
		enter(L, wait);
		pv_script_of(L)->yield = PV_YIELD_WAIT;
		return lua_yieldk(L, 0, (lua_KContext)wait, resumed);
	}
	pv_await_here(L, wait);
	return wait->then(L, wait);
}
