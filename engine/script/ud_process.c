/* The Process of scripts: a program that run_async started. */
#include <errno.h>
#include <signal.h>

#include "engine/script/args.h"
#include "engine/script/call.h"
#include "engine/script/objects.h"
#include "engine/script/script_internal.h"
#include "engine/script/vm_methods.h"

/* User values: the result of wait, once it is there; the list of its worker's children, or nil. */
struct process {
	struct pv_object_ref ref;
	int64_t pid;
	uint64_t stdin_at; /* bytes written */
	uint64_t writing;  /* serial of the unit in which a write is at work; 0: none */
	bool stdin_closed;
};

static struct process *check(lua_State *L, const char *what)
{
	pv_task_current(L, what);
	return pv_check_object(L, what, PV_PROCESS_TYPE);
}

/* Pushes the result and returns true if the process has been waited for. */
static bool push_result(lua_State *L)
{
	if (lua_getiuservalue(L, 1, 1) == LUA_TTABLE)
		return true;
	lua_pop(L, 1);
	return false;
}

const struct pv_object_ref *pv_process_ref(lua_State *L, int idx)
{
	return lua_touserdata(L, idx);
}

static int spawned(lua_State *L, struct pv_wait *wait)
{
	struct process *process = lua_touserdata(L, 1);

	process->pid = pv_call_result(L, wait)->pid;
	pv_object_opened(&process->ref, wait);
	if (lua_getiuservalue(L, 1, 2) == LUA_TTABLE) {
		lua_pushvalue(L, 1);
		lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
	}
	lua_pushvalue(L, 1);
	return 1;
}

int pv_spawn(lua_State *L, const struct pv_run_words *w, uint32_t vm, uint64_t worker)
{
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__SpawnCall spawn = PV__SPAWN_CALL__INIT;
	Pv__RunCall run = PV__RUN_CALL__INIT;
	Pv__Payload input = PV__PAYLOAD__INIT;
	struct process *process;

	pv_run_read(L, w, true, &run, &input);
	process = lua_newuserdatauv(L, sizeof(*process), 2);
	*process = (struct process){ .ref = { .vm = vm } };
	if (run.stdin_data != NULL)
		process->stdin_at = run.stdin_data->data.len;
	luaL_setmetatable(L, PV_PROCESS_TYPE);
	if (worker != 0) {
		lua_getiuservalue(L, 1, 1);
		lua_setiuservalue(L, -2, 2);
	}
	lua_replace(L, 1);
	spawn.run = &run;
	spawn.has_worker = worker != 0;
	spawn.worker = worker;
	started.op_case = PV__CALL_STARTED__OP_SPAWN;
	started.spawn = &spawn;
	return pv_call_one(L, w->what, vm, &started, spawned);
}

/* ---- wait ---- */

static int waited(lua_State *L, struct pv_wait *wait)
{
	if (push_result(L)) /* another task was told before */
		return 1;
	pv_run_return_result(L, wait);
	lua_pushvalue(L, -1);
	lua_setiuservalue(L, 1, 1);
	return 1;
}

static int process_wait(lua_State *L)
{
	struct process *process = check(L, "proc:wait");
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__WaitCall call = PV__WAIT_CALL__INIT;

	pv_arg_end(L, 2, "proc:wait");
	lua_settop(L, 2);
	if (!lua_isnil(L, 2)) {
		uint64_t ns = pv_arg_duration(L, 2, "proc:wait: timeout");

		if (ns == 0)
			pv_raise(
			    L, "proc:wait: a timeout of 0 would kill the process at once; proc:status() tells without "
			       "waiting whether it runs");
		call.has_timeout_ms = 1;
		call.timeout_ms = (ns + 999999) / 1000000;
	}
	if (push_result(L))
		return 1;
	call.has_process = 1;
	call.process = process->ref.id;
	started.op_case = PV__CALL_STARTED__OP_WAIT;
	started.wait = &call;
	return pv_call_one(L, "proc:wait", process->ref.vm, &started, waited);
}

