/* Private to merging: shards, and what their ids become. */
#ifndef PV_REPLAY_MERGE_INTERNAL_H
#define PV_REPLAY_MERGE_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/replay/summary.h"
#include "journal/journal.h"
#include "proto/err.h"

enum pv_id_kind { PV_ID_FILE, PV_ID_TASK, PV_ID_TEST, PV_ID_LAB, PV_ID_VM, PV_ID_BRIDGE, PV_ID_CALL, PV_ID_KINDS };

/* New ids by old ones; ids of a shard count from 1 in the order of appearance. */
struct pv_id_map {
	uint64_t *ids[PV_ID_KINDS];
	uint64_t n[PV_ID_KINDS];
};

/* The last id given out of each kind, over all shards. */
struct pv_id_counters {
	uint64_t last[PV_ID_KINDS];
};

/* Rewrites every id in `event`. False if one is not known, or the event is of a kind that is not: then the event is spoilt. */
bool pv_merge_rewrite(struct pv_id_map *map, struct pv_id_counters *counters, Pv__Event *event);
void pv_id_map_free(struct pv_id_map *map);

struct pv_merge_shard {
	const char *dir, *label;
	struct pv_journal *journal;
	struct pv_journal_cursor *cursor;
	struct pv_summary summary;
	struct pv_id_map ids;
	Pv__Event *start; /* RunStarted */
	Pv__Event *next;  /* NULL: no more */
	uint64_t next_seq;
	uint64_t base_ns; /* wall clock at the time 0 of its runner */
};

/* Verifies and opens `shard`, whose dir and label are set, and reads its start and the event behind it. It is to be closed in any case. */
enum pv_err pv_merge_shard_open(struct pv_merge_shard *shard, struct pv_errmsg *msg) PV_MUST_CHECK;
/* Goes on to its next event, which frees the one before. */
enum pv_err pv_merge_shard_next(struct pv_merge_shard *shard, struct pv_errmsg *msg) PV_MUST_CHECK;
void pv_merge_shard_close(struct pv_merge_shard *shard);
/* PV_ERR_INVAL if the two do not belong to one run. */
enum pv_err pv_merge_shards_check(const struct pv_merge_shard *a, const struct pv_merge_shard *b,
                                  struct pv_errmsg *msg) PV_MUST_CHECK;

/* Fold and invariants. */
enum pv_err pv_merge_check_journal(struct pv_journal *journal, struct pv_errmsg *msg) PV_MUST_CHECK;

#endif
