/* Methods of a VM that have files of their own. */
#ifndef PV_SCRIPT_VM_METHODS_H
#define PV_SCRIPT_VM_METHODS_H

#include <lauxlib.h>
#include <lua.h>

#include "proto/journal.pb-c.h"

struct pv_call_slot;

extern const luaL_Reg pv_vm_run_methods[];
extern const luaL_Reg pv_vm_file_methods[];
extern const luaL_Reg pv_vm_push_methods[];
extern const luaL_Reg pv_vm_object_methods[];
extern const luaL_Reg pv_vm_snapshot_methods[];
extern const luaL_Reg pv_vm_nic_methods[];
extern const luaL_Reg pv_vm_disk_methods[];

/* "exited", "signalled", "timed_out". */
const char *pv_run_status_name(Pv__RunStatus status);

/* Pushes the RunResult of a run that has its outcome. */
void pv_push_run_result(lua_State *L, const struct pv_call_slot *slot);

#endif
