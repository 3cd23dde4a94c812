/* The switches of bridges, made what the state says. */
#include "engine/lab/driver_qemu_net.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct pv_state *state_of(const struct qemu_driver *driver)
{
	return pv_engine_state(driver->engine);
}

/* ---- making and ending ---- */

/* Loss and jitter are the same in each run of one seed. */
static uint64_t file_seed(struct qemu_driver *driver, uint32_t file)
{
	struct pv_file_view view;
	uint64_t seed = pv_engine_seed(driver->engine);

	if (pv_state_file(state_of(driver), file, &view))
		for (const char *at = view.path; *at != '\0'; at++)
			seed = (seed ^ (unsigned char)*at) * UINT64_C(1099511628211); /* FNV-1a */
	return seed;
}

struct qemu_bridge *qemu_bridge_find(struct qemu_driver *driver, uint32_t id)
{
	struct qemu_bridge *bridge;

	HASH_FIND(hh, driver->nets.bridges, &id, sizeof(id), bridge);
	return bridge;
}

static enum pv_err make_switch(struct qemu_driver *driver, uint32_t id, struct pv_bridge **out, struct pv_errmsg *msg)
{
	const Pv__BridgeSettings *settings = pv_state_bridge_settings(state_of(driver), id);
	struct pv_bridge_config config = { .number = settings->number };
	struct pv_bridge_view view;
	enum pv_err err = PV_OK;

	if (driver->nets.net == NULL)
		err = pv_net_create(pv_engine_base(driver->engine), &driver->nets.net, msg);
	if (err != PV_OK || !pv_state_bridge(state_of(driver), id, &view))
		return err;
	config.name = view.name;
	config.seed = pv_net_seed(file_seed(driver, view.file), view.name);
	return pv_bridge_create(driver->nets.net, &config, out, msg);
}

struct qemu_bridge *qemu_bridge_get(struct qemu_driver *driver, uint32_t id)
{
	struct qemu_bridge *bridge = qemu_bridge_find(driver, id);
	struct pv_errmsg msg = { 0 };
	struct pv_bridge *made = NULL;
	struct pv_hold_view hold;

	if (bridge != NULL || pv_state_bridge_settings(state_of(driver), id) == NULL)
		return bridge;
	if (make_switch(driver, id, &made, &msg) != PV_OK) {
		pv_engine_notice(driver->engine, "a bridge cannot be made: %s", msg.text);
		return NULL;
	}
	bridge = PV_NEW(struct qemu_bridge);
	bridge->id = id;
	bridge->number = pv_state_bridge_settings(state_of(driver), id)->number;
	bridge->bridge = made;
	LIST_INIT(&bridge->captures);
	HASH_ADD(hh, driver->nets.bridges, id, sizeof(bridge->id), bridge);
	qemu_bridge_hold(bridge, pv_state_hold(state_of(driver), id, &hold));
	return bridge;
}

static void free_bridge(struct qemu_driver *driver, struct qemu_bridge *bridge)
{
	struct qemu_pair *pair, *next;

	qemu_captures_end(driver, bridge);
	HASH_DELETE(hh, driver->nets.bridges, bridge);
	HASH_ITER (hh, bridge->pairs, pair, next) {
		HASH_DEL(bridge->pairs, pair);
		free(pair);
	}
	pv_bridge_destroy(bridge->bridge);
	free(bridge->isolated);
	free(bridge->routes);
	free(bridge->uplink_error);
	free(bridge);
}

void qemu_nets_destroy(struct qemu_driver *driver)
{
	struct qemu_bridge *bridge, *next;

	qemu_net_calls_drop(driver);
	HASH_ITER (hh, driver->nets.bridges, bridge, next)
		free_bridge(driver, bridge);
	pv_net_destroy(driver->nets.net);
	driver->nets.net = NULL;
}

/* ---- rules ---- */

static struct pv_net_rule rule_of(const Pv__Impairment *values)
{
	return (struct pv_net_rule){
		.latency_ns = (uint64_t)llround(values->latency_ms * 1e6),
		.jitter_ns = (uint64_t)llround(values->jitter_ms * 1e6),
		.loss = values->drop_pct / 100,
		.bps = values->bandwidth_bps,
	};
}

static bool same_rule(const struct pv_net_rule *a, const struct pv_net_rule *b)
{
	return a->cut == b->cut && a->latency_ns == b->latency_ns && a->jitter_ns == b->jitter_ns &&
	       !(a->loss < b->loss) && !(a->loss > b->loss) && a->bps == b->bps;
}

