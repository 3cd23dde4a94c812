#include "engine/script/keys.h"

#include <endian.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/script/script_internal.h"

enum kind { KIND_POSITIVE = 1, KIND_NUMBER, KIND_STRING, KIND_BOOLEAN, KIND_OBJECT, KIND_C_FUNCTION, KIND_LIGHT };

/* ---- serials of objects ---- */

/* In Lua 5.4 the fifth word of a table is `lastfree`, which is NULL for a table without a hash part and for no other. */
#define LASTFREE 4

static bool lacks_hash(lua_State *L, int idx)
{
	const void *word;

	memcpy(&word, (const char *)lua_topointer(L, idx) + LASTFREE * sizeof(word), sizeof(word));
	return word == NULL;
}

/* Does that hold for this Lua? */
static bool probe_hash(lua_State *L)
{
	static const struct {
		int n_array, n_hash;
	} shapes[] = { { 0, 0 }, { 1, 0 }, { 100, 0 }, { 0, 1 }, { 0, 100 }, { 3, 1 }, { 100, 3 } };
	bool holds = true;

	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		lua_createtable(L, shapes[i].n_array, shapes[i].n_hash);
		holds = holds && lacks_hash(L, -1) == (shapes[i].n_hash == 0);
		for (int n = 1; n <= 200; n++) {
			lua_pushboolean(L, 1);
			lua_rawseti(L, -2, n);
		}
		holds = holds && (shapes[i].n_hash != 0 || lacks_hash(L, -1));
		lua_pushboolean(L, 1);
		lua_setfield(L, -2, "x");
		holds = holds && !lacks_hash(L, -1);
		lua_pop(L, 1);
	}
	return holds;
}

bool pv_keys_are_array(lua_State *L, int idx)
{
	return pv_script_of(L)->tells_arrays && lacks_hash(L, idx);
}

void pv_keys_open(lua_State *L)
{
	struct pv_script *script = pv_script_of(L);

	for (int n = 0; n < PV_USERDATA_OFFSETS; n++) {
		const char *memory = lua_newuserdatauv(L, 1, n);

		script->userdata_offsets[n] = (size_t)(memory - (const char *)script->memory.last_object);
		lua_pop(L, 1);
	}
	script->tells_arrays = probe_hash(L);
}

static int count_user_values(lua_State *L, int idx)
{
	int n = 0;

	while (lua_getiuservalue(L, idx, n + 1) != LUA_TNONE) {
		lua_pop(L, 1);
		n++;
	}
	lua_pop(L, 1);
	return n;
}

static const void *userdata_block(lua_State *L, int idx)
{
	const struct pv_script *script = pv_script_of(L);
	int n = count_user_values(L, idx);

	PV_ASSERT(n < PV_USERDATA_OFFSETS);
	return (const char *)lua_touserdata(L, idx) - script->userdata_offsets[n];
}

/* A C function without upvalues is no object. */
static bool is_bare_function(lua_State *L, int idx)
{
	if (!lua_iscfunction(L, idx))
		return false;
	if (lua_getupvalue(L, idx, 1) == NULL)
		return true;
	lua_pop(L, 1);
	return false;
}

static void key_of_object(lua_State *L, int idx, struct pv_key *out)
{
	out->kind = KIND_OBJECT;
	switch (lua_type(L, idx)) {
	case LUA_TLIGHTUSERDATA:
		out->kind = KIND_LIGHT;
		out->rank = (uint64_t)(uintptr_t)lua_topointer(L, idx);
		return;
	case LUA_TFUNCTION:
		if (is_bare_function(L, idx)) {
			out->kind = KIND_C_FUNCTION;
			out->rank = (uint64_t)(uintptr_t)lua_topointer(L, idx);
			return;
		}
		break;
	case LUA_TTHREAD:
		out->rank = pv_lua_serial(lua_getextraspace(lua_tothread(L, idx)));
		return;
	case LUA_TUSERDATA:
		out->rank = pv_lua_serial(userdata_block(L, idx));
		return;
	default:
		break;
	}
	out->rank = pv_lua_serial(lua_topointer(L, idx));
}

/* ---- order ---- */

/* The first bytes as a number that is ordered as they are. */
static uint64_t prefix_of(const char *text, size_t len)
{
	uint64_t prefix = 0;

	memcpy(&prefix, text, len < sizeof(prefix) ? len : sizeof(prefix));
	return be64toh(prefix);
}

