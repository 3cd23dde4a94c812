/* lab.json, written by lab:snapshot. */
#include <string.h>

#include "engine/core/disks.h"
#include "engine/script/boot_opts.h"
#include "engine/script/json.h"
#include "engine/script/lab_save.h"
#include "engine/script/lab_tree.h"
#include "engine/script/saved_bridges.h"
#include "engine/script/script_internal.h"

#define FORMAT 1

#define BOOTED PV__VM_STATE__VM_STATE_BOOTED
#define PAUSED PV__VM_STATE__VM_STATE_PAUSED

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

/* Pushes a name for the file of a VM or a bridge that is not in the set at `used` yet: "a.snap", "dc1.a.snap", "a-2.snap". */
static void push_file_name(lua_State *L, int used, const char *lab, const char *name, const char *suffix)
{
	used = lua_absindex(L, used);
	luaL_gsub(L, lab, "/", ".");
	lua_pushfstring(L, "%s%s%s", lua_tostring(L, -1), *lab != '\0' ? "." : "", name);
	for (int n = 1;; n++) {
		if (n == 1)
			lua_pushfstring(L, "%s%s", lua_tostring(L, -1), suffix);
		else
			lua_pushfstring(L, "%s-%d%s", lua_tostring(L, -1), n, suffix);
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
	push_file_name(L, used, lab, vm->name, ".snap");
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
	int frames;
	int used;
};

static void index_vms(lua_State *L, const struct index *in, struct pv_lab_saving *save, struct pv_buf *ids,
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
		save->vms[at] = (struct pv_saved_vm){ .id = vm.id,
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

size_t pv_save_members(const struct pv_state *state, const struct pv_lab_saving *save, uint32_t bridge, char **names)
{
	const Pv__BridgeSettings *settings = pv_state_bridge_settings(state, bridge);
	size_t n = 0;

	for (size_t i = 0; i < save->n; i++) {
		const Pv__Attachment *member = pv_bridge_member_vm(settings, save->vms[i].id);

		if (!save->vms[i].up || member == NULL)
			continue;
		if (names != NULL)
			names[n] = member->name;
		n++;
	}
	return n;
}

/* Of a bridge that two labs of the set hold, the frames are saved once. The bridge's entry is on top. */
static void index_frames(lua_State *L, const struct index *in, struct pv_lab_saving *save,
                         const struct pv_bridge_view *bridge, const char *path)
{
	if (pv_held_has(save->held, bridge->id) || pv_save_members(in->state, save, bridge->id, NULL) == 0)
		return;
	pv_held_add(save->held, bridge->id);
	push_file_name(L, in->used, path, bridge->name, ".frames");
	lua_pushvalue(L, -1);
	append(L, in->frames);
	lua_setfield(L, -2, "frames");
}

static void index_bridges(lua_State *L, const struct index *in, struct pv_lab_saving *save,
                          const struct pv_lab_view *lab, const char *path)
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
		index_frames(L, in, save, &bridge, path);
		append(L, in->bridges);
	}
}

void pv_save_push_index(lua_State *L, struct pv_lab_saving *save, const struct pv_buf *labs, int paths)
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
	lua_newtable(L);
	in.frames = lua_gettop(L);
	for (size_t i = 0; i < pv_ids_count(labs); i++) {
		const char *path;

		if (!pv_state_lab(in.state, pv_ids_at(labs, i), &lab))
			continue;
		lua_rawgeti(L, paths, (lua_Integer)i + 1);
		path = lua_tostring(L, -1);
		index_vms(L, &in, save, ids, &lab, path);
		if (i > 0) {
			lua_pushvalue(L, -1);
			append(L, in.sub_labs);
		}
		lua_pop(L, 1);
	}
	/* All VMs are known. */
	for (size_t i = 0; i < pv_ids_count(labs); i++) {
		if (!pv_state_lab(in.state, pv_ids_at(labs, i), &lab))
			continue;
		lua_rawgeti(L, paths, (lua_Integer)i + 1);
		index_bridges(L, &in, save, &lab, lua_tostring(L, -1));
		lua_pop(L, 1);
	}
	lua_pushvalue(L, in.files);
	lua_setiuservalue(L, save->at, PV_SAVE_FILES);
	lua_pushvalue(L, in.frames);
	lua_setiuservalue(L, save->at, PV_SAVE_FRAMES);
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