/* The member's number for the switch; 0: it is none. */
static uint32_t number_of(const Pv__BridgeSettings *settings, const char *name)
{
	const Pv__Attachment *member = pv_bridge_member(settings, name);

	return member != NULL ? member->host : 0;
}

static struct pv_net_rule *want_pair(struct qemu_bridge *bridge, const Pv__BridgeSettings *settings, const char *from,
                                     const char *to)
{
	struct qemu_pair *pair, key = { .key = { number_of(settings, from), number_of(settings, to) } };

	if (key.key.from == 0 || key.key.to == 0)
		return NULL;
	HASH_FIND(hh, bridge->pairs, &key.key, sizeof(key.key), pair);
	if (pair == NULL) {
		pair = PV_NEW(struct qemu_pair);
		pair->key = key.key;
		HASH_ADD(hh, bridge->pairs, key, sizeof(pair->key), pair);
	}
	return &pair->wanted;
}

static void want_cut(struct qemu_bridge *bridge, const Pv__BridgeSettings *settings, const char *from, const char *to)
{
	struct pv_net_rule *rule = want_pair(bridge, settings, from, to);

	if (rule != NULL)
		rule->cut = true;
}

static void want_pairs(struct qemu_bridge *bridge, const Pv__BridgeSettings *settings)
{
	struct qemu_pair *pair, *next;

	HASH_ITER (hh, bridge->pairs, pair, next)
		pair->wanted = (struct pv_net_rule){ .cut = false };
	for (size_t i = 0; i < settings->n_impairments; i++) {
		const Pv__Impairment *values = settings->impairments[i];
		struct pv_net_rule *rule =
		    values->from != NULL ? want_pair(bridge, settings, values->from, values->to) : NULL;

		if (rule != NULL)
			*rule = rule_of(values);
	}
	for (size_t i = 0; i < settings->n_cuts; i++) {
		want_cut(bridge, settings, settings->cuts[i]->from, settings->cuts[i]->to);
		if (settings->cuts[i]->both)
			want_cut(bridge, settings, settings->cuts[i]->to, settings->cuts[i]->from);
	}
}

static void apply_pairs(struct qemu_bridge *bridge)
{
	static const struct pv_net_rule none;
	struct qemu_pair *pair, *next;

	HASH_ITER (hh, bridge->pairs, pair, next) {
		if (!same_rule(&pair->rule, &pair->wanted))
			pv_bridge_set_pair_rule(bridge->bridge, pair->key.from, pair->key.to, &pair->wanted);
		pair->rule = pair->wanted;
		if (!same_rule(&pair->rule, &none))
			continue;
		HASH_DEL(bridge->pairs, pair);
		free(pair);
	}
}

static void apply_isolation(struct qemu_bridge *bridge, const Pv__BridgeSettings *settings)
{
	for (size_t i = 0; i < bridge->n_isolated; i++)
		pv_bridge_set_isolated(bridge->bridge, bridge->isolated[i], false);
	bridge->isolated = pv_xrealloc(bridge->isolated, (settings->n_isolated + 1) * sizeof(*bridge->isolated));
	bridge->n_isolated = 0;
	for (size_t i = 0; i < settings->n_isolated; i++) {
		uint32_t number = number_of(settings, settings->isolated[i]);

		if (number == 0)
			continue;
		pv_bridge_set_isolated(bridge->bridge, number, true);
		bridge->isolated[bridge->n_isolated++] = number;
	}
}

void qemu_bridge_apply_rules(struct qemu_driver *driver, struct qemu_bridge *bridge)
{
	static const Pv__Impairment none = PV__IMPAIRMENT__INIT;
	const Pv__BridgeSettings *settings = pv_state_bridge_settings(state_of(driver), bridge->id);
	const Pv__Impairment *whole = pv_bridge_impairment(settings, NULL, NULL);
	struct pv_net_rule rule = rule_of(whole != NULL ? whole : &none);

	if (!same_rule(&rule, &bridge->rule))
		pv_bridge_set_rule(bridge->bridge, &rule);
	bridge->rule = rule;
	want_pairs(bridge, settings);
	apply_pairs(bridge);
	apply_isolation(bridge, settings);
}

