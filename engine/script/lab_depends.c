/* lab:depends_on_file(path): for the key of fixtures; at run time only a look whether the file is there. */
#include <errno.h>
#include <sys/stat.h>

#include "engine/script/args.h"
#include "engine/script/handles.h"
#include "engine/script/host_path.h"
#include "engine/script/intake.h"
#include "engine/script/lab_methods.h"
#include "engine/script/saw.h"
#include "engine/script/script_internal.h"
#include "engine/script/site.h"

static void take_look(void *path, struct pv_intake *in)
{
	struct stat st;
	bool there = stat(path, &st) == 0;

	pv_intake_done(in, there, NULL, errno);
}

static int lab_depends_on_file(lua_State *L)
{
	struct pv_site site = { .source = "?", .line = 0 };
	const char *given, *path;

	pv_task_current(L, "lab:depends_on_file");
	pv_check_lab_id(L, 1, "lab:depends_on_file");
	given = pv_arg_text(L, 2, "lab:depends_on_file: path");
	if (*given == '\0')
		pv_raise(L, "lab:depends_on_file: path: must not be empty");
	pv_arg_end(L, 2, "lab:depends_on_file");
	lua_settop(L, 2);
	path = pv_host_path_push(L, given);
	pv_script_saw(pv_script_of(L), PV_SAW_FILE, given, path);
	if (pv_intake(L, "lab:depends_on_file", 3, take_look, (void *)path) == 1)
		return 0;
	given = lua_tostring(L, -2);
	pv_site_find(L, &site);
	pv_engine_notice(pv_script_of(L)->engine, "%s:%d: lab:depends_on_file: %s: %s", site.source, site.line, path,
	                 given);
	return 0;
}

const luaL_Reg pv_lab_depends_methods[] = {
	{ "depends_on_file", lab_depends_on_file },
	{ NULL, NULL },
};
