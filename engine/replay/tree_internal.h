/* Private to the trees: looking things up in a serialised state, and the words for them. */
#ifndef PV_REPLAY_TREE_INTERNAL_H
#define PV_REPLAY_TREE_INTERNAL_H

#include "engine/core/state.h"
#include "proto/mem.h"

/* The state as one message; free it with pv__lab_state__free_unpacked(). */
Pv__LabState *pv_tree_message(const struct pv_state *state);

const Pv__VmNode *pv_tree_vm(const Pv__LabState *state, uint32_t id);
const Pv__LabNode *pv_tree_lab(const Pv__LabState *state, uint32_t id);
const Pv__BridgeNode *pv_tree_bridge(const Pv__LabState *state, uint32_t id);
/* Is the sub-lab held by no lab? */
bool pv_tree_is_removed(const Pv__LabState *state, const Pv__LabNode *sub);

/* Members, cuts, impairments, ... of a bridge, a line each. */
void pv_tree_bridge_lines(const Pv__LabState *state, const Pv__BridgeSettings *settings, struct pv_buf *out);

/* "process", ...; for streams their own kind, like "tail_file". */
const char *pv_tree_object_word(const Pv__ObjectState *object);
const char *pv_tree_lab_kind(Pv__LabKind kind);
const char *pv_tree_task_kind(Pv__TaskKind kind);

#endif
