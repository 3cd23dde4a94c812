#include "engine/script/lab_frames.h"

#include <string.h>

#include "engine/script/script_internal.h"
#include "engine/script/unsettled.h"

struct pv_held *pv_held_push(lua_State *L, size_t room)
{
	struct pv_held *held = lua_newuserdatauv(L, sizeof(struct pv_held) + room * sizeof(struct pv_held_bridge), 0);

	held->n = 0;
	return held;
}

void pv_held_add(struct pv_held *held, uint32_t bridge)
{
	held->bridges[held->n++] = (struct pv_held_bridge){ .id = bridge };
}

bool pv_held_has(const struct pv_held *held, uint32_t bridge)
{
	for (size_t i = 0; i < held->n; i++)
		if (held->bridges[i].id == bridge)
			return true;
	return false;
}

void pv_frames_start(lua_State *L, struct pv_calls *calls, size_t at, const struct pv_frames_step *step)
{
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__FramesCall call = PV__FRAMES_CALL__INIT;

	call.has_bridge = call.has_step = 1;
	call.bridge = step->bridge;
	call.step = step->step;
	call.has_path = step->path != NULL;
	call.path.data = (uint8_t *)(uintptr_t)step->path;
	call.path.len = step->path != NULL ? strlen(step->path) : 0;
	call.members = step->members;
	call.n_members = step->n_members;
	started.op_case = PV__CALL_STARTED__OP_FRAMES;
	started.frames = &call;
	calls->slots[at].bridge = step->bridge;
	/* A refusal stays in the slot. */
	(void)!pv_calls_start(L, calls, at, 0, &started);
}

void pv_held_begin(lua_State *L, const struct pv_held *held)
{
	for (size_t i = 0; i < held->n; i++)
		pv_unsettled_add_bridge(pv_script_of(L), held->bridges[i].id);
}

void pv_held_begun(struct pv_held *held, const struct pv_calls *calls)
{
	for (size_t i = 0; i < held->n; i++)
		held->bridges[i].held = calls->slots[i].error == NULL;
}

size_t pv_held_count(const struct pv_held *held)
{
	size_t n = 0;

	for (size_t i = 0; i < held->n; i++)
		n += held->bridges[i].held;
	return n;
}

void pv_held_release(lua_State *L, struct pv_held *held, struct pv_calls *calls, size_t at)
{
	for (size_t i = 0; i < held->n; i++) {
		struct pv_frames_step step = { .step = PV__FRAMES_STEP__FRAMES_STEP_THAW,
			                       .bridge = held->bridges[i].id };

		if (held->bridges[i].held)
			pv_frames_start(L, calls, at++, &step);
		held->bridges[i].held = false;
	}
}

void pv_held_settled(lua_State *L, const struct pv_held *held)
{
	for (size_t i = 0; i < held->n; i++)
		pv_unsettled_remove_bridge(pv_script_of(L), held->bridges[i].id);
}

const char *pv_call_slot_name(const struct pv_call_slot *slot)
{
	const struct pv_state *state = pv_engine_state(slot->calls->engine);
	struct pv_bridge_view bridge;
	struct pv_vm_view vm;

	if (slot->bridge != 0)
		return pv_state_bridge(state, slot->bridge, &bridge) ? bridge.name : "(gone)";
	return pv_state_vm(state, slot->vm, &vm) ? vm.name : "(gone)";
}
