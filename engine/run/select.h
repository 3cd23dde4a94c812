/* Which of the discovered files run: --filter, --rerun-failed, --since, --shard, --shuffle, in that order; and the file that --rerun-failed reads, which a
 * run with a file not clean writes. */
#ifndef PV_RUN_SELECT_H
#define PV_RUN_SELECT_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/run/discover.h"
#include "engine/run/results.h"
#include "proto/err.h"

struct pv_shard {
	unsigned k, n; /* 1 <= k <= n; n is 0 without --shard */
};

/* "K/N". PV_ERR_INVAL says what is accepted. */
enum pv_err pv_shard_parse(const char *text, struct pv_shard *out, struct pv_errmsg *msg) PV_MUST_CHECK;

struct pv_selection {
	const char *filter; /* NULL: none */
	bool rerun_failed;
	const char *since;     /* path, NULL: none */
	struct pv_shard shard; /* n 0: none */
	bool shuffle;
};

/* Applies all of `selection` in its fixed order. *no_state (may be NULL) is true if --rerun-failed found no failed-state file at
 * `state`: then nothing is left, never the full suite by accident. Errors of the parts. */
enum pv_err pv_select(struct pv_found *found, const struct pv_selection *selection, uint64_t seed, const char *state,
                      bool *no_state, struct pv_errmsg *msg) PV_MUST_CHECK;

/* Keeps the files of the shard: 1 + (first 8 bytes of SHA-256 of the root path, big-endian, mod n) is k. */
void pv_select_shard(struct pv_found *found, const struct pv_shard *shard);

/* Keeps the files modified later than `path`. PV_ERR_NOENT if that is missing. */
enum pv_err pv_select_since(struct pv_found *found, const char *path, struct pv_errmsg *msg) PV_MUST_CHECK;

/* Keeps the files that the failed-state file at `path` names. Without such a file *known is false and nothing is kept.
 * PV_ERR_CORRUPT if it is none. */
enum pv_err pv_select_failed(struct pv_found *found, const char *path, bool *known,
                             struct pv_errmsg *msg) PV_MUST_CHECK;

/* Replaces the failed-state file by the canonical paths of the files that are not clean; without any it stays as it is. Results
 * are those of `found`, in its order. PV_ERR_IO. */
enum pv_err pv_select_remember(const struct pv_found *found, const struct pv_results *results, const char *path,
                               struct pv_errmsg *msg) PV_MUST_CHECK;

#endif
