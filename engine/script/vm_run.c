/* vm:run: the shapes of a command, as one RunCall.
 *
 *   run("text")  run("text", {options})       /bin/sh -c text
 *   run("prog", {"a", ...})                   the program with these arguments
 *   run("prog", {args = {...}, options})      the same with options
 *   run({"prog", "a", ...}, {options})        the same again
 */
#include <stdlib.h>
#include <string.h>

#include "engine/script/args.h"
#include "engine/script/call.h"
#include "engine/script/handles.h"
#include "engine/script/script_internal.h"
#include "engine/script/vm_methods.h"

#define WHAT "vm:run"

#define ARGS_MAX 100000

enum { COMMAND = 2, OPTIONS = 3 };

static ProtobufCBinaryData bytes_of(const char *text)
{
	return (ProtobufCBinaryData){ .data = (uint8_t *)text, .len = strlen(text) };
}

/* ---- argv ---- */

/* Pushes a userdata with room for `n` arguments. */
static void push_argv(lua_State *L, Pv__RunCall *run, size_t n)
{
	if (n > ARGS_MAX)
		pv_raise(L, WHAT ": %I arguments are too many", (LUAI_UACINT)n);
	run->argv = lua_newuserdatauv(L, n * sizeof(*run->argv), 0);
	run->n_argv = n;
}

/* Reads the array at `idx` behind the first `from` arguments. */
static void read_items(lua_State *L, int idx, Pv__RunCall *run, size_t from)
{
	for (size_t i = from; i < run->n_argv; i++) {
		lua_rawgeti(L, idx, (lua_Integer)(i - from) + 1);
		lua_pushfstring(L, WHAT ": item %I of the arguments", (LUAI_UACINT)(i - from) + 1);
		run->argv[i] = bytes_of(pv_arg_text(L, lua_gettop(L) - 1, lua_tostring(L, -1)));
		lua_pop(L, 2);
	}
}

struct shape {
	size_t items; /* integer keys */
	bool names;   /* other keys */
};

static struct shape shape_of(lua_State *L, int idx)
{
	struct shape shape = { 0 };

	lua_pushnil(L);
	while (lua_next(L, idx) != 0) {
		lua_pop(L, 1);
		if (lua_isinteger(L, -1))
			shape.items++;
		else
			shape.names = true;
	}
	return shape;
}

static void check_array(lua_State *L, int idx, struct shape shape)
{
	if (shape.items != 0 && shape.names)
		pv_raise(L, WHAT ": array items and option keys in one table");
	if (shape.items != lua_rawlen(L, idx))
		pv_raise(L, WHAT ": the arguments are not an array without gaps");
}

static void use_shell(lua_State *L, Pv__RunCall *run, const char *text)
{
	push_argv(L, run, 3);
	run->argv[0] = bytes_of("/bin/sh");
	run->argv[1] = bytes_of("-c");
	run->argv[2] = bytes_of(text);
}

static void use_program(lua_State *L, Pv__RunCall *run, const char *program, int args)
{
	if (*program == '\0')
		pv_raise(L, WHAT ": the program's name is empty");
	push_argv(L, run, lua_rawlen(L, args) + 1);
	run->argv[0] = bytes_of(program);
	read_items(L, args, run, 1);
}

/* The command is an array, program first. */
static void read_array_command(lua_State *L, Pv__RunCall *run, bool has_args)
{
	struct shape shape = shape_of(L, COMMAND);

	check_array(L, COMMAND, shape);
	if (shape.items == 0)
		pv_raise(L, WHAT ": the command is an empty table");
	if (has_args)
		pv_raise(L, WHAT ": args cannot stand beside a command that is an array");
	push_argv(L, run, shape.items);
	read_items(L, COMMAND, run, 0);
	if (run->argv[0].len == 0)
		pv_raise(L, WHAT ": the program's name is empty");
}

/* Returns false if the table at OPTIONS holds arguments instead of options. */
static bool read_command(lua_State *L, Pv__RunCall *run)
{
	struct shape shape = shape_of(L, OPTIONS);
	bool has_args;

	check_array(L, OPTIONS, shape);
	if (lua_type(L, COMMAND) == LUA_TTABLE) {
		if (shape.items > 0)
			pv_raise(L, WHAT ": options have names; the arguments stand in the first table already");
		has_args = pv_get_option(L, OPTIONS, "args");
		read_array_command(L, run, has_args);
		return true;
	}
	if (shape.items > 0) {
		use_program(L, run, pv_arg_text(L, COMMAND, WHAT ": command"), OPTIONS);
		return false;
	}
	if (pv_get_option(L, OPTIONS, "args")) {
		int args = lua_gettop(L);

		pv_arg_table(L, args, WHAT ": args");
		shape = shape_of(L, args);
		if (shape.names)
			pv_raise(L, WHAT ": args is not an array");
		check_array(L, args, shape);
		use_program(L, run, pv_arg_text(L, COMMAND, WHAT ": command"), args);
		return true;
	}
	use_shell(L, run, pv_arg_text(L, COMMAND, WHAT ": command"));
	return true;
}

/* ---- options ---- */

struct env {
	Pv__EnvEntry entry;
	Pv__Payload value;
};

