/* pairs and next in the order of keys.h.
 *
 * A table without a hash part is gone through as Lua does it, which is that order, in its time. Else pairs takes a snapshot of the keys when it is
 * called: keys whose value is nil when their turn comes are left out, keys that are added meanwhile are not visited. next finds its place by the
 * order itself, and keeps the snapshot of a traversal that is under way. */
#include <limits.h>

#include "engine/script/keys.h"
#include "engine/script/script_internal.h"

/* Of traversals with next, abandoned ones as well. */
#define KEPT_MAX 64

/* In the registry: table -> snapshot, keys weak. */
static char kept_key;

/* ---- pairs ---- */

/* Upvalues: the snapshot, its anchors. */
static int pairs_step(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TTABLE);
	if (pv_keys_step(L, lua_touserdata(L, lua_upvalueindex(1)), lua_upvalueindex(2), 1))
		return 2;
	lua_pushnil(L);
	return 1;
}

static int base_next(lua_State *L);

static int pairs_called(lua_State *L, int status, lua_KContext ctx)
{
	(void)L;
	(void)status;
	(void)ctx;
	return 3;
}

static int base_pairs(lua_State *L)
{
	luaL_checkany(L, 1);
	if (luaL_getmetafield(L, 1, "__pairs") != LUA_TNIL) {
		lua_pushvalue(L, 1);
		lua_callk(L, 1, 3, 0, pairs_called);
		return 3;
	}
	lua_settop(L, 1);
	if (!lua_istable(L, 1) || pv_keys_are_array(L, 1)) {
		lua_pushcfunction(L, base_next); /* which also says what is wrong */
	} else {
		pv_keys_push(L, 1, NULL);
		pv_keys_push_anchors(L, 2);
		lua_pushcclosure(L, pairs_step, 2);
	}
	lua_pushvalue(L, 1);
	lua_pushnil(L);
	return 3;
}

/* ---- next ---- */

static void forget(lua_State *L)
{
	lua_rawgetp(L, LUA_REGISTRYINDEX, &kept_key);
	lua_pushvalue(L, 1);
	lua_pushnil(L);
	lua_rawset(L, -3);
	lua_pop(L, 1);
}

static void renew_kept(lua_State *L)
{
	lua_newtable(L);
	lua_createtable(L, 0, 1);
	lua_pushliteral(L, "k");
	lua_setfield(L, -2, "__mode");
	lua_setmetatable(L, -2);
	lua_rawsetp(L, LUA_REGISTRYINDEX, &kept_key);
	pv_script_of(L)->n_kept = 0;
}

/* Keeps the snapshot on top of the stack for the table. */
static void keep(lua_State *L)
{
	if (pv_script_of(L)->n_kept++ == KEPT_MAX)
		renew_kept(L);
	lua_rawgetp(L, LUA_REGISTRYINDEX, &kept_key);
	lua_pushvalue(L, 1);
	lua_pushvalue(L, -3);
	lua_rawset(L, -3);
	lua_pop(L, 1);
}

/* Goes on with the snapshot on top of the stack. */
static int go_on(lua_State *L)
{
	if (pv_keys_next(L, lua_gettop(L), 1))
		return 2;
	forget(L);
	lua_pushnil(L);
	return 1;
}

static int push_at(lua_State *L, lua_Integer index)
{
	if (lua_rawgeti(L, 1, index) == LUA_TNIL) {
		lua_pop(L, 1);
		return 0;
	}
	lua_pushinteger(L, index);
	lua_insert(L, -2);
	return 2;
}

static int first(lua_State *L)
{
	struct pv_key best, key;

	if (push_at(L, 1) > 0)
		return 2;
	lua_pushnil(L); /* the best key */
	lua_pushnil(L);
	while (lua_next(L, 1) != 0) {
		lua_pop(L, 1);
		pv_key_of(L, 4, &key);
		if (lua_isnil(L, 3) || pv_key_compare(&key, &best) < 0) {
			best = key;
			lua_copy(L, 4, 3);
		}
	}
	forget(L);
	if (lua_isnil(L, 3))
		return 1;
	lua_pushvalue(L, 3);
	lua_rawget(L, 1);
	return 2;
}

/* Is the snapshot on top of the stack where the key at 2 was the last one? */
static bool is_there(lua_State *L, const struct pv_key *key)
{
	const struct pv_keys *keys = lua_touserdata(L, -1);

	return keys != NULL && keys->at > 0 && pv_key_compare(&keys->entries[keys->at - 1], key) == 0;
}

static int base_next(lua_State *L)
{
	struct pv_key key;

	luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 2);
	if (pv_keys_are_array(L, 1)) {
		if (lua_next(L, 1) != 0)
			return 2;
		lua_pushnil(L);
		return 1;
	}
	if (lua_isnil(L, 2))
		return first(L);
	if (lua_isinteger(L, 2) && lua_tointeger(L, 2) >= 1 && lua_tointeger(L, 2) < LUA_MAXINTEGER &&
	    push_at(L, lua_tointeger(L, 2) + 1) > 0)
		return 2;
	pv_key_of(L, 2, &key);
	lua_rawgetp(L, LUA_REGISTRYINDEX, &kept_key);
	lua_pushvalue(L, 1);
	lua_rawget(L, -2);
	lua_remove(L, -2);
	if (!is_there(L, &key)) {
		lua_settop(L, 2);
		if (pv_keys_push(L, 1, &key)->n == 0) {
			lua_pushnil(L);
			return 1;
		}
		keep(L);
	}
	return go_on(L);
}

void pv_open_pairs(lua_State *L)
{
	pv_keys_open(L);
	renew_kept(L);
	lua_register(L, "pairs", base_pairs);
	lua_register(L, "next", base_next);
}
