/* Where a task failed: the Lua functions it was in. */
#ifndef PV_SCRIPT_TRACEBACK_H
#define PV_SCRIPT_TRACEBACK_H

#include <lua.h>

/* The Lua frames of a thread that an error has ended, before it is reset: "traceback:" and a line each, innermost first, without the frames of C
 * functions. The caller frees. NULL if there is but one: the message names its line. */
char *pv_traceback(lua_State *L);

#endif
