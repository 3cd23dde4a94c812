/* Arguments and option tables of the Lua API, checked strictly. `what` heads each message: "vm:run", "vm:boot: memory". All of
 * these raise. */
#ifndef PV_SCRIPT_ARGS_H
#define PV_SCRIPT_ARGS_H

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Nanoseconds: a number of seconds, or "500ms", "5s", ... */
uint64_t pv_arg_duration(lua_State *L, int idx, const char *what);
/* Bytes: an integer, or "512M", ... */
uint64_t pv_arg_size(lua_State *L, int idx, const char *what);
/* An integer or an integral float. */
lua_Integer pv_arg_integer(lua_State *L, int idx, const char *what);
bool pv_arg_bool(lua_State *L, int idx, const char *what);
/* A string; numbers do not pass. Belongs to the value at `idx`. */
const char *pv_arg_bytes(lua_State *L, int idx, const char *what, size_t *len);
/* The same without NUL bytes, as paths, names and arguments need it. */
const char *pv_arg_text(lua_State *L, int idx, const char *what);
/* nil or a string. */
const char *pv_arg_text_or(lua_State *L, int idx, const char *what, const char *fallback);
void pv_arg_table(lua_State *L, int idx, const char *what);
/* No argument behind `last`. */
void pv_arg_end(lua_State *L, int last, const char *what);

/* Raises for a key of the table at `idx` that is none of `keys` (which ends with NULL). */
void pv_check_keys(lua_State *L, int idx, const char *what, const char *const *keys);

/* Pushes the table's own field and returns true; or pushes nothing and returns false if it is nil. */
bool pv_get_option(lua_State *L, int idx, const char *key);

/* Makes the metatable `type` for a userdata with `methods`; another name raises "<object>:<name>: no such method". */
void pv_new_type(lua_State *L, const char *type, const char *object, const luaL_Reg *methods, lua_CFunction to_string);

#endif
