/* What a script takes in from outside of the lab: recorded as a ScriptInput, so that the script gets the same when the record of its run is gone
 * through again. Nothing of the world is touched but inside the taking function, which is not called then.
 *
 * A string result above PV_INTAKE_INLINE_MAX bytes stands in the event's `data`, one behind the other; its result is then the map
 * {data = length}. A string argument above it is recorded as {bytes = length, sha256 = hash}. */
#ifndef PV_SCRIPT_INTAKE_H
#define PV_SCRIPT_INTAKE_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

#define PV_INTAKE_INLINE_MAX 256u
#define PV_INTAKE_ARGS_MAX   16

struct pv_intake; /* results that are being taken */

/* Takes. May neither raise nor use the Lua state. */
typedef void pv_intake_fn(void *arg, struct pv_intake *in);

/* ---- for taking functions: the results, in order ---- */

void pv_intake_nil(struct pv_intake *in);
void pv_intake_boolean(struct pv_intake *in, bool value);
void pv_intake_integer(struct pv_intake *in, lua_Integer value);
void pv_intake_number(struct pv_intake *in, lua_Number value);
void pv_intake_string(struct pv_intake *in, const char *bytes, size_t len);
/* Removes the results but the first `n`. */
void pv_intake_cut(struct pv_intake *in, size_t n);
/* true; or nil, "[path: ]text of error", error. */
void pv_intake_done(struct pv_intake *in, bool ok, const char *path, int error);
void pv_intake_failed(struct pv_intake *in, const char *path, int error);

/* ---- for C functions that Lua calls ---- */

/* Takes one input: `name` is the function's, its arguments are the values on top of the stack from index `first` on (PV_INTAKE_ARGS_MAX at most count).
 * Pushes the results and returns their number. Raises if the record cannot be written. In the finalizers that run when the script is
 * over, nothing is recorded any more. */
int pv_intake(lua_State *L, const char *name, int first, pv_intake_fn *take, void *arg);

/* The record of the script's run is gone through again: what it does to the host was done then. */
bool pv_is_again(lua_State *L);

#endif
