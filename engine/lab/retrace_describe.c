/* What an event is about, in words, for messages about scripts that do something else than what was recorded. */
#include <string.h>

#include "engine/core/disks.h"
#include "engine/lab/engine_internal.h"
#include "proto/mem.h"

#define SHOWN_MAX 80 /* bytes of a text */
#define ARGS_MAX  4

/* ---- words ---- */

/* The first line, in quotes. */
static void quote(struct pv_buf *out, const void *bytes, size_t len)
{
	const uint8_t *at = bytes;
	size_t shown = 0;

	pv_buf_addstr(out, "\"");
	while (shown < len && shown < SHOWN_MAX && at[shown] != '\n') {
		bool plain = at[shown] >= 0x20 && at[shown] < 0x7f;

		pv_buf_addf(out, plain ? "%c" : "\\x%02x", at[shown]);
		shown++;
	}
	pv_buf_addstr(out, shown < len ? "\"..." : "\"");
}

static void quote_text(struct pv_buf *out, const char *text)
{
	quote(out, text != NULL ? text : "", text != NULL ? strlen(text) : 0);
}

static const char *field_name(const ProtobufCMessageDescriptor *type, unsigned id)
{
	const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field(type, id);

	return field != NULL ? field->name : "?";
}

static const char *verdict_word(Pv__Verdict verdict)
{
	switch (verdict) {
	case PV__VERDICT__VERDICT_PASSED:
		return "passed";
	case PV__VERDICT__VERDICT_FAILED:
		return "failed";
	case PV__VERDICT__VERDICT_SKIPPED:
		return "skipped";
	case PV__VERDICT__VERDICT_TIMED_OUT:
		return "timed out";
	case PV__VERDICT__VERDICT_INTERRUPTED:
		return "interrupted";
	default:
		return "without a verdict";
	}
}

static void ends(struct pv_buf *out, Pv__Verdict verdict, const char *message)
{
	pv_buf_addf(out, " ends, %s", verdict_word(verdict));
	if (message != NULL && *message != '\0') {
		pv_buf_addstr(out, ": ");
		quote_text(out, message);
	}
}

/* ---- events ---- */

static void describe_task_started(const Pv__TaskStarted *started, struct pv_buf *out)
{
	static const char *const kinds[] = { "a task", "the task of the chunk", "the task of the test",
		                             "a task of co" };

	pv_buf_addf(out, "%s begins", started->kind < 4 ? kinds[started->kind] : kinds[0]);
}

/* The test that runs, unless the event has the name of one that was skipped. */
static void describe_test(const struct pv_state *state, const Pv__Event *event, const char *name, struct pv_buf *out)
{
	struct pv_file_view file;

	if (name == NULL && pv_state_file(state, event->file, &file))
		name = file.test_name;
	pv_buf_addstr(out, "the test");
	if (name != NULL) {
		pv_buf_addstr(out, " ");
		quote_text(out, name);
	}
}

static void describe_lab(Pv__LabKind kind, const char *name, struct pv_buf *out)
{
	if (kind == PV__LAB_KIND__LAB_KIND_ROOT) {
		pv_buf_addstr(out, "the lab of the file");
	} else if (kind == PV__LAB_KIND__LAB_KIND_TEST) {
		pv_buf_addstr(out, "the lab of the test");
	} else {
		pv_buf_addstr(out, "the lab ");
		quote_text(out, name);
	}
}

static void describe_lab_closed(const struct pv_state *state, uint32_t id, struct pv_buf *out)
{
	struct pv_lab_view lab;

	if (pv_state_lab(state, id, &lab))
		describe_lab(lab.kind, lab.name, out);
	else
		pv_buf_addstr(out, "a lab");
	pv_buf_addstr(out, " is closed");
}

static void describe_named(const char *what, const char *name, const char *does, struct pv_buf *out)
{
	pv_buf_addf(out, "%s ", what);
	quote_text(out, name);
	pv_buf_addstr(out, does);
}

static void describe_bridge(const struct pv_state *state, const Pv__BridgeChanged *changed, struct pv_buf *out)
{
	struct pv_bridge_view bridge;

	describe_named("the bridge", pv_state_bridge(state, changed->bridge, &bridge) ? bridge.name : NULL,
	               " changes: ", out);
	pv_buf_addstr(out, field_name(&pv__bridge_changed__descriptor, changed->change_case));
	if (changed->change_case == PV__BRIDGE_CHANGED__CHANGE_ATTACH) {
		for (size_t i = 0; i < changed->attach->n_members && i < ARGS_MAX; i++) {
			pv_buf_addstr(out, " ");
			quote_text(out, changed->attach->members[i]->name);
		}
	}
}

static void describe_argv(const Pv__RunCall *run, struct pv_buf *out)
{
	for (size_t i = 0; run != NULL && i < run->n_argv && i < ARGS_MAX; i++) {
		pv_buf_addstr(out, " ");
		quote(out, run->argv[i].data, run->argv[i].len);
	}
	if (run != NULL && run->n_argv > ARGS_MAX)
		pv_buf_addstr(out, " ...");
}

