/* Resuming a coroutine so that the engine's waits pass through it. */
#ifndef PV_SCRIPT_COROUTINE_H
#define PV_SCRIPT_COROUTINE_H

#include <lua.h>
#include <stdbool.h>

/* Resumes `co`, on whose stack are `n_args` arguments, until its Lua code yields, returns or raises. Returns the number of values now
 * on top of `L`, or -1 with the error value there. If `co` waits and `L` can yield, does not return but yields with `k` and `co` as
 * its context; `k` calls pv_coroutine_go_on(). */
int pv_coroutine_resume(lua_State *L, lua_State *co, int n_args, lua_KFunction k);
int pv_coroutine_go_on(lua_State *L, lua_State *co, lua_KFunction k);

/* coroutine.resume, which catches errors. */
bool pv_is_resume(lua_CFunction fn);

/* The coroutine that `L` waits with, while their task waits; NULL: it waits itself. */
lua_State *pv_coroutine_inner(lua_State *L);

#endif
