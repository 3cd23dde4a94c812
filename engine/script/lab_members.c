/* What a lab holds: include, remove, members, names. */
#include "engine/script/args.h"
#include "engine/script/handles.h"
#include "engine/script/lab_methods.h"
#include "engine/script/script_internal.h"
#include "engine/script/site.h"

#define KIND_VM     PV__MEMBER_KIND__MEMBER_KIND_VM
#define KIND_BRIDGE PV__MEMBER_KIND__MEMBER_KIND_BRIDGE
#define KIND_LAB    PV__MEMBER_KIND__MEMBER_KIND_LAB

/* ---- include ---- */

static void read_member(lua_State *L, int idx, lua_Integer number, Pv__Member *out)
{
	Pv__MemberKind kind = KIND_VM;
	uint32_t id = pv_handle_member(L, idx, &kind);

	if (id == 0 && number > 0)
		pv_raise(L, "lab:include: entry %I is a %s; VMs, Bridges and Labs can be included", (LUAI_UACINT)number,
		         luaL_typename(L, idx));
	if (id == 0)
		pv_raise(L, "lab:include: a VM, a Bridge, a Lab or an array of them expected, got %s",
		         luaL_typename(L, idx));
	pv__member__init(out);
	out->has_kind = 1;
	out->kind = kind;
	out->has_id = 1;
	out->id = id;
}

/* The length of the array at `idx`. */
static size_t check_array(lua_State *L, int idx)
{
	size_t n = lua_rawlen(L, idx), n_keys = 0;

	for (lua_pushnil(L); lua_next(L, idx) != 0; lua_pop(L, 1))
		n_keys++;
	if (n_keys != n)
		pv_raise(L, "lab:include: an array is needed; the table has other keys or holes");
	return n;
}

static int lab_include(lua_State *L)
{
	Pv__MembersIncluded included = PV__MEMBERS_INCLUDED__INIT;
	struct pv_proposal proposal;
	Pv__Member *members;
	bool array = lua_istable(L, 2);
	size_t n = array ? check_array(L, 2) : 1;

	pv_task_current(L, "lab:include");
	included.has_lab = 1;
	included.lab = pv_check_lab_id(L, 1, "lab:include");
	pv_arg_end(L, 2, "lab:include");
	lua_settop(L, 2);
	if (n == 0)
		return 0;
	members = lua_newuserdatauv(L, n * (sizeof(*members) + sizeof(*included.members)), 0);
	included.members = (Pv__Member **)(void *)(members + n);
	included.n_members = n;
	for (size_t i = 0; i < n; i++) {
		if (array)
			lua_rawgeti(L, 2, (lua_Integer)i + 1);
		else
			lua_pushvalue(L, 2);
		read_member(L, lua_gettop(L), array ? (lua_Integer)i + 1 : 0, &members[i]);
		lua_pop(L, 1);
		included.members[i] = &members[i];
	}
	pv_proposal_init(&proposal, pv_script_of(L), L);
	proposal.event.body_case = PV__EVENT__BODY_MEMBERS_INCLUDED;
	proposal.event.members_included = &included;
	pv_propose_or_raise(L, &proposal, "lab:include");
	return 0;
}

/* ---- remove ---- */

static uint32_t find_by_name(lua_State *L, uint32_t lab, const char *name, Pv__MemberKind *kind)
{
	static const Pv__MemberKind kinds[] = { KIND_VM, KIND_BRIDGE, KIND_LAB };
	const struct pv_state *state = pv_engine_state(pv_script_of(L)->engine);

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		uint32_t id = pv_state_find_own(state, lab, kinds[i], name);

		*kind = kinds[i];
		if (id != 0)
			return id;
	}
	return 0;
}

