#include "engine/replay/tree_internal.h"

Pv__LabState *pv_tree_message(const struct pv_state *state)
{
	struct pv_buf bytes = { .data = NULL };
	Pv__LabState *message;

	pv_state_serialise(state, &bytes);
	message = pv__lab_state__unpack(NULL, bytes.len, bytes.data);
	if (!message)
		PV_BUG("the serialised state does not decode");
	pv_buf_free(&bytes);
	return message;
}

const Pv__VmNode *pv_tree_vm(const Pv__LabState *state, uint32_t id)
{
	for (size_t i = 0; i < state->n_vms; i++) {
		if (state->vms[i]->id == id)
			return state->vms[i];
	}
	return NULL;
}

const Pv__LabNode *pv_tree_lab(const Pv__LabState *state, uint32_t id)
{
	for (size_t i = 0; i < state->n_labs; i++) {
		if (state->labs[i]->id == id)
			return state->labs[i];
	}
	return NULL;
}

const Pv__BridgeNode *pv_tree_bridge(const Pv__LabState *state, uint32_t id)
{
	for (size_t i = 0; i < state->n_bridges; i++) {
		if (state->bridges[i]->id == id)
			return state->bridges[i];
	}
	return NULL;
}

bool pv_tree_is_removed(const Pv__LabState *state, const Pv__LabNode *sub)
{
	for (size_t i = 0; i < state->n_labs; i++) {
		for (size_t j = 0; j < state->labs[i]->n_sub_labs; j++) {
			if (state->labs[i]->sub_labs[j] == sub->id)
				return false;
		}
	}
	return true;
}

const char *pv_tree_object_word(const Pv__ObjectState *object)
{
	switch (object->kind) {
	case PV__OBJECT_KIND__OBJECT_KIND_PROCESS:
		return "process";
	case PV__OBJECT_KIND__OBJECT_KIND_WORKER:
		return "worker";
	default:
		return pv_stream_kind_name(object->stream_kind);
	}
}

const char *pv_tree_lab_kind(Pv__LabKind kind)
{
	switch (kind) {
	case PV__LAB_KIND__LAB_KIND_ROOT:
		return "root";
	case PV__LAB_KIND__LAB_KIND_TEST:
		return "test";
	default:
		return "sub";
	}
}

const char *pv_tree_task_kind(Pv__TaskKind kind)
{
	switch (kind) {
	case PV__TASK_KIND__TASK_KIND_CHUNK:
		return "chunk";
	case PV__TASK_KIND__TASK_KIND_TEST:
		return "test";
	default:
		return "co";
	}
}
