/* Calls on processes, streams and workers of a guest. */
#include <event2/event.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "engine/lab/driver_qemu_internal.h"
#include "proto/mem.h"
#include "vmctl/agent.h"

#define TERM_MS 2000u /* between SIGTERM and SIGKILL */
#define KILL_MS 10000u
#define READ_MS 50u /* the least time of a read: one round trip, so that a limit of 0 still gives what is there */

#define PROCESS PV__OBJECT_KIND__OBJECT_KIND_PROCESS
#define STREAM  PV__OBJECT_KIND__OBJECT_KIND_STREAM
#define WORKER  PV__OBJECT_KIND__OBJECT_KIND_WORKER

static struct pv_agent *agent_of(const struct qemu_vm *vm)
{
	return pv_machine_agent(vm->machine);
}

/* ---- what calls share ---- */

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct qemu_call *call = arg;

	(void)fd;
	(void)what;
	if (!call->reported)
		call->fire(call);
}

void qemu_call_stop_timer(struct qemu_call *call)
{
	if (call->timer != NULL)
		event_free(call->timer);
	call->timer = NULL;
}

void qemu_call_timer(struct qemu_call *call, uint64_t ms, void (*fire)(struct qemu_call *call))
{
	struct timeval after = { .tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000 * 1000) };

	qemu_call_stop_timer(call);
	call->fire = fire;
	call->timer = evtimer_new(pv_engine_base(call->vm->driver->engine), on_timer, call);
	if (call->timer == NULL || evtimer_add(call->timer, &after) != 0)
		PV_BUG("a timer could not be added");
}

void qemu_call_later(struct qemu_call *call, void (*run)(void *call))
{
	call->later = (struct pv_deferred){ .run = run, .arg = call };
	pv_engine_defer(call->vm->driver->engine, &call->later);
}

void qemu_report_spawned(struct qemu_call *call, int64_t pid)
{
	Pv__CallEnded ended = PV__CALL_ENDED__INIT;
	Pv__SpawnResult result = PV__SPAWN_RESULT__INIT;

	result.has_pid = pid != 0;
	result.pid = pid;
	result.has_agent_id = call->agent_id != 0;
	result.agent_id = call->agent_id;
	ended.outcome_case = PV__CALL_ENDED__OUTCOME_SPAWNED;
	ended.spawned = &result;
	qemu_call_report(call, &ended);
}

void qemu_report_data(struct qemu_call *call, struct pv_bytes data, bool eof, bool timed_out)
{
	Pv__CallEnded ended = PV__CALL_ENDED__INIT;
	Pv__StreamData result = PV__STREAM_DATA__INIT;
	Pv__Payload payload = qemu_data_payload(data);

	result.data = &payload;
	result.has_eof = eof;
	result.eof = eof;
	result.has_timed_out = timed_out;
	result.timed_out = timed_out;
	ended.outcome_case = PV__CALL_ENDED__OUTCOME_STREAM_DATA;
	ended.stream_data = &result;
	qemu_call_report(call, &ended);
}

/* ---- requests that no call waits for ---- */

static void background_done(void *arg, struct pv_guest_op *op, enum pv_err err, const struct pv_guest_result *result,
                            int sys_errno, const struct pv_errmsg *msg)
{
	struct qemu_background *background = arg;

	(void)err; /* what it was for is gone, or goes with the VM */
	(void)result;
	(void)sys_errno;
	(void)msg;
	TAILQ_REMOVE(&background->vm->background, background, link);
	free(background);
	pv_guest_op_settle(op);
}

static struct qemu_background *add_background(struct qemu_vm *vm)
{
	struct qemu_background *background = PV_NEW(struct qemu_background);

	background->vm = vm;
	TAILQ_INSERT_TAIL(&vm->background, background, link);
	return background;
}

static void send_signal(struct qemu_vm *vm, uint64_t agent_id, int number)
{
	struct qemu_background *background = add_background(vm);

	background->op = pv_guest_signal(agent_of(vm), agent_id, number, background_done, background);
}

