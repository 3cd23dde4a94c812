/* bridge:attach, bridge:detach, bridge:close; and NICs of VMs that are up following. */
#include <string.h>

#include "engine/lab/network_numbers.h"
#include "engine/script/args.h"
#include "engine/script/call.h"
#include "engine/script/handles.h"
#include "engine/script/networks.h"
#include "engine/script/script_internal.h"
#include "engine/script/site.h"

#define WHAT "bridge:attach"

static bool is_up(const struct pv_state *state, uint32_t id)
{
	struct pv_vm_view vm;

	return pv_state_vm(state, id, &vm) &&
	       (vm.state == PV__VM_STATE__VM_STATE_BOOTED || vm.state == PV__VM_STATE__VM_STATE_PAUSED);
}

/* ---- NICs of VMs that are up ---- */

/* Starts a call for each of them that is up. */
static struct pv_calls *start_updates(lua_State *L, const char *what, uint32_t bridge, const uint32_t *vms, size_t n,
                                      int (*then)(lua_State *L, struct pv_wait *))
{
	const struct pv_state *state = pv_engine_state(pv_script_of(L)->engine);
	struct pv_calls *calls = pv_calls_push(L, what, n, then);

	for (size_t i = 0; i < n; i++) {
		Pv__CallStarted started = PV__CALL_STARTED__INIT;
		Pv__NicCall nic = PV__NIC_CALL__INIT;

		calls->slots[i].vm = vms[i];
		if (!is_up(state, vms[i]))
			continue;
		nic.has_bridge = 1;
		nic.bridge = bridge;
		started.op_case = PV__CALL_STARTED__OP_NIC;
		started.nic = &nic;
		/* A refusal stays in the slot. */
		(void)!pv_calls_start(L, calls, i, vms[i], &started);
	}
	return calls;
}

static int updated(lua_State *L, struct pv_wait *wait)
{
	const struct pv_calls *calls = (struct pv_calls *)wait;
	struct pv_vm_view vm;

	for (size_t i = 0; i < calls->n; i++)
		if (calls->slots[i].error != NULL)
			pv_raise(L, "%s: the VM \"%s\": %s", calls->what,
			         pv_state_vm(pv_engine_state(calls->engine), calls->slots[i].vm, &vm) ? vm.name : "?",
			         calls->slots[i].error);
	return 0;
}

int pv_update_nics(lua_State *L, const char *what, uint32_t bridge, const uint32_t *vms, size_t n)
{
	return pv_calls_await(L, start_updates(L, what, bridge, vms, n, updated));
}

/* ---- attach ---- */

/* What a call of attach works with, at 3 of its stack. */
struct attaching {
	uint32_t bridge;
	size_t n;
	uint32_t *vms;
	Pv__Attachment *members;
	Pv__Attachment **list;
};

static struct attaching *push_attaching(lua_State *L, size_t n)
{
	size_t each = sizeof(Pv__Attachment) + sizeof(Pv__Attachment *) + sizeof(uint32_t);
	struct attaching *a = lua_newuserdatauv(L, sizeof(*a) + n * each, 0);

	*a = (struct attaching){ .n = 0 };
	a->members = (Pv__Attachment *)(void *)(a + 1);
	a->list = (Pv__Attachment **)(void *)(a->members + n);
	a->vms = (uint32_t *)(void *)(a->list + n);
	return a;
}

static size_t check_array(lua_State *L, int idx)
{
	size_t n = lua_rawlen(L, idx), n_keys = 0;

	for (lua_pushnil(L); lua_next(L, idx) != 0; lua_pop(L, 1))
		n_keys++;
	if (n_keys != n)
		pv_raise(L, WHAT ": an array is needed; the table has other keys or holes");
	return n;
}

static void check_profile(lua_State *L, const char *what, uint32_t id)
{
	const struct pv_engine *engine = pv_script_of(L)->engine;
	const struct pv_profile *profile;
	struct pv_vm_view vm;

	if (id == 0 || !pv_state_vm(pv_engine_state(engine), id, &vm))
		return;
	profile = pv_engine_profile(engine, vm.profile);
	if (profile != NULL && !profile->net)
		pv_raise(L, "%s: the VM \"%s\" gets no NIC: its profile \"%s\" has net = \"none\"", what, vm.name,
		         vm.profile);
}

/* Takes in the VM at `idx`, unless it is attached, or stands in the list, already. */
static void add_member(lua_State *L, const char *what, const struct pv_bridge_arg *bridge, struct attaching *a, int idx)
{
	const Pv__Attachment *there;
	Pv__Attachment *member = &a->members[a->n];
	struct pv_vm_arg vm;

	pv_arg_vm(L, idx, what, bridge, &vm);
	there = pv_arg_member(L, what, bridge, &vm);
	if (there != NULL && there->vm == vm.vm)
		return;
	for (size_t i = 0; i < a->n; i++)
		if (strcmp(a->members[i].name, vm.name) == 0 && a->members[i].vm == vm.vm)
			return;
	check_profile(L, what, vm.vm);
	pv__attachment__init(member);
	member->name = (char *)(uintptr_t)vm.name;
	member->vm = vm.vm;
	member->host = pv_host_number_for(bridge->settings, vm.name, a->list, a->n);
	a->vms[a->n] = vm.vm;
	a->list[a->n++] = member;
}

