/* Calls on the streams of a guest: tails of files, and the output of processes. */
#include <stdlib.h>

#include "engine/lab/driver_qemu_objects.h"
#include "proto/mem.h"
#include "vmctl/agent.h"

#define READ_MS 50u /* the least time of a read: one round trip, so that a limit of 0 still gives what is there */

static void tail_done(void *arg, struct pv_guest_op *op, enum pv_err err, const struct pv_guest_result *result,
                      int sys_errno, const struct pv_errmsg *msg)
{
	struct qemu_call *call = arg;

	(void)op;
	(void)result;
	if (qemu_guest_failed(call, err, sys_errno, msg))
		return;
	qemu_object_add(call, STREAM)->is_tail = true;
	qemu_report_spawned(call, 0);
}

static enum pv_tail_from tail_from(Pv__TailFrom from)
{
	switch (from) {
	case PV__TAIL_FROM__TAIL_FROM_BEGINNING:
		return PV_TAIL_FROM_BEGINNING;
	case PV__TAIL_FROM__TAIL_FROM_OFFSET:
		return PV_TAIL_AT_OFFSET;
	case PV__TAIL_FROM__TAIL_FROM_BEFORE_END:
		return PV_TAIL_BEFORE_END;
	default:
		return PV_TAIL_FROM_END;
	}
}

static void report_opened(void *arg)
{
	struct qemu_call *call = arg;

	if (!call->reported)
		qemu_report_spawned(call, 0);
}

void qemu_open_stream(struct qemu_call *call, const Pv__OpenStreamCall *open)
{
	const struct qemu_object *process;
	struct qemu_object *stream;

	if (open->kind == PV__STREAM_KIND__STREAM_KIND_TAIL_FILE) {
		call->object = call->id;
		call->agent_id = qemu_request_id(call->vm, call->id, QEMU_REQUEST_CALL);
		call->op = pv_guest_tail(qemu_agent(call->vm), call->agent_id,
		                         (struct pv_bytes){ open->path.data, open->path.len }, tail_from(open->from),
		                         open->offset, tail_done, call);
		return;
	}
	process = qemu_object_of(call, open->process, PROCESS);
	if (process == NULL)
		return;
	call->agent_id = process->agent_id;
	stream = qemu_object_add(call, STREAM);
	stream->fd = open->kind == PV__STREAM_KIND__STREAM_KIND_PROC_STDERR ? 2 : 1;
	qemu_call_later(call, report_opened);
}

static void read_done(void *arg, struct pv_guest_op *op, enum pv_err err, const struct pv_guest_result *result,
                      int sys_errno, const struct pv_errmsg *msg)
{
	struct qemu_call *call = arg;

	(void)op;
	qemu_call_stop_timer(call);
	if (!qemu_guest_failed(call, err, sys_errno, msg))
		qemu_report_data(call, result->out, result->eof, false);
}

static void read_late(struct qemu_call *call)
{
	qemu_drop_op(call);
	qemu_report_data(call, (struct pv_bytes){ 0 }, false, true);
}

void qemu_read_stream(struct qemu_call *call, const Pv__ReadStreamCall *read)
{
	const struct qemu_object *stream = qemu_object_of(call, read->stream, STREAM);

	if (stream == NULL)
		return;
	call->op =
	    pv_guest_read(qemu_agent(call->vm), stream->agent_id, stream->fd, read->offset, read->max, read_done, call);
	qemu_call_timer(call, read->timeout_ms > READ_MS ? read->timeout_ms : READ_MS, read_late);
}

void qemu_stream_close(struct qemu_vm *vm, uint64_t id)
{
	struct qemu_object *stream = qemu_object_find(vm, id);
	struct qemu_call *call;

	TAILQ_FOREACH (call, &vm->calls, link) {
		if (call->reported || call->object != id ||
		    (call->kind != PV__CALL_STARTED__OP_READ_STREAM && call->kind != PV__CALL_STARTED__OP_READ_CONSOLE))
			continue;
		qemu_drop_op(call);
		qemu_call_error(call, PV__ERROR_KIND__ERROR_KIND_CANCELED, 0, "the stream was closed meanwhile");
	}
	if (stream == NULL)
		return;
	if (stream->is_tail)
		qemu_release(vm, stream->agent_id); /* harmless if it comes twice */
	qemu_object_forget(stream);
}
