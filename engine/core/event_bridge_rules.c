/* Of BridgeChanged: cuts, impairments, isolation. */
#include <math.h>
#include <string.h>

#include "engine/core/event_bridge.h"

#define MS_MAX 3600000.0 /* an hour; beyond that a frame is lost rather than late */

static enum pv_err check_pair(const char *from, const char *to, struct pv_errmsg *msg)
{
	enum pv_err err = pv_name_check(PV__MEMBER_KIND__MEMBER_KIND_VM, from, msg);

	if (err == PV_OK)
		err = pv_name_check(PV__MEMBER_KIND__MEMBER_KIND_VM, to, msg);
	if (err == PV_OK && strcmp(from, to) == 0)
		err = pv_err_set(msg, PV_ERR_INVAL, "\"%s\" stands on both sides", from);
	return err;
}

static enum pv_err check_value(const char *what, double value, double max, struct pv_errmsg *msg)
{
	if (value >= 0 && value <= max) /* false for a NaN */
		return PV_OK;
	return pv_err_set(msg, PV_ERR_INVAL, "%s: %g is not between 0 and %g", what, value, max);
}

enum pv_err pv_impairment_check(const Pv__Impairment *values, struct pv_errmsg *msg)
{
	enum pv_err err = PV_OK;

	if (values->from != NULL || values->to != NULL)
		err = check_pair(values->from, values->to, msg);
	if (err == PV_OK)
		err = check_value("latency in ms", values->latency_ms, MS_MAX, msg);
	if (err == PV_OK)
		err = check_value("jitter in ms", values->jitter_ms, MS_MAX, msg);
	return err == PV_OK ? check_value("loss in percent", values->drop_pct, 100, msg) : err;
}

enum pv_err pv_bridge_rule_check(const struct pv_bridge *bridge, const Pv__BridgeChanged *body, struct pv_errmsg *msg)
{
	(void)bridge;
	switch (body->change_case) {
	case PV__BRIDGE_CHANGED__CHANGE_CUT:
		if (body->cut->all)
			return PV_OK;
		if (body->cut->cut == NULL)
			return pv_err_set(msg, PV_ERR_INVAL, "a cut between nobody");
		return check_pair(body->cut->cut->from, body->cut->cut->to, msg);
	case PV__BRIDGE_CHANGED__CHANGE_IMPAIR:
		return pv_impairment_check(body->impair, msg);
	default:
		return pv_name_check(PV__MEMBER_KIND__MEMBER_KIND_VM, body->isolate->name, msg);
	}
}

/* ---- effects ---- */

static void cut_all(Pv__BridgeSettings *settings)
{
	for (size_t i = 0; i < settings->n_members; i++) {
		for (size_t j = i + 1; j < settings->n_members; j++) {
			const char *a = settings->members[i]->name, *b = settings->members[j]->name;

			if (!pv_is_off(settings->members[i]) && !pv_is_off(settings->members[j]) &&
			    pv_cuts_index(settings, a, b, true) == settings->n_cuts)
				pv_cuts_add(settings, a, b, true);
		}
	}
}

static void clear_cuts(Pv__BridgeSettings *settings)
{
	while (settings->n_cuts > 0)
		pv_cuts_remove(settings, settings->n_cuts - 1);
}

static void apply_cut(Pv__BridgeSettings *settings, const Pv__CutChange *change)
{
	const Pv__Cut *cut = change->cut;
	size_t index;

	if (change->all) {
		if (change->lifted)
			clear_cuts(settings);
		else
			cut_all(settings);
		return;
	}
	index = pv_cuts_index(settings, cut->from, cut->to, cut->both);
	if (change->lifted && index < settings->n_cuts)
		pv_cuts_remove(settings, index);
	else if (!change->lifted && index == settings->n_cuts)
		pv_cuts_add(settings, cut->from, cut->to, cut->both);
}

static void apply_isolate(Pv__BridgeSettings *settings, const Pv__IsolateChange *change)
{
	size_t index = pv_isolated_index(settings, change->name);

	if (change->lifted && index < settings->n_isolated)
		pv_isolated_remove(settings, index);
	else if (!change->lifted && index == settings->n_isolated)
		pv_isolated_add(settings, change->name);
}

void pv_bridge_rule_apply(struct pv_bridge *bridge, const Pv__BridgeChanged *body)
{
	Pv__BridgeSettings *settings = bridge->settings;

	switch (body->change_case) {
	case PV__BRIDGE_CHANGED__CHANGE_CUT:
		apply_cut(settings, body->cut);
		break;
	case PV__BRIDGE_CHANGED__CHANGE_IMPAIR:
		pv_impairments_set(settings, body->impair);
		break;
	case PV__BRIDGE_CHANGED__CHANGE_ISOLATE:
		apply_isolate(settings, body->isolate);
		break;
	default: /* clear */
		if (body->clear->cuts)
			clear_cuts(settings);
		while (body->clear->impairments && settings->n_impairments > 0)
			pv_impairments_remove(settings, settings->n_impairments - 1);
		break;
	}
}
