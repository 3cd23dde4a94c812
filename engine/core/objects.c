/* Processes, streams and workers of VMs: there from the intent that opens them until the one that closes them, or until their guest
 * ends. */
#include <string.h>

#include "engine/core/state_internal.h"

#define PROCESS PV__OBJECT_KIND__OBJECT_KIND_PROCESS
#define STREAM  PV__OBJECT_KIND__OBJECT_KIND_STREAM
#define WORKER  PV__OBJECT_KIND__OBJECT_KIND_WORKER
#define NOTHING PV__OBJECT_KIND__OBJECT_KIND_UNSPECIFIED

static const char *kind_name(Pv__ObjectKind kind)
{
	return kind == PROCESS ? "process" : kind == WORKER ? "worker" : "stream";
}

const char *pv_stream_kind_name(Pv__StreamKind kind)
{
	switch (kind) {
	case PV__STREAM_KIND__STREAM_KIND_TAIL_FILE:
		return "tail_file";
	case PV__STREAM_KIND__STREAM_KIND_PROC_STDOUT:
		return "proc_stdout_stream";
	case PV__STREAM_KIND__STREAM_KIND_PROC_STDERR:
		return "proc_stderr_stream";
	case PV__STREAM_KIND__STREAM_KIND_CONSOLE:
		return "console_stream";
	case PV__STREAM_KIND__STREAM_KIND_BRIDGE_CAPTURE:
		return "bridge_capture";
	case PV__STREAM_KIND__STREAM_KIND_NIC_CAPTURE:
		return "nic_capture";
	default:
		return "stream";
	}
}

static bool is_of_host(const struct pv_object *object)
{
	return object->kind == STREAM && object->stream_kind == PV__STREAM_KIND__STREAM_KIND_CONSOLE;
}

/* ---- the list ---- */

struct pv_object *pv_object_find(const struct pv_vm *vm, uint64_t id)
{
	struct pv_object *object;

	TAILQ_FOREACH (object, &vm->objects, link)
		if (object->id == id)
			return object;
	return NULL;
}

void pv_object_add(struct pv_vm *vm, const struct pv_object *object)
{
	struct pv_object *copy = PV_NEW(struct pv_object);

	*copy = *object;
	TAILQ_INSERT_TAIL(&vm->objects, copy, link);
}

static void free_object(struct pv_object *object)
{
	free(object->detail);
	free(object->source);
	free(object);
}

void pv_object_remove(struct pv_vm *vm, struct pv_object *object)
{
	if (object == NULL)
		return;
	TAILQ_REMOVE(&vm->objects, object, link);
	free_object(object);
}

void pv_objects_end(struct pv_vm *vm, bool opening)
{
	struct pv_object *object, *next;

	for (object = TAILQ_FIRST(&vm->objects); object != NULL; object = next) {
		next = TAILQ_NEXT(object, link);
		if (!is_of_host(object) && (object->open || opening))
			pv_object_remove(vm, object);
	}
}

void pv_objects_free_list(struct pv_object_list *list)
{
	struct pv_object *object;

	while ((object = TAILQ_FIRST(list)) != NULL) {
		TAILQ_REMOVE(list, object, link);
		free_object(object);
	}
}

void pv_objects_free(struct pv_vm *vm)
{
	pv_objects_free_list(&vm->objects);
}

/* ---- intents ---- */

/* The object that a call works on; 0 if it works on none. */
static uint64_t target_of(const Pv__CallStarted *call, Pv__ObjectKind *kind)
{
	*kind = PROCESS;
	switch (call->op_case) {
	case PV__CALL_STARTED__OP_WAIT:
		return call->wait->process;
	case PV__CALL_STARTED__OP_PROCESS_STATUS:
		return call->process_status->process;
	case PV__CALL_STARTED__OP_SIGNAL:
		return call->signal->process;
	case PV__CALL_STARTED__OP_STDIN_WRITE:
		return call->stdin_write->process;
	case PV__CALL_STARTED__OP_CLOSE_PROCESS:
		return call->close_process->process;
	case PV__CALL_STARTED__OP_OPEN_STREAM:
		if (call->open_stream->kind != PV__STREAM_KIND__STREAM_KIND_TAIL_FILE)
			return call->open_stream->process;
		break;
	case PV__CALL_STARTED__OP_READ_STREAM:
		*kind = STREAM;
		return call->read_stream->stream;
	case PV__CALL_STARTED__OP_CLOSE_STREAM:
		*kind = STREAM;
		return call->close_stream->stream;
	case PV__CALL_STARTED__OP_SPAWN:
		*kind = WORKER;
		if (call->spawn->has_worker)
			return call->spawn->worker;
		break;
	case PV__CALL_STARTED__OP_CLOSE_WORKER:
		*kind = WORKER;
		return call->close_worker->worker;
	case PV__CALL_STARTED__OP_WORKER_RUN:
		*kind = WORKER;
		return call->worker_run->worker;
	case PV__CALL_STARTED__OP_READ_CONSOLE:
		*kind = STREAM;
		if (call->read_console->has_stream)
			return call->read_console->stream;
		break;
	default:
		break;
	}
	*kind = NOTHING;
	return 0;
}

