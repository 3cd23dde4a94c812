/* The lab as a tree: what existed at one point of a run, and in which state. */
#ifndef PV_REPLAY_TREE_H
#define PV_REPLAY_TREE_H

#include <stdio.h>

#include "engine/core/state.h"
#include "engine/replay/waits.h"

/* Files that were dispatched or wait for it, with what they hold of the resource pool and wait for; below each its labs, VMs with the
 * processes, streams and workers in them, bridges, barriers, and the calls in flight. What was removed from every lab stands, marked, in
 * the lab it closes with. `waits` may be NULL. */
void pv_tree_print(const struct pv_state *state, const struct pv_waits *waits, FILE *out);

/* Where in the run a tree was taken. */
struct pv_tree_point {
	uint64_t seq;
	uint64_t mono_ns;
};

/* The same as one JSON object on a line; docs/replay.md gives its keys. */
void pv_tree_print_json(const struct pv_state *state, const struct pv_waits *waits, struct pv_tree_point point,
                        FILE *out);

#endif
