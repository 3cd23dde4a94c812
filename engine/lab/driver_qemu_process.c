/* Calls on the processes of a guest. */
#include <signal.h>
#include <stdlib.h>

#include "engine/lab/driver_qemu_objects.h"
#include "proto/mem.h"
#include "vmctl/agent.h"

/* ---- the end of a process ---- */

static void report_process(struct qemu_call *call, const struct qemu_object *process)
{
	struct pv_guest_result result = {
		.status = process->timed_out ? PV_GUEST_TIMED_OUT : process->status,
		.exit_code = process->exit_code,
		.signal = process->signal,
		.out = { process->out.data, process->out.len },
		.err = { process->err.data, process->err.len },
	};

	qemu_call_stop_timer(call);
	qemu_report_run(call, &result);
}

/* Ends the calls that wait for it. The process is gone afterwards if one of them closed it. */
static void tell_end(struct qemu_object *process)
{
	struct qemu_vm *vm = process->vm;
	uint64_t id = process->id;
	struct qemu_call *closer = NULL, *call;

	TAILQ_FOREACH (call, &vm->calls, link) {
		if (call->reported || call->object != id)
			continue;
		if (call->kind == PV__CALL_STARTED__OP_WAIT || call->kind == PV__CALL_STARTED__OP_WORKER_RUN)
			report_process(call, process);
		if (call->kind == PV__CALL_STARTED__OP_WORKER_RUN || call->kind == PV__CALL_STARTED__OP_CLOSE_PROCESS)
			closer = call;
		if (call->kind == PV__CALL_STARTED__OP_CLOSE_PROCESS) {
			qemu_call_stop_timer(call);
			qemu_call_done(call);
		}
	}
	if (closer != NULL)
		qemu_object_let_go(process, closer);
	TAILQ_FOREACH (call, &vm->calls, link)
		if (!call->reported && call->kind == PV__CALL_STARTED__OP_CLOSE_WORKER && call->object != 0)
			qemu_close_worker_if_idle(call);
}

static void process_ended(void *arg, struct pv_guest_op *op, enum pv_err err, const struct pv_guest_result *result,
                          int sys_errno, const struct pv_errmsg *msg)
{
	struct qemu_object *process = arg;
	struct qemu_vm *vm = process->vm;
	struct qemu_call *call;

	(void)op;
	if (err == PV_OK) {
		process->ended = true;
		process->status = result->status;
		process->exit_code = result->exit_code;
		process->signal = result->signal;
		pv_buf_add(&process->out, result->out.data, result->out.len);
		pv_buf_add(&process->err, result->err.data, result->err.len);
		tell_end(process);
		return;
	}
	if (err == PV_ERR_LOST || err == PV_ERR_CANCELED)
		return; /* the machine's handler follows and ends the calls */
	/* Its end cannot be told. */
	process->ended = true;
	process->unknown = pv_xstrdup(msg->text);
	TAILQ_FOREACH (call, &vm->calls, link)
		if (!call->reported && call->object == process->id) {
			qemu_call_stop_timer(call);
			qemu_guest_failed(call, err, sys_errno, msg);
		}
}

void qemu_await_end(struct qemu_object *process)
{
	process->wait = pv_guest_wait(qemu_agent(process->vm), process->agent_id, process_ended, process);
}

/* True if nobody can tell how it ended, and the call was told so. */
static bool end_is_unknown(struct qemu_call *call, const struct qemu_object *process)
{
	if (process->unknown == NULL)
		return false;
	qemu_call_error(call, PV__ERROR_KIND__ERROR_KIND_GUEST, 0, process->unknown);
	return true;
}

/* ---- spawn ---- */

static void spawn_done(void *arg, struct pv_guest_op *op, enum pv_err err, const struct pv_guest_result *result,
                       int sys_errno, const struct pv_errmsg *msg)
{
	struct qemu_call *call = arg;
	struct qemu_object *process;

	(void)op;
	if (qemu_guest_failed(call, err, sys_errno, msg)) {
		qemu_call_stop_timer(call);
		return;
	}
	process = qemu_object_add(call, PROCESS);
	process->worker = call->worker;
	qemu_await_end(process);
	if (call->kind == PV__CALL_STARTED__OP_SPAWN)
		qemu_report_spawned(call, result->pid);
	else
		qemu_close_input(call->vm, process->agent_id, call->offset);
}

/* The agent's name of the call's worker; PV_GUEST_NO_WORKER if it names none. */
static uint64_t worker_id(const struct qemu_call *call)
{
	return call->worker != 0 ? qemu_request_id(call->vm, call->worker, QEMU_REQUEST_CALL) : PV_GUEST_NO_WORKER;
}

void qemu_start_spawn(struct qemu_call *call, const struct pv_guest_run *run)
{
	struct pv_guest_run without_limit = *run;

	without_limit.timeout_ms = 0;
	call->offset = run->stdin_data.len;
	call->object = call->id;
	call->agent_id = qemu_request_id(call->vm, call->id, QEMU_REQUEST_CALL);
	call->op =
	    pv_guest_spawn(qemu_agent(call->vm), call->agent_id, worker_id(call), &without_limit, spawn_done, call);
}

/* The time limit of a wait or of a run in a worker: its end follows. */
static void kill_late(struct qemu_call *call)
{
	struct qemu_object *process = qemu_object_find(call->vm, call->object);

	qemu_call_stop_timer(call);
	if (process == NULL || process->ended)
		return;
	process->timed_out = true;
	qemu_send_time_out(call, process->agent_id);
}

void qemu_worker_run(struct qemu_call *call, const Pv__WorkerRunCall *run)
{
	call->worker = run->worker;
	qemu_with_run(run->run, qemu_start_spawn, call);
	if (run->run->timeout_ms != 0)
		qemu_call_timer(call, run->run->timeout_ms, kill_late);
}

