/* The tables streams and calls, made again from the events and compared. */
#include <stdlib.h>
#include <uthash.h>

#include "engine/replay/audit_internal.h"
#include "proto/mem.h"

struct pv_audit_stream {
	uint32_t id;
	uint64_t *seqs;
	size_t n, cap;
	size_t seen; /* found in the table */
	UT_hash_handle hh;
};

struct pv_audit_call {
	uint64_t id;
	uint64_t intent, outcome;
	UT_hash_handle hh;
};

#define say pv_audit_say

void pv_audit_index_load(struct pv_auditor *auditor)
{
	if (auditor->is_live)
		return;
	auditor->indexed = pv_journal_indexed_seq(auditor->journal);
	if (auditor->indexed > auditor->audit->chain.records)
		say(auditor, PV_AUDIT_INDEX, PV_AUDIT_FAILED, 0,
		    "the tables streams and calls tell of %llu events, there are %llu",
		    (unsigned long long)auditor->indexed, (unsigned long long)auditor->audit->chain.records);
}

/* ---- from the events ---- */

static void add_to_stream(struct pv_auditor *auditor, uint32_t id, uint64_t seq)
{
	struct pv_audit_stream *stream;

	HASH_FIND(hh, auditor->streams, &id, sizeof(id), stream);
	if (!stream) {
		stream = PV_NEW(struct pv_audit_stream);
		stream->id = id;
		HASH_ADD(hh, auditor->streams, id, sizeof(stream->id), stream);
	}
	if (stream->n > 0 && stream->seqs[stream->n - 1] == seq)
		return;
	if (stream->n == stream->cap) {
		stream->cap = stream->cap ? 2 * stream->cap : 16;
		stream->seqs = pv_xrealloc(stream->seqs, stream->cap * sizeof(*stream->seqs));
	}
	stream->seqs[stream->n++] = seq;
}

static void add_call(struct pv_auditor *auditor, uint64_t id, bool is_outcome, uint64_t seq)
{
	struct pv_audit_call *call;

	HASH_FIND(hh, auditor->calls, &id, sizeof(id), call);
	if (!call) {
		call = PV_NEW(struct pv_audit_call);
		call->id = id;
		HASH_ADD(hh, auditor->calls, id, sizeof(call->id), call);
	}
	*(is_outcome ? &call->outcome : &call->intent) = seq;
}

void pv_audit_index_event(struct pv_auditor *auditor, uint64_t seq, const Pv__Event *event)
{
	struct pv_subjects *subjects = &auditor->subjects;

	if (seq > auditor->indexed)
		return;
	pv_event_subjects(event, subjects);
	for (size_t i = 0; i < subjects->n; i++) {
		uint32_t id = pv_stream_id((enum pv_stream_kind)subjects->items[i].kind, subjects->items[i].id);

		if (id != PV_STREAM_NONE)
			add_to_stream(auditor, id, seq);
	}
	if (subjects->call)
		add_call(auditor, subjects->call, subjects->is_outcome, seq);
}

/* ---- from the tables ---- */

static const char *const kinds[16] = {
	[PV_STREAM_FILE] = "file", [PV_STREAM_VM] = "VM", [PV_STREAM_BRIDGE] = "bridge", [PV_STREAM_TASK] = "task"
};

static void bad_stream(struct pv_auditor *auditor, uint32_t id, uint64_t seq)
{
	const char *kind = kinds[id >> 28];

	say(auditor, PV_AUDIT_INDEX, PV_AUDIT_FAILED, seq,
	    "the table streams does not list the events of %s %u as they are%s", kind ? kind : "an unknown object",
	    id & 0x0fffffffu, seq ? "" : ": some are missing");
}

