/* Which fields are ids, of which kind, and which of them are new. */
#include <stdlib.h>

#include "engine/replay/merge_internal.h"
#include "proto/mem.h"

struct rewriter {
	struct pv_id_map *map;
	struct pv_id_counters *counters;
	bool ok;
};

/* An id that the event gives to something new. */
static uint64_t fresh(struct rewriter *rw, enum pv_id_kind kind, uint64_t id)
{
	struct pv_id_map *map = rw->map;

	if (id != map->n[kind] + 1) {
		rw->ok = false;
		return id;
	}
	map->ids[kind] = pv_xrealloc(map->ids[kind], (size_t)id * sizeof(uint64_t));
	map->ids[kind][map->n[kind]++] = ++rw->counters->last[kind];
	return rw->counters->last[kind];
}

/* An id of something that is there; 0 stays 0. */
static uint64_t known(struct rewriter *rw, enum pv_id_kind kind, uint64_t id)
{
	if (id == 0)
		return 0;
	if (id > rw->map->n[kind]) {
		rw->ok = false;
		return id;
	}
	return rw->map->ids[kind][id - 1];
}

#define FRESH(kind, field) ((field) = (__typeof__(field))fresh(rw, PV_ID_##kind, (field)))
#define KNOWN(kind, field) ((field) = (__typeof__(field))known(rw, PV_ID_##kind, (field)))

static void rewrite_member(struct rewriter *rw, Pv__Member *member)
{
	switch (member->kind) {
	case PV__MEMBER_KIND__MEMBER_KIND_VM:
		KNOWN(VM, member->id);
		break;
	case PV__MEMBER_KIND__MEMBER_KIND_BRIDGE:
		KNOWN(BRIDGE, member->id);
		break;
	case PV__MEMBER_KIND__MEMBER_KIND_LAB:
		KNOWN(LAB, member->id);
		break;
	default:
		rw->ok = false;
	}
}

/* Processes, streams, workers and commands are named by the call that opened them. */
static void rewrite_object(struct rewriter *rw, Pv__CallStarted *call)
{
	switch (call->op_case) {
	case PV__CALL_STARTED__OP_SPAWN:
		KNOWN(CALL, call->spawn->worker);
		break;
	case PV__CALL_STARTED__OP_WAIT:
		KNOWN(CALL, call->wait->process);
		break;
	case PV__CALL_STARTED__OP_PROCESS_STATUS:
		KNOWN(CALL, call->process_status->process);
		break;
	case PV__CALL_STARTED__OP_SIGNAL:
		KNOWN(CALL, call->signal->process);
		break;
	case PV__CALL_STARTED__OP_STDIN_WRITE:
		KNOWN(CALL, call->stdin_write->process);
		break;
	case PV__CALL_STARTED__OP_CLOSE_PROCESS:
		KNOWN(CALL, call->close_process->process);
		break;
	case PV__CALL_STARTED__OP_OPEN_STREAM:
		KNOWN(CALL, call->open_stream->process);
		break;
	case PV__CALL_STARTED__OP_READ_STREAM:
		KNOWN(CALL, call->read_stream->stream);
		break;
	case PV__CALL_STARTED__OP_CLOSE_STREAM:
		KNOWN(CALL, call->close_stream->stream);
		break;
	case PV__CALL_STARTED__OP_CLOSE_WORKER:
		KNOWN(CALL, call->close_worker->worker);
		break;
	case PV__CALL_STARTED__OP_WORKER_RUN:
		KNOWN(CALL, call->worker_run->worker);
		break;
	case PV__CALL_STARTED__OP_READ_CONSOLE:
		KNOWN(CALL, call->read_console->stream);
		break;
	case PV__CALL_STARTED__OP_NIC:
		KNOWN(BRIDGE, call->nic->bridge);
		break;
	case PV__CALL_STARTED__OP_UPLINK:
		KNOWN(BRIDGE, call->uplink->bridge);
		break;
	case PV__CALL_STARTED__OP_NIC_COUNTERS:
		KNOWN(BRIDGE, call->nic_counters->bridge);
		break;
	case PV__CALL_STARTED__OP_OPEN_CAPTURE:
		KNOWN(BRIDGE, call->open_capture->bridge);
		KNOWN(VM, call->open_capture->nic_of);
		break;
	case PV__CALL_STARTED__OP_READ_CAPTURE:
		KNOWN(BRIDGE, call->read_capture->bridge);
		KNOWN(CALL, call->read_capture->stream);
		break;
	case PV__CALL_STARTED__OP_CLOSE_CAPTURE:
		KNOWN(BRIDGE, call->close_capture->bridge);
		KNOWN(CALL, call->close_capture->stream);
		break;
	case PV__CALL_STARTED__OP_FRAMES:
		KNOWN(BRIDGE, call->frames->bridge);
		break;
	case PV__CALL_STARTED__OP_HOST_READ:
		KNOWN(CALL, call->host_read->run);
		break;
	case PV__CALL_STARTED__OP_HOST_WRITE:
		KNOWN(CALL, call->host_write->run);
		break;
	case PV__CALL_STARTED__OP__NOT_SET:
		rw->ok = false;
		break;
	default: /* those without an object */
		break;
	}
}

