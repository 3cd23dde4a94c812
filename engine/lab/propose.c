/* Decide, append, apply: the way of every event into the journal and the state. */
#include <time.h>

#include "engine/core/network.h"
#include "engine/lab/engine_internal.h"
#include "journal/tables.h"
#include "proto/mem.h"

static uint64_t wall_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

enum pv_err pv_engine_fail(struct pv_engine *engine, enum pv_err err, const struct pv_errmsg *msg)
{
	if (!engine->has_failed) {
		engine->has_failed = true;
		engine->failure = *msg;
		pv_err_wrap(&engine->failure, err, "the journal cannot be written, the run cannot go on");
	}
	return err;
}

/* ---- the tables beside the events ---- */

_Static_assert((int)PV_SUBJECT_FILE == (int)PV_STREAM_FILE && (int)PV_SUBJECT_VM == (int)PV_STREAM_VM &&
                   (int)PV_SUBJECT_BRIDGE == (int)PV_STREAM_BRIDGE && (int)PV_SUBJECT_TASK == (int)PV_STREAM_TASK,
               "subjects and streams are numbered alike");

static enum pv_err append(struct pv_engine *engine, const Pv__Event *event, uint64_t *seq, struct pv_errmsg *msg)
{
	struct pv_subjects *subjects = &engine->subjects;

	pv_event_subjects(event, subjects);
	if (engine->streams_size < subjects->n) {
		engine->streams_size = subjects->cap;
		engine->streams = pv_xrealloc(engine->streams, subjects->cap * sizeof(*engine->streams));
	}
	for (size_t i = 0; i < subjects->n; i++)
		engine->streams[i] = pv_stream_id((enum pv_stream_kind)subjects->items[i].kind, subjects->items[i].id);
	const struct pv_journal_index index = { .streams = engine->streams,
		                                .n_streams = subjects->n,
		                                .call = subjects->call,
		                                .is_outcome = subjects->is_outcome };
	return pv_journal_append_indexed(engine->config.journal, event, &index, seq, msg);
}

/* So that a state inside a long journal is found without folding all before it. */
static void store_state(struct pv_engine *engine, uint64_t seq)
{
	struct pv_buf bytes = { .data = NULL };
	struct pv_errmsg msg;
	enum pv_err err;

	/* While files are retraced out of order the state is not the one behind this event. */
	if (seq % PV_FOLD_EVERY != 0 || seq < engine->next_fold || engine->retrace != NULL)
		return;
	pv_state_serialise(engine->state, &bytes);
	err = pv_journal_put_fold(engine->config.journal, pv_buf_str(&bytes), bytes.len, &msg);
	engine->next_fold = pv_fold_next(seq, bytes.len);
	pv_buf_free(&bytes);
	if (err != PV_OK)
		pv_engine_fail(engine, err, &msg);
}

/* ---- the way of an event ---- */

/* Can it change who is on a bridge, or how? */
static bool concerns_networks(const struct pv_engine *engine, const Pv__Event *event)
{
	switch (event->body_case) {
	case PV__EVENT__BODY_BRIDGE_CHANGED:
	case PV__EVENT__BODY_LAB_CLOSED:
		return true;
	case PV__EVENT__BODY_VM_DECLARED: /* a bridge may wait for its name */
	case PV__EVENT__BODY_MEMBERS_INCLUDED:
		return pv_state_next_bridge(engine->state, 0, 0) != 0;
	default:
		return false;
	}
}

void pv_engine_apply(struct pv_engine *engine, uint64_t seq, const Pv__Event *event)
{
	struct pv_track *track = pv_track(engine, event->has_file ? event->file : 0);
	struct pv_engine_listener *listener, *next;
	struct pv_errmsg reason;

	reason.text[0] = '\0';
	if (pv_state_apply(engine->state, event, &reason) != PV_OK)
		PV_BUG("event %llu was decided but does not apply: %s", (unsigned long long)seq, reason.text);
	if (track != NULL)
		pv_track_note(track, event);
	engine->networks_changed |= concerns_networks(engine, event);
	for (listener = TAILQ_FIRST(&engine->listeners); listener != NULL; listener = next) {
		next = TAILQ_NEXT(listener, link);
		listener->event(listener->arg, seq, event);
	}
}

enum pv_err pv_engine_append(struct pv_engine *engine, Pv__Event *event, struct pv_errmsg *msg)
{
	struct pv_seal seal = { 0 };
	struct pv_errmsg reason;
	uint64_t seq = 0;
	enum pv_err err;

	reason.text[0] = '\0';
	err = pv_seal_event(engine, event, &seal, &reason);
	if (err == PV_OK)
		err = append(engine, event, &seq, &reason);
	if (err != PV_OK) {
		pv_seal_undo(&seal);
		if (msg != NULL)
			*msg = reason;
		return pv_engine_fail(engine, err, &reason);
	}
	engine->dirty = true;
	pv_engine_apply(engine, seq, event);
	store_state(engine, seq);
	pv_seal_undo(&seal);
	return PV_OK;
}

enum pv_err pv_engine_record(struct pv_engine *engine, Pv__Event *event, struct pv_errmsg *msg)
{
	struct pv_track *track = pv_track(engine, event->has_file ? event->file : 0);

	if (engine->has_failed) {
		if (msg != NULL)
			*msg = engine->failure;
		return PV_ERR_IO;
	}
	if (track != NULL && pv_retrace_is_on(track))
		return pv_retrace_propose(track, event, NULL, msg);
	event->has_wall_ns = 1;
	event->wall_ns = wall_ns();
	event->has_mono_ns = 1;
	event->mono_ns = pv_engine_mono_ns(engine);
	if (track != NULL) {
		track->matched = false;
		event->has_step = 1;
		event->step = track->steps;
	}
	return pv_engine_append(engine, event, msg);
}

enum pv_err pv_engine_propose(struct pv_engine *engine, Pv__Event *proposal, struct pv_errmsg *msg)
{
	enum pv_err err;

	if (proposal->has_file)
		pv_retrace_catch_up(pv_track(engine, proposal->file), proposal);
	pv_engine_add_saved_disks(engine, proposal);
	err = pv_decide(engine->state, proposal, msg);
	if (err != PV_OK)
		return err;
	return pv_engine_record(engine, proposal, msg);
}
