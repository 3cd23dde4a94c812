/* The io library. */
#include <string.h>

#include <lualib.h>

#include "engine/script/command.h"
#include "engine/script/iofile.h"
#include "engine/script/script_internal.h"

/* The default files, in the registry. */
static char input_key, output_key;

/* ---- lines ---- */

/* Upvalues: the file, whether it is closed at its end, the number of formats, the formats. The `n` values on top were read. */
static int finish_line(lua_State *L, int n)
{
	struct pv_iofile *file = lua_touserdata(L, lua_upvalueindex(1));

	if (lua_toboolean(L, -n))
		return n;
	if (n > 1)
		return luaL_error(L, "%s", lua_tostring(L, -n + 1));
	if (lua_toboolean(L, lua_upvalueindex(2))) {
		lua_settop(L, 0);
		lua_pushvalue(L, lua_upvalueindex(1));
		pv_iofile_close(L, file);
	}
	return 0;
}

/* Reading from a command may wait, and then does not return to its caller. */
static int read_waiting(lua_State *L)
{
	return pv_iofile_read(L, pv_iofile_check(L, 1), 2);
}

static int line_came(lua_State *L, int status, lua_KContext ctx)
{
	(void)status;
	(void)ctx;
	return finish_line(L, lua_gettop(L));
}

static int next_line(lua_State *L)
{
	struct pv_iofile *file = lua_touserdata(L, lua_upvalueindex(1));
	int n = (int)lua_tointeger(L, lua_upvalueindex(3));

	if (file->closed)
		return luaL_error(L, "file is already closed");
	lua_settop(L, 0);
	luaL_checkstack(L, n + 4, "too many arguments");
	if (file->kind == PV_IOFILE_COMMAND)
		lua_pushcfunction(L, read_waiting);
	lua_pushvalue(L, lua_upvalueindex(1));
	for (int i = 1; i <= n; i++)
		lua_pushvalue(L, lua_upvalueindex(3 + i));
	if (file->kind != PV_IOFILE_COMMAND)
		return finish_line(L, pv_iofile_read(L, file, 2));
	lua_callk(L, n + 1, LUA_MULTRET, 0, line_came);
	return line_came(L, LUA_OK, 0);
}

void pv_lines_push(lua_State *L, bool close_at_end)
{
	int n = lua_gettop(L) - 1;

	luaL_argcheck(L, n <= PV_FORMATS_MAX, PV_FORMATS_MAX + 2, "too many arguments");
	lua_pushvalue(L, 1);
	lua_insert(L, 2);
	lua_pushboolean(L, close_at_end);
	lua_insert(L, 3);
	lua_pushinteger(L, n);
	lua_insert(L, 4);
	lua_pushcclosure(L, next_line, 3 + n);
}

/* ---- default files ---- */

static struct pv_iofile *push_default(lua_State *L, const char *key)
{
	struct pv_iofile *file;

	lua_rawgetp(L, LUA_REGISTRYINDEX, key);
	file = lua_touserdata(L, -1);
	if (file->closed)
		luaL_error(L, "default %s file is closed", key == &input_key ? "input" : "output");
	return file;
}

/* Pushes the handle of the file, or raises. */
static void open_or_raise(lua_State *L, const char *path, const char *mode)
{
	const char *text;

	if (pv_iofile_open(L, path, mode) == 1)
		return;
	/* "path: reason" */
	text = lua_tostring(L, -2);
	luaL_error(L, "cannot open file '%s' (%s)", path,
	           strncmp(text, path, strlen(path)) == 0 ? text + strlen(path) + 2 : text);
}

static int set_default(lua_State *L, const char *key, const char *mode)
{
	if (!lua_isnoneornil(L, 1)) {
		const char *path = lua_tostring(L, 1);

		lua_settop(L, 1);
		if (path != NULL)
			open_or_raise(L, path, mode);
		else
			pv_iofile_check(L, 1);
		lua_rawsetp(L, LUA_REGISTRYINDEX, key);
	}
	lua_rawgetp(L, LUA_REGISTRYINDEX, key);
	return 1;
}

