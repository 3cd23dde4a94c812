/* lab:snapshot: all VMs of a lab at one moment.
 *
 * Single calls, each in the journal, in this order: every VM that runs is paused; each that is up is saved; lab.json is written and the directory gets
 * its name; every VM that this has paused runs on, also after a failure. So a runner that dies in between is gone on with at the call it was in. */
#include <stdlib.h>
#include <string.h>

#include "engine/core/disks.h"
#include "engine/script/args.h"
#include "engine/script/call.h"
#include "engine/script/handles.h"
#include "engine/script/host_path.h"
#include "engine/script/intake.h"
#include "engine/script/json.h"
#include "engine/script/lab_methods.h"
#include "engine/script/lab_tree.h"
#include "engine/script/saved_bridges.h"
#include "engine/script/saved_files.h"
#include "engine/script/script_internal.h"
#include "engine/script/snapshot.h"
#include "engine/script/unsettled.h"

#define FORMAT 1 /* of lab.json */

#define BOOTED PV__VM_STATE__VM_STATE_BOOTED
#define PAUSED PV__VM_STATE__VM_STATE_PAUSED

struct saved_vm {
	uint32_t id;
	bool up;
	bool runs;   /* booted when it began: is to be paused, and to run on */
	bool paused; /* by this */
};

enum { USER_TEMPORARY = 1, USER_DIR, USER_JSON, USER_FILES, USER_ERROR, USER_COUNT = USER_ERROR };

/* A userdata; every wait lies right above it. */
struct save {
	const char *what;
	pv_snapshot_then *then;
	int at; /* its index */
	size_t n;
	struct saved_vm vms[];
};

static struct save *save_of(lua_State *L)
{
	return lua_touserdata(L, -2);
}

static const char *user_text(lua_State *L, const struct save *save, int which)
{
	const char *text;

	lua_getiuservalue(L, save->at, which);
	text = lua_tostring(L, -1);
	lua_pop(L, 1);
	return text;
}

/* ---- what goes wrong ---- */

/* Adds the message on top of the stack, and pops it. */
static void add_error(lua_State *L, const struct save *save)
{
	const char *before = user_text(L, save, USER_ERROR);

	if (before != NULL) {
		lua_pushfstring(L, "%s; %s", before, lua_tostring(L, -1));
		lua_remove(L, -2);
	}
	lua_setiuservalue(L, save->at, USER_ERROR);
}

/* The failures of the calls that have ended. True if there are none. */
static bool check_calls(lua_State *L, const struct save *save, const struct pv_calls *calls)
{
	const struct pv_state *state = pv_engine_state(calls->engine);
	bool fine = true;

	for (size_t i = 0; i < calls->n; i++) {
		struct pv_vm_view vm;

		if (calls->slots[i].error == NULL)
			continue;
		fine = false;
		lua_pushfstring(L, "%s: %s", pv_state_vm(state, calls->slots[i].vm, &vm) ? vm.name : "(gone)",
		                calls->slots[i].error);
		add_error(L, save);
	}
	return fine;
}

/* ---- lab.json ---- */

static void push_empty_array(lua_State *L)
{
	lua_newtable(L);
	luaL_setmetatable(L, PV_JSON_ARRAY_TYPE);
}

static void append(lua_State *L, int array)
{
	array = lua_absindex(L, array);
	lua_rawseti(L, array, (lua_Integer)lua_rawlen(L, array) + 1);
}

/* Pushes a name for the VM's file that is not in the set at `used` yet: "a.snap", "dc1.a.snap", "a-2.snap". */
static void push_file_name(lua_State *L, int used, const char *lab, const char *vm)
{
	used = lua_absindex(L, used);
	luaL_gsub(L, lab, "/", ".");
	lua_pushfstring(L, "%s%s%s", lua_tostring(L, -1), *lab != '\0' ? "." : "", vm);
	for (int n = 1;; n++) {
		if (n == 1)
			lua_pushfstring(L, "%s.snap", lua_tostring(L, -1));
		else
			lua_pushfstring(L, "%s-%d.snap", lua_tostring(L, -1), n);
		lua_pushvalue(L, -1);
		if (lua_rawget(L, used) == LUA_TNIL)
			break;
		lua_pop(L, 2);
	}
	lua_pop(L, 1);
	lua_pushvalue(L, -1);
	lua_pushboolean(L, 1);
	lua_rawset(L, used);
	lua_replace(L, -3);
	lua_pop(L, 1);
}

