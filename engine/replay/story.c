#include "engine/replay/story.h"

#include <stdlib.h>
#include <string.h>

#include "engine/replay/story_internal.h"

/* ---- reading ---- */

/* Files, tests and objects are the same few in many lines. */
static const char *keep(struct pv_story *story, const char *text)
{
	struct pv_story_text *kept;

	HASH_FIND_STR(story->texts, text, kept);
	if (!kept) {
		kept = PV_NEW(struct pv_story_text);
		kept->text = pv_xstrdup(text);
		HASH_ADD_KEYPTR(hh, story->texts, kept->text, strlen(kept->text), kept);
	}
	return kept->text;
}

static void add_line(struct pv_story *story, const struct pv_timeline_line *line)
{
	struct pv_timeline_line *copy;

	if (story->n == story->cap) {
		story->cap = story->cap ? 2 * story->cap : 256;
		story->lines = pv_xrealloc(story->lines, story->cap * sizeof(*story->lines));
	}
	copy = &story->lines[story->n++];
	*copy = *line; /* kind and op are static */
	copy->file = keep(story, line->file);
	copy->shown_path = keep(story, line->shown_path);
	copy->test = keep(story, line->test);
	copy->object = keep(story, line->object);
	copy->what = keep(story, line->what);
	copy->source = keep(story, line->source);
	copy->event = NULL;
	copy->before = NULL;
}

/* `state` is that after event `seq`. */
static void add_snapshot(struct pv_story *story, uint64_t seq, const struct pv_state *state)
{
	struct pv_story_snapshot *snapshot;

	story->snapshots = pv_xrealloc(story->snapshots, (story->n_snapshots + 1) * sizeof(*story->snapshots));
	snapshot = &story->snapshots[story->n_snapshots++];
	*snapshot = (struct pv_story_snapshot){ .seq = seq, .waits = pv_waits_copy(&story->waits) };
	pv_state_serialise(state, &snapshot->state);
}

static void begin_reading(struct pv_story *story, const Pv__CallStarted *call)
{
	if (call->op_case != PV__CALL_STARTED__OP_READ_CONSOLE)
		return;
	story->readings = pv_xrealloc(story->readings, (story->n_readings + 1) * sizeof(*story->readings));
	story->readings[story->n_readings++] = (struct pv_story_reading){ call->id, call->read_console->offset };
}

static uint64_t payload_size(const Pv__Payload *payload)
{
	if (!payload)
		return 0;
	if (payload->kind_case == PV__PAYLOAD__KIND_BLOB)
		return payload->blob->size;
	return payload->kind_case == PV__PAYLOAD__KIND_DATA ? payload->data.len : 0;
}

static void end_reading(struct pv_story *story, const struct pv_timeline_line *line, const Pv__CallEnded *call)
{
	size_t i = 0;

	while (i < story->n_readings && story->readings[i].call != call->id)
		i++;
	if (i == story->n_readings)
		return;
	uint64_t end = story->readings[i].offset;
	story->readings[i] = story->readings[--story->n_readings];
	if (call->outcome_case != PV__CALL_ENDED__OUTCOME_STREAM_DATA)
		return;
	end += payload_size(call->stream_data->data);
	story->consoles = pv_xrealloc(story->consoles, (story->n_consoles + 1) * sizeof(*story->consoles));
	story->consoles[story->n_consoles++] = (struct pv_story_console){ line->seq, end, line->vm };
}

static void add_vm(struct pv_story *story, const Pv__VmDeclared *vm)
{
	if ((story->n_vms & (story->n_vms - 1)) == 0)
		story->vms = pv_xrealloc(story->vms, (2 * story->n_vms + 1) * sizeof(*story->vms));
	story->vms[story->n_vms++] = (struct pv_story_vm){ vm->id, keep(story, vm->name ? vm->name : "") };
}

static bool read_line(void *arg, const struct pv_timeline_line *line)
{
	struct pv_story *story = arg;

	if ((line->seq - 1) % PV_STORY_STRIDE == 0)
		add_snapshot(story, line->seq - 1, line->before);
	pv_waits_apply(&story->waits, line->event);
	add_line(story, line);
	pv_story_learn_source(story, line);
	if (line->event->body_case == PV__EVENT__BODY_VM_DECLARED)
		add_vm(story, line->event->vm_declared);
	else if (line->event->body_case == PV__EVENT__BODY_CALL_STARTED)
		begin_reading(story, line->event->call_started);
	else if (line->event->body_case == PV__EVENT__BODY_CALL_ENDED)
		end_reading(story, line, line->event->call_ended);
	return true;
}

enum pv_err pv_story_open(struct pv_journal *journal, struct pv_story **out, struct pv_errmsg *msg)
{
	struct pv_story *story = PV_NEW(struct pv_story);
	enum pv_err err;

	story->journal = journal;
	err = pv_timeline_walk(journal, 0, read_line, story, &story->trouble);
	if (story->n > 0) {
		*out = story;
		return PV_OK;
	}
	if (err)
		err = pv_err_set(msg, err, "%s", story->trouble.text);
	else
		err = pv_err_set(msg, PV_ERR_NOENT, "the run has no events yet");
	pv_story_close(story);
	return err;
}

