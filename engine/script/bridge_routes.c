/* bridge:route, bridge:routes, bridge:enable_uplink, bridge:disable_uplink. */
#include "engine/script/args.h"
#include "engine/script/call.h"
#include "engine/script/handles.h"
#include "engine/script/networks.h"
#include "engine/script/script_internal.h"

#define WHAT       "bridge:route"
#define ROUTES_MAX 256

/* The bridge at `idx`: one, or the name of one. */
static uint32_t read_bridge(lua_State *L, int idx, const char *what, const struct pv_bridge_arg *bridge)
{
	const struct pv_script *script = pv_script_of(L);
	const struct pv_state *state = pv_engine_state(script->engine);
	Pv__MemberKind kind = PV__MEMBER_KIND__MEMBER_KIND_VM;
	const char *name;
	uint32_t id = pv_handle_member(L, idx, &kind);

	if (id != 0 && kind == PV__MEMBER_KIND__MEMBER_KIND_BRIDGE)
		return id;
	if (lua_type(L, idx) != LUA_TSTRING)
		pv_raise(L, "%s: a Bridge or its name expected, got %s", what,
		         idx > lua_gettop(L) ? "no value" : luaL_typename(L, idx));
	name = pv_arg_text(L, idx, what);
	id = pv_state_find(state, bridge->view.home, PV__MEMBER_KIND__MEMBER_KIND_BRIDGE, name);
	if (id == 0)
		id = pv_state_find(state, script->scope_lab, PV__MEMBER_KIND__MEMBER_KIND_BRIDGE, name);
	if (id == 0)
		pv_raise(L, "%s: there is no bridge \"%s\"", what, name);
	return id;
}

/* Unless it is declared already, or stands in the list. */
static void add_route(lua_State *L, int idx, const char *what, const struct pv_bridge_arg *bridge, uint32_t *list,
                      size_t *n)
{
	uint32_t id = read_bridge(L, idx, what, bridge);

	if (id == bridge->id)
		pv_raise(L, "%s: the bridge \"%s\" cannot have a route to itself", what, bridge->view.name);
	for (size_t i = 0; i < bridge->settings->n_routes; i++)
		if (bridge->settings->routes[i] == id)
			return;
	for (size_t i = 0; i < *n; i++)
		if (list[i] == id)
			return;
	if (*n == ROUTES_MAX)
		pv_raise(L, "%s: more than %d bridges", what, ROUTES_MAX);
	list[(*n)++] = id;
}

static int bridge_route(lua_State *L)
{
	Pv__BridgeChanged changed = PV__BRIDGE_CHANGED__INIT;
	Pv__RouteChange route = PV__ROUTE_CHANGE__INIT;
	uint32_t list[ROUTES_MAX];
	struct pv_bridge_arg bridge;
	size_t n = 0;

	pv_check_open_bridge(L, WHAT, &bridge);
	pv_arg_end(L, 2, WHAT);
	lua_settop(L, 2);
	if (!lua_istable(L, 2))
		add_route(L, 2, WHAT, &bridge, list, &n);
	for (lua_Integer i = 1; lua_istable(L, 2) && i <= (lua_Integer)lua_rawlen(L, 2); i++) {
		lua_rawgeti(L, 2, i);
		lua_pushfstring(L, WHAT ": element %I", (LUAI_UACINT)i);
		add_route(L, 3, lua_tostring(L, 4), &bridge, list, &n);
		lua_settop(L, 2);
	}
	if (n == 0)
		return 0;
	route.n_bridges = n;
	route.bridges = list;
	changed.change_case = PV__BRIDGE_CHANGED__CHANGE_ROUTE;
	changed.route = &route;
	pv_change_bridge(L, WHAT, bridge.id, &changed);
	return 0;
}

#undef WHAT

static int bridge_routes(lua_State *L)
{
	const struct pv_state *state = pv_engine_state(pv_script_of(L)->engine);
	struct pv_bridge_view other;
	struct pv_bridge_arg bridge;

	pv_check_bridge(L, "bridge:routes", &bridge);
	pv_arg_end(L, 1, "bridge:routes");
	lua_newtable(L);
	for (size_t i = 0; i < bridge.settings->n_routes; i++) {
		if (!pv_state_bridge(state, bridge.settings->routes[i], &other))
			continue;
		lua_pushstring(L, other.name);
		lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
	}
	return 1;
}

/* ---- uplink ---- */

static void set_uplink(lua_State *L, const char *what, uint32_t bridge, bool enabled)
{
	Pv__BridgeChanged changed = PV__BRIDGE_CHANGED__INIT;
	Pv__UplinkChange uplink = PV__UPLINK_CHANGE__INIT;

	uplink.has_enabled = 1;
	uplink.enabled = enabled;
	changed.change_case = PV__BRIDGE_CHANGED__CHANGE_UPLINK;
	changed.uplink = &uplink;
	pv_change_bridge(L, what, bridge, &changed);
}

/* An uplink that cannot be had is disabled again. */
static int enabled(lua_State *L, struct pv_wait *wait)
{
	const struct pv_handle *handle = lua_touserdata(L, 1);
	const Pv__BridgeSettings *settings =
	    pv_state_bridge_settings(pv_engine_state(pv_script_of(L)->engine), handle->id);

	if (pv_call_outcome(wait)->error != NULL && settings != NULL && settings->uplink)
		set_uplink(L, "bridge:enable_uplink", handle->id, false);
	pv_call_result(L, wait);
	return 0;
}

static int disabled(lua_State *L, struct pv_wait *wait)
{
	pv_call_result(L, wait);
	return 0;
}

static int change_uplink(lua_State *L, const char *what, bool enable)
{
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__UplinkCall call = PV__UPLINK_CALL__INIT;
	struct pv_bridge_arg bridge;

	pv_check_open_bridge(L, what, &bridge);
	pv_arg_end(L, 1, what);
	lua_settop(L, 1);
	if ((bridge.settings->uplink != 0) == enable)
		return 0;
	set_uplink(L, what, bridge.id, enable);
	call.has_bridge = 1;
	call.bridge = bridge.id;
	started.op_case = PV__CALL_STARTED__OP_UPLINK;
	started.uplink = &call;
	return pv_call_one(L, what, 0, &started, enable ? enabled : disabled);
}

static int bridge_enable_uplink(lua_State *L)
{
	return change_uplink(L, "bridge:enable_uplink", true);
}

static int bridge_disable_uplink(lua_State *L)
{
	return change_uplink(L, "bridge:disable_uplink", false);
}

const luaL_Reg pv_bridge_route_methods[] = {
	{ "route", bridge_route },
	{ "routes", bridge_routes },
	{ "enable_uplink", bridge_enable_uplink },
	{ "disable_uplink", bridge_disable_uplink },
	{ NULL, NULL },
};