/* Those that could not be plugged are not attached; the first reason is raised. */
static int attached(lua_State *L, struct pv_wait *wait)
{
	const struct pv_calls *calls = (struct pv_calls *)wait;
	const struct attaching *a = lua_touserdata(L, 3);
	const struct pv_state *state = pv_engine_state(calls->engine);

	for (size_t i = 0; i < calls->n; i++) {
		Pv__BridgeChanged changed = PV__BRIDGE_CHANGED__INIT;
		Pv__DetachChange detach = PV__DETACH_CHANGE__INIT;
		const Pv__BridgeSettings *settings = pv_state_bridge_settings(state, a->bridge);
		const Pv__Attachment *member =
		    settings != NULL ? pv_bridge_member_vm(settings, calls->slots[i].vm) : NULL;
		char *name;

		if (calls->slots[i].error == NULL || member == NULL || settings->closed)
			continue;
		name = lua_newuserdatauv(L, strlen(member->name) + 1, 0);
		memcpy(name, member->name, strlen(member->name) + 1);
		detach.name = name;
		detach.has_vm = 1;
		detach.vm = calls->slots[i].vm;
		changed.change_case = PV__BRIDGE_CHANGED__CHANGE_DETACH;
		changed.detach = &detach;
		pv_change_bridge(L, WHAT, a->bridge, &changed);
	}
	return updated(L, wait);
}

static int bridge_attach(lua_State *L)
{
	Pv__BridgeChanged changed = PV__BRIDGE_CHANGED__INIT;
	Pv__AttachChange attach = PV__ATTACH_CHANGE__INIT;
	struct pv_bridge_arg bridge;
	struct attaching *a;
	size_t n;

	pv_check_open_bridge(L, WHAT, &bridge);
	pv_arg_end(L, 2, WHAT);
	lua_settop(L, 2);
	n = lua_istable(L, 2) ? check_array(L, 2) : 1;
	a = push_attaching(L, n);
	a->bridge = bridge.id;
	if (!lua_istable(L, 2))
		add_member(L, WHAT, &bridge, a, 2);
	for (size_t i = 0; lua_istable(L, 2) && i < n; i++) {
		/* Stays on the stack: names are the values'. */
		luaL_checkstack(L, 4, WHAT);
		lua_rawgeti(L, 2, (lua_Integer)i + 1);
		lua_pushfstring(L, WHAT ": element %I", (LUAI_UACINT)i + 1);
		add_member(L, lua_tostring(L, -1), &bridge, a, lua_gettop(L) - 1);
		lua_pop(L, 2); /* the table keeps the value */
	}
	if (a->n == 0)
		return 0;
	attach.n_members = a->n;
	attach.members = a->list;
	changed.change_case = PV__BRIDGE_CHANGED__CHANGE_ATTACH;
	changed.attach = &attach;
	pv_change_bridge(L, WHAT, bridge.id, &changed);
	lua_settop(L, 3);
	return pv_calls_await(L, start_updates(L, WHAT, a->bridge, a->vms, a->n, attached));
}

#undef WHAT

/* ---- detach, close ---- */

static int bridge_detach(lua_State *L)
{
	static const char *const what = "bridge:detach";
	Pv__BridgeChanged changed = PV__BRIDGE_CHANGED__INIT;
	Pv__DetachChange detach = PV__DETACH_CHANGE__INIT;
	const Pv__Attachment *member;
	struct pv_bridge_arg bridge;
	struct pv_vm_arg vm;
	uint32_t id;

	pv_check_bridge(L, what, &bridge);
	pv_arg_vm(L, 2, what, &bridge, &vm);
	pv_arg_end(L, 2, what);
	member = pv_bridge_member(bridge.settings, vm.name);
	if (member == NULL || (vm.vm != 0 && member->vm != 0 && member->vm != vm.vm))
		return 0;
	id = member->vm;
	detach.name = (char *)(uintptr_t)vm.name;
	detach.has_vm = id != 0;
	detach.vm = id;
	changed.change_case = PV__BRIDGE_CHANGED__CHANGE_DETACH;
	changed.detach = &detach;
	pv_change_bridge(L, what, bridge.id, &changed);
	return pv_update_nics(L, what, bridge.id, &id, id != 0);
}

static int bridge_close(lua_State *L)
{
	static const char *const what = "bridge:close";
	Pv__BridgeChanged changed = PV__BRIDGE_CHANGED__INIT;
	Pv__CloseChange close = PV__CLOSE_CHANGE__INIT;
	const struct pv_handle *handle = luaL_testudata(L, 1, PV_BRIDGE_TYPE);
	struct pv_bridge_arg bridge;
	uint32_t *vms;
	size_t n = 0;

	if (handle != NULL && pv_state_bridge_settings(pv_engine_state(pv_script_of(L)->engine), handle->id) == NULL)
		return 0; /* with its scope */
	pv_check_bridge(L, what, &bridge);
	pv_arg_end(L, 1, what);
	if (bridge.settings->closed)
		return 0;
	vms = lua_newuserdatauv(L, bridge.settings->n_members * sizeof(*vms) + 1, 0);
	for (size_t i = 0; i < bridge.settings->n_members; i++)
		if (bridge.settings->members[i]->vm != 0 && !bridge.settings->members[i]->gone)
			vms[n++] = bridge.settings->members[i]->vm;
	changed.change_case = PV__BRIDGE_CHANGED__CHANGE_CLOSE;
	changed.close = &close;
	pv_change_bridge(L, what, bridge.id, &changed);
	return pv_update_nics(L, what, bridge.id, vms, n);
}

const luaL_Reg pv_bridge_attach_methods[] = {
	{ "attach", bridge_attach },
	{ "detach", bridge_detach },
	{ "close", bridge_close },
	{ NULL, NULL },
};
