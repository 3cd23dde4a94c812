/* The `t` of a test body. */
#ifndef PV_SCRIPT_TEST_CTX_H
#define PV_SCRIPT_TEST_CTX_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

/* Pushes the `t` for the test that is about to start. */
void pv_test_ctx_push(lua_State *L, size_t index);

/* t:assert_raises, which catches errors. */
bool pv_is_assert_raises(lua_CFunction fn);

/* True for the value that t:skip raises. Never raises; `L` needs two free slots. */
bool pv_is_skip(lua_State *L, int idx);

#endif