static void rewrite_test(struct rewriter *rw, Pv__Event *event)
{
	switch (event->body_case) {
	case PV__EVENT__BODY_TASK_STARTED:
		KNOWN(TEST, event->task_started->test);
		KNOWN(TASK, event->task_started->parent);
		FRESH(TASK, event->task_started->id);
		break;
	case PV__EVENT__BODY_TASK_ENDED:
		KNOWN(TASK, event->task_ended->id);
		break;
	case PV__EVENT__BODY_TEST_STARTED:
		FRESH(TEST, event->test_started->id);
		break;
	case PV__EVENT__BODY_TEST_ENDED:
		if (event->test_ended->id > rw->map->n[PV_ID_TEST]) /* skipped without a start */
			FRESH(TEST, event->test_ended->id);
		else
			KNOWN(TEST, event->test_ended->id);
		break;
	default:
		KNOWN(TEST, event->test_logged->test);
	}
}

static void rewrite_lab(struct rewriter *rw, Pv__Event *event)
{
	switch (event->body_case) {
	case PV__EVENT__BODY_LAB_CREATED:
		KNOWN(LAB, event->lab_created->parent);
		KNOWN(TEST, event->lab_created->test);
		FRESH(LAB, event->lab_created->id);
		break;
	case PV__EVENT__BODY_LAB_CLOSED:
		KNOWN(LAB, event->lab_closed->id);
		break;
	case PV__EVENT__BODY_VM_DECLARED:
		KNOWN(LAB, event->vm_declared->lab);
		FRESH(VM, event->vm_declared->id);
		break;
	case PV__EVENT__BODY_BRIDGE_DECLARED:
		KNOWN(LAB, event->bridge_declared->lab);
		FRESH(BRIDGE, event->bridge_declared->id);
		break;
	case PV__EVENT__BODY_MEMBERS_INCLUDED:
		KNOWN(LAB, event->members_included->lab);
		for (size_t i = 0; i < event->members_included->n_members; i++)
			rewrite_member(rw, event->members_included->members[i]);
		break;
	case PV__EVENT__BODY_MEMBER_REMOVED:
		KNOWN(LAB, event->member_removed->lab);
		if (event->member_removed->member)
			rewrite_member(rw, event->member_removed->member);
		break;
	case PV__EVENT__BODY_BARRIER_ARRIVED:
		KNOWN(LAB, event->barrier_arrived->lab);
		KNOWN(TASK, event->barrier_arrived->task);
		break;
	case PV__EVENT__BODY_BARRIER_OPENED:
		KNOWN(LAB, event->barrier_opened->lab);
		break;
	default:
		KNOWN(LAB, event->barrier_withdrawn->lab);
		KNOWN(TASK, event->barrier_withdrawn->task);
	}
}

