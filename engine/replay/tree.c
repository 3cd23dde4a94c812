#include "engine/replay/tree.h"

#include <inttypes.h>
#include <string.h>

#include "engine/core/vm_fsm.h"

static void indent(FILE *out, unsigned depth)
{
	fprintf(out, "%*s", (int)(2 * depth), "");
}

static const Pv__VmNode *vm_of(const Pv__LabState *state, uint32_t id)
{
	for (size_t i = 0; i < state->n_vms; i++) {
		if (state->vms[i]->id == id)
			return state->vms[i];
	}
	return NULL;
}

static const Pv__LabNode *lab_of(const Pv__LabState *state, uint32_t id)
{
	for (size_t i = 0; i < state->n_labs; i++) {
		if (state->labs[i]->id == id)
			return state->labs[i];
	}
	return NULL;
}

static const Pv__BridgeNode *bridge_of(const Pv__LabState *state, uint32_t id)
{
	for (size_t i = 0; i < state->n_bridges; i++) {
		if (state->bridges[i]->id == id)
			return state->bridges[i];
	}
	return NULL;
}

static void print_vm(const Pv__LabState *state, const Pv__VmNode *vm, unsigned depth, FILE *out)
{
	indent(out, depth);
	fprintf(out, "vm %s  %s", vm->name, pv_vm_state_name(vm->state));
	if (vm->dead_reason)
		fprintf(out, " (%.*s)", (int)strcspn(vm->dead_reason, "\n"), vm->dead_reason);
	fprintf(out, "  profile %s\n", vm->profile ? vm->profile : "?");
	for (size_t i = 0; i < state->n_calls; i++) {
		if (state->calls[i]->vm != vm->id)
			continue;
		indent(out, depth + 1);
		fprintf(out, "%s in flight (call %" PRIu64 ", task %u)\n",
		        state->calls[i]->op ? state->calls[i]->op : "?", state->calls[i]->id, state->calls[i]->task);
	}
}

static void print_barriers(const Pv__LabState *state, const Pv__LabNode *lab, unsigned depth, FILE *out)
{
	for (size_t i = 0; i < state->n_barriers; i++) {
		const Pv__BarrierState *barrier = state->barriers[i];

		if (barrier->lab != lab->id)
			continue;
		indent(out, depth);
		fprintf(out, "barrier %s  %zu of %u, waiting: task%s", barrier->name, barrier->n_tasks, barrier->count,
		        barrier->n_tasks > 1 ? "s" : "");
		for (size_t t = 0; t < barrier->n_tasks; t++)
			fprintf(out, "%s %u", t > 0 ? "," : "", barrier->tasks[t]);
		fputc('\n', out);
	}
}

static void print_lab(const Pv__LabState *state, const Pv__LabNode *lab, unsigned depth, FILE *out);

static void print_members(const Pv__LabState *state, const Pv__LabNode *lab, unsigned depth, FILE *out)
{
	for (size_t i = 0; i < lab->n_vms; i++) {
		const Pv__VmNode *vm = vm_of(state, lab->vms[i]);
		if (vm)
			print_vm(state, vm, depth, out);
	}
	for (size_t i = 0; i < lab->n_bridges; i++) {
		const Pv__BridgeNode *bridge = bridge_of(state, lab->bridges[i]);
		indent(out, depth);
		fprintf(out, "bridge %s\n", bridge && bridge->name ? bridge->name : "?");
	}
	for (size_t i = 0; i < lab->n_sub_labs; i++) {
		const Pv__LabNode *sub = lab_of(state, lab->sub_labs[i]);
		if (sub)
			print_lab(state, sub, depth, out);
	}
}

/* Membership has no cycles: the state machine refuses them, also in a journal that is read back. */
static void print_lab(const Pv__LabState *state, const Pv__LabNode *lab, unsigned depth, FILE *out)
{
	indent(out, depth);
	switch (lab->kind) {
	case PV__LAB_KIND__LAB_KIND_ROOT:
		fputs("provium\n", out);
		break;
	case PV__LAB_KIND__LAB_KIND_TEST:
		fputs("provium (scope of the test)\n", out);
		break;
	default:
		fprintf(out, "lab %s\n", lab->name ? lab->name : "?");
	}
	print_members(state, lab, depth + 1, out);
	print_barriers(state, lab, depth + 1, out);
}

static void print_file(const Pv__LabState *state, const Pv__FileState *file, FILE *out)
{
	fprintf(out, "%s  (%u passed, %u failed, %u skipped)%s\n", file->path ? file->path : "?", file->passed,
	        file->failed, file->skipped, file->has_verdict ? "  completed" : "");
	if (file->test_name && file->test)
		fprintf(out, "  in test: %s\n", file->test_name);
	for (size_t i = 0; i < state->n_labs; i++) {
		const Pv__LabNode *lab = state->labs[i];
		if (lab->file == file->id && lab->kind != PV__LAB_KIND__LAB_KIND_SUB)
			print_lab(state, lab, 1, out);
	}
}

void pv_tree_print(const struct pv_state *state, FILE *out)
{
	struct pv_buf bytes = { .data = NULL };

	pv_state_serialise(state, &bytes);
	Pv__LabState *lab_state = pv__lab_state__unpack(NULL, bytes.len, bytes.data);
	if (!lab_state)
		PV_BUG("the serialised state does not decode");
	fprintf(out, "run %s%s\n", lab_state->run_id ? lab_state->run_id : "?", lab_state->ended ? "  ended" : "");
	for (size_t i = 0; i < lab_state->n_files; i++) {
		if (lab_state->files[i]->dispatched)
			print_file(lab_state, lab_state->files[i], out);
	}
	pv__lab_state__free_unpacked(lab_state, NULL);
	pv_buf_free(&bytes);
}
