/* The blobs that an event names. */
#ifndef PV_REPLAY_BLOBS_H
#define PV_REPLAY_BLOBS_H

#include <stdbool.h>

#include "proto/journal.pb-c.h"

/* False ends the walk. */
typedef bool pv_blob_cb(void *arg, const Pv__Blob *blob);

/* Calls `cb` for each; found through the descriptors of the messages, so that a new kind of event needs nothing here. */
bool pv_event_blobs(const Pv__Event *event, pv_blob_cb *cb, void *arg);

#endif
