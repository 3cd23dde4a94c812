/* A moment of a recorded run, as users name it, and the lab at that moment. */
#ifndef PV_REPLAY_POINT_H
#define PV_REPLAY_POINT_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/core/state.h"
#include "engine/replay/waits.h"
#include "journal/journal.h"
#include "proto/err.h"

/* After this event. */
struct pv_point {
	uint64_t seq;
	uint64_t mono_ns; /* of that event, since the start of the run */
};

/* `text` is SEQ (digits), TIME ("12.5s" since the start: the last event up to then), or TEST, the whole name of a test: the moment
 * before it ended, when its lab still stood as the test left it; the last event if it never ended. `file` (may be NULL) is part of the
 * path of the test's file. PV_ERR_NOENT, saying what there is, if there is no such event, time or test; PV_ERR_INVAL naming the files if
 * several have such a test; errors of pv_fold_walk(). */
enum pv_err pv_point_find(struct pv_journal *journal, const char *text, const char *file, struct pv_point *out,
                          struct pv_errmsg *msg) PV_MUST_CHECK;

/* A time since the start of a run: a number, perhaps with a fraction, and us, ms, s, m or h. False if `text` is none. */
bool pv_point_time(const char *text, uint64_t *ns);

/* Folds the journal up to `point` into `state` and `waits`, which are those of a run's start. */
enum pv_err pv_point_fold(struct pv_journal *journal, struct pv_point point, struct pv_state *state,
                          struct pv_waits *waits, struct pv_errmsg *msg) PV_MUST_CHECK;

#endif
