/* Which recorded runs may go, and taking them away. */
#ifndef PV_RUN_GC_H
#define PV_RUN_GC_H

#include "engine/run/store.h"

struct pv_gc_request {
	const char *store;
	bool has_keep;
	unsigned keep;            /* that many of the newest finished runs stay */
	uint64_t older_than_ns;   /* those that began less long ago stay; 0: no limit */
	const char *const *names; /* runs to be removed in any case; with them, no others */
	size_t n_names;
	uint64_t now_wall_ns;
};

/* Told of each run that is gone: its directory and what that took on disk. */
typedef void pv_gc_cb(void *arg, const char *dir, uint64_t bytes);

/* Removes the finished runs of the store that the request gives up. Runs that are live, resumable or damaged stay unless they are named; a
 * live one stays even then: PV_ERR_BUSY. What was removed before an error is gone and was told. */
enum pv_err pv_gc(const struct pv_gc_request *request, pv_gc_cb *removed, void *arg,
                  struct pv_errmsg *msg) PV_MUST_CHECK;

#endif
