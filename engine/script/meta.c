/* Test metadata: a Lua table as a Value. First everything is checked, which may raise; then it is built, which cannot. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/script/keys.h"
#include "engine/script/script_internal.h"
#include "engine/script/tests.h"
#include "engine/script/text.h"
#include "proto/mem.h"

#define DEPTH_MAX 32

/* ---- check ---- */

static void check_value(lua_State *L, int idx, const char *what, int depth);

/* {[1] = a, ["1"] = b} would give two entries of one name. */
static void check_key(lua_State *L, int table, int key, const char *what)
{
	if (lua_type(L, key) == LUA_TSTRING)
		return;
	if (!lua_isinteger(L, key))
		pv_raise(L, "%s: a key is a %s; keys are strings or integers", what, luaL_typename(L, key));
	lua_pushvalue(L, key);
	lua_tostring(L, -1);
	if (lua_rawget(L, table) != LUA_TNIL)
		pv_raise(L, "%s: the key %I stands there as a number and as a string", what,
		         (LUAI_UACINT)lua_tointeger(L, key));
	lua_pop(L, 1);
}

/* In order, so that of several faults the same one is told each time. */
static void check_table(lua_State *L, int idx, const char *what, int depth)
{
	int snapshot;

	if (depth > DEPTH_MAX)
		pv_raise(L, "%s: nested more than %d deep, or a cycle", what, DEPTH_MAX);
	luaL_checkstack(L, 8, what);
	pv_keys_push(L, idx, NULL);
	snapshot = lua_gettop(L);
	while (pv_keys_next(L, snapshot, idx)) {
		check_key(L, idx, lua_gettop(L) - 1, what);
		check_value(L, lua_gettop(L), what, depth);
		lua_pop(L, 2);
	}
	lua_pop(L, 1);
}

static void check_value(lua_State *L, int idx, const char *what, int depth)
{
	switch (lua_type(L, idx)) {
	case LUA_TNIL:
	case LUA_TBOOLEAN:
	case LUA_TNUMBER:
	case LUA_TSTRING:
		return;
	case LUA_TTABLE:
		check_table(L, idx, what, depth + 1);
		return;
	default:
		pv_raise(L, "%s: holds a %s, which metadata cannot", what, luaL_typename(L, idx));
	}
}

/* ---- build ---- */

static Pv__Value *build_value(lua_State *L, int idx);

static Pv__Value *new_value(Pv__Value__KindCase kind)
{
	Pv__Value *value = pv_xmalloc(sizeof(*value));

	pv__value__init(value);
	value->kind_case = kind;
	return value;
}

static Pv__Value *build_string(lua_State *L, int idx)
{
	size_t len;
	const char *bytes = lua_tolstring(L, idx, &len);
	Pv__Value *value;

	if (memchr(bytes, '\0', len) == NULL && pv_utf8_valid(bytes, len)) {
		value = new_value(PV__VALUE__KIND_TEXT);
		value->text = pv_xstrdup(bytes);
		return value;
	}
	value = new_value(PV__VALUE__KIND_BYTES);
	value->bytes.data = pv_xmemdup(bytes, len);
	value->bytes.len = len;
	return value;
}

/* Counts the entries; true if the keys are 1 to n. */
static bool is_array(lua_State *L, int idx, size_t *n)
{
	bool array = true;

	*n = 0;
	lua_pushnil(L);
	while (lua_next(L, idx) != 0) {
		lua_pop(L, 1);
		array = array && lua_type(L, -1) == LUA_TNUMBER;
		++*n;
	}
	/* n integer keys are 1 to n if each of these is there. */
	for (size_t i = 1; array && i <= *n; i++) {
		array = lua_rawgeti(L, idx, (lua_Integer)i) != LUA_TNIL;
		lua_pop(L, 1);
	}
	return array && *n > 0;
}

static Pv__Value *build_list(lua_State *L, int idx, size_t n)
{
	Pv__Value *value = new_value(PV__VALUE__KIND_LIST);
	Pv__ValueList *list = pv_xmalloc(sizeof(*list));

	pv__value_list__init(list);
	list->n_items = n;
	list->items = pv_xcalloc(n, sizeof(*list->items));
	for (size_t i = 0; i < n; i++) {
		lua_rawgeti(L, idx, (lua_Integer)i + 1);
		list->items[i] = build_value(L, lua_gettop(L));
		lua_pop(L, 1);
	}
	value->list = list;
	return value;
}

static int by_key(const void *a, const void *b)
{
	return strcmp((*(Pv__ValueEntry *const *)a)->key, (*(Pv__ValueEntry *const *)b)->key);
}

static Pv__ValueEntry *build_entry(lua_State *L, int key)
{
	Pv__ValueEntry *entry = pv_xmalloc(sizeof(*entry));

	pv__value_entry__init(entry);
	if (lua_type(L, key) == LUA_TSTRING) {
		size_t len;
		const char *name = lua_tolstring(L, key, &len);

		entry->key = pv_printable(name, len);
	} else {
		entry->key = pv_xasprintf("%" PRId64, (int64_t)lua_tointeger(L, key));
	}
	entry->value = build_value(L, key + 1);
	return entry;
}

static Pv__Value *build_map(lua_State *L, int idx, size_t n)
{
	Pv__Value *value = new_value(PV__VALUE__KIND_MAP);
	Pv__ValueMap *map = pv_xmalloc(sizeof(*map));

	pv__value_map__init(map);
	map->entries = pv_xcalloc(n + 1, sizeof(*map->entries));
	lua_pushnil(L);
	while (lua_next(L, idx) != 0) {
		map->entries[map->n_entries++] = build_entry(L, lua_gettop(L) - 1);
		lua_pop(L, 1);
	}
	qsort(map->entries, map->n_entries, sizeof(*map->entries), by_key);
	value->map = map;
	return value;
}

static Pv__Value *build_value(lua_State *L, int idx)
{
	Pv__Value *value;
	size_t n;

	switch (lua_type(L, idx)) {
	case LUA_TBOOLEAN:
		value = new_value(PV__VALUE__KIND_BOOLEAN);
		value->boolean = lua_toboolean(L, idx);
		return value;
	case LUA_TNUMBER:
		value = new_value(lua_isinteger(L, idx) ? PV__VALUE__KIND_INTEGER : PV__VALUE__KIND_NUMBER);
		if (lua_isinteger(L, idx))
			value->integer = lua_tointeger(L, idx);
		else
			value->number = lua_tonumber(L, idx);
		return value;
	case LUA_TSTRING:
		return build_string(L, idx);
	case LUA_TTABLE:
		return is_array(L, idx, &n) ? build_list(L, idx, n) : build_map(L, idx, n);
	default:
		value = new_value(PV__VALUE__KIND_NULL);
		value->null = 1;
		return value;
	}
}

Pv__Value *pv_meta_from_table(lua_State *L, int idx, const char *what)
{
	size_t n;

	check_table(L, idx, what, 1);
	is_array(L, idx, &n);
	return build_map(L, idx, n);
}
