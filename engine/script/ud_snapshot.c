/* Snapshot and LabSnapshot: handles of paths. What they say and do of the host is recorded. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/lab/input.h"
#include "engine/script/args.h"
#include "engine/script/intake.h"
#include "engine/script/lab_tree.h"
#include "engine/script/saved_files.h"
#include "engine/script/script_internal.h"
#include "engine/script/snapshot.h"

/* The userdata is empty; its first user value is the path. */

static void push(lua_State *L, const char *type, const char *path)
{
	lua_newuserdatauv(L, 0, 1);
	lua_pushstring(L, path);
	lua_setiuservalue(L, -2, 1);
	luaL_setmetatable(L, type);
}

void pv_snapshot_push(lua_State *L, const char *path)
{
	push(L, PV_SNAPSHOT_TYPE, path);
}

void pv_lab_snapshot_push(lua_State *L, const char *path)
{
	push(L, PV_LAB_SNAPSHOT_TYPE, path);
}

static const char *path_of(lua_State *L, int idx, const char *type)
{
	const char *path;

	if (luaL_testudata(L, idx, type) == NULL)
		return NULL;
	lua_getiuservalue(L, idx, 1);
	path = lua_tostring(L, -1);
	lua_pop(L, 1);
	return path;
}

const char *pv_snapshot_handle_path(lua_State *L, int idx)
{
	return path_of(L, idx, PV_SNAPSHOT_TYPE);
}

const char *pv_lab_snapshot_handle_path(lua_State *L, int idx)
{
	return path_of(L, idx, PV_LAB_SNAPSHOT_TYPE);
}

/* Leaves the handle at 1 and its path, which is returned, at 2. */
static const char *check(lua_State *L, const char *what, const char *type)
{
	const char *path = path_of(L, 1, type);

	if (path == NULL)
		pv_raise(L, "%s: call it with a colon on a %s, got %s", what, type, luaL_typename(L, 1));
	pv_arg_end(L, 1, what);
	lua_settop(L, 1);
	return lua_pushstring(L, path);
}

static int snap_path(lua_State *L)
{
	check(L, "snap:path", PV_SNAPSHOT_TYPE);
	return 1;
}

static int lab_snap_path(lua_State *L)
{
	check(L, "lab_snap:path", PV_LAB_SNAPSHOT_TYPE);
	return 1;
}

/* ---- size ---- */

static void take_size(void *path, struct pv_intake *in)
{
	pv_intake_integer(in, (lua_Integer)pv_saved_file_size(path));
}

static int snap_size(lua_State *L)
{
	const char *path = check(L, "snap:size", PV_SNAPSHOT_TYPE);

	return pv_intake(L, "snap:size", 2, take_size, (void *)path);
}

static void take_dir_size(void *path, struct pv_intake *in)
{
	pv_intake_integer(in, (lua_Integer)pv_saved_dir_size(path));
}

static int lab_snap_size(lua_State *L)
{
	const char *path = check(L, "lab_snap:size", PV_LAB_SNAPSHOT_TYPE);

	return pv_intake(L, "lab_snap:size", 2, take_dir_size, (void *)path);
}

/* ---- delete ---- */

static void take_deletion(void *path, struct pv_intake *in)
{
	(void)unlink(path);
	pv_intake_boolean(in, true);
}

static int snap_delete(lua_State *L)
{
	const char *path = check(L, "snap:delete", PV_SNAPSHOT_TYPE);

	pv_intake(L, "snap:delete", 2, take_deletion, (void *)path);
	return 0;
}

static void take_dir_deletion(void *path, struct pv_intake *in)
{
	(void)pv_saved_remove_tree(path);
	pv_intake_boolean(in, true);
}

static int lab_snap_delete(lua_State *L)
{
	const char *path = check(L, "lab_snap:delete", PV_LAB_SNAPSHOT_TYPE);

	pv_intake(L, "lab_snap:delete", 2, take_dir_deletion, (void *)path);
	return 0;
}

/* ---- the types ---- */

static int snap_tostring(lua_State *L)
{
	const char *path = path_of(L, 1, PV_SNAPSHOT_TYPE);

	lua_pushfstring(L, "Snapshot %s", path != NULL ? path : "?");
	return 1;
}

