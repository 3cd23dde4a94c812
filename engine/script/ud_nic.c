/* The Nic of scripts: the place of a VM on a bridge; and vm:nic. */
#include <stdlib.h>
#include <string.h>

#include "engine/lab/network_numbers.h"
#include "engine/script/args.h"
#include "engine/script/call.h"
#include "engine/script/handles.h"
#include "engine/script/networks.h"
#include "engine/script/script_internal.h"
#include "engine/script/vm_methods.h"

/* User values: the names of the VM and of the bridge. */
struct nic {
	uint32_t vm;
	uint32_t bridge;
};

void pv_push_nic(lua_State *L, uint32_t vm, uint32_t bridge)
{
	const struct pv_state *state = pv_engine_state(pv_script_of(L)->engine);
	struct nic *nic = lua_newuserdatauv(L, sizeof(*nic), 2);
	struct pv_bridge_view bridge_view;
	struct pv_vm_view vm_view;

	*nic = (struct nic){ .vm = vm, .bridge = bridge };
	luaL_setmetatable(L, PV_NIC_TYPE);
	lua_pushstring(L, pv_state_vm(state, vm, &vm_view) ? vm_view.name : "?");
	lua_setiuservalue(L, -2, 1);
	lua_pushstring(L, pv_state_bridge(state, bridge, &bridge_view) ? bridge_view.name : "?");
	lua_setiuservalue(L, -2, 2);
}

static struct nic *check(lua_State *L, const char *what)
{
	struct nic *nic = luaL_testudata(L, 1, PV_NIC_TYPE);

	pv_task_current(L, what);
	if (nic == NULL)
		pv_raise(L, "%s: call it with a colon on a Nic, got %s", what, luaL_typename(L, 1));
	pv_arg_end(L, 1, what);
	return nic;
}

static const char *name_of(lua_State *L, int which)
{
	lua_getiuservalue(L, 1, which);
	return lua_tostring(L, -1);
}

/* Its place; raises if the VM is not attached any more. */
static const Pv__Attachment *place(lua_State *L, const struct nic *nic, const char *what)
{
	const Pv__BridgeSettings *settings =
	    pv_state_bridge_settings(pv_engine_state(pv_script_of(L)->engine), nic->bridge);
	const Pv__Attachment *member = settings != NULL ? pv_bridge_member_vm(settings, nic->vm) : NULL;

	if (member == NULL)
		pv_raise(L, "%s: the VM \"%s\" is not attached to the bridge \"%s\" any more", what, name_of(L, 1),
		         name_of(L, 2));
	return member;
}

/* ---- counters ---- */

static int push_counters(lua_State *L, const struct pv_nic_counts *counts)
{
	const struct {
		const char *key;
		uint64_t value;
	} fields[] = {
		{ "rx_bytes", counts->rx_bytes },     { "tx_bytes", counts->tx_bytes },
		{ "rx_packets", counts->rx_packets }, { "tx_packets", counts->tx_packets },
		{ "errors", counts->errors },
	};

	lua_createtable(L, 0, 5);
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		lua_pushinteger(L, (lua_Integer)fields[i].value);
		lua_setfield(L, -2, fields[i].key);
	}
	return 1;
}

static int counted(lua_State *L, struct pv_wait *wait)
{
	return push_counters(L, &pv_call_result(L, wait)->nic);
}

static int nic_counters(lua_State *L)
{
	static const struct pv_nic_counts none = { 0 };
	const struct nic *nic = check(L, "nic:counters");
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__NicCountersCall call = PV__NIC_COUNTERS_CALL__INIT;
	struct pv_vm_view vm;

	place(L, nic, "nic:counters");
	if (!pv_state_vm(pv_engine_state(pv_script_of(L)->engine), nic->vm, &vm) || vm.boots == 0)
		return push_counters(L, &none);
	call.has_bridge = 1;
	call.bridge = nic->bridge;
	started.op_case = PV__CALL_STARTED__OP_NIC_COUNTERS;
	started.nic_counters = &call;
	return pv_call_one(L, "nic:counters", nic->vm, &started, counted);
}

