/* What lies between the members of a bridge: partitions, isolation, latency, loss, rate. */
#include <math.h>
#include <string.h>

#include "engine/script/args.h"
#include "engine/script/networks.h"
#include "engine/script/script_internal.h"

/* ---- pairs ---- */

struct pair {
	struct pv_vm_arg from, to;
	bool both;
};

static void check_pair(lua_State *L, const char *what, const struct pv_bridge_arg *bridge, const struct pair *pair)
{
	if (strcmp(pair->from.name, pair->to.name) == 0)
		pv_raise(L, "%s: \"%s\" stands on both sides", what, pair->from.name);
	(void)pv_arg_member(L, what, bridge, &pair->from);
	(void)pv_arg_member(L, what, bridge, &pair->to);
}

/* from and to of the table at `idx`, which stays on the stack with them. False if it has neither. */
static bool read_from_to(lua_State *L, int idx, const char *what, const struct pv_bridge_arg *bridge, struct pair *pair)
{
	bool from = pv_get_option(L, idx, "from");

	if (from) {
		lua_pushfstring(L, "%s: from", what);
		pv_arg_vm(L, -2, lua_tostring(L, -1), bridge, &pair->from);
	}
	if (pv_get_option(L, idx, "to")) {
		if (!from)
			pv_raise(L, "%s: `from` is missing beside `to`", what);
		lua_pushfstring(L, "%s: to", what);
		pv_arg_vm(L, -2, lua_tostring(L, -1), bridge, &pair->to);
		check_pair(L, what, bridge, pair);
		return true;
	}
	if (from)
		pv_raise(L, "%s: `to` is missing beside `from`", what);
	return false;
}

/* (a, b): both ways; ({from=, to=}): one. */
static void read_pair(lua_State *L, const char *what, const struct pv_bridge_arg *bridge, struct pair *pair)
{
	static const char *const keys[] = { "from", "to", NULL };

	if (lua_istable(L, 2)) {
		pv_arg_end(L, 2, what);
		pv_check_keys(L, 2, what, keys);
		pair->both = false;
		if (!read_from_to(L, 2, what, bridge, pair))
			pv_raise(L, "%s: `from` and `to` are missing", what);
		return;
	}
	pv_arg_end(L, 3, what);
	pair->both = true;
	pv_arg_vm(L, 2, what, bridge, &pair->from);
	pv_arg_vm(L, 3, what, bridge, &pair->to);
	check_pair(L, what, bridge, pair);
}

/* ---- partitions ---- */

static void propose_cut(lua_State *L, const char *what, uint32_t bridge, Pv__Cut *cut, bool lifted)
{
	Pv__BridgeChanged changed = PV__BRIDGE_CHANGED__INIT;
	Pv__CutChange change = PV__CUT_CHANGE__INIT;

	change.cut = cut;
	change.has_all = change.all = cut == NULL;
	change.has_lifted = change.lifted = lifted;
	changed.change_case = PV__BRIDGE_CHANGED__CHANGE_CUT;
	changed.cut = &change;
	pv_change_bridge(L, what, bridge, &changed);
}

static int change_cut(lua_State *L, const char *what, bool lift)
{
	Pv__Cut cut = PV__CUT__INIT;
	struct pv_bridge_arg bridge;
	struct pair pair;

	pv_check_open_bridge(L, what, &bridge);
	read_pair(L, what, &bridge, &pair);
	if (pv_bridge_has_cut(bridge.settings, pair.from.name, pair.to.name, pair.both) != lift)
		return 0; /* it is as wished */
	cut.from = (char *)(uintptr_t)pair.from.name;
	cut.to = (char *)(uintptr_t)pair.to.name;
	cut.has_both = cut.both = pair.both;
	propose_cut(L, what, bridge.id, &cut, lift);
	return 0;
}

static int bridge_partition(lua_State *L)
{
	return change_cut(L, "bridge:partition", false);
}