static void rewrite_attachments(struct rewriter *rw, Pv__Attachment **members, size_t n)
{
	for (size_t i = 0; i < n; i++)
		KNOWN(VM, members[i]->vm);
}

static void rewrite_bridge(struct rewriter *rw, Pv__BridgeChanged *changed)
{
	KNOWN(BRIDGE, changed->bridge);
	if (changed->change_case != PV__BRIDGE_CHANGED__CHANGE__NOT_SET && changed->attach == NULL) {
		rw->ok = false;
		return;
	}
	switch (changed->change_case) {
	case PV__BRIDGE_CHANGED__CHANGE_ATTACH:
		rewrite_attachments(rw, changed->attach->members, changed->attach->n_members);
		break;
	case PV__BRIDGE_CHANGED__CHANGE_DETACH:
		KNOWN(VM, changed->detach->vm);
		break;
	case PV__BRIDGE_CHANGED__CHANGE_LINK:
		KNOWN(VM, changed->link->vm);
		break;
	case PV__BRIDGE_CHANGED__CHANGE_ROUTE:
		for (size_t i = 0; i < changed->route->n_bridges; i++)
			KNOWN(BRIDGE, changed->route->bridges[i]);
		break;
	case PV__BRIDGE_CHANGED__CHANGE_SETTINGS:
		rewrite_attachments(rw, changed->settings->members, changed->settings->n_members);
		for (size_t i = 0; i < changed->settings->n_routes; i++)
			KNOWN(BRIDGE, changed->settings->routes[i]);
		break;
	case PV__BRIDGE_CHANGED__CHANGE__NOT_SET:
		rw->ok = false;
		break;
	default: /* those that name nobody by an id */
		break;
	}
}

static void rewrite_file(struct rewriter *rw, Pv__Event *event)
{
	switch (event->body_case) {
	case PV__EVENT__BODY_FILE_DISCOVERED:
		KNOWN(FILE, event->file_discovered->builds_for);
		FRESH(FILE, event->file_discovered->id);
		break;
	case PV__EVENT__BODY_FILE_DISPATCHED:
		KNOWN(FILE, event->file_dispatched->id);
		break;
	case PV__EVENT__BODY_FILE_COMPLETED:
		KNOWN(FILE, event->file_completed->id);
		break;
	case PV__EVENT__BODY_FILE_BLOCKED:
		KNOWN(FILE, event->file_blocked->id);
		break;
	case PV__EVENT__BODY_FILE_RESTARTED:
		KNOWN(FILE, event->file_restarted->id);
		break;
	default:
		KNOWN(FILE, event->file_interrupted->id);
	}
}

static void rewrite_call(struct rewriter *rw, Pv__Event *event)
{
	switch (event->body_case) {
	case PV__EVENT__BODY_CALL_STARTED:
		KNOWN(VM, event->call_started->vm);
		rewrite_object(rw, event->call_started);
		FRESH(CALL, event->call_started->id);
		break;
	case PV__EVENT__BODY_CALL_ENDED:
		KNOWN(CALL, event->call_ended->id);
		break;
	case PV__EVENT__BODY_CALL_RECONCILED:
		KNOWN(CALL, event->call_reconciled->id);
		break;
	case PV__EVENT__BODY_VM_CHANGED:
		KNOWN(VM, event->vm_changed->vm);
		break;
	default:
		KNOWN(VM, event->admission_refused->vm);
	}
}

static void rewrite_fixture(struct rewriter *rw, Pv__Event *event)
{
	switch (event->body_case) {
	case PV__EVENT__BODY_FIXTURE_BUILD_STARTED:
		KNOWN(CALL, event->fixture_build_started->call);
		KNOWN(FILE, event->fixture_build_started->builder);
		break;
	case PV__EVENT__BODY_FIXTURE_BUILD_WAITING:
		KNOWN(CALL, event->fixture_build_waiting->call);
		break;
	case PV__EVENT__BODY_FIXTURE_BUILD_DONE:
		KNOWN(CALL, event->fixture_build_done->call);
		break;
	default:
		KNOWN(CALL, event->fixture_cache_hit->call);
	}
}

