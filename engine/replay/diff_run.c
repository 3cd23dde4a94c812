#include <stdlib.h>
#include <string.h>

#include "engine/replay/diff_internal.h"
#include "engine/replay/fields.h"
#include "engine/replay/timeline.h"

struct reader {
	struct pv_diff_run *run;
	struct pv_diff_names *names;
};

/* ---- circumstances ---- */

static void add_fact(struct pv_diff_run *run, char *name, char *value)
{
	struct pv_diff_fact *fact;

	HASH_FIND_STR(run->facts, name, fact);
	if (fact) {
		free(name);
		free(fact->value);
	} else {
		fact = PV_NEW(struct pv_diff_fact);
		fact->name = name;
		HASH_ADD_KEYPTR(hh, run->facts, fact->name, strlen(name), fact);
	}
	fact->value = value;
}

static bool add_run_fact(void *arg, const struct pv_field *field)
{
	/* What no two runs share, or what only says where it was started. */
	static const char *const others[] = { "run_id",       "argv",  "cwd",        "mono_origin_ns",
		                              "host_boot_id", "roots", "socket_dir", NULL };
	struct pv_buf value = { .data = NULL };

	for (size_t i = 0; others[i]; i++) {
		if (pv_field_is(field, &pv__run_started__descriptor, others[i]))
			return false;
	}
	if (pv_field_is_message(field))
		return true;
	pv_field_text(field, 200, &value);
	add_fact(arg, pv_xstrdup(field->path), pv_buf_steal(&value));
	return false;
}

static void add_source(struct pv_diff_run *run, const Pv__FileDiscovered *file)
{
	struct pv_buf value = { .data = NULL };

	for (size_t i = 0; i < file->sha256.len && i < 8; i++)
		pv_buf_addf(&value, "%02x", file->sha256.data[i]);
	add_fact(run, pv_xasprintf("source of %s", file->path ? file->path : "?"), pv_buf_steal(&value));
}

static void learn_circumstances(struct pv_diff_run *run, const Pv__Event *event)
{
	if (event->body_case == PV__EVENT__BODY_RUN_STARTED)
		pv_fields_walk(&event->run_started->base, "", add_run_fact, run);
	else if (event->body_case == PV__EVENT__BODY_FILE_DISCOVERED && event->file_discovered->has_sha256)
		add_source(run, event->file_discovered);
}

/* ---- streams ---- */

static char *object_of(const struct pv_diff_names *names, const struct pv_timeline_line *line)
{
	const Pv__Event *event = line->event;

	switch (event->body_case) {
	case PV__EVENT__BODY_RUN_ENDED:
		return pv_xstrdup("run");
	case PV__EVENT__BODY_TEST_STARTED:
		return pv_xasprintf("test %s", pv_diff_name(names, PV_DIFF_TEST, event->test_started->id));
	case PV__EVENT__BODY_TEST_ENDED:
		return pv_xasprintf("test %s", pv_diff_name(names, PV_DIFF_TEST, event->test_ended->id));
	case PV__EVENT__BODY_TASK_STARTED:
		return pv_xasprintf("task %s", pv_diff_name(names, PV_DIFF_TASK, event->task_started->id));
	case PV__EVENT__BODY_TASK_ENDED:
		return pv_xasprintf("task %s", pv_diff_name(names, PV_DIFF_TASK, event->task_ended->id));
	case PV__EVENT__BODY_BARRIER_ARRIVED:
		return pv_xasprintf("task %s", pv_diff_name(names, PV_DIFF_TASK, event->barrier_arrived->task));
	case PV__EVENT__BODY_BARRIER_WITHDRAWN:
		return pv_xasprintf("task %s", pv_diff_name(names, PV_DIFF_TASK, event->barrier_withdrawn->task));
	case PV__EVENT__BODY_BARRIER_OPENED:
		return pv_xasprintf("lab %s", pv_diff_name(names, PV_DIFF_LAB, event->barrier_opened->lab));
	case PV__EVENT__BODY_LAB_CREATED:
		return pv_xasprintf("lab %s", pv_diff_name(names, PV_DIFF_LAB, event->lab_created->id));
	case PV__EVENT__BODY_LAB_CLOSED:
		return pv_xasprintf("lab %s", pv_diff_name(names, PV_DIFF_LAB, event->lab_closed->id));
	case PV__EVENT__BODY_MEMBERS_INCLUDED:
		return pv_xasprintf("lab %s", pv_diff_name(names, PV_DIFF_LAB, event->members_included->lab));
	case PV__EVENT__BODY_MEMBER_REMOVED:
		return pv_xasprintf("lab %s", pv_diff_name(names, PV_DIFF_LAB, event->member_removed->lab));
	case PV__EVENT__BODY_BRIDGE_DECLARED:
		return pv_xasprintf("bridge %s", pv_diff_name(names, PV_DIFF_BRIDGE, event->bridge_declared->id));
	case PV__EVENT__BODY_BRIDGE_CHANGED:
		return pv_xasprintf("bridge %s", pv_diff_name(names, PV_DIFF_BRIDGE, event->bridge_changed->bridge));
	case PV__EVENT__BODY_TEST_LOGGED: /* by any of its tasks */
	case PV__EVENT__BODY_SCRIPT_INPUT:
		if (event->task != 0)
			return pv_xasprintf("task %s", pv_diff_name(names, PV_DIFF_TASK, event->task));
		return pv_xstrdup("file");
	default:
		if (line->vm != 0)
			return pv_xasprintf("vm %s", pv_diff_name(names, PV_DIFF_VM, line->vm));
		return pv_xstrdup(line->file_id != 0 ? "file" : "run");
	}
}

