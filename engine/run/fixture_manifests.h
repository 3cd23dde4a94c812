/* The manifests in a cache directory. */
#ifndef PV_RUN_FIXTURE_MANIFESTS_H
#define PV_RUN_FIXTURE_MANIFESTS_H

#include "engine/run/fixture_inputs.h"

struct pv_fixture_manifests {
	struct pv_fixture_manifest *items;
	size_t n;
};

/* Those of the fixture `name` (NULL: of all) and of kind "vm" or "lab" (NULL: both), in the order of their keys. Files that are no manifest
 * are left out. A directory that is not there has none. PV_ERR_IO. Free with pv_fixture_manifests_free(). */
enum pv_err pv_fixture_manifests_read(const char *dir, const char *name, const char *kind,
                                      struct pv_fixture_manifests *out, struct pv_errmsg *msg) PV_MUST_CHECK;
void pv_fixture_manifests_free(struct pv_fixture_manifests *manifests);

#endif
