/* The lab as a tree: what existed at one point of a run, and in which state. */
#ifndef PV_REPLAY_TREE_H
#define PV_REPLAY_TREE_H

#include <stdio.h>

#include "engine/core/state.h"

/* Files that were dispatched, below each its labs, VMs and bridges, and the calls in flight. */
void pv_tree_print(const struct pv_state *state, FILE *out);

#endif
