/* The Bridge of scripts. */
#include "engine/script/args.h"
#include "engine/script/handles.h"
#include "engine/script/script_internal.h"

static int bridge_name(lua_State *L)
{
	if (luaL_testudata(L, 1, PV_BRIDGE_TYPE) == NULL)
		pv_raise(L, "bridge:name: call it with a colon on a Bridge, got %s", luaL_typename(L, 1));
	pv_push_handle_name(L, 1);
	return 1;
}

static int bridge_tostring(lua_State *L)
{
	lua_pushliteral(L, "Bridge ");
	pv_push_handle_name(L, 1);
	lua_concat(L, 2);
	return 1;
}

void pv_open_bridge(lua_State *L)
{
	static const luaL_Reg methods[] = { { "name", bridge_name }, { NULL, NULL } };

	pv_new_type(L, PV_BRIDGE_TYPE, "bridge", methods, bridge_tostring);
}
