/* table.sort: a merge sort, so that equal elements stay in their order. Lua's own takes the clock to choose where to divide large arrays, so the
 * order of equal elements and of the comparisons would be another one each time. */
#include <limits.h>

#include <lualib.h>

#include "engine/script/script_internal.h"

#define LIST    1
#define COMPARE 2
#define FROM    3
#define TO      4

/* Is the value at the top less than the one below it? Pops both. */
static bool takes_later(lua_State *L)
{
	bool less;

	if (lua_isnil(L, COMPARE)) {
		less = lua_compare(L, -1, -2, LUA_OPLT);
		lua_pop(L, 2);
		return less;
	}
	lua_pushvalue(L, COMPARE);
	lua_insert(L, -3);
	lua_insert(L, -2); /* function, later, earlier */
	lua_call(L, 2, 1);
	less = lua_toboolean(L, -1);
	lua_pop(L, 1);
	return less;
}

static bool later_first(lua_State *L, int from, lua_Integer earlier, lua_Integer later)
{
	lua_rawgeti(L, from, earlier);
	lua_rawgeti(L, from, later);
	return takes_later(L);
}

static void move(lua_State *L, int from, lua_Integer a, int to, lua_Integer b)
{
	lua_rawgeti(L, from, a);
	lua_rawseti(L, to, b);
}

/* The runs [left, middle) and [middle, right) of `from` become one in `to`. */
static void merge(lua_State *L, int from, int to, lua_Integer left, lua_Integer middle, lua_Integer right)
{
	lua_Integer a = left, b = middle, i = left;
	bool in_order = middle >= right || !later_first(L, from, middle - 1, middle);

	while (!in_order && a < middle && b < right) {
		if (later_first(L, from, a, b))
			move(L, from, b++, to, i++);
		else
			move(L, from, a++, to, i++);
	}
	while (a < middle)
		move(L, from, a++, to, i++);
	while (b < right)
		move(L, from, b++, to, i++);
}

static lua_Integer at_most(lua_Integer value, lua_Integer max)
{
	return value < max ? value : max;
}

/* The elements are sorted in a copy and put back. */
static int sort(lua_State *L)
{
	lua_Integer n;
	int from = FROM, to = TO;

	luaL_checktype(L, LIST, LUA_TTABLE);
	n = luaL_len(L, LIST);
	luaL_argcheck(L, n < INT_MAX, 1, "array too big");
	if (!lua_isnoneornil(L, COMPARE))
		luaL_checktype(L, COMPARE, LUA_TFUNCTION);
	lua_settop(L, COMPARE);
	if (n < 2)
		return 0;
	lua_createtable(L, (int)n, 0);
	lua_createtable(L, (int)n, 0);
	for (lua_Integer i = 1; i <= n; i++) {
		lua_geti(L, LIST, i);
		lua_rawseti(L, FROM, i);
	}
	for (lua_Integer width = 1; width < n; width *= 2) {
		int other = from;

		for (lua_Integer left = 1; left <= n; left += 2 * width)
			merge(L, from, to, left, at_most(left + width, n + 1), at_most(left + 2 * width, n + 1));
		from = to;
		to = other;
	}
	for (lua_Integer i = 1; i <= n; i++) {
		lua_rawgeti(L, from, i);
		lua_seti(L, LIST, i);
	}
	return 0;
}

void pv_open_sort(lua_State *L)
{
	lua_getglobal(L, LUA_TABLIBNAME);
	lua_pushcfunction(L, sort);
	lua_setfield(L, -2, "sort");
	lua_pop(L, 1);
}