/* ---- the rest ---- */

static int nic_capture(lua_State *L)
{
	const struct nic *nic = check(L, "nic:capture");
	struct pv_vm_view vm;

	place(L, nic, "nic:capture");
	if (!pv_state_vm(pv_engine_state(pv_script_of(L)->engine), nic->vm, &vm) ||
	    (vm.state != PV__VM_STATE__VM_STATE_BOOTED && vm.state != PV__VM_STATE__VM_STATE_PAUSED))
		pv_raise(L, "nic:capture: the VM \"%s\" has no NIC on the bridge \"%s\" now: not booted?",
		         name_of(L, 1), name_of(L, 2));
	return pv_capture_open(L, "nic:capture", nic->bridge, nic->vm);
}

static int set_link(lua_State *L, const char *what, bool down)
{
	const struct nic *nic = check(L, what);
	const Pv__Attachment *member = place(L, nic, what);
	Pv__BridgeChanged changed = PV__BRIDGE_CHANGED__INIT;
	Pv__LinkChange link = PV__LINK_CHANGE__INIT;

	if ((member->down != 0) == down)
		return 0;
	link.name = (char *)(uintptr_t)name_of(L, 1);
	link.has_vm = 1;
	link.vm = nic->vm;
	link.has_down = link.down = down;
	changed.change_case = PV__BRIDGE_CHANGED__CHANGE_LINK;
	changed.link = &link;
	pv_change_bridge(L, what, nic->bridge, &changed);
	return pv_update_nics(L, what, nic->bridge, &nic->vm, 1);
}

static int nic_disconnect(lua_State *L)
{
	return set_link(L, "nic:disconnect", true);
}

static int nic_reconnect(lua_State *L)
{
	return set_link(L, "nic:reconnect", false);
}

static int nic_vm_name(lua_State *L)
{
	check(L, "nic:vm_name");
	lua_getiuservalue(L, 1, 1);
	return 1;
}

static int nic_bridge(lua_State *L)
{
	check(L, "nic:bridge");
	lua_getiuservalue(L, 1, 2);
	return 1;
}

static int nic_tostring(lua_State *L)
{
	lua_pushfstring(L, "Nic %s on %s", name_of(L, 1), name_of(L, 2));
	return 1;
}

void pv_open_nic(lua_State *L)
{
	static const luaL_Reg methods[] = {
		{ "counters", nic_counters },
		{ "capture", nic_capture },
		{ "disconnect", nic_disconnect },
		{ "vm_name", nic_vm_name },
		{ "reconnect", nic_reconnect },
		{ "bridge", nic_bridge },
		{ NULL, NULL },
	};

	pv_new_type(L, PV_NIC_TYPE, "nic", methods, nic_tostring);
}

/* ---- vm:nic ---- */

#define WHAT "vm:nic"

/* The number in eth<N>, enp0s<N>, ens<N>; -1: it is none of those. */
static long interface_number(const char *name)
{
	static const char *const prefixes[] = { "eth", "enp0s", "ens" };

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		size_t len = strlen(prefixes[i]), digits = strspn(name + (strlen(name) < len ? 0 : len), "0123456789");

		if (strncmp(name, prefixes[i], len) == 0 && digits > 0 && digits < 6 && name[len + digits] == '\0')
			return strtol(name + len, NULL, 10);
	}
	return -1;
}

/* A bridge that the VM is on. */
struct place {
	uint32_t bridge;
	const char *name;
};

struct places {
	size_t n;
	struct place at[256];
};

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct place *)a)->name, ((const struct place *)b)->name);
}