void qemu_bridge_renew_rules(struct qemu_driver *driver, struct qemu_bridge *bridge)
{
	static const struct pv_net_rule none;
	const Pv__BridgeSettings *settings = pv_state_bridge_settings(state_of(driver), bridge->id);
	struct qemu_pair *pair, *next;

	HASH_ITER (hh, bridge->pairs, pair, next) {
		HASH_DEL(bridge->pairs, pair);
		free(pair);
	}
	pv_bridge_set_rule(bridge->bridge, &none);
	pv_bridge_clear_pair_rules(bridge->bridge);
	bridge->rule = none;
	for (size_t i = 0; i < settings->n_members; i++)
		pv_bridge_set_isolated(bridge->bridge, settings->members[i]->host, false);
	qemu_bridge_apply_rules(driver, bridge);
}

/* ---- routes, uplink ---- */

static bool has_route(const struct qemu_bridge *bridge, uint32_t id)
{
	for (size_t i = 0; i < bridge->n_routes; i++)
		if (bridge->routes[i] == id)
			return true;
	return false;
}

/* Routes go only with one of their bridges. */
static void apply_routes(struct qemu_driver *driver, struct qemu_bridge *bridge, const Pv__BridgeSettings *settings)
{
	for (size_t i = 0; i < settings->n_routes; i++) {
		struct qemu_bridge *other = qemu_bridge_get(driver, settings->routes[i]);
		struct pv_errmsg msg = { 0 };

		if (other == NULL || has_route(bridge, other->id))
			continue;
		if (pv_bridge_route(bridge->bridge, other->bridge, &msg) != PV_OK)
			pv_engine_notice(driver->engine, "a route cannot be made: %s", msg.text);
		bridge->routes = pv_xrealloc(bridge->routes, (bridge->n_routes + 1) * sizeof(*bridge->routes));
		bridge->routes[bridge->n_routes++] = other->id;
	}
}

static void forget_route(struct qemu_driver *driver, uint32_t id)
{
	struct qemu_bridge *bridge, *next;

	HASH_ITER (hh, driver->nets.bridges, bridge, next) {
		size_t n = 0;

		for (size_t i = 0; i < bridge->n_routes; i++)
			if (bridge->routes[i] != id)
				bridge->routes[n++] = bridge->routes[i];
		bridge->n_routes = n;
	}
}

static void apply_uplink(struct qemu_bridge *bridge, bool wanted)
{
	struct pv_errmsg msg = { 0 };

	if (wanted == bridge->uplink && bridge->uplink_error == NULL)
		return;
	free(bridge->uplink_error);
	bridge->uplink_error = NULL;
	if (!wanted)
		pv_bridge_disable_uplink(bridge->bridge);
	else if (pv_bridge_enable_uplink(bridge->bridge, &msg) != PV_OK)
		bridge->uplink_error = pv_xstrdup(msg.text);
	bridge->uplink = wanted;
}

/* ---- all of them ---- */

static bool is_needed(const Pv__BridgeSettings *settings)
{
	return settings->n_members > 0 || settings->n_routes > 0 || settings->uplink;
}

static void end_bridges(struct qemu_driver *driver)
{
	struct qemu_bridge *bridge, *next;

	HASH_ITER (hh, driver->nets.bridges, bridge, next) {
		const Pv__BridgeSettings *settings = pv_state_bridge_settings(state_of(driver), bridge->id);

		if (settings != NULL && !settings->closed && settings->number == bridge->number)
			continue;
		forget_route(driver, bridge->id);
		free_bridge(driver, bridge);
	}
}

/* NICs before their bridges: ports go with those. */
void qemu_networks(void *self)
{
	struct qemu_driver *driver = self;
	const struct pv_state *state = state_of(driver);
	struct qemu_vm *vm, *next;

	HASH_ITER (hh, driver->vms, vm, next)
		qemu_nics_update(vm);
	end_bridges(driver);
	for (uint32_t id = pv_state_next_bridge(state, 0, 0); id != 0; id = pv_state_next_bridge(state, 0, id)) {
		const Pv__BridgeSettings *settings = pv_state_bridge_settings(state, id);
		struct qemu_bridge *bridge = is_needed(settings) && !settings->closed ? qemu_bridge_get(driver, id)
		                                                                      : qemu_bridge_find(driver, id);

		if (bridge == NULL)
			continue;
		qemu_bridge_apply_rules(driver, bridge);
		apply_routes(driver, bridge, settings);
		apply_uplink(bridge, settings->uplink);
	}
}
