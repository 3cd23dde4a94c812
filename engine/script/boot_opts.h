/* The boot options of lab:vm and vm:boot. */
#ifndef PV_SCRIPT_BOOT_OPTS_H
#define PV_SCRIPT_BOOT_OPTS_H

#include <lua.h>
#include <stdbool.h>

#include "proto/journal.pb-c.h"

/* Reads the table at `idx` (nil: no options). The result lies in a userdata that is pushed, and points into the table's strings: it is
 * good until Lua code runs. Raises for unknown keys and wrong types, `what` in front. */
Pv__VmSpec *pv_boot_opts_push(lua_State *L, int idx, const char *what);

/* Disks without an id get that of the VM. `this_boot`: they are for one boot alone. */
void pv_boot_opts_name_disks(lua_State *L, const char *what, const char *vm, bool this_boot, Pv__VmSpec *spec);

#endif
