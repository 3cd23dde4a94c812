/* lab:snapshot: all VMs of a lab at one moment.
 *
 * Single calls, each in the journal, in this order: time stops on the lab's bridges; every VM that runs is paused; what is under way on each bridge is saved,
 * and each VM that is up; lab.json is written and the directory gets its name; every VM that this has paused, and every bridge, goes on, also after a failure.
 * So a runner that dies in between is gone on with at the call it was in. */
#include <stdlib.h>
#include <string.h>

#include "engine/script/args.h"
#include "engine/script/call.h"
#include "engine/script/handles.h"
#include "engine/script/host_path.h"
#include "engine/script/intake.h"
#include "engine/script/lab_methods.h"
#include "engine/script/lab_save.h"
#include "engine/script/lab_tree.h"
#include "engine/script/saved_files.h"
#include "engine/script/script_internal.h"
#include "engine/script/unsettled.h"

static struct pv_lab_saving *save_of(lua_State *L)
{
	return lua_touserdata(L, -2);
}

static const char *user_text(lua_State *L, const struct pv_lab_saving *save, int which)
{
	const char *text;

	lua_getiuservalue(L, save->at, which);
	text = lua_tostring(L, -1);
	lua_pop(L, 1);
	return text;
}

/* ---- what goes wrong ---- */

/* Adds the message on top of the stack, and pops it. */
static void add_error(lua_State *L, const struct pv_lab_saving *save)
{
	const char *before = user_text(L, save, PV_SAVE_ERROR);

	if (before != NULL) {
		lua_pushfstring(L, "%s; %s", before, lua_tostring(L, -1));
		lua_remove(L, -2);
	}
	lua_setiuservalue(L, save->at, PV_SAVE_ERROR);
}

/* The failures of the calls that have ended. True if there are none. */
static bool check_calls(lua_State *L, const struct pv_lab_saving *save, const struct pv_calls *calls)
{
	bool fine = true;

	for (size_t i = 0; i < calls->n; i++) {
		if (calls->slots[i].error == NULL)
			continue;
		fine = false;
		lua_pushfstring(L, "%s: %s", pv_call_slot_name(&calls->slots[i]), calls->slots[i].error);
		add_error(L, save);
	}
	return fine;
}

/* ---- the end ---- */

static void take_removal(void *dir, struct pv_intake *in)
{
	(void)pv_saved_remove_tree(dir);
	pv_intake_boolean(in, true);
}

static int finish(lua_State *L, struct pv_lab_saving *save)
{
	pv_snapshot_then *then = save->then;
	const char *error = user_text(L, save, PV_SAVE_ERROR);

	lua_settop(L, save->at);
	for (size_t i = 0; i < save->n; i++)
		pv_unsettled_remove(pv_script_of(L), save->vms[i].id);
	pv_held_settled(L, save->held);
	pv_unsettled_remove_dir(pv_script_of(L), user_text(L, save, PV_SAVE_TEMPORARY));
	if (error != NULL) {
		lua_getiuservalue(L, save->at, PV_SAVE_TEMPORARY);
		pv_intake(L, "lab:snapshot.undo", lua_gettop(L), take_removal, (void *)lua_tostring(L, -1));
		pv_raise(L, "%s: %s", save->what, error);
	}
	lua_getiuservalue(L, save->at, PV_SAVE_DIR);
	lua_replace(L, save->at);
	return then(L);
}

/* ---- 6: those that ran run on, and so do the bridges ---- */

static int after_resume(lua_State *L, struct pv_wait *wait)
{
	struct pv_lab_saving *save = save_of(L);

	(void)check_calls(L, save, (struct pv_calls *)wait);
	return finish(L, save);
}

