/* lab:restore: all VMs of a saved lab go on from one moment.
 *
 * The directory is checked as a whole before anything changes. Then, in single calls: what is missing is declared; VMs of the set that are up are shut
 * down; all are restored and stand still; bridges stand still with the frames that were on the way; those VMs that ran when they were saved, and the bridges, go on
 * together. If a call fails, every VM of the set is shut down, and the bridges go on. */
#include <stdlib.h>
#include <string.h>

#include "engine/script/args.h"
#include "engine/script/call.h"
#include "engine/script/handles.h"
#include "engine/script/host_path.h"
#include "engine/script/intake.h"
#include "engine/script/lab_methods.h"
#include "engine/script/lab_restore.h"
#include "engine/script/saved_bridges.h"
#include "engine/script/saved_files.h"
#include "engine/script/script_internal.h"
#include "engine/script/unsettled.h"

static struct pv_restore *plan_of(lua_State *L)
{
	return lua_touserdata(L, -2);
}

/* ---- calls on several VMs of the set ---- */

static bool is_down(lua_State *L, uint32_t id)
{
	struct pv_vm_view vm;

	return !pv_state_vm(pv_restore_state(L), id, &vm) ||
	       (vm.in_flight == PV_VM_OP_NONE &&
	        (vm.state == PV__VM_STATE__VM_STATE_CREATED || vm.state == PV__VM_STATE__VM_STATE_SHUTDOWN));
}

static bool is_to_go_down(lua_State *L, const struct pv_restored_vm *member)
{
	return !is_down(L, member->vm);
}

static bool is_to_be_restored(lua_State *L, const struct pv_restored_vm *member)
{
	(void)L;
	return member->has_file;
}

static bool is_to_run(lua_State *L, const struct pv_restored_vm *member)
{
	(void)L;
	return member->runs;
}

static void start(lua_State *L, const struct pv_restore *plan, struct pv_calls *calls, size_t at, size_t i,
                  Pv__CallStarted__OpCase op)
{
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__ShutdownCall shutdown = PV__SHUTDOWN_CALL__INIT;
	Pv__ResumeCall resume = PV__RESUME_CALL__INIT;
	Pv__RestoreCall restore = PV__RESTORE_CALL__INIT;
	int top = lua_gettop(L);

	started.op_case = op;
	if (op == PV__CALL_STARTED__OP_RESTORE) {
		const char *path;

		pv_restore_push_list(L, plan, "vms");
		lua_rawgeti(L, -1, (lua_Integer)i + 1);
		path = pv_restore_push_path(L, plan, pv_restore_text(L, plan, "file"));
		restore.has_path = restore.has_stay_paused = 1;
		restore.path = (ProtobufCBinaryData){ .data = (uint8_t *)(uintptr_t)path, .len = strlen(path) };
		restore.stay_paused = 1;
		started.restore = &restore;
	} else if (op == PV__CALL_STARTED__OP_RESUME) {
		started.resume = &resume;
	} else {
		started.shutdown = &shutdown;
	}
	(void)!pv_calls_start(L, calls, at, plan->vms[i].vm, &started);
	lua_settop(L, top);
}

/* Carries the operation out on those members, side by side; with RESUME and SHUTDOWN bridges that stand still go on. */
static int carry_out(lua_State *L, struct pv_restore *plan, Pv__CallStarted__OpCase op,
                     bool (*concerns)(lua_State *L, const struct pv_restored_vm *member),
                     int (*then)(lua_State *L, struct pv_wait *wait))
{
	struct pv_calls *calls;
	size_t n = 0, n_held = op == PV__CALL_STARTED__OP_RESTORE ? 0 : pv_held_count(plan->held), at = 0;

	for (size_t i = 0; i < plan->n; i++)
		n += concerns(L, &plan->vms[i]);
	lua_settop(L, plan->at);
	calls = pv_calls_push(L, plan->what, n + n_held, then);
	for (size_t i = 0; i < plan->n && at < n; i++)
		if (concerns(L, &plan->vms[i]))
			start(L, plan, calls, at++, i, op);
	if (n_held > 0)
		pv_held_release(L, plan->held, calls, n);
	return pv_calls_await(L, calls);
}

/* Remembers the first failure. True if there is none. */
static bool check_calls(lua_State *L, const struct pv_restore *plan, const struct pv_calls *calls)
{
	for (size_t i = 0; i < calls->n; i++) {
		if (calls->slots[i].error == NULL)
			continue;
		lua_pushfstring(L, "%s: %s", pv_call_slot_name(&calls->slots[i]), calls->slots[i].error);
		lua_setiuservalue(L, plan->at, PV_RESTORE_ERROR);
		return false;
	}
	return true;
}

/* ---- bridges, when the VMs of the set are down ---- */

