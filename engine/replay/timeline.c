#include <stdlib.h>
#include <string.h>

#include "engine/replay/fold.h"
#include "engine/replay/names.h"
#include "engine/replay/timeline_internal.h"

/* What the state does not tell: the shown path of a file; the test of a scope, which stands until the test has ended. */
struct shown {
	uint32_t file;
	char *path;
};

struct scope {
	uint32_t lab;
	uint32_t test;
	char *name;
};

struct walk {
	pv_timeline_cb *cb;
	void *arg;
	LIST_HEAD(, pv_timeline_call) calls;
	struct shown *shown; /* by discovery: ids ascend */
	size_t n_shown;
	struct scope *scopes; /* open ones */
	size_t n_scopes;
	struct pv_buf object;
	struct pv_buf what;
};

/* The name of the event's field in journal.proto is its kind. */
static const char *kind_of(const Pv__Event *event)
{
	const ProtobufCFieldDescriptor *field =
	    protobuf_c_message_descriptor_get_field(&pv__event__descriptor, (unsigned)event->body_case);

	return field ? field->name : "unknown";
}

static void forget(struct pv_timeline_call *call)
{
	LIST_REMOVE(call, link);
	free(call->object);
	free(call->test);
	free(call->source);
	free(call);
}

static struct pv_timeline_call *find_call(struct walk *walk, uint64_t id)
{
	struct pv_timeline_call *call;

	LIST_FOREACH (call, &walk->calls, link) {
		if (call->id == id)
			return call;
	}
	return NULL;
}

static void remember(struct walk *walk, const Pv__CallStarted *started, const struct pv_timeline_line *line)
{
	struct pv_timeline_call *call = PV_NEW(struct pv_timeline_call);

	call->id = started->id;
	call->op = line->op;
	call->object = pv_xstrdup(line->object);
	call->test = pv_xstrdup(line->test);
	call->test_id = line->test_id;
	call->vm = line->vm;
	call->source = pv_xstrdup(line->source);
	call->source_line = line->source_line;
	LIST_INSERT_HEAD(&walk->calls, call, link);
}

/* ---- what the walk keeps beside the state ---- */

static void keep_shown(struct walk *walk, const Pv__FileDiscovered *file)
{
	if ((walk->n_shown & (walk->n_shown - 1)) == 0)
		walk->shown = pv_xrealloc(walk->shown, (2 * walk->n_shown + 1) * sizeof(*walk->shown));
	walk->shown[walk->n_shown++] = (struct shown){ file->id, pv_xstrdup(file->shown_path ? file->shown_path : "") };
}

static int by_file(const void *key, const void *item)
{
	uint32_t file = *(const uint32_t *)key, other = ((const struct shown *)item)->file;

	return file < other ? -1 : file > other;
}

static const char *shown_path(const struct walk *walk, uint32_t file)
{
	const struct shown *shown =
	    walk->n_shown ? bsearch(&file, walk->shown, walk->n_shown, sizeof(*walk->shown), by_file) : NULL;

	return shown ? shown->path : "";
}

static void keep_scope(struct walk *walk, const Pv__LabCreated *lab, const struct pv_timeline_line *line)
{
	if (lab->kind != PV__LAB_KIND__LAB_KIND_TEST)
		return;
	walk->scopes = pv_xrealloc(walk->scopes, (walk->n_scopes + 1) * sizeof(*walk->scopes));
	walk->scopes[walk->n_scopes++] = (struct scope){ lab->id, lab->test, pv_xstrdup(line->test) };
}

static const struct scope *find_scope(const struct walk *walk, uint32_t lab)
{
	for (size_t i = 0; lab != 0 && i < walk->n_scopes; i++) {
		if (walk->scopes[i].lab == lab)
			return &walk->scopes[i];
	}
	return NULL;
}

static void drop_scope(struct walk *walk, uint32_t lab)
{
	const struct scope *scope = find_scope(walk, lab);

	if (!scope)
		return;
	size_t at = (size_t)(scope - walk->scopes);
	free(walk->scopes[at].name);
	walk->scopes[at] = walk->scopes[--walk->n_scopes];
}

/* ---- the parts of a line ---- */

static uint32_t file_of(const Pv__Event *event)
{
	switch (event->body_case) {
	case PV__EVENT__BODY_FILE_DISCOVERED:
		return event->file_discovered->id;
	case PV__EVENT__BODY_FILE_DISPATCHED:
		return event->file_dispatched->id;
	case PV__EVENT__BODY_FILE_BLOCKED:
		return event->file_blocked->id;
	case PV__EVENT__BODY_FILE_COMPLETED:
		return event->file_completed->id;
	case PV__EVENT__BODY_FILE_RESTARTED:
		return event->file_restarted->id;
	case PV__EVENT__BODY_FILE_INTERRUPTED:
		return event->file_interrupted->id;
	default:
		return event->has_file ? event->file : 0;
	}
}

