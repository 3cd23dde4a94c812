/* The coroutine library, as Lua's but for one thing: when a coroutine gives up the processor for the engine, its resumer waits with it, and
 * resume returns only what Lua code yielded, returned or raised. */
#include <lualib.h>

#include "engine/script/co.h"
#include "engine/script/coroutine.h"
#include "engine/script/prompt_internal.h"
#include "engine/script/script_internal.h"

enum status { RUNNING, SUSPENDED, NORMAL, DEAD };

static const char *const status_names[] = { "running", "suspended", "normal", "dead" };

static enum status status_of(lua_State *L, lua_State *co)
{
	lua_Debug ar;

	if (L == co)
		return RUNNING;
	if (pv_thread_is_background(co)) {
		if (lua_status(co) == LUA_OK && !pv_thread_is_held(co) && lua_getstack(co, 0, &ar))
			return NORMAL;
		return pv_background_task(L, co)->cancelled ? DEAD : SUSPENDED;
	}
	if (pv_thread_is_held(co))
		return NORMAL;
	if (pv_thread_is_task(co))
		return lua_status(co) == LUA_YIELD || lua_getstack(co, 0, &ar) ? NORMAL : DEAD;
	switch (lua_status(co)) {
	case LUA_YIELD:
		return SUSPENDED;
	case LUA_OK:
		if (lua_getstack(co, 0, &ar))
			return NORMAL;
		return lua_gettop(co) == 0 ? DEAD : SUSPENDED;
	default:
		return DEAD;
	}
}

static lua_State *check_coroutine(lua_State *L)
{
	lua_State *co = lua_tothread(L, 1);

	luaL_argexpected(L, co != NULL, 1, "coroutine");
	return co;
}

/* ---- resume ---- */

static int error_of(lua_State *L, lua_State *co)
{
	if (lua_checkstack(L, 1))
		lua_xmove(co, L, 1);
	else
		luaL_error(L, "stack overflow");
	return -1;
}

/* Called where `L` cannot yield: waits with `co`, whose task gave up the processor. */
static void wait_here(lua_State *L, lua_State *co)
{
	struct pv_script *script = pv_script_of(L);
	struct pv_task *task = script->running;
	const char *trouble;

	if (script->yield == PV_YIELD_PREEMPT) {
		pv_task_turn_held(script);
		return;
	}
	trouble = pv_task_turn_until_done(task);
	if (trouble == NULL)
		return;
	task->wait->withdraw(task->wait);
	task->wait->task = NULL;
	task->wait = NULL;
	pv_thread_set_held(co, false);
	lua_resetthread(co);
	pv_raise(L, "%s", trouble);
}

static int resume_once(lua_State *L, lua_State *co, int n_args, int *n_results)
{
	struct pv_script *script = pv_script_of(L);
	struct pv_task *task = script->running;
	bool finalizer = !lua_isyieldable(L) && pv_in_finalizer(L);
	int status;

	if (task != NULL)
		pv_chain_push(task, co);
	script->finalizing += finalizer;
	script->yield = PV_YIELD_USER;
	status = lua_resume(co, L, n_args, n_results);
	script->finalizing -= finalizer;
	if (task != NULL)
		pv_chain_pop(task);
	return status;
}

static int resume_continued(lua_State *L, int status, lua_KContext co);
static int wrap_continued(lua_State *L, int status, lua_KContext co);

int pv_coroutine_resume(lua_State *L, lua_State *co, int n_args, lua_KFunction k)
{
	struct pv_script *script = pv_script_of(L);
	int n_results, status;

	for (;;) {
		status = resume_once(L, co, n_args, &n_results);
		if (status != LUA_YIELD || script->yield == PV_YIELD_USER || script->yield == PV_YIELD_BACKGROUND)
			break;
		pv_thread_set_held(co, true);
		if (lua_isyieldable(L))
			return lua_yieldk(L, 0, (lua_KContext)co, k);
		wait_here(L, co);
		pv_thread_set_held(co, false);
		n_args = 0;
	}
	if (status != LUA_OK && status != LUA_YIELD) {
		if (script->running != NULL && script->running->cancelled) {
			lua_resetthread(co);
			pv_raise_cancelled(L);
		}
		return error_of(L, co);
	}
	if (!lua_checkstack(L, n_results + 1)) {
		lua_pop(co, n_results);
		lua_pushliteral(L, "too many results to resume");
		return -1;
	}
	lua_xmove(co, L, n_results);
	return n_results;
}

