#include "engine/script/args.h"

#include <math.h>
#include <string.h>

#include "engine/core/units.h"
#include "engine/script/keys.h"
#include "engine/script/script_internal.h"
#include "engine/script/shown.h"

#define DURATION_MAX_S 1e9 /* about 31 years */

_Noreturn static void wrong_type(lua_State *L, int idx, const char *what, const char *wanted)
{
	pv_raise(L, "%s: %s expected, got %s", what, wanted, lua_isnone(L, idx) ? "nothing" : luaL_typename(L, idx));
}

uint64_t pv_arg_duration(lua_State *L, int idx, const char *what)
{
	struct pv_errmsg msg;
	uint64_t ns;
	double seconds;

	if (lua_type(L, idx) == LUA_TSTRING) {
		size_t len;
		const char *text = lua_tolstring(L, idx, &len);

		if (strlen(text) != len)
			pv_raise(L, "%s: bad timeout string \"%s\": it holds a zero byte", what, text);
		if (pv_parse_duration(text, false, &ns, &msg) != PV_OK)
			pv_raise(L, "%s: %s", what, msg.text);
		return ns;
	}
	if (lua_type(L, idx) != LUA_TNUMBER)
		wrong_type(L, idx, what, "seconds or a string such as \"500ms\"");
	seconds = lua_tonumber(L, idx);
	if (isnan(seconds) || seconds < 0 || seconds > DURATION_MAX_S) {
		lua_pushvalue(L, idx);
		pv_raise(L, "%s: bad timeout %s: seconds from 0 to 1e9 are accepted", what, lua_tostring(L, -1));
	}
	return (uint64_t)llround(seconds * 1e9);
}

uint64_t pv_arg_size(lua_State *L, int idx, const char *what)
{
	struct pv_errmsg msg;
	uint64_t bytes;
	lua_Integer value;

	if (lua_type(L, idx) == LUA_TSTRING) {
		if (pv_parse_size(pv_arg_text(L, idx, what), &bytes, &msg) != PV_OK)
			pv_raise(L, "%s: %s", what, msg.text);
		return bytes;
	}
	if (lua_type(L, idx) != LUA_TNUMBER)
		wrong_type(L, idx, what, "bytes or a string such as \"512M\"");
	value = pv_arg_integer(L, idx, what);
	if (value < 0)
		pv_raise(L, "%s: %I is negative", what, (LUAI_UACINT)value);
	return (uint64_t)value;
}

lua_Integer pv_arg_integer(lua_State *L, int idx, const char *what)
{
	lua_Integer value;
	int exact;

	if (lua_type(L, idx) != LUA_TNUMBER)
		wrong_type(L, idx, what, "an integer");
	value = lua_tointegerx(L, idx, &exact);
	if (!exact) {
		lua_pushvalue(L, idx);
		pv_raise(L, "%s: an integer expected, got %s", what, lua_tostring(L, -1));
	}
	return value;
}

bool pv_arg_bool(lua_State *L, int idx, const char *what)
{
	if (lua_type(L, idx) != LUA_TBOOLEAN)
		wrong_type(L, idx, what, "true or false");
	return lua_toboolean(L, idx);
}

const char *pv_arg_bytes(lua_State *L, int idx, const char *what, size_t *len)
{
	if (lua_type(L, idx) != LUA_TSTRING)
		wrong_type(L, idx, what, "a string");
	return lua_tolstring(L, idx, len);
}

const char *pv_arg_text(lua_State *L, int idx, const char *what)
{
	size_t len;
	const char *text = pv_arg_bytes(L, idx, what, &len);

	if (strlen(text) != len)
		pv_raise(L, "%s: \"%s\" is followed by a zero byte", what, text);
	return text;
}

const char *pv_arg_text_or(lua_State *L, int idx, const char *what, const char *fallback)
{
	return lua_isnoneornil(L, idx) ? fallback : pv_arg_text(L, idx, what);
}

void pv_arg_table(lua_State *L, int idx, const char *what)
{
	if (lua_type(L, idx) != LUA_TTABLE)
		wrong_type(L, idx, what, "a table");
}

void pv_arg_end(lua_State *L, int last, const char *what)
{
	for (int idx = lua_gettop(L); idx > last; idx--)
		if (!lua_isnil(L, idx))
			pv_raise(L, "%s: too many arguments", what);
}

/* Raises if the key on top of the stack is not one of `keys`. */
static void check_key(lua_State *L, const char *what, const char *const *keys)
{
	const char *key, *near;
	size_t i = 0;

	if (lua_type(L, -1) != LUA_TSTRING) {
		pv_tolstring(L, -1, NULL);
		pv_raise(L, "%s: unknown option [%s]: options have names", what, lua_tostring(L, -1));
	}
	key = lua_tostring(L, -1);
	while (keys[i] != NULL && strcmp(keys[i], key) != 0)
		i++;
	if (keys[i] != NULL)
		return;
	near = pv_nearest(key, keys);
	if (near != NULL)
		pv_raise(L, "%s: unknown option \"%s\" (did you mean \"%s\"?)", what, key, near);
	pv_raise(L, "%s: unknown option \"%s\"", what, key);
}

/* In order, so that of several wrong keys the same one is named each time. */
void pv_check_keys(lua_State *L, int idx, const char *what, const char *const *keys)
{
	int snapshot;

	pv_keys_push(L, idx, NULL);
	snapshot = lua_gettop(L);
	while (pv_keys_next(L, snapshot, idx)) {
		lua_pop(L, 1);
		check_key(L, what, keys);
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
}

bool pv_get_option(lua_State *L, int idx, const char *key)
{
	lua_pushstring(L, key);
	if (lua_rawget(L, idx) != LUA_TNIL)
		return true;
	lua_pop(L, 1);
	return false;
}

/* ---- types ---- */

/* Upvalues: the methods, the object's name in messages. */
static int find_method(lua_State *L)
{
	lua_pushvalue(L, 2);
	if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL)
		return 1;
	pv_tolstring(L, 2, NULL);
	pv_raise(L, "%s:%s: no such method", lua_tostring(L, lua_upvalueindex(2)), lua_tostring(L, -1));
}

static int refuse_assignment(lua_State *L)
{
	pv_tolstring(L, 2, NULL);
	pv_raise(L, "%s.%s: cannot be assigned", lua_tostring(L, lua_upvalueindex(1)), lua_tostring(L, -1));
}

void pv_new_type(lua_State *L, const char *type, const char *object, const luaL_Reg *methods, lua_CFunction to_string)
{
	luaL_newmetatable(L, type);
	lua_newtable(L);
	luaL_setfuncs(L, methods, 0);
	lua_pushstring(L, object);
	lua_pushcclosure(L, find_method, 2);
	lua_setfield(L, -2, "__index");
	lua_pushstring(L, object);
	lua_pushcclosure(L, refuse_assignment, 1);
	lua_setfield(L, -2, "__newindex");
	lua_pushcfunction(L, to_string);
	lua_setfield(L, -2, "__tostring");
	lua_pop(L, 1);
}
