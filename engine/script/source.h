/* Lua source as bytes: loading it. */
#ifndef PV_SCRIPT_SOURCE_H
#define PV_SCRIPT_SOURCE_H

#include <lua.h>
#include <stddef.h>

/* Without a byte order mark and with a first line "#..." made empty, as the Lua interpreter does. */
void pv_source_skip_preamble(const char **text, size_t *len);

/* As luaL_loadbufferx(), behind the preamble. */
int pv_source_load(lua_State *L, const char *text, size_t len, const char *chunk_name, const char *mode);

#endif
