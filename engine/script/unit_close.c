/* The end of a test: what it has opened in VMs that outlive it is closed, streams first, then processes, then workers, each kind in
 * the order of creation. A VM of the test's own scope goes down next, and takes its objects along. */
#include <string.h>

#include "engine/core/network.h"
#include "engine/script/script_internal.h"
#include "engine/script/site.h"
#include "engine/script/unsettled.h"

static const Pv__ObjectKind steps[] = {
	PV__OBJECT_KIND__OBJECT_KIND_STREAM,
	PV__OBJECT_KIND__OBJECT_KIND_PROCESS,
	PV__OBJECT_KIND__OBJECT_KIND_WORKER,
};

#define STEP_COUNT (sizeof(steps) / sizeof(steps[0]))

static void closed(void *arg, const Pv__CallEnded *ended)
{
	struct pv_script *script = arg;

	/* What a shutdown or a reset took along is closed as well. */
	if (ended->outcome_case == PV__CALL_ENDED__OUTCOME_ERROR &&
	    ended->error->kind != PV__ERROR_KIND__ERROR_KIND_CANCELED)
		pv_engine_notice(script->engine, "%s: something that a test left open did not close in order: %s",
		                 script->shown_path, ended->error->message);
	if (--script->unit.closing == 0)
		pv_engine_defer(script->engine, &script->turn);
}

static void start_close(struct pv_script *script, Pv__CallStarted *started)
{
	struct pv_proposal proposal;
	struct pv_errmsg msg;

	pv_proposal_init(&proposal, script, NULL);
	proposal.event.body_case = PV__EVENT__BODY_CALL_STARTED;
	proposal.event.call_started = started;
	if (pv_engine_call(script->engine, &proposal.event, closed, script, &msg) == PV_OK)
		script->unit.closing++;
	else
		pv_engine_notice(script->engine, "%s: something that a test left open cannot be closed: %s",
		                 script->shown_path, msg.text);
}

static void close_object(struct pv_script *script, uint32_t vm, const struct pv_object_view *object)
{
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__CloseStreamCall stream = PV__CLOSE_STREAM_CALL__INIT;
	Pv__CloseProcessCall process = PV__CLOSE_PROCESS_CALL__INIT;
	Pv__CloseWorkerCall worker = PV__CLOSE_WORKER_CALL__INIT;

	stream.has_stream = process.has_process = worker.has_worker = 1;
	stream.stream = process.process = worker.worker = object->id;
	if (object->kind == PV__OBJECT_KIND__OBJECT_KIND_STREAM) {
		started.op_case = PV__CALL_STARTED__OP_CLOSE_STREAM;
		started.close_stream = &stream;
	} else if (object->kind == PV__OBJECT_KIND__OBJECT_KIND_PROCESS) {
		started.op_case = PV__CALL_STARTED__OP_CLOSE_PROCESS;
		started.close_process = &process;
	} else {
		started.op_case = PV__CALL_STARTED__OP_CLOSE_WORKER;
		started.close_worker = &worker;
	}
	started.has_vm = 1;
	started.vm = vm;
	start_close(script, &started);
}

/* The objects of one kind that the unit has opened in `vm`. Their ids first: each close changes the state. */
static void close_in(struct pv_script *script, uint32_t vm, Pv__ObjectKind kind)
{
	const struct pv_state *state = pv_engine_state(script->engine);
	struct pv_object_view object;
	uint64_t after = script->unit.first_call - 1;

	while (pv_state_object_after(state, vm, after, &object)) {
		after = object.id;
		if (object.kind == kind && object.open)
			close_object(script, vm, &object);
	}
}

/* The captures of a bridge that the unit has opened. */
static void close_captures(struct pv_script *script, uint32_t bridge)
{
	const struct pv_state *state = pv_engine_state(script->engine);
	struct pv_object_view capture;
	uint64_t after = script->unit.first_call - 1;

	while (pv_state_capture_after(state, bridge, after, &capture)) {
		Pv__CallStarted started = PV__CALL_STARTED__INIT;
		Pv__CloseCaptureCall call = PV__CLOSE_CAPTURE_CALL__INIT;

		after = capture.id;
		if (!capture.open)
			continue;
		call.has_bridge = call.has_stream = 1;
		call.bridge = bridge;
		call.stream = capture.id;
		started.op_case = PV__CALL_STARTED__OP_CLOSE_CAPTURE;
		started.close_capture = &call;
		start_close(script, &started);
	}
}

static bool is_listed(const struct pv_buf *ids, uint32_t id)
{
	for (size_t i = 0; i + sizeof(id) <= ids->len; i += sizeof(id))
		if (memcmp(ids->data + i, &id, sizeof(id)) == 0)
			return true;
	return false;
}

/* Starts the next step. True if there is none. */
bool pv_unit_close_objects(struct pv_script *script)
{
	const struct pv_state *state = pv_engine_state(script->engine);
	struct pv_unit *unit = &script->unit;
	struct pv_buf going = { 0 };

	if (!unit->is_test || (unit->closing == 0 && pv_engine_is_lost(script->engine, script->file)))
		return true;
	if (unit->close_step == 0 && !pv_unsettled_settle(script))
		return false;
	pv_state_vms_closed_with(state, script->scope_lab, &going);
	while (unit->closing == 0 && unit->close_step < STEP_COUNT) {
		Pv__ObjectKind kind = steps[unit->close_step++];
		uint32_t vm = 0;

		while ((vm = pv_state_next_vm(state, script->file, vm)) != 0)
			if (!is_listed(&going, vm))
				close_in(script, vm, kind);
		for (uint32_t bridge = pv_state_next_bridge(state, script->file, 0);
		     kind == PV__OBJECT_KIND__OBJECT_KIND_STREAM && bridge != 0;
		     bridge = pv_state_next_bridge(state, script->file, bridge))
			close_captures(script, bridge);
	}
	pv_buf_free(&going);
	return unit->closing == 0;
}
