/* json.encode and json.decode, a file each; what they share. */
#ifndef PV_SCRIPT_JSON_H
#define PV_SCRIPT_JSON_H

#include <lua.h>

#define PV_JSON_DEPTH_MAX 200

/* The metatable that marks a table decoded from [], so that it is encoded as [] again. In the registry. */
#define PV_JSON_ARRAY_TYPE "json array"

int pv_json_encode(lua_State *L);
int pv_json_decode(lua_State *L);

#endif