/* Those that are to be restored leave all bridges first, so that none has the place that another is to have. */
static void set_bridges(lua_State *L, const struct pv_restore *plan)
{
	uint32_t *vms = lua_newuserdatauv(L, plan->n * sizeof(*vms) + 1, 0);
	size_t n;

	for (size_t i = 0; i < plan->n; i++)
		vms[i] = plan->vms[i].vm;
	n = pv_restore_push_list(L, plan, "bridges");
	for (int pass = 0; pass < 2; pass++) {
		for (size_t i = 0; i < n; i++) {
			uint32_t bridge;

			pv_restore_push_entry(L, plan, i);
			bridge = pv_restore_find(L, plan, PV_RESTORE_BRIDGE, pv_restore_need_text(L, plan, "lab"),
			                         pv_restore_need_text(L, plan, "name"));
			lua_getfield(L, -1, "settings");
			if (bridge != 0 && pass == 0)
				pv_saved_bridge_clear(L, plan->what, bridge, vms, plan->n);
			else if (bridge != 0)
				pv_saved_bridge_apply(L, plan->what, -1, bridge, vms, plan->n);
			lua_pop(L, 2);
		}
	}
	lua_settop(L, plan->at);
}

/* ---- the steps ---- */

static void settled(lua_State *L, const struct pv_restore *plan)
{
	for (size_t i = 0; i < plan->n; i++)
		pv_unsettled_remove(pv_script_of(L), plan->vms[i].vm);
	pv_held_settled(L, plan->held);
}

static int after_ending(lua_State *L, struct pv_wait *wait)
{
	struct pv_restore *plan = plan_of(L);

	(void)wait; /* the first failure counts */
	settled(L, plan);
	pv_made_undo(L, plan->made);
	lua_getiuservalue(L, plan->at, PV_RESTORE_ERROR);
	pv_raise(L, "%s: %s", plan->what, lua_tostring(L, -1));
}

/* Nothing half restored stays. */
static int end_all(lua_State *L, struct pv_restore *plan)
{
	return carry_out(L, plan, PV__CALL_STARTED__OP_SHUTDOWN, is_to_go_down, after_ending);
}

static int after_resume(lua_State *L, struct pv_wait *wait)
{
	struct pv_restore *plan = plan_of(L);
	pv_snapshot_then *then = plan->then;

	if (!check_calls(L, plan, (struct pv_calls *)wait))
		return end_all(L, plan);
	settled(L, plan);
	lua_settop(L, plan->at - 1);
	return then(L);
}

static int after_loading(lua_State *L, struct pv_wait *wait)
{
	struct pv_restore *plan = plan_of(L);
	struct pv_calls *calls = (struct pv_calls *)wait;

	pv_held_begun(plan->held, calls);
	if (!check_calls(L, plan, calls))
		return end_all(L, plan);
	return carry_out(L, plan, PV__CALL_STARTED__OP_RESUME, is_to_run, after_resume);
}

/* The bridge's entry is on top: 0 if nothing was under way on it, or is known of it. */
static uint32_t bridge_with_frames(lua_State *L, const struct pv_restore *plan)
{
	uint32_t bridge;

	if (pv_restore_text(L, plan, "frames") == NULL)
		return 0;
	bridge = pv_restore_find(L, plan, PV_RESTORE_BRIDGE, pv_restore_need_text(L, plan, "lab"),
	                         pv_restore_need_text(L, plan, "name"));
	return pv_held_has(plan->held, bridge) ? 0 : bridge;
}

/* What was under way waits on its bridges, until all go on. */
static int load_frames(lua_State *L, struct pv_restore *plan)
{
	struct pv_calls *calls;
	size_t n;

	lua_settop(L, plan->at);
	n = pv_restore_push_list(L, plan, "bridges");
	lua_newtable(L); /* paths */
	for (size_t i = 0; i < n; i++) {
		uint32_t bridge;

		lua_pushvalue(L, plan->at + 1);
		pv_restore_push_entry(L, plan, i);
		bridge = bridge_with_frames(L, plan);
		if (bridge != 0) {
			pv_held_add(plan->held, bridge);
			pv_restore_push_path(L, plan, pv_restore_text(L, plan, "frames"));
			lua_rawseti(L, plan->at + 2, (lua_Integer)plan->held->n);
		}
		lua_settop(L, plan->at + 2);
	}
	pv_held_begin(L, plan->held);
	calls = pv_calls_push(L, plan->what, plan->held->n, after_loading);
	for (size_t i = 0; i < plan->held->n; i++) {
		struct pv_frames_step step = { .step = PV__FRAMES_STEP__FRAMES_STEP_LOAD,
			                       .bridge = plan->held->bridges[i].id };

		lua_rawgeti(L, plan->at + 2, (lua_Integer)i + 1);
		step.path = lua_tostring(L, -1);
		pv_frames_start(L, calls, i, &step);
		lua_pop(L, 1);
	}
	lua_remove(L, plan->at + 2);
	lua_remove(L, plan->at + 1);
	return pv_calls_await(L, calls);
}

