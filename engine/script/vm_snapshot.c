/* vm:snapshot, vm:restore. */
#include <stdlib.h>
#include <string.h>

#include "engine/script/args.h"
#include "engine/script/call.h"
#include "engine/script/handles.h"
#include "engine/script/host_path.h"
#include "engine/script/intake.h"
#include "engine/script/saved_files.h"
#include "engine/script/script_internal.h"
#include "engine/script/snapshot.h"
#include "engine/script/undo.h"
#include "engine/script/vm_methods.h"

/* ---- paths ---- */

/* nil and the text. */
static void take_refusal(struct pv_intake *in, const char *text)
{
	pv_intake_nil(in);
	pv_intake_string(in, text, strlen(text));
}

static void take_absolute(void *arg, struct pv_intake *in)
{
	char *path = pv_saved_absolute(arg);

	if (path != NULL)
		pv_intake_string(in, path, strlen(path));
	else
		take_refusal(in, "the working directory is gone");
	free(path);
}

struct new_path {
	struct pv_script *script;
	const char *vm;
};

static void take_new_path(void *arg, struct pv_intake *in)
{
	const struct new_path *new = arg;
	const char *run_dir = pv_engine_run_dir(new->script->engine);
	struct pv_errmsg msg;
	char *dir, *path;

	if (run_dir == NULL) {
		take_refusal(in, "there is no directory of a run for a temporary snapshot: give a path");
		return;
	}
	if (pv_saved_file_dir(run_dir, new->script->file, true, &dir, &msg) != PV_OK) {
		take_refusal(in, msg.text);
		return;
	}
	path = pv_xasprintf("%s/%llu-%s.snap", dir, (unsigned long long)new->script->n_snapshots, new->vm);
	take_absolute(path, in);
	free(path);
	free(dir);
}

/* The results of an intake that gives a path, or nil and why not. Leaves the path on top. */
static const char *expect_path(lua_State *L, const char *what, int n)
{
	if (n == 1)
		return lua_tostring(L, -1);
	pv_raise(L, "%s: %s", what, lua_tostring(L, -1));
}

/* Pushes the absolute path that a script gave at `idx`. */
static const char *push_given_path(lua_State *L, int idx, const char *what)
{
	const char *given = pv_arg_text(L, idx, what), *path;

	if (*given == '\0')
		pv_raise(L, "%s: must not be empty", what);
	path = pv_host_path_push(L, given);
	if (*path == '/')
		return path;
	return expect_path(L, what, pv_intake(L, what, lua_gettop(L), take_absolute, (void *)path));
}

/* ---- snapshot ---- */

static void check_culprits(lua_State *L, uint32_t vm)
{
	struct pv_buf *text = pv_buf_push(L);
	struct pv_culprits culprits = { .streams = false };

	pv_state_culprits(pv_engine_state(pv_script_of(L)->engine), vm, false, &culprits);
	*text = culprits.lines;
	if (culprits.streams || culprits.calls)
		pv_raise(L, "vm:snapshot() refused: %s%s", pv_culprits_word(&culprits), pv_buf_str(text));
	lua_pop(L, 1);
}

/* The path is at 2. */
static int return_snapshot(lua_State *L, struct pv_wait *wait)
{
	pv_call_result(L, wait);
	pv_snapshot_push(L, lua_tostring(L, 2));
	return 1;
}

static int vm_snapshot(lua_State *L)
{
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__SnapshotCall snapshot = PV__SNAPSHOT_CALL__INIT;
	struct new_path new = { .script = pv_script_of(L) };
	struct pv_vm_view vm;
	const char *path;

	pv_task_current(L, "vm:snapshot");
	pv_check_vm(L, 1, "vm:snapshot", &vm);
	pv_arg_end(L, 2, "vm:snapshot");
	lua_settop(L, 2);
	if (vm.state == PV__VM_STATE__VM_STATE_BOOTED || vm.state == PV__VM_STATE__VM_STATE_PAUSED)
		check_culprits(L, vm.id);
	if (lua_isnil(L, 2)) {
		new.vm = vm.name;
		new.script->n_snapshots++;
		path = expect_path(L, "vm:snapshot", pv_intake(L, "vm:snapshot", 3, take_new_path, &new));
	} else {
		path = push_given_path(L, 2, "vm:snapshot: path");
	}
	lua_replace(L, 2);
	lua_settop(L, 2);
	snapshot.has_path = 1;
	snapshot.path = (ProtobufCBinaryData){ .data = (uint8_t *)path, .len = strlen(path) };
	started.op_case = PV__CALL_STARTED__OP_SNAPSHOT;
	started.snapshot = &snapshot;
	return pv_call_one(L, "vm:snapshot", vm.id, &started, return_snapshot);
}

/* ---- restore ---- */

/* On the stack below the wait. */
struct restore {
	pv_snapshot_then *then;
	uint32_t vm, made_in;
};

static int after_restore(lua_State *L, struct pv_wait *wait)
{
	struct restore *restore = lua_touserdata(L, -2);

	if (pv_call_outcome(wait)->error != NULL && restore->made_in != 0) {
		struct pv_buf *made = pv_buf_push(L);

		pv_made_add(made, PV__MEMBER_KIND__MEMBER_KIND_VM, restore->vm, restore->made_in);
		pv_made_undo(L, made);
	}
	pv_call_result(L, wait);
	lua_pop(L, 2);
	return restore->then(L);
}

int pv_vm_restore(lua_State *L, const char *what, uint32_t vm, uint32_t made_in, const char *path,
                  pv_snapshot_then *then)
{
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__RestoreCall call = PV__RESTORE_CALL__INIT;
	struct restore *restore = lua_newuserdatauv(L, sizeof(*restore), 0);

	*restore = (struct restore){ .then = then, .vm = vm, .made_in = made_in };
	call.has_path = 1;
	call.path = (ProtobufCBinaryData){ .data = (uint8_t *)path, .len = strlen(path) };
	started.op_case = PV__CALL_STARTED__OP_RESTORE;
	started.restore = &call;
	return pv_call_one(L, what, vm, &started, after_restore);
}

static int return_self(lua_State *L)
{
	lua_pushvalue(L, 1);
	return 1;
}

static int vm_restore(lua_State *L)
{
	struct pv_vm_view vm;
	const char *path;

	pv_task_current(L, "vm:restore");
	pv_check_vm(L, 1, "vm:restore", &vm);
	pv_arg_end(L, 2, "vm:restore");
	lua_settop(L, 2);
	path = pv_snapshot_handle_path(L, 2);
	if (path == NULL && lua_type(L, 2) != LUA_TSTRING)
		pv_raise(L, "vm:restore: a Snapshot or a path expected, got %s",
		         pv_lab_snapshot_handle_path(L, 2) != NULL ? "a LabSnapshot (lab:restore takes it)"
		                                                   : luaL_typename(L, 2));
	if (path == NULL)
		path = push_given_path(L, 2, "vm:restore: path");
	return pv_vm_restore(L, "vm:restore", vm.id, 0, path, return_self);
}

const luaL_Reg pv_vm_snapshot_methods[] = {
	{ "snapshot", vm_snapshot },
	{ "restore", vm_restore },
	{ NULL, NULL },
};