int pv_coroutine_go_on(lua_State *L, lua_State *co, lua_KFunction k)
{
	pv_thread_set_held(co, false);
	return pv_coroutine_resume(L, co, 0, k);
}

static int start_resume(lua_State *L, lua_State *co, int n_args, lua_KFunction k)
{
	enum status status = status_of(L, co);

	if (status != SUSPENDED) {
		lua_pushfstring(L, "cannot resume %s coroutine", status == DEAD ? "dead" : "non-suspended");
		return -1;
	}
	if (!lua_checkstack(co, n_args)) {
		lua_pushliteral(L, "too many arguments to resume");
		return -1;
	}
	lua_xmove(L, co, n_args);
	return pv_coroutine_resume(L, co, n_args, k);
}

static int finish_resume(lua_State *L, int n)
{
	lua_pushboolean(L, n >= 0);
	if (n < 0)
		n = 1;
	lua_insert(L, -(n + 1));
	return n + 1;
}

static int resume_continued(lua_State *L, int status, lua_KContext ctx)
{
	lua_State *co = (lua_State *)ctx;

	(void)status;
	return finish_resume(L, pv_coroutine_go_on(L, co, resume_continued));
}

/* The task that is at work with the coroutine has ended. */
static int resume_fetched(lua_State *L, struct pv_wait *wait)
{
	wait->withdraw(wait);
	return finish_resume(L, pv_background_fetch(L, check_coroutine(L)));
}

static int co_resume(lua_State *L)
{
	lua_State *co = check_coroutine(L);

	if (status_of(L, co) == SUSPENDED && pv_thread_is_background(co)) {
		if (pv_background_task(L, co)->state != PV_TASK_ENDED)
			return pv_task_await_end(L, pv_background_task(L, co), resume_fetched);
		return finish_resume(L, pv_background_fetch(L, co));
	}
	return finish_resume(L, start_resume(L, co, lua_gettop(L) - 1, resume_continued));
}

_Noreturn static void raise_wrapped(lua_State *L, int status)
{
	if (status != LUA_ERRMEM && lua_type(L, -1) == LUA_TSTRING) {
		luaL_where(L, 1);
		lua_insert(L, -2);
		lua_concat(L, 2);
	}
	lua_error(L);
	__builtin_unreachable();
}

static int finish_wrap(lua_State *L, lua_State *co, int n)
{
	int status;

	if (n >= 0)
		return n;
	status = lua_status(co);
	if (status != LUA_OK && status != LUA_YIELD) {
		if (pv_script_of(L)->running != NULL)
			pv_prompt_at_error(pv_script_of(L)->running, co);
		/* The coroutine is over: close what it left open; an error in there replaces this one. */
		status = lua_resetthread(co);
		lua_xmove(co, L, 1);
	}
	raise_wrapped(L, status);
}

static int wrap_continued(lua_State *L, int status, lua_KContext ctx)
{
	lua_State *co = (lua_State *)ctx;

	(void)status;
	return finish_wrap(L, co, pv_coroutine_go_on(L, co, wrap_continued));
}

static int wrap_fetched(lua_State *L, struct pv_wait *wait)
{
	int n;

	if (wait != NULL)
		wait->withdraw(wait);
	n = pv_background_fetch(L, lua_tothread(L, lua_upvalueindex(1)));
	if (n < 0)
		raise_wrapped(L, LUA_ERRRUN);
	return n;
}