static uint32_t vm_of(const Pv__Event *event)
{
	switch (event->body_case) {
	case PV__EVENT__BODY_VM_DECLARED:
		return event->vm_declared->id;
	case PV__EVENT__BODY_CALL_STARTED:
		return event->call_started->vm;
	case PV__EVENT__BODY_VM_CHANGED:
		return event->vm_changed->vm;
	case PV__EVENT__BODY_ADMISSION_REFUSED:
		return event->admission_refused->vm;
	default:
		return 0;
	}
}

/* The lab that an event is about, or in which its object stands. */
static uint32_t lab_of(const Pv__Event *event, const struct pv_state *before)
{
	struct pv_bridge_view bridge;
	struct pv_vm_view vm;

	switch (event->body_case) {
	case PV__EVENT__BODY_LAB_CREATED:
		return event->lab_created->parent;
	case PV__EVENT__BODY_LAB_CLOSED:
		return event->lab_closed->id;
	case PV__EVENT__BODY_VM_DECLARED:
		return event->vm_declared->lab;
	case PV__EVENT__BODY_BRIDGE_DECLARED:
		return event->bridge_declared->lab;
	case PV__EVENT__BODY_BRIDGE_CHANGED:
		return pv_state_bridge(before, event->bridge_changed->bridge, &bridge) ? bridge.home : 0;
	default:
		return vm_of(event) != 0 && pv_state_vm(before, vm_of(event), &vm) ? vm.home : 0;
	}
}

static void set_test(const struct walk *walk, struct pv_timeline_line *line, const Pv__Event *event,
                     const struct pv_state *before)
{
	struct pv_file_view file;
	const struct scope *scope;

	if (event->body_case == PV__EVENT__BODY_TEST_STARTED) {
		line->test_id = event->test_started->id;
		line->test = event->test_started->name ? event->test_started->name : "";
		return;
	}
	if (event->body_case == PV__EVENT__BODY_TEST_ENDED && event->test_ended->name) {
		line->test = event->test_ended->name;
		return;
	}
	if (line->file_id == 0 || !pv_state_file(before, line->file_id, &file))
		return;
	scope = find_scope(walk, pv_name_scope(before, lab_of(event, before)));
	if (file.test != 0 && file.test_name) {
		line->test_id = file.test;
		line->test = file.test_name;
	} else if (scope) {
		line->test_id = scope->test;
		line->test = scope->name;
	}
}

static void set_names(const struct walk *walk, struct pv_timeline_line *line, const Pv__Event *event,
                      const struct pv_state *before)
{
	struct pv_file_view file;

	line->file_id = file_of(event);
	line->vm = vm_of(event);
	if (event->body_case == PV__EVENT__BODY_FILE_DISCOVERED) {
		line->file = event->file_discovered->path ? event->file_discovered->path : "";
		line->shown_path = event->file_discovered->shown_path ? event->file_discovered->shown_path : "";
	} else if (line->file_id != 0 && pv_state_file(before, line->file_id, &file)) {
		line->file = file.path ? file.path : "";
		line->shown_path = shown_path(walk, line->file_id);
	}
	set_test(walk, line, event, before);
	if (event->site && event->site->source && event->site->line > 0) {
		line->source = event->site->source;
		line->source_line = event->site->line;
	}
}

static bool is_bad(Pv__Verdict verdict)
{
	return verdict == PV__VERDICT__VERDICT_FAILED || verdict == PV__VERDICT__VERDICT_TIMED_OUT ||
	       verdict == PV__VERDICT__VERDICT_CRASHED || verdict == PV__VERDICT__VERDICT_INTERRUPTED;
}

static bool is_failure(const Pv__Event *event)
{
	switch (event->body_case) {
	case PV__EVENT__BODY_CALL_ENDED:
		return event->call_ended->outcome_case == PV__CALL_ENDED__OUTCOME_ERROR;
	case PV__EVENT__BODY_TASK_ENDED: /* the end of a test cancels what is left of its tasks: nothing failed */
		return event->task_ended->verdict == PV__VERDICT__VERDICT_FAILED;
	case PV__EVENT__BODY_TEST_ENDED:
		return is_bad(event->test_ended->verdict);
	case PV__EVENT__BODY_FILE_COMPLETED:
		return is_bad(event->file_completed->verdict);
	case PV__EVENT__BODY_RUN_ENDED:
		return is_bad(event->run_ended->verdict);
	case PV__EVENT__BODY_VM_CHANGED:
		return event->vm_changed->change == PV__VM_CHANGE__VM_CHANGE_LOST ||
		       event->vm_changed->change == PV__VM_CHANGE__VM_CHANGE_PANICKED;
	case PV__EVENT__BODY_ADMISSION_REFUSED:
	case PV__EVENT__BODY_FILE_INTERRUPTED:
	case PV__EVENT__BODY_FILE_RESTARTED:
		return true;
	default:
		return false;
	}
}

