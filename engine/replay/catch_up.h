/* Bringing the index of a journal up to date: for a writer that goes on with a run whose runner was killed. */
#ifndef PV_REPLAY_CATCH_UP_H
#define PV_REPLAY_CATCH_UP_H

#include "engine/core/subjects.h"
#include "journal/tables.h"

/* The streams of `subjects`, in `out`, which has room for as many. Returns how many. */
size_t pv_subjects_streams(const struct pv_subjects *subjects, uint32_t *out);

/* Tells the journal, open for appending, to what the events behind its index belong. To be called before anything is appended; without
 * it the index ends where it is. */
enum pv_err pv_index_catch_up(struct pv_journal *journal, struct pv_errmsg *msg) PV_MUST_CHECK;

#endif
