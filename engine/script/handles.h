/* Lua's handles of labs, VMs and bridges: userdata that hold an id of the state. One object has one handle. */
#ifndef PV_SCRIPT_HANDLES_H
#define PV_SCRIPT_HANDLES_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/core/state.h"

#define PV_LAB_TYPE    "Lab"
#define PV_VM_TYPE     "VM"
#define PV_BRIDGE_TYPE "Bridge"

/* The first user value is the name. */
struct pv_handle {
	uint32_t id;
	bool is_scope; /* the global `provium`: the lab of the present scope */
};

/* Push the handle of an object that the state holds. */
void pv_push_handle(lua_State *L, Pv__MemberKind kind, uint32_t id);
/* Pushes the name that the object of the handle at `idx` has or had. */
void pv_push_handle_name(lua_State *L, int idx);

/* The lab, VM or bridge at `idx`, which a method named `what` was called on. They raise if it is none, or gone with its scope. */
uint32_t pv_check_lab(lua_State *L, int idx, const char *what, struct pv_lab_view *view);
/* The same without a view, in a time that does not grow with the lab. */
uint32_t pv_check_lab_id(lua_State *L, int idx, const char *what);
uint32_t pv_check_vm(lua_State *L, int idx, const char *what, struct pv_vm_view *view);

/* The id at `idx` and its kind; 0 if it is no handle. */
uint32_t pv_handle_member(lua_State *L, int idx, Pv__MemberKind *kind);

#endif
