/* Inside a script that builds a fixture. */
#ifndef PV_SCRIPT_BUILDER_H
#define PV_SCRIPT_BUILDER_H

#include <lua.h>

/* Replaces the main chunk on top of the stack by one that takes what it returns. */
void pv_builder_wrap_chunk(lua_State *L);
/* `test` and `todo` raise. */
void pv_open_builder(lua_State *L);

#endif