static int io_input(lua_State *L)
{
	return set_default(L, &input_key, "r");
}

static int io_output(lua_State *L)
{
	return set_default(L, &output_key, "w");
}

static int io_read(lua_State *L)
{
	struct pv_iofile *file = push_default(L, &input_key);

	lua_insert(L, 1);
	return pv_iofile_read(L, file, 2);
}

static int io_write(lua_State *L)
{
	struct pv_iofile *file = push_default(L, &output_key);

	lua_insert(L, 1);
	return pv_iofile_write(L, file, 1, 2);
}

static int io_flush(lua_State *L)
{
	struct pv_iofile *file = push_default(L, &output_key);

	lua_replace(L, 1);
	lua_settop(L, 1);
	return pv_iofile_flush(L, file);
}

static int io_close(lua_State *L)
{
	struct pv_iofile *file;

	if (lua_isnone(L, 1))
		lua_rawgetp(L, LUA_REGISTRYINDEX, &output_key);
	lua_settop(L, 1);
	file = pv_iofile_check(L, 1);
	return pv_iofile_close(L, file);
}

/* ---- the rest ---- */

static bool is_mode(const char *mode)
{
	if (*mode == '\0' || strchr("rwa", *mode++) == NULL)
		return false;
	mode += *mode == '+';
	mode += *mode == 'b';
	return *mode == '\0';
}

static int io_open(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1), *mode = luaL_optstring(L, 2, "r");

	luaL_argcheck(L, is_mode(mode), 2, "invalid mode");
	lua_settop(L, 2);
	return pv_iofile_open(L, path, mode);
}

static int io_tmpfile(lua_State *L)
{
	lua_settop(L, 0);
	return pv_iofile_open_temporary(L);
}

static int io_lines(lua_State *L)
{
	bool opened = !lua_isnoneornil(L, 1);
	int top;

	if (lua_isnone(L, 1))
		lua_pushnil(L);
	top = lua_gettop(L);
	if (opened)
		open_or_raise(L, luaL_checkstring(L, 1), "r");
	else
		push_default(L, &input_key);
	lua_replace(L, 1);
	lua_settop(L, top);
	pv_lines_push(L, opened);
	if (!opened)
		return 1;
	lua_pushnil(L);
	lua_pushnil(L);
	lua_pushvalue(L, 1); /* the file is closed however the loop ends */
	return 4;
}

static int io_type(lua_State *L)
{
	const struct pv_iofile *file;

	luaL_checkany(L, 1);
	file = luaL_testudata(L, 1, PV_IOFILE_TYPE);
	if (file == NULL)
		lua_pushnil(L);
	else
		lua_pushstring(L, file->closed ? "closed file" : "file");
	return 1;
}

static void add_standard(lua_State *L, const char *name, enum pv_iofile_kind kind, FILE *stream, const char *key)
{
	struct pv_iofile *file = pv_iofile_push(L, kind);

	file->stream = stream;
	if (key != NULL) {
		lua_pushvalue(L, -1);
		lua_rawsetp(L, LUA_REGISTRYINDEX, key);
	}
	lua_setfield(L, -2, name);
}

void pv_open_io(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{ "open", io_open },   { "close", io_close },     { "read", io_read },      { "write", io_write },
		{ "lines", io_lines }, { "input", io_input },     { "output", io_output },  { "flush", io_flush },
		{ "type", io_type },   { "tmpfile", io_tmpfile }, { "popen", pv_io_popen }, { NULL, NULL },
	};
	FILE *out = pv_script_of(L)->output_to_stderr ? stderr : stdout;

	luaL_newlib(L, functions);
	add_standard(L, "stdin", PV_IOFILE_INPUT, stdin, &input_key);
	add_standard(L, "stdout", PV_IOFILE_OUTPUT, out, &output_key);
	add_standard(L, "stderr", PV_IOFILE_OUTPUT, stderr, NULL);
	lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
	lua_pushvalue(L, -2);
	lua_setfield(L, -2, LUA_IOLIBNAME);
	lua_pop(L, 1);
	lua_setglobal(L, LUA_IOLIBNAME);
}
