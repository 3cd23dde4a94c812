#include "engine/replay/catch_up.h"

#include <stdlib.h>

#include "proto/mem.h"

_Static_assert((int)PV_SUBJECT_FILE == (int)PV_STREAM_FILE && (int)PV_SUBJECT_VM == (int)PV_STREAM_VM &&
                   (int)PV_SUBJECT_BRIDGE == (int)PV_STREAM_BRIDGE && (int)PV_SUBJECT_TASK == (int)PV_STREAM_TASK,
               "subjects and streams are numbered alike");

size_t pv_subjects_streams(const struct pv_subjects *subjects, uint32_t *out)
{
	for (size_t i = 0; i < subjects->n; i++)
		out[i] = pv_stream_id((enum pv_stream_kind)subjects->items[i].kind, subjects->items[i].id);
	return subjects->n;
}

static enum pv_err add(struct pv_journal *journal, const struct pv_record *record, struct pv_errmsg *msg)
{
	struct pv_subjects subjects = { .items = NULL };
	Pv__Event *event = pv_record_decode(record);

	if (!event)
		return pv_err_set(msg, PV_ERR_CORRUPT, "event %llu cannot be decoded", (unsigned long long)record->seq);
	pv_event_subjects(event, &subjects);
	uint32_t *streams = pv_xcalloc(subjects.n + 1, sizeof(*streams));
	const struct pv_journal_index entry = {
		.streams = streams,
		.n_streams = pv_subjects_streams(&subjects, streams),
		.call = subjects.call,
		.is_outcome = subjects.is_outcome,
	};
	pv_journal_index_add(journal, &entry);
	free(streams);
	pv_subjects_free(&subjects);
	pv__event__free_unpacked(event, NULL);
	return PV_OK;
}

enum pv_err pv_index_catch_up(struct pv_journal *journal, struct pv_errmsg *msg)
{
	const uint64_t next = pv_journal_index_next(journal);
	struct pv_journal_cursor *cursor;
	struct pv_record record = { .seq = 0 };

	if (next == 0 || next > pv_journal_last_seq(journal))
		return PV_OK;
	enum pv_err err = pv_journal_cursor_open(journal, next, &cursor, msg);
	if (err)
		return err;
	do {
		err = pv_journal_cursor_next(cursor, &record, msg);
		if (!err && record.seq)
			err = add(journal, &record, msg);
	} while (!err && record.seq);
	pv_journal_cursor_close(cursor);
	return err;
}