void pv_key_of(lua_State *L, int idx, struct pv_key *out)
{
	*out = (struct pv_key){ .kind = KIND_STRING };
	switch (lua_type(L, idx)) {
	case LUA_TNUMBER:
		out->kind = KIND_NUMBER;
		if (lua_isinteger(L, idx)) {
			out->integer = lua_tointeger(L, idx);
			out->kind = out->integer > 0 ? KIND_POSITIVE : KIND_NUMBER;
			out->rank = (uint64_t)out->integer;
		} else {
			out->number = lua_tonumber(L, idx);
			out->anchor = 1;
		}
		break;
	case LUA_TSTRING:
		out->text = lua_tolstring(L, idx, &out->len);
		out->rank = prefix_of(out->text, out->len);
		break;
	case LUA_TBOOLEAN:
		out->kind = KIND_BOOLEAN;
		out->rank = (uint64_t)lua_toboolean(L, idx);
		break;
	default:
		key_of_object(L, idx, out);
		break;
	}
	if (out->kind > KIND_NUMBER)
		out->anchor = 1;
}

/* A float among keys is no integer: it is a fraction, or beyond all of them. */
static int compare_mixed(lua_Integer integer, lua_Number number)
{
	if (number >= 0x1p63)
		return -1;
	if (number < -0x1p63)
		return 1;
	return integer <= (lua_Integer)floor(number) ? -1 : 1;
}

static int compare_numbers(const struct pv_key *a, const struct pv_key *b)
{
	if (a->anchor == 0 && b->anchor == 0)
		return (a->integer > b->integer) - (a->integer < b->integer);
	if (a->anchor == 0)
		return compare_mixed(a->integer, b->number);
	if (b->anchor == 0)
		return -compare_mixed(b->integer, a->number);
	return (a->number > b->number) - (a->number < b->number);
}

static int compare_texts(const struct pv_key *a, const struct pv_key *b)
{
	size_t len = a->len < b->len ? a->len : b->len;
	int order = len > sizeof(a->rank)
	                ? memcmp(a->text + sizeof(a->rank), b->text + sizeof(a->rank), len - sizeof(a->rank))
	                : 0;

	return order != 0 ? order : (a->len > b->len) - (a->len < b->len);
}

int pv_key_compare(const struct pv_key *a, const struct pv_key *b)
{
	if (a->kind != b->kind)
		return a->kind < b->kind ? -1 : 1;
	if (a->kind == KIND_NUMBER)
		return compare_numbers(a, b);
	if (a->rank != b->rank)
		return a->rank < b->rank ? -1 : 1;
	return a->kind == KIND_STRING ? compare_texts(a, b) : 0;
}

/* A merge sort: half of the calls that qsort(3) makes are saved on keys that are in order already. */
static void merge(const struct pv_key *from, size_t left, size_t middle, size_t right, struct pv_key *to)
{
	size_t a = left, b = middle;

	if (middle >= right || pv_key_compare(&from[middle - 1], &from[middle]) <= 0) {
		memcpy(to + left, from + left, (right - left) * sizeof(*to));
		return;
	}
	for (size_t i = left; i < right; i++) {
		if (b >= right || (a < middle && pv_key_compare(&from[a], &from[b]) <= 0))
			to[i] = from[a++];
		else
			to[i] = from[b++];
	}
}

#define RUN 8

static void sort_run(struct pv_key *keys, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		struct pv_key key = keys[i];
		size_t at = i;

		for (; at > 0 && pv_key_compare(&keys[at - 1], &key) > 0; at--)
			keys[at] = keys[at - 1];
		keys[at] = key;
	}
}

static void sort_keys(struct pv_key *keys, size_t n)
{
	struct pv_key *from = keys, *to, *spare;

	for (size_t i = 0; i < n; i += RUN)
		sort_run(keys + i, n - i < RUN ? n - i : RUN);
	if (n <= RUN)
		return;
	to = spare = pv_xmalloc(n * sizeof(*spare));
	for (size_t width = RUN; width < n; width *= 2) {
		struct pv_key *other = from;

		for (size_t left = 0; left < n; left += 2 * width)
			merge(from, left, left + width < n ? left + width : n,
			      left + 2 * width < n ? left + 2 * width : n, to);
		from = to;
		to = other;
	}
	if (from != keys)
		memcpy(keys, from, n * sizeof(*keys));
	free(spare);
}

/* ---- snapshots ---- */

struct count {
	lua_Integer sequence; /* keys 1, 2, ... that lua_next() gave first */
	size_t n;             /* others */
	size_t n_anchors;
};