static int resume(lua_State *L, struct pv_lab_saving *save)
{
	struct pv_calls *calls;
	size_t n = 0, at = 0;

	for (size_t i = 0; i < save->n; i++)
		n += save->vms[i].paused;
	lua_settop(L, save->at);
	calls = pv_calls_push(L, save->what, n + pv_held_count(save->held), after_resume);
	for (size_t i = 0; i < save->n; i++) {
		Pv__CallStarted started = PV__CALL_STARTED__INIT;
		Pv__ResumeCall call = PV__RESUME_CALL__INIT;

		if (!save->vms[i].paused)
			continue;
		started.op_case = PV__CALL_STARTED__OP_RESUME;
		started.resume = &call;
		(void)!pv_calls_start(L, calls, at++, save->vms[i].id, &started);
	}
	pv_held_release(L, save->held, calls, at);
	return pv_calls_await(L, calls);
}

/* ---- 5: the directory gets its name ---- */

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

static void install(lua_State *L, struct pv_lab_saving *save)
{
	struct installing what;

	lua_settop(L, save->at);
	lua_getiuservalue(L, save->at, PV_SAVE_TEMPORARY);
	what.temporary = lua_tostring(L, -1);
	lua_getiuservalue(L, save->at, PV_SAVE_DIR);
	what.dir = lua_tostring(L, -1);
	lua_getiuservalue(L, save->at, PV_SAVE_JSON);
	what.json = lua_tolstring(L, -1, &what.len);
	if (pv_intake(L, "lab:snapshot.install", save->at + 1, take_installation, &what) > 1)
		add_error(L, save);
}

/* ---- 4: each is saved ---- */

static int after_saving(lua_State *L, struct pv_wait *wait)
{
	struct pv_lab_saving *save = save_of(L);

	if (check_calls(L, save, (struct pv_calls *)wait))
		install(L, save);
	return resume(L, save);
}

static void start_saving(lua_State *L, struct pv_lab_saving *save, struct pv_calls *calls, size_t at, size_t vm)
{
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__SnapshotCall call = PV__SNAPSHOT_CALL__INIT;
	const char *path;
	size_t len;

	lua_getiuservalue(L, save->at, PV_SAVE_FILES);
	lua_rawgeti(L, -1, (lua_Integer)vm + 1);
	lua_pushfstring(L, "%s/%s", user_text(L, save, PV_SAVE_TEMPORARY), lua_tostring(L, -1));
	path = lua_tolstring(L, -1, &len);
	call.has_path = call.has_paused = 1;
	call.path = (ProtobufCBinaryData){ .data = (uint8_t *)path, .len = len };
	call.paused = 1;
	started.op_case = PV__CALL_STARTED__OP_SNAPSHOT;
	started.snapshot = &call;
	(void)!pv_calls_start(L, calls, at, save->vms[vm].id, &started);
	lua_pop(L, 3);
}

static int save_all(lua_State *L, struct pv_lab_saving *save)
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

/* ---- 3: what is under way is saved ---- */

static int after_frames(lua_State *L, struct pv_wait *wait)
{
	struct pv_lab_saving *save = save_of(L);

	return check_calls(L, save, (struct pv_calls *)wait) ? save_all(L, save) : resume(L, save);
}

static void start_frames(lua_State *L, struct pv_lab_saving *save, struct pv_calls *calls, size_t i)
{
	struct pv_frames_step step = { .step = PV__FRAMES_STEP__FRAMES_STEP_SAVE, .bridge = save->held->bridges[i].id };
	int top = lua_gettop(L);

	step.members = lua_newuserdatauv(L, (save->n + 1) * sizeof(char *), 0);
	step.n_members = pv_save_members(pv_engine_state(pv_script_of(L)->engine), save, step.bridge, step.members);
	lua_getiuservalue(L, save->at, PV_SAVE_FRAMES);
	lua_rawgeti(L, -1, (lua_Integer)i + 1);
	step.path = lua_pushfstring(L, "%s/%s", user_text(L, save, PV_SAVE_TEMPORARY), lua_tostring(L, -1));
	pv_frames_start(L, calls, i, &step);
	lua_settop(L, top);
}

static int save_frames(lua_State *L, struct pv_lab_saving *save)
{
	struct pv_calls *calls;

	lua_settop(L, save->at);
	calls = pv_calls_push(L, save->what, save->held->n, after_frames);
	for (size_t i = 0; i < save->held->n; i++)
		start_frames(L, save, calls, i);
	return pv_calls_await(L, calls);
}

