/* Bundles as RUN: unpacked for as long as the program runs. */
#ifndef PV_TOOLS_VERB_BUNDLE_H
#define PV_TOOLS_VERB_BUNDLE_H

#include <stdbool.h>

#include "proto/err.h"

/* True if `run` names a bundle: a file that begins as one. Verbs that change a run should refuse it. */
bool pv_verb_is_bundle(const char *run);

/* Unpacks the bundle `path` into a directory of its own below $TMPDIR, which is gone when the program has ended, in whatever way. The
 * caller frees *dir. Its journal may be made to crash who opens it: verify it first. */
enum pv_err pv_verb_unpack(const char *path, char **dir, struct pv_errmsg *msg) PV_MUST_CHECK;

#endif
