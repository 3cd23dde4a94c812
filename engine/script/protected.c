/* pcall and xpcall as Lua's, but a cancelled task cannot catch its cancellation. */
#include "engine/script/script_internal.h"

static bool is_cancelled(lua_State *L)
{
	const struct pv_task *task = pv_script_of(L)->running;

	return task != NULL && task->cancelled;
}

/* `first` is the index before the results of a success. */
static int finish(lua_State *L, int status, lua_KContext first)
{
	if (status == LUA_OK || status == LUA_YIELD)
		return lua_gettop(L) - (int)first;
	if (is_cancelled(L))
		pv_raise_cancelled(L);
	lua_pushboolean(L, false);
	lua_pushvalue(L, -2);
	return 2;
}

static int protected_call(lua_State *L)
{
	int status;

	luaL_checkany(L, 1);
	lua_pushboolean(L, true);
	lua_insert(L, 1);
	status = lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, 0, finish);
	return finish(L, status, 0);
}

/* Stands before the handler of xpcall, which a cancellation must not reach. */
static int handle(lua_State *L)
{
	if (is_cancelled(L))
		return 1;
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_insert(L, 1);
	lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
	return lua_gettop(L);
}

static int protected_call_with_handler(lua_State *L)
{
	int n_args = lua_gettop(L) - 2;
	int status;

	luaL_checktype(L, 2, LUA_TFUNCTION);
	lua_pushvalue(L, 2);
	lua_pushcclosure(L, handle, 1);
	lua_replace(L, 2);
	lua_pushboolean(L, true);
	lua_pushvalue(L, 1);
	lua_rotate(L, 3, 2);
	/* function, handler, true, function, arguments */
	status = lua_pcallk(L, n_args, LUA_MULTRET, 2, 2, finish);
	return finish(L, status, 2);
}

bool pv_is_protected_call(lua_CFunction fn)
{
	return fn == protected_call || fn == protected_call_with_handler;
}

void pv_open_protected(lua_State *L)
{
	lua_register(L, "pcall", protected_call);
	lua_register(L, "xpcall", protected_call_with_handler);
}
