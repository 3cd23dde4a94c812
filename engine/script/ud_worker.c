/* The Worker of scripts: a process of the guest that starts programs with its own credentials, directory and descriptors. */
#include <signal.h>

#include "engine/script/args.h"
#include "engine/script/call.h"
#include "engine/script/objects.h"
#include "engine/script/script_internal.h"
#include "engine/script/vm_methods.h"

/* The first user value lists the Processes of run_async that were not joined yet. */
struct worker {
	struct pv_object_ref ref;
};

static struct worker *check(lua_State *L, const char *what)
{
	pv_task_current(L, what);
	return pv_check_object(L, what, PV_WORKER_TYPE);
}

static struct worker *check_open(lua_State *L, const char *what)
{
	struct worker *worker = check(L, what);

	if (worker->ref.closed)
		pv_raise(L, "%s: worker is closed", what);
	return worker;
}

static int spawned(lua_State *L, struct pv_wait *wait)
{
	struct worker *worker = lua_touserdata(L, 1);

	pv_call_result(L, wait);
	pv_object_opened(&worker->ref, wait);
	lua_pushvalue(L, 1);
	return 1;
}

int pv_worker_spawn(lua_State *L, const char *what, uint32_t vm)
{
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__SpawnWorkerCall call = PV__SPAWN_WORKER_CALL__INIT;
	struct worker *worker = lua_newuserdatauv(L, sizeof(*worker), 1);

	*worker = (struct worker){ .ref = { .vm = vm } };
	luaL_setmetatable(L, PV_WORKER_TYPE);
	lua_newtable(L);
	lua_setiuservalue(L, -2, 1);
	lua_replace(L, 1);
	started.op_case = PV__CALL_STARTED__OP_SPAWN_WORKER;
	started.spawn_worker = &call;
	return pv_call_one(L, what, vm, &started, spawned);
}

/* ---- programs ---- */

static int worker_run(lua_State *L)
{
	static const struct pv_run_words words = PV_RUN_WORDS("worker:run");
	const struct worker *worker = check_open(L, words.what);
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__WorkerRunCall call = PV__WORKER_RUN_CALL__INIT;
	Pv__RunCall run = PV__RUN_CALL__INIT;
	Pv__Payload input = PV__PAYLOAD__INIT;

	pv_run_read(L, &words, false, &run, &input);
	call.has_worker = 1;
	call.worker = worker->ref.id;
	call.run = &run;
	started.op_case = PV__CALL_STARTED__OP_WORKER_RUN;
	started.worker_run = &call;
	return pv_call_one(L, words.what, worker->ref.vm, &started, pv_run_return_result);
}

static int worker_run_async(lua_State *L)
{
	static const struct pv_run_words words = PV_RUN_WORDS("worker:run_async");
	const struct worker *worker = check_open(L, words.what);

	return pv_spawn(L, &words, worker->ref.vm, worker->ref.id);
}

/* ---- all children ---- */

/* The stack of kill and join: the worker, its children, those that are asked, and the wait. */
enum { WORKER = 1, CHILDREN, ASKED };

/* Leaves the children that still are there, and were not waited for, in the table at ASKED. */
static size_t list_children(lua_State *L)
{
	size_t n = 0;

	lua_settop(L, WORKER);
	lua_getiuservalue(L, WORKER, 1);
	lua_newtable(L);
	for (size_t i = 1; i <= lua_rawlen(L, CHILDREN); i++) {
		lua_rawgeti(L, CHILDREN, (lua_Integer)i);
		if (lua_getiuservalue(L, -1, 1) == LUA_TNIL && pv_object_is_there(L, pv_process_ref(L, -2))) {
			lua_pushvalue(L, -2);
			lua_rawseti(L, ASKED, (lua_Integer)++n);
		}
		lua_settop(L, ASKED);
	}
	return n;
}

static const struct pv_object_ref *asked(lua_State *L, size_t i)
{
	const struct pv_object_ref *ref;

	lua_rawgeti(L, ASKED, (lua_Integer)i + 1);
	ref = pv_process_ref(L, -1);
	lua_pop(L, 1);
	return ref;
}

static void raise_first_error(lua_State *L, const struct pv_calls *calls)
{
	for (size_t i = 0; i < calls->n; i++)
		if (calls->slots[i].error != NULL)
			pv_raise(L, "%s: %s", calls->what, calls->slots[i].error);
}

static int killed(lua_State *L, struct pv_wait *wait)
{
	raise_first_error(L, (struct pv_calls *)wait);
	return 0;
}

static int worker_kill(lua_State *L)
{
	const struct worker *worker = check_open(L, "worker:kill");
	int number = lua_isnoneornil(L, 2) ? SIGTERM : pv_arg_signal(L, 2, "worker:kill");
	struct pv_calls *calls;
	size_t n;

	pv_arg_end(L, 2, "worker:kill");
	n = list_children(L);
	calls = pv_calls_push(L, "worker:kill", n, killed);
	for (size_t i = 0; i < n; i++) {
		Pv__CallStarted started = PV__CALL_STARTED__INIT;
		Pv__SignalCall call = PV__SIGNAL_CALL__INIT;

		call.has_process = call.has_signal = 1;
		call.process = asked(L, i)->id;
		call.signal = number;
		started.op_case = PV__CALL_STARTED__OP_SIGNAL;
		started.signal = &call;
		(void)!pv_calls_start(L, calls, i, worker->ref.vm, &started); /* a refusal is in its slot */
	}
	return pv_calls_await(L, calls);
}