static int bridge_unpartition(lua_State *L)
{
	return change_cut(L, "bridge:unpartition", true);
}

static int bridge_partition_all(lua_State *L)
{
	struct pv_bridge_arg bridge;

	pv_check_open_bridge(L, "bridge:partition_all", &bridge);
	pv_arg_end(L, 1, "bridge:partition_all");
	propose_cut(L, "bridge:partition_all", bridge.id, NULL, false);
	return 0;
}

static int bridge_restore_all(lua_State *L)
{
	struct pv_bridge_arg bridge;

	pv_check_open_bridge(L, "bridge:restore_all", &bridge);
	pv_arg_end(L, 1, "bridge:restore_all");
	if (bridge.settings->n_cuts > 0)
		propose_cut(L, "bridge:restore_all", bridge.id, NULL, true);
	return 0;
}

static int bridge_is_partitioned(lua_State *L)
{
	static const char *const what = "bridge:is_partitioned";
	struct pv_bridge_arg bridge;
	struct pv_vm_arg from, to;

	pv_check_bridge(L, what, &bridge);
	pv_arg_vm(L, 2, what, &bridge, &from);
	pv_arg_vm(L, 3, what, &bridge, &to);
	pv_arg_end(L, 3, what);
	lua_pushboolean(L, pv_bridge_is_cut(bridge.settings, from.name, to.name));
	return 1;
}

/* ---- isolation ---- */

static int change_isolation(lua_State *L, const char *what, bool lift)
{
	Pv__BridgeChanged changed = PV__BRIDGE_CHANGED__INIT;
	Pv__IsolateChange isolate = PV__ISOLATE_CHANGE__INIT;
	struct pv_bridge_arg bridge;
	struct pv_vm_arg vm;

	pv_check_open_bridge(L, what, &bridge);
	pv_arg_vm(L, 2, what, &bridge, &vm);
	pv_arg_end(L, 2, what);
	(void)pv_arg_member(L, what, &bridge, &vm);
	if (pv_bridge_is_isolated(bridge.settings, vm.name) != lift)
		return 0;
	isolate.name = (char *)(uintptr_t)vm.name;
	isolate.has_lifted = isolate.lifted = lift;
	changed.change_case = PV__BRIDGE_CHANGED__CHANGE_ISOLATE;
	changed.isolate = &isolate;
	pv_change_bridge(L, what, bridge.id, &changed);
	return 0;
}

static int bridge_isolate(lua_State *L)
{
	return change_isolation(L, "bridge:isolate", false);
}

static int bridge_unisolate(lua_State *L)
{
	return change_isolation(L, "bridge:unisolate", true);
}

static int bridge_is_isolated(lua_State *L)
{
	struct pv_bridge_arg bridge;
	struct pv_vm_arg vm;

	pv_check_bridge(L, "bridge:is_isolated", &bridge);
	pv_arg_vm(L, 2, "bridge:is_isolated", &bridge, &vm);
	pv_arg_end(L, 2, "bridge:is_isolated");
	lua_pushboolean(L, pv_bridge_is_isolated(bridge.settings, vm.name));
	return 1;
}

/* ---- impairments ---- */

enum value { LATENCY, JITTER, DROP, RATE };

struct impairment {
	enum value value;
	const char *key; /* of the value in the table form */
	double max;      /* INFINITY: as large as a 64 bit integer */
};

static const struct impairment latency = { LATENCY, "ms", 3600000 };
static const struct impairment jitter = { JITTER, "ms", 3600000 };
static const struct impairment drop = { DROP, "p", 100 };
static const struct impairment rate = { RATE, "bps", 9e18 };

