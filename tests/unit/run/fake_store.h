/* A cache without snapshots: an entry is there if its file is; the text "damaged" makes it so, "busy" keeps it. Stands in the place of vmctl's
 * store. */
#ifndef PV_TESTS_RUN_FAKE_STORE_H
#define PV_TESTS_RUN_FAKE_STORE_H

#include "vmctl/snapshot_store.h"

/* Puts an entry, and its manifest if `inputs` is not NULL. */
void fake_store_put(struct pv_store *store, const char *key, enum pv_store_kind kind, const char *text,
                    const char *inputs);
/* What pv_store_evict() was asked for last, by the end of the directory's name; UINT64_MAX: it was not. */
uint64_t fake_store_evicted(const char *dir_end);
/* Removes the entry alone. */
void fake_store_drop(struct pv_store *store, const char *key, enum pv_store_kind kind);

#endif
