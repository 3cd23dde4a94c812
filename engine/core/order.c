/* Events that were decided before, in another order. */
#include "engine/core/state_internal.h"

void pv_state_begin_any_order(struct pv_state *state, const struct pv_state *end)
{
	state->any_order = true;
	state->next_lab = end->next_lab;
	state->next_vm = end->next_vm;
	state->next_bridge = end->next_bridge;
	state->next_task = end->next_task;
	state->next_test = end->next_test;
	state->next_call = end->next_call;
}

static int by_resource_id(const struct pv_resource *a, const struct pv_resource *b)
{
	return (a->id > b->id) - (a->id < b->id);
}

static int by_task_id(const struct pv_task *a, const struct pv_task *b)
{
	return (a->id > b->id) - (a->id < b->id);
}

static int by_call_id(const struct pv_call *a, const struct pv_call *b)
{
	return (a->id > b->id) - (a->id < b->id);
}

void pv_state_end_any_order(struct pv_state *state)
{
	state->any_order = false;
	for (int kind = 0; kind < PV_KIND_COUNT; kind++)
		HASH_SORT(state->resources[kind], by_resource_id);
	HASH_SORT(state->tasks, by_task_id);
	HASH_SORT(state->calls, by_call_id);
}
