/* A bridge in the trees: who is on it, and what is between them, a line each. */
#include <inttypes.h>

#include "engine/replay/timeline_internal.h"
#include "engine/replay/tree_internal.h"

static void name_routes(const Pv__LabState *state, const Pv__BridgeSettings *settings, struct pv_buf *out)
{
	if (settings->n_routes == 0)
		return;
	pv_buf_addstr(out, "routes to");
	for (size_t i = 0; i < settings->n_routes; i++) {
		const Pv__BridgeNode *other = pv_tree_bridge(state, settings->routes[i]);

		pv_say_text(out, i > 0 ? ", " : " ", other != NULL ? other->name : "?");
	}
	pv_buf_addstr(out, "\n");
}

void pv_tree_bridge_lines(const Pv__LabState *state, const Pv__BridgeSettings *settings, struct pv_buf *out)
{
	for (size_t i = 0; i < settings->n_members; i++) {
		const Pv__Attachment *member = settings->members[i];

		pv_say_text(out, member->gone ? "detached " : "member ", member->name);
		pv_buf_addf(out, "  10.%u.%u.%u%s%s\n", settings->number, member->host >> 8, member->host & 255,
		            member->down ? "  link down" : "", member->vm == 0 ? "  not declared yet" : "");
	}
	for (size_t i = 0; i < settings->n_cuts; i++) {
		pv_say_text(out, "cut ", settings->cuts[i]->from);
		pv_say_text(out, settings->cuts[i]->both ? " <-> " : " -> ", settings->cuts[i]->to);
		pv_buf_addstr(out, "\n");
	}
	for (size_t i = 0; i < settings->n_impairments; i++) {
		pv_buf_addstr(out, "frames meet");
		pv_say_impairment(settings->impairments[i], out);
		pv_buf_addstr(out, "\n");
	}
	for (size_t i = 0; i < settings->n_isolated; i++) {
		pv_say_text(out, "isolated ", settings->isolated[i]);
		pv_buf_addstr(out, "\n");
	}
	name_routes(state, settings, out);
	if (settings->uplink)
		pv_buf_addstr(out, "uplink\n");
	if (settings->closed)
		pv_buf_addstr(out, "closed\n");
}
