#include <inttypes.h>
#include <string.h>

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
	case PV__EVENT__BODY_MEMBERS_INCLUDED:
		lab_object(before, event->members_included->lab, out);
		break;
	case PV__EVENT__BODY_MEMBER_REMOVED:
		lab_object(before, event->member_removed->lab, out);
		break;
	case PV__EVENT__BODY_CALL_STARTED:
		if (event->call_started->vm == 0)
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

/* ---- words ---- */

/* "PASSED" of VERDICT_PASSED, in lower case; the enums of journal.proto repeat their name as prefix. */
static void enum_word(struct pv_buf *out, const ProtobufCEnumDescriptor *descriptor, int value, size_t prefix)
{
	const ProtobufCEnumValue *entry = protobuf_c_enum_descriptor_get_value(descriptor, value);

	if (!entry || strlen(entry->name) < prefix) {
		pv_buf_addf(out, "%d", value);
		return;
	}
	for (const char *p = entry->name + prefix; *p; p++)
		pv_buf_addf(out, "%c", *p == '_' ? ' ' : *p >= 'A' && *p <= 'Z' ? *p - 'A' + 'a' : *p);
}

static void verdict_word(struct pv_buf *out, Pv__Verdict verdict)
{
	enum_word(out, &pv__verdict__descriptor, (int)verdict, strlen("VERDICT_"));
}

static void text(struct pv_buf *out, const char *before, const char *value)
{
	if (!value || !*value)
		return;
	pv_buf_addstr(out, before);
	pv_text_line(out, value, strlen(value), PV_TIMELINE_TEXT_MAX);
}

static void payload(struct pv_buf *out, const char *name, const Pv__Payload *value)
{
	if (!value)
		return;
	switch (value->kind_case) {
	case PV__PAYLOAD__KIND_DATA:
		if (value->data.len == 0)
			return;
		pv_buf_addf(out, ", %s \"", name);
		pv_text_line(out, value->data.data, value->data.len, 60);
		pv_buf_addstr(out, "\"");
		break;
	case PV__PAYLOAD__KIND_BLOB:
		pv_buf_addf(out, ", %s %" PRIu64 " bytes", name, value->blob->size);
		break;
	case PV__PAYLOAD__KIND_MAC:
		pv_buf_addf(out, ", %s secret", name);
		break;
	default:
		break;
	}
}

/* ---- calls ---- */

static void run_call(const Pv__RunCall *run, struct pv_buf *out)
{
	for (size_t i = 0; i < run->n_argv; i++) {
		pv_buf_addstr(out, " ");
		pv_text_line(out, run->argv[i].data, run->argv[i].len, PV_TIMELINE_TEXT_MAX);
	}
	payload(out, "stdin", run->stdin_data);
}

static void open_stream(const Pv__OpenStreamCall *open, struct pv_buf *out)
{
	if (open->kind == PV__STREAM_KIND__STREAM_KIND_TAIL_FILE) {
		pv_buf_addstr(out, " ");
		pv_text_line(out, open->path.data, open->path.len, PV_TIMELINE_TEXT_MAX);
		return;
	}
	pv_buf_addf(out, " %s of process %" PRIu64,
	            open->kind == PV__STREAM_KIND__STREAM_KIND_PROC_STDERR ? "stderr" : "stdout", open->process);
}

/* A call on the host. True if it is one. */
static bool host_call(const Pv__CallStarted *call, struct pv_buf *out)
{
	switch (call->op_case) {
	case PV__CALL_STARTED__OP_HOST_RUN:
		pv_buf_addstr(out, " ");
		pv_text_line(out, call->host_run->command.data, call->host_run->command.len, PV_TIMELINE_TEXT_MAX);
		return true;
	case PV__CALL_STARTED__OP_HOST_READ:
		pv_buf_addf(out, " from command %" PRIu64, call->host_read->run);
		return true;
	case PV__CALL_STARTED__OP_HOST_WRITE:
		pv_buf_addf(out, " to command %" PRIu64 "%s", call->host_write->run,
		            call->host_write->eof ? ", then closed" : "");
		payload(out, "content", call->host_write->content);
		return true;
	default:
		return false;
	}
}

