#include <inttypes.h>
#include <string.h>

#include "engine/core/network.h"
#include "engine/core/units.h"
#include "engine/replay/names.h"
#include "engine/replay/text.h"
#include "engine/replay/timeline_internal.h"

const char *pv_timeline_op(const Pv__CallStarted *call)
{
	const ProtobufCFieldDescriptor *field =
	    protobuf_c_message_descriptor_get_field(&pv__call_started__descriptor, (unsigned)call->op_case);

	return field ? field->name : "";
}

/* ---- objects ---- */

static void vm_object(const struct pv_state *before, uint32_t id, struct pv_buf *out)
{
	struct pv_vm_view vm;

	if (pv_state_vm(before, id, &vm)) {
		pv_buf_addstr(out, "vm ");
		pv_name_vm(before, id, out);
	}
}

static void bridge_object(const struct pv_state *before, uint32_t id, struct pv_buf *out)
{
	struct pv_bridge_view bridge;

	if (pv_state_bridge(before, id, &bridge)) {
		pv_buf_addstr(out, "bridge ");
		pv_name_bridge(before, id, out);
	}
}

static const char *lab_name(Pv__LabKind kind, const char *name)
{
	return kind == PV__LAB_KIND__LAB_KIND_SUB && name ? name : "provium";
}

static void lab_object(const struct pv_state *before, uint32_t id, struct pv_buf *out)
{
	struct pv_lab_view lab;

	if (pv_state_lab(before, id, &lab)) {
		pv_buf_addstr(out, "lab ");
		pv_name_lab(before, id, out);
	}
}

void pv_timeline_object(const Pv__Event *event, const struct pv_state *before, struct pv_buf *out)
{
	switch (event->body_case) {
	case PV__EVENT__BODY_LAB_CREATED:
		pv_buf_addstr(out, "lab ");
		pv_name_in(before,
		           event->lab_created->kind == PV__LAB_KIND__LAB_KIND_SUB ? event->lab_created->parent : 0,
		           lab_name(event->lab_created->kind, event->lab_created->name), out);
		break;
	case PV__EVENT__BODY_LAB_CLOSED:
		lab_object(before, event->lab_closed->id, out);
		break;
	case PV__EVENT__BODY_VM_DECLARED:
		pv_buf_addstr(out, "vm ");
		pv_name_in(before, event->vm_declared->lab, event->vm_declared->name, out);
		break;
	case PV__EVENT__BODY_BRIDGE_DECLARED:
		pv_buf_addstr(out, "bridge ");
		pv_name_in(before, event->bridge_declared->lab, event->bridge_declared->name, out);
		break;
	case PV__EVENT__BODY_BRIDGE_CHANGED:
		bridge_object(before, event->bridge_changed->bridge, out);
		break;
	case PV__EVENT__BODY_MEMBERS_INCLUDED:
		lab_object(before, event->members_included->lab, out);
		break;
	case PV__EVENT__BODY_MEMBER_REMOVED:
		lab_object(before, event->member_removed->lab, out);
		break;
	case PV__EVENT__BODY_CALL_STARTED:
		if (pv_call_is_of_bridge(event->call_started->op_case))
			bridge_object(before, pv_call_bridge(event->call_started), out);
		else if (event->call_started->vm == 0)
			pv_buf_addstr(out, "host");
		else
			vm_object(before, event->call_started->vm, out);
		break;
	case PV__EVENT__BODY_VM_CHANGED:
		vm_object(before, event->vm_changed->vm, out);
		break;
	case PV__EVENT__BODY_ADMISSION_REFUSED:
		vm_object(before, event->admission_refused->vm, out);
		break;
	case PV__EVENT__BODY_TASK_STARTED:
		pv_buf_addf(out, "task %u", event->task_started->id);
		break;
	case PV__EVENT__BODY_TASK_ENDED:
		pv_buf_addf(out, "task %u", event->task_ended->id);
		break;
	case PV__EVENT__BODY_BARRIER_ARRIVED:
		pv_buf_addf(out, "task %u", event->barrier_arrived->task);
		break;
	case PV__EVENT__BODY_BARRIER_WITHDRAWN:
		pv_buf_addf(out, "task %u", event->barrier_withdrawn->task);
		break;
	case PV__EVENT__BODY_BARRIER_OPENED:
		lab_object(before, event->barrier_opened->lab, out);
		break;
	default:
		break;
	}
}

/* ---- the pool ---- */