static bool compare_stream(void *arg, const uint8_t *key, size_t key_len, const uint8_t *data, size_t len)
{
	struct pv_auditor *auditor = arg;
	struct pv_audit_stream *stream;
	struct pv_stream_row row;
	uint64_t seq;

	auditor->watch->progress++;
	if (!pv_stream_row_open(key, key_len, data, len, &row)) {
		say(auditor, PV_AUDIT_INDEX, PV_AUDIT_FAILED, 0, "a row of the table streams is not one");
		return false;
	}
	if (row.stream == PV_STREAM_NONE)
		return true;
	HASH_FIND(hh, auditor->streams, &row.stream, sizeof(row.stream), stream);
	if (!stream || row.n != stream->seen) {
		bad_stream(auditor, row.stream, row.next);
		return false;
	}
	while (pv_stream_row_next(&row, &seq)) {
		if (seq == 0)
			return true;
		if (stream->seen == stream->n || stream->seqs[stream->seen] != seq)
			break;
		stream->seen++;
	}
	bad_stream(auditor, row.stream, stream->seen < stream->n ? stream->seqs[stream->seen] : 0);
	return false;
}

static bool compare_calls(void *arg, const uint8_t *key, size_t key_len, const uint8_t *data, size_t len)
{
	struct pv_auditor *auditor = arg;
	uint64_t number = 0, intent, outcome;

	auditor->watch->progress++;
	for (size_t i = 0; i < key_len && i < 8; i++)
		number = number << 8 | key[i];
	for (size_t i = 0; i < PV_CALLS_PER_ROW; i++) {
		uint64_t id = number * PV_CALLS_PER_ROW + i;
		struct pv_audit_call *call;

		HASH_FIND(hh, auditor->calls, &id, sizeof(id), call);
		if (key_len == 8 && pv_call_row_pair(data, len, i, &intent, &outcome) &&
		    intent == (call ? call->intent : 0) && outcome == (call ? call->outcome : 0)) {
			if (call) {
				HASH_DEL(auditor->calls, call);
				free(call);
			}
			continue;
		}
		say(auditor, PV_AUDIT_INDEX, PV_AUDIT_FAILED, call ? call->intent : 0,
		    "the table calls does not list call %llu as it is", (unsigned long long)id);
		return false;
	}
	return true;
}

static void find_missing(struct pv_auditor *auditor)
{
	struct pv_audit_stream *stream, *next;

	if (auditor->calls)
		say(auditor, PV_AUDIT_INDEX, PV_AUDIT_FAILED, auditor->calls->intent,
		    "the table calls does not list call %llu", (unsigned long long)auditor->calls->id);
	HASH_ITER (hh, auditor->streams, stream, next) {
		if (stream->seen < stream->n)
			bad_stream(auditor, stream->id, stream->seqs[stream->seen]);
	}
}

void pv_audit_index_compare(struct pv_auditor *auditor)
{
	struct pv_audit_line *line = &auditor->audit->lines[PV_AUDIT_INDEX];
	struct pv_errmsg msg = { .text = "" };
	enum pv_err err;

	if (auditor->is_live)
		say(auditor, PV_AUDIT_INDEX, PV_AUDIT_NOT_LOOKED, 0, "not looked at: the run is live");
	if (auditor->is_live || line->outcome == PV_AUDIT_FAILED)
		return;
	line->outcome = PV_AUDIT_PASSED;
	err = pv_journal_rows(auditor->journal, PV_TABLE_STREAMS, compare_stream, auditor, &msg);
	if (!err && line->outcome == PV_AUDIT_PASSED)
		err = pv_journal_rows(auditor->journal, PV_TABLE_CALLS, compare_calls, auditor, &msg);
	if (err)
		say(auditor, PV_AUDIT_INDEX, PV_AUDIT_FAILED, 0, "%s", msg.text);
	else if (line->outcome == PV_AUDIT_PASSED)
		find_missing(auditor);
	if (line->outcome != PV_AUDIT_PASSED)
		return;
	if (!pv_journal_has_table(auditor->journal, PV_TABLE_STREAMS))
		say(auditor, PV_AUDIT_INDEX, PV_AUDIT_NOT_ASKED, 0,
		    "this journal has no index: an older provium wrote it");
	else
		say(auditor, PV_AUDIT_INDEX, PV_AUDIT_PASSED, 0,
		    "streams and calls of %llu event(s) are as the events say", (unsigned long long)auditor->indexed);
}
