/* Raising errors from C, entering Lua, texts for events. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "engine/script/script_internal.h"
#include "engine/script/site.h"
#include "engine/script/text.h"
#include "proto/mem.h"

/* Of a function that runs outside of tasks, in hook periods. */
#define ENTER_SLICES 20

void pv_push_where(lua_State *L)
{
	struct pv_site site;

	if (pv_site_find(L, &site))
		lua_pushfstring(L, "%s:%d: ", site.source, site.line);
	else
		lua_pushliteral(L, "");
}

void pv_raise(lua_State *L, const char *fmt, ...)
{
	va_list ap;

	luaL_checkstack(L, 4, NULL);
	pv_push_where(L);
	va_start(ap, fmt);
	lua_pushvfstring(L, fmt, ap);
	va_end(ap);
	lua_concat(L, 2);
	lua_error(L);
	__builtin_unreachable();
}

bool pv_enter(struct pv_script *script, lua_CFunction fn, void *ud, char **error)
{
	lua_State *L = script->L;
	struct pv_task *before = script->running;
	int top = lua_gettop(L);
	int status;

	script->running = NULL;
	script->slices_left = ENTER_SLICES;
	lua_pushcfunction(L, fn);
	lua_pushlightuserdata(L, ud);
	status = lua_pcall(L, 1, 0, 0);
	script->running = before;
	if (status != LUA_OK && error != NULL) {
		size_t len = 0;
		const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &len) : NULL;

		*error = text != NULL ? pv_printable(text, len) : pv_xstrdup("(error without a message)");
	}
	lua_settop(L, top);
	return status == LUA_OK;
}

char *pv_printable(const char *bytes, size_t len)
{
	struct pv_buf out = { 0 };
	size_t at = 0;

	pv_buf_reserve(&out, len);
	while (at < len) {
		size_t n = bytes[at] == '\0' ? 0 : pv_utf8_length(bytes + at, len - at);

		if (n > 0) {
			pv_buf_add(&out, bytes + at, n);
			at += n;
		} else {
			pv_buf_addf(&out, "\\x%02x", (unsigned)(unsigned char)bytes[at++]);
		}
	}
	return pv_buf_steal(&out);
}

/* ---- buffers ---- */

#define BUF_TYPE "provium.buf"

static int collect_buf(lua_State *L)
{
	pv_buf_free(lua_touserdata(L, 1));
	return 0;
}

struct pv_buf *pv_buf_push(lua_State *L)
{
	struct pv_buf *buf = lua_newuserdatauv(L, sizeof(*buf), 0);

	*buf = (struct pv_buf){ 0 };
	luaL_setmetatable(L, BUF_TYPE);
	return buf;
}

void pv_open_buf(lua_State *L)
{
	luaL_newmetatable(L, BUF_TYPE);
	lua_pushcfunction(L, collect_buf);
	lua_setfield(L, -2, "__gc");
	lua_pop(L, 1);
}