enum pv_err pv_objects_check_call(const struct pv_vm *vm, const Pv__CallStarted *call, struct pv_errmsg *msg)
{
	Pv__ObjectKind kind;
	uint64_t id = target_of(call, &kind);
	const struct pv_object *object;

	if (call->op_case == PV__CALL_STARTED__OP_OPEN_STREAM &&
	    (call->open_stream->kind < PV__STREAM_KIND__STREAM_KIND_TAIL_FILE ||
	     call->open_stream->kind > PV__STREAM_KIND__STREAM_KIND_PROC_STDERR))
		return pv_err_set(msg, PV_ERR_INVAL, "a stream of kind %d cannot be opened",
		                  (int)call->open_stream->kind);
	if (kind == NOTHING)
		return PV_OK;
	object = pv_object_find(vm, id);
	if (object == NULL)
		return pv_err_set(
		    msg, PV_ERR_STATE,
		    "the %s is gone: it was closed, or the VM \"%s\" was shut down, reset or restored since "
		    "it was opened",
		    kind_name(kind), vm->res.name);
	if (object->kind != kind)
		return pv_err_set(msg, PV_ERR_INVAL, "%llu is a %s, not a %s", (unsigned long long)id,
		                  kind_name(object->kind), kind_name(kind));
	if (!object->open)
		return pv_err_set(msg, PV_ERR_STATE, "the %s is not open yet", kind_name(kind));
	return PV_OK;
}

static void set_site(struct pv_object *object, const Pv__Site *site)
{
	if (site == NULL || site->source == NULL)
		return;
	object->source = pv_xstrdup(site->source);
	object->line = site->line;
}

static void add_stream(struct pv_vm *vm, uint64_t id, const Pv__OpenStreamCall *call)
{
	struct pv_object object = { .id = id, .kind = STREAM, .stream_kind = call->kind };

	if (call->kind == PV__STREAM_KIND__STREAM_KIND_TAIL_FILE) {
		struct pv_buf path = { 0 };

		/* A string field holds text. */
		for (size_t i = 0; i < call->path.len; i++) {
			uint8_t byte = call->path.data[i];

			pv_buf_addf(&path, byte < 0x20 || byte > 0x7e ? "\\x%02x" : "%c", byte);
		}
		object.detail = pv_buf_steal(&path);
	} else {
		object.owner = call->process;
		object.detail = pv_xasprintf("handle=%llu", (unsigned long long)call->process);
	}
	set_site(&object, call->creation_site);
	pv_object_add(vm, &object);
}

void pv_objects_call_started(struct pv_vm *vm, const Pv__Event *event)
{
	const Pv__CallStarted *call = event->call_started;
	struct pv_object object = { .id = call->id };

	switch (call->op_case) {
	case PV__CALL_STARTED__OP_SPAWN:
		object.kind = PROCESS;
		object.owner = call->spawn->worker;
		set_site(&object, event->site);
		pv_object_add(vm, &object);
		break;
	case PV__CALL_STARTED__OP_SPAWN_WORKER:
		object.kind = WORKER;
		set_site(&object, event->site);
		pv_object_add(vm, &object);
		break;
	case PV__CALL_STARTED__OP_OPEN_STREAM:
		add_stream(vm, call->id, call->open_stream);
		break;
	case PV__CALL_STARTED__OP_OPEN_CONSOLE:
		object.kind = STREAM;
		object.stream_kind = PV__STREAM_KIND__STREAM_KIND_CONSOLE;
		set_site(&object, call->open_console->creation_site);
		pv_object_add(vm, &object);
		break;
	case PV__CALL_STARTED__OP_CLOSE_PROCESS:
		pv_object_remove(vm, pv_object_find(vm, call->close_process->process));
		break;
	case PV__CALL_STARTED__OP_CLOSE_STREAM:
		pv_object_remove(vm, pv_object_find(vm, call->close_stream->stream));
		break;
	case PV__CALL_STARTED__OP_CLOSE_WORKER:
		pv_object_remove(vm, pv_object_find(vm, call->close_worker->worker));
		break;
	default:
		break;
	}
}

