/* The VM of scripts: its life. */
#include "engine/script/args.h"
#include "engine/script/boot_opts.h"
#include "engine/script/call.h"
#include "engine/script/handles.h"
#include "engine/script/script_internal.h"
#include "engine/script/vm_methods.h"

#define RESET_WAIT_MS 60000u

static int return_nothing(lua_State *L, struct pv_wait *wait)
{
	pv_call_result(L, wait);
	return 0;
}

static int return_self(lua_State *L, struct pv_wait *wait)
{
	pv_call_result(L, wait);
	lua_pushvalue(L, 1);
	return 1;
}

static int vm_boot(lua_State *L)
{
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__BootCall boot = PV__BOOT_CALL__INIT;
	struct pv_vm_view vm;
	uint32_t id;

	pv_task_current(L, "vm:boot");
	id = pv_check_vm(L, 1, "vm:boot", &vm);
	pv_arg_end(L, 2, "vm:boot");
	lua_settop(L, 2);
	boot.spec = pv_boot_opts_push(L, 2, "vm:boot");
	pv_boot_opts_name_disks(L, "vm:boot", vm.name, true, boot.spec);
	started.op_case = PV__CALL_STARTED__OP_BOOT;
	started.boot = &boot;
	return pv_call_one(L, "vm:boot", id, &started, return_self);
}

/* Also after the VM's scope has ended: it is down then. */
static int shut_down(lua_State *L, const char *what)
{
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__ShutdownCall shutdown = PV__SHUTDOWN_CALL__INIT;
	const struct pv_handle *handle = luaL_testudata(L, 1, PV_VM_TYPE);
	struct pv_vm_view vm;

	pv_task_current(L, what);
	if (handle != NULL && !pv_state_vm(pv_engine_state(pv_script_of(L)->engine), handle->id, &vm))
		return 0;
	pv_check_vm(L, 1, what, &vm);
	pv_arg_end(L, 1, what);
	if (vm.state == PV__VM_STATE__VM_STATE_SHUTDOWN && vm.in_flight == PV_VM_OP_NONE)
		return 0;
	started.op_case = PV__CALL_STARTED__OP_SHUTDOWN;
	started.shutdown = &shutdown;
	return pv_call_one(L, what, vm.id, &started, return_nothing);
}

static int vm_shutdown(lua_State *L)
{
	return shut_down(L, "vm:shutdown");
}

static int vm_close(lua_State *L)
{
	return shut_down(L, "vm:close");
}

static int vm_pause(lua_State *L)
{
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__PauseCall pause = PV__PAUSE_CALL__INIT;
	struct pv_vm_view vm;

	pv_task_current(L, "vm:pause");
	pv_check_vm(L, 1, "vm:pause", &vm);
	pv_arg_end(L, 1, "vm:pause");
	started.op_case = PV__CALL_STARTED__OP_PAUSE;
	started.pause = &pause;
	return pv_call_one(L, "vm:pause", vm.id, &started, return_nothing);
}

static int vm_resume(lua_State *L)
{
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__ResumeCall resume = PV__RESUME_CALL__INIT;
	struct pv_vm_view vm;

	pv_task_current(L, "vm:resume");
	pv_check_vm(L, 1, "vm:resume", &vm);
	pv_arg_end(L, 1, "vm:resume");
	started.op_case = PV__CALL_STARTED__OP_RESUME;
	started.resume = &resume;
	return pv_call_one(L, "vm:resume", vm.id, &started, return_nothing);
}

static int vm_reset(lua_State *L)
{
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__ResetCall reset = PV__RESET_CALL__INIT;
	struct pv_vm_view vm;

	pv_task_current(L, "vm:reset");
	pv_check_vm(L, 1, "vm:reset", &vm);
	pv_arg_end(L, 1, "vm:reset");
	reset.has_wait_ms = 1;
	reset.wait_ms = vm.spec->has_wait_ms ? vm.spec->wait_ms : RESET_WAIT_MS;
	started.op_case = PV__CALL_STARTED__OP_RESET;
	started.reset = &reset;
	return pv_call_one(L, "vm:reset", vm.id, &started, return_nothing);
}

/* ---- accessors ---- */

static int vm_state(lua_State *L)
{
	struct pv_vm_view vm;

	pv_check_vm(L, 1, "vm:state", &vm);
	lua_pushstring(L, pv_vm_state_name(vm.state));
	return 1;
}

static int vm_name(lua_State *L)
{
	struct pv_vm_view vm;

	pv_check_vm(L, 1, "vm:name", &vm);
	lua_pushstring(L, vm.name);
	return 1;
}

static int vm_profile(lua_State *L)
{
	struct pv_vm_view vm;

	pv_check_vm(L, 1, "vm:profile", &vm);
	lua_pushstring(L, vm.profile);
	return 1;
}

/* The agent's channel is virtio-serial, so there is no vsock address. */
static int vm_cid(lua_State *L)
{
	struct pv_vm_view vm;

	pv_check_vm(L, 1, "vm:cid", &vm);
	lua_pushnil(L);
	return 1;
}

static int vm_tostring(lua_State *L)
{
	lua_pushliteral(L, "VM ");
	pv_push_handle_name(L, 1);
	lua_concat(L, 2);
	return 1;
}

static void add_methods(luaL_Reg *all, size_t *n, const luaL_Reg *some)
{
	for (; some->name != NULL; some++)
		all[(*n)++] = *some;
}

void pv_open_vm(lua_State *L)
{
	static const luaL_Reg methods[] = {
		{ "boot", vm_boot },       { "shutdown", vm_shutdown }, { "close", vm_close }, { "pause", vm_pause },
		{ "resume", vm_resume },   { "reset", vm_reset },       { "state", vm_state }, { "name", vm_name },
		{ "profile", vm_profile }, { "cid", vm_cid },           { NULL, NULL },
	};
	luaL_Reg all[64] = { { NULL, NULL } };
	size_t n = 0;

	add_methods(all, &n, methods);
	add_methods(all, &n, pv_vm_run_methods);
	add_methods(all, &n, pv_vm_file_methods);
	add_methods(all, &n, pv_vm_push_methods);
	add_methods(all, &n, pv_vm_object_methods);
	add_methods(all, &n, pv_vm_snapshot_methods);
	add_methods(all, &n, pv_vm_nic_methods);
	add_methods(all, &n, pv_vm_disk_methods);
	pv_new_type(L, PV_VM_TYPE, "vm", all, vm_tostring);
}