void pv_story_close(struct pv_story *story)
{
	struct pv_story_text *text, *next;

	if (!story)
		return;
	HASH_ITER (hh, story->texts, text, next) {
		HASH_DEL(story->texts, text);
		free(text->text);
		free(text);
	}
	for (size_t i = 0; i < story->n_snapshots; i++) {
		pv_buf_free(&story->snapshots[i].state);
		pv_waits_free(&story->snapshots[i].waits);
	}
	pv_story_free_sources(story);
	pv_waits_free(&story->waits);
	free(story->snapshots);
	free(story->consoles);
	free(story->readings);
	free(story->vms);
	free(story->lines);
	free(story->cwd);
	free(story);
}

/* ---- questions ---- */

size_t pv_story_count(const struct pv_story *story)
{
	return story->n;
}

const struct pv_timeline_line *pv_story_line(const struct pv_story *story, size_t index)
{
	PV_ASSERT(index < story->n);
	return &story->lines[index];
}

const char *pv_story_trouble(const struct pv_story *story)
{
	return story->trouble.text[0] ? story->trouble.text : NULL;
}

struct pv_journal *pv_story_journal(const struct pv_story *story)
{
	return story->journal;
}

static enum pv_err next_event(struct pv_journal_cursor *cursor, Pv__Event **event, struct pv_errmsg *msg)
{
	struct pv_record record;
	enum pv_err err = pv_journal_cursor_next(cursor, &record, msg);

	if (err)
		return err;
	*event = record.seq ? pv_record_decode(&record) : NULL;
	return *event ? PV_OK
	              : pv_err_set(msg, PV_ERR_CORRUPT, "event %llu cannot be decoded", (unsigned long long)record.seq);
}

enum pv_err pv_story_event(struct pv_story *story, uint64_t seq, Pv__Event **out, struct pv_errmsg *msg)
{
	struct pv_journal_cursor *cursor;
	enum pv_err err = pv_journal_cursor_open(story->journal, seq, &cursor, msg);

	if (err)
		return err;
	err = next_event(cursor, out, msg);
	pv_journal_cursor_close(cursor);
	return err;
}

static enum pv_err fold_on(struct pv_story *story, uint64_t from, uint64_t to, struct pv_state *state,
                           struct pv_waits *waits, struct pv_errmsg *msg)
{
	struct pv_journal_cursor *cursor;
	enum pv_err err;

	if (from >= to)
		return PV_OK;
	err = pv_journal_cursor_open(story->journal, from + 1, &cursor, msg);
	if (err)
		return err;
	for (uint64_t seq = from + 1; !err && seq <= to; seq++) {
		Pv__Event *event;
		err = next_event(cursor, &event, msg);
		if (err)
			break;
		err = pv_state_apply(state, event, msg);
		pv_waits_apply(waits, event);
		pv__event__free_unpacked(event, NULL);
	}
	pv_journal_cursor_close(cursor);
	return err;
}

enum pv_err pv_story_state(struct pv_story *story, uint64_t seq, struct pv_state **state, struct pv_waits *waits,
                           struct pv_errmsg *msg)
{
	size_t at = seq / PV_STORY_STRIDE;
	const struct pv_story_snapshot *from = &story->snapshots[at < story->n_snapshots ? at : story->n_snapshots - 1];
	enum pv_err err = pv_state_load(pv_buf_str(&from->state), from->state.len, state, msg);

	if (err)
		return err;
	*waits = pv_waits_copy(&from->waits);
	err = fold_on(story, from->seq, seq, *state, waits, msg);
	if (err) {
		pv_state_destroy(*state);
		pv_waits_free(waits);
	}
	return err;
}

uint32_t pv_story_vm(const struct pv_story *story, uint64_t seq)
{
	const struct pv_timeline_line *here = pv_story_line(story, seq - 1);

	for (uint64_t at = seq; at > 0; at--) {
		const struct pv_timeline_line *line = pv_story_line(story, at - 1);
		if (line->vm != 0 && (at == seq || line->file_id == here->file_id))
			return line->vm;
	}
	return 0;
}

const char *pv_story_vm_name(const struct pv_story *story, uint32_t vm)
{
	for (size_t i = 0; i < story->n_vms; i++) {
		if (story->vms[i].id == vm)
			return story->vms[i].name;
	}
	return NULL;
}

char *pv_story_console_path(const struct pv_story *story, uint32_t vm)
{
	const char *dir = pv_journal_dir(story->journal), *name = pv_story_vm_name(story, vm);

	return dir && name ? pv_xasprintf("%s/vms/%u-%s/console.log", dir, vm, name) : NULL;
}

uint64_t pv_story_console_known(const struct pv_story *story, uint32_t vm, uint64_t seq)
{
	uint64_t end = 0;

	for (size_t i = 0; i < story->n_consoles && story->consoles[i].seq <= seq; i++) {
		if (story->consoles[i].vm == vm && story->consoles[i].end > end)
			end = story->consoles[i].end;
	}
	return end;
}