static void find_places(const struct pv_state *state, const struct pv_vm_view *vm, struct places *places)
{
	struct pv_bridge_view bridge;

	places->n = 0;
	for (uint32_t id = pv_state_next_bridge(state, vm->file, 0); id != 0;
	     id = pv_state_next_bridge(state, vm->file, id)) {
		if (pv_bridge_member_vm(pv_state_bridge_settings(state, id), vm->id) == NULL ||
		    places->n == sizeof(places->at) / sizeof(places->at[0]) || !pv_state_bridge(state, id, &bridge))
			continue;
		places->at[places->n].bridge = id;
		places->at[places->n++].name = bridge.name;
	}
	qsort(places->at, places->n, sizeof(places->at[0]), by_name);
}

_Noreturn static void raise_unknown(lua_State *L, const char *vm, const char *name)
{
	pv_raise(L,
	         WHAT ": the VM \"%s\" has no NIC \"%s\": the name of a bridge that it is attached to, or that of an "
	              "interface (eth0, ens16, enp0s16) is needed",
	         vm, name);
}

/* The guest has told the MAC of that interface. */
static int got_mac(lua_State *L, struct pv_wait *wait)
{
	const struct pv_state *state = pv_engine_state(pv_script_of(L)->engine);
	struct pv_call_slot *slot = pv_call_outcome(wait);
	char mac[32] = "";
	struct places places;
	struct pv_vm_view vm;

	if (slot->error != NULL && slot->sys_errno == 0)
		pv_call_result(L, wait); /* raises */
	pv_check_vm(L, 1, WHAT, &vm);
	for (size_t i = 0; i + 1 < sizeof(mac) && i < slot->out.len && slot->out.data[i] > ' '; i++)
		mac[i] = (char)slot->out.data[i];
	find_places(state, &vm, &places);
	for (size_t i = 0; i < places.n; i++) {
		const Pv__BridgeSettings *settings = pv_state_bridge_settings(state, places.at[i].bridge);

		if (!pv_member_has_mac(settings, pv_bridge_member_vm(settings, vm.id), mac))
			continue;
		pv_push_nic(L, vm.id, places.at[i].bridge);
		return 1;
	}
	raise_unknown(L, vm.name, lua_tostring(L, 2));
}

static int ask_guest(lua_State *L, const struct pv_vm_view *vm, const char *name)
{
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__ReadFileCall read = PV__READ_FILE_CALL__INIT;

	lua_pushfstring(L, "/sys/class/net/%s/address", name);
	read.has_path = 1;
	read.path =
	    (ProtobufCBinaryData){ .data = (uint8_t *)(uintptr_t)lua_tostring(L, -1), .len = lua_rawlen(L, -1) };
	started.op_case = PV__CALL_STARTED__OP_READ_FILE;
	started.read_file = &read;
	return pv_call_one(L, WHAT, vm->id, &started, got_mac);
}

static int vm_nic(lua_State *L)
{
	const struct pv_state *state = pv_engine_state(pv_script_of(L)->engine);
	struct places places;
	struct pv_vm_view vm;
	const char *name;
	long number;

	pv_task_current(L, WHAT);
	pv_check_vm(L, 1, WHAT, &vm);
	name = pv_arg_text(L, 2, WHAT ": name");
	pv_arg_end(L, 2, WHAT);
	lua_settop(L, 2);
	find_places(state, &vm, &places);
	for (size_t i = 0; i < places.n; i++) {
		if (strcmp(places.at[i].name, name) != 0)
			continue;
		pv_push_nic(L, vm.id, places.at[i].bridge);
		return 1;
	}
	number = interface_number(name);
	if (number >= 0 && vm.state == PV__VM_STATE__VM_STATE_BOOTED && vm.in_flight == PV_VM_OP_NONE)
		return ask_guest(L, &vm, name);
	if (number < 0 || (size_t)number >= places.n)
		raise_unknown(L, vm.name, name);
	pv_push_nic(L, vm.id, places.at[number].bridge);
	return 1;
}

const luaL_Reg pv_vm_nic_methods[] = { { "nic", vm_nic }, { NULL, NULL } };
