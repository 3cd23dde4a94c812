/* loadfile, dofile, require: the text that they load is recorded, so that a script that is executed again gets it wherever that is. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <lualib.h>

#include "engine/script/host_file.h"
#include "engine/script/intake.h"
#include "engine/script/saw.h"
#include "engine/script/script_internal.h"
#include "engine/script/source.h"

/* ---- reading one file ---- */

/* The content; or nil and why not. NULL: standard input. */
static void take_content(void *arg, struct pv_intake *in)
{
	const char *path = arg;
	struct pv_buf content = { 0 };
	bool opened = true;
	int error = path != NULL ? pv_read_file(path, &content, &opened) : pv_read_stream(stdin, &content);

	if (error == 0) {
		pv_intake_string(in, pv_buf_str(&content), content.len);
	} else {
		char *text = pv_xasprintf("cannot %s %s: %s", opened ? "read" : "open", path != NULL ? path : "stdin",
		                          strerror(error));

		pv_intake_nil(in);
		pv_intake_string(in, text, strlen(text));
		free(text);
	}
	pv_buf_free(&content);
}

/* Takes the file `path` in and pushes it as a function, or the reason why not; a status as of lua_load(). */
static int load_file(lua_State *L, const char *name, const char *path, const char *mode)
{
	const char *text;
	size_t len;
	int status;

	luaL_checkstack(L, 6, NULL);
	lua_pushfstring(L, path != NULL ? "@%s" : "=stdin", path);
	if (path != NULL)
		lua_pushstring(L, path);
	else
		lua_pushnil(L);
	if (path != NULL)
		pv_script_saw(pv_script_of(L), PV_SAW_SCRIPT, path, path);
	if (pv_intake(L, name, lua_gettop(L), take_content, (void *)path) > 1) {
		lua_insert(L, -4);
		lua_pop(L, 3);
		return LUA_ERRFILE;
	}
	text = lua_tolstring(L, -1, &len);
	status = pv_source_load(L, text, len, lua_tostring(L, -3), mode);
	lua_insert(L, -4);
	lua_pop(L, 3);
	return status;
}

static int base_loadfile(lua_State *L)
{
	const char *path = luaL_optstring(L, 1, NULL), *mode = luaL_optstring(L, 2, NULL);
	bool has_env = !lua_isnone(L, 3);

	lua_settop(L, 3);
	if (load_file(L, "loadfile", path, mode) != LUA_OK) {
		lua_pushnil(L);
		lua_insert(L, -2);
		return 2;
	}
	if (has_env) {
		lua_pushvalue(L, 3);
		if (lua_setupvalue(L, -2, 1) == NULL)
			lua_pop(L, 1);
	}
	return 1;
}

static int file_done(lua_State *L, int status, lua_KContext ctx)
{
	(void)status;
	(void)ctx;
	return lua_gettop(L) - 1;
}

static int base_dofile(lua_State *L)
{
	const char *path = luaL_optstring(L, 1, NULL);

	lua_settop(L, 1);
	if (load_file(L, "dofile", path, NULL) != LUA_OK)
		return lua_error(L);
	lua_callk(L, 0, LUA_MULTRET, 0, file_done);
	return file_done(L, LUA_OK, 0);
}

/* ---- searching ---- */

struct search {
	const char *name; /* the separator replaced */
	const char *path;
	bool content; /* wanted as well */
};

/* A template of the path with the name in it; moves *at on. False at the end. */
static bool next_candidate(const struct search *search, const char **at, struct pv_buf *out)
{
	pv_buf_clear(out);
	while (**at == ';')
		++*at;
	if (**at == '\0')
		return false;
	for (; **at != '\0' && **at != ';'; ++*at) {
		if (**at == '?')
			pv_buf_addstr(out, search->name);
		else
			pv_buf_add(out, *at, 1);
	}
	return true;
}

