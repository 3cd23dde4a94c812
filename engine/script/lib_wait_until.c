/* wait_until(pred, opts): polls a condition on the host's clock. */
#include "engine/script/args.h"
#include "engine/script/script_internal.h"
#include "engine/script/timer.h"

#define DEFAULT_TIMEOUT_NS  10000000000u
#define DEFAULT_INTERVAL_NS 100000000u

#define POLL_TYPE "provium.poll"

struct poll {
	uint64_t interval_ns;
	struct pv_timer timeout;
	bool over;                /* the time is up */
	struct pv_wait *sleeping; /* until the next look; NULL: not now */
};

/* The stack of wait_until. */
enum { PRED = 1, DESC, POLL, RESULT };

static int poll_on(lua_State *L, bool called);

static void time_is_up(void *arg)
{
	struct poll *poll = arg;

	poll->over = true;
	if (poll->sleeping != NULL)
		pv_wait_finish(poll->sleeping);
}

static int collect(lua_State *L)
{
	pv_timer_stop(&((struct poll *)lua_touserdata(L, 1))->timeout);
	return 0;
}

static int slept(lua_State *L, struct pv_wait *wait)
{
	struct poll *poll = lua_touserdata(L, POLL);

	poll->sleeping = NULL;
	wait->withdraw(wait);
	return poll_on(L, false);
}

static int called_pred(lua_State *L, int status, lua_KContext ctx)
{
	(void)status;
	(void)ctx;
	return poll_on(L, true);
}

/* `called`: the predicate's result is on the stack already. */
static int poll_on(lua_State *L, bool called)
{
	struct poll *poll = lua_touserdata(L, POLL);

	for (;;) {
		struct pv_wait *wait;

		if (!called) {
			lua_settop(L, POLL);
			lua_pushvalue(L, PRED);
			lua_callk(L, 0, 1, 0, called_pred);
		}
		called = false;
		if (lua_toboolean(L, RESULT)) {
			pv_timer_stop(&poll->timeout);
			return 1;
		}
		if (poll->over)
			pv_raise(L, "wait_until: %s not met within %s", lua_tostring(L, DESC), poll->timeout.shown);
		wait = pv_sleep_push(L, poll->interval_ns);
		poll->sleeping = wait;
		if (lua_isyieldable(L)) {
			wait->then = slept;
			return pv_await(L, wait);
		}
		pv_await_here(L, wait);
		poll->sleeping = NULL;
		wait->withdraw(wait);
		lua_pop(L, 1);
	}
}

static uint64_t duration_option(lua_State *L, const char *key, const char *what, uint64_t fallback)
{
	uint64_t ns;

	if (!lua_istable(L, 2) || !pv_get_option(L, 2, key))
		return fallback;
	ns = pv_arg_duration(L, lua_gettop(L), what);
	lua_pop(L, 1);
	return ns;
}

static int wait_until(lua_State *L)
{
	static const char *const keys[] = { "timeout", "interval", "desc", NULL };
	struct pv_script *script = pv_script_of(L);
	uint64_t timeout_ns, interval_ns;
	struct poll *poll;

	pv_task_current(L, "wait_until");
	if (lua_type(L, PRED) != LUA_TFUNCTION)
		pv_raise(L, "wait_until: a function is needed, got %s", luaL_typename(L, PRED));
	pv_arg_end(L, 2, "wait_until");
	lua_settop(L, 2);
	if (!lua_isnil(L, 2)) {
		pv_arg_table(L, 2, "wait_until: options");
		pv_check_keys(L, 2, "wait_until", keys);
	}
	timeout_ns = duration_option(L, "timeout", "wait_until: timeout", DEFAULT_TIMEOUT_NS);
	interval_ns = duration_option(L, "interval", "wait_until: interval", DEFAULT_INTERVAL_NS);
	if (lua_istable(L, 2) && pv_get_option(L, 2, "desc"))
		pv_arg_text(L, 3, "wait_until: desc");
	else
		lua_pushliteral(L, "condition");
	lua_replace(L, DESC);
	poll = lua_newuserdatauv(L, sizeof(*poll), 0);
	*poll = (struct poll){ .interval_ns = interval_ns, .over = timeout_ns == 0 };
	luaL_setmetatable(L, POLL_TYPE);
	pv_show_limit(timeout_ns, poll->timeout.shown);
	pv_engine_timer_start(script->engine, &poll->timeout.timer, script->file, timeout_ns, false, time_is_up, poll);
	return poll_on(L, false);
}

void pv_open_wait_until(lua_State *L)
{
	luaL_newmetatable(L, POLL_TYPE);
	lua_pushcfunction(L, collect);
	lua_setfield(L, -2, "__gc");
	lua_pop(L, 1);
	lua_register(L, "wait_until", wait_until);
}