/* A call on an object, or one that opens it. True if it is one. */
static bool object_call(const Pv__CallStarted *call, struct pv_buf *out)
{
	switch (call->op_case) {
	case PV__CALL_STARTED__OP_SPAWN:
		run_call(call->spawn->run, out);
		if (call->spawn->has_worker)
			pv_buf_addf(out, ", in worker %" PRIu64, call->spawn->worker);
		return true;
	case PV__CALL_STARTED__OP_WAIT:
		pv_buf_addf(out, " for process %" PRIu64, call->wait->process);
		return true;
	case PV__CALL_STARTED__OP_PROCESS_STATUS:
		pv_buf_addf(out, " %" PRIu64, call->process_status->process);
		return true;
	case PV__CALL_STARTED__OP_SIGNAL:
		pv_buf_addf(out, " %d to process %" PRIu64, call->signal->signal, call->signal->process);
		return true;
	case PV__CALL_STARTED__OP_STDIN_WRITE:
		pv_buf_addf(out, " to process %" PRIu64 "%s", call->stdin_write->process,
		            call->stdin_write->eof ? ", then closed" : "");
		payload(out, "content", call->stdin_write->content);
		return true;
	case PV__CALL_STARTED__OP_CLOSE_PROCESS:
		pv_buf_addf(out, " %" PRIu64, call->close_process->process);
		return true;
	case PV__CALL_STARTED__OP_OPEN_STREAM:
		open_stream(call->open_stream, out);
		return true;
	case PV__CALL_STARTED__OP_READ_STREAM:
		pv_buf_addf(out, " %" PRIu64 " at byte %" PRIu64, call->read_stream->stream, call->read_stream->offset);
		return true;
	case PV__CALL_STARTED__OP_CLOSE_STREAM:
		pv_buf_addf(out, " %" PRIu64, call->close_stream->stream);
		return true;
	case PV__CALL_STARTED__OP_CLOSE_WORKER:
		pv_buf_addf(out, " %" PRIu64, call->close_worker->worker);
		return true;
	case PV__CALL_STARTED__OP_WORKER_RUN:
		pv_buf_addf(out, " %" PRIu64 ":", call->worker_run->worker);
		run_call(call->worker_run->run, out);
		return true;
	case PV__CALL_STARTED__OP_READ_CONSOLE:
		pv_buf_addf(out, " at byte %" PRIu64, call->read_console->offset);
		return true;
	default:
		return false;
	}
}

static void call_started(const Pv__CallStarted *call, const char *op, struct pv_buf *out)
{
	pv_buf_addf(out, "%s", *op ? op : "a call of a newer version");
	if (object_call(call, out) || host_call(call, out))
		return;
	switch (call->op_case) {
	case PV__CALL_STARTED__OP_RUN:
		run_call(call->run, out);
		break;
	case PV__CALL_STARTED__OP_READ_FILE:
		pv_buf_addstr(out, " ");
		pv_text_line(out, call->read_file->path.data, call->read_file->path.len, PV_TIMELINE_TEXT_MAX);
		break;
	case PV__CALL_STARTED__OP_WRITE_FILE:
		pv_buf_addstr(out, " ");
		pv_text_line(out, call->write_file->path.data, call->write_file->path.len, PV_TIMELINE_TEXT_MAX);
		payload(out, "content", call->write_file->content);
		break;
	default:
		break;
	}
}

static void run_result(const Pv__RunResult *run, struct pv_buf *out)
{
	switch (run->status) {
	case PV__RUN_STATUS__RUN_STATUS_SIGNALLED:
		pv_buf_addf(out, ": signal %d", run->signal);
		break;
	case PV__RUN_STATUS__RUN_STATUS_TIMED_OUT:
		pv_buf_addstr(out, ": timed out");
		break;
	default:
		pv_buf_addf(out, ": exit code %d", run->exit_code);
	}
	payload(out, "stdout", run->stdout_data);
	payload(out, "stderr", run->stderr_data);
}

static void boot_result(const Pv__BootResult *boot, struct pv_buf *out)
{
	char size[32];

	pv_buf_addf(out, ": %s, %s", boot->from_template ? "template" : "cold", boot->accel ? boot->accel : "?");
	if (boot->has_memory_bytes)
		pv_buf_addf(out, ", %s, %u vCPU", pv_format_size(boot->memory_bytes, size), boot->cpus);
	text(out, ", Linux ", boot->kernel_release);
}

