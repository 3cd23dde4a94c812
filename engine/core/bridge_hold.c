/* FramesCall: time stands still on a bridge while a snapshot of its lab is taken or restored. */
#include "engine/core/bridge.h"
#include "engine/core/network.h"
#include "proto/copy.h"

#define BRIDGES(state) ((state)->resources[PV__MEMBER_KIND__MEMBER_KIND_BRIDGE])

static bool is_stop(Pv__FramesStep step)
{
	return step == PV__FRAMES_STEP__FRAMES_STEP_FREEZE || step == PV__FRAMES_STEP__FRAMES_STEP_LOAD;
}

static bool needs_path(Pv__FramesStep step)
{
	return step == PV__FRAMES_STEP__FRAMES_STEP_SAVE || step == PV__FRAMES_STEP__FRAMES_STEP_LOAD;
}

enum pv_err pv_hold_check_call(const struct pv_bridge *bridge, const Pv__FramesCall *call, struct pv_errmsg *msg)
{
	const char *name = bridge->res.name;

	if (call->step < PV__FRAMES_STEP__FRAMES_STEP_FREEZE || call->step > PV__FRAMES_STEP__FRAMES_STEP_THAW)
		return pv_err_set(msg, PV_ERR_VERSION, "frames: this version does not know the step %d",
		                  (int)call->step);
	if (needs_path(call->step) ? call->path.len == 0 || call->path.data[0] != '/' : call->path.len > 0)
		return pv_err_set(msg, PV_ERR_INVAL, "frames are saved to and loaded from an absolute path");
	if (call->n_members > 0 && call->step != PV__FRAMES_STEP__FRAMES_STEP_SAVE)
		return pv_err_set(msg, PV_ERR_INVAL, "members are chosen when frames are saved");
	if (is_stop(call->step) && bridge->settings->closed)
		return pv_err_set(msg, PV_ERR_STATE, "the bridge \"%s\" is closed", name);
	if (is_stop(call->step) && bridge->hold != NULL)
		return pv_err_set(msg, PV_ERR_STATE,
		                  "the bridge \"%s\" stands still: a snapshot or restore of its lab is in flight",
		                  name);
	if (!is_stop(call->step) && (bridge->hold == NULL || !bridge->hold->done))
		return pv_err_set(msg, PV_ERR_STATE, "the bridge \"%s\" does not stand still", name);
	return PV_OK;
}

static void end_hold(struct pv_bridge *bridge)
{
	pv__hold_state__free_unpacked(bridge->hold, NULL);
	bridge->hold = NULL;
}

void pv_hold_call_started(struct pv_bridge *bridge, uint64_t id, const Pv__FramesCall *call)
{
	Pv__HoldState hold = PV__HOLD_STATE__INIT;

	if (call->step == PV__FRAMES_STEP__FRAMES_STEP_SAVE)
		return;
	if (bridge->hold == NULL) {
		hold.has_loaded = call->path.len > 0;
		hold.loaded = call->path;
		bridge->hold = pv_message_copy(&hold.base);
	}
	bridge->hold->has_call = 1;
	bridge->hold->call = id;
	bridge->hold->has_done = bridge->hold->done = 0;
	bridge->hold->has_ends = bridge->hold->ends = call->step == PV__FRAMES_STEP__FRAMES_STEP_THAW;
}

void pv_hold_call_ended(struct pv_state *state, const struct pv_call *call, bool succeeded)
{
	if (call->op != PV__CALL_STARTED__OP_FRAMES)
		return;
	for (struct pv_resource *at = BRIDGES(state); at != NULL; at = at->hh.next) {
		struct pv_bridge *bridge = (struct pv_bridge *)at;

		if (bridge->hold == NULL || bridge->hold->call != call->id || bridge->hold->done)
			continue;
		if (!succeeded || bridge->hold->ends)
			end_hold(bridge);
		else
			bridge->hold->has_done = bridge->hold->done = 1;
	}
}

/* A hold that nobody can end would stand for ever. */
enum pv_err pv_hold_validate(const struct pv_state *state, const struct pv_bridge *bridge, struct pv_errmsg *msg)
{
	const Pv__HoldState *hold = bridge->hold;

	if (hold == NULL)
		return PV_OK;
	if (hold->call == 0 || hold->call >= state->next_call ||
	    (hold->done ? hold->ends : pv_call_find(state, hold->call) == NULL) ||
	    (hold->has_loaded && (hold->loaded.len == 0 || hold->loaded.data[0] != '/')))
		return pv_err_set(msg, PV_ERR_CORRUPT, "bridge %u stands still by a malformed call %llu",
		                  bridge->res.id, (unsigned long long)hold->call);
	return PV_OK;
}

bool pv_state_hold(const struct pv_state *state, uint32_t id, struct pv_hold_view *out)
{
	const struct pv_bridge *bridge = pv_bridge_find(state, id);

	if (bridge == NULL || bridge->hold == NULL)
		return false;
	*out = (struct pv_hold_view){ .call = bridge->hold->call,
		                      .done = bridge->hold->done,
		                      .ends = bridge->hold->ends,
		                      .loaded = bridge->hold->loaded };
	return true;
}
