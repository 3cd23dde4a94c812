/* Paths of host files in scripts: relative ones start at the directory of the Lua file that holds the call. */
#ifndef PV_SCRIPT_HOST_PATH_H
#define PV_SCRIPT_HOST_PATH_H

#include <lua.h>

/* Pushes the path for the call that `L` is in and returns it. "." and ".." are left to the kernel. Raises when out of memory. */
const char *pv_host_path_push(lua_State *L, const char *path);

#endif