/* ---- signals ---- */

static int return_nothing(lua_State *L, struct pv_wait *wait)
{
	pv_call_result(L, wait);
	return 0;
}

static int send_signal(lua_State *L, const char *what, struct process *process, int number)
{
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__SignalCall call = PV__SIGNAL_CALL__INIT;

	if (process->ref.closed || push_result(L))
		return 0;
	call.has_process = 1;
	call.process = process->ref.id;
	call.has_signal = 1;
	call.signal = number;
	started.op_case = PV__CALL_STARTED__OP_SIGNAL;
	started.signal = &call;
	return pv_call_one(L, what, process->ref.vm, &started, return_nothing);
}

static int process_kill(lua_State *L)
{
	struct process *process = check(L, "proc:kill");

	pv_arg_end(L, 2, "proc:kill");
	return send_signal(L, "proc:kill", process, lua_isnoneornil(L, 2) ? SIGTERM : pv_arg_signal(L, 2, "proc:kill"));
}

static int process_signal(lua_State *L)
{
	struct process *process = check(L, "proc:signal");

	pv_arg_end(L, 2, "proc:signal");
	return send_signal(L, "proc:signal", process, pv_arg_signal(L, 2, "proc:signal"));
}

/* ---- status ---- */

static int told_status(lua_State *L, struct pv_wait *wait)
{
	const struct pv_call_slot *slot = pv_call_result(L, wait);

	lua_pushstring(L, slot->running ? "running" : pv_run_status_name(slot->status));
	return 1;
}

static int process_status(lua_State *L)
{
	struct process *process = check(L, "proc:status");
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__ProcessStatusCall call = PV__PROCESS_STATUS_CALL__INIT;

	pv_arg_end(L, 1, "proc:status");
	if (push_result(L)) {
		lua_getfield(L, -1, "status");
		return 1;
	}
	call.has_process = 1;
	call.process = process->ref.id;
	started.op_case = PV__CALL_STARTED__OP_PROCESS_STATUS;
	started.process_status = &call;
	return pv_call_one(L, "proc:status", process->ref.vm, &started, told_status);
}

static int process_pid(lua_State *L)
{
	struct process *process = pv_check_object(L, "proc:pid", PV_PROCESS_TYPE);

	lua_pushinteger(L, process->pid);
	return 1;
}

static int process_handle(lua_State *L)
{
	struct process *process = pv_check_object(L, "proc:handle", PV_PROCESS_TYPE);

	lua_pushinteger(L, (lua_Integer)process->ref.id);
	return 1;
}

/* ---- standard input ---- */

static int written(lua_State *L, struct pv_wait *wait)
{
	struct process *process = lua_touserdata(L, 1);
	const struct pv_call_slot *slot;

	process->writing = 0;
	slot = pv_call_result(L, wait);
	process->stdin_at += slot->count;
	lua_pushinteger(L, (lua_Integer)slot->count);
	return 1;
}

static int write_stdin(lua_State *L, const char *what, struct process *process, const char *data, size_t len, bool eof,
                       int (*then)(lua_State *L, struct pv_wait *))
{
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__StdinWriteCall call = PV__STDIN_WRITE_CALL__INIT;
	Pv__Payload content = PV__PAYLOAD__INIT;
	uint64_t serial = pv_script_of(L)->unit.serial;

	if (process->writing == serial)
		pv_raise(L, "%s: another task is writing to the standard input", what);
	process->writing = serial;
	call.has_process = 1;
	call.process = process->ref.id;
	call.has_offset = 1;
	call.offset = process->stdin_at;
	content.kind_case = PV__PAYLOAD__KIND_DATA;
	content.data.data = (uint8_t *)data;
	content.data.len = len;
	call.content = &content;
	call.has_eof = eof;
	call.eof = eof;
	started.op_case = PV__CALL_STARTED__OP_STDIN_WRITE;
	started.stdin_write = &call;
	return pv_call_one(L, what, process->ref.vm, &started, then);
}

