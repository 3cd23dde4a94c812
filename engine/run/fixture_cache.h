/* The fixture cache of a configuration: opened for a run or a verb, looked after, listed, and what in it is stale. */
#ifndef PV_RUN_FIXTURE_CACHE_H
#define PV_RUN_FIXTURE_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/run/config.h"
#include "engine/run/discover.h"
#include "engine/run/fixture_key.h"
#include "vmctl/snapshot_store.h"

struct pv_fixture_cache {
	struct pv_store *store;
	struct pv_fixture_keys *keys;
};

/* Makes cache_dir if need be. `config` and `roots` (pv_found.roots) must outlive it; `accel`: the flag, NULL for the profiles'. `out` is filled on
 * success only. */
enum pv_err pv_fixture_cache_open(const struct pv_config *config, const char *const *roots, size_t n_roots,
                                  const char *accel, struct pv_fixture_cache *out, struct pv_errmsg *msg) PV_MUST_CHECK;
void pv_fixture_cache_close(struct pv_fixture_cache *cache); /* zeroed is fine */

/* At the start of a run, before anything is dispatched: down to cache_max_size, boot templates included. Does nothing where there is no cache yet. */
enum pv_err pv_fixture_cache_evict(const struct pv_config *config, struct pv_errmsg *msg) PV_MUST_CHECK;

/* ---- for the verbs ---- */

struct pv_fixture_entry {
	struct pv_store_entry entry;
	char *name; /* NULL: it has no manifest that can be read */
};

/* By name, then by key. Free with pv_fixture_entries_free(). */
enum pv_err pv_fixture_entries(struct pv_store *store, struct pv_fixture_entry **out, size_t *n,
                               struct pv_errmsg *msg) PV_MUST_CHECK;
void pv_fixture_entries_free(struct pv_fixture_entry *entries, size_t n);

/* Removes what is not in use, manifests without an entry too; `kept` is told of each entry that is. *removed and *bytes: how much went. */
enum pv_err pv_fixture_cache_clean(const struct pv_config *config,
                                   void (*kept)(void *arg, const struct pv_fixture_entry *entry), void *arg,
                                   size_t *removed, uint64_t *bytes, struct pv_errmsg *msg) PV_MUST_CHECK;

struct pv_fixture_stale {
	char *name;
	char *why; /* lines */
};

/* The fixtures among `found` (discovered with PV_SUFFIX_FIXTURE) that a run would build, in order; one that stands behind a fixture of the same
 * name in an earlier root is none. What cannot even be looked up is stale too, with the error. Free with pv_fixture_stale_free(). */
void pv_fixture_stale(const struct pv_fixture_cache *cache, const struct pv_found *found, struct pv_fixture_stale **out,
                      size_t *n);
void pv_fixture_stale_free(struct pv_fixture_stale *stale, size_t n);

#endif