static void release(struct qemu_vm *vm, uint64_t agent_id)
{
	struct qemu_background *background = add_background(vm);

	background->op = pv_guest_release(agent_of(vm), agent_id, background_done, background);
}

static void close_input(struct qemu_vm *vm, uint64_t agent_id, uint64_t at)
{
	struct qemu_background *background = add_background(vm);

	background->op =
	    pv_guest_stdin(agent_of(vm), agent_id, at, (struct pv_bytes){ 0 }, true, background_done, background);
}

/* ---- objects ---- */

static struct qemu_object *find(const struct qemu_vm *vm, uint64_t id)
{
	struct qemu_object *object;

	TAILQ_FOREACH (object, &vm->objects, link)
		if (object->id == id)
			return object;
	return NULL;
}

static struct qemu_object *add(struct qemu_call *call, Pv__ObjectKind kind)
{
	struct qemu_object *object = PV_NEW(struct qemu_object);

	object->id = call->id;
	object->agent_id = call->agent_id;
	object->vm = call->vm;
	object->kind = kind;
	TAILQ_INSERT_TAIL(&call->vm->objects, object, link);
	return object;
}

static void forget(struct qemu_object *object)
{
	TAILQ_REMOVE(&object->vm->objects, object, link);
	pv_guest_op_settle(object->wait);
	pv_buf_free(&object->out);
	pv_buf_free(&object->err);
	free(object);
}

void qemu_objects_end(struct qemu_vm *vm)
{
	struct qemu_background *background;

	while (!TAILQ_EMPTY(&vm->objects))
		forget(TAILQ_FIRST(&vm->objects));
	while ((background = TAILQ_FIRST(&vm->background)) != NULL) {
		TAILQ_REMOVE(&vm->background, background, link);
		pv_guest_op_settle(background->op);
		free(background);
	}
}

/* Its end is known and was told: the guest may forget it too. */
static void let_go(struct qemu_object *object)
{
	uint64_t agent_id = object->agent_id;
	struct qemu_vm *vm = object->vm;

	forget(object);
	release(vm, agent_id);
}

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

static void close_worker_if_idle(struct qemu_call *call)
{
	struct qemu_object *object, *worker = find(call->vm, call->object);

	TAILQ_FOREACH (object, &call->vm->objects, link)
		if (object->kind == PROCESS && object->worker == call->object && !object->ended)
			return;
	qemu_call_stop_timer(call);
	if (worker != NULL)
		let_go(worker);
	qemu_call_done(call);
}

/* Ends the calls that wait for it. The process is gone afterwards if one of them closed it. */
static void tell_end(struct qemu_object *process)
{
	struct qemu_vm *vm = process->vm;
	uint64_t id = process->id;
	bool goes = false;
	struct qemu_call *call;

	TAILQ_FOREACH (call, &vm->calls, link) {
		if (call->reported || call->object != id)
			continue;
		if (call->kind == PV__CALL_STARTED__OP_WAIT || call->kind == PV__CALL_STARTED__OP_WORKER_RUN)
			report_process(call, process);
		goes |=
		    call->kind == PV__CALL_STARTED__OP_WORKER_RUN || call->kind == PV__CALL_STARTED__OP_CLOSE_PROCESS;
		if (call->kind == PV__CALL_STARTED__OP_CLOSE_PROCESS) {
			qemu_call_stop_timer(call);
			qemu_call_done(call);
		}
	}
	if (goes)
		let_go(process);
	TAILQ_FOREACH (call, &vm->calls, link)
		if (!call->reported && call->kind == PV__CALL_STARTED__OP_CLOSE_WORKER && call->object != 0)
			close_worker_if_idle(call);
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
	/* Its end cannot be told (its output was too much, for one). */
	process->ended = true;
	TAILQ_FOREACH (call, &vm->calls, link)
		if (!call->reported && call->object == process->id) {
			qemu_call_stop_timer(call);
			qemu_guest_failed(call, err, sys_errno, msg);
		}
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
	process = add(call, PROCESS);
	process->worker = call->worker;
	process->wait = pv_guest_wait(agent_of(call->vm), process->agent_id, process_ended, process);
	if (call->kind == PV__CALL_STARTED__OP_SPAWN)
		qemu_report_spawned(call, result->pid);
	else
		close_input(call->vm, process->agent_id, call->offset);
}