static void amount(struct pv_buf *out, const Pv__Amount *value)
{
	char size[32];

	if (value)
		pv_buf_addf(out, " %s, %u vCPU", pv_format_size(value->memory_bytes, size), value->cpus);
}

static void pool_event(const Pv__Event *event, struct pv_buf *out)
{
	switch (event->body_case) {
	case PV__EVENT__BODY_CLAIM_ACQUIRED:
		pv_buf_addstr(out, "claim acquired:");
		amount(out, event->claim_acquired->amount);
		break;
	case PV__EVENT__BODY_CLAIM_RELEASED:
		pv_buf_addstr(out, "claim released:");
		amount(out, event->claim_released->amount);
		break;
	case PV__EVENT__BODY_FILE_BLOCKED:
		pv_buf_addstr(out, "file waits (");
		pv_say_enum(out, &pv__block_reason__descriptor, (int)event->file_blocked->reason,
		            strlen("BLOCK_REASON_"));
		pv_buf_addstr(out, ") for");
		amount(out, event->file_blocked->waiting_for);
		break;
	default:
		pv_buf_addstr(out, "pool: in use");
		amount(out, event->pool_state->used);
		pv_buf_addstr(out, "; free");
		amount(out, event->pool_state->available);
	}
}

/* ---- files and tests ---- */

static void verdict_word(struct pv_buf *out, Pv__Verdict verdict)
{
	pv_say_enum(out, &pv__verdict__descriptor, (int)verdict, strlen("VERDICT_"));
}

static void run_event(const Pv__Event *event, struct pv_buf *out)
{
	if (event->body_case == PV__EVENT__BODY_RUN_STARTED) {
		const Pv__RunStarted *run = event->run_started;
		pv_buf_addf(out, "run %s begins, seed %" PRIu64, run->run_id ? run->run_id : "?", run->seed);
		pv_say_text(out, ", provium ", run->provium_version);
		return;
	}
	const Pv__RunEnded *run = event->run_ended;
	pv_buf_addstr(out, "run ");
	verdict_word(out, run->verdict);
	pv_buf_addf(out, ": %u file(s); %u passed, %u failed, %u skipped", run->files, run->passed, run->failed,
	            run->skipped);
	if (run->flaky)
		pv_buf_addf(out, ", %u flaky", run->flaky);
}

static void file_event(const Pv__Event *event, struct pv_buf *out)
{
	switch (event->body_case) {
	case PV__EVENT__BODY_FILE_DISCOVERED:
		pv_buf_addstr(out, event->file_discovered->builds_for ? "builder of a fixture" : "file discovered");
		if (event->file_discovered->declared_claim) {
			pv_buf_addstr(out, ", claims");
			amount(out, event->file_discovered->declared_claim);
		}
		break;
	case PV__EVENT__BODY_FILE_DISPATCHED:
		pv_buf_addstr(out, "file dispatched");
		break;
	default:
		pv_buf_addstr(out, "file ");
		verdict_word(out, event->file_completed->verdict);
		pv_say_text(out, ": ", event->file_completed->chunk_error);
	}
}

static void task_event(const Pv__Event *event, struct pv_buf *out)
{
	if (event->body_case == PV__EVENT__BODY_TASK_STARTED) {
		pv_say_enum(out, &pv__task_kind__descriptor, (int)event->task_started->kind, strlen("TASK_KIND_"));
		pv_buf_addstr(out, " task begins");
		return;
	}
	pv_buf_addstr(out, "task ");
	verdict_word(out, event->task_ended->verdict);
	pv_say_text(out, ": ", event->task_ended->message);
}

static void test_event(const Pv__Event *event, struct pv_buf *out)
{
	switch (event->body_case) {
	case PV__EVENT__BODY_TEST_STARTED:
		pv_buf_addstr(out, "test begins");
		if (event->test_started->attempt > 1)
			pv_buf_addf(out, ", attempt %u", event->test_started->attempt);
		break;
	case PV__EVENT__BODY_TEST_ENDED:
		pv_buf_addstr(out, "test ");
		verdict_word(out, event->test_ended->verdict);
		pv_say_text(out, ": ", event->test_ended->message);
		break;
	default:
		pv_say_text(out, "log: ", event->test_logged->text);
	}
}

/* ---- the lab ---- */