static void describe_call(const struct pv_state *state, const Pv__CallStarted *call, struct pv_buf *out)
{
	const ProtobufCBinaryData *bytes = NULL;
	struct pv_vm_view vm;

	pv_buf_addstr(out, field_name(&pv__call_started__descriptor, call->op_case));
	if (call->op_case == PV__CALL_STARTED__OP_RUN)
		describe_argv(call->run, out);
	else if (call->op_case == PV__CALL_STARTED__OP_WORKER_RUN)
		describe_argv(call->worker_run->run, out);
	else if (call->op_case == PV__CALL_STARTED__OP_READ_FILE)
		bytes = &call->read_file->path;
	else if (call->op_case == PV__CALL_STARTED__OP_WRITE_FILE)
		bytes = &call->write_file->path;
	else if (call->op_case == PV__CALL_STARTED__OP_HOST_RUN)
		bytes = &call->host_run->command;
	else if (call->op_case == PV__CALL_STARTED__OP_SNAPSHOT)
		bytes = &call->snapshot->path;
	else if (call->op_case == PV__CALL_STARTED__OP_RESTORE)
		bytes = &call->restore->path;
	else if (call->op_case == PV__CALL_STARTED__OP_FRAMES && call->frames->path.len > 0)
		bytes = &call->frames->path;
	if (bytes != NULL) {
		pv_buf_addstr(out, " ");
		quote(out, bytes->data, bytes->len);
	}
	if (call->op_case == PV__CALL_STARTED__OP_FIXTURE) {
		pv_buf_addstr(out, " ");
		quote_text(out, call->fixture->name);
	}
	if (pv_call_disk(call) != NULL) {
		pv_buf_addstr(out, " ");
		quote_text(out, pv_call_disk(call));
	}
	if (pv_state_vm(state, call->vm, &vm))
		pv_buf_addf(out, " on the VM \"%s\"", vm.name);
}

static void describe_body(const struct pv_state *state, const Pv__Event *event, struct pv_buf *out)
{
	switch (event->body_case) {
	case PV__EVENT__BODY_TASK_STARTED:
		describe_task_started(event->task_started, out);
		break;
	case PV__EVENT__BODY_TASK_ENDED:
		pv_buf_addstr(out, "the task");
		ends(out, event->task_ended->verdict, event->task_ended->message);
		break;
	case PV__EVENT__BODY_TEST_STARTED:
		describe_test(state, event, event->test_started->name, out);
		pv_buf_addstr(out, " begins");
		break;
	case PV__EVENT__BODY_TEST_ENDED:
		describe_test(state, event, event->test_ended->name, out);
		ends(out, event->test_ended->verdict, event->test_ended->message);
		break;
	case PV__EVENT__BODY_FILE_COMPLETED:
		pv_buf_addstr(out, "the file");
		ends(out, event->file_completed->verdict, event->file_completed->chunk_error);
		break;
	case PV__EVENT__BODY_LAB_CREATED:
		describe_lab(event->lab_created->kind, event->lab_created->name, out);
		pv_buf_addstr(out, " is made");
		break;
	case PV__EVENT__BODY_LAB_CLOSED:
		describe_lab_closed(state, event->lab_closed->id, out);
		break;
	case PV__EVENT__BODY_VM_DECLARED:
		describe_named("the VM", event->vm_declared->name, " is declared", out);
		break;
	case PV__EVENT__BODY_BRIDGE_DECLARED:
		describe_named("the bridge", event->bridge_declared->name, " is declared", out);
		break;
	case PV__EVENT__BODY_BRIDGE_CHANGED:
		describe_bridge(state, event->bridge_changed, out);
		break;
	case PV__EVENT__BODY_BARRIER_ARRIVED:
		describe_named("a task arrives at the barrier", event->barrier_arrived->name, "", out);
		break;
	case PV__EVENT__BODY_BARRIER_OPENED:
		describe_named("the barrier", event->barrier_opened->name, " opens", out);
		break;
	case PV__EVENT__BODY_BARRIER_WITHDRAWN:
		describe_named("a task leaves the barrier", event->barrier_withdrawn->name, " before it opens", out);
		break;
	case PV__EVENT__BODY_CALL_STARTED:
		describe_call(state, event->call_started, out);
		break;
	case PV__EVENT__BODY_CALL_ENDED:
		pv_buf_addf(out, "the outcome of call %llu", (unsigned long long)event->call_ended->id);
		break;
	case PV__EVENT__BODY_SCRIPT_INPUT:
		pv_buf_addf(out, "a call of %s", event->script_input->name != NULL ? event->script_input->name : "?");
		break;
	case PV__EVENT__BODY_TEST_LOGGED:
		pv_buf_addstr(out, "t:log ");
		quote_text(out, event->test_logged->text);
		break;
	default:
		pv_buf_addstr(out, field_name(&pv__event__descriptor, event->body_case));
		break;
	}
}

void pv_event_describe(const struct pv_state *state, const Pv__Event *event, struct pv_buf *out)
{
	describe_body(state, event, out);
	if (event->site != NULL && event->site->source != NULL)
		pv_buf_addf(out, " at %s:%u", event->site->source, event->site->line);
}