static int lab_remove(lua_State *L)
{
	Pv__MemberRemoved removed = PV__MEMBER_REMOVED__INIT;
	Pv__Member member = PV__MEMBER__INIT;
	struct pv_proposal proposal;

	pv_task_current(L, "lab:remove");
	removed.has_lab = 1;
	removed.lab = pv_check_lab_id(L, 1, "lab:remove");
	pv_arg_end(L, 2, "lab:remove");
	if (lua_type(L, 2) == LUA_TSTRING) {
		member.id = find_by_name(L, removed.lab, pv_arg_text(L, 2, "lab:remove"), &member.kind);
		if (member.id == 0)
			pv_raise(L, "lab:remove: the lab has no VM, bridge or sub-lab \"%s\"", lua_tostring(L, 2));
	} else {
		member.id = pv_handle_member(L, 2, &member.kind);
		if (member.id == 0)
			pv_raise(L, "lab:remove: a name, a VM, a Bridge or a Lab expected, got %s",
			         luaL_typename(L, 2));
	}
	member.has_id = 1;
	member.has_kind = 1;
	removed.member = &member;
	pv_proposal_init(&proposal, pv_script_of(L), L);
	proposal.event.body_case = PV__EVENT__BODY_MEMBER_REMOVED;
	proposal.event.member_removed = &removed;
	pv_propose_or_raise(L, &proposal, "lab:remove");
	return 0;
}

/* ---- lists ---- */

/* Nothing here changes the state, so the view stays valid although Lua allocates. */
static void push_name(lua_State *L, Pv__MemberKind kind, uint32_t id)
{
	const struct pv_state *state = pv_engine_state(pv_script_of(L)->engine);
	struct pv_vm_view vm = { 0 };
	struct pv_bridge_view bridge = { 0 };
	struct pv_lab_view lab = { 0 };

	if (kind == KIND_VM)
		pv_state_vm(state, id, &vm);
	else if (kind == KIND_BRIDGE)
		pv_state_bridge(state, id, &bridge);
	else
		pv_state_lab(state, id, &lab);
	lua_pushstring(L, vm.name != NULL ? vm.name : bridge.name != NULL ? bridge.name : lab.name);
}

static void add_members(lua_State *L, Pv__MemberKind kind, const char *kind_name, const uint32_t *ids, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		lua_createtable(L, 0, 2);
		lua_pushstring(L, kind_name);
		lua_setfield(L, -2, "kind");
		push_name(L, kind, ids[i]);
		lua_setfield(L, -2, "name");
		lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
	}
}

static int lab_members(lua_State *L)
{
	struct pv_lab_view lab;

	pv_check_lab(L, 1, "lab:members", &lab);
	lua_newtable(L);
	add_members(L, KIND_VM, "vm", lab.vms, lab.n_vms);
	add_members(L, KIND_BRIDGE, "bridge", lab.bridges, lab.n_bridges);
	add_members(L, KIND_LAB, "sub_lab", lab.sub_labs, lab.n_sub_labs);
	return 1;
}

static int push_names(lua_State *L, Pv__MemberKind kind, const uint32_t *ids, size_t n)
{
	lua_newtable(L);
	for (size_t i = 0; i < n; i++) {
		push_name(L, kind, ids[i]);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	return 1;
}

static int lab_vm_names(lua_State *L)
{
	struct pv_lab_view lab;

	pv_check_lab(L, 1, "lab:vm_names", &lab);
	return push_names(L, KIND_VM, lab.vms, lab.n_vms);
}

static int lab_bridge_names(lua_State *L)
{
	struct pv_lab_view lab;

	pv_check_lab(L, 1, "lab:bridge_names", &lab);
	return push_names(L, KIND_BRIDGE, lab.bridges, lab.n_bridges);
}

static int lab_sub_lab_names(lua_State *L)
{
	struct pv_lab_view lab;

	pv_check_lab(L, 1, "lab:sub_lab_names", &lab);
	return push_names(L, KIND_LAB, lab.sub_labs, lab.n_sub_labs);
}

const luaL_Reg pv_lab_member_methods[] = {
	{ "include", lab_include },
	{ "remove", lab_remove },
	{ "members", lab_members },
	{ "vm_names", lab_vm_names },
	{ "bridge_names", lab_bridge_names },
	{ "sub_lab_names", lab_sub_lab_names },
	{ NULL, NULL },
};
