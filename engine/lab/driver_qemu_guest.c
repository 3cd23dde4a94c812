/* Guest operations: from the journal's calls to vmctl's, and back. */
#include <stdlib.h>
#include <string.h>

#include "engine/lab/driver_qemu_internal.h"
#include "proto/mem.h"

struct pv_bytes qemu_payload_bytes(const Pv__Payload *payload)
{
	if (payload == NULL || payload->kind_case != PV__PAYLOAD__KIND_DATA)
		return (struct pv_bytes){ 0 };
	return (struct pv_bytes){ payload->data.data, payload->data.len };
}

Pv__Payload qemu_data_payload(struct pv_bytes bytes)
{
	Pv__Payload payload = PV__PAYLOAD__INIT;

	payload.kind_case = PV__PAYLOAD__KIND_DATA;
	payload.data.data = (uint8_t *)bytes.data;
	payload.data.len = bytes.len;
	return payload;
}

/* True if the operation did not succeed and that was dealt with. When the channel is lost the machine's handler follows: it knows
 * why, and ends the call. */
bool qemu_guest_failed(struct qemu_call *call, enum pv_err err, int sys_errno, const struct pv_errmsg *msg)
{
	if (err == PV_OK)
		return false;
	if (err == PV_ERR_CANCELED)
		qemu_call_error(call, PV__ERROR_KIND__ERROR_KIND_CANCELED, 0, msg->text);
	else if (err != PV_ERR_LOST)
		qemu_call_error(call, PV__ERROR_KIND__ERROR_KIND_GUEST, sys_errno, msg->text);
	return true;
}

void qemu_report_run(struct qemu_call *call, const struct pv_guest_result *result)
{
	Pv__CallEnded ended = PV__CALL_ENDED__INIT;
	Pv__RunResult run = PV__RUN_RESULT__INIT;
	Pv__Payload out, errors;

	run.has_status = 1;
	switch (result->status) {
	case PV_GUEST_EXITED:
		run.status = PV__RUN_STATUS__RUN_STATUS_EXITED;
		run.has_exit_code = 1;
		run.exit_code = result->exit_code;
		break;
	case PV_GUEST_SIGNALLED:
		run.status = PV__RUN_STATUS__RUN_STATUS_SIGNALLED;
		run.has_signal = 1;
		run.signal = result->signal;
		break;
	case PV_GUEST_TIMED_OUT:
		run.status = PV__RUN_STATUS__RUN_STATUS_TIMED_OUT;
		break;
	}
	out = qemu_data_payload(result->out);
	errors = qemu_data_payload(result->err);
	run.stdout_data = &out;
	run.stderr_data = &errors;
	ended.outcome_case = PV__CALL_ENDED__OUTCOME_RUN;
	ended.run = &run;
	qemu_call_report(call, &ended);
}

static void run_done(void *arg, struct pv_guest_op *op, enum pv_err err, const struct pv_guest_result *result,
                     int sys_errno, const struct pv_errmsg *msg)
{
	struct qemu_call *call = arg;

	(void)op;
	if (!qemu_guest_failed(call, err, sys_errno, msg))
		qemu_report_run(call, result);
}

static void read_done(void *arg, struct pv_guest_op *op, enum pv_err err, const struct pv_guest_result *result,
                      int sys_errno, const struct pv_errmsg *msg)
{
	struct qemu_call *call = arg;
	Pv__CallEnded ended = PV__CALL_ENDED__INIT;
	Pv__Payload data;

	(void)op;
	if (qemu_guest_failed(call, err, sys_errno, msg))
		return;
	data = qemu_data_payload(result->out);
	ended.outcome_case = PV__CALL_ENDED__OUTCOME_DATA;
	ended.data = &data;
	qemu_call_report(call, &ended);
}

static void write_done(void *arg, struct pv_guest_op *op, enum pv_err err, const struct pv_guest_result *result,
                       int sys_errno, const struct pv_errmsg *msg)
{
	struct qemu_call *call = arg;

	(void)op;
	(void)result;
	if (!qemu_guest_failed(call, err, sys_errno, msg))
		qemu_call_done(call);
}

void qemu_with_run(const Pv__RunCall *run, void (*use)(struct qemu_call *call, const struct pv_guest_run *run),
                   struct qemu_call *call)
{
	struct pv_bytes *argv = pv_xcalloc(run->n_argv, sizeof(*argv));
	struct pv_guest_env *env = pv_xcalloc(run->n_env, sizeof(*env));
	struct pv_guest_run guest = {
		.argv = argv,
		.n_argv = run->n_argv,
		.env = env,
		.n_env = run->n_env,
		.env_clear = run->has_env_clear && run->env_clear,
		.stdin_data = qemu_payload_bytes(run->stdin_data),
		.timeout_ms = run->has_timeout_ms ? run->timeout_ms : 0,
	};

	for (size_t i = 0; i < run->n_argv; i++)
		argv[i] = (struct pv_bytes){ run->argv[i].data, run->argv[i].len };
	for (size_t i = 0; i < run->n_env; i++)
		env[i] = (struct pv_guest_env){ run->env[i]->name, qemu_payload_bytes(run->env[i]->value) };
	if (run->has_cwd)
		guest.cwd = (struct pv_bytes){ run->cwd.data, run->cwd.len };
	use(call, &guest);
	free(argv);
	free(env);
}

static void start_run(struct qemu_call *call, const struct pv_guest_run *run)
{
	struct pv_guest_run same = *run;

	same.id = qemu_request_id(call->vm, call->id, QEMU_REQUEST_CALL);
	call->op = pv_guest_run(pv_machine_agent(call->vm->machine), &same, run_done, call);
}

void qemu_run(struct qemu_call *call, const Pv__RunCall *run)
{
	qemu_with_run(run, start_run, call);
}

void qemu_read_file(struct qemu_call *call, const Pv__ReadFileCall *read)
{
	struct pv_bytes path = { read->path.data, read->path.len };

	call->op = pv_guest_read_file(pv_machine_agent(call->vm->machine), path, read_done, call);
}

void qemu_write_file(struct qemu_call *call, const Pv__WriteFileCall *write)
{
	struct pv_bytes path = { write->path.data, write->path.len };

	call->op = pv_guest_write_file(
	    pv_machine_agent(call->vm->machine), qemu_request_id(call->vm, call->id, QEMU_REQUEST_CALL), path,
	    qemu_payload_bytes(write->content), write->has_perm ? write->perm : 0644, write_done, call);
}
