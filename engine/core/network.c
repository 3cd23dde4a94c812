#include "engine/core/network.h"

#include "engine/core/bridge.h"

/* ---- calls ---- */

bool pv_call_is_of_bridge(Pv__CallStarted__OpCase op)
{
	return op == PV__CALL_STARTED__OP_UPLINK || op == PV__CALL_STARTED__OP_OPEN_CAPTURE ||
	       op == PV__CALL_STARTED__OP_READ_CAPTURE || op == PV__CALL_STARTED__OP_CLOSE_CAPTURE ||
	       op == PV__CALL_STARTED__OP_FRAMES;
}

uint32_t pv_call_bridge(const Pv__CallStarted *call)
{
	switch (call->op_case) {
	case PV__CALL_STARTED__OP_NIC:
		return call->nic->bridge;
	case PV__CALL_STARTED__OP_NIC_COUNTERS:
		return call->nic_counters->bridge;
	case PV__CALL_STARTED__OP_UPLINK:
		return call->uplink->bridge;
	case PV__CALL_STARTED__OP_OPEN_CAPTURE:
		return call->open_capture->bridge;
	case PV__CALL_STARTED__OP_READ_CAPTURE:
		return call->read_capture->bridge;
	case PV__CALL_STARTED__OP_CLOSE_CAPTURE:
		return call->close_capture->bridge;
	case PV__CALL_STARTED__OP_FRAMES:
		return call->frames->bridge;
	default:
		return 0;
	}
}

/* ---- the state ---- */

bool pv_state_capture_after(const struct pv_state *state, uint32_t bridge_id, uint64_t after,
                            struct pv_object_view *out)
{
	const struct pv_bridge *bridge = pv_bridge_find(state, bridge_id);
	const struct pv_object *object;

	if (bridge == NULL)
		return false;
	TAILQ_FOREACH (object, &bridge->captures, link) {
		if (object->id <= after)
			continue;
		pv_object_view_of(object, out);
		return true;
	}
	return false;
}

bool pv_state_capture(const struct pv_state *state, uint32_t bridge_id, uint64_t id, struct pv_object_view *out)
{
	return id != 0 && pv_state_capture_after(state, bridge_id, id - 1, out) && out->id == id;
}

const Pv__BridgeSettings *pv_state_bridge_settings(const struct pv_state *state, uint32_t id)
{
	const struct pv_bridge *bridge = pv_bridge_find(state, id);

	return bridge != NULL ? bridge->settings : NULL;
}

uint32_t pv_state_next_bridge(const struct pv_state *state, uint32_t file, uint32_t after)
{
	const struct pv_resource *at = state->resources[PV__MEMBER_KIND__MEMBER_KIND_BRIDGE];

	for (; at != NULL; at = at->hh.next)
		if (at->id > after && (file == 0 || at->file == file))
			return at->id;
	return 0;
}

uint32_t pv_state_bridge_vm(const struct pv_state *state, uint32_t id, const char *name)
{
	const struct pv_bridge *bridge = pv_bridge_find(state, id);
	const struct pv_vm *vm = bridge != NULL ? pv_bridge_resolve(state, bridge, name) : NULL;

	return vm != NULL ? vm->res.id : 0;
}

const Pv__Attachment *pv_bridge_member(const Pv__BridgeSettings *settings, const char *name)
{
	size_t index = pv_members_index(settings, name);

	return index < settings->n_members ? settings->members[index] : NULL;
}

const Pv__Attachment *pv_bridge_member_vm(const Pv__BridgeSettings *settings, uint32_t vm)
{
	for (size_t i = 0; vm != 0 && i < settings->n_members; i++)
		if (settings->members[i]->vm == vm && !settings->members[i]->gone)
			return settings->members[i];
	return NULL;
}

bool pv_bridge_is_cut(const Pv__BridgeSettings *settings, const char *from, const char *to)
{
	return pv_cuts_index(settings, from, to, false) < settings->n_cuts ||
	       pv_cuts_index(settings, from, to, true) < settings->n_cuts;
}

bool pv_bridge_has_cut(const Pv__BridgeSettings *settings, const char *from, const char *to, bool both)
{
	return pv_cuts_index(settings, from, to, both) < settings->n_cuts;
}

const Pv__Impairment *pv_bridge_impairment(const Pv__BridgeSettings *settings, const char *from, const char *to)
{
	size_t index = pv_impairments_index(settings, from, to);

	return index < settings->n_impairments ? settings->impairments[index] : NULL;
}

bool pv_bridge_is_isolated(const Pv__BridgeSettings *settings, const char *name)
{
	return pv_isolated_index(settings, name) < settings->n_isolated;
}
