/* vm_spawned and vm_shutdown: the uptimes of VMs. An uptime begins with a boot that ended well, and ends with the guest, however that goes: each
 * vm_spawned has one vm_shutdown, if the run got so far. A reset or a reboot is none. */
#include <stdlib.h>

#include "engine/core/vm_fsm.h"
#include "engine/replay/json_fields.h"
#include "engine/replay/projection_internal.h"
#include "proto/mem.h"

static struct projected_vm *find_vm(const struct pv_projection *projection, uint32_t id)
{
	struct projected_vm *vm;

	HASH_FIND(hh, projection->vms, &id, sizeof(id), vm);
	return vm;
}

static struct projected_call *find_call(const struct pv_projection *projection, uint64_t id)
{
	struct projected_call *call;

	HASH_FIND(hh, projection->calls, &id, sizeof(id), call);
	return call;
}

static void on_declared(struct pv_projection *projection, const Pv__Event *event)
{
	const Pv__VmDeclared *body = event->vm_declared;
	struct projected_vm *vm;

	if (find_vm(projection, body->id))
		return;
	vm = PV_NEW(struct projected_vm);
	vm->id = body->id;
	vm->file = event->file;
	vm->name = pv_xstrdup(body->name ? body->name : "");
	vm->profile = pv_xstrdup(body->profile ? body->profile : "");
	HASH_ADD(hh, projection->vms, id, sizeof(vm->id), vm);
}

static void on_started(struct pv_projection *projection, const Pv__CallStarted *body)
{
	struct projected_vm *vm = find_vm(projection, body->vm);
	struct projected_call *call;

	if (!vm || find_call(projection, body->id))
		return;
	call = PV_NEW(struct projected_call);
	call->id = body->id;
	call->vm = vm->id;
	call->life = vm->life;
	call->is_boot = pv_call_brings_up(body->op_case);
	call->is_shutdown = body->op_case == PV__CALL_STARTED__OP_SHUTDOWN;
	call->is_lifecycle = call->is_boot || call->is_shutdown || body->op_case == PV__CALL_STARTED__OP_PAUSE ||
	                     body->op_case == PV__CALL_STARTED__OP_RESUME ||
	                     body->op_case == PV__CALL_STARTED__OP_RESET ||
	                     body->op_case == PV__CALL_STARTED__OP_SNAPSHOT;
	HASH_ADD(hh, projection->calls, id, sizeof(call->id), call);
	if (call->is_lifecycle) {
		vm->lifecycle = call->id;
		vm->stopping = call->is_shutdown;
	}
}

static struct json_object *object_of(const struct pv_projection *projection, const struct projected_vm *vm)
{
	struct json_object *payload = json_object_new_object();

	pv_json_add_text(payload, "file", pv_projected_path(projection, vm->file));
	pv_json_add_text(payload, "vm_name", vm->name);
	return payload;
}

/* The guest is gone. */
static struct json_object *goes_down(const struct pv_projection *projection, struct projected_vm *vm, uint64_t now_ns,
                                     const char **kind)
{
	struct json_object *payload = NULL;

	if (vm->up) {
		payload = object_of(projection, vm);
		pv_json_add_u64(payload, "duration_ns", now_ns > vm->up_since_ns ? now_ns - vm->up_since_ns : 0);
		*kind = "vm_shutdown";
	}
	vm->up = false;
	vm->life++;
	if (!vm->stopping)
		vm->lifecycle = 0;
	return payload;
}

static struct json_object *comes_up(const struct pv_projection *projection, struct projected_vm *vm,
                                    const Pv__BootResult *result, uint64_t now_ns, const char **kind)
{
	struct json_object *payload = object_of(projection, vm);

	vm->up = true;
	vm->up_since_ns = now_ns;
	pv_json_add_text(payload, "profile", vm->profile);
	pv_json_add_u64(payload, "memory_bytes", result->memory_bytes);
	pv_json_add_u64(payload, "cid", vm->id);
	*kind = "vm_spawned";
	return payload;
}

static struct json_object *ended(struct pv_projection *projection, const struct projected_call *call,
                                 const Pv__Event *event, const char **kind)
{
	const Pv__CallEnded *body = event->call_ended;
	struct projected_vm *vm = find_vm(projection, call->vm);
	bool is_error = body->outcome_case == PV__CALL_ENDED__OUTCOME_ERROR;
	bool current = vm && vm->lifecycle == call->id;

	/* A call of an earlier life tells of the past. */
	if (!vm || !body->error || (!current && call->life != vm->life))
		return NULL;
	if (current) {
		vm->lifecycle = 0;
		vm->stopping = false;
	}
	if (is_error && body->error->kind == PV__ERROR_KIND__ERROR_KIND_VM_DEAD)
		return goes_down(projection, vm, event->mono_ns, kind);
	if (call->is_shutdown && !is_error)
		return goes_down(projection, vm, event->mono_ns, kind);
	if (call->is_boot && body->outcome_case == PV__CALL_ENDED__OUTCOME_BOOT)
		return comes_up(projection, vm, body->boot, event->mono_ns, kind);
	return NULL;
}

static struct json_object *on_ended(struct pv_projection *projection, const Pv__Event *event, const char **kind)
{
	struct projected_call *call = find_call(projection, event->call_ended->id);
	struct json_object *payload;

	if (!call)
		return NULL;
	payload = ended(projection, call, event, kind);
	HASH_DEL(projection->calls, call);
	free(call);
	return payload;
}

static struct json_object *on_changed(struct pv_projection *projection, const Pv__Event *event, const char **kind)
{
	struct projected_vm *vm = find_vm(projection, event->vm_changed->vm);

	if (!vm || event->vm_changed->change == PV__VM_CHANGE__VM_CHANGE_REBOOTED)
		return NULL;
	return goes_down(projection, vm, event->mono_ns, kind);
}

struct json_object *pv_projection_vm_event(struct pv_projection *projection, const Pv__Event *event, const char **kind)
{
	switch (event->body_case) {
	case PV__EVENT__BODY_VM_DECLARED:
		on_declared(projection, event);
		return NULL;
	case PV__EVENT__BODY_CALL_STARTED:
		on_started(projection, event->call_started);
		return NULL;
	case PV__EVENT__BODY_CALL_ENDED:
		return on_ended(projection, event, kind);
	case PV__EVENT__BODY_VM_CHANGED:
		return on_changed(projection, event, kind);
	default:
		return NULL;
	}
}

void pv_projection_forget_vms(struct pv_projection *projection, uint32_t file)
{
	struct projected_call *call, *next_call;
	struct projected_vm *vm, *next_vm;

	HASH_ITER (hh, projection->calls, call, next_call) {
		vm = find_vm(projection, call->vm);
		if (file && vm && vm->file != file)
			continue;
		HASH_DEL(projection->calls, call);
		free(call);
	}
	HASH_ITER (hh, projection->vms, vm, next_vm) {
		if (file && vm->file != file)
			continue;
		HASH_DEL(projection->vms, vm);
		free(vm->name);
		free(vm->profile);
		free(vm);
	}
}
