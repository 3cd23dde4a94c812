/* The standard library, without what would act on the whole runner instead of on one file.
 *
 *   gone        os.exit, os.setlocale (the process's), debug.sethook (the hook pre-empts), debug.debug, package.loadlib and C
 *               modules
 *   replaced    coroutine.*, pcall, xpcall, pairs, next, print, tostring, string.format, table.sort, math.randomseed, os.*, io.*,
 *               loadfile, dofile, the searcher of require (see their files), warn's output
 */
#include <lualib.h>

#include "engine/script/script_internal.h"

static void remove_fields(lua_State *L, const char *library, const char *const *names)
{
	lua_getglobal(L, library);
	for (size_t i = 0; names[i] != NULL; i++) {
		lua_pushnil(L);
		lua_setfield(L, -2, names[i]);
	}
	lua_pop(L, 1);
}

static void remove_c_modules(lua_State *L)
{
	lua_getglobal(L, LUA_LOADLIBNAME);
	lua_pushliteral(L, "");
	lua_setfield(L, -2, "cpath");
	lua_getfield(L, -1, "searchers");
	/* 3 and 4 look for C libraries. */
	for (int i = 4; i >= 3; i--) {
		lua_pushnil(L);
		lua_rawseti(L, -2, i);
	}
	lua_pop(L, 2);
}

void pv_open_base(lua_State *L)
{
	static const char *const os_names[] = { "exit", "setlocale", NULL };
	static const char *const debug_names[] = { "sethook", "debug", NULL };
	static const char *const package_names[] = { "loadlib", NULL };

	luaL_openlibs(L);
	remove_fields(L, LUA_OSLIBNAME, os_names);
	remove_fields(L, LUA_DBLIBNAME, debug_names);
	remove_fields(L, LUA_LOADLIBNAME, package_names);
	remove_c_modules(L);
}
