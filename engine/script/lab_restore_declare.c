/* What a lab snapshot has and the lab has not is declared. */
#include <string.h>

#include "engine/lab/network_numbers.h"
#include "engine/script/boot_opts.h"
#include "engine/script/lab_restore.h"
#include "engine/script/lab_tree.h"
#include "engine/script/saved_bridges.h"
#include "engine/script/script_internal.h"
#include "engine/script/site.h"

static void propose(lua_State *L, const struct pv_restore *plan, Pv__Event__BodyCase kind, void *body)
{
	struct pv_proposal proposal;

	pv_proposal_init(&proposal, pv_script_of(L), L);
	proposal.event.body_case = kind;
	proposal.event.lab_created = body; /* a union of pointers */
	pv_propose_or_raise(L, &proposal, plan->what);
}

/* `path` of a sub-lab; those above it are there. */
static void declare_lab(lua_State *L, const struct pv_restore *plan, const char *path)
{
	Pv__LabCreated created = PV__LAB_CREATED__INIT;
	const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path;

	if (pv_lab_tree_find(pv_restore_state(L), plan->lab, path) != 0)
		return;
	lua_pushlstring(L, path, slash != NULL ? (size_t)(slash - path) : 0);
	created.has_kind = created.has_parent = 1;
	created.kind = PV__LAB_KIND__LAB_KIND_SUB;
	created.parent = pv_lab_tree_find(pv_restore_state(L), plan->lab, lua_tostring(L, -1));
	created.name = (char *)name;
	if (created.parent == 0 || *name == '\0')
		pv_restore_damaged(L, plan, lua_pushfstring(L, "the sub-lab \"%s\" has no lab above it", path));
	propose(L, plan, PV__EVENT__BODY_LAB_CREATED, &created);
	pv_made_add(plan->made, PV__MEMBER_KIND__MEMBER_KIND_LAB, created.id, created.parent);
	lua_pop(L, 1);
}

static void declare_labs(lua_State *L, const struct pv_restore *plan)
{
	size_t n = pv_restore_push_list(L, plan, "sub_labs");

	for (size_t i = 0; i < n; i++) {
		if (lua_rawgeti(L, -1, (lua_Integer)i + 1) != LUA_TSTRING)
			pv_restore_damaged(L, plan, "the path of a sub-lab is no text");
		declare_lab(L, plan, lua_tostring(L, -1));
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
}

static void declare_bridges(lua_State *L, const struct pv_restore *plan)
{
	size_t n = pv_restore_push_list(L, plan, "bridges");

	for (size_t i = 0; i < n; i++) {
		Pv__BridgeDeclared declared = PV__BRIDGE_DECLARED__INIT;
		const char *lab;

		pv_restore_push_entry(L, plan, i);
		lab = pv_restore_need_text(L, plan, "lab");
		declared.name = (char *)pv_restore_need_text(L, plan, "name");
		if (pv_restore_find(L, plan, PV_RESTORE_BRIDGE, lab, declared.name) == 0) {
			declared.has_lab = 1;
			declared.lab = pv_lab_tree_find(pv_restore_state(L), plan->lab, lab);
			lua_getfield(L, -1, "settings");
			declared.number = pv_saved_bridge_number(L, -1);
			lua_pop(L, 1);
			if (declared.number == 0)
				declared.number =
				    pv_bridge_number_for(pv_restore_state(L), pv_script_of(L)->file, declared.name);
			propose(L, plan, PV__EVENT__BODY_BRIDGE_DECLARED, &declared);
			pv_made_add(plan->made, PV_RESTORE_BRIDGE, declared.id, declared.lab);
		}
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
}

/* The VM's entry is on top. */
static uint32_t declare_vm(lua_State *L, const struct pv_restore *plan)
{
	Pv__VmDeclared declared = PV__VM_DECLARED__INIT;
	int top = lua_gettop(L);

	luaL_checkstack(L, 40, NULL);
	declared.name = (char *)pv_restore_need_text(L, plan, "name");
	declared.profile = (char *)pv_restore_need_text(L, plan, "profile");
	declared.has_lab = 1;
	declared.lab = pv_lab_tree_find(pv_restore_state(L), plan->lab, pv_restore_need_text(L, plan, "lab"));
	lua_getfield(L, -1, "opts");
	declared.spec = pv_boot_opts_push(L, top + 1, plan->what);
	pv_boot_opts_name_disks(L, plan->what, declared.name, false, declared.spec);
	propose(L, plan, PV__EVENT__BODY_VM_DECLARED, &declared);
	pv_made_add(plan->made, PV_RESTORE_VM, declared.id, declared.lab);
	lua_settop(L, top);
	return declared.id;
}

/* The VM's entry is on top: other labs that hold it. */
static void include_vm(lua_State *L, const struct pv_restore *plan, uint32_t vm)
{
	const char *name = pv_restore_need_text(L, plan, "name");
	int top = lua_gettop(L);
	size_t n = lua_getfield(L, -1, "also_in") == LUA_TTABLE ? lua_rawlen(L, -1) : 0;

	for (size_t i = 0; i < n; i++) {
		Pv__MembersIncluded included = PV__MEMBERS_INCLUDED__INIT;
		Pv__Member member = PV__MEMBER__INIT, *list = &member;
		const char *path;

		lua_rawgeti(L, top + 1, (lua_Integer)i + 1);
		path = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "?";
		included.has_lab = 1;
		included.lab = pv_lab_tree_find(pv_restore_state(L), plan->lab, path);
		if (included.lab == 0)
			pv_restore_damaged(L, plan, lua_pushfstring(L, "there is no sub-lab \"%s\"", path));
		lua_pop(L, 1);
		if (pv_state_find_own(pv_restore_state(L), included.lab, PV_RESTORE_VM, name) == vm)
			continue;
		member.has_kind = member.has_id = 1;
		member.kind = PV_RESTORE_VM;
		member.id = vm;
		included.n_members = 1;
		included.members = &list;
		propose(L, plan, PV__EVENT__BODY_MEMBERS_INCLUDED, &included);
	}
	lua_settop(L, top);
}

void pv_restore_declare(lua_State *L, struct pv_restore *plan)
{
	declare_labs(L, plan);
	declare_bridges(L, plan);
	pv_restore_push_list(L, plan, "vms");
	for (size_t i = 0; i < plan->n; i++) {
		pv_restore_push_entry(L, plan, i);
		if (plan->vms[i].vm == 0)
			plan->vms[i].vm = declare_vm(L, plan);
		include_vm(L, plan, plan->vms[i].vm);
		lua_pop(L, 1);
	}
	lua_settop(L, plan->at);
}
