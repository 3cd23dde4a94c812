#include "engine/script/json.h"
#include "engine/script/script_internal.h"

void pv_open_json(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{ "encode", pv_json_encode },
		{ "decode", pv_json_decode },
		{ NULL, NULL },
	};

	luaL_newmetatable(L, PV_JSON_ARRAY_TYPE);
	lua_pop(L, 1);
	luaL_newlib(L, functions);
	lua_setglobal(L, "json");
}
