/* Snapshots in Lua: the userdata, and saving and restoring, for methods of the API and for whoever builds on them (fixtures).
 *
 * Functions that wait take `then`, which goes on in the waiting C function: it finds the stack as it was when the function was called, pushes its
 * results and returns their number. Use: return pv_vm_restore(L, ...).
 */
#ifndef PV_SCRIPT_SNAPSHOT_H
#define PV_SCRIPT_SNAPSHOT_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/script/task.h"

#define PV_SNAPSHOT_TYPE     "Snapshot"
#define PV_LAB_SNAPSHOT_TYPE "LabSnapshot"

/* Push the handle of a file, or of a directory, of this absolute path. */
void pv_snapshot_push(lua_State *L, const char *path);
void pv_lab_snapshot_push(lua_State *L, const char *path);
/* The path of the Snapshot or LabSnapshot at `idx`, which keeps it; NULL if it is none. */
const char *pv_snapshot_handle_path(lua_State *L, int idx);
const char *pv_lab_snapshot_handle_path(lua_State *L, int idx);

typedef int pv_snapshot_then(lua_State *L);

/* Restores the VM, which is created or shutdown, from the file (absolute). Raises "<what>: <reason>". `what` is static. With `made_in`, the lab in which the
 * VM was declared for this, it leaves that if it fails. */
int pv_vm_restore(lua_State *L, const char *what, uint32_t vm, uint32_t made_in, const char *path,
                  pv_snapshot_then *then);

/* Restores what the directory (absolute) holds into `lab`: what is missing there is declared. Raises likewise; then every VM of the set is
 * shut down, and what was declared goes again; with `made_in`, the lab above, `lab` too. */
int pv_lab_restore(lua_State *L, const char *what, uint32_t lab, uint32_t made_in, const char *dir,
                   pv_snapshot_then *then);

/* Saves `lab`, as lab:snapshot. With `dir` NULL into a directory of the run. `then` finds the path (absolute, a string) on top of the stack as it
 * was. `method` is for refusals: "lab:snapshot() refused". */
int pv_lab_save(lua_State *L, const char *what, uint32_t lab, const char *dir, pv_snapshot_then *then);

/* What the file says of the VM that was saved, as a recorded input: pushes its name, its profile and its boot options as a table as lab:vm takes
 * them. Raises. */
void pv_snapshot_push_facts(lua_State *L, const char *what, const char *path);

#endif