static void member_name(const struct pv_state *before, const Pv__Member *member, struct pv_buf *out)
{
	switch (member->kind) {
	case PV__MEMBER_KIND__MEMBER_KIND_VM:
		pv_buf_addstr(out, " vm ");
		pv_name_vm(before, member->id, out);
		break;
	case PV__MEMBER_KIND__MEMBER_KIND_BRIDGE:
		pv_buf_addstr(out, " bridge ");
		pv_name_bridge(before, member->id, out);
		break;
	case PV__MEMBER_KIND__MEMBER_KIND_LAB:
		pv_buf_addstr(out, " lab ");
		pv_name_lab(before, member->id, out);
		break;
	default:
		break;
	}
}

static void lab_event(const Pv__Event *event, const struct pv_state *before, struct pv_buf *out)
{
	switch (event->body_case) {
	case PV__EVENT__BODY_LAB_CREATED:
		pv_say_enum(out, &pv__lab_kind__descriptor, (int)event->lab_created->kind, strlen("LAB_KIND_"));
		pv_buf_addstr(out, " lab created");
		break;
	case PV__EVENT__BODY_LAB_CLOSED:
		pv_buf_addstr(out, "lab closed");
		break;
	case PV__EVENT__BODY_VM_DECLARED:
		pv_buf_addstr(out, "VM declared");
		pv_say_text(out, ", profile ", event->vm_declared->profile);
		break;
	case PV__EVENT__BODY_BRIDGE_DECLARED:
		pv_buf_addstr(out, "bridge declared");
		break;
	case PV__EVENT__BODY_MEMBERS_INCLUDED:
		pv_buf_addstr(out, "includes");
		for (size_t i = 0; i < event->members_included->n_members; i++)
			member_name(before, event->members_included->members[i], out);
		break;
	default:
		pv_buf_addstr(out, "removes");
		if (event->member_removed->member)
			member_name(before, event->member_removed->member, out);
	}
}

static void progress_event(const Pv__Event *event, struct pv_buf *out)
{
	switch (event->body_case) {
	case PV__EVENT__BODY_RUN_RESUMED:
		pv_buf_addf(out, "run resumed by process %u", event->run_resumed->pid);
		break;
	case PV__EVENT__BODY_FILE_RESTARTED:
		pv_buf_addstr(out, "file begins anew");
		pv_say_text(out, ": ", event->file_restarted->reason);
		break;
	case PV__EVENT__BODY_FILE_INTERRUPTED:
		pv_buf_addstr(out, "file is ended");
		pv_say_text(out, ": ", event->file_interrupted->reason);
		break;
	case PV__EVENT__BODY_TIMER_FIRED:
		pv_buf_addf(out, "timer %llu fires", (unsigned long long)event->timer_fired->number);
		break;
	case PV__EVENT__BODY_ADMISSION_REFUSED:
		pv_buf_addstr(out, "refused");
		pv_say_text(out, ": ", event->admission_refused->reason);
		break;
	default:
		pv_buf_addf(out, "call %llu ", (unsigned long long)event->call_reconciled->id);
		pv_say_enum(out, &pv__reconciliation__descriptor, (int)event->call_reconciled->how,
		            strlen("RECONCILIATION_"));
	}
}

static void vm_changed(const Pv__VmChanged *change, struct pv_buf *out)
{
	pv_say_enum(out, &pv__vm_change__descriptor, (int)change->change, strlen("VM_CHANGE_"));
	pv_say_text(out, ": ", change->reason);
}

static void barrier_event(const Pv__Event *event, const struct pv_state *before, struct pv_buf *out)
{
	const Pv__BarrierArrived *arrived = event->barrier_arrived;
	struct pv_barrier_view view = { 0 };

	switch (event->body_case) {
	case PV__EVENT__BODY_BARRIER_ARRIVED:
		if (arrived->name != NULL)
			pv_state_barrier(before, arrived->lab, arrived->name, &view);
		pv_say_text(out, "arrives at the barrier ", arrived->name);
		pv_buf_addf(out, ", %u of %u", view.n + 1, arrived->count);
		break;
	case PV__EVENT__BODY_BARRIER_OPENED:
		pv_say_text(out, "opens the barrier ", event->barrier_opened->name);
		break;
	default:
		pv_say_text(out, "leaves the barrier ", event->barrier_withdrawn->name);
		pv_buf_addstr(out, ": ");
		pv_say_enum(out, &pv__barrier_reason__descriptor, (int)event->barrier_withdrawn->reason,
		            strlen("BARRIER_REASON_"));
	}
}

