/* The RunResult of scripts: a table with two methods. */
#include <stdio.h>
#include <string.h>

#include "engine/script/args.h"
#include "engine/script/call.h"
#include "engine/script/script_internal.h"
#include "engine/script/shown.h"
#include "engine/script/vm_methods.h"

#define RUN_RESULT_TYPE "RunResult"

#define EXIT_CODE_SIGNALLED (-1)
#define EXIT_CODE_TIMED_OUT (-2)

const char *pv_run_status_name(Pv__RunStatus status)
{
	switch (status) {
	case PV__RUN_STATUS__RUN_STATUS_SIGNALLED:
		return "signalled";
	case PV__RUN_STATUS__RUN_STATUS_TIMED_OUT:
		return "timed_out";
	default:
		return "exited";
	}
}

static int exit_code(const struct pv_call_slot *slot)
{
	switch (slot->status) {
	case PV__RUN_STATUS__RUN_STATUS_SIGNALLED:
		return EXIT_CODE_SIGNALLED;
	case PV__RUN_STATUS__RUN_STATUS_TIMED_OUT:
		return EXIT_CODE_TIMED_OUT;
	default:
		return slot->exit_code;
	}
}

void pv_push_run_result(lua_State *L, const struct pv_call_slot *slot)
{
	lua_createtable(L, 0, 6);
	lua_pushinteger(L, exit_code(slot));
	lua_setfield(L, -2, "exit_code");
	lua_pushlstring(L, pv_buf_str(&slot->out), slot->out.len);
	lua_setfield(L, -2, "stdout");
	lua_pushlstring(L, pv_buf_str(&slot->err), slot->err.len);
	lua_setfield(L, -2, "stderr");
	lua_pushstring(L, pv_run_status_name(slot->status));
	lua_setfield(L, -2, "status");
	lua_pushboolean(L, slot->status == PV__RUN_STATUS__RUN_STATUS_TIMED_OUT);
	lua_setfield(L, -2, "timed_out");
	if (slot->status == PV__RUN_STATUS__RUN_STATUS_SIGNALLED) {
		lua_pushinteger(L, slot->signal);
		lua_setfield(L, -2, "signal");
	}
	luaL_setmetatable(L, RUN_RESULT_TYPE);
}

static void check_result(lua_State *L, const char *what)
{
	bool same = false;

	if (lua_istable(L, 1) && lua_getmetatable(L, 1)) {
		luaL_getmetatable(L, RUN_RESULT_TYPE);
		same = lua_rawequal(L, -1, -2);
		lua_pop(L, 2);
	}
	if (!same)
		pv_raise(L, "%s: call it with a colon on the result of run, got %s", what, luaL_typename(L, 1));
}

static bool is_ok(lua_State *L)
{
	bool ok;

	lua_getfield(L, 1, "exit_code");
	ok = lua_isinteger(L, -1) && lua_tointeger(L, -1) == 0;
	lua_pop(L, 1);
	return ok;
}

static int result_ok(lua_State *L)
{
	check_result(L, "result:ok");
	lua_pushboolean(L, is_ok(L));
	return 1;
}

/* Pushes "exited with code 3", "signalled by SIGKILL (9)", "timed_out". */
static void push_end(lua_State *L)
{
	const char *status, *name;
	int signal;

	lua_getfield(L, 1, "status");
	status = pv_tolstring(L, -1, NULL);
	lua_getfield(L, 1, "signal");
	if (lua_isinteger(L, -1)) {
		signal = (int)lua_tointeger(L, -1);
		name = sigabbrev_np(signal);
		lua_pushfstring(L, "%s by %s%s (%d)", status, name != NULL ? "SIG" : "signal", name != NULL ? name : "",
		                signal);
		return;
	}
	lua_getfield(L, 1, "timed_out");
	if (lua_toboolean(L, -1)) {
		lua_pushstring(L, status);
		return;
	}
	lua_getfield(L, 1, "exit_code");
	lua_pushfstring(L, "%s with code %s", status, pv_tolstring(L, -1, NULL));
}

static int result_assert_ok(lua_State *L)
{
	const char *end, *out, *err;

	check_result(L, "result:assert_ok");
	lua_settop(L, 1);
	if (is_ok(L))
		return 1;
	push_end(L);
	end = lua_tostring(L, -1);
	lua_getfield(L, 1, "stdout");
	out = pv_tolstring(L, -1, NULL);
	lua_getfield(L, 1, "stderr");
	err = pv_tolstring(L, -1, NULL);
	pv_raise(L, "result:assert_ok: the command %s\nstdout: %s\nstderr: %s", end, out, err);
}

void pv_open_run_result(lua_State *L)
{
	static const luaL_Reg methods[] = {
		{ "ok", result_ok },
		{ "assert_ok", result_assert_ok },
		{ NULL, NULL },
	};

	luaL_newmetatable(L, RUN_RESULT_TYPE);
	luaL_newlib(L, methods);
	lua_setfield(L, -2, "__index");
	lua_pop(L, 1);
}
