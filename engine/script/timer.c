#include "engine/script/timer.h"

#include <event2/event.h>
#include <stdio.h>

#include "engine/script/script_internal.h"

#define SLEEP_TYPE "provium.sleep"

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct pv_timer *timer = arg;

	(void)fd;
	(void)what;
	pv_wait_finish(timer->wait);
}

const char *pv_show_limit(uint64_t ns, char out[32])
{
	snprintf(out, 32, "%.10gs", (double)ns / 1e9);
	return out;
}

void pv_timer_start(struct pv_script *script, struct pv_timer *timer, uint64_t ns, struct pv_wait *wait)
{
	struct timeval after = {
		.tv_sec = (time_t)(ns / 1000000000u),
		.tv_usec = (suseconds_t)(ns % 1000000000u / 1000u),
	};

	timer->wait = wait;
	pv_show_limit(ns, timer->shown);
	timer->event = evtimer_new(pv_engine_base(script->engine), on_timer, timer);
	if (timer->event == NULL || evtimer_add(timer->event, &after) != 0)
		PV_BUG("a timer could not be added");
}

void pv_timer_stop(struct pv_timer *timer)
{
	if (timer->event != NULL)
		event_free(timer->event);
	timer->event = NULL;
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

void pv_sleep_here(lua_State *L, uint64_t ns)
{
	struct pv_wait *wait = pv_sleep_push(L, ns);

	pv_await_here(L, wait);
	withdraw(wait);
	lua_pop(L, 1);
}

void pv_open_wait(lua_State *L)
{
	luaL_newmetatable(L, SLEEP_TYPE);
	lua_pushcfunction(L, collect);
	lua_setfield(L, -2, "__gc");
	lua_pop(L, 1);
}