static double read_value(lua_State *L, int idx, const char *what, double max)
{
	double value;

	if (lua_type(L, idx) != LUA_TNUMBER)
		pv_raise(L, "%s: a number expected, got %s", what, luaL_typename(L, idx));
	value = lua_tonumber(L, idx);
	if (value >= 0 && value <= max) /* false for a NaN */
		return value;
	lua_pushvalue(L, idx);
	pv_raise(L, "%s: %s is not between 0 and %f", what, lua_tostring(L, -1), max);
}

static void set(Pv__Impairment *values, enum value which, double value)
{
	switch (which) {
	case LATENCY:
		values->has_latency_ms = 1;
		values->latency_ms = value;
		break;
	case JITTER:
		values->has_jitter_ms = 1;
		values->jitter_ms = value;
		break;
	case DROP:
		values->has_drop_pct = 1;
		values->drop_pct = value;
		break;
	default:
		values->has_bandwidth_bps = 1;
		values->bandwidth_bps = (uint64_t)llround(value);
		break;
	}
}

static void read_table(lua_State *L, const char *what, const struct pv_bridge_arg *bridge,
                       const struct impairment *impairment, Pv__Impairment *values)
{
	const char *keys[] = { "from", "to", impairment->key, NULL, NULL };
	struct pair pair;

	if (impairment->value == LATENCY || impairment->value == JITTER)
		keys[3] = "jitter_ms";
	pv_check_keys(L, 2, what, keys);
	if (read_from_to(L, 2, what, bridge, &pair)) {
		values->from = (char *)(uintptr_t)pair.from.name;
		values->to = (char *)(uintptr_t)pair.to.name;
	}
	if (pv_get_option(L, 2, impairment->key)) {
		lua_pushfstring(L, "%s: %s", what, impairment->key);
		set(values, impairment->value, read_value(L, lua_gettop(L) - 1, lua_tostring(L, -1), impairment->max));
	}
	if (keys[3] != NULL && pv_get_option(L, 2, keys[3])) {
		lua_pushfstring(L, "%s: %s", what, keys[3]);
		set(values, JITTER, read_value(L, lua_gettop(L) - 1, lua_tostring(L, -1), jitter.max));
	}
	if (impairment->value == JITTER
	        ? !values->has_jitter_ms
	        : !values->has_latency_ms && !values->has_drop_pct && !values->has_bandwidth_bps)
		pv_raise(L, "%s: `%s` is missing", what, impairment->key);
}

static bool same(bool has, double now, const double *then)
{
	return !has || now == *then;
}

/* Would nothing change? */
static bool is_so(const Pv__BridgeSettings *settings, const Pv__Impairment *values)
{
	static const Pv__Impairment none = PV__IMPAIRMENT__INIT;
	const Pv__Impairment *then = pv_bridge_impairment(settings, values->from, values->to);

	if (then == NULL)
		then = &none;
	return same(values->has_latency_ms, values->latency_ms, &then->latency_ms) &&
	       same(values->has_jitter_ms, values->jitter_ms, &then->jitter_ms) &&
	       same(values->has_drop_pct, values->drop_pct, &then->drop_pct) &&
	       (!values->has_bandwidth_bps || values->bandwidth_bps == then->bandwidth_bps);
}

static int impair(lua_State *L, const char *what, const struct impairment *impairment, bool only_table)
{
	Pv__BridgeChanged changed = PV__BRIDGE_CHANGED__INIT;
	Pv__Impairment values = PV__IMPAIRMENT__INIT;
	struct pv_bridge_arg bridge;

	pv_check_open_bridge(L, what, &bridge);
	pv_arg_end(L, 2, what);
	if (only_table)
		pv_arg_table(L, 2, what);
	if (lua_istable(L, 2))
		read_table(L, what, &bridge, impairment, &values);
	else
		set(&values, impairment->value, read_value(L, 2, what, impairment->max));
	if (is_so(bridge.settings, &values))
		return 0;
	changed.change_case = PV__BRIDGE_CHANGED__CHANGE_IMPAIR;
	changed.impair = &values;
	pv_change_bridge(L, what, bridge.id, &changed);
	return 0;
}

