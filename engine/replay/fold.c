#include "engine/replay/fold.h"

#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

#include "engine/replay/fold_internal.h"
#include "journal/tables.h"
#include "proto/mem.h"

void pv_fold_hash(const struct pv_state *state, uint8_t sha256[32])
{
	struct pv_buf bytes = { .data = NULL };

	pv_state_serialise(state, &bytes);
	pv_fold_hash_bytes(pv_buf_str(&bytes), bytes.len, sha256);
	pv_buf_free(&bytes);
}

void pv_fold_hash_bytes(const void *bytes, size_t len, uint8_t sha256[32])
{
	SHA256(bytes, len, sha256);
}

struct walk {
	struct pv_journal_cursor *cursor;
	struct pv_state *state;
	pv_fold_cb *cb;
	void *arg;
	uint64_t last;
	uint64_t at;
	bool done;
};

static enum pv_err step(struct walk *walk, struct pv_errmsg *msg)
{
	struct pv_record record;
	enum pv_err err = pv_journal_cursor_next(walk->cursor, &record, msg);

	if (err)
		return err;
	if (record.seq == 0 || (walk->last && record.seq > walk->last)) {
		walk->done = true;
		return PV_OK;
	}
	Pv__Event *event = pv_record_decode(&record);
	if (!event)
		return pv_err_set(msg, PV_ERR_CORRUPT, "event %llu cannot be decoded", (unsigned long long)record.seq);
	if (walk->cb && !walk->cb(walk->arg, record.seq, event, walk->state)) {
		walk->done = true;
	} else {
		err = pv_state_apply(walk->state, event, msg);
		if (err)
			pv_err_wrap(msg, err, "event %llu does not fit what came before",
			            (unsigned long long)record.seq);
		else
			walk->at = record.seq;
	}
	pv__event__free_unpacked(event, NULL);
	return err;
}

/* Takes the last state that was stored up to event `last`. Without one that can be read, the walk begins with the first event. */
static enum pv_err begin_late(struct pv_journal *journal, struct walk *walk, struct pv_errmsg *msg)
{
	struct pv_state *stored;
	uint64_t at;
	void *bytes;
	size_t len;
	enum pv_err err = pv_journal_fold_before(journal, walk->last ? walk->last : UINT64_MAX, &at, &bytes, &len, msg);

	if (err || at == 0)
		return err;
	if (pv_state_load(bytes, len, &stored, NULL) == PV_OK) {
		pv_state_swap(walk->state, stored);
		pv_state_destroy(stored);
		walk->at = at;
	}
	free(bytes);
	return PV_OK;
}

enum pv_err pv_fold_walk(struct pv_journal *journal, uint64_t last, struct pv_state *state, pv_fold_cb *cb, void *arg,
                         uint64_t *at, struct pv_errmsg *msg)
{
	struct walk walk = { .state = state, .cb = cb, .arg = arg, .last = last };
	enum pv_err err = cb ? PV_OK : begin_late(journal, &walk, msg);

	if (!err)
		err = pv_journal_cursor_open(journal, walk.at + 1, &walk.cursor, msg);
	if (err)
		return err;
	while (!err && !walk.done)
		err = step(&walk, msg);
	pv_journal_cursor_close(walk.cursor);
	if (at)
		*at = walk.at;
	return err;
}

bool pv_fold_check_event(struct pv_fold_compare *compare, uint64_t seq, const Pv__Event *event,
                         const struct pv_state *before)
{
	uint8_t hash[32];

	compare->verdict->events = seq;
	if (event->body_case != PV__EVENT__BODY_RUN_ENDED)
		return true;
	const ProtobufCBinaryData *recorded = &event->run_ended->state_sha256;
	pv_fold_hash(before, hash);
	if (recorded->len != sizeof(hash) || memcmp(recorded->data, hash, sizeof(hash)) != 0) {
		compare->differs_at = seq;
		return false;
	}
	compare->verdict->ends++;
	return true;
}

enum pv_err pv_fold_differs(const struct pv_fold_compare *compare, struct pv_errmsg *msg)
{
	return pv_err_set(msg, PV_ERR_CORRUPT,
	                  "event %llu: the lab folded from the journal is not the lab that the run had at its end",
	                  (unsigned long long)compare->differs_at);
}

static bool check_event(void *arg, uint64_t seq, const Pv__Event *event, const struct pv_state *before)
{
	return pv_fold_check_event(arg, seq, event, before);
}

enum pv_err pv_fold_check(struct pv_journal *journal, struct pv_fold_verdict *verdict, struct pv_errmsg *msg)
{
	struct pv_fold_compare compare = { .verdict = verdict };
	struct pv_state *state = pv_state_create();

	*verdict = (struct pv_fold_verdict){ .events = 0 };
	enum pv_err err = pv_fold_walk(journal, 0, state, check_event, &compare, NULL, msg);
	if (!err && compare.differs_at)
		err = pv_fold_differs(&compare, msg);
	pv_state_destroy(state);
	return err;
}