/* Pushes what join tells of the Process on top, which has its result. */
static void push_report(lua_State *L)
{
	static const char *const fields[] = { "status", "exit_code", "signal" };
	int process = lua_gettop(L);

	lua_createtable(L, 0, 4);
	lua_pushinteger(L, (lua_Integer)pv_process_ref(L, process)->id);
	lua_setfield(L, -2, "handle");
	lua_getiuservalue(L, process, 1);
	for (size_t i = 0; lua_istable(L, -1) && i < sizeof(fields) / sizeof(fields[0]); i++) {
		lua_getfield(L, -1, fields[i]);
		lua_setfield(L, -3, fields[i]);
	}
	lua_pop(L, 1);
}

static int joined(lua_State *L, struct pv_wait *wait)
{
	struct pv_calls *calls = (struct pv_calls *)wait;
	lua_Integer n = 0;

	raise_first_error(L, calls);
	for (size_t i = 0; i < calls->n; i++) {
		lua_rawgeti(L, ASKED, (lua_Integer)i + 1);
		pv_push_run_result(L, &calls->slots[i]);
		lua_setiuservalue(L, -2, 1);
		lua_pop(L, 1);
	}
	lua_newtable(L);
	for (size_t i = 1; i <= lua_rawlen(L, CHILDREN); i++) {
		lua_rawgeti(L, CHILDREN, (lua_Integer)i);
		if (lua_getiuservalue(L, -1, 1) == LUA_TNIL) { /* spawned meanwhile, or closed */
			lua_pop(L, 2);
			continue;
		}
		lua_pop(L, 1);
		push_report(L);
		lua_rawseti(L, -3, ++n);
		lua_pop(L, 1);
	}
	/* Those that were spawned while it waited are the next join's. */
	lua_newtable(L);
	for (size_t i = 1, kept = 0; i <= lua_rawlen(L, CHILDREN); i++) {
		lua_rawgeti(L, CHILDREN, (lua_Integer)i);
		if (lua_getiuservalue(L, -1, 1) == LUA_TNIL && pv_object_is_there(L, pv_process_ref(L, -2))) {
			lua_pushvalue(L, -2);
			lua_rawseti(L, -4, (lua_Integer)++kept);
		}
		lua_pop(L, 2);
	}
	lua_setiuservalue(L, WORKER, 1);
	return 1;
}

static int worker_join(lua_State *L)
{
	const struct worker *worker = check_open(L, "worker:join");
	struct pv_calls *calls;
	size_t n;

	pv_arg_end(L, 1, "worker:join");
	n = list_children(L);
	calls = pv_calls_push(L, "worker:join", n, joined);
	for (size_t i = 0; i < n; i++) {
		Pv__CallStarted started = PV__CALL_STARTED__INIT;
		Pv__WaitCall call = PV__WAIT_CALL__INIT;

		call.has_process = 1;
		call.process = asked(L, i)->id;
		started.op_case = PV__CALL_STARTED__OP_WAIT;
		started.wait = &call;
		(void)!pv_calls_start(L, calls, i, worker->ref.vm, &started); /* a refusal is in its slot */
	}
	return pv_calls_await(L, calls);
}

/* ---- the rest ---- */

static int worker_handle(lua_State *L)
{
	const struct worker *worker = pv_check_object(L, "worker:handle", PV_WORKER_TYPE);

	lua_pushinteger(L, (lua_Integer)worker->ref.id);
	return 1;
}

static int worker_close(lua_State *L)
{
	struct worker *worker = check(L, "worker:close");
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__CloseWorkerCall call = PV__CLOSE_WORKER_CALL__INIT;

	pv_arg_end(L, 1, "worker:close");
	worker->ref.closed = true;
	if (!pv_object_is_there(L, &worker->ref))
		return 0;
	call.has_worker = 1;
	call.worker = worker->ref.id;
	started.op_case = PV__CALL_STARTED__OP_CLOSE_WORKER;
	started.close_worker = &call;
	return pv_call_one(L, "worker:close", worker->ref.vm, &started, pv_object_closed);
}

static int worker_tostring(lua_State *L)
{
	const struct worker *worker = luaL_checkudata(L, 1, PV_WORKER_TYPE);

	lua_pushfstring(L, "Worker %I", (LUAI_UACINT)worker->ref.id);
	return 1;
}

void pv_open_worker(lua_State *L)
{
	static const luaL_Reg methods[] = {
		{ "run", worker_run },   { "run_async", worker_run_async }, { "kill", worker_kill },
		{ "join", worker_join }, { "handle", worker_handle },       { "close", worker_close },
		{ NULL, NULL },
	};

	pv_new_type(L, PV_WORKER_TYPE, "worker", methods, worker_tostring);
}