/* ---- 2: all stand still ---- */

static int after_pause(lua_State *L, struct pv_wait *wait)
{
	struct pv_lab_saving *save = save_of(L);
	struct pv_calls *calls = (struct pv_calls *)wait;
	size_t at = 0;

	for (size_t i = 0; i < save->n; i++)
		if (save->vms[i].runs)
			save->vms[i].paused = calls->slots[at++].error == NULL;
	return check_calls(L, save, calls) ? save_frames(L, save) : resume(L, save);
}

static int pause_all(lua_State *L, struct pv_lab_saving *save)
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

/* ---- 1: time stops on the bridges ---- */

static int after_freeze(lua_State *L, struct pv_wait *wait)
{
	struct pv_lab_saving *save = save_of(L);
	struct pv_calls *calls = (struct pv_calls *)wait;

	pv_held_begun(save->held, calls);
	return check_calls(L, save, calls) ? pause_all(L, save) : resume(L, save);
}

static int freeze_all(lua_State *L, struct pv_lab_saving *save)
{
	struct pv_calls *calls;

	lua_settop(L, save->at);
	pv_held_begin(L, save->held);
	calls = pv_calls_push(L, save->what, save->held->n, after_freeze);
	for (size_t i = 0; i < save->held->n; i++) {
		struct pv_frames_step step = { .step = PV__FRAMES_STEP__FRAMES_STEP_FREEZE,
			                       .bridge = save->held->bridges[i].id };

		pv_frames_start(L, calls, i, &step);
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

static void choose_place(lua_State *L, const struct pv_lab_saving *save, const char *dir)
{
	struct place place = { .script = pv_script_of(L), .dir = dir };

	if (dir == NULL)
		place.script->n_snapshots++;
	lua_pushstring(L, dir);
	pv_intake(L, "lab:snapshot", lua_gettop(L), take_place, &place);
	if (lua_isnil(L, -2))
		pv_raise(L, "%s: %s", save->what, lua_tostring(L, -1));
	lua_setiuservalue(L, save->at, PV_SAVE_TEMPORARY);
	lua_setiuservalue(L, save->at, PV_SAVE_DIR);
	lua_pop(L, 1);
}

static size_t count_bridges(lua_State *L, const struct pv_buf *labs)
{
	struct pv_lab_view lab;
	size_t n = 0;

	for (size_t i = 0; i < pv_ids_count(labs); i++)
		if (pv_state_lab(pv_engine_state(pv_script_of(L)->engine), pv_ids_at(labs, i), &lab))
			n += lab.n_bridges;
	return n;
}

int pv_lab_save(lua_State *L, const char *what, uint32_t lab, const char *dir, pv_snapshot_then *then)
{
	int base = lua_gettop(L);
	struct pv_buf *labs = pv_buf_push(L), *vms = pv_buf_push(L);
	struct pv_lab_saving *save;
	size_t size;

	luaL_checkstack(L, 12, NULL);
	pv_lab_tree_push(L, lab, labs);
	pv_lab_tree_vms(pv_engine_state(pv_script_of(L)->engine), labs, vms);
	check_culprits(L, vms);
	size = sizeof(*save) + pv_ids_count(vms) * sizeof(save->vms[0]);
	save = lua_newuserdatauv(L, size, PV_SAVE_COUNT);
	memset(save, 0, size);
	save->what = what;
	save->then = then;
	save->at = base + 4;
	save->n = pv_ids_count(vms);
	save->held = pv_held_push(L, count_bridges(L, labs));
	lua_setiuservalue(L, save->at, PV_SAVE_HELD);
	pv_save_push_index(L, save, labs, base + 3);
	lua_setiuservalue(L, save->at, PV_SAVE_JSON);
	lua_settop(L, save->at);
	choose_place(L, save, dir);
	pv_unsettled_add_dir(pv_script_of(L), user_text(L, save, PV_SAVE_TEMPORARY));
	/* Only the operation stays. */
	lua_rotate(L, base + 1, 1);
	lua_settop(L, base + 1);
	save->at = base + 1;
	return freeze_all(L, save);
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
