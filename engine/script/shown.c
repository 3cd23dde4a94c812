/* tostring, print and string.format with ids instead of addresses. */
#include "engine/script/shown.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lualib.h>

#include "engine/script/intake.h"
#include "engine/script/script_internal.h"

/* In the registry: object -> id, keys weak. */
static char ids_key;

void pv_push_id(lua_State *L, int idx)
{
	struct pv_script *script = pv_script_of(L);
	char text[32];

	luaL_checkstack(L, 5, NULL);
	idx = lua_absindex(L, idx);
	lua_rawgetp(L, LUA_REGISTRYINDEX, &ids_key);
	lua_pushvalue(L, idx);
	if (lua_rawget(L, -2) == LUA_TNIL) {
		lua_pop(L, 1);
		lua_pushvalue(L, idx);
		lua_pushinteger(L, (lua_Integer)script->n_shown + 1);
		lua_rawset(L, -3);
		script->n_shown++;
		lua_pushinteger(L, (lua_Integer)script->n_shown);
	}
	snprintf(text, sizeof(text), "0x%08llx", (unsigned long long)lua_tointeger(L, -1));
	lua_pop(L, 2);
	lua_pushstring(L, text);
}

void pv_shown_forget(struct pv_script *script, uint64_t n)
{
	lua_State *L = script->L;

	if (script->n_shown == n)
		return;
	/* Keys that are there: nothing is allocated. */
	lua_rawgetp(L, LUA_REGISTRYINDEX, &ids_key);
	for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
		if ((uint64_t)lua_tointeger(L, -1) <= n)
			continue;
		lua_pushvalue(L, -2);
		lua_pushnil(L);
		lua_rawset(L, -5);
	}
	lua_pop(L, 1);
	script->n_shown = n;
}

static bool is_object(lua_State *L, int idx)
{
	int type = lua_type(L, idx);

	return type == LUA_TTABLE || type == LUA_TFUNCTION || type == LUA_TUSERDATA || type == LUA_TLIGHTUSERDATA ||
	       type == LUA_TTHREAD;
}

const char *pv_tolstring(lua_State *L, int idx, size_t *len)
{
	const char *kind;

	luaL_checkstack(L, 4, NULL);
	idx = lua_absindex(L, idx);
	if (!is_object(L, idx))
		return luaL_tolstring(L, idx, len);
	if (luaL_getmetafield(L, idx, "__tostring") != LUA_TNIL) {
		lua_pop(L, 1);
		return luaL_tolstring(L, idx, len);
	}
	kind = luaL_typename(L, idx);
	if (luaL_getmetafield(L, idx, "__name") == LUA_TNIL)
		lua_pushstring(L, kind);
	else if (lua_type(L, -1) != LUA_TSTRING)
		lua_pushstring(L, kind), lua_remove(L, -2);
	lua_pushliteral(L, ": ");
	pv_push_id(L, idx);
	lua_concat(L, 3);
	return lua_tolstring(L, -1, len);
}

/* ---- tostring, print ---- */

static int base_tostring(lua_State *L)
{
	luaL_checkany(L, 1);
	pv_tolstring(L, 1, NULL);
	return 1;
}

static int base_print(lua_State *L)
{
	int n = lua_gettop(L);
	luaL_Buffer line;
	const char *text;
	size_t len;

	for (int i = 1; i <= n; i++) {
		pv_tolstring(L, i, NULL);
		lua_replace(L, i);
	}
	luaL_buffinit(L, &line);
	for (int i = 1; i <= n; i++) {
		if (i > 1)
			luaL_addchar(&line, '\t');
		lua_pushvalue(L, i);
		luaL_addvalue(&line);
	}
	luaL_addchar(&line, '\n');
	luaL_pushresult(&line);
	text = lua_tolstring(L, -1, &len);
	pv_script_print(L, text, len);
	return 0;
}

