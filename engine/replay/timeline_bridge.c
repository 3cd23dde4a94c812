/* What changes of bridges say. */
#include <inttypes.h>

#include "engine/replay/names.h"
#include "engine/replay/timeline_internal.h"

static void pair(const char *from, const char *to, bool both, struct pv_buf *out)
{
	pv_say_text(out, both ? " between " : " from ", from);
	pv_say_text(out, both ? " and " : " to ", to);
}

static void attach(const Pv__AttachChange *change, struct pv_buf *out)
{
	pv_buf_addstr(out, "attaches");
	for (size_t i = 0; i < change->n_members; i++) {
		const Pv__Attachment *member = change->members[i];

		pv_say_text(out, i > 0 ? ", " : " ", member->name);
		pv_buf_addf(out, " as %u.%u%s", member->host >> 8, member->host & 255,
		            member->vm == 0 ? " (once declared)" : "");
	}
}

static void cut(const Pv__CutChange *change, struct pv_buf *out)
{
	pv_buf_addstr(out, change->lifted ? "cut lifted" : "cut");
	if (change->all)
		pv_buf_addstr(out, change->lifted ? ": all" : " between all");
	else if (change->cut != NULL)
		pair(change->cut->from, change->cut->to, change->cut->both, out);
}

void pv_say_impairment(const Pv__Impairment *values, struct pv_buf *out)
{
	const char *comma = "";

	if (values->has_latency_ms) {
		pv_buf_addf(out, " latency %g ms", values->latency_ms);
		comma = ",";
	}
	if (values->has_jitter_ms) {
		pv_buf_addf(out, "%s jitter %g ms", comma, values->jitter_ms);
		comma = ",";
	}
	if (values->has_drop_pct) {
		pv_buf_addf(out, "%s loss %g %%", comma, values->drop_pct);
		comma = ",";
	}
	if (values->has_bandwidth_bps)
		pv_buf_addf(out, "%s rate %" PRIu64 " bit/s", comma, values->bandwidth_bps);
	if (values->from != NULL)
		pair(values->from, values->to, false, out);
}

static void clear(const Pv__ClearChange *change, struct pv_buf *out)
{
	pv_buf_addf(out, "clears%s%s%s", change->impairments ? " impairments" : "",
	            change->impairments && change->cuts ? " and" : "", change->cuts ? " cuts" : "");
}

static void route(const Pv__RouteChange *change, const struct pv_state *before, struct pv_buf *out)
{
	pv_buf_addstr(out, "routes to");
	for (size_t i = 0; i < change->n_bridges; i++) {
		pv_buf_addstr(out, i > 0 ? ", " : " ");
		pv_name_bridge(before, change->bridges[i], out);
	}
}

void pv_say_bridge_changed(const Pv__BridgeChanged *changed, const struct pv_state *before, struct pv_buf *out)
{
	switch (changed->change_case) {
	case PV__BRIDGE_CHANGED__CHANGE_ATTACH:
		attach(changed->attach, out);
		break;
	case PV__BRIDGE_CHANGED__CHANGE_DETACH:
		pv_say_text(out, "detaches ", changed->detach->name);
		break;
	case PV__BRIDGE_CHANGED__CHANGE_LINK:
		pv_say_text(out, "link of ", changed->link->name);
		pv_buf_addstr(out, changed->link->down ? " down" : " up");
		break;
	case PV__BRIDGE_CHANGED__CHANGE_CUT:
		cut(changed->cut, out);
		break;
	case PV__BRIDGE_CHANGED__CHANGE_IMPAIR:
		pv_buf_addstr(out, "sets");
		pv_say_impairment(changed->impair, out);
		break;
	case PV__BRIDGE_CHANGED__CHANGE_CLEAR:
		clear(changed->clear, out);
		break;
	case PV__BRIDGE_CHANGED__CHANGE_ISOLATE:
		pv_say_text(out, changed->isolate->lifted ? "isolates no more " : "isolates ", changed->isolate->name);
		break;
	case PV__BRIDGE_CHANGED__CHANGE_ROUTE:
		route(changed->route, before, out);
		break;
	case PV__BRIDGE_CHANGED__CHANGE_UPLINK:
		pv_buf_addstr(out, changed->uplink->enabled ? "uplink enabled" : "uplink disabled");
		break;
	case PV__BRIDGE_CHANGED__CHANGE_CLOSE:
		pv_buf_addstr(out, "closed");
		break;
	case PV__BRIDGE_CHANGED__CHANGE_SETTINGS:
		pv_buf_addf(out, "settings restored, %zu member(s)", changed->settings->n_members);
		break;
	default:
		pv_buf_addstr(out, "change of a newer version");
	}
}
