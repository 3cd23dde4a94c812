#include "engine/script/test_ctx.h"

#include <stdlib.h>
#include <string.h>

#include "engine/script/args.h"
#include "engine/script/prompt_internal.h"
#include "engine/script/script_internal.h"
#include "engine/script/shown.h"
#include "engine/script/site.h"
#include "engine/script/tests.h"
#include "proto/mem.h"

#define SERIAL_FIELD "provium.serial" /* in the metatable of a `t` */
#define SHOWN_MAX    2048             /* bytes of a compared value in a message */

static char methods_key, skip_key; /* in the registry */

bool pv_is_skip(lua_State *L, int idx)
{
	bool same;

	idx = lua_absindex(L, idx);
	lua_rawgetp(L, LUA_REGISTRYINDEX, &skip_key);
	same = lua_rawequal(L, idx, -1);
	lua_pop(L, 1);
	return same;
}

static void check_t(lua_State *L, const char *what)
{
	const struct pv_unit *unit = &pv_script_of(L)->unit;
	bool present;

	if (!lua_istable(L, 1) || luaL_getmetafield(L, 1, SERIAL_FIELD) == LUA_TNIL)
		pv_raise(L, "%s: call it with a colon on the t of the test", what);
	present = unit->is_test && lua_tointeger(L, -1) == (lua_Integer)unit->serial;
	lua_pop(L, 1);
	if (!present)
		pv_raise(L, "%s: the test of this t has ended", what);
	pv_task_current(L, what);
}

/* ---- failing ---- */

static int t_assert_raises(lua_State *L);

bool pv_is_assert_raises(lua_CFunction fn)
{
	return fn == t_assert_raises;
}

static unsigned count_assert_raises(lua_State *L)
{
	lua_Debug ar;
	unsigned n = 0;

	if (!lua_checkstack(L, 1))
		return 0;
	for (int level = 0; lua_getstack(L, level, &ar); level++) {
		lua_getinfo(L, "f", &ar);
		n += lua_tocfunction(L, -1) == t_assert_raises;
		lua_pop(L, 1);
	}
	return n;
}

/* How many assert_raises are under way around the running code, here and in the coroutines that resumed it. */
static unsigned count_around(lua_State *L)
{
	const struct pv_task *task = pv_script_of(L)->running;
	unsigned n = count_assert_raises(task->L);

	for (size_t i = 0; i < task->chain_len; i++)
		n += count_assert_raises(task->chain[i]);
	return n;
}

/* Fails with the message on top of the stack: at the caller's line, marked so that no pcall hides it, unless more than `own`
 * assert_raises expect it. */
static int fail(lua_State *L, unsigned own)
{
	const char *text;
	size_t len;

	pv_push_where(L);
	lua_insert(L, -2);
	lua_concat(L, 2);
	text = lua_tolstring(L, -1, &len);
	if (count_around(L) <= own) {
		pv_unit_fail(pv_script_of(L), text, len);
		pv_prompt_at_failure(pv_script_of(L)->running, L, text);
	}
	return lua_error(L);
}

static void push_shown(lua_State *L, int idx)
{
	size_t len;
	const char *text = pv_tolstring(L, idx, &len);

	if (len <= SHOWN_MAX)
		return;
	lua_pushlstring(L, text, SHOWN_MAX);
	lua_pushfstring(L, "%s... (%I bytes)", lua_tostring(L, -1), (LUAI_UACINT)len);
	lua_replace(L, -3);
	lua_pop(L, 1);
}

/* Pushes "<msg>: " or nothing visible. */
static void push_prefix(lua_State *L, int idx)
{
	if (lua_isnoneornil(L, idx))
		lua_pushliteral(L, "");
	else
		lua_pushfstring(L, "%s: ", lua_tostring(L, idx));
}

static int fail_comparison(lua_State *L, const char *sign)
{
	push_prefix(L, 4);
	push_shown(L, 2);
	lua_pushstring(L, sign);
	push_shown(L, 3);
	if (lua_type(L, 2) != lua_type(L, 3) && lua_compare(L, -1, -3, LUA_OPEQ))
		lua_pushfstring(L, " (%s, %s)", luaL_typename(L, 2), luaL_typename(L, 3));
	else
		lua_pushliteral(L, "");
	lua_concat(L, 5);
	return fail(L, 0);
}

static void check_message(lua_State *L, int idx, const char *what)
{
	if (!lua_isnoneornil(L, idx)) {
		size_t len;

		pv_arg_bytes(L, idx, what, &len);
	}
	pv_arg_end(L, idx, what);
	lua_settop(L, idx);
}

/* ---- members ---- */

static int t_assert(lua_State *L)
{
	check_t(L, "t:assert");
	if (lua_gettop(L) < 2)
		pv_raise(L, "t:assert: a condition is needed");
	check_message(L, 3, "t:assert: message");
	if (lua_toboolean(L, 2))
		return 0;
	if (lua_isnil(L, 3))
		lua_pushliteral(L, "assertion failed");
	return fail(L, 0);
}

static void check_comparison(lua_State *L, const char *what)
{
	check_t(L, what);
	if (lua_gettop(L) < 3)
		pv_raise(L, "%s: two values are needed", what);
	check_message(L, 4, what);
}

static int t_assert_eq(lua_State *L)
{
	check_comparison(L, "t:assert_eq");
	return lua_compare(L, 2, 3, LUA_OPEQ) ? 0 : fail_comparison(L, " ~= ");
}

static int t_assert_neq(lua_State *L)
{
	check_comparison(L, "t:assert_neq");
	return lua_compare(L, 2, 3, LUA_OPEQ) ? fail_comparison(L, " == ") : 0;
}

