/* lab.json, read for lab:restore. */
#include <stdlib.h>
#include <string.h>

#include "engine/script/host_file.h"
#include "engine/script/intake.h"
#include "engine/script/json.h"
#include "engine/script/lab_restore.h"
#include "engine/script/lab_tree.h"
#include "engine/script/script_internal.h"

#define FORMAT 1 /* of lab.json */

const struct pv_state *pv_restore_state(lua_State *L)
{
	return pv_engine_state(pv_script_of(L)->engine);
}

static void take_file(void *path, struct pv_intake *in)
{
	struct pv_buf text = { 0 };
	int error = pv_read_file(path, &text, NULL);

	if (error == 0)
		pv_intake_string(in, pv_buf_str(&text), text.len);
	else
		pv_intake_failed(in, path, error);
	pv_buf_free(&text);
}

/* Pushes the table that the text of lab.json in `dir` holds. */
void pv_restore_push_json(lua_State *L, const char *what, const char *dir)
{
	const char *path = lua_pushfstring(L, "%s/lab.json", dir);
	int at = lua_gettop(L);

	if (pv_intake(L, "lab:restore", at, take_file, (void *)path) > 1)
		pv_raise(L, "%s: %s", what, lua_tostring(L, -2));
	lua_pushcfunction(L, pv_json_decode);
	lua_insert(L, -2);
	if (lua_pcall(L, 1, 1, 0) != LUA_OK)
		pv_raise(L, "%s: %s: %s", what, path, lua_tostring(L, -1));
	if (!lua_istable(L, -1))
		pv_raise(L, "%s: %s: no lab snapshot: an object is expected", what, path);
	lua_getfield(L, -1, "format");
	if (!lua_isinteger(L, -1) || lua_tointeger(L, -1) != FORMAT)
		pv_raise(L, "%s: %s: format %s is not known, only %d", what, path, luaL_tolstring(L, -1, NULL), FORMAT);
	lua_pop(L, 1);
	lua_replace(L, at);
}

_Noreturn void pv_restore_damaged(lua_State *L, const struct pv_restore *plan, const char *reason)
{
	lua_getiuservalue(L, plan->at, PV_RESTORE_DIR);
	pv_raise(L, "%s: %s/lab.json is damaged: %s", plan->what, lua_tostring(L, -1), reason);
}

/* The text in a field of the table on top; belongs to the table. NULL: absent. */
const char *pv_restore_text(lua_State *L, const struct pv_restore *plan, const char *key)
{
	const char *text;
	size_t len;

	if (lua_getfield(L, -1, key) != LUA_TSTRING) {
		if (!lua_isnil(L, -1))
			pv_restore_damaged(L, plan, lua_pushfstring(L, "\"%s\" is no text", key));
		lua_pop(L, 1);
		return NULL;
	}
	text = lua_tolstring(L, -1, &len);
	if (strlen(text) != len)
		pv_restore_damaged(L, plan, lua_pushfstring(L, "\"%s\" holds a zero byte", key));
	lua_pop(L, 1);
	return text;
}

const char *pv_restore_need_text(lua_State *L, const struct pv_restore *plan, const char *key)
{
	const char *text = pv_restore_text(L, plan, key);

	if (text == NULL)
		pv_restore_damaged(L, plan, lua_pushfstring(L, "an entry has no \"%s\"", key));
	return text;
}

/* Pushes the array `key` of the index, and gives its length. */
size_t pv_restore_push_list(lua_State *L, const struct pv_restore *plan, const char *key)
{
	luaL_checkstack(L, 12, NULL);
	lua_getiuservalue(L, plan->at, PV_RESTORE_INDEX);
	if (lua_getfield(L, -1, key) != LUA_TTABLE)
		pv_restore_damaged(L, plan, lua_pushfstring(L, "\"%s\" is no list", key));
	lua_remove(L, -2);
	return lua_rawlen(L, -1);
}

/* Pushes entry `i` of the list on top. */
void pv_restore_push_entry(lua_State *L, const struct pv_restore *plan, size_t i)
{
	if (lua_rawgeti(L, -1, (lua_Integer)i + 1) != LUA_TTABLE)
		pv_restore_damaged(L, plan, "an entry is no object");
}

const char *pv_restore_push_path(lua_State *L, const struct pv_restore *plan, const char *file)
{
	lua_getiuservalue(L, plan->at, PV_RESTORE_DIR);
	lua_pushfstring(L, "%s/%s", lua_tostring(L, -1), file);
	lua_remove(L, -2);
	return lua_tostring(L, -1);
}

uint32_t pv_restore_find(lua_State *L, const struct pv_restore *plan, Pv__MemberKind kind, const char *lab,
                         const char *name)
{
	uint32_t id = pv_lab_tree_find(pv_restore_state(L), plan->lab, lab);

	return id != 0 ? pv_state_find_own(pv_restore_state(L), id, kind, name) : 0;
}
