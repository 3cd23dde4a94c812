/* Building one fixture without a test: `provium fixture build`.
 *
 * It is a run of its own, of one test file that asks for the fixture and has no tests. The file lies in the run directory. What is built is restored
 * once, so that a fixture that cannot be is told now.
 */
#ifndef PV_RUN_BUILD_H
#define PV_RUN_BUILD_H

#include "engine/run/fixture_cache.h"
#include "engine/run/run.h"

struct pv_run_build {
	const char *name;
	enum pv_store_kind kind;
	char *error; /* out: what the build came to if it failed, else NULL; the caller frees it */
};

/* The kind that the builder probably makes, by its newest manifest, else by its source. Its run is the judge. */
enum pv_store_kind pv_build_guess(struct pv_store *store, const char *name, const char *builder);
/* True if that is why the build failed: the builder returns the other kind. */
bool pv_build_is_other_kind(const struct pv_run_build *build);

/* For run.c: the one file of such a run instead of those selected; and, when there is a run directory, its text. */
enum pv_err pv_build_select(const struct pv_run_build *build, const struct pv_config *config, struct pv_found *out,
                            struct pv_errmsg *msg) PV_MUST_CHECK;
enum pv_err pv_build_write(const struct pv_run_build *build, const char *run_dir, struct pv_found_file *file,
                           struct pv_errmsg *msg) PV_MUST_CHECK;

#endif
