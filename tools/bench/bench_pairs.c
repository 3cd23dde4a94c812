/* What an order of keys that is the same each time costs: pairs and next of scripts beside Lua's own, ns a key.
 *
 *   bench_pairs
 *
 * Tables of 10, 1000 and 100000 keys: a sequence, sparse integers, strings, and half of each. The loops do nothing. The best of several runs
 * counts. */
#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "engine/script/script_internal.h"

#define ROUNDS 7

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static const char source[] =
    "local make = {\n"
    "  sequence = function(t, i) t[i] = i end,\n"
    "  integers = function(t, i) t[i * 7919 % 1000003 + 10] = i end,\n"
    "  strings = function(t, i) t['key ' .. i * 7919 % 1000003] = i end,\n"
    "  mixed = function(t, i) if i % 2 == 0 then t[#t + 1] = i else t['key' .. i] = i end end,\n"
    "}\n"
    "function build(kind, n) local t = {} for i = 1, n do make[kind](t, i) end return t end\n"
    "function by_pairs(pairs, t, times) for _ = 1, times do for k, v in pairs(t) do end end end\n"
    "function by_next(next, t, times) for _ = 1, times do for k, v in next, t do end end end\n"
    "function is_empty(next, t, times) for _ = 1, times do local e = next(t) == nil end end\n";

/* Seconds of one round of `loop` with the function `with` over the table at 1. */
static double round_of(lua_State *L, const char *loop, const char *with, int times)
{
	double start;

	lua_getglobal(L, loop);
	lua_getglobal(L, with);
	lua_pushvalue(L, 1);
	lua_pushinteger(L, times);
	start = now();
	if (lua_pcall(L, 3, 0, 0) != LUA_OK)
		PV_BUG("%s", lua_tostring(L, -1));
	return now() - start;
}

static double best_of(lua_State *L, const char *loop, const char *with, int times)
{
	double best = 1e9;

	for (int i = 0; i < ROUNDS; i++) {
		double seconds = round_of(L, loop, with, times);

		best = seconds < best ? seconds : best;
	}
	return best;
}

static void compare(lua_State *L, const char *kind, int n, const char *loop, const char *ours, const char *stock)
{
	int times = n >= 100000 ? 3 : 300000 / n;
	double per = strcmp(loop, "is_empty") == 0 ? times : (double)times * n;
	double own = best_of(L, loop, ours, times) / per * 1e9, lua = best_of(L, loop, stock, times) / per * 1e9;

	printf("%-9s %7d  %-8s  %8.1f ns  Lua's %8.1f ns  ratio %.2f\n", kind, n, loop, own, lua, own / lua);
}

int main(void)
{
	static const char *const kinds[] = { "sequence", "integers", "strings", "mixed" };
	static const int sizes[] = { 10, 1000, 100000 };
	static struct pv_script script;
	lua_State *L;

	script.memory.max = PV_SCRIPT_MEMORY_MAX;
	L = script.L = lua_newstate(pv_lua_alloc, &script.memory);
	memcpy(lua_getextraspace(L), &(uintptr_t){ (uintptr_t)&script }, sizeof(uintptr_t));
	luaL_openlibs(L);
	lua_getglobal(L, "pairs");
	lua_setglobal(L, "stock_pairs");
	lua_getglobal(L, "next");
	lua_setglobal(L, "stock_next");
	pv_open_pairs(L);
	if (luaL_dostring(L, source) != LUA_OK)
		PV_BUG("%s", lua_tostring(L, -1));
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		for (size_t j = 0; j < sizeof(sizes) / sizeof(sizes[0]); j++) {
			lua_settop(L, 0);
			lua_getglobal(L, "build");
			lua_pushstring(L, kinds[i]);
			lua_pushinteger(L, sizes[j]);
			lua_call(L, 2, 1);
			compare(L, kinds[i], sizes[j], "by_pairs", "pairs", "stock_pairs");
			compare(L, kinds[i], sizes[j], "by_next", "next", "stock_next");
			compare(L, kinds[i], sizes[j], "is_empty", "next", "stock_next");
		}
	}
	lua_close(L);
	return 0;
}
