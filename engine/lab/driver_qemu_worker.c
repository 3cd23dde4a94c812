/* Calls on the workers of a guest. */
#include <signal.h>
#include <stdlib.h>

#include "engine/lab/driver_qemu_objects.h"
#include "proto/mem.h"
#include "vmctl/agent.h"

void qemu_close_worker_if_idle(struct qemu_call *call)
{
	struct qemu_object *object, *worker = qemu_object_find(call->vm, call->object);

	TAILQ_FOREACH (object, &call->vm->objects, link)
		if (object->kind == PROCESS && object->worker == call->object && !object->ended)
			return;
	qemu_call_stop_timer(call);
	if (worker != NULL)
		qemu_object_let_go(worker, call);
	qemu_call_done(call);
}

static void worker_done(void *arg, struct pv_guest_op *op, enum pv_err err, const struct pv_guest_result *result,
                        int sys_errno, const struct pv_errmsg *msg)
{
	struct qemu_call *call = arg;

	(void)op;
	if (qemu_guest_failed(call, err, sys_errno, msg))
		return;
	qemu_object_add(call, WORKER);
	qemu_report_spawned(call, result->pid);
}

void qemu_spawn_worker(struct qemu_call *call)
{
	call->object = call->id;
	call->agent_id = qemu_request_id(call->vm, call->id, QEMU_REQUEST_CALL);
	call->op = pv_guest_worker(qemu_agent(call->vm), call->agent_id, worker_done, call);
}

/* Each of them gets it once, whichever runner asks. */
static void signal_children(struct qemu_call *call, enum qemu_request nth, int number)
{
	const struct qemu_object *object;

	TAILQ_FOREACH (object, &call->vm->objects, link)
		if (object->kind == PROCESS && object->worker == call->object && !object->ended)
			qemu_send_signal(call, qemu_request_id(call->vm, object->id, nth), object->agent_id, number);
}

static void close_worker_late(struct qemu_call *call)
{
	if (call->killed) {
		qemu_call_stop_timer(call);
		qemu_call_error(call, PV__ERROR_KIND__ERROR_KIND_FAILED, 0, "a process did not end after SIGKILL");
		return;
	}
	call->killed = true;
	signal_children(call, QEMU_REQUEST_WORKER_KILL, SIGKILL);
	qemu_call_timer(call, KILL_MS, close_worker_late);
}

static void close_worker_now(void *arg)
{
	struct qemu_call *call = arg;

	if (!call->reported)
		qemu_close_worker_if_idle(call);
}

void qemu_close_worker(struct qemu_call *call, uint64_t id)
{
	if (qemu_object_of(call, id, WORKER) == NULL)
		return;
	signal_children(call, QEMU_REQUEST_WORKER_TERM, SIGTERM);
	qemu_call_timer(call, TERM_MS, close_worker_late);
	qemu_call_later(call, close_worker_now);
}
