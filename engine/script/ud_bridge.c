/* The Bridge of scripts: what all of its methods stand on, and accessors. */
#include "engine/script/args.h"
#include "engine/script/handles.h"
#include "engine/script/networks.h"
#include "engine/script/script_internal.h"
#include "engine/script/site.h"

/* ---- arguments ---- */

void pv_check_bridge(lua_State *L, const char *what, struct pv_bridge_arg *out)
{
	const struct pv_handle *handle = luaL_testudata(L, 1, PV_BRIDGE_TYPE);
	const struct pv_state *state = pv_engine_state(pv_script_of(L)->engine);

	pv_task_current(L, what);
	if (handle == NULL)
		pv_raise(L, "%s: call it with a colon on a Bridge, got %s", what, luaL_typename(L, 1));
	out->id = handle->id;
	if (!pv_state_bridge(state, handle->id, &out->view)) {
		pv_push_handle_name(L, 1);
		pv_raise(L, "%s: the bridge \"%s\" is gone: its scope has ended", what, lua_tostring(L, -1));
	}
	out->settings = pv_state_bridge_settings(state, handle->id);
}

void pv_check_open_bridge(lua_State *L, const char *what, struct pv_bridge_arg *out)
{
	pv_check_bridge(L, what, out);
	if (out->settings->closed)
		pv_raise(L, "%s: the bridge \"%s\" is closed", what, out->view.name);
}

/* As the labs of the bridge see it; and for one of the file, as the test does that names it. */
static uint32_t find_vm(lua_State *L, const struct pv_bridge_arg *bridge, const char *name)
{
	const struct pv_script *script = pv_script_of(L);
	const struct pv_state *state = pv_engine_state(script->engine);
	const Pv__Attachment *member = pv_bridge_member(bridge->settings, name);
	uint32_t vm = member != NULL ? member->vm : 0;

	if (vm == 0)
		vm = pv_state_bridge_vm(state, bridge->id, name);
	if (vm == 0 && pv_state_find(state, script->scope_lab, PV__MEMBER_KIND__MEMBER_KIND_BRIDGE,
	                             bridge->view.name) == bridge->id)
		vm = pv_state_find(state, script->scope_lab, PV__MEMBER_KIND__MEMBER_KIND_VM, name);
	return vm;
}

void pv_arg_vm(lua_State *L, int idx, const char *what, const struct pv_bridge_arg *bridge, struct pv_vm_arg *out)
{
	struct pv_vm_view vm;

	if (lua_type(L, idx) == LUA_TSTRING) {
		out->name = pv_arg_text(L, idx, what);
		out->vm = find_vm(L, bridge, out->name);
		return;
	}
	if (luaL_testudata(L, idx, PV_VM_TYPE) == NULL)
		pv_raise(L, "%s: a VM or its name expected, got %s", what,
		         idx > lua_gettop(L) ? "no value" : luaL_typename(L, idx));
	out->vm = pv_check_vm(L, idx, what, &vm);
	out->name = vm.name;
}

const Pv__Attachment *pv_arg_member(lua_State *L, const char *what, const struct pv_bridge_arg *bridge,
                                    const struct pv_vm_arg *vm)
{
	const Pv__Attachment *member = pv_bridge_member(bridge->settings, vm->name);

	if (member != NULL && member->vm != 0 && vm->vm != 0 && member->vm != vm->vm)
		pv_raise(L, "%s: another VM \"%s\" is attached to the bridge \"%s\"", what, vm->name,
		         bridge->view.name);
	return member;
}

void pv_change_bridge(lua_State *L, const char *what, uint32_t bridge, Pv__BridgeChanged *changed)
{
	struct pv_proposal proposal;

	changed->has_bridge = 1;
	changed->bridge = bridge;
	pv_proposal_init(&proposal, pv_script_of(L), L);
	proposal.event.body_case = PV__EVENT__BODY_BRIDGE_CHANGED;
	proposal.event.bridge_changed = changed;
	pv_propose_or_raise(L, &proposal, what);
}

/* ---- methods ---- */

static int bridge_name(lua_State *L)
{
	if (luaL_testudata(L, 1, PV_BRIDGE_TYPE) == NULL)
		pv_raise(L, "bridge:name: call it with a colon on a Bridge, got %s", luaL_typename(L, 1));
	pv_push_handle_name(L, 1);
	return 1;
}

static int bridge_members(lua_State *L)
{
	struct pv_bridge_arg bridge;
	lua_Integer n = 0;

	pv_check_bridge(L, "bridge:members", &bridge);
	pv_arg_end(L, 1, "bridge:members");
	lua_newtable(L);
	for (size_t i = 0; i < bridge.settings->n_members; i++) {
		const Pv__Attachment *member = bridge.settings->members[i];

		if (member->gone || member->down)
			continue;
		lua_pushstring(L, member->name);
		lua_rawseti(L, -2, ++n);
	}
	return 1;
}

static int bridge_nic(lua_State *L)
{
	static const char *const what = "bridge:nic";
	const Pv__Attachment *member;
	struct pv_bridge_arg bridge;
	struct pv_vm_arg vm;

	pv_check_bridge(L, what, &bridge);
	pv_arg_vm(L, 2, what, &bridge, &vm);
	pv_arg_end(L, 2, what);
	member = pv_arg_member(L, what, &bridge, &vm);
	if (member == NULL)
		pv_raise(L, "%s: the VM \"%s\" is not attached to the bridge \"%s\"", what, vm.name, bridge.view.name);
	if (member->vm == 0)
		pv_raise(L, "%s: the VM \"%s\" is not declared yet", what, vm.name);
	pv_push_nic(L, member->vm, bridge.id);
	return 1;
}

static int bridge_capture(lua_State *L)
{
	struct pv_bridge_arg bridge;

	pv_check_open_bridge(L, "bridge:capture", &bridge);
	pv_arg_end(L, 1, "bridge:capture");
	return pv_capture_open(L, "bridge:capture", bridge.id, 0);
}

static int bridge_tostring(lua_State *L)
{
	lua_pushliteral(L, "Bridge ");
	pv_push_handle_name(L, 1);
	lua_concat(L, 2);
	return 1;
}

static void add_methods(luaL_Reg *all, size_t *n, const luaL_Reg *some)
{
	for (; some->name != NULL; some++)
		all[(*n)++] = *some;
}

void pv_open_bridge(lua_State *L)
{
	static const luaL_Reg methods[] = {
		{ "name", bridge_name }, { "members", bridge_members },
		{ "nic", bridge_nic },   { "capture", bridge_capture },
		{ NULL, NULL },
	};
	luaL_Reg all[48] = { { NULL, NULL } };
	size_t n = 0;

	add_methods(all, &n, methods);
	add_methods(all, &n, pv_bridge_attach_methods);
	add_methods(all, &n, pv_bridge_rule_methods);
	add_methods(all, &n, pv_bridge_route_methods);
	pv_new_type(L, PV_BRIDGE_TYPE, "bridge", all, bridge_tostring);
}
