/* A bundle: a run in one file, to be sent around and given to every verb as RUN.
 *
 * A tar archive (POSIX ustar) in one zstd frame: `provium-bundle` (format and run id), the notes beside the journal (`checkpoint`,
 * `redactions`) where there are any, `journal.mdb` (a copy of what was committed at one moment), and the blobs that its events name. docs/export.md describes it. Whoever reads one trusts nothing in it. */
#ifndef PV_REPLAY_BUNDLE_H
#define PV_REPLAY_BUNDLE_H

#include <stdbool.h>

#include "proto/err.h"

/* Writes the bundle of the run directory `dir` to `path`, replacing what is there at once or not at all; a live run as far as it got. Blobs that
 * were redacted are left out. Equal journals give equal bytes. PV_ERR_NOENT, PV_ERR_CORRUPT, PV_ERR_IO, PV_ERR_NOSPACE. */
enum pv_err pv_bundle_write(const char *dir, const char *path, struct pv_errmsg *msg) PV_MUST_CHECK;

/* True if `path` is a regular file that begins as a bundle does. */
bool pv_bundle_is(const char *path);

/* Unpacks `path` into `dir`, which must be empty: then it is a run directory. PV_ERR_FOREIGN if it is no bundle, PV_ERR_VERSION for a newer
 * format, PV_ERR_CORRUPT for anything that a bundle does not hold (other names, links, a second copy, too much data, a bad checksum, an
 * early end). What was unpacked stays, for the caller to remove. */
enum pv_err pv_bundle_unpack(const char *path, const char *dir, struct pv_errmsg *msg) PV_MUST_CHECK;

#endif
