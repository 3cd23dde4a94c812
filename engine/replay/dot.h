/* The lab as a graph in the language of Graphviz: what existed at one point of a run, and in which state. */
#ifndef PV_REPLAY_DOT_H
#define PV_REPLAY_DOT_H

#include <stdio.h>

#include "engine/core/state.h"
#include "engine/replay/waits.h"

/* Files and labs are clusters; VMs, bridges and barriers at which someone waits are nodes. What several labs hold is drawn in the oldest,
 * with a dashed line to the others; what no lab holds any more is dashed, in the lab it closes with. A file's label
 * tells its claim and what it waits for. Equal states give equal text. `waits` may be NULL. */
void pv_dot_print(const struct pv_state *state, const struct pv_waits *waits, FILE *out);

#endif
