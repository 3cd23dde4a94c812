/* Folding a journal: the state of the lab at a point of a recorded run. */
#ifndef PV_REPLAY_FOLD_H
#define PV_REPLAY_FOLD_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/core/state.h"
#include "journal/journal.h"
#include "proto/err.h"

/* Told each event while a journal is walked, before it is folded. `event` dies with the call. False ends the walk. */
typedef bool pv_fold_cb(void *arg, uint64_t seq, const Pv__Event *event, const struct pv_state *before);

/* Walks the records of `journal` from the first to `last` (0: the last committed one), calls `cb` (may be NULL) for each and folds
 * it into `state`, which is a new one. Without `cb` it begins with the last state that the journal has stored up to there
 * (journal/tables.h), so that it costs at most the events between two of them; that this is the state which the events give is checked by an
 * audit alone. *at (may be NULL) is the number of the last event folded. Errors of the cursor; PV_ERR_CORRUPT and
 * PV_ERR_VERSION for events that do not decode or do not fit, naming them. */
enum pv_err pv_fold_walk(struct pv_journal *journal, uint64_t last, struct pv_state *state, pv_fold_cb *cb, void *arg,
                         uint64_t *at, struct pv_errmsg *msg) PV_MUST_CHECK;

struct pv_fold_verdict {
	uint64_t events; /* folded */
	unsigned ends;   /* RunEnded events, each with a hash that agrees */
};

/* Folds the whole journal and compares the serialised state before each RunEnded with the hash in it, which the run at work
 * computed from its own state. PV_ERR_CORRUPT if they differ. */
enum pv_err pv_fold_check(struct pv_journal *journal, struct pv_fold_verdict *verdict,
                          struct pv_errmsg *msg) PV_MUST_CHECK;

/* SHA-256 of the serialised state, as RunEnded carries it. */
void pv_fold_hash(const struct pv_state *state, uint8_t sha256[32]);

#endif