/* Leaves the key on the stack; goes on from there next time. */
static bool next_key(lua_State *L, int idx)
{
	if (lua_next(L, idx) == 0)
		return false;
	lua_pop(L, 1);
	return true;
}

static struct count count_keys(lua_State *L, int idx, const struct pv_key *after)
{
	struct count count = { 0 };
	struct pv_key key;

	lua_pushnil(L);
	if (after == NULL) {
		while (next_key(L, idx)) {
			if (!lua_isinteger(L, -1) || lua_tointeger(L, -1) != count.sequence + 1) {
				count.n = 1;
				count.n_anchors = !lua_isinteger(L, -1);
				break;
			}
			count.sequence++;
		}
		if (count.n == 0)
			return count;
	}
	while (next_key(L, idx)) {
		if (after != NULL) {
			pv_key_of(L, lua_gettop(L), &key);
			if (pv_key_compare(&key, after) <= 0)
				continue;
		}
		count.n++;
		count.n_anchors += !lua_isinteger(L, -1);
	}
	return count;
}

/* Nothing is allocated and so nothing is collected while this fills what has been made: the texts stay. */
static void fill(lua_State *L, int idx, const struct pv_key *after, struct pv_keys *keys, int anchors)
{
	unsigned n_anchors = 0;
	size_t n = 0;

	if (keys->sequence > 0)
		lua_pushinteger(L, keys->sequence);
	else
		lua_pushnil(L);
	/* A finalizer may have changed the table since its keys were counted. */
	while (n < keys->n && next_key(L, idx)) {
		struct pv_key *key = &keys->entries[n];

		pv_key_of(L, lua_gettop(L), key);
		if (after != NULL && pv_key_compare(key, after) <= 0)
			continue;
		if (key->anchor != 0) {
			key->anchor = ++n_anchors;
			lua_pushvalue(L, -1);
			lua_rawseti(L, anchors, (lua_Integer)n_anchors);
		}
		n++;
	}
	keys->n = n;
	lua_settop(L, anchors);
}

struct pv_keys *pv_keys_push(lua_State *L, int idx, const struct pv_key *after)
{
	struct count count;
	struct pv_keys *keys;
	int anchors;

	idx = lua_absindex(L, idx);
	luaL_checkstack(L, 8, NULL);
	count = count_keys(L, idx, after);
	keys = lua_newuserdatauv(L, sizeof(*keys) + count.n * sizeof(keys->entries[0]), 1);
	*keys = (struct pv_keys){ .sequence = count.sequence, .n = count.n };
	if (count.n == 0)
		return keys;
	if (count.n > UINT32_MAX || count.n_anchors > INT_MAX)
		luaL_error(L, "a table with too many keys");
	lua_createtable(L, (int)count.n_anchors, 0);
	anchors = lua_gettop(L);
	fill(L, idx, after, keys, anchors);
	sort_keys(keys->entries, keys->n);
	lua_setiuservalue(L, anchors - 1, 1);
	return keys;
}

void pv_keys_push_anchors(lua_State *L, int keys)
{
	lua_getiuservalue(L, keys, 1);
}

static bool next_index(lua_State *L, struct pv_keys *keys, int table)
{
	while (keys->index < keys->sequence) {
		keys->index++;
		lua_pushinteger(L, keys->index);
		if (lua_rawgeti(L, table, keys->index) != LUA_TNIL)
			return true;
		lua_pop(L, 2);
	}
	return false;
}

bool pv_keys_step(lua_State *L, struct pv_keys *keys, int anchors, int table)
{
	if (next_index(L, keys, table))
		return true;
	while (keys->at < keys->n) {
		const struct pv_key *key = &keys->entries[keys->at++];

		if (key->anchor == 0) {
			lua_pushinteger(L, key->integer);
			lua_rawgeti(L, table, key->integer);
		} else {
			lua_rawgeti(L, anchors, key->anchor);
			lua_pushvalue(L, -1);
			lua_rawget(L, table);
		}
		if (!lua_isnil(L, -1))
			return true;
		lua_pop(L, 2);
	}
	return false;
}

bool pv_keys_next(lua_State *L, int keys, int table)
{
	bool found;

	table = lua_absindex(L, table);
	luaL_checkstack(L, 4, NULL);
	pv_keys_push_anchors(L, keys);
	found = pv_keys_step(L, lua_touserdata(L, keys), lua_gettop(L), table);
	lua_remove(L, found ? -3 : -1);
	return found;
}
