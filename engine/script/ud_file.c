/* Handles of host files: the methods of the io library's files. */
#include <stdlib.h>
#include <string.h>

#include "engine/script/iofile.h"
#include "engine/script/script_internal.h"
#include "engine/script/shown.h"

struct pv_iofile *pv_iofile_push(lua_State *L, enum pv_iofile_kind kind)
{
	struct pv_iofile *file = lua_newuserdatauv(L, sizeof(*file), 1);

	*file = (struct pv_iofile){ .kind = kind, .offset = -1, .number = ++pv_script_of(L)->n_files };
	luaL_setmetatable(L, PV_IOFILE_TYPE);
	return file;
}

struct pv_iofile *pv_iofile_check(lua_State *L, int idx)
{
	struct pv_iofile *file = luaL_checkudata(L, idx, PV_IOFILE_TYPE);

	if (file->closed)
		luaL_error(L, "attempt to use a closed file");
	return file;
}

static int file_read(lua_State *L)
{
	return pv_iofile_read(L, pv_iofile_check(L, 1), 2);
}

static int file_write(lua_State *L)
{
	return pv_iofile_write(L, pv_iofile_check(L, 1), 1, 2);
}

static int file_close(lua_State *L)
{
	struct pv_iofile *file = pv_iofile_check(L, 1);

	lua_settop(L, 1);
	return pv_iofile_close(L, file);
}

static int file_flush(lua_State *L)
{
	struct pv_iofile *file = pv_iofile_check(L, 1);

	lua_settop(L, 1);
	return pv_iofile_flush(L, file);
}

static int file_seek(lua_State *L)
{
	static const char *const names[] = { "set", "cur", "end", NULL };
	struct pv_iofile *file = pv_iofile_check(L, 1);
	int whence = luaL_checkoption(L, 2, "cur", names);
	lua_Integer offset = luaL_optinteger(L, 3, 0);

	lua_settop(L, 1);
	return pv_iofile_seek(L, file, whence, offset);
}

static int file_setvbuf(lua_State *L)
{
	static const char *const names[] = { "no", "full", "line", NULL };
	struct pv_iofile *file = pv_iofile_check(L, 1);
	int mode = luaL_checkoption(L, 2, NULL, names);
	lua_Integer size = luaL_optinteger(L, 3, LUAL_BUFFERSIZE);

	lua_settop(L, 1);
	return pv_iofile_set_buffer(L, file, mode, (size_t)size);
}

static int file_lines(lua_State *L)
{
	pv_iofile_check(L, 1);
	pv_lines_push(L, false);
	return 1;
}

static int file_tostring(lua_State *L)
{
	const struct pv_iofile *file = luaL_checkudata(L, 1, PV_IOFILE_TYPE);

	if (file->closed) {
		lua_pushliteral(L, "file (closed)");
		return 1;
	}
	pv_push_id(L, 1);
	lua_pushfstring(L, "file (%s)", lua_tostring(L, -1));
	return 1;
}

/* A file that nobody holds any more, or the end of the script. Nobody observes it. */
static int file_collect(lua_State *L)
{
	struct pv_iofile *file = luaL_checkudata(L, 1, PV_IOFILE_TYPE);

	if (file->stream != NULL && file->kind <= PV_IOFILE_TEMPORARY)
		fclose(file->stream);
	file->stream = NULL;
	file->closed = true;
	free(file->path);
	file->path = NULL;
	return 0;
}

/* A variable <close>. */
static int file_close_variable(lua_State *L)
{
	struct pv_iofile *file = luaL_checkudata(L, 1, PV_IOFILE_TYPE);

	lua_settop(L, 1);
	if (!file->closed)
		pv_iofile_close(L, file);
	return 0;
}

void pv_open_iofile(lua_State *L)
{
	static const luaL_Reg methods[] = {
		{ "read", file_read }, { "write", file_write },     { "lines", file_lines }, { "flush", file_flush },
		{ "seek", file_seek }, { "setvbuf", file_setvbuf }, { "close", file_close }, { NULL, NULL },
	};
	static const luaL_Reg meta[] = {
		{ "__gc", file_collect },
		{ "__close", file_close_variable },
		{ "__tostring", file_tostring },
		{ NULL, NULL },
	};

	/* Lua's own type of that name is out of use; its standard files must not miss it when they are collected. */
	luaL_getmetatable(L, PV_IOFILE_TYPE);
	lua_pushnil(L);
	lua_setfield(L, -2, "__gc");
	lua_pop(L, 1);
	lua_pushnil(L);
	lua_setfield(L, LUA_REGISTRYINDEX, PV_IOFILE_TYPE);
	luaL_newmetatable(L, PV_IOFILE_TYPE);
	luaL_setfuncs(L, meta, 0);
	luaL_newlib(L, methods);
	lua_setfield(L, -2, "__index");
	lua_pop(L, 1);
}
