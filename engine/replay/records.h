/* Walking the events of a journal without folding them. */
#ifndef PV_REPLAY_RECORDS_H
#define PV_REPLAY_RECORDS_H

#include <stdbool.h>
#include <stdint.h>

#include "journal/journal.h"
#include "proto/err.h"

/* `event` dies with the call. False ends the walk. */
typedef bool pv_records_cb(void *arg, uint64_t seq, const Pv__Event *event);

/* Gives every event from the first to `last` (0: the last committed one). Errors of the cursor; PV_ERR_CORRUPT for bytes that are no event. */
enum pv_err pv_records_walk(struct pv_journal *journal, uint64_t last, pv_records_cb *cb, void *arg,
                            struct pv_errmsg *msg) PV_MUST_CHECK;

#endif
