/* Private to merging: ids of a shard and what they become. */
#ifndef PV_REPLAY_MERGE_INTERNAL_H
#define PV_REPLAY_MERGE_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/journal.pb-c.h"

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

#endif
