/* The objects of a guest, and the table of the calls on them. */
#include <signal.h>
#include <stdlib.h>

#include "engine/lab/driver_qemu_objects.h"
#include "proto/mem.h"
#include "vmctl/agent.h"

struct pv_agent *qemu_agent(const struct qemu_vm *vm)
{
	return pv_machine_agent(vm->machine);
}

struct qemu_object *qemu_object_find(const struct qemu_vm *vm, uint64_t id)
{
	struct qemu_object *object;

	TAILQ_FOREACH (object, &vm->objects, link)
		if (object->id == id)
			return object;
	return NULL;
}

struct qemu_object *qemu_object_add(struct qemu_call *call, Pv__ObjectKind kind)
{
	struct qemu_object *object = PV_NEW(struct qemu_object);

	object->id = call->id;
	object->agent_id = call->agent_id;
	object->vm = call->vm;
	object->kind = kind;
	TAILQ_INSERT_TAIL(&call->vm->objects, object, link);
	return object;
}

void qemu_object_forget(struct qemu_object *object)
{
	TAILQ_REMOVE(&object->vm->objects, object, link);
	pv_guest_op_settle(object->wait);
	pv_buf_free(&object->out);
	pv_buf_free(&object->err);
	free(object->unknown);
	free(object);
}

void qemu_objects_end(struct qemu_vm *vm)
{
	struct qemu_background *background;

	while (!TAILQ_EMPTY(&vm->objects))
		qemu_object_forget(TAILQ_FIRST(&vm->objects));
	while ((background = TAILQ_FIRST(&vm->background)) != NULL) {
		TAILQ_REMOVE(&vm->background, background, link);
		pv_guest_op_settle(background->op);
		free(background);
	}
}

void qemu_object_let_go(struct qemu_object *object, struct qemu_call *call)
{
	call->release = object->agent_id;
	qemu_object_forget(object);
}

struct qemu_object *qemu_object_rebuild(struct qemu_vm *vm, uint64_t id, Pv__ObjectKind kind)
{
	struct qemu_object *object = PV_NEW(struct qemu_object);

	object->id = id;
	object->agent_id = qemu_request_id(vm, id, QEMU_REQUEST_CALL);
	object->vm = vm;
	object->kind = kind;
	object->rebuilt = true;
	TAILQ_INSERT_TAIL(&vm->objects, object, link);
	if (kind == PROCESS)
		qemu_await_end(object);
	return object;
}

struct qemu_object *qemu_object_of(struct qemu_call *call, uint64_t id, Pv__ObjectKind kind)
{
	struct qemu_object *object = qemu_object_find(call->vm, id);

	call->object = id;
	if (object != NULL && object->kind == kind)
		return object;
	/* The intent to close it is in the journal, so that the state has none any more. */
	if (object == NULL && call->again && kind != STREAM)
		return qemu_object_rebuild(call->vm, id, kind);
	/* A reset is under way: the state learns of it at its end. */
	qemu_call_refuse(call, PV__ERROR_KIND__ERROR_KIND_CANCELED, "the guest was reset meanwhile");
	return NULL;
}

/* ---- the table ---- */

bool qemu_object_call(struct qemu_call *call, const Pv__CallStarted *started)
{
	switch (call->kind) {
	case PV__CALL_STARTED__OP_SPAWN:
		call->worker = started->spawn->worker;
		qemu_with_run(started->spawn->run, qemu_start_spawn, call);
		return true;
	case PV__CALL_STARTED__OP_WORKER_RUN:
		qemu_worker_run(call, started->worker_run);
		return true;
	case PV__CALL_STARTED__OP_WAIT:
		qemu_wait_for(call, started->wait);
		return true;
	case PV__CALL_STARTED__OP_PROCESS_STATUS:
		qemu_status(call, started->process_status->process);
		return true;
	case PV__CALL_STARTED__OP_SIGNAL:
		qemu_start_signal(call, started->signal);
		return true;
	case PV__CALL_STARTED__OP_STDIN_WRITE:
		qemu_write_stdin(call, started->stdin_write);
		return true;
	case PV__CALL_STARTED__OP_CLOSE_PROCESS:
		qemu_close_process(call, started->close_process->process);
		return true;
	case PV__CALL_STARTED__OP_OPEN_STREAM:
		qemu_open_stream(call, started->open_stream);
		return true;
	case PV__CALL_STARTED__OP_READ_STREAM:
		qemu_read_stream(call, started->read_stream);
		return true;
	case PV__CALL_STARTED__OP_SPAWN_WORKER:
		qemu_spawn_worker(call);
		return true;
	case PV__CALL_STARTED__OP_CLOSE_WORKER:
		qemu_close_worker(call, started->close_worker->worker);
		return true;
	default:
		return false;
	}
}

bool qemu_waits_for_object(const struct qemu_call *call)
{
	switch (call->kind) {
	case PV__CALL_STARTED__OP_WAIT:
	case PV__CALL_STARTED__OP_PROCESS_STATUS:
	case PV__CALL_STARTED__OP_WORKER_RUN:
	case PV__CALL_STARTED__OP_CLOSE_PROCESS:
	case PV__CALL_STARTED__OP_CLOSE_WORKER:
	case PV__CALL_STARTED__OP_OPEN_STREAM:
		return !call->reported;
	default:
		return false;
	}
}

/* The requests of one guest keep their order, so what was to open is closed right behind. */
static void undo_opening(struct qemu_call *call)
{
	struct qemu_object *object = qemu_object_find(call->vm, call->id);

	if (call->kind != PV__CALL_STARTED__OP_OPEN_STREAM && call->kind != PV__CALL_STARTED__OP_SPAWN_WORKER)
		qemu_send_signal(call, qemu_request_id(call->vm, call->id, QEMU_REQUEST_UNDO), call->agent_id, SIGKILL);
	if (object != NULL)
		qemu_object_forget(object);
	if (call->object == call->id)
		qemu_release(call->vm, call->agent_id);
}

bool qemu_object_cancel(struct qemu_call *call)
{
	switch (call->kind) {
	case PV__CALL_STARTED__OP_CLOSE_PROCESS:
	case PV__CALL_STARTED__OP_CLOSE_WORKER:
	case PV__CALL_STARTED__OP_CLOSE_STREAM:
	case PV__CALL_STARTED__OP_OPEN_CONSOLE:
		return true; /* they end by themselves in a moment */
	case PV__CALL_STARTED__OP_SPAWN:
	case PV__CALL_STARTED__OP_WORKER_RUN:
	case PV__CALL_STARTED__OP_SPAWN_WORKER:
	case PV__CALL_STARTED__OP_OPEN_STREAM:
		if (call->vm->machine != NULL && call->agent_id != 0)
			undo_opening(call);
		break;
	case PV__CALL_STARTED__OP_WAIT:
	case PV__CALL_STARTED__OP_PROCESS_STATUS:
	case PV__CALL_STARTED__OP_SIGNAL:
	case PV__CALL_STARTED__OP_STDIN_WRITE:
	case PV__CALL_STARTED__OP_READ_STREAM:
	case PV__CALL_STARTED__OP_READ_CONSOLE:
		break;
	default:
		return false;
	}
	qemu_drop_op(call);
	qemu_call_error(call, PV__ERROR_KIND__ERROR_KIND_CANCELED, 0, "cancelled");
	return true;
}
