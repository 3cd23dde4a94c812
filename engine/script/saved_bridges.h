/* The settings of bridges in lab.json. */
#ifndef PV_SCRIPT_SAVED_BRIDGES_H
#define PV_SCRIPT_SAVED_BRIDGES_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/core/network.h"

/* Pushes the settings as a table: for readers in words, and under "packed" as what is read back (a BridgeSettings without ids, in hexadecimal). */
void pv_saved_bridge_push(lua_State *L, const struct pv_state *state, uint32_t bridge);

/* The number of the network in the table at `idx`; 0: it has none. */
uint32_t pv_saved_bridge_number(lua_State *L, int idx);

/* Makes the settings of the bridge what the table at `idx` says. VMs are found by their names; who is attached, is not named there, and is none of the
 * `n` at `restored`, stays. Raises if they are damaged or refused. */
void pv_saved_bridge_apply(lua_State *L, const char *what, int idx, uint32_t bridge, const uint32_t *restored,
                           size_t n);

/* Those VMs leave the bridge, if they are on it. */
void pv_saved_bridge_clear(lua_State *L, const char *what, uint32_t bridge, const uint32_t *vms, size_t n);

#endif
