/* run and run_async of VMs and workers: the shapes of a command, as one RunCall.
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
#include "engine/script/keys.h"
#include "engine/script/objects.h"
#include "engine/script/script_internal.h"
#include "engine/script/vm_methods.h"

#define ARGS_MAX 100000

enum { COMMAND = 2, OPTIONS = 3 };

static ProtobufCBinaryData bytes_of(const char *text)
{
	return (ProtobufCBinaryData){ .data = (uint8_t *)text, .len = strlen(text) };
}

/* ---- argv ---- */

/* Pushes a userdata with room for `n` arguments. */
static void push_argv(lua_State *L, const struct pv_run_words *w, Pv__RunCall *run, size_t n)
{
	if (n > ARGS_MAX)
		pv_raise(L, "%s: %I arguments are too many", w->what, (LUAI_UACINT)n);
	run->argv = lua_newuserdatauv(L, n * sizeof(*run->argv), 0);
	run->n_argv = n;
}

/* Reads the array at `idx` behind the first `from` arguments. */
static void read_items(lua_State *L, const struct pv_run_words *w, int idx, Pv__RunCall *run, size_t from)
{
	for (size_t i = from; i < run->n_argv; i++) {
		lua_rawgeti(L, idx, (lua_Integer)(i - from) + 1);
		lua_pushfstring(L, "%s: item %I of the arguments", w->what, (LUAI_UACINT)(i - from) + 1);
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

static void check_array(lua_State *L, const struct pv_run_words *w, int idx, struct shape shape)
{
	if (shape.items != 0 && shape.names)
		pv_raise(L, "%s: array items and option keys in one table", w->what);
	if (shape.items != lua_rawlen(L, idx))
		pv_raise(L, "%s: the arguments are not an array without gaps", w->what);
}

static void use_shell(lua_State *L, const struct pv_run_words *w, Pv__RunCall *run, const char *text)
{
	push_argv(L, w, run, 3);
	run->argv[0] = bytes_of("/bin/sh");
	run->argv[1] = bytes_of("-c");
	run->argv[2] = bytes_of(text);
}

static void use_program(lua_State *L, const struct pv_run_words *w, Pv__RunCall *run, const char *program, int args)
{
	if (*program == '\0')
		pv_raise(L, "%s: the program's name is empty", w->what);
	push_argv(L, w, run, lua_rawlen(L, args) + 1);
	run->argv[0] = bytes_of(program);
	read_items(L, w, args, run, 1);
}

/* The command is an array, program first. */
static void read_array_command(lua_State *L, const struct pv_run_words *w, Pv__RunCall *run, bool has_args)
{
	struct shape shape = shape_of(L, COMMAND);

	check_array(L, w, COMMAND, shape);
	if (shape.items == 0)
		pv_raise(L, "%s: the command is an empty table", w->what);
	if (has_args)
		pv_raise(L, "%s: args cannot stand beside a command that is an array", w->what);
	push_argv(L, w, run, shape.items);
	read_items(L, w, COMMAND, run, 0);
	if (run->argv[0].len == 0)
		pv_raise(L, "%s: the program's name is empty", w->what);
}

/* Returns false if the table at OPTIONS holds arguments instead of options. */
static bool read_command(lua_State *L, const struct pv_run_words *w, Pv__RunCall *run)
{
	struct shape shape = shape_of(L, OPTIONS);
	bool has_args;

	check_array(L, w, OPTIONS, shape);
	if (lua_type(L, COMMAND) == LUA_TTABLE) {
		if (shape.items > 0)
			pv_raise(L, "%s: options have names; the arguments stand in the first table already", w->what);
		has_args = pv_get_option(L, OPTIONS, "args");
		read_array_command(L, w, run, has_args);
		return true;
	}
	if (shape.items > 0) {
		use_program(L, w, run, pv_arg_text(L, COMMAND, w->command), OPTIONS);
		return false;
	}
	if (pv_get_option(L, OPTIONS, "args")) {
		int args = lua_gettop(L);

		pv_arg_table(L, args, w->args);
		shape = shape_of(L, args);
		if (shape.names)
			pv_raise(L, "%s: args is not an array", w->what);
		check_array(L, w, args, shape);
		use_program(L, w, run, pv_arg_text(L, COMMAND, w->command), args);
		return true;
	}
	use_shell(L, w, run, pv_arg_text(L, COMMAND, w->command));
	return true;
}

/* ---- options ---- */

struct env {
	Pv__EnvEntry entry;
	Pv__Payload value;
};

static void read_env_entry(lua_State *L, const struct pv_run_words *w, struct env *env)
{
	const char *name;
	size_t len;

	if (lua_type(L, -2) != LUA_TSTRING)
		pv_raise(L, "%s: env: a name is a %s", w->what, luaL_typename(L, -2));
	name = pv_arg_text(L, lua_gettop(L) - 1, w->env);
	if (*name == '\0' || strchr(name, '=') != NULL)
		pv_raise(L, "%s: env: \"%s\" is no name of a variable", w->what, name);
	lua_pushfstring(L, "%s: env: %s", w->what, name);
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
static void read_env(lua_State *L, const struct pv_run_words *w, int idx, Pv__RunCall *run)
{
	struct shape shape;
	struct env *env;
	int snapshot;
	size_t n;

	pv_arg_table(L, idx, w->env);
	shape = shape_of(L, idx);
	if (shape.items > 0)
		pv_raise(L, "%s: env is a map from names to values, not an array", w->what);
	pv_keys_push(L, idx, NULL);
	snapshot = lua_gettop(L);
	n = ((const struct pv_keys *)lua_touserdata(L, snapshot))->n;
	env = lua_newuserdatauv(L, n * (sizeof(*env) + sizeof(*run->env)) + 1, 0);
	run->env = (Pv__EnvEntry **)(void *)(env + n);
	while (pv_keys_next(L, snapshot, idx)) {
		read_env_entry(L, w, &env[run->n_env]);
		run->env[run->n_env] = &env[run->n_env].entry;
		run->n_env++;
		lua_pop(L, 2);
	}
	qsort(run->env, run->n_env, sizeof(*run->env), by_name);
}

static void read_timeout(lua_State *L, const struct pv_run_words *w, Pv__RunCall *run)
{
	bool has_timeout = pv_get_option(L, OPTIONS, "timeout");
	int timeout = lua_gettop(L);
	lua_Integer ms;

	if (pv_get_option(L, OPTIONS, "timeout_ms")) {
		if (has_timeout)
			pv_raise(L, "%s: timeout and timeout_ms exclude each other", w->what);
		ms = pv_arg_integer(L, lua_gettop(L), w->timeout_ms);
		if (ms < 0)
			pv_raise(L, "%s: timeout_ms: bad timeout %I: it is negative", w->what, (LUAI_UACINT)ms);
		run->timeout_ms = (uint64_t)ms;
	} else if (has_timeout) {
		/* Rounded up, so that a tiny limit does not become none. */
		run->timeout_ms = (pv_arg_duration(L, timeout, w->timeout) + 999999) / 1000000;
	}
	run->has_timeout_ms = run->timeout_ms != 0;
}

static void read_options(lua_State *L, const struct pv_run_words *w, Pv__RunCall *run, Pv__Payload *input)
{
	static const char *const keys[] = { "args", "env", "env_clear", "cwd", "stdin", "timeout", "timeout_ms", NULL };
	size_t len;

	pv_check_keys(L, OPTIONS, w->what, keys);
	if (pv_get_option(L, OPTIONS, "env"))
		read_env(L, w, lua_gettop(L), run);
	if (pv_get_option(L, OPTIONS, "env_clear")) {
		run->env_clear = pv_arg_bool(L, lua_gettop(L), w->env_clear);
		run->has_env_clear = 1;
	}
	if (pv_get_option(L, OPTIONS, "cwd")) {
		run->cwd = bytes_of(pv_arg_text(L, lua_gettop(L), w->cwd));
		run->has_cwd = 1;
	}
	if (pv_get_option(L, OPTIONS, "stdin")) {
		input->kind_case = PV__PAYLOAD__KIND_DATA;
		input->data.data = (uint8_t *)pv_arg_bytes(L, lua_gettop(L), w->input, &len);
		input->data.len = len;
		run->stdin_data = input;
	}
	read_timeout(L, w, run);
}

void pv_run_read(lua_State *L, const struct pv_run_words *w, bool async, Pv__RunCall *run, Pv__Payload *input)
{
	pv_arg_end(L, OPTIONS, w->what);
	lua_settop(L, OPTIONS);
	luaL_checkstack(L, 24, NULL);
	if (lua_isnil(L, OPTIONS)) {
		lua_newtable(L);
		lua_replace(L, OPTIONS);
	}
	pv_arg_table(L, OPTIONS, w->options);
	if (lua_type(L, COMMAND) != LUA_TSTRING && lua_type(L, COMMAND) != LUA_TTABLE)
		pv_raise(L, "%s: a command (string or array) expected, got %s", w->what, luaL_typename(L, COMMAND));
	if (!read_command(L, w, run))
		return;
	if (async && (pv_get_option(L, OPTIONS, "timeout") || pv_get_option(L, OPTIONS, "timeout_ms")))
		pv_raise(L, "%s: %s is not an option of it: use proc:wait(timeout)", w->what,
		         pv_get_option(L, OPTIONS, "timeout") ? "timeout" : "timeout_ms");
	read_options(L, w, run, input);
}

int pv_run_return_result(lua_State *L, struct pv_wait *wait)
{
	struct pv_call_slot *slot = pv_call_result(L, wait);

	pv_push_run_result(L, slot);
	pv_buf_free(&slot->out);
	pv_buf_free(&slot->err);
	return 1;
}

static int vm_run(lua_State *L)
{
	static const struct pv_run_words words = PV_RUN_WORDS("vm:run");
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__RunCall run = PV__RUN_CALL__INIT;
	Pv__Payload input = PV__PAYLOAD__INIT;
	struct pv_vm_view vm;

	pv_task_current(L, words.what);
	pv_check_vm(L, 1, words.what, &vm);
	pv_run_read(L, &words, false, &run, &input);
	started.op_case = PV__CALL_STARTED__OP_RUN;
	started.run = &run;
	return pv_call_one(L, words.what, vm.id, &started, pv_run_return_result);
}

static int vm_run_async(lua_State *L)
{
	static const struct pv_run_words words = PV_RUN_WORDS("vm:run_async");
	struct pv_vm_view vm;

	pv_task_current(L, words.what);
	pv_check_vm(L, 1, words.what, &vm);
	return pv_spawn(L, &words, vm.id, 0);
}

const luaL_Reg pv_vm_run_methods[] = { { "run", vm_run }, { "run_async", vm_run_async }, { NULL, NULL } };