/* The agent's name of the call's worker; PV_GUEST_NO_WORKER if it names none. */
static uint64_t worker_id(const struct qemu_call *call)
{
	const struct qemu_object *worker = call->worker != 0 ? find(call->vm, call->worker) : NULL;

	return worker != NULL ? worker->agent_id : PV_GUEST_NO_WORKER;
}

static void start_spawn(struct qemu_call *call, const struct pv_guest_run *run)
{
	struct pv_guest_run without_limit = *run;

	without_limit.timeout_ms = 0;
	call->offset = run->stdin_data.len;
	call->object = call->id;
	call->agent_id = pv_agent_reserve_id(agent_of(call->vm));
	call->op =
	    pv_guest_spawn(agent_of(call->vm), call->agent_id, worker_id(call), &without_limit, spawn_done, call);
}

/* The time limit of a wait or of a run in a worker: its end follows. */
static void kill_late(struct qemu_call *call)
{
	struct qemu_object *process = find(call->vm, call->object);

	qemu_call_stop_timer(call);
	if (process == NULL || process->ended)
		return;
	process->timed_out = true;
	send_signal(call->vm, process->agent_id, SIGKILL);
}

static void worker_run(struct qemu_call *call, const Pv__WorkerRunCall *run)
{
	call->worker = run->worker;
	qemu_with_run(run->run, start_spawn, call);
	if (run->run->timeout_ms != 0)
		qemu_call_timer(call, run->run->timeout_ms, kill_late);
}

/* ---- calls on a process ---- */

static struct qemu_object *object_of(struct qemu_call *call, uint64_t id, Pv__ObjectKind kind)
{
	struct qemu_object *object = find(call->vm, id);

	call->object = id;
	if (object != NULL && object->kind == kind)
		return object;
	/* A reset is under way: the state learns of it at its end. */
	qemu_call_refuse(call, PV__ERROR_KIND__ERROR_KIND_CANCELED, "the guest was reset meanwhile");
	return NULL;
}

static void report_ended(void *arg)
{
	struct qemu_call *call = arg;
	struct qemu_object *process = find(call->vm, call->object);

	if (!call->reported && process != NULL)
		report_process(call, process);
}

static void wait_for(struct qemu_call *call, const Pv__WaitCall *wait)
{
	const struct qemu_object *process = object_of(call, wait->process, PROCESS);

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
	const struct qemu_object *process = find(call->vm, call->object);
	Pv__CallEnded ended = PV__CALL_ENDED__INIT;
	Pv__ProcessStatus status = PV__PROCESS_STATUS__INIT;

	if (call->reported || process == NULL)
		return;
	status.has_running = 1;
	status.running = !process->ended;
	status.has_status = process->ended;
	status.status = process->timed_out                      ? PV__RUN_STATUS__RUN_STATUS_TIMED_OUT
	                : process->status == PV_GUEST_SIGNALLED ? PV__RUN_STATUS__RUN_STATUS_SIGNALLED
	                                                        : PV__RUN_STATUS__RUN_STATUS_EXITED;
	ended.outcome_case = PV__CALL_ENDED__OUTCOME_PROCESS_STATUS;
	ended.process_status = &status;
	qemu_call_report(call, &ended);
}

static void plain_done(void *arg, struct pv_guest_op *op, enum pv_err err, const struct pv_guest_result *result,
                       int sys_errno, const struct pv_errmsg *msg)
{
	struct qemu_call *call = arg;

	(void)op;
	(void)result;
	if (!qemu_guest_failed(call, err, sys_errno, msg))
		qemu_call_done(call);
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
	const struct qemu_object *process = find(call->vm, call->object);

	if (process == NULL)
		return;
	if (call->killed) {
		qemu_call_stop_timer(call);
		qemu_call_error(call, PV__ERROR_KIND__ERROR_KIND_FAILED, 0, "the process did not end after SIGKILL");
		return;
	}
	call->killed = true;
	send_signal(call->vm, process->agent_id, SIGKILL);
	qemu_call_timer(call, KILL_MS, close_late);
}