void pv_script_print(lua_State *L, const char *text, size_t len)
{
	FILE *out = pv_script_of(L)->output_to_stderr ? stderr : stdout;

	if (pv_is_again(L))
		return;
	fwrite(text, 1, len, out);
	fflush(out);
}

/* ---- string.format ---- */

/* The letter of the directive that begins behind a '%' at `at`; `end` if it is cut off. */
static char *directive_letter(char *at, const char *end)
{
	while (at < end && strchr("-+ #0123456789.", *at) != NULL && *at != '\0')
		at++;
	return at;
}

/* "%p" becomes "%s", of a text. */
static void show_pointer(lua_State *L, int idx, char *letter)
{
	if (is_object(L, idx) || lua_type(L, idx) == LUA_TSTRING)
		pv_push_id(L, idx);
	else
		lua_pushliteral(L, "(null)");
	lua_replace(L, idx);
	*letter = 's';
}

/* Turns the arguments that would be shown with their addresses into texts. The format is the argument at `arg`. */
static void show_arguments(lua_State *L, int arg, char *format, size_t len)
{
	char *at = format, *end = format + len;

	while ((at = memchr(at, '%', (size_t)(end - at))) != NULL) {
		char *letter = directive_letter(at + 1, end);

		if (letter == end)
			return;
		at = letter + 1;
		if (*letter == '%' || ++arg > lua_gettop(L))
			continue;
		if (*letter == 's' && is_object(L, arg)) {
			pv_tolstring(L, arg, NULL);
			lua_replace(L, arg);
		} else if (*letter == 'p') {
			show_pointer(L, arg, letter);
		}
	}
}

static bool needs_ids(lua_State *L, const char *format, size_t len)
{
	for (int i = 2; i <= lua_gettop(L); i++)
		if (is_object(L, i))
			return true;
	return memchr(format, 'p', len) != NULL;
}

/* Lua's function has no place in the source to name, and not its own name either, as it is called from here. */
static int raise_as_own(lua_State *L)
{
	const char *text = lua_tostring(L, -1), *reason;
	char *end;
	long arg;

	if (lua_type(L, -1) != LUA_TSTRING)
		return lua_error(L);
	if (strncmp(text, "bad argument #", 14) == 0 && (reason = strstr(text, " (")) != NULL) {
		arg = strtol(text + 14, &end, 10);
		lua_pushlstring(L, reason + 2, strlen(reason) - 3);
		return luaL_argerror(L, (int)arg, lua_tostring(L, -1));
	}
	luaL_where(L, 1);
	lua_insert(L, -2);
	lua_concat(L, 2);
	return lua_error(L);
}

/* Upvalue: Lua's string.format. */
static int string_format(lua_State *L)
{
	size_t len;
	const char *format = luaL_checklstring(L, 1, &len);

	if (needs_ids(L, format, len)) {
		/* A copy that can be changed, below the arguments. */
		char *copy = memcpy(lua_newuserdatauv(L, len + 1, 0), format, len + 1);

		lua_insert(L, 1);
		show_arguments(L, 2, copy, len);
		lua_pushlstring(L, copy, len);
		lua_replace(L, 2);
		lua_remove(L, 1);
	}
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_insert(L, 1);
	if (lua_pcall(L, lua_gettop(L) - 1, 1, 0) != LUA_OK)
		return raise_as_own(L);
	return 1;
}

void pv_open_shown(lua_State *L)
{
	lua_newtable(L);
	lua_createtable(L, 0, 1);
	lua_pushliteral(L, "k");
	lua_setfield(L, -2, "__mode");
	lua_setmetatable(L, -2);
	lua_rawsetp(L, LUA_REGISTRYINDEX, &ids_key);
	lua_register(L, "tostring", base_tostring);
	lua_register(L, "print", base_print);
	lua_getglobal(L, LUA_STRLIBNAME);
	lua_getfield(L, -1, "format");
	lua_pushcclosure(L, string_format, 1);
	lua_setfield(L, -2, "format");
	lua_pop(L, 1);
}