static void fixture_event(const Pv__Event *event, struct pv_buf *out)
{
	char size[32];

	switch (event->body_case) {
	case PV__EVENT__BODY_FIXTURE_BUILD_STARTED:
		pv_say_text(out, "builds the fixture ", event->fixture_build_started->name);
		pv_buf_addf(out, " for call %llu", (unsigned long long)event->fixture_build_started->call);
		break;
	case PV__EVENT__BODY_FIXTURE_BUILD_WAITING:
		pv_say_text(out, "waits for the build of the fixture ", event->fixture_build_waiting->name);
		pv_say_text(out, " by ", event->fixture_build_waiting->held_by);
		break;
	case PV__EVENT__BODY_FIXTURE_BUILD_DONE:
		pv_say_text(out, "the build of the fixture ", event->fixture_build_done->name);
		if (event->fixture_build_done->snapshot_bytes)
			pv_buf_addf(out, " is done: %s",
			            pv_format_size(event->fixture_build_done->snapshot_bytes, size));
		else
			pv_buf_addstr(out, " has failed");
		break;
	default:
		pv_say_text(out, "restored the fixture ", event->fixture_cache_hit->name);
		pv_buf_addstr(out, " from the cache");
	}
}

void pv_timeline_what(const Pv__Event *event, const struct pv_state *before, const char *op, struct pv_buf *out)
{
	switch (event->body_case) {
	case PV__EVENT__BODY_RUN_STARTED:
	case PV__EVENT__BODY_RUN_ENDED:
		run_event(event, out);
		break;
	case PV__EVENT__BODY_FILE_DISCOVERED:
	case PV__EVENT__BODY_FILE_DISPATCHED:
	case PV__EVENT__BODY_FILE_COMPLETED:
		file_event(event, out);
		break;
	case PV__EVENT__BODY_TASK_STARTED:
	case PV__EVENT__BODY_TASK_ENDED:
		task_event(event, out);
		break;
	case PV__EVENT__BODY_TEST_STARTED:
	case PV__EVENT__BODY_TEST_ENDED:
	case PV__EVENT__BODY_TEST_LOGGED:
		test_event(event, out);
		break;
	case PV__EVENT__BODY_LAB_CREATED:
	case PV__EVENT__BODY_LAB_CLOSED:
	case PV__EVENT__BODY_VM_DECLARED:
	case PV__EVENT__BODY_BRIDGE_DECLARED:
	case PV__EVENT__BODY_MEMBERS_INCLUDED:
	case PV__EVENT__BODY_MEMBER_REMOVED:
		lab_event(event, before, out);
		break;
	case PV__EVENT__BODY_BRIDGE_CHANGED:
		pv_say_bridge_changed(event->bridge_changed, before, out);
		break;
	case PV__EVENT__BODY_CALL_STARTED:
		pv_say_call_started(event->call_started, op, out);
		break;
	case PV__EVENT__BODY_CALL_ENDED:
		pv_say_call_ended(event->call_ended, op, out);
		break;
	case PV__EVENT__BODY_VM_CHANGED:
		vm_changed(event->vm_changed, out);
		break;
	case PV__EVENT__BODY_CLAIM_ACQUIRED:
	case PV__EVENT__BODY_CLAIM_RELEASED:
	case PV__EVENT__BODY_FILE_BLOCKED:
	case PV__EVENT__BODY_POOL_STATE:
		pool_event(event, out);
		break;
	case PV__EVENT__BODY_BARRIER_ARRIVED:
	case PV__EVENT__BODY_BARRIER_OPENED:
	case PV__EVENT__BODY_BARRIER_WITHDRAWN:
		barrier_event(event, before, out);
		break;
	case PV__EVENT__BODY_RUN_RESUMED:
	case PV__EVENT__BODY_FILE_RESTARTED:
	case PV__EVENT__BODY_FILE_INTERRUPTED:
	case PV__EVENT__BODY_TIMER_FIRED:
	case PV__EVENT__BODY_ADMISSION_REFUSED:
	case PV__EVENT__BODY_CALL_RECONCILED:
		progress_event(event, out);
		break;
	case PV__EVENT__BODY_FIXTURE_BUILD_STARTED:
	case PV__EVENT__BODY_FIXTURE_BUILD_WAITING:
	case PV__EVENT__BODY_FIXTURE_BUILD_DONE:
	case PV__EVENT__BODY_FIXTURE_CACHE_HIT:
		fixture_event(event, out);
		break;
	case PV__EVENT__BODY_SCRIPT_INPUT:
		pv_say_text(out, "took in ", event->script_input->name);
		break;
	case PV__EVENT__BODY_NOTICE:
		pv_say_text(out, "notice: ", event->notice->text);
		break;
	default:
		pv_buf_addstr(out, "event of a newer version");
	}
}