static int bridge_add_latency(lua_State *L)
{
	return impair(L, "bridge:add_latency", &latency, false);
}

static int bridge_add_directional_latency(lua_State *L)
{
	return impair(L, "bridge:add_directional_latency", &latency, true);
}

static int bridge_jitter(lua_State *L)
{
	return impair(L, "bridge:jitter", &jitter, false);
}

static int bridge_drop_rate(lua_State *L)
{
	return impair(L, "bridge:drop_rate", &drop, false);
}

static int bridge_directional_drop_rate(lua_State *L)
{
	return impair(L, "bridge:directional_drop_rate", &drop, true);
}

static int bridge_bandwidth_limit(lua_State *L)
{
	return impair(L, "bridge:bandwidth_limit", &rate, false);
}

/* ---- what is set ---- */

static const Pv__Impairment *whole(lua_State *L, const char *what)
{
	static const Pv__Impairment none = PV__IMPAIRMENT__INIT;
	const Pv__Impairment *values;
	struct pv_bridge_arg bridge;

	pv_check_bridge(L, what, &bridge);
	pv_arg_end(L, 1, what);
	values = pv_bridge_impairment(bridge.settings, NULL, NULL);
	return values != NULL ? values : &none;
}

/* 50, not 50.0. */
static int push_value(lua_State *L, double value)
{
	if (value == floor(value))
		lua_pushinteger(L, (lua_Integer)value);
	else
		lua_pushnumber(L, value);
	return 1;
}

static int bridge_latency_ms(lua_State *L)
{
	return push_value(L, whole(L, "bridge:latency_ms")->latency_ms);
}

static int bridge_drop_rate_pct(lua_State *L)
{
	return push_value(L, whole(L, "bridge:drop_rate_pct")->drop_pct);
}

static int bridge_bandwidth_bps(lua_State *L)
{
	lua_pushinteger(L, (lua_Integer)whole(L, "bridge:bandwidth_bps")->bandwidth_bps);
	return 1;
}

static int bridge_reset(lua_State *L)
{
	Pv__BridgeChanged changed = PV__BRIDGE_CHANGED__INIT;
	Pv__ClearChange clear = PV__CLEAR_CHANGE__INIT;
	struct pv_bridge_arg bridge;

	pv_check_open_bridge(L, "bridge:reset", &bridge);
	pv_arg_end(L, 1, "bridge:reset");
	if (bridge.settings->n_cuts == 0 && bridge.settings->n_impairments == 0)
		return 0;
	clear.has_cuts = clear.cuts = clear.has_impairments = clear.impairments = 1;
	changed.change_case = PV__BRIDGE_CHANGED__CHANGE_CLEAR;
	changed.clear = &clear;
	pv_change_bridge(L, "bridge:reset", bridge.id, &changed);
	return 0;
}

const luaL_Reg pv_bridge_rule_methods[] = {
	{ "partition", bridge_partition },
	{ "unpartition", bridge_unpartition },
	{ "partition_all", bridge_partition_all },
	{ "restore_all", bridge_restore_all },
	{ "is_partitioned", bridge_is_partitioned },
	{ "isolate", bridge_isolate },
	{ "unisolate", bridge_unisolate },
	{ "is_isolated", bridge_is_isolated },
	{ "add_latency", bridge_add_latency },
	{ "add_directional_latency", bridge_add_directional_latency },
	{ "jitter", bridge_jitter },
	{ "drop_rate", bridge_drop_rate },
	{ "directional_drop_rate", bridge_directional_drop_rate },
	{ "bandwidth_limit", bridge_bandwidth_limit },
	{ "latency_ms", bridge_latency_ms },
	{ "drop_rate_pct", bridge_drop_rate_pct },
	{ "bandwidth_bps", bridge_bandwidth_bps },
	{ "reset", bridge_reset },
	{ NULL, NULL },
};
