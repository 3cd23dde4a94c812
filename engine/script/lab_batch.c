/* Calls on all direct VMs of a lab, carried out concurrently. */
#include <string.h>

#include "engine/script/args.h"
#include "engine/script/call.h"
#include "engine/script/handles.h"
#include "engine/script/lab_methods.h"
#include "engine/script/script_internal.h"

#define BOOTED   PV__VM_STATE__VM_STATE_BOOTED
#define PAUSED   PV__VM_STATE__VM_STATE_PAUSED
#define SHUTDOWN PV__VM_STATE__VM_STATE_SHUTDOWN
#define DEAD     PV__VM_STATE__VM_STATE_DEAD

struct batch {
	const char *what;
	Pv__CallStarted__OpCase op;
	bool (*skips)(const struct pv_vm_view *vm);
	Pv__VmState needed; /* UNSPECIFIED: the engine decides for each VM */
};

static bool is_up(const struct pv_vm_view *vm)
{
	return vm->state == BOOTED || vm->state == PAUSED;
}

static bool is_down(const struct pv_vm_view *vm)
{
	return vm->state == SHUTDOWN && vm->in_flight == PV_VM_OP_NONE;
}

static bool skips_none(const struct pv_vm_view *vm)
{
	(void)vm;
	return false;
}

static const struct batch boot = { "lab:boot", PV__CALL_STARTED__OP_BOOT, is_up, PV__VM_STATE__VM_STATE_UNSPECIFIED };
static const struct batch shutdown = { "lab:shutdown", PV__CALL_STARTED__OP_SHUTDOWN, is_down,
	                               PV__VM_STATE__VM_STATE_UNSPECIFIED };
static const struct batch pause = { "lab:pause", PV__CALL_STARTED__OP_PAUSE, skips_none, BOOTED };
static const struct batch resume = { "lab:resume", PV__CALL_STARTED__OP_RESUME, skips_none, PAUSED };

/* One error that names each VM that failed; then the lab itself for lab:boot. */
static int finish(lua_State *L, struct pv_wait *wait)
{
	struct pv_calls *calls = (struct pv_calls *)wait;
	const struct pv_state *state = pv_engine_state(calls->engine);
	size_t n_failed = 0;
	struct pv_buf *text = pv_buf_push(L);

	for (size_t i = 0; i < calls->n; i++) {
		struct pv_vm_view vm;

		if (calls->slots[i].error == NULL)
			continue;
		n_failed++;
		pv_buf_addf(text, "%s%s: %s", n_failed > 1 ? "; " : "",
		            pv_state_vm(state, calls->slots[i].vm, &vm) ? vm.name : "(gone)", calls->slots[i].error);
	}
	if (n_failed > 0)
		pv_raise(L, "%s: %I VM(s) failed: %s", calls->what, (LUAI_UACINT)n_failed, pv_buf_str(text));
	if (calls->what != boot.what)
		return 0;
	lua_pushvalue(L, 1);
	return 1;
}

static void check_states(lua_State *L, const struct batch *batch, const uint32_t *ids, size_t n)
{
	const struct pv_state *state = pv_engine_state(pv_script_of(L)->engine);

	for (size_t i = 0; i < n; i++) {
		struct pv_vm_view vm;

		if (!pv_state_vm(state, ids[i], &vm))
			continue;
		if (vm.in_flight != PV_VM_OP_NONE)
			pv_raise(L, "%s: a %s of the VM \"%s\" is in flight; nothing was changed", batch->what,
			         pv_vm_op_name(vm.in_flight), vm.name);
		if (vm.state == batch->needed)
			continue;
		pv_raise(L, "%s: the VM \"%s\" is %s, not %s; nothing was changed", batch->what, vm.name,
		         pv_vm_state_name(vm.state), pv_vm_state_name(batch->needed));
	}
}

static void start(lua_State *L, const struct batch *batch, struct pv_calls *calls, size_t i, uint32_t vm)
{
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__BootCall boot_call = PV__BOOT_CALL__INIT;
	Pv__ShutdownCall shutdown_call = PV__SHUTDOWN_CALL__INIT;
	Pv__PauseCall pause_call = PV__PAUSE_CALL__INIT;
	Pv__ResumeCall resume_call = PV__RESUME_CALL__INIT;

	started.op_case = batch->op;
	switch (batch->op) {
	case PV__CALL_STARTED__OP_BOOT:
		started.boot = &boot_call;
		break;
	case PV__CALL_STARTED__OP_SHUTDOWN:
		started.shutdown = &shutdown_call;
		break;
	case PV__CALL_STARTED__OP_PAUSE:
		started.pause = &pause_call;
		break;
	default:
		started.resume = &resume_call;
		break;
	}
	/* A refusal stays in the slot, and is reported with the failures. */
	(void)!pv_calls_start(L, calls, i, vm, &started);
}

static int run(lua_State *L, const struct batch *batch)
{
	struct pv_script *script = pv_script_of(L);
	struct pv_lab_view lab;
	struct pv_calls *calls;
	uint32_t *ids;
	size_t n = 0;

	pv_task_current(L, batch->what);
	pv_check_lab(L, 1, batch->what, &lab);
	pv_arg_end(L, 1, batch->what);
	lua_settop(L, 1);
	/* A copy: starting a call changes the state, which ends the view. */
	ids = lua_newuserdatauv(L, lab.n_vms * sizeof(*ids) + 1, 0);
	for (size_t i = 0; i < lab.n_vms; i++) {
		struct pv_vm_view vm;

		if (pv_state_vm(pv_engine_state(script->engine), lab.vms[i], &vm) && !batch->skips(&vm))
			ids[n++] = lab.vms[i];
	}
	if (batch->needed != PV__VM_STATE__VM_STATE_UNSPECIFIED)
		check_states(L, batch, ids, n);
	calls = pv_calls_push(L, batch->what, n, finish);
	for (size_t i = 0; i < n; i++)
		start(L, batch, calls, i, ids[i]);
	return pv_calls_await(L, calls);
}

static int lab_boot(lua_State *L)
{
	return run(L, &boot);
}

static int lab_shutdown(lua_State *L)
{
	return run(L, &shutdown);
}

static int lab_pause(lua_State *L)
{
	return run(L, &pause);
}

static int lab_resume(lua_State *L)
{
	return run(L, &resume);
}

const luaL_Reg pv_lab_batch_methods[] = {
	{ "boot", lab_boot }, { "shutdown", lab_shutdown }, { "pause", lab_pause }, { "resume", lab_resume },
	{ NULL, NULL },
};