/* Of a VM that is down, as entries of the boot option: what has been written to private ones stays behind. The options are on top. */
static void add_disks(lua_State *L, uint32_t vm)
{
	size_t n;
	Pv__Disk *const *disks = pv_state_disks(pv_engine_state(pv_script_of(L)->engine), vm, &n);

	if (n == 0)
		return;
	lua_createtable(L, (int)n, 0);
	for (size_t i = 0; i < n; i++) {
		const Pv__Disk *disk = disks[i];
		bool file = disk->backing == PV__DISK_BACKING__DISK_BACKING_IMAGE ||
		            disk->backing == PV__DISK_BACKING__DISK_BACKING_TEMPLATE;

		lua_createtable(L, 0, 3);
		lua_pushstring(L, disk->id);
		lua_setfield(L, -2, "id");
		if (file)
			lua_pushlstring(L, (const char *)disk->path.data, disk->path.len);
		else
			lua_pushinteger(L, (lua_Integer)disk->size);
		lua_setfield(L, -2, file ? pv_disk_backing_name(disk->backing) : "scratch");
		lua_pushboolean(L, disk->mediated);
		lua_setfield(L, -2, "mediated");
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	lua_setfield(L, -2, "disks");
}

static void push_vm(lua_State *L, const struct pv_vm_view *vm, bool up, const char *lab, int used)
{
	lua_createtable(L, 0, 6);
	lua_pushstring(L, lab);
	lua_setfield(L, -2, "lab");
	lua_pushstring(L, vm->name);
	lua_setfield(L, -2, "name");
	lua_pushstring(L, vm->profile);
	lua_setfield(L, -2, "profile");
	lua_pushstring(L, pv_vm_state_name(vm->state));
	lua_setfield(L, -2, "state");
	pv_spec_push(L, vm->spec, vm->last_spec);
	if (!up)
		add_disks(L, vm->id);
	lua_setfield(L, -2, "opts");
	if (!up)
		return;
	push_file_name(L, used, lab, vm->name);
	lua_setfield(L, -2, "file");
}

struct index {
	const struct pv_state *state;
	const struct pv_buf *labs;
	int paths; /* indexes of tables on the stack */
	int vms;
	int bridges;
	int sub_labs;
	int files; /* the names of the VMs' files, by VM; false for a VM that is down */
	int used;
};

static void index_vms(lua_State *L, const struct index *in, struct save *save, struct pv_buf *ids,
                      const struct pv_lab_view *lab, const char *path)
{
	struct pv_vm_view vm;

	for (size_t i = 0; i < lab->n_vms; i++) {
		size_t at = pv_ids_find(ids, lab->vms[i]);

		if (!pv_state_vm(in->state, lab->vms[i], &vm))
			continue;
		if (at < pv_ids_count(ids)) { /* in another lab as well */
			lua_rawgeti(L, in->vms, (lua_Integer)at + 1);
			if (lua_getfield(L, -1, "also_in") == LUA_TNIL) {
				lua_pop(L, 1);
				push_empty_array(L);
				lua_pushvalue(L, -1);
				lua_setfield(L, -3, "also_in");
			}
			lua_pushstring(L, path);
			append(L, -2);
			lua_pop(L, 2);
			continue;
		}
		pv_buf_add(ids, &vm.id, sizeof(vm.id));
		save->vms[at] = (struct saved_vm){ .id = vm.id,
			                           .up = vm.state == BOOTED || vm.state == PAUSED,
			                           .runs = vm.state == BOOTED };
		push_vm(L, &vm, save->vms[at].up, path, in->used);
		if (lua_getfield(L, -1, "file") == LUA_TNIL) {
			lua_pop(L, 1);
			lua_pushboolean(L, 0);
		}
		append(L, in->files);
		append(L, in->vms);
	}
}

static void index_bridges(lua_State *L, const struct index *in, const struct pv_lab_view *lab, const char *path)
{
	struct pv_bridge_view bridge;

	for (size_t i = 0; i < lab->n_bridges; i++) {
		if (!pv_state_bridge(in->state, lab->bridges[i], &bridge))
			continue;
		lua_createtable(L, 0, 4);
		lua_pushstring(L, path);
		lua_setfield(L, -2, "lab");
		lua_pushstring(L, bridge.name);
		lua_setfield(L, -2, "name");
		pv_saved_bridge_push(L, in->state, bridge.id);
		lua_setfield(L, -2, "settings");
		append(L, in->bridges);
	}
}

/* Pushes the text of lab.json, and fills in the VMs of `save` and the names of their files. */
static void push_index(lua_State *L, struct save *save, const struct pv_buf *labs, int paths)
{
	struct index in = { .state = pv_engine_state(pv_script_of(L)->engine), .labs = labs, .paths = paths };
	struct pv_buf *ids = pv_buf_push(L);
	struct pv_lab_view lab;

	luaL_checkstack(L, 16, NULL);
	push_empty_array(L);
	in.vms = lua_gettop(L);
	push_empty_array(L);
	in.bridges = lua_gettop(L);
	push_empty_array(L);
	in.sub_labs = lua_gettop(L);
	lua_newtable(L);
	in.files = lua_gettop(L);
	lua_newtable(L);
	in.used = lua_gettop(L);
	for (size_t i = 0; i < pv_ids_count(labs); i++) {
		const char *path;

		if (!pv_state_lab(in.state, pv_ids_at(labs, i), &lab))
			continue;
		lua_rawgeti(L, paths, (lua_Integer)i + 1);
		path = lua_tostring(L, -1);
		index_vms(L, &in, save, ids, &lab, path);
		index_bridges(L, &in, &lab, path);
		if (i > 0) {
			lua_pushvalue(L, -1);
			append(L, in.sub_labs);
		}
		lua_pop(L, 1);
	}
	lua_pushvalue(L, in.files);
	lua_setiuservalue(L, save->at, USER_FILES);
	lua_pushcfunction(L, pv_json_encode);
	lua_createtable(L, 0, 4);
	lua_pushinteger(L, FORMAT);
	lua_setfield(L, -2, "format");
	lua_pushvalue(L, in.vms);
	lua_setfield(L, -2, "vms");
	lua_pushvalue(L, in.bridges);
	lua_setfield(L, -2, "bridges");
	lua_pushvalue(L, in.sub_labs);
	lua_setfield(L, -2, "sub_labs");
	lua_call(L, 1, 1);
}

/* ---- the end ---- */

static void take_removal(void *dir, struct pv_intake *in)
{
	(void)pv_saved_remove_tree(dir);
	pv_intake_boolean(in, true);
}

static int finish(lua_State *L, struct save *save)
{
	pv_snapshot_then *then = save->then;
	const char *error = user_text(L, save, USER_ERROR);

	lua_settop(L, save->at);
	for (size_t i = 0; i < save->n; i++)
		pv_unsettled_remove(pv_script_of(L), save->vms[i].id);
	pv_unsettled_remove_dir(pv_script_of(L), user_text(L, save, USER_TEMPORARY));
	if (error != NULL) {
		lua_getiuservalue(L, save->at, USER_TEMPORARY);
		pv_intake(L, "lab:snapshot.undo", lua_gettop(L), take_removal, (void *)lua_tostring(L, -1));
		pv_raise(L, "%s: %s", save->what, error);
	}
	lua_getiuservalue(L, save->at, USER_DIR);
	lua_replace(L, save->at);
	return then(L);
}

/* ---- 4: those that ran run on ---- */

static int after_resume(lua_State *L, struct pv_wait *wait)
{
	struct save *save = save_of(L);

	(void)check_calls(L, save, (struct pv_calls *)wait);
	return finish(L, save);
}

static int resume(lua_State *L, struct save *save)
{
	struct pv_calls *calls;
	size_t n = 0, at = 0;

	for (size_t i = 0; i < save->n; i++)
		n += save->vms[i].paused;
	lua_settop(L, save->at);
	calls = pv_calls_push(L, save->what, n, after_resume);
	for (size_t i = 0; i < save->n; i++) {
		Pv__CallStarted started = PV__CALL_STARTED__INIT;
		Pv__ResumeCall call = PV__RESUME_CALL__INIT;

		if (!save->vms[i].paused)
			continue;
		started.op_case = PV__CALL_STARTED__OP_RESUME;
		started.resume = &call;
		(void)!pv_calls_start(L, calls, at++, save->vms[i].id, &started);
	}
	return pv_calls_await(L, calls);
}

/* ---- 3: the directory gets its name ---- */

struct installing {
	const char *temporary, *dir, *json;
	size_t len;
};

static void take_installation(void *arg, struct pv_intake *in)
{
	const struct installing *what = arg;
	struct pv_errmsg msg;

	if (pv_saved_install(what->temporary, what->dir, what->json, what->len, &msg) == PV_OK) {
		pv_intake_boolean(in, true);
		return;
	}
	pv_intake_nil(in);
	pv_intake_string(in, msg.text, strlen(msg.text));
}

static void install(lua_State *L, struct save *save)
{
	struct installing what;

	lua_settop(L, save->at);
	lua_getiuservalue(L, save->at, USER_TEMPORARY);
	what.temporary = lua_tostring(L, -1);
	lua_getiuservalue(L, save->at, USER_DIR);
	what.dir = lua_tostring(L, -1);
	lua_getiuservalue(L, save->at, USER_JSON);
	what.json = lua_tolstring(L, -1, &what.len);
	if (pv_intake(L, "lab:snapshot.install", save->at + 1, take_installation, &what) > 1)
		add_error(L, save);
}

/* ---- 2: each is saved ---- */

static int after_saving(lua_State *L, struct pv_wait *wait)
{
	struct save *save = save_of(L);

	if (check_calls(L, save, (struct pv_calls *)wait))
		install(L, save);
	return resume(L, save);
}

static void start_saving(lua_State *L, struct save *save, struct pv_calls *calls, size_t at, size_t vm)
{
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__SnapshotCall call = PV__SNAPSHOT_CALL__INIT;
	const char *path;
	size_t len;

	lua_getiuservalue(L, save->at, USER_FILES);
	lua_rawgeti(L, -1, (lua_Integer)vm + 1);
	lua_pushfstring(L, "%s/%s", user_text(L, save, USER_TEMPORARY), lua_tostring(L, -1));
	path = lua_tolstring(L, -1, &len);
	call.has_path = call.has_paused = 1;
	call.path = (ProtobufCBinaryData){ .data = (uint8_t *)path, .len = len };
	call.paused = 1;
	started.op_case = PV__CALL_STARTED__OP_SNAPSHOT;
	started.snapshot = &call;
	(void)!pv_calls_start(L, calls, at, save->vms[vm].id, &started);
	lua_pop(L, 3);
}

static int save_all(lua_State *L, struct save *save)
{
	struct pv_calls *calls;
	size_t n = 0, at = 0;

	for (size_t i = 0; i < save->n; i++)
		n += save->vms[i].up;
	lua_settop(L, save->at);
	calls = pv_calls_push(L, save->what, n, after_saving);
	for (size_t i = 0; i < save->n; i++)
		if (save->vms[i].up)
			start_saving(L, save, calls, at++, i);
	return pv_calls_await(L, calls);
}

/* ---- 1: all stand still ---- */

static int after_pause(lua_State *L, struct pv_wait *wait)
{
	struct save *save = save_of(L);
	struct pv_calls *calls = (struct pv_calls *)wait;
	size_t at = 0;

	for (size_t i = 0; i < save->n; i++)
		if (save->vms[i].runs)
			save->vms[i].paused = calls->slots[at++].error == NULL;
	return check_calls(L, save, calls) ? save_all(L, save) : resume(L, save);
}

static int pause_all(lua_State *L, struct save *save)
{
	struct pv_calls *calls;
	size_t n = 0, at = 0;

	for (size_t i = 0; i < save->n; i++)
		n += save->vms[i].runs;
	lua_settop(L, save->at);
	calls = pv_calls_push(L, save->what, n, after_pause);
	for (size_t i = 0; i < save->n; i++) {
		Pv__CallStarted started = PV__CALL_STARTED__INIT;
		Pv__PauseCall call = PV__PAUSE_CALL__INIT;

		if (!save->vms[i].runs)
			continue;
		pv_unsettled_add(pv_script_of(L), save->vms[i].id, false);
		started.op_case = PV__CALL_STARTED__OP_PAUSE;
		started.pause = &call;
		(void)!pv_calls_start(L, calls, at++, save->vms[i].id, &started);
	}
	return pv_calls_await(L, calls);
}

/* ---- 0: what is checked before anything happens ---- */

static void check_culprits(lua_State *L, const struct pv_buf *vms)
{
	const struct pv_state *state = pv_engine_state(pv_script_of(L)->engine);
	struct pv_buf *text = pv_buf_push(L);
	struct pv_culprits culprits = { .streams = false };

	for (size_t i = 0; i < pv_ids_count(vms); i++)
		pv_state_culprits(state, pv_ids_at(vms, i), true, &culprits);
	*text = culprits.lines;
	if (culprits.streams || culprits.calls)
		pv_raise(L, "lab:snapshot() refused: %s%s", pv_culprits_word(&culprits), pv_buf_str(text));
	lua_pop(L, 1);
}

struct place {
	struct pv_script *script;
	const char *dir; /* NULL: of the run */
};

static enum pv_err find_place(const struct place *place, char **dir, struct pv_errmsg *msg)
{
	const char *run_dir = pv_engine_run_dir(place->script->engine);
	char *parent, *path;
	enum pv_err err;

	if (place->dir != NULL) {
		*dir = pv_saved_absolute(place->dir);
		return *dir != NULL ? PV_OK : pv_err_set(msg, PV_ERR_IO, "the working directory is gone");
	}
	if (run_dir == NULL)
		return pv_err_set(msg, PV_ERR_NOENT,
		                  "there is no directory of a run for a temporary snapshot: give a directory");
	err = pv_saved_file_dir(run_dir, place->script->file, true, &parent, msg);
	if (err != PV_OK)
		return err;
	path = pv_xasprintf("%s/%llu.lab", parent, (unsigned long long)place->script->n_snapshots);
	*dir = pv_saved_absolute(path);
	free(path);
	free(parent);
	return *dir != NULL ? PV_OK : pv_err_set(msg, PV_ERR_IO, "the working directory is gone");
}

/* The directory, and the temporary one. */
static void take_place(void *arg, struct pv_intake *in)
{
	char *dir = NULL, *temporary = NULL;
	struct pv_errmsg msg;
	enum pv_err err = find_place(arg, &dir, &msg);

	for (size_t len = dir != NULL ? strlen(dir) : 0; len > 1 && dir[len - 1] == '/'; len--)
		dir[len - 1] = '\0';
	if (err == PV_OK)
		err = pv_saved_check_target(dir, &msg);
	if (err == PV_OK)
		err = pv_saved_make_temporary(dir, &temporary, &msg);
	if (err == PV_OK) {
		pv_intake_string(in, dir, strlen(dir));
		pv_intake_string(in, temporary, strlen(temporary));
	} else {
		pv_intake_nil(in);
		pv_intake_string(in, msg.text, strlen(msg.text));
	}
	free(dir);
	free(temporary);
}

static void choose_place(lua_State *L, const struct save *save, const char *dir)
{
	struct place place = { .script = pv_script_of(L), .dir = dir };

	if (dir == NULL)
		place.script->n_snapshots++;
	lua_pushstring(L, dir);
	pv_intake(L, "lab:snapshot", lua_gettop(L), take_place, &place);
	if (lua_isnil(L, -2))
		pv_raise(L, "%s: %s", save->what, lua_tostring(L, -1));
	lua_setiuservalue(L, save->at, USER_TEMPORARY);
	lua_setiuservalue(L, save->at, USER_DIR);
	lua_pop(L, 1);
}

int pv_lab_save(lua_State *L, const char *what, uint32_t lab, const char *dir, pv_snapshot_then *then)
{
	int base = lua_gettop(L);
	struct pv_buf *labs = pv_buf_push(L), *vms = pv_buf_push(L);
	struct save *save;
	size_t size;

	luaL_checkstack(L, 12, NULL);
	pv_lab_tree_push(L, lab, labs);
	pv_lab_tree_vms(pv_engine_state(pv_script_of(L)->engine), labs, vms);
	check_culprits(L, vms);
	size = sizeof(*save) + pv_ids_count(vms) * sizeof(save->vms[0]);
	save = lua_newuserdatauv(L, size, USER_COUNT);
	memset(save, 0, size);
	save->what = what;
	save->then = then;
	save->at = base + 4;
	save->n = pv_ids_count(vms);
	push_index(L, save, labs, base + 3);
	lua_setiuservalue(L, save->at, USER_JSON);
	lua_settop(L, save->at);
	choose_place(L, save, dir);
	pv_unsettled_add_dir(pv_script_of(L), user_text(L, save, USER_TEMPORARY));
	/* Only the operation stays. */
	lua_rotate(L, base + 1, 1);
	lua_settop(L, base + 1);
	save->at = base + 1;
	return pause_all(L, save);
}

/* ---- the method ---- */

static int return_string(lua_State *L)
{
	lua_settop(L, -1); /* the path is on top already */
	return 1;
}

static int return_handle(lua_State *L)
{
	pv_lab_snapshot_push(L, lua_tostring(L, -1));
	return 1;
}

static int lab_snapshot(lua_State *L)
{
	uint32_t lab;

	pv_task_current(L, "lab:snapshot");
	lab = pv_check_lab_id(L, 1, "lab:snapshot");
	pv_arg_end(L, 2, "lab:snapshot");
	lua_settop(L, 2);
	if (lua_isnil(L, 2))
		return pv_lab_save(L, "lab:snapshot", lab, NULL, return_handle);
	if (*pv_arg_text(L, 2, "lab:snapshot: dir") == '\0')
		pv_raise(L, "lab:snapshot: dir: must not be empty");
	return pv_lab_save(L, "lab:snapshot", lab, pv_host_path_push(L, lua_tostring(L, 2)), return_string);
}

const luaL_Reg pv_lab_save_methods[] = { { "snapshot", lab_snapshot }, { NULL, NULL } };