static int after_restore(lua_State *L, struct pv_wait *wait)
{
	struct pv_restore *plan = plan_of(L);

	if (!check_calls(L, plan, (struct pv_calls *)wait))
		return end_all(L, plan);
	return load_frames(L, plan);
}

static int after_shutdown(lua_State *L, struct pv_wait *wait)
{
	struct pv_restore *plan = plan_of(L);

	if (!check_calls(L, plan, (struct pv_calls *)wait))
		return end_all(L, plan);
	set_bridges(L, plan);
	for (size_t i = 0; i < plan->n; i++)
		pv_unsettled_add(pv_script_of(L), plan->vms[i].vm, true);
	return carry_out(L, plan, PV__CALL_STARTED__OP_RESTORE, is_to_be_restored, after_restore);
}

/* Checks and declares; raises. Called with the plan as its only argument. */
static int prepare(lua_State *L)
{
	struct pv_restore *plan = lua_touserdata(L, 1);

	plan->at = 1;
	plan->held = pv_held_push(L, pv_restore_push_list(L, plan, "bridges"));
	lua_setiuservalue(L, plan->at, PV_RESTORE_HELD);
	lua_settop(L, plan->at);
	pv_restore_check(L, plan);
	pv_restore_declare(L, plan);
	return 0;
}

int pv_lab_restore(lua_State *L, const char *what, uint32_t lab, uint32_t made_in, const char *dir,
                   pv_snapshot_then *then)
{
	int base = lua_gettop(L);
	struct pv_restore *plan;
	size_t n, size;

	luaL_checkstack(L, 20, NULL);
	pv_restore_push_json(L, what, dir);
	if (lua_getfield(L, -1, "vms") != LUA_TTABLE)
		pv_raise(L, "%s: %s/lab.json is damaged: \"vms\" is no list", what, dir);
	n = lua_rawlen(L, -1);
	lua_pop(L, 1);
	size = sizeof(*plan) + n * sizeof(plan->vms[0]);
	plan = lua_newuserdatauv(L, size, PV_RESTORE_COUNT);
	memset(plan, 0, size);
	plan->what = what;
	plan->then = then;
	plan->lab = lab;
	plan->at = base + 1;
	plan->n = n;
	lua_insert(L, base + 1);
	lua_setiuservalue(L, plan->at, PV_RESTORE_INDEX);
	lua_pushstring(L, dir);
	lua_setiuservalue(L, plan->at, PV_RESTORE_DIR);
	plan->made = pv_buf_push(L);
	lua_setiuservalue(L, plan->at, PV_RESTORE_MADE);
	if (made_in != 0)
		pv_made_add(plan->made, PV__MEMBER_KIND__MEMBER_KIND_LAB, lab, made_in);
	lua_pushcfunction(L, prepare);
	lua_pushvalue(L, plan->at);
	if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
		pv_made_undo(L, plan->made);
		return lua_error(L);
	}
	plan->at = base + 1;
	return carry_out(L, plan, PV__CALL_STARTED__OP_SHUTDOWN, is_to_go_down, after_shutdown);
}

/* ---- the method ---- */

static int return_self(lua_State *L)
{
	lua_pushvalue(L, 1);
	return 1;
}

static void take_absolute(void *arg, struct pv_intake *in)
{
	char *path = pv_saved_absolute(arg);

	if (path != NULL)
		pv_intake_string(in, path, strlen(path));
	else
		pv_intake_nil(in);
	free(path);
}

static int lab_restore(lua_State *L)
{
	const char *dir;
	uint32_t lab;

	pv_task_current(L, "lab:restore");
	lab = pv_check_lab_id(L, 1, "lab:restore");
	pv_arg_end(L, 2, "lab:restore");
	lua_settop(L, 2);
	dir = pv_lab_snapshot_handle_path(L, 2);
	if (dir == NULL && lua_type(L, 2) != LUA_TSTRING)
		pv_raise(L, "lab:restore: a LabSnapshot or a directory expected, got %s",
		         pv_snapshot_handle_path(L, 2) != NULL ? "a Snapshot (vm:restore takes it)"
		                                               : luaL_typename(L, 2));
	if (dir == NULL) {
		dir = pv_host_path_push(L, pv_arg_text(L, 2, "lab:restore: dir"));
		pv_intake(L, "lab:restore: dir", 3, take_absolute, (void *)dir);
		dir = lua_tostring(L, -1);
		if (dir == NULL)
			pv_raise(L, "lab:restore: the working directory is gone");
	}
	return pv_lab_restore(L, "lab:restore", lab, 0, dir, return_self);
}

const luaL_Reg pv_lab_restore_methods[] = { { "restore", lab_restore }, { NULL, NULL } };