static int t_assert_contains(lua_State *L)
{
	const char *hay, *needle;
	size_t hay_len, needle_len;

	check_t(L, "t:assert_contains");
	if (lua_type(L, 2) != LUA_TSTRING || lua_type(L, 3) != LUA_TSTRING)
		pv_raise(L, "t:assert_contains: two strings are needed, got %s and %s (slice 2 limit)",
		         luaL_typename(L, 2), luaL_typename(L, 3));
	check_message(L, 4, "t:assert_contains: message");
	hay = lua_tolstring(L, 2, &hay_len);
	needle = lua_tolstring(L, 3, &needle_len);
	if (memmem(hay, hay_len, needle, needle_len) != NULL)
		return 0;
	push_prefix(L, 4);
	push_shown(L, 2);
	lua_pushliteral(L, " does not contain ");
	push_shown(L, 3);
	lua_concat(L, 4);
	return fail(L, 0);
}

static int after_assert_raises(lua_State *L, int status, lua_KContext ctx)
{
	const struct pv_task *task = pv_script_of(L)->running;

	(void)ctx;
	if (status == LUA_OK || status == LUA_YIELD) {
		push_prefix(L, 3);
		lua_pushliteral(L, "expected to raise");
		lua_concat(L, 2);
		return fail(L, 1); /* this one does not count */
	}
	if (task->cancelled)
		pv_raise_cancelled(L);
	if (pv_is_skip(L, -1))
		return lua_error(L);
	return 1;
}

static int t_assert_raises(lua_State *L)
{
	int status;

	check_t(L, "t:assert_raises");
	if (lua_type(L, 2) != LUA_TFUNCTION)
		pv_raise(L, "t:assert_raises: a function is needed, got %s", luaL_typename(L, 2));
	check_message(L, 3, "t:assert_raises: message");
	lua_pushvalue(L, 2);
	status = lua_pcallk(L, 0, 0, 0, 0, after_assert_raises);
	return after_assert_raises(L, status, 0);
}

static int t_fail(lua_State *L)
{
	check_t(L, "t:fail");
	check_message(L, 2, "t:fail: message");
	if (lua_isnil(L, 2))
		lua_pushliteral(L, "explicit failure (t:fail)");
	return fail(L, 0);
}

static int t_skip(lua_State *L)
{
	const char *reason;
	size_t len;

	check_t(L, "t:skip");
	check_message(L, 2, "t:skip: reason");
	if (lua_isnil(L, 2))
		lua_pushliteral(L, "skipped (t:skip)");
	reason = lua_tolstring(L, -1, &len);
	pv_unit_skip(pv_script_of(L), reason, len);
	lua_rawgetp(L, LUA_REGISTRYINDEX, &skip_key);
	return lua_error(L);
}

static int t_log(lua_State *L)
{
	struct pv_script *script = pv_script_of(L);
	Pv__TestLogged logged = PV__TEST_LOGGED__INIT;
	struct pv_proposal proposal;
	struct pv_errmsg msg;
	enum pv_err err;
	const char *text;
	size_t len;

	check_t(L, "t:log");
	if (lua_gettop(L) < 2)
		pv_raise(L, "t:log: a value is needed");
	pv_arg_end(L, 2, "t:log");
	text = pv_tolstring(L, 2, &len);
	pv_proposal_init(&proposal, script, L);
	logged.has_test = 1;
	logged.test = script->unit.test;
	logged.text = pv_printable(text, len);
	proposal.event.body_case = PV__EVENT__BODY_TEST_LOGGED;
	proposal.event.test_logged = &logged;
	err = pv_engine_propose(script->engine, &proposal.event, &msg);
	free(logged.text);
	if (err != PV_OK) {
		pv_prompt_at_refusal(L);
		pv_raise(L, "t:log: %s", msg.text);
	}
	return 0;
}

static int skip_tostring(lua_State *L)
{
	const char *reason = pv_script_of(L)->unit.skip_reason;

	lua_pushfstring(L, "test skipped: %s", reason != NULL ? reason : "");
	return 1;
}

/* ---- making ---- */

void pv_test_ctx_push(lua_State *L, size_t index)
{
	const struct pv_script *script = pv_script_of(L);
	struct pv_script_test about;

	pv_script_test(script, index, &about);
	lua_createtable(L, 0, 2);
	lua_pushstring(L, about.name);
	lua_setfield(L, -2, "name");
	pv_test_push_meta(L, index);
	lua_setfield(L, -2, "meta");
	lua_createtable(L, 0, 3);
	lua_rawgetp(L, LUA_REGISTRYINDEX, &methods_key);
	lua_setfield(L, -2, "__index");
	lua_pushliteral(L, "t");
	lua_setfield(L, -2, "__name");
	/* pv_unit_start() will count up to this */
	lua_pushinteger(L, (lua_Integer)script->unit.serial + 1);
	lua_setfield(L, -2, SERIAL_FIELD);
	lua_setmetatable(L, -2);
}

void pv_open_test_ctx(lua_State *L)
{
	static const luaL_Reg methods[] = {
		{ "assert", t_assert },
		{ "assert_eq", t_assert_eq },
		{ "assert_neq", t_assert_neq },
		{ "assert_contains", t_assert_contains },
		{ "assert_raises", t_assert_raises },
		{ "fail", t_fail },
		{ "skip", t_skip },
		{ "log", t_log },
		{ NULL, NULL },
	};

	luaL_newlib(L, methods);
	lua_rawsetp(L, LUA_REGISTRYINDEX, &methods_key);
	lua_newtable(L);
	lua_createtable(L, 0, 1);
	lua_pushcfunction(L, skip_tostring);
	lua_setfield(L, -2, "__tostring");
	lua_setmetatable(L, -2);
	lua_rawsetp(L, LUA_REGISTRYINDEX, &skip_key);
}
