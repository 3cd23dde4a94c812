/* A lab snapshot is checked as a whole before anything of it is restored. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "engine/script/boot_opts.h"
#include "engine/script/intake.h"
#include "engine/script/lab_restore.h"
#include "engine/script/script_internal.h"

/* Is the lab at `path` one of the set? */
static void check_lab_path(lua_State *L, const struct pv_restore *plan, const char *path)
{
	size_t n;
	bool found = *path == '\0';

	n = pv_restore_push_list(L, plan, "sub_labs");
	for (size_t i = 0; i < n && !found; i++) {
		lua_rawgeti(L, -1, (lua_Integer)i + 1);
		found = lua_type(L, -1) == LUA_TSTRING && strcmp(lua_tostring(L, -1), path) == 0;
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
	if (!found)
		pv_restore_damaged(L, plan, lua_pushfstring(L, "there is no sub-lab \"%s\"", path));
}

struct look {
	struct pv_engine *engine;
	uint32_t vm; /* 0: not declared yet */
	const char *profile;
	const Pv__VmSpec *spec;
	const char *path;
};

static void take_look(void *arg, struct pv_intake *in)
{
	const struct look *look = arg;
	struct pv_errmsg msg;
	enum pv_err err = look->vm != 0
	                      ? pv_engine_check_restore(look->engine, look->vm, look->path, &msg)
	                      : pv_engine_check_restore_of(look->engine, look->profile, look->spec, look->path, &msg);

	if (err == PV_OK) {
		pv_intake_boolean(in, true);
		return;
	}
	pv_intake_nil(in);
	pv_intake_string(in, msg.text, strlen(msg.text));
}

/* The VM's entry is on top. */
static void check_file(lua_State *L, const struct pv_restore *plan, const struct pv_restored_vm *member,
                       const char *name, const char *profile, const char *file)
{
	int top = lua_gettop(L);
	struct look look = { .engine = pv_script_of(L)->engine, .vm = member->vm, .profile = profile };

	if (*file == '\0' || strchr(file, '/') != NULL)
		pv_restore_damaged(L, plan, lua_pushfstring(L, "\"%s\" is no name of a file", file));
	luaL_checkstack(L, 40, NULL);
	lua_getfield(L, -1, "opts");
	if (member->vm == 0)
		look.spec = pv_boot_opts_push(L, top + 1, plan->what);
	look.path = pv_restore_push_path(L, plan, file);
	if (pv_intake(L, "lab:restore.look", lua_gettop(L), take_look, &look) > 1)
		pv_raise(L, "%s: %s: %s", plan->what, name, lua_tostring(L, -1));
	lua_settop(L, top);
}

/* The VM's entry is on top. */
static void check_vm(lua_State *L, struct pv_restore *plan, size_t i)
{
	struct pv_restored_vm *member = &plan->vms[i];
	const char *lab = pv_restore_need_text(L, plan, "lab"), *name = pv_restore_need_text(L, plan, "name");
	const char *profile = pv_restore_need_text(L, plan, "profile"), *state = pv_restore_need_text(L, plan, "state");
	const char *file = pv_restore_text(L, plan, "file");
	struct pv_vm_view vm;

	check_lab_path(L, plan, lab);
	member->vm = pv_restore_find(L, plan, PV_RESTORE_VM, lab, name);
	member->has_file = file != NULL;
	member->runs = file != NULL && strcmp(state, pv_vm_state_name(PV__VM_STATE__VM_STATE_BOOTED)) == 0;
	for (size_t j = 0; j < i && member->vm != 0; j++)
		if (plan->vms[j].vm == member->vm)
			pv_restore_damaged(L, plan, lua_pushfstring(L, "the VM \"%s\" stands twice", name));
	if (member->vm != 0 && pv_state_vm(pv_restore_state(L), member->vm, &vm) && strcmp(vm.profile, profile) != 0)
		pv_raise(L, "%s: %s: the profile of the VM is \"%s\", that of the snapshot \"%s\"", plan->what, name,
		         vm.profile, profile);
	if (member->vm == 0 && pv_engine_profile(pv_script_of(L)->engine, profile) == NULL)
		pv_raise(L, "%s: %s: unknown profile \"%s\"", plan->what, name, profile);
	if (file != NULL)
		check_file(L, plan, member, name, profile, file);
}

static void take_access(void *path, struct pv_intake *in)
{
	if (access(path, R_OK) == 0)
		pv_intake_boolean(in, true);
	else
		pv_intake_failed(in, path, errno);
}

/* The bridge's entry is on top. */
static void check_bridge(lua_State *L, const struct pv_restore *plan)
{
	int top = lua_gettop(L);
	const char *file, *path;

	check_lab_path(L, plan, pv_restore_need_text(L, plan, "lab"));
	pv_restore_need_text(L, plan, "name");
	file = pv_restore_text(L, plan, "frames");
	if (file == NULL)
		return;
	if (*file == '\0' || strchr(file, '/') != NULL)
		pv_restore_damaged(L, plan, lua_pushfstring(L, "\"%s\" is no name of a file", file));
	path = pv_restore_push_path(L, plan, file);
	if (pv_intake(L, "lab:restore.frames", lua_gettop(L), take_access, (void *)(uintptr_t)path) > 1)
		pv_raise(L, "%s: %s", plan->what, lua_tostring(L, -2));
	lua_settop(L, top);
}

void pv_restore_check(lua_State *L, struct pv_restore *plan)
{
	size_t n = pv_restore_push_list(L, plan, "vms");

	for (size_t i = 0; i < n; i++) {
		pv_restore_push_entry(L, plan, i);
		check_vm(L, plan, i);
		lua_pop(L, 1);
	}
	n = pv_restore_push_list(L, plan, "bridges");
	for (size_t i = 0; i < n; i++) {
		pv_restore_push_entry(L, plan, i);
		check_bridge(L, plan);
		lua_pop(L, 1);
	}
	lua_settop(L, plan->at);
}
