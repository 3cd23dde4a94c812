#include "engine/script/saved_bridges.h"

#include <stdlib.h>
#include <string.h>

#include "engine/lab/network_numbers.h"
#include "engine/script/json.h"
#include "engine/script/networks.h"
#include "engine/script/script_internal.h"
#include "engine/script/site.h"
#include "proto/copy.h"

/* ---- writing ---- */

static void push_list(lua_State *L)
{
	lua_newtable(L);
	luaL_setmetatable(L, PV_JSON_ARRAY_TYPE);
}

static void append(lua_State *L)
{
	lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
}

static void set_text(lua_State *L, const char *key, const char *text)
{
	if (text == NULL)
		return;
	lua_pushstring(L, text);
	lua_setfield(L, -2, key);
}

static void push_members(lua_State *L, const Pv__BridgeSettings *settings)
{
	char address[PV_ADDRESS_TEXT];

	push_list(L);
	for (size_t i = 0; i < settings->n_members; i++) {
		if (settings->members[i]->gone)
			continue;
		lua_createtable(L, 0, 3);
		set_text(L, "name", settings->members[i]->name);
		set_text(L, "address", pv_member_address(settings, settings->members[i], address));
		lua_pushboolean(L, !settings->members[i]->down);
		lua_setfield(L, -2, "link");
		append(L);
	}
}

static void push_rules(lua_State *L, const Pv__BridgeSettings *settings)
{
	push_list(L);
	for (size_t i = 0; i < settings->n_cuts; i++) {
		lua_createtable(L, 0, 3);
		set_text(L, "from", settings->cuts[i]->from);
		set_text(L, "to", settings->cuts[i]->to);
		set_text(L, "cut", settings->cuts[i]->both ? "both" : "one way");
		append(L);
	}
	for (size_t i = 0; i < settings->n_impairments; i++) {
		const Pv__Impairment *values = settings->impairments[i];

		lua_createtable(L, 0, 6);
		set_text(L, "from", values->from);
		set_text(L, "to", values->to);
		lua_pushnumber(L, values->latency_ms);
		lua_setfield(L, -2, "latency_ms");
		lua_pushnumber(L, values->jitter_ms);
		lua_setfield(L, -2, "jitter_ms");
		lua_pushnumber(L, values->drop_pct);
		lua_setfield(L, -2, "drop_pct");
		lua_pushinteger(L, (lua_Integer)values->bandwidth_bps);
		lua_setfield(L, -2, "bandwidth_bps");
		append(L);
	}
}

static void push_routes(lua_State *L, const struct pv_state *state, const Pv__BridgeSettings *settings)
{
	struct pv_bridge_view other;

	push_list(L);
	for (size_t i = 0; i < settings->n_routes; i++) {
		if (!pv_state_bridge(state, settings->routes[i], &other))
			continue;
		lua_pushstring(L, other.name);
		append(L);
	}
}

/* Ids are of one run, and NICs that are gone are not wanted again. */
static void strip(Pv__BridgeSettings *settings)
{
	size_t n = 0;

	for (size_t i = 0; i < settings->n_members; i++) {
		Pv__Attachment *member = settings->members[i];

		if (member->gone) {
			pv__attachment__free_unpacked(member, NULL);
			continue;
		}
		member->has_vm = 0;
		member->vm = 0;
		settings->members[n++] = member;
	}
	settings->n_members = n;
	settings->n_routes = 0;
}

static void push_packed(lua_State *L, const Pv__BridgeSettings *settings)
{
	struct pv_buf *hex = pv_buf_push(L);
	Pv__BridgeSettings *copy = pv_message_copy(&settings->base);
	size_t len;
	uint8_t *bytes;

	strip(copy);
	len = pv__bridge_settings__get_packed_size(copy);
	bytes = pv_xmalloc(len + 1);
	pv__bridge_settings__pack(copy, bytes);
	for (size_t i = 0; i < len; i++)
		pv_buf_addf(hex, "%02x", bytes[i]);
	free(bytes);
	pv__bridge_settings__free_unpacked(copy, NULL);
	lua_pushlstring(L, pv_buf_str(hex), hex->len);
	lua_remove(L, -2);
}

void pv_saved_bridge_push(lua_State *L, const struct pv_state *state, uint32_t bridge)
{
	const Pv__BridgeSettings *settings = pv_state_bridge_settings(state, bridge);

	luaL_checkstack(L, 8, NULL);
	lua_createtable(L, 0, 8);
	lua_pushinteger(L, settings->number);
	lua_setfield(L, -2, "number");
	push_members(L, settings);
	lua_setfield(L, -2, "members");
	push_rules(L, settings);
	lua_setfield(L, -2, "rules");
	push_list(L);
	for (size_t i = 0; i < settings->n_isolated; i++) {
		lua_pushstring(L, settings->isolated[i]);
		append(L);
	}
	lua_setfield(L, -2, "isolated");
	push_routes(L, state, settings);
	lua_setfield(L, -2, "routes");
	lua_pushboolean(L, settings->uplink);
	lua_setfield(L, -2, "uplink");
	push_packed(L, settings);
	lua_setfield(L, -2, "packed");
}

/* ---- reading ---- */

static int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* NULL: there are none, or they are damaged. The caller frees. */
static Pv__BridgeSettings *unpack(lua_State *L, int idx)
{
	Pv__BridgeSettings *settings = NULL;
	const char *hex;
	uint8_t *bytes;
	size_t len;
	bool fine = true;

	if (lua_getfield(L, idx, "packed") == LUA_TSTRING) {
		hex = lua_tolstring(L, -1, &len);
		bytes = pv_xmalloc(len / 2 + 1);
		for (size_t i = 0; i + 1 < len; i += 2) {
			fine &= digit(hex[i]) >= 0 && digit(hex[i + 1]) >= 0;
			bytes[i / 2] = (uint8_t)(digit(hex[i]) << 4 | digit(hex[i + 1]));
		}
		if (fine && len % 2 == 0)
			settings = pv__bridge_settings__unpack(NULL, len / 2, bytes);
		free(bytes);
	}
	lua_pop(L, 1);
	return settings;
}