void pv_objects_call_ended(struct pv_vm *vm, const struct pv_call *call, bool succeeded)
{
	struct pv_object *object = pv_object_find(vm, call->id);

	if (object == NULL)
		return;
	if (succeeded)
		object->open = true;
	else
		pv_object_remove(vm, object);
}

/* ---- invariants ---- */

enum pv_err pv_objects_validate(const struct pv_state *state, const struct pv_vm *vm, struct pv_errmsg *msg)
{
	const struct pv_object *object;

	TAILQ_FOREACH (object, &vm->objects, link) {
		bool in_guest = !is_of_host(object);

		if (object->id == 0 || object->id >= state->next_call ||
		    (object->kind != PROCESS && object->kind != STREAM && object->kind != WORKER) ||
		    (object->kind == STREAM) != (object->stream_kind != PV__STREAM_KIND__STREAM_KIND_UNSPECIFIED))
			return pv_err_set(msg, PV_ERR_CORRUPT, "VM %u has a malformed object %llu", vm->res.id,
			                  (unsigned long long)object->id);
		if (in_guest && vm->state != PV__VM_STATE__VM_STATE_BOOTED &&
		    vm->state != PV__VM_STATE__VM_STATE_PAUSED)
			return pv_err_set(msg, PV_ERR_CORRUPT, "VM %u is %s, but has a %s", vm->res.id,
			                  pv_vm_state_name(vm->state), kind_name(object->kind));
		if (!object->open && pv_call_find(state, object->id) == NULL)
			return pv_err_set(msg, PV_ERR_CORRUPT, "the %s %llu of VM %u is opened by no call",
			                  kind_name(object->kind), (unsigned long long)object->id, vm->res.id);
	}
	return PV_OK;
}

/* ---- queries ---- */

void pv_object_view_of(const struct pv_object *object, struct pv_object_view *out)
{
	*out = (struct pv_object_view){
		.id = object->id,
		.kind = object->kind,
		.stream_kind = object->stream_kind,
		.detail = object->detail,
		.owner = object->owner,
		.open = object->open,
		.source = object->source,
		.line = object->line,
	};
}

bool pv_state_object(const struct pv_state *state, uint32_t vm_id, uint64_t id, struct pv_object_view *out)
{
	const struct pv_vm *vm = pv_vm_find(state, vm_id);
	const struct pv_object *object = vm != NULL ? pv_object_find(vm, id) : NULL;

	if (object == NULL)
		return false;
	pv_object_view_of(object, out);
	return true;
}

bool pv_state_object_after(const struct pv_state *state, uint32_t vm_id, uint64_t after, struct pv_object_view *out)
{
	const struct pv_vm *vm = pv_vm_find(state, vm_id);
	const struct pv_object *object;

	if (vm == NULL)
		return false;
	TAILQ_FOREACH (object, &vm->objects, link) {
		if (object->id <= after)
			continue;
		pv_object_view_of(object, out);
		return true;
	}
	return false;
}

uint32_t pv_state_next_vm(const struct pv_state *state, uint32_t file, uint32_t after)
{
	const struct pv_resource *vm = state->resources[PV__MEMBER_KIND__MEMBER_KIND_VM];

	for (; vm != NULL; vm = vm->hh.next)
		if (vm->id > after && vm->file == file)
			return vm->id;
	return 0;
}

bool pv_state_vm_is_busy(const struct pv_state *state, uint32_t vm_id)
{
	const struct pv_vm *vm = pv_vm_find(state, vm_id);

	for (const struct pv_call *call = state->calls; vm != NULL && call != NULL; call = call->hh.next)
		if (call->vm == vm_id && call->life == vm->life)
			return true;
	return false;
}

uint64_t pv_state_next_call(const struct pv_state *state)
{
	return state->next_call;
}
