#include "engine/script/host_path.h"

#include <string.h>

#include "engine/script/script_internal.h"
#include "engine/script/site.h"

/* The file that holds the call, by a path that the process can open. A text given to load() has none: then the script's own. */
static const char *file_of_call(lua_State *L)
{
	const struct pv_script *script = pv_script_of(L);
	struct pv_site site;

	if (!pv_site_find(L, &site) || strcmp(site.source, script->shown_path) == 0 || *site.source == '[' ||
	    strchr(site.source, '\n') != NULL)
		return script->path;
	return site.source;
}

const char *pv_host_path_push(lua_State *L, const char *path)
{
	const char *file = file_of_call(L);
	const char *slash = strrchr(file, '/');

	if (*path == '/' || slash == NULL)
		return lua_pushstring(L, path);
	lua_pushlstring(L, file, (size_t)(slash - file) + 1);
	lua_pushstring(L, path);
	lua_concat(L, 2);
	return lua_tostring(L, -1);
}