uint32_t pv_saved_bridge_number(lua_State *L, int idx)
{
	Pv__BridgeSettings *settings;
	uint32_t number;

	idx = lua_absindex(L, idx);
	if (!lua_istable(L, idx))
		return 0;
	settings = unpack(L, idx);
	number = settings != NULL ? settings->number : 0;
	if (settings != NULL)
		pv__bridge_settings__free_unpacked(settings, NULL);
	return number;
}

static bool is_among(const uint32_t *ids, size_t n, uint32_t id)
{
	for (size_t i = 0; i < n; i++)
		if (ids[i] == id)
			return true;
	return false;
}

static void add_member(Pv__BridgeSettings *settings, const Pv__Attachment *member)
{
	settings->members = pv_xrealloc(settings->members, (settings->n_members + 1) * sizeof(*settings->members));
	settings->members[settings->n_members++] = pv_message_copy(&member->base);
}

/* Names become VMs, routes bridges; others stay attached. */
static void complete(lua_State *L, int idx, uint32_t bridge, const uint32_t *restored, size_t n,
                     Pv__BridgeSettings *settings)
{
	const struct pv_state *state = pv_engine_state(pv_script_of(L)->engine);
	const Pv__BridgeSettings *now = pv_state_bridge_settings(state, bridge);
	struct pv_bridge_view view;

	strip(settings);
	for (size_t i = 0; i < settings->n_members; i++) {
		Pv__Attachment *member = settings->members[i];

		member->vm = member->name != NULL ? pv_state_bridge_vm(state, bridge, member->name) : 0;
		member->has_vm = member->vm != 0;
		if (member->vm == 0)
			member->has_pci = 0, member->pci = 0;
	}
	for (size_t i = 0; i < now->n_members; i++)
		if (!is_among(restored, n, now->members[i]->vm) &&
		    pv_bridge_member(settings, now->members[i]->name) == NULL)
			add_member(settings, now->members[i]);
	if (!pv_state_bridge(state, bridge, &view) || lua_getfield(L, idx, "routes") != LUA_TTABLE)
		return;
	for (lua_Integer i = 1; i <= (lua_Integer)lua_rawlen(L, -1); i++) {
		uint32_t other = 0;

		if (lua_rawgeti(L, -1, i) == LUA_TSTRING)
			other =
			    pv_state_find(state, view.home, PV__MEMBER_KIND__MEMBER_KIND_BRIDGE, lua_tostring(L, -1));
		lua_pop(L, 1);
		if (other == 0 || other == bridge || is_among(settings->routes, settings->n_routes, other))
			continue;
		settings->routes = pv_xrealloc(settings->routes, (settings->n_routes + 1) * sizeof(*settings->routes));
		settings->routes[settings->n_routes++] = other;
	}
	lua_pop(L, 1);
}

void pv_saved_bridge_apply(lua_State *L, const char *what, int idx, uint32_t bridge, const uint32_t *restored, size_t n)
{
	Pv__BridgeChanged changed = PV__BRIDGE_CHANGED__INIT;
	struct pv_proposal proposal;
	struct pv_errmsg msg;
	enum pv_err err;

	idx = lua_absindex(L, idx);
	luaL_checkstack(L, 8, NULL);
	if (!lua_istable(L, idx) || lua_getfield(L, idx, "packed") == LUA_TNIL)
		return; /* of a version without networks */
	lua_pop(L, 1);
	changed.settings = unpack(L, idx);
	if (changed.settings == NULL)
		pv_raise(L, "%s: lab.json is damaged: the settings of a bridge cannot be read", what);
	complete(L, idx, bridge, restored, n, changed.settings);
	changed.has_bridge = 1;
	changed.bridge = bridge;
	changed.change_case = PV__BRIDGE_CHANGED__CHANGE_SETTINGS;
	pv_proposal_init(&proposal, pv_script_of(L), L);
	proposal.event.body_case = PV__EVENT__BODY_BRIDGE_CHANGED;
	proposal.event.bridge_changed = &changed;
	err = pv_engine_propose(pv_script_of(L)->engine, &proposal.event, &msg);
	pv__bridge_settings__free_unpacked(changed.settings, NULL);
	if (err != PV_OK)
		pv_raise(L, "%s: a bridge: %s", what, msg.text);
}

void pv_saved_bridge_clear(lua_State *L, const char *what, uint32_t bridge, const uint32_t *vms, size_t n)
{
	const struct pv_state *state = pv_engine_state(pv_script_of(L)->engine);

	for (size_t i = 0; i < n; i++) {
		Pv__BridgeChanged changed = PV__BRIDGE_CHANGED__INIT;
		Pv__DetachChange detach = PV__DETACH_CHANGE__INIT;
		const Pv__BridgeSettings *settings = pv_state_bridge_settings(state, bridge);
		const Pv__Attachment *member = pv_bridge_member_vm(settings, vms[i]);

		if (member == NULL || settings->closed)
			continue;
		lua_pushstring(L, member->name);
		detach.name = (char *)(uintptr_t)lua_tostring(L, -1);
		detach.has_vm = 1;
		detach.vm = vms[i];
		changed.change_case = PV__BRIDGE_CHANGED__CHANGE_DETACH;
		changed.detach = &detach;
		pv_change_bridge(L, what, bridge, &changed);
		lua_pop(L, 1);
	}
}
