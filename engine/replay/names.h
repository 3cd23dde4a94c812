/* Names of what a lab holds, as a reader of a record wants them: without ids, and with the path of labs where the name alone could mean
 * several. */
#ifndef PV_REPLAY_NAMES_H
#define PV_REPLAY_NAMES_H

#include "engine/core/state.h"

/* "dc1/rack2" for a sub-lab, "provium" for the lab of a file and the scope of a test. Appended to `out`; nothing if the lab is unknown. */
void pv_name_lab(const struct pv_state *state, uint32_t id, struct pv_buf *out);
/* "a" in the lab of a file or a test, "dc1/a" in a sub-lab. */
void pv_name_vm(const struct pv_state *state, uint32_t id, struct pv_buf *out);
void pv_name_bridge(const struct pv_state *state, uint32_t id, struct pv_buf *out);
/* The same for `name` in `lab`, which need not be declared yet. */
void pv_name_in(const struct pv_state *state, uint32_t lab, const char *name, struct pv_buf *out);

/* The test scope that `lab` is or lies in; 0: none. */
uint32_t pv_name_scope(const struct pv_state *state, uint32_t lab);

#endif