/* The path, and the content if it is wanted; or nil and where it was looked for. */
static void take_search(void *arg, struct pv_intake *in)
{
	const struct search *search = arg;
	const char *at = search->path;
	struct pv_buf candidate = { 0 }, tried = { 0 }, content = { 0 };
	bool opened = false;

	while (!opened && next_candidate(search, &at, &candidate)) {
		int error = pv_read_file(pv_buf_str(&candidate), &content, &opened);

		if (opened && search->content && error != 0) {
			pv_buf_clear(&tried);
			pv_intake_string(in, pv_buf_str(&candidate), candidate.len);
			pv_intake_nil(in);
			pv_buf_addf(&tried, "cannot read %s: %s", pv_buf_str(&candidate), strerror(error));
			pv_intake_string(in, pv_buf_str(&tried), tried.len);
		} else if (opened) {
			pv_intake_string(in, pv_buf_str(&candidate), candidate.len);
			if (search->content)
				pv_intake_string(in, pv_buf_str(&content), content.len);
		} else {
			pv_buf_addf(&tried, "%sno file '%s'", tried.len > 0 ? "\n\t" : "", pv_buf_str(&candidate));
		}
	}
	if (!opened) {
		pv_intake_nil(in);
		pv_intake_string(in, pv_buf_str(&tried), tried.len);
	}
	pv_buf_free(&candidate);
	pv_buf_free(&tried);
	pv_buf_free(&content);
}

/* Pushes the name with its separators replaced. */
static const char *push_name(lua_State *L, const char *name, const char *separator, const char *replacement)
{
	if (*separator != '\0' && strchr(name, *separator) != NULL)
		return luaL_gsub(L, name, separator, replacement);
	return lua_pushstring(L, name);
}

static int package_searchpath(lua_State *L)
{
	struct search search = { .path = luaL_checkstring(L, 2) };

	search.name = push_name(L, luaL_checkstring(L, 1), luaL_optstring(L, 3, "."), luaL_optstring(L, 4, LUA_DIRSEP));
	lua_replace(L, 1);
	lua_settop(L, 2);
	return pv_intake(L, "package.searchpath", 1, take_search, &search);
}

_Noreturn static void raise_module(lua_State *L, const char *name, const char *path, const char *reason)
{
	luaL_error(L, "error loading module '%s' from file '%s':\n\t%s", name, path, reason);
	__builtin_unreachable();
}

/* The searcher for Lua files: the loader and the path, or why there is none. */
static int search_lua(lua_State *L)
{
	struct search search = { .content = true };
	const char *name = luaL_checkstring(L, 1), *path, *text;
	size_t len;
	int n;

	lua_settop(L, 1);
	lua_getfield(L, lua_upvalueindex(1), "path");
	search.path = lua_tostring(L, 2);
	if (search.path == NULL)
		return luaL_error(L, "'package.path' must be a string");
	search.name = push_name(L, name, ".", LUA_DIRSEP);
	lua_insert(L, 2);
	/* name, name as part of a path, path */
	n = pv_intake(L, "require", 2, take_search, &search);
	path = lua_tostring(L, 4);
	if (path == NULL)
		return 1;
	pv_script_saw(pv_script_of(L), PV_SAW_MODULE, name, path);
	if (n > 2)
		raise_module(L, name, path, lua_tostring(L, 6));
	text = lua_tolstring(L, 5, &len);
	lua_pushfstring(L, "@%s", path);
	if (pv_source_load(L, text, len, lua_tostring(L, -1), NULL) != LUA_OK)
		raise_module(L, name, path, lua_tostring(L, -1));
	lua_pushvalue(L, 4);
	return 2;
}

void pv_open_load(lua_State *L)
{
	lua_register(L, "loadfile", base_loadfile);
	lua_register(L, "dofile", base_dofile);
	lua_getglobal(L, LUA_LOADLIBNAME);
	lua_pushcfunction(L, package_searchpath);
	lua_setfield(L, -2, "searchpath");
	lua_getfield(L, -1, "searchers");
	lua_pushvalue(L, -2);
	lua_pushcclosure(L, search_lua, 1);
	lua_rawseti(L, -2, 2);
	lua_pop(L, 2);
}