static void set_duration(struct pv_timeline_line *line, const Pv__Event *event)
{
	switch (event->body_case) {
	case PV__EVENT__BODY_CALL_ENDED:
		line->has_duration = event->call_ended->has_duration_ns;
		line->duration_ns = event->call_ended->duration_ns;
		break;
	case PV__EVENT__BODY_TEST_ENDED:
		line->has_duration = event->test_ended->has_duration_ns;
		line->duration_ns = event->test_ended->duration_ns;
		break;
	case PV__EVENT__BODY_FILE_COMPLETED:
		line->has_duration = event->file_completed->has_duration_ns;
		line->duration_ns = event->file_completed->duration_ns;
		break;
	case PV__EVENT__BODY_RUN_ENDED:
		line->has_duration = event->has_mono_ns;
		line->duration_ns = event->mono_ns;
		break;
	default:
		break;
	}
}

/* The outcome of a call carries its id alone: the rest is that of the intent. */
static void take_over(struct pv_timeline_line *line, const struct pv_timeline_call *call, struct pv_buf *object)
{
	line->op = call->op;
	line->test = call->test;
	line->test_id = call->test_id;
	line->vm = call->vm;
	if (line->source_line == 0) {
		line->source = call->source;
		line->source_line = call->source_line;
	}
	pv_buf_addstr(object, call->object);
}

static bool on_event(void *arg, uint64_t seq, const Pv__Event *event, const struct pv_state *before)
{
	struct walk *walk = arg;
	struct pv_timeline_call *ended = NULL, *call = NULL;
	struct pv_timeline_line line = {
		.seq = seq,
		.mono_ns = event->mono_ns,
		.file = "",
		.shown_path = "",
		.test = "",
		.op = "",
		.source = "",
		.event = event,
		.before = before,
	};

	pv_buf_clear(&walk->object);
	pv_buf_clear(&walk->what);
	set_names(walk, &line, event, before);
	set_duration(&line, event);
	line.kind = kind_of(event);
	line.failed = is_failure(event);
	pv_timeline_object(event, before, &walk->object);
	if (event->body_case == PV__EVENT__BODY_CALL_STARTED)
		line.op = pv_timeline_op(event->call_started);
	else if (event->body_case == PV__EVENT__BODY_CALL_ENDED)
		ended = find_call(walk, event->call_ended->id);
	else if (event->body_case == PV__EVENT__BODY_CALL_RECONCILED)
		call = find_call(walk, event->call_reconciled->id);
	if (ended || call)
		take_over(&line, ended ? ended : call, &walk->object);
	pv_timeline_what(event, before, line.op, &walk->what);
	line.object = pv_buf_str(&walk->object);
	line.what = pv_buf_str(&walk->what);
	bool go_on = walk->cb(walk->arg, &line);
	if (event->body_case == PV__EVENT__BODY_CALL_STARTED)
		remember(walk, event->call_started, &line);
	else if (event->body_case == PV__EVENT__BODY_FILE_DISCOVERED)
		keep_shown(walk, event->file_discovered);
	else if (event->body_case == PV__EVENT__BODY_LAB_CREATED)
		keep_scope(walk, event->lab_created, &line);
	else if (event->body_case == PV__EVENT__BODY_LAB_CLOSED)
		drop_scope(walk, event->lab_closed->id);
	if (ended)
		forget(ended);
	return go_on;
}

static void free_walk(struct walk *walk)
{
	while (!LIST_EMPTY(&walk->calls))
		forget(LIST_FIRST(&walk->calls));
	for (size_t i = 0; i < walk->n_shown; i++)
		free(walk->shown[i].path);
	for (size_t i = 0; i < walk->n_scopes; i++)
		free(walk->scopes[i].name);
	free(walk->shown);
	free(walk->scopes);
	pv_buf_free(&walk->object);
	pv_buf_free(&walk->what);
}

enum pv_err pv_timeline_walk(struct pv_journal *journal, uint64_t last, pv_timeline_cb *cb, void *arg,
                             struct pv_errmsg *msg)
{
	struct walk walk = { .cb = cb, .arg = arg };
	struct pv_state *state = pv_state_create();

	LIST_INIT(&walk.calls);
	enum pv_err err = pv_fold_walk(journal, last, state, on_event, &walk, NULL, msg);
	free_walk(&walk);
	pv_state_destroy(state);
	return err;
}
