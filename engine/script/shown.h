/* Values as text, with ids instead of addresses: "table: 0x00000001". Ids are given in the order in which objects are first shown, and never again. */
#ifndef PV_SCRIPT_SHOWN_H
#define PV_SCRIPT_SHOWN_H

#include <lua.h>
#include <stddef.h>
#include <stdint.h>

struct pv_script;

/* As luaL_tolstring(). */
const char *pv_tolstring(lua_State *L, int idx, size_t *len);

/* Forgets the ids that were given behind the first `n`: as if those objects had not been shown. Never raises. */
void pv_shown_forget(struct pv_script *script, uint64_t n);

/* Pushes the id of the object at `idx`: "0x00000001". */
void pv_push_id(lua_State *L, int idx);

#endif