static void read_env_entry(lua_State *L, struct env *env)
{
	const char *name;
	size_t len;

	if (lua_type(L, -2) != LUA_TSTRING)
		pv_raise(L, WHAT ": env: a name is a %s", luaL_typename(L, -2));
	name = pv_arg_text(L, lua_gettop(L) - 1, WHAT ": env");
	if (*name == '\0' || strchr(name, '=') != NULL)
		pv_raise(L, WHAT ": env: \"%s\" is no name of a variable", name);
	lua_pushfstring(L, WHAT ": env: %s", name);
	pv__env_entry__init(&env->entry);
	pv__payload__init(&env->value);
	env->entry.name = (char *)name;
	env->entry.value = &env->value;
	env->value.kind_case = PV__PAYLOAD__KIND_DATA;
	env->value.data.data = (uint8_t *)pv_arg_bytes(L, lua_gettop(L) - 1, lua_tostring(L, -1), &len);
	env->value.data.len = len;
	if (memchr(env->value.data.data, '\0', len) != NULL)
		pv_raise(L, "%s: the value holds a zero byte", lua_tostring(L, -1));
	lua_pop(L, 1);
}

static int by_name(const void *a, const void *b)
{
	return strcmp((*(Pv__EnvEntry *const *)a)->name, (*(Pv__EnvEntry *const *)b)->name);
}

/* Sorted, so that equal calls give equal events. */
static void read_env(lua_State *L, int idx, Pv__RunCall *run)
{
	struct shape shape;
	struct env *env;
	size_t n;

	pv_arg_table(L, idx, WHAT ": env");
	shape = shape_of(L, idx);
	if (shape.items > 0)
		pv_raise(L, WHAT ": env is a map from names to values, not an array");
	n = 0;
	lua_pushnil(L);
	while (lua_next(L, idx) != 0) {
		lua_pop(L, 1);
		n++;
	}
	env = lua_newuserdatauv(L, n * (sizeof(*env) + sizeof(*run->env)) + 1, 0);
	run->env = (Pv__EnvEntry **)(void *)(env + n);
	lua_pushnil(L);
	while (lua_next(L, idx) != 0) {
		read_env_entry(L, &env[run->n_env]);
		run->env[run->n_env] = &env[run->n_env].entry;
		run->n_env++;
		lua_pop(L, 1);
	}
	qsort(run->env, run->n_env, sizeof(*run->env), by_name);
}

static void read_timeout(lua_State *L, Pv__RunCall *run)
{
	bool has_timeout = pv_get_option(L, OPTIONS, "timeout");
	int timeout = lua_gettop(L);
	lua_Integer ms;

	if (pv_get_option(L, OPTIONS, "timeout_ms")) {
		if (has_timeout)
			pv_raise(L, WHAT ": timeout and timeout_ms exclude each other");
		ms = pv_arg_integer(L, lua_gettop(L), WHAT ": timeout_ms");
		if (ms < 0)
			pv_raise(L, WHAT ": timeout_ms: bad timeout %I: it is negative", (LUAI_UACINT)ms);
		run->timeout_ms = (uint64_t)ms;
	} else if (has_timeout) {
		/* Rounded up, so that a tiny limit does not become none. */
		run->timeout_ms = (pv_arg_duration(L, timeout, WHAT ": timeout") + 999999) / 1000000;
	}
	run->has_timeout_ms = run->timeout_ms != 0;
}

static void read_options(lua_State *L, Pv__RunCall *run, Pv__Payload *input)
{
	static const char *const keys[] = { "args", "env", "env_clear", "cwd", "stdin", "timeout", "timeout_ms", NULL };
	size_t len;

	pv_check_keys(L, OPTIONS, WHAT, keys);
	if (pv_get_option(L, OPTIONS, "env"))
		read_env(L, lua_gettop(L), run);
	if (pv_get_option(L, OPTIONS, "env_clear")) {
		run->env_clear = pv_arg_bool(L, lua_gettop(L), WHAT ": env_clear");
		run->has_env_clear = 1;
	}
	if (pv_get_option(L, OPTIONS, "cwd")) {
		run->cwd = bytes_of(pv_arg_text(L, lua_gettop(L), WHAT ": cwd"));
		run->has_cwd = 1;
	}
	if (pv_get_option(L, OPTIONS, "stdin")) {
		input->kind_case = PV__PAYLOAD__KIND_DATA;
		input->data.data = (uint8_t *)pv_arg_bytes(L, lua_gettop(L), WHAT ": stdin", &len);
		input->data.len = len;
		run->stdin_data = input;
	}
	read_timeout(L, run);
}

static int return_result(lua_State *L, struct pv_wait *wait)
{
	struct pv_call_slot *slot = pv_call_result(L, wait);

	pv_push_run_result(L, slot);
	pv_buf_free(&slot->out);
	pv_buf_free(&slot->err);
	return 1;
}

static int vm_run(lua_State *L)
{
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__RunCall run = PV__RUN_CALL__INIT;
	Pv__Payload input = PV__PAYLOAD__INIT;
	struct pv_vm_view vm;

	pv_task_current(L, WHAT);
	pv_check_vm(L, 1, WHAT, &vm);
	pv_arg_end(L, OPTIONS, WHAT);
	lua_settop(L, OPTIONS);
	luaL_checkstack(L, 24, NULL);
	if (lua_isnil(L, OPTIONS)) {
		lua_newtable(L);
		lua_replace(L, OPTIONS);
	}
	pv_arg_table(L, OPTIONS, WHAT ": options");
	if (lua_type(L, COMMAND) != LUA_TSTRING && lua_type(L, COMMAND) != LUA_TTABLE)
		pv_raise(L, WHAT ": a command (string or array) expected, got %s", luaL_typename(L, COMMAND));
	if (read_command(L, &run))
		read_options(L, &run, &input);
	started.op_case = PV__CALL_STARTED__OP_RUN;
	started.run = &run;
	return pv_call_one(L, WHAT, vm.id, &started, return_result);
}

const luaL_Reg pv_vm_run_methods[] = { { "run", vm_run }, { NULL, NULL } };