/* Whose events they are: those of one task come in the order of its lines, those of two in any. Tests and tasks have but one. */
static char *task_of(const struct pv_diff_names *names, const struct pv_timeline_line *line, const char *object)
{
	if (strncmp(object, "task ", 5) == 0 || strncmp(object, "test ", 5) == 0)
		return pv_xstrdup("");
	return pv_xstrdup(pv_diff_name(names, PV_DIFF_TASK, line->event->task));
}

static struct pv_diff_stream *stream_of(struct pv_diff_run *run, const struct pv_diff_names *names,
                                        const struct pv_timeline_line *line)
{
	char *object = object_of(names, line), *task = task_of(names, line, object);
	char *file = pv_xstrdup(pv_diff_name(names, PV_DIFF_FILE, line->file_id));
	char *key = pv_xasprintf("%s\n%s\n%s\n", file, object, task);
	struct pv_diff_stream *stream;

	HASH_FIND_STR(run->streams, key, stream);
	if (stream) {
		free(key);
		free(file);
		free(object);
		free(task);
		return stream;
	}
	stream = PV_NEW(struct pv_diff_stream);
	stream->key = key;
	stream->file = file;
	stream->object = object;
	stream->task = task;
	HASH_ADD_KEYPTR(hh, run->streams, stream->key, strlen(stream->key), stream);
	return stream;
}

static bool read_line(void *arg, const struct pv_timeline_line *line)
{
	struct reader *reader = arg;
	struct pv_buf fields = { .data = NULL }, site = { .data = NULL };
	struct pv_diff_stream *stream;

	pv_diff_names_learn(reader->names, line->event);
	learn_circumstances(reader->run, line->event);
	if (!pv_diff_is_compared(line->event))
		return true;
	stream = stream_of(reader->run, reader->names, line);
	if ((stream->n & (stream->n - 1)) == 0)
		stream->events = pv_xrealloc(stream->events, (2 * stream->n + 1) * sizeof(*stream->events));
	pv_diff_fields(reader->names, line->event, &fields);
	pv_timeline_site(line, false, &site);
	stream->events[stream->n++] = (struct pv_diff_event){
		.seq = line->seq,
		.mono_ns = line->mono_ns,
		.site = pv_buf_steal(&site),
		.kind = pv_xstrdup(line->kind),
		.what = pv_xstrdup(line->what),
		.fields = pv_buf_steal(&fields),
	};
	reader->run->n_events++;
	return true;
}

enum pv_err pv_diff_run_read(struct pv_journal *journal, struct pv_diff_run *run, struct pv_errmsg *msg)
{
	struct reader reader = { run, pv_diff_names_create() };
	enum pv_err err = pv_timeline_walk(journal, 0, read_line, &reader, msg);

	pv_diff_names_destroy(reader.names);
	return err;
}

void pv_diff_run_free(struct pv_diff_run *run)
{
	struct pv_diff_stream *stream, *next_stream;
	struct pv_diff_fact *fact, *next_fact;

	HASH_ITER (hh, run->streams, stream, next_stream) {
		HASH_DEL(run->streams, stream);
		for (size_t i = 0; i < stream->n; i++) {
			free(stream->events[i].site);
			free(stream->events[i].kind);
			free(stream->events[i].what);
			free(stream->events[i].fields);
		}
		free(stream->events);
		free(stream->key);
		free(stream->file);
		free(stream->object);
		free(stream->task);
		free(stream);
	}
	HASH_ITER (hh, run->facts, fact, next_fact) {
		HASH_DEL(run->facts, fact);
		free(fact->name);
		free(fact->value);
		free(fact);
	}
}
