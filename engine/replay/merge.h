/* One run out of several: the shards of a run that was spread over machines. */
#ifndef PV_REPLAY_MERGE_H
#define PV_REPLAY_MERGE_H

#include <stddef.h>

#include "proto/err.h"

/* Makes the run directory `out` from the runs `dirs`, which must have ended in order, have the same seed, version and profiles (by the hashes of
 * their images), and have no file in common. Each is verified first, and so is the result: chain, fold, invariants. Events keep their time of
 * day; their order, and the time since the start, is by the shards' clocks; ids are given out anew. The notice behind its start names the
 * runs and the heads of their journals. `labels` are the names for messages.
 *
 * PV_ERR_CORRUPT for a shard that does not verify, PV_ERR_INVAL for shards that do not fit together, PV_ERR_EXISTS if `out` is there. After
 * a failure parts of `out` may be there, for the caller to remove. */
enum pv_err pv_merge(const char *const *dirs, const char *const *labels, size_t n, const char *out,
                     struct pv_errmsg *msg) PV_MUST_CHECK;

#endif