/* ---- calls on a process ---- */

static void report_ended(void *arg)
{
	struct qemu_call *call = arg;
	struct qemu_object *process = qemu_object_find(call->vm, call->object);

	if (!call->reported && process != NULL && !end_is_unknown(call, process))
		report_process(call, process);
}

void qemu_wait_for(struct qemu_call *call, const Pv__WaitCall *wait)
{
	const struct qemu_object *process = qemu_object_of(call, wait->process, PROCESS);

	if (process == NULL)
		return;
	if (process->ended)
		qemu_call_later(call, report_ended);
	else if (wait->has_timeout_ms)
		qemu_call_timer(call, wait->timeout_ms, kill_late);
}

static void report_status(void *arg)
{
	struct qemu_call *call = arg;
	const struct qemu_object *process = qemu_object_find(call->vm, call->object);
	Pv__CallEnded ended = PV__CALL_ENDED__INIT;
	Pv__ProcessStatus status = PV__PROCESS_STATUS__INIT;

	if (call->reported || process == NULL || end_is_unknown(call, process))
		return;
	status.has_running = 1;
	status.running = !process->ended;
	status.has_status = process->ended;
	status.status = process->timed_out || process->status == PV_GUEST_TIMED_OUT
	                    ? PV__RUN_STATUS__RUN_STATUS_TIMED_OUT
	                : process->status == PV_GUEST_SIGNALLED ? PV__RUN_STATUS__RUN_STATUS_SIGNALLED
	                                                        : PV__RUN_STATUS__RUN_STATUS_EXITED;
	ended.outcome_case = PV__CALL_ENDED__OUTCOME_PROCESS_STATUS;
	ended.process_status = &status;
	qemu_call_report(call, &ended);
}

/* The guest answers in order: if the process has ended, that was told before. */
static void status_known(void *arg, struct pv_guest_op *op, enum pv_err err, const struct pv_guest_result *result,
                         int sys_errno, const struct pv_errmsg *msg)
{
	struct qemu_call *call = arg;
	struct qemu_object *process = qemu_object_find(call->vm, call->object);

	(void)op;
	(void)result;
	if (process != NULL)
		process->rebuilt = false;
	if (process != NULL && process->ended)
		report_status(call);
	else if (!qemu_guest_failed(call, err, sys_errno, msg))
		report_status(call);
}

void qemu_status(struct qemu_call *call, uint64_t id)
{
	struct qemu_object *process = qemu_object_of(call, id, PROCESS);

	if (process == NULL)
		return;
	if (process->rebuilt && !process->ended)
		call->op = pv_guest_signal(qemu_agent(call->vm), 0, process->agent_id, 0, status_known, call);
	else
		qemu_call_later(call, report_status);
}

static void stdin_done(void *arg, struct pv_guest_op *op, enum pv_err err, const struct pv_guest_result *result,
                       int sys_errno, const struct pv_errmsg *msg)
{
	struct qemu_call *call = arg;
	Pv__CallEnded ended = PV__CALL_ENDED__INIT;
	Pv__CountResult count = PV__COUNT_RESULT__INIT;

	(void)op;
	if (qemu_guest_failed(call, err, sys_errno, msg))
		return;
	count.has_count = 1;
	count.count = result->count;
	ended.outcome_case = PV__CALL_ENDED__OUTCOME_COUNT;
	ended.count = &count;
	qemu_call_report(call, &ended);
}

/* A process that SIGTERM has not ended. */
static void close_late(struct qemu_call *call)
{
	const struct qemu_object *process = qemu_object_find(call->vm, call->object);

	if (process == NULL)
		return;
	if (call->killed) {
		qemu_call_stop_timer(call);
		qemu_call_error(call, PV__ERROR_KIND__ERROR_KIND_FAILED, 0, "the process did not end after SIGKILL");
		return;
	}
	call->killed = true;
	qemu_send_signal(call, qemu_request_id(call->vm, call->id, QEMU_REQUEST_KILL), process->agent_id, SIGKILL);
	qemu_call_timer(call, KILL_MS, close_late);
}

static void close_ended(void *arg)
{
	struct qemu_call *call = arg;
	struct qemu_object *process = qemu_object_find(call->vm, call->object);

	if (call->reported || process == NULL)
		return;
	qemu_object_let_go(process, call);
	qemu_call_done(call);
}

void qemu_close_process(struct qemu_call *call, uint64_t id)
{
	const struct qemu_object *process = qemu_object_of(call, id, PROCESS);

	if (process == NULL)
		return;
	if (process->ended) {
		qemu_call_later(call, close_ended);
		return;
	}
	qemu_send_signal(call, qemu_request_id(call->vm, call->id, QEMU_REQUEST_TERM), process->agent_id, SIGTERM);
	qemu_call_timer(call, TERM_MS, close_late);
}

void qemu_write_stdin(struct qemu_call *call, const Pv__StdinWriteCall *write)
{
	const struct qemu_object *process = qemu_object_of(call, write->process, PROCESS);

	if (process != NULL)
		call->op = pv_guest_stdin(qemu_agent(call->vm), process->agent_id, write->offset,
		                          qemu_payload_bytes(write->content), write->eof, stdin_done, call);
}

void qemu_start_signal(struct qemu_call *call, const Pv__SignalCall *number)
{
	const struct qemu_object *process = qemu_object_of(call, number->process, PROCESS);

	if (process != NULL)
		call->op = pv_guest_signal(qemu_agent(call->vm), qemu_request_id(call->vm, call->id, QEMU_REQUEST_CALL),
		                           process->agent_id, number->signal, qemu_plain_done, call);
}
