/* What a restore has declared goes again if it fails, so that its names are free for the next. */
#ifndef PV_SCRIPT_UNDO_H
#define PV_SCRIPT_UNDO_H

#include <lua.h>
#include <stdint.h>

#include "engine/core/state.h"
#include "proto/mem.h"

struct pv_made {
	Pv__MemberKind kind;
	uint32_t id;
	uint32_t lab; /* that holds it */
};

/* A list in a buffer, in the order in which they were declared. */
void pv_made_add(struct pv_buf *made, Pv__MemberKind kind, uint32_t id, uint32_t lab);

/* The last come first; VMs are down. Does not raise: what cannot go stays until its scope ends. */
void pv_made_undo(lua_State *L, const struct pv_buf *made);

#endif
