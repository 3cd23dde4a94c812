/* The event channel: what of a journal programs get to see, as JSON objects (docs/export.md has kinds and guarantees).
 *
 * A function from one event to at most one object, with just enough memory to name things; so a run at work can project what it commits, and
 * a recorded run gives the same bytes. */
#ifndef PV_REPLAY_PROJECTION_H
#define PV_REPLAY_PROJECTION_H

#include <stdio.h>

#include "journal/journal.h"
#include "proto/err.h"

struct json_object;
struct pv_projection;

struct pv_projection *pv_projection_create(void);
void pv_projection_destroy(struct pv_projection *projection); /* NULL is fine */

/* The object {"ts", "seq", "kind", "payload"} of `event`, which the caller puts; NULL if it gives none. Every event of the run must be
 * given, in order. */
struct json_object *pv_projection_event(struct pv_projection *projection, uint64_t seq, const Pv__Event *event);

/* The failed test `id` will be tried again: its end is not the last word and gives no object. To be told before that event. */
void pv_projection_will_retry(struct pv_projection *projection, uint32_t id);
/* What `file` reported before event `seq` is void (it was restarted there): none of it gives an object but its discovery, its waiting and
 * its first dispatch. To be told before the first event. */
void pv_projection_void_before(struct pv_projection *projection, uint32_t file, uint64_t seq);

/* Projects a recorded run: looks ahead for the two above, then gives each object to `cb`, which may keep it only by taking a reference. False from
 * `cb` ends the walk. Errors of the cursor; PV_ERR_CORRUPT for bytes that are no event. */
typedef bool pv_projection_cb(void *arg, struct json_object *object);
enum pv_err pv_projection_walk(struct pv_journal *journal, pv_projection_cb *cb, void *arg,
                               struct pv_errmsg *msg) PV_MUST_CHECK;

#endif
