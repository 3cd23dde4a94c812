/* What a script takes in from outside of the lab: the time of day, the environment, host files. It is recorded, so that the script sees
 * the same again when its run is resumed or replayed.
 */
#ifndef PV_LAB_INPUT_H
#define PV_LAB_INPUT_H

#include <stdbool.h>

#include "engine/lab/engine.h"

/* Takes the input: fills `results` and `data` of `input`, which dies with the call. What it puts there is the caller's, and lives until
 * pv_engine_input() has returned. Must neither raise nor propose. */
typedef void pv_input_cb(void *arg, Pv__ScriptInput *input);

/* `event` (script_input with name and args, file, task and site set) is decided, the input is taken by `take`, and both are recorded as one
 * event. While the record of an earlier run is gone through again, `take` is not called: the results are the recorded ones. *out is
 * theirs, payload inline; the caller frees it with pv__script_input__free_unpacked(). Errors as for pv_engine_propose(). */
enum pv_err pv_engine_input(struct pv_engine *engine, Pv__Event *event, pv_input_cb *take, void *arg,
                            Pv__ScriptInput **out, struct pv_errmsg *msg) PV_MUST_CHECK;

/* True while the record of an earlier run is gone through again for `file`: what the script prints was printed then, what it did to
 * the host was done then. */
bool pv_engine_is_again(const struct pv_engine *engine, uint32_t file);

#endif
