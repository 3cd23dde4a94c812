#include <stdlib.h>
#include <string.h>

#include "engine/replay/fold.h"
#include "engine/replay/timeline_internal.h"

struct walk {
	pv_timeline_cb *cb;
	void *arg;
	LIST_HEAD(, pv_timeline_call) calls;
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
	LIST_INSERT_HEAD(&walk->calls, call, link);
}

static void set_names(struct pv_timeline_line *line, const Pv__Event *event, const struct pv_state *before)
{
	struct pv_file_view file;

	if (event->has_file && pv_state_file(before, event->file, &file)) {
		line->file = file.path ? file.path : "";
		line->test = file.test && file.test_name ? file.test_name : "";
	}
	if (event->body_case == PV__EVENT__BODY_TEST_STARTED && event->test_started->name)
		line->test = event->test_started->name;
	else if (event->body_case == PV__EVENT__BODY_TEST_ENDED && event->test_ended->name)
		line->test = event->test_ended->name;
	else if (event->body_case == PV__EVENT__BODY_FILE_DISCOVERED && event->file_discovered->path)
		line->file = event->file_discovered->path;
	else if (event->body_case == PV__EVENT__BODY_FILE_DISPATCHED &&
	         pv_state_file(before, event->file_dispatched->id, &file))
		line->file = file.path ? file.path : "";
	else if (event->body_case == PV__EVENT__BODY_FILE_BLOCKED &&
	         pv_state_file(before, event->file_blocked->id, &file))
		line->file = file.path ? file.path : "";
	else if (event->body_case == PV__EVENT__BODY_FILE_COMPLETED &&
	         pv_state_file(before, event->file_completed->id, &file))
		line->file = file.path ? file.path : "";
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

static bool on_event(void *arg, uint64_t seq, const Pv__Event *event, const struct pv_state *before)
{
	struct walk *walk = arg;
	struct pv_timeline_call *ended = NULL;
	struct pv_timeline_line line = { .seq = seq, .mono_ns = event->mono_ns, .file = "", .test = "", .op = "" };

	pv_buf_clear(&walk->object);
	pv_buf_clear(&walk->what);
	set_names(&line, event, before);
	set_duration(&line, event);
	line.kind = kind_of(event);
	pv_timeline_object(event, before, &walk->object);
	if (event->body_case == PV__EVENT__BODY_CALL_STARTED)
		line.op = pv_timeline_op(event->call_started);
	else if (event->body_case == PV__EVENT__BODY_CALL_ENDED)
		ended = find_call(walk, event->call_ended->id);
	if (ended) {
		line.op = ended->op;
		line.test = ended->test;
		pv_buf_addstr(&walk->object, ended->object);
	}
	pv_timeline_what(event, before, line.op, &walk->what);
	line.object = pv_buf_str(&walk->object);
	line.what = pv_buf_str(&walk->what);
	bool go_on = walk->cb(walk->arg, &line);
	if (event->body_case == PV__EVENT__BODY_CALL_STARTED)
		remember(walk, event->call_started, &line);
	if (ended)
		forget(ended);
	return go_on;
}

enum pv_err pv_timeline_walk(struct pv_journal *journal, uint64_t last, pv_timeline_cb *cb, void *arg,
                             struct pv_errmsg *msg)
{
	struct walk walk = { .cb = cb, .arg = arg };
	struct pv_state *state = pv_state_create();

	LIST_INIT(&walk.calls);
	enum pv_err err = pv_fold_walk(journal, last, state, on_event, &walk, NULL, msg);
	while (!LIST_EMPTY(&walk.calls))
		forget(LIST_FIRST(&walk.calls));
	pv_buf_free(&walk.object);
	pv_buf_free(&walk.what);
	pv_state_destroy(state);
	return err;
}
