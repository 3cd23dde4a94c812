/* math.random of a script draws from a stream of the file's own seed; math.randomseed() without arguments takes its new seed from that stream, not
 * from the clock. */
#include <lualib.h>

#include "engine/script/script_internal.h"

/* Upvalues: Lua's math.randomseed and math.random. */
static int random_seed(lua_State *L)
{
	int n = lua_gettop(L);

	if (lua_isnone(L, 1)) {
		for (n = 0; n < 2; n++) {
			lua_pushvalue(L, lua_upvalueindex(2));
			lua_pushinteger(L, 0);
			lua_call(L, 1, 1);
		}
	} else {
		luaL_checkinteger(L, 1);
		if (n > 1)
			luaL_checkinteger(L, 2);
	}
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_insert(L, 1);
	lua_call(L, n, LUA_MULTRET);
	return lua_gettop(L);
}

void pv_open_random(lua_State *L, uint64_t seed)
{
	lua_getglobal(L, LUA_MATHLIBNAME);
	lua_getfield(L, -1, "randomseed");
	lua_pushvalue(L, -1);
	lua_pushinteger(L, (lua_Integer)seed);
	lua_call(L, 1, 0);
	lua_getfield(L, -2, "random");
	lua_pushcclosure(L, random_seed, 2);
	lua_setfield(L, -2, "randomseed");
	lua_pop(L, 1);
}