static void close_ended(void *arg)
{
	struct qemu_call *call = arg;
	struct qemu_object *process = find(call->vm, call->object);

	if (call->reported || process == NULL)
		return;
	let_go(process);
	qemu_call_done(call);
}

static void close_process(struct qemu_call *call, uint64_t id)
{
	const struct qemu_object *process = object_of(call, id, PROCESS);

	if (process == NULL)
		return;
	if (process->ended) {
		qemu_call_later(call, close_ended);
		return;
	}
	send_signal(call->vm, process->agent_id, SIGTERM);
	qemu_call_timer(call, TERM_MS, close_late);
}

/* ---- streams ---- */

static void tail_done(void *arg, struct pv_guest_op *op, enum pv_err err, const struct pv_guest_result *result,
                      int sys_errno, const struct pv_errmsg *msg)
{
	struct qemu_call *call = arg;

	(void)op;
	(void)result;
	if (qemu_guest_failed(call, err, sys_errno, msg))
		return;
	add(call, STREAM)->is_tail = true;
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

static void open_stream(struct qemu_call *call, const Pv__OpenStreamCall *open)
{
	const struct qemu_object *process;
	struct qemu_object *stream;

	if (open->kind == PV__STREAM_KIND__STREAM_KIND_TAIL_FILE) {
		call->object = call->id;
		call->agent_id = pv_agent_reserve_id(agent_of(call->vm));
		call->op = pv_guest_tail(agent_of(call->vm), call->agent_id,
		                         (struct pv_bytes){ open->path.data, open->path.len }, tail_from(open->from),
		                         open->offset, tail_done, call);
		return;
	}
	process = object_of(call, open->process, PROCESS);
	if (process == NULL)
		return;
	call->agent_id = process->agent_id;
	stream = add(call, STREAM);
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

static void drop_op(struct qemu_call *call)
{
	pv_guest_op_settle(call->op);
	call->op = NULL;
	qemu_call_stop_timer(call);
}

static void read_late(struct qemu_call *call)
{
	drop_op(call);
	qemu_report_data(call, (struct pv_bytes){ 0 }, false, true);
}

static void read_stream(struct qemu_call *call, const Pv__ReadStreamCall *read)
{
	const struct qemu_object *stream = object_of(call, read->stream, STREAM);

	if (stream == NULL)
		return;
	call->op =
	    pv_guest_read(agent_of(call->vm), stream->agent_id, stream->fd, read->offset, read->max, read_done, call);
	qemu_call_timer(call, read->timeout_ms > READ_MS ? read->timeout_ms : READ_MS, read_late);
}

void qemu_stream_close(struct qemu_vm *vm, uint64_t id)
{
	struct qemu_object *stream = find(vm, id);
	struct qemu_call *call;

	TAILQ_FOREACH (call, &vm->calls, link) {
		if (call->reported || call->object != id ||
		    (call->kind != PV__CALL_STARTED__OP_READ_STREAM && call->kind != PV__CALL_STARTED__OP_READ_CONSOLE))
			continue;
		drop_op(call);
		qemu_call_error(call, PV__ERROR_KIND__ERROR_KIND_CANCELED, 0, "the stream was closed meanwhile");
	}
	if (stream == NULL)
		return;
	if (stream->is_tail)
		let_go(stream);
	else
		forget(stream);
}

/* ---- workers ---- */

static void worker_done(void *arg, struct pv_guest_op *op, enum pv_err err, const struct pv_guest_result *result,
                        int sys_errno, const struct pv_errmsg *msg)
{
	struct qemu_call *call = arg;

	(void)op;
	if (qemu_guest_failed(call, err, sys_errno, msg))
		return;
	add(call, WORKER);
	qemu_report_spawned(call, result->pid);
}

static void signal_children(const struct qemu_call *call, int number)
{
	const struct qemu_object *object;

	TAILQ_FOREACH (object, &call->vm->objects, link)
		if (object->kind == PROCESS && object->worker == call->object && !object->ended)
			send_signal(call->vm, object->agent_id, number);
}

static void close_worker_late(struct qemu_call *call)
{
	if (call->killed) {
		qemu_call_stop_timer(call);
		qemu_call_error(call, PV__ERROR_KIND__ERROR_KIND_FAILED, 0, "a process did not end after SIGKILL");
		return;
	}
	call->killed = true;
	signal_children(call, SIGKILL);
	qemu_call_timer(call, KILL_MS, close_worker_late);
}

static void close_worker_now(void *arg)
{
	struct qemu_call *call = arg;

	if (!call->reported)
		close_worker_if_idle(call);
}

static void close_worker(struct qemu_call *call, uint64_t id)
{
	if (object_of(call, id, WORKER) == NULL)
		return;
	signal_children(call, SIGTERM);
	qemu_call_timer(call, TERM_MS, close_worker_late);
	qemu_call_later(call, close_worker_now);
}

/* ---- the table ---- */

static void write_stdin(struct qemu_call *call, const Pv__StdinWriteCall *write)
{
	const struct qemu_object *process = object_of(call, write->process, PROCESS);

	if (process != NULL)
		call->op = pv_guest_stdin(agent_of(call->vm), process->agent_id, write->offset,
		                          qemu_payload_bytes(write->content), write->eof, stdin_done, call);
}

static void start_signal(struct qemu_call *call, const Pv__SignalCall *number)
{
	const struct qemu_object *process = object_of(call, number->process, PROCESS);

	if (process != NULL)
		call->op = pv_guest_signal(agent_of(call->vm), process->agent_id, number->signal, plain_done, call);
}

bool qemu_object_call(struct qemu_call *call, const Pv__CallStarted *started)
{
	switch (call->kind) {
	case PV__CALL_STARTED__OP_SPAWN:
		call->worker = started->spawn->worker;
		qemu_with_run(started->spawn->run, start_spawn, call);
		return true;
	case PV__CALL_STARTED__OP_WORKER_RUN:
		worker_run(call, started->worker_run);
		return true;
	case PV__CALL_STARTED__OP_WAIT:
		wait_for(call, started->wait);
		return true;
	case PV__CALL_STARTED__OP_PROCESS_STATUS:
		if (object_of(call, started->process_status->process, PROCESS) != NULL)
			qemu_call_later(call, report_status);
		return true;
	case PV__CALL_STARTED__OP_SIGNAL:
		start_signal(call, started->signal);
		return true;
	case PV__CALL_STARTED__OP_STDIN_WRITE:
		write_stdin(call, started->stdin_write);
		return true;
	case PV__CALL_STARTED__OP_CLOSE_PROCESS:
		close_process(call, started->close_process->process);
		return true;
	case PV__CALL_STARTED__OP_OPEN_STREAM:
		open_stream(call, started->open_stream);
		return true;
	case PV__CALL_STARTED__OP_READ_STREAM:
		read_stream(call, started->read_stream);
		return true;
	case PV__CALL_STARTED__OP_SPAWN_WORKER:
		call->object = call->id;
		call->agent_id = pv_agent_reserve_id(agent_of(call->vm));
		call->op = pv_guest_worker(agent_of(call->vm), call->agent_id, worker_done, call);
		return true;
	case PV__CALL_STARTED__OP_CLOSE_WORKER:
		close_worker(call, started->close_worker->worker);
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
	struct qemu_object *object = find(call->vm, call->id);

	if (call->kind != PV__CALL_STARTED__OP_OPEN_STREAM && call->kind != PV__CALL_STARTED__OP_SPAWN_WORKER)
		send_signal(call->vm, call->agent_id, SIGKILL);
	if (object != NULL)
		forget(object);
	if (call->object == call->id)
		release(call->vm, call->agent_id);
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
	drop_op(call);
	qemu_call_error(call, PV__ERROR_KIND__ERROR_KIND_CANCELED, 0, "cancelled");
	return true;
}