static void rewrite_body(struct rewriter *rw, Pv__Event *event)
{
	switch (event->body_case) {
	case PV__EVENT__BODY_FILE_DISCOVERED:
	case PV__EVENT__BODY_FILE_DISPATCHED:
	case PV__EVENT__BODY_FILE_COMPLETED:
	case PV__EVENT__BODY_FILE_BLOCKED:
	case PV__EVENT__BODY_FILE_RESTARTED:
	case PV__EVENT__BODY_FILE_INTERRUPTED:
		rewrite_file(rw, event);
		break;
	case PV__EVENT__BODY_TASK_STARTED:
	case PV__EVENT__BODY_TASK_ENDED:
	case PV__EVENT__BODY_TEST_STARTED:
	case PV__EVENT__BODY_TEST_ENDED:
	case PV__EVENT__BODY_TEST_LOGGED:
		rewrite_test(rw, event);
		break;
	case PV__EVENT__BODY_LAB_CREATED:
	case PV__EVENT__BODY_LAB_CLOSED:
	case PV__EVENT__BODY_VM_DECLARED:
	case PV__EVENT__BODY_BRIDGE_DECLARED:
	case PV__EVENT__BODY_MEMBERS_INCLUDED:
	case PV__EVENT__BODY_MEMBER_REMOVED:
	case PV__EVENT__BODY_BARRIER_ARRIVED:
	case PV__EVENT__BODY_BARRIER_OPENED:
	case PV__EVENT__BODY_BARRIER_WITHDRAWN:
		rewrite_lab(rw, event);
		break;
	case PV__EVENT__BODY_CALL_STARTED:
	case PV__EVENT__BODY_CALL_ENDED:
	case PV__EVENT__BODY_CALL_RECONCILED:
	case PV__EVENT__BODY_VM_CHANGED:
	case PV__EVENT__BODY_ADMISSION_REFUSED:
		rewrite_call(rw, event);
		break;
	case PV__EVENT__BODY_FIXTURE_BUILD_STARTED:
	case PV__EVENT__BODY_FIXTURE_BUILD_WAITING:
	case PV__EVENT__BODY_FIXTURE_BUILD_DONE:
	case PV__EVENT__BODY_FIXTURE_CACHE_HIT:
		rewrite_fixture(rw, event);
		break;
	case PV__EVENT__BODY_BRIDGE_CHANGED:
		rewrite_bridge(rw, event->bridge_changed);
		break;
	case PV__EVENT__BODY_CLAIM_ACQUIRED:
	case PV__EVENT__BODY_CLAIM_RELEASED:
	case PV__EVENT__BODY_POOL_STATE:
	case PV__EVENT__BODY_RUN_RESUMED:
	case PV__EVENT__BODY_TIMER_FIRED:
	case PV__EVENT__BODY_SCRIPT_INPUT:
	case PV__EVENT__BODY_NOTICE:
		break;
	default: /* of the run, or of a newer version: what are its ids? */
		rw->ok = false;
	}
}

bool pv_merge_rewrite(struct pv_id_map *map, struct pv_id_counters *counters, Pv__Event *event)
{
	struct rewriter rewriter = { .map = map, .counters = counters, .ok = true };
	struct rewriter *rw = &rewriter;

	KNOWN(FILE, event->file);
	KNOWN(TASK, event->task);
	if (event->body_case != PV__EVENT__BODY__NOT_SET && !event->run_started)
		return false;
	rewrite_body(rw, event);
	return rw->ok;
}

void pv_id_map_free(struct pv_id_map *map)
{
	for (int kind = 0; kind < PV_ID_KINDS; kind++)
		free(map->ids[kind]);
}
