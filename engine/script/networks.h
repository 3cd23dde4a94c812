/* What the files for bridges and NICs share. */
#ifndef PV_SCRIPT_NETWORKS_H
#define PV_SCRIPT_NETWORKS_H

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/core/network.h"

#define PV_NIC_TYPE     "Nic"
#define PV_CAPTURE_TYPE "Capture"

/* A bridge that a method was called on. */
struct pv_bridge_arg {
	uint32_t id;
	struct pv_bridge_view view;
	const Pv__BridgeSettings *settings; /* valid until the state changes */
};

/* The bridge at 1. Raises if it is none or gone with its scope. */
void pv_check_bridge(lua_State *L, const char *what, struct pv_bridge_arg *out);
/* The same; raises also if it is closed. */
void pv_check_open_bridge(lua_State *L, const char *what, struct pv_bridge_arg *out);

/* `V`: a VM or its name. The name belongs to the state or to the value at `idx`. */
struct pv_vm_arg {
	const char *name;
	uint32_t vm; /* 0: a name that is none of a VM yet, as the bridge sees it */
};
void pv_arg_vm(lua_State *L, int idx, const char *what, const struct pv_bridge_arg *bridge, struct pv_vm_arg *out);

/* Its place on the bridge; NULL: it is not attached. Raises if a VM of the same name is. */
const Pv__Attachment *pv_arg_member(lua_State *L, const char *what, const struct pv_bridge_arg *bridge,
                                    const struct pv_vm_arg *vm);

/* Proposes a change of the bridge, or raises. */
void pv_change_bridge(lua_State *L, const char *what, uint32_t bridge, Pv__BridgeChanged *changed);

/* ---- bridge_attach.c ---- */
extern const luaL_Reg pv_bridge_attach_methods[];
/* The NICs of these VMs are made what the settings say, if they are up; then returns nothing. Raises if one fails. */
int pv_update_nics(lua_State *L, const char *what, uint32_t bridge, const uint32_t *vms, size_t n);

/* ---- bridge_rules.c ---- */
extern const luaL_Reg pv_bridge_rule_methods[];

/* ---- bridge_routes.c ---- */
extern const luaL_Reg pv_bridge_route_methods[];

/* ---- ud_nic.c ---- */
void pv_push_nic(lua_State *L, uint32_t vm, uint32_t bridge);

/* ---- ud_stream.c ---- */

/* Opens a capture of the bridge, or of the NIC that `nic_of` (0: none) has on it; returns its Capture. */
int pv_capture_open(lua_State *L, const char *what, uint32_t bridge, uint32_t nic_of);

#endif
