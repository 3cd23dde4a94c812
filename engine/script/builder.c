/* Scripts that build a fixture: no tests; the main chunk returns a snapshot; what they take in is told. */
#include <stdlib.h>

#include "engine/script/builder.h"
#include "engine/script/saw.h"
#include "engine/script/script_internal.h"
#include "engine/script/snapshot.h"
#include "proto/mem.h"

void pv_script_saw(struct pv_script *script, enum pv_script_saw what, const char *given, const char *path)
{
	if (script->builds && script->builder.saw != NULL)
		script->builder.saw(script->builder.arg, what, given, path);
}

const char *pv_script_built(const struct pv_script *script)
{
	return script->built;
}

/* ---- no tests ---- */

/* Upvalue: the name. */
static int raise_no_test(lua_State *L)
{
	pv_raise(L, "%s: a fixture has no tests: it makes a snapshot and returns it",
	         lua_tostring(L, lua_upvalueindex(1)));
}

void pv_open_builder(lua_State *L)
{
	static const char *const names[] = { "test", "todo" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		lua_pushstring(L, names[i]);
		lua_pushcclosure(L, raise_no_test, 1);
		lua_setglobal(L, names[i]);
	}
}

/* ---- what the chunk returns ---- */

static const char *type_name(lua_State *L, int idx)
{
	const char *name = luaL_typename(L, idx);

	if (luaL_getmetafield(L, idx, "__name") == LUA_TSTRING)
		name = lua_tostring(L, -1);
	return name;
}

/* The values that the chunk has returned are on the stack. */
static int take(lua_State *L)
{
	struct pv_script *script = pv_script_of(L);
	bool is_lab = script->builder.is_lab;
	const char *path;

	lua_settop(L, 1);
	path = is_lab ? pv_lab_snapshot_handle_path(L, 1) : pv_snapshot_handle_path(L, 1);
	if (path == NULL)
		luaL_error(L, "%s: the chunk must return a %s, not a %s", script->shown_path,
		           is_lab ? "LabSnapshot (return provium:snapshot())" : "Snapshot (return vm:snapshot())",
		           type_name(L, 1));
	free(script->built);
	script->built = pv_xstrdup(path);
	return 0;
}

static int taken(lua_State *L, int status, lua_KContext ctx)
{
	(void)status;
	(void)ctx;
	return take(L);
}

/* Upvalue: the chunk. */
static int call_chunk(lua_State *L)
{
	lua_settop(L, 0);
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_callk(L, 0, 1, 0, taken);
	return take(L);
}

void pv_builder_wrap_chunk(lua_State *L)
{
	lua_pushcclosure(L, call_chunk, 1);
}
