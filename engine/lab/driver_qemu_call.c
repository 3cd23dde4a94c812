/* What calls of the QEMU driver share: timers, later turns, and reports. */
#include <event2/event.h>

#include "engine/lab/driver_qemu_objects.h"
#include "proto/mem.h"

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

void qemu_plain_done(void *arg, struct pv_guest_op *op, enum pv_err err, const struct pv_guest_result *result,
                     int sys_errno, const struct pv_errmsg *msg)
{
	struct qemu_call *call = arg;

	(void)op;
	(void)result;
	if (!qemu_guest_failed(call, err, sys_errno, msg))
		qemu_call_done(call);
}

void qemu_drop_op(struct qemu_call *call)
{
	pv_guest_op_settle(call->op);
	call->op = NULL;
	qemu_call_stop_timer(call);
}
