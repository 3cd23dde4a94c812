#include "engine/script/timer.h"

#include <stdio.h>

#include "engine/script/script_internal.h"

#define SLEEP_TYPE "provium.sleep"

static void fired(void *arg)
{
	pv_wait_finish(arg);
}

const char *pv_show_limit(uint64_t ns, char out[32])
{
	snprintf(out, 32, "%.10gs", (double)ns / 1e9);
	return out;
}

void pv_timer_start(struct pv_script *script, struct pv_timer *timer, uint64_t ns, struct pv_wait *wait)
{
	pv_show_limit(ns, timer->shown);
	pv_engine_timer_start(script->engine, &timer->timer, script->file, ns, false, fired, wait);
}

void pv_timer_stop(struct pv_timer *timer)
{
	pv_engine_timer_stop(&timer->timer);
}

uint64_t pv_limit_left(lua_State *L, const struct pv_limit *limit)
{
	struct pv_script *script = pv_script_of(L);
	uint64_t now = pv_engine_file_ns(script->engine, script->file);

	if (limit->deadline_ns == 0)
		return limit->ns;
	return limit->deadline_ns > now ? limit->deadline_ns - now : 0;
}

void pv_limit_begin(struct pv_limit *limit, uint64_t started_ns)
{
	if (limit->deadline_ns == 0)
		limit->deadline_ns = started_ns + limit->ns;
}

/* ---- sleeping ---- */

struct sleep {
	struct pv_wait wait;
	struct pv_timer timer;
};

static void withdraw(struct pv_wait *wait)
{
	pv_timer_stop(&((struct sleep *)wait)->timer);
}

bool pv_wait_is_timer(const struct pv_wait *wait)
{
	return wait->withdraw == withdraw;
}

static int slept(lua_State *L, struct pv_wait *wait)
{
	(void)L;
	withdraw(wait);
	return 0;
}

static int collect(lua_State *L)
{
	withdraw(lua_touserdata(L, 1));
	return 0;
}

struct pv_wait *pv_sleep_push(lua_State *L, uint64_t ns)
{
	struct sleep *sleep = lua_newuserdatauv(L, sizeof(*sleep), 0);

	*sleep = (struct sleep){ .wait = { .withdraw = withdraw, .then = slept } };
	luaL_setmetatable(L, SLEEP_TYPE);
	pv_timer_start(pv_script_of(L), &sleep->timer, ns, &sleep->wait);
	return &sleep->wait;
}

void pv_open_wait(lua_State *L)
{
	luaL_newmetatable(L, SLEEP_TYPE);
	lua_pushcfunction(L, collect);
	lua_setfield(L, -2, "__gc");
	lua_pop(L, 1);
}
