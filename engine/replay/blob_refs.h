/* The blobs that an event names, wherever in it they stand. */
#ifndef PV_REPLAY_BLOB_REFS_H
#define PV_REPLAY_BLOB_REFS_H

#include "journal/journal.h"

typedef void pv_blob_ref_cb(void *arg, const Pv__Blob *blob);

/* Calls `cb` for each Blob in `event` that has a whole hash, in the order of the fields. New kinds of events need nothing here. */
void pv_blob_refs(const Pv__Event *event, pv_blob_ref_cb *cb, void *arg);

#endif
