/* What a VM gives out: tails, its console, workers; and how many of them are open. */
#include <math.h>
#include <string.h>

#include "engine/core/network.h"
#include "engine/script/args.h"
#include "engine/script/handles.h"
#include "engine/script/objects.h"
#include "engine/script/script_internal.h"
#include "engine/script/vm_methods.h"

/* ---- tail_file ---- */

#define WHAT "vm:tail_file"

static void read_number(lua_State *L, int idx, Pv__OpenStreamCall *call)
{
	double value = lua_tonumber(L, idx);

	if (!isfinite(value) || fabs(value) >= 0x1p63) {
		lua_pushvalue(L, idx);
		pv_raise(L, WHAT ": start: %s is no offset", lua_tostring(L, -1));
	}
	call->from = value < 0 ? PV__TAIL_FROM__TAIL_FROM_BEFORE_END : PV__TAIL_FROM__TAIL_FROM_OFFSET;
	call->offset = (uint64_t)fabs(trunc(value));
	if (lua_isinteger(L, idx))
		call->offset = value < 0 ? 0u - (uint64_t)lua_tointeger(L, idx) : (uint64_t)lua_tointeger(L, idx);
	call->has_offset = 1;
}

static void read_start(lua_State *L, int idx, Pv__OpenStreamCall *call)
{
	const char *word;

	if (lua_type(L, idx) == LUA_TNUMBER) {
		read_number(L, idx, call);
		return;
	}
	if (lua_type(L, idx) != LUA_TSTRING)
		pv_raise(L, WHAT ": start: \"end\", \"beginning\" or an offset expected, got %s",
		         luaL_typename(L, idx));
	word = lua_tostring(L, idx);
	if (strcmp(word, "beginning") == 0 || strcmp(word, "start") == 0)
		call->from = PV__TAIL_FROM__TAIL_FROM_BEGINNING;
	else if (strcmp(word, "end") != 0)
		pv_raise(L, WHAT ": start: \"end\", \"beginning\" or an offset expected, got \"%s\"", word);
}

static int vm_tail_file(lua_State *L)
{
	static const char *const keys[] = { "start", NULL };
	Pv__OpenStreamCall call = PV__OPEN_STREAM_CALL__INIT;
	struct pv_vm_view vm;
	const char *path;

	pv_task_current(L, WHAT);
	pv_check_vm(L, 1, WHAT, &vm);
	path = pv_arg_text(L, 2, WHAT ": path");
	pv_arg_end(L, 3, WHAT);
	if (*path == '\0')
		pv_raise(L, WHAT ": path is empty");
	call.has_kind = call.has_path = call.has_from = 1;
	call.kind = PV__STREAM_KIND__STREAM_KIND_TAIL_FILE;
	call.path = (ProtobufCBinaryData){ .data = (uint8_t *)path, .len = strlen(path) };
	call.from = PV__TAIL_FROM__TAIL_FROM_END;
	lua_settop(L, 3);
	if (!lua_isnil(L, 3)) {
		pv_arg_table(L, 3, WHAT ": options");
		pv_check_keys(L, 3, WHAT, keys);
		if (pv_get_option(L, 3, "start"))
			read_start(L, lua_gettop(L), &call);
	}
	return pv_stream_open(L, WHAT, vm.id, &call);
}

#undef WHAT

/* ---- console, workers ---- */

static int vm_console(lua_State *L)
{
	struct pv_vm_view vm;

	pv_check_vm(L, 1, "vm:console", &vm);
	pv_arg_end(L, 1, "vm:console");
	pv_push_console(L, vm.id);
	return 1;
}

static int vm_spawn_worker(lua_State *L)
{
	static const char *const what = "vm:spawn_worker";
	struct pv_vm_view vm;

	pv_task_current(L, what);
	pv_check_vm(L, 1, what, &vm);
	pv_arg_end(L, 2, what);
	lua_settop(L, 2);
	if (!lua_isnil(L, 2)) {
		pv_arg_table(L, 2, what);
		if (pv_get_option(L, 2, "thread") && lua_toboolean(L, -1))
			pv_raise(L, "%s: thread = true is not supported: a worker is a process of the guest", what);
	}
	return pv_worker_spawn(L, what, vm.id);
}

/* ---- counts ---- */

/* Captures that see the VM are among them. */
static lua_Integer count_streams(lua_State *L, uint32_t vm)
{
	const struct pv_state *state = pv_engine_state(pv_script_of(L)->engine);
	uint32_t file = pv_script_of(L)->file;
	struct pv_object_view object = { 0 };
	lua_Integer n = 0;

	while (pv_state_object_after(state, vm, object.id, &object))
		n += object.kind == PV__OBJECT_KIND__OBJECT_KIND_STREAM;
	for (uint32_t bridge = pv_state_next_bridge(state, file, 0); bridge != 0;
	     bridge = pv_state_next_bridge(state, file, bridge)) {
		object.id = 0;
		if (pv_bridge_member_vm(pv_state_bridge_settings(state, bridge), vm) == NULL)
			continue;
		while (pv_state_capture_after(state, bridge, object.id, &object))
			n += object.owner == 0 || object.owner == vm;
	}
	return n;
}

static int vm_open_stream_count(lua_State *L)
{
	struct pv_vm_view vm;

	pv_check_vm(L, 1, "vm:open_stream_count", &vm);
	lua_pushinteger(L, count_streams(L, vm.id));
	return 1;
}

static int vm_is_quiescent(lua_State *L)
{
	struct pv_vm_view vm;

	pv_check_vm(L, 1, "vm:is_quiescent", &vm);
	lua_pushboolean(L, count_streams(L, vm.id) == 0 &&
	                       !pv_state_vm_is_busy(pv_engine_state(pv_script_of(L)->engine), vm.id));
	return 1;
}

const luaL_Reg pv_vm_object_methods[] = {
	{ "tail_file", vm_tail_file },       { "console", vm_console },
	{ "spawn_worker", vm_spawn_worker }, { "open_stream_count", vm_open_stream_count },
	{ "is_quiescent", vm_is_quiescent }, { NULL, NULL },
};
