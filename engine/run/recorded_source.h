/* The bytes of a test file as the run executed them. */
#ifndef PV_RUN_RECORDED_SOURCE_H
#define PV_RUN_RECORDED_SOURCE_H

#include "journal/journal.h"
#include "proto/err.h"
#include "proto/mem.h"

/* Puts the source that `dispatched` carries into `out` (which then has memory, also for an empty file). PV_ERR_NOENT if the journal does not
 * have it, or has it no more; other errors of reading a blob. `out` is empty then. */
enum pv_err pv_recorded_source(struct pv_journal *journal, const Pv__FileDispatched *dispatched, struct pv_buf *out,
                               struct pv_errmsg *msg) PV_MUST_CHECK;

#endif