static int wrap_call(lua_State *L)
{
	lua_State *co = lua_tothread(L, lua_upvalueindex(1));

	if (status_of(L, co) == SUSPENDED && pv_thread_is_background(co)) {
		if (pv_background_task(L, co)->state != PV_TASK_ENDED)
			return pv_task_await_end(L, pv_background_task(L, co), wrap_fetched);
		return wrap_fetched(L, NULL);
	}
	return finish_wrap(L, co, start_resume(L, co, lua_gettop(L), wrap_continued));
}

bool pv_is_resume(lua_CFunction fn)
{
	return fn == co_resume;
}

/* The function at the top of a waiting thread is the one of these that resumed the inner one. */
lua_State *pv_coroutine_inner(lua_State *L)
{
	lua_State *co = NULL;
	lua_Debug ar;

	if (lua_status(L) != LUA_YIELD || !lua_checkstack(L, 2) || !lua_getstack(L, 0, &ar))
		return NULL;
	lua_getinfo(L, "f", &ar);
	if (lua_tocfunction(L, -1) == wrap_call) {
		lua_getupvalue(L, -1, 1);
		co = lua_tothread(L, -1);
		lua_pop(L, 1);
	} else if (lua_tocfunction(L, -1) == co_resume && lua_getlocal(L, &ar, 1) != NULL) {
		co = lua_tothread(L, -1);
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
	return co != NULL && pv_thread_is_held(co) ? co : NULL;
}

/* ---- the rest ---- */

static int co_create(lua_State *L)
{
	lua_State *co;

	luaL_checktype(L, 1, LUA_TFUNCTION);
	co = lua_newthread(L);
	lua_pushvalue(L, 1);
	lua_xmove(L, co, 1);
	return 1;
}

static int co_wrap(lua_State *L)
{
	co_create(L);
	lua_pushcclosure(L, wrap_call, 1);
	return 1;
}

static int co_yield (lua_State *L)
{
	if (pv_thread_is_task(L))
		return luaL_error(L, "attempt to yield from outside a coroutine");
	pv_script_of(L)->yield = PV_YIELD_USER;
	return lua_yield(L, lua_gettop(L));
}

static int co_status(lua_State *L)
{
	lua_pushstring(L, status_names[status_of(L, check_coroutine(L))]);
	return 1;
}

static int co_running(lua_State *L)
{
	bool is_main = lua_pushthread(L) != 0;

	lua_pushboolean(L, is_main || pv_thread_is_task(L));
	return 2;
}

static int co_isyieldable(lua_State *L)
{
	lua_State *co = lua_isnoneornil(L, 1) ? L : check_coroutine(L);

	lua_pushboolean(L, !pv_thread_is_task(co) && lua_isyieldable(co));
	return 1;
}

static int co_close(lua_State *L)
{
	lua_State *co = check_coroutine(L);
	const struct pv_task *task = pv_script_of(L)->running;
	enum status status = status_of(L, co);

	if (status != SUSPENDED && status != DEAD)
		return luaL_error(L, "cannot close a %s coroutine", status_names[status]);
	if (pv_thread_is_background(co)) {
		pv_task_cancel(pv_background_task(L, co));
		if (pv_background_task(L, co)->state != PV_TASK_ENDED) {
			lua_pushboolean(L, true); /* it ends with its task */
			return 1;
		}
		if (pv_background_fetch(L, co) < 0) {
			lua_pushboolean(L, false);
			lua_insert(L, -2);
			return 2;
		}
	}
	if (!pv_thread_is_task(co) && lua_resetthread(co) != LUA_OK) {
		if (task != NULL && task->cancelled)
			pv_raise_cancelled(L);
		lua_pushboolean(L, false);
		lua_xmove(co, L, 1);
		return 2;
	}
	lua_pushboolean(L, true);
	return 1;
}

void pv_open_coroutine(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{ "create", co_create }, { "wrap", co_wrap },
		{ "resume", co_resume }, { "yield", co_yield },
		{ "status", co_status }, { "running", co_running },
		{ "close", co_close },   { "isyieldable", co_isyieldable },
		{ NULL, NULL },
	};

	lua_getglobal(L, LUA_COLIBNAME);
	luaL_setfuncs(L, functions, 0);
	lua_pop(L, 1);
}