static int process_stdin_write(lua_State *L)
{
	struct process *process = check(L, "proc:stdin_write");
	size_t len;
	const char *data = pv_arg_bytes(L, 2, "proc:stdin_write: data", &len);

	pv_arg_end(L, 2, "proc:stdin_write");
	if (process->stdin_closed)
		pv_raise(L, "proc:stdin_write: the standard input was closed by close_stdin");
	if (push_result(L))
		pv_raise(L, "proc:stdin_write: the process has ended");
	return write_stdin(L, "proc:stdin_write", process, data, len, false, written);
}

static int closed_stdin(lua_State *L, struct pv_wait *wait)
{
	struct process *process = lua_touserdata(L, 1);

	process->writing = 0;
	if (pv_call_outcome(wait)->sys_errno != EPIPE) /* else it has ended by itself */
		pv_call_result(L, wait);
	process->stdin_closed = true;
	return 0;
}

static int process_close_stdin(lua_State *L)
{
	struct process *process = check(L, "proc:close_stdin");

	pv_arg_end(L, 1, "proc:close_stdin");
	if (process->stdin_closed || process->ref.closed || push_result(L))
		return 0;
	return write_stdin(L, "proc:close_stdin", process, "", 0, true, closed_stdin);
}

/* ---- output ---- */

static int open_output(lua_State *L, const char *what, Pv__StreamKind kind)
{
	struct process *process = check(L, what);
	Pv__OpenStreamCall call = PV__OPEN_STREAM_CALL__INIT;

	pv_arg_end(L, 1, what);
	lua_settop(L, 1);
	call.has_kind = 1;
	call.kind = kind;
	call.has_process = 1;
	call.process = process->ref.id;
	return pv_stream_open(L, what, process->ref.vm, &call);
}

static int process_stdout(lua_State *L)
{
	return open_output(L, "proc:stdout_stream", PV__STREAM_KIND__STREAM_KIND_PROC_STDOUT);
}

static int process_stderr(lua_State *L)
{
	return open_output(L, "proc:stderr_stream", PV__STREAM_KIND__STREAM_KIND_PROC_STDERR);
}

/* ---- close ---- */

static int process_close(lua_State *L)
{
	struct process *process = check(L, "proc:close");
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__CloseProcessCall call = PV__CLOSE_PROCESS_CALL__INIT;

	pv_arg_end(L, 1, "proc:close");
	if (!pv_object_is_there(L, &process->ref)) {
		process->ref.closed = true;
		return 0;
	}
	/* Waited for: its result and output stay readable until its scope ends. */
	if (push_result(L))
		return 0;
	process->ref.closed = true;
	call.has_process = 1;
	call.process = process->ref.id;
	started.op_case = PV__CALL_STARTED__OP_CLOSE_PROCESS;
	started.close_process = &call;
	return pv_call_one(L, "proc:close", process->ref.vm, &started, pv_object_closed);
}

static int process_tostring(lua_State *L)
{
	const struct process *process = luaL_checkudata(L, 1, PV_PROCESS_TYPE);

	lua_pushfstring(L, "Process %I", (LUAI_UACINT)process->ref.id);
	return 1;
}

void pv_open_process(lua_State *L)
{
	static const luaL_Reg methods[] = {
		{ "wait", process_wait },
		{ "kill", process_kill },
		{ "signal", process_signal },
		{ "status", process_status },
		{ "pid", process_pid },
		{ "handle", process_handle },
		{ "stdin_write", process_stdin_write },
		{ "close_stdin", process_close_stdin },
		{ "stdout_stream", process_stdout },
		{ "stderr_stream", process_stderr },
		{ "close", process_close },
		{ NULL, NULL },
	};

	pv_new_type(L, PV_PROCESS_TYPE, "proc", methods, process_tostring);
}