static void call_ended(const Pv__CallEnded *call, const char *op, struct pv_buf *out)
{
	bool failed = call->outcome_case == PV__CALL_ENDED__OUTCOME_ERROR;

	pv_buf_addf(out, "%s %s", *op ? op : "call", failed ? "failed" : "done");
	switch (call->outcome_case) {
	case PV__CALL_ENDED__OUTCOME_ERROR:
		text(out, ": ", call->error->message);
		break;
	case PV__CALL_ENDED__OUTCOME_BOOT:
		boot_result(call->boot, out);
		break;
	case PV__CALL_ENDED__OUTCOME_RUN:
		run_result(call->run, out);
		break;
	case PV__CALL_ENDED__OUTCOME_DATA:
		payload(out, "content", call->data);
		break;
	case PV__CALL_ENDED__OUTCOME_SPAWNED:
		if (call->spawned->pid > 0)
			pv_buf_addf(out, ": pid %" PRId64, call->spawned->pid);
		break;
	case PV__CALL_ENDED__OUTCOME_STREAM_DATA:
		payload(out, "content", call->stream_data->data);
		pv_buf_addstr(out, call->stream_data->eof         ? ", end of stream"
		                   : call->stream_data->timed_out ? ", timed out"
		                                                  : "");
		break;
	case PV__CALL_ENDED__OUTCOME_PROCESS_STATUS:
		pv_buf_addstr(out, ": ");
		if (call->process_status->running)
			pv_buf_addstr(out, "running");
		else
			enum_word(out, &pv__run_status__descriptor, (int)call->process_status->status,
			          strlen("RUN_STATUS_"));
		break;
	case PV__CALL_ENDED__OUTCOME_COUNT:
		pv_buf_addf(out, ": %" PRIu64 " bytes", call->count->count);
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
		enum_word(out, &pv__block_reason__descriptor, (int)event->file_blocked->reason,
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

static void run_event(const Pv__Event *event, struct pv_buf *out)
{
	if (event->body_case == PV__EVENT__BODY_RUN_STARTED) {
		const Pv__RunStarted *run = event->run_started;
		pv_buf_addf(out, "run %s begins, seed %" PRIu64, run->run_id ? run->run_id : "?", run->seed);
		text(out, ", provium ", run->provium_version);
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
		pv_buf_addstr(out, "file discovered");
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
		text(out, ": ", event->file_completed->chunk_error);
	}
}

static void task_event(const Pv__Event *event, struct pv_buf *out)
{
	if (event->body_case == PV__EVENT__BODY_TASK_STARTED) {
		enum_word(out, &pv__task_kind__descriptor, (int)event->task_started->kind, strlen("TASK_KIND_"));
		pv_buf_addstr(out, " task begins");
		return;
	}
	pv_buf_addstr(out, "task ");
	verdict_word(out, event->task_ended->verdict);
	text(out, ": ", event->task_ended->message);
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
		text(out, ": ", event->test_ended->message);
		break;
	default:
		text(out, "log: ", event->test_logged->text);
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
		enum_word(out, &pv__lab_kind__descriptor, (int)event->lab_created->kind, strlen("LAB_KIND_"));
		pv_buf_addstr(out, " lab created");
		break;
	case PV__EVENT__BODY_LAB_CLOSED:
		pv_buf_addstr(out, "lab closed");
		break;
	case PV__EVENT__BODY_VM_DECLARED:
		pv_buf_addstr(out, "VM declared");
		text(out, ", profile ", event->vm_declared->profile);
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
		text(out, ": ", event->file_restarted->reason);
		break;
	case PV__EVENT__BODY_FILE_INTERRUPTED:
		pv_buf_addstr(out, "file is ended");
		text(out, ": ", event->file_interrupted->reason);
		break;
	case PV__EVENT__BODY_TIMER_FIRED:
		pv_buf_addf(out, "timer %llu fires", (unsigned long long)event->timer_fired->number);
		break;
	case PV__EVENT__BODY_ADMISSION_REFUSED:
		pv_buf_addstr(out, "refused");
		text(out, ": ", event->admission_refused->reason);
		break;
	default:
		pv_buf_addf(out, "call %llu ", (unsigned long long)event->call_reconciled->id);
		enum_word(out, &pv__reconciliation__descriptor, (int)event->call_reconciled->how,
		          strlen("RECONCILIATION_"));
	}
}

static void vm_changed(const Pv__VmChanged *change, struct pv_buf *out)
{
	enum_word(out, &pv__vm_change__descriptor, (int)change->change, strlen("VM_CHANGE_"));
	text(out, ": ", change->reason);
}

static void barrier_event(const Pv__Event *event, const struct pv_state *before, struct pv_buf *out)
{
	const Pv__BarrierArrived *arrived = event->barrier_arrived;
	struct pv_barrier_view view = { 0 };

	switch (event->body_case) {
	case PV__EVENT__BODY_BARRIER_ARRIVED:
		if (arrived->name != NULL)
			pv_state_barrier(before, arrived->lab, arrived->name, &view);
		text(out, "arrives at the barrier ", arrived->name);
		pv_buf_addf(out, ", %u of %u", view.n + 1, arrived->count);
		break;
	case PV__EVENT__BODY_BARRIER_OPENED:
		text(out, "opens the barrier ", event->barrier_opened->name);
		break;
	default:
		text(out, "leaves the barrier ", event->barrier_withdrawn->name);
		pv_buf_addstr(out, ": ");
		enum_word(out, &pv__barrier_reason__descriptor, (int)event->barrier_withdrawn->reason,
		          strlen("BARRIER_REASON_"));
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
	case PV__EVENT__BODY_CALL_STARTED:
		call_started(event->call_started, op, out);
		break;
	case PV__EVENT__BODY_CALL_ENDED:
		call_ended(event->call_ended, op, out);
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
	case PV__EVENT__BODY_SCRIPT_INPUT:
		text(out, "took in ", event->script_input->name);
		break;
	case PV__EVENT__BODY_NOTICE:
		text(out, "notice: ", event->notice->text);
		break;
	default:
		pv_buf_addstr(out, "event of a newer version");
	}
}
