/* The Console of scripts: what a VM has written to its serial line, of all boots. */
#include <string.h>

#include "engine/script/args.h"
#include "engine/script/call.h"
#include "engine/script/objects.h"
#include "engine/script/script_internal.h"
#include "engine/script/timer.h"

#define CHUNK_MAX         65536u
#define EXPECT_TIMEOUT_NS 30000000000u

/* In the registry: id of a VM -> its Console, so that where it has been read to is kept. */
static char consoles_key;

void pv_push_console(lua_State *L, uint32_t vm)
{
	struct pv_console *console;

	luaL_checkstack(L, 4, NULL);
	lua_rawgetp(L, LUA_REGISTRYINDEX, &consoles_key);
	if (lua_rawgeti(L, -1, (lua_Integer)vm) != LUA_TUSERDATA) {
		lua_pop(L, 1);
		console = lua_newuserdatauv(L, sizeof(*console), 0);
		*console = (struct pv_console){ .vm = vm };
		luaL_setmetatable(L, PV_CONSOLE_TYPE);
		lua_pushvalue(L, -1);
		lua_rawseti(L, -3, (lua_Integer)vm);
	}
	lua_remove(L, -2);
}

static struct pv_console *check(lua_State *L, const char *what)
{
	pv_task_current(L, what);
	return pv_check_object(L, what, PV_CONSOLE_TYPE);
}

static int console_read(lua_State *L)
{
	const struct pv_console *console = check(L, "console:read");

	pv_arg_end(L, 1, "console:read");
	lua_settop(L, 1);
	return pv_console_stream_open(L, "console:read", console->vm);
}

static int return_log(lua_State *L, struct pv_wait *wait)
{
	struct pv_call_slot *slot = pv_call_result(L, wait);

	lua_pushlstring(L, pv_buf_str(&slot->out), slot->out.len);
	pv_buf_free(&slot->out);
	return 1;
}

static int start_read(lua_State *L, const char *what, const struct pv_console *console, Pv__ReadConsoleCall *read,
                      int (*then)(lua_State *L, struct pv_wait *))
{
	Pv__CallStarted started = PV__CALL_STARTED__INIT;

	started.op_case = PV__CALL_STARTED__OP_READ_CONSOLE;
	started.read_console = read;
	return pv_call_one(L, what, console->vm, &started, then);
}

static int console_read_log(lua_State *L)
{
	const struct pv_console *console = check(L, "console:read_log");
	Pv__ReadConsoleCall read = PV__READ_CONSOLE_CALL__INIT;

	pv_arg_end(L, 1, "console:read_log");
	return start_read(L, "console:read_log", console, &read, return_log);
}

/* ---- expect ---- */

/* The stack of expect. */
enum { CONSOLE = 1, TEXT, LIMIT };

struct limit {
	struct pv_limit limit;
	uint64_t from; /* `expect_at` when the read began: another task may have read on meanwhile */
	char shown[32];
};

static int expect_on(lua_State *L);

static int got_more(lua_State *L, struct pv_wait *wait)
{
	struct pv_console *console = lua_touserdata(L, CONSOLE);
	struct limit *limit = lua_touserdata(L, LIMIT);
	struct pv_call_slot *slot = pv_call_result(L, wait);
	bool ended = slot->eof && slot->out.len == 0;

	pv_limit_begin(&limit->limit, slot->started_ns);
	if (console->expect_at == limit->from) {
		pv_buf_add(&console->pending, slot->out.data, slot->out.len);
		console->expect_at += slot->out.len;
	}
	pv_buf_free(&slot->out);
	if (ended)
		pv_raise(L, "console:expect: the VM went down before `%s` came", lua_tostring(L, TEXT));
	if (slot->timed_out)
		pv_raise(L, "console:expect: `%s` did not come within %s", lua_tostring(L, TEXT), limit->shown);
	lua_settop(L, LIMIT);
	return expect_on(L);
}

static int expect_on(lua_State *L)
{
	struct pv_console *console = lua_touserdata(L, CONSOLE);
	struct limit *limit = lua_touserdata(L, LIMIT);
	Pv__ReadConsoleCall read = PV__READ_CONSOLE_CALL__INIT;
	size_t len;
	const char *text = lua_tolstring(L, TEXT, &len);
	const char *found = memmem(pv_buf_str(&console->pending), console->pending.len, text, len);

	if (found != NULL) {
		size_t end = (size_t)(found - pv_buf_str(&console->pending)) + len;

		memmove(console->pending.data, console->pending.data + end, console->pending.len - end);
		console->pending.len -= end;
		lua_pushvalue(L, TEXT);
		return 1;
	}
	limit->from = console->expect_at;
	read.has_offset = read.has_max = read.has_timeout_ms = 1;
	read.offset = console->expect_at;
	read.max = CHUNK_MAX;
	read.timeout_ms = (pv_limit_left(L, &limit->limit) + 999999) / 1000000;
	return start_read(L, "console:expect", console, &read, got_more);
}

static int console_expect(lua_State *L)
{
	uint64_t ns = EXPECT_TIMEOUT_NS;
	struct limit *limit;
	size_t len;

	check(L, "console:expect");
	pv_arg_bytes(L, 2, "console:expect: text", &len);
	pv_arg_end(L, 3, "console:expect");
	if (len == 0)
		pv_raise(L, "console:expect: the text is empty");
	lua_settop(L, 3);
	if (!lua_isnil(L, 3))
		ns = pv_arg_duration(L, 3, "console:expect: timeout");
	limit = lua_newuserdatauv(L, sizeof(*limit), 0);
	*limit = (struct limit){ .limit = { .ns = ns } };
	pv_show_limit(ns, limit->shown);
	lua_replace(L, LIMIT);
	return expect_on(L);
}

static int console_close(lua_State *L)
{
	check(L, "console:close");
	pv_arg_end(L, 1, "console:close");
	return 0;
}

static int console_tostring(lua_State *L)
{
	(void)pv_check_object(L, "Console", PV_CONSOLE_TYPE);
	lua_pushliteral(L, "Console");
	return 1;
}

static int collect(lua_State *L)
{
	struct pv_console *console = lua_touserdata(L, 1);

	pv_buf_free(&console->pending);
	return 0;
}

void pv_open_console(lua_State *L)
{
	static const luaL_Reg methods[] = {
		{ "read", console_read },
		{ "read_log", console_read_log },
		{ "expect", console_expect },
		{ "close", console_close },
		{ NULL, NULL },
	};

	pv_new_type(L, PV_CONSOLE_TYPE, "console", methods, console_tostring);
	luaL_getmetatable(L, PV_CONSOLE_TYPE);
	lua_pushcfunction(L, collect);
	lua_setfield(L, -2, "__gc");
	lua_pop(L, 1);
	lua_newtable(L);
	lua_rawsetp(L, LUA_REGISTRYINDEX, &consoles_key);
}