static int lab_snap_tostring(lua_State *L)
{
	const char *path = path_of(L, 1, PV_LAB_SNAPSHOT_TYPE);

	lua_pushfstring(L, "LabSnapshot %s", path != NULL ? path : "?");
	return 1;
}

void pv_open_snapshot(lua_State *L)
{
	static const luaL_Reg snap[] = {
		{ "path", snap_path }, { "size", snap_size }, { "delete", snap_delete }, { NULL, NULL }
	};
	static const luaL_Reg lab_snap[] = {
		{ "path", lab_snap_path }, { "size", lab_snap_size }, { "delete", lab_snap_delete }, { NULL, NULL }
	};

	pv_new_type(L, PV_SNAPSHOT_TYPE, "snap", snap, snap_tostring);
	pv_new_type(L, PV_LAB_SNAPSHOT_TYPE, "lab_snap", lab_snap, lab_snap_tostring);
}

/* ---- the end of the file ---- */

void pv_script_remove_snapshots(struct pv_script *script)
{
	const char *run_dir = pv_engine_run_dir(script->engine);
	char *dir = NULL;

	if (run_dir == NULL || pv_engine_is_again(script->engine, script->file) ||
	    pv_saved_file_dir(run_dir, script->file, false, &dir, NULL) != PV_OK)
		return;
	(void)pv_saved_remove_tree(dir);
	free(dir);
	/* The last file takes the directory of all along. */
	dir = pv_xasprintf("%s/snapshots", run_dir);
	(void)rmdir(dir);
	free(dir);
}

/* ---- what a file says ---- */

struct look {
	struct pv_engine *engine;
	const char *path;
};

/* The name, the profile, and the packed options. */
static void take_facts(void *arg, struct pv_intake *in)
{
	const struct look *look = arg;
	struct pv_snapshot_facts facts;
	struct pv_errmsg msg;
	size_t len;
	uint8_t *spec;

	if (pv_engine_look_at_snapshot(look->engine, look->path, &facts, &msg) != PV_OK) {
		pv_intake_nil(in);
		pv_intake_string(in, msg.text, strlen(msg.text));
		return;
	}
	len = facts.spec != NULL ? pv__vm_spec__get_packed_size(facts.spec) : 0;
	spec = pv_xmalloc(len + 1);
	if (facts.spec != NULL)
		pv__vm_spec__pack(facts.spec, spec);
	pv_intake_string(in, facts.vm_name, strlen(facts.vm_name));
	pv_intake_string(in, facts.profile, strlen(facts.profile));
	pv_intake_string(in, (const char *)spec, len);
	free(spec);
	pv_snapshot_facts_free(&facts);
}

static int push_spec_unsafe(lua_State *L)
{
	pv_spec_push(L, lua_touserdata(L, 1), NULL);
	return 1;
}

/* Frees `spec`, also if Lua raises. */
static void push_spec(lua_State *L, Pv__VmSpec *spec)
{
	int status;

	lua_pushcfunction(L, push_spec_unsafe);
	lua_pushlightuserdata(L, spec);
	status = lua_pcall(L, 1, 1, 0);
	pv__vm_spec__free_unpacked(spec, NULL);
	if (status != LUA_OK)
		lua_error(L);
}

void pv_snapshot_push_facts(lua_State *L, const char *what, const char *path)
{
	struct look look = { .engine = pv_script_of(L)->engine, .path = path };
	Pv__VmSpec *spec;
	const char *bytes;
	size_t len;

	lua_pushstring(L, path);
	if (pv_intake(L, "snapshot", lua_gettop(L), take_facts, &look) < 3)
		pv_raise(L, "%s: %s", what, lua_tostring(L, -1));
	bytes = lua_tolstring(L, -1, &len);
	spec = pv__vm_spec__unpack(NULL, len, (const uint8_t *)bytes);
	if (spec == NULL)
		pv_raise(L, "%s: %s: the options in the snapshot are damaged", what, path);
	push_spec(L, spec);
	lua_replace(L, -2);
	lua_remove(L, -4);
}
