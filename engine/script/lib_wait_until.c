/* wait_until(pred, opts): polls a condition on the host's clock. */
#include <time.h>

#include "engine/script/args.h"
#include "engine/script/script_internal.h"
#include "engine/script/timer.h"

#define DEFAULT_TIMEOUT_NS  10000000000u
#define DEFAULT_INTERVAL_NS 100000000u

struct poll {
	uint64_t timeout_ns;
	uint64_t interval_ns;
	uint64_t deadline_ns;
};

/* The stack of wait_until. */
enum { PRED = 1, DESC, POLL, RESULT };

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int poll_on(lua_State *L, bool called);

static int slept(lua_State *L, struct pv_wait *wait)
{
	wait->withdraw(wait);
	return poll_on(L, false);
}

static int called_pred(lua_State *L, int status, lua_KContext ctx)
{
	(void)status;
	(void)ctx;
	return poll_on(L, true);
}

/* Nanoseconds until the next look. Raises at the deadline. */
static uint64_t until_next(lua_State *L)
{
	const struct poll *poll = lua_touserdata(L, POLL);
	uint64_t now = now_ns();
	char limit[32];

	if (now >= poll->deadline_ns) {
		pv_raise(L, "wait_until: %s not met within %s", lua_tostring(L, DESC),
		         pv_show_limit(poll->timeout_ns, limit));
	}
	return poll->deadline_ns - now < poll->interval_ns ? poll->deadline_ns - now : poll->interval_ns;
}

/* `called`: the predicate's result is on the stack already. */
static int poll_on(lua_State *L, bool called)
{
	for (;;) {
		uint64_t ns;

		if (!called) {
			lua_settop(L, POLL);
			lua_pushvalue(L, PRED);
			lua_callk(L, 0, 1, 0, called_pred);
		}
		called = false;
		if (lua_toboolean(L, RESULT))
			return 1;
		ns = until_next(L);
		if (lua_isyieldable(L)) {
			struct pv_wait *wait = pv_sleep_push(L, ns);

			wait->then = slept;
			return pv_await(L, wait);
		}
		pv_sleep_here(L, ns);
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
	struct poll poll;

	pv_task_current(L, "wait_until");
	if (lua_type(L, PRED) != LUA_TFUNCTION)
		pv_raise(L, "wait_until: a function is needed, got %s", luaL_typename(L, PRED));
	pv_arg_end(L, 2, "wait_until");
	lua_settop(L, 2);
	if (!lua_isnil(L, 2)) {
		pv_arg_table(L, 2, "wait_until: options");
		pv_check_keys(L, 2, "wait_until", keys);
	}
	poll.timeout_ns = duration_option(L, "timeout", "wait_until: timeout", DEFAULT_TIMEOUT_NS);
	poll.interval_ns = duration_option(L, "interval", "wait_until: interval", DEFAULT_INTERVAL_NS);
	poll.deadline_ns = now_ns() + poll.timeout_ns;
	if (lua_istable(L, 2) && pv_get_option(L, 2, "desc"))
		pv_arg_text(L, 3, "wait_until: desc");
	else
		lua_pushliteral(L, "condition");
	lua_replace(L, DESC);
	*(struct poll *)lua_newuserdatauv(L, sizeof(poll), 0) = poll;
	return poll_on(L, false);
}

void pv_open_wait_until(lua_State *L)
{
	lua_register(L, "wait_until", wait_until);
}
