#include "engine/replay/dot.h"

#include <stdlib.h>

#include "engine/core/units.h"
#include "engine/core/vm_fsm.h"
#include "engine/replay/text.h"
#include "engine/replay/tree_internal.h"

static void indent(FILE *out, unsigned depth)
{
	fprintf(out, "%*s", (int)(2 * depth), "");
}

/* Inside of a quoted string. */
static void put_text(FILE *out, const char *text)
{
	char *clean = pv_text_utf8(text != NULL ? text : "");

	for (const char *p = clean; *p != '\0'; p++) {
		if (*p == '"' || *p == '\\')
			fputc('\\', out);
		if (*p == '\n')
			fputs("\\n", out);
		else
			fputc((unsigned char)*p < 0x20 || *p == 0x7f ? '?' : *p, out);
	}
	free(clean);
}

/* Where a resource is drawn: in the oldest lab that holds it, else in its home. */
static uint32_t place_of(const uint32_t *labs, size_t n_labs, uint32_t home)
{
	return n_labs > 0 ? labs[0] : home;
}

static const char *colour_of(Pv__VmState state)
{
	switch (state) {
	case PV__VM_STATE__VM_STATE_BOOTED:
		return "palegreen";
	case PV__VM_STATE__VM_STATE_PAUSED:
		return "lightyellow";
	case PV__VM_STATE__VM_STATE_DEAD:
		return "lightpink";
	default:
		return "white";
	}
}

static void put_vm(const Pv__VmNode *vm, unsigned depth, FILE *out)
{
	indent(out, depth);
	fprintf(out, "vm%u [shape=box, style=\"filled%s\", fillcolor=%s, label=\"", vm->id,
	        vm->n_labs == 0 ? ",dashed" : "", colour_of(vm->state));
	put_text(out, vm->name);
	fputs("\\n", out);
	put_text(out, vm->profile);
	fprintf(out, ", %s\"];\n", pv_vm_state_name(vm->state));
}

static void put_bridge(const Pv__BridgeNode *bridge, unsigned depth, FILE *out)
{
	indent(out, depth);
	fprintf(out, "bridge%u [shape=ellipse%s, label=\"", bridge->id, bridge->n_labs == 0 ? ", style=dashed" : "");
	put_text(out, bridge->name);
	fputs("\"];\n", out);
}

static void put_barrier(const Pv__BarrierState *barrier, size_t index, unsigned depth, FILE *out)
{
	indent(out, depth);
	fprintf(out, "barrier%zu [shape=octagon, label=\"", index + 1);
	put_text(out, barrier->name);
	fprintf(out, "\\n%zu of %u, task%s", barrier->n_tasks, barrier->count, barrier->n_tasks > 1 ? "s" : "");
	for (size_t i = 0; i < barrier->n_tasks; i++)
		fprintf(out, "%s %u", i > 0 ? "," : "", barrier->tasks[i]);
	fputs("\"];\n", out);
}

/* The lab that holds `sub` first; a lab that was removed from all stands in its parent. */
static uint32_t place_of_lab(const Pv__LabState *state, const Pv__LabNode *sub)
{
	for (size_t i = 0; i < state->n_labs; i++) {
		for (size_t j = 0; j < state->labs[i]->n_sub_labs; j++) {
			if (state->labs[i]->sub_labs[j] == sub->id)
				return state->labs[i]->id;
		}
	}
	return sub->parent;
}

static void put_lab(const Pv__LabState *state, const Pv__LabNode *lab, unsigned depth, FILE *out);

static void put_content(const Pv__LabState *state, const Pv__LabNode *lab, unsigned depth, FILE *out)
{
	for (size_t i = 0; i < state->n_vms; i++) {
		const Pv__VmNode *vm = state->vms[i];

		if (place_of(vm->labs, vm->n_labs, vm->home) == lab->id)
			put_vm(vm, depth, out);
	}
	for (size_t i = 0; i < state->n_bridges; i++) {
		const Pv__BridgeNode *bridge = state->bridges[i];

		if (place_of(bridge->labs, bridge->n_labs, bridge->home) == lab->id)
			put_bridge(bridge, depth, out);
	}
	for (size_t i = 0; i < state->n_barriers; i++) {
		if (state->barriers[i]->lab == lab->id)
			put_barrier(state->barriers[i], i, depth, out);
	}
	for (size_t i = 0; i < state->n_labs; i++) {
		const Pv__LabNode *sub = state->labs[i];

		if (sub->kind == PV__LAB_KIND__LAB_KIND_SUB && place_of_lab(state, sub) == lab->id)
			put_lab(state, sub, depth, out);
	}
}

/* "Holds" and "is home of" have no cycles: the state machine refuses them, also in a journal that is read back. */
static void put_lab(const Pv__LabState *state, const Pv__LabNode *lab, unsigned depth, FILE *out)
{
	indent(out, depth);
	fprintf(out, "subgraph cluster_lab%u {\n", lab->id);
	indent(out, depth + 1);
	fputs("label=\"", out);
	put_text(out, lab->name);
	fprintf(out, "%s\";\n", lab->kind == PV__LAB_KIND__LAB_KIND_TEST ? " (scope of the test)" : "");
	indent(out, depth + 1);
	/* Graphviz leaves out empty clusters; and lines end here. */
	fprintf(out, "lab%u [shape=point, style=invis];\n", lab->id);
	put_content(state, lab, depth + 1, out);
	indent(out, depth);
	fputs("}\n", out);
}

static void put_amount(uint64_t memory_bytes, uint32_t cpus, FILE *out)
{
	char size[32];

	fprintf(out, "%s, %u vCPU", pv_format_size(memory_bytes, size), cpus);
}

static void put_file(const Pv__LabState *state, const Pv__FileState *file, const struct pv_wait *wait, FILE *out)
{
	fprintf(out, "  subgraph cluster_file%u {\n    label=\"", file->id);
	put_text(out, file->path);
	if (file->claim) {
		fputs("\\nclaim: ", out);
		put_amount(file->claim->memory_bytes, file->claim->cpus, out);
	}
	if (wait) {
		fputs("\\nwaits for ", out);
		put_amount(wait->memory_bytes, wait->cpus, out);
		fprintf(out, " (%s)", pv_wait_reason(wait->reason));
	}
	fputs("\";\n", out);
	if (!file->dispatched) /* Graphviz leaves out empty clusters */
		fprintf(out, "    file%u [shape=point, style=invis];\n", file->id);
	for (size_t i = 0; i < state->n_labs; i++) {
		const Pv__LabNode *lab = state->labs[i];

		if (lab->file == file->id && lab->kind != PV__LAB_KIND__LAB_KIND_SUB)
			put_lab(state, lab, 2, out);
	}
	fputs("  }\n", out);
}

static void put_line(uint32_t lab, const char *what, uint32_t id, FILE *out)
{
	fprintf(out, "  lab%u -- %s%u [style=dashed];\n", lab, what, id);
}

static void put_quoted_label(const char *from, const char *to, const char *sign, FILE *out)
{
	put_text(out, from);
	fputs(sign, out);
	put_text(out, to);
}

/* Members by lines, dotted where the link is down; cuts stand on the bridge. */
static void put_networks(const Pv__LabState *state, FILE *out)
{
	for (size_t i = 0; i < state->n_bridges; i++) {
		const Pv__BridgeSettings *settings = state->bridges[i]->settings;

		for (size_t j = 0; settings != NULL && j < settings->n_members; j++) {
			if (settings->members[j]->vm != 0)
				fprintf(out, "  bridge%u -- vm%u%s;\n", state->bridges[i]->id, settings->members[j]->vm,
				        settings->members[j]->down ? " [style=dotted]" : "");
		}
		if (settings == NULL || settings->n_cuts == 0)
			continue;
		fprintf(out, "  bridge%u [xlabel=\"", state->bridges[i]->id);
		for (size_t j = 0; j < settings->n_cuts; j++) {
			fputs(j > 0 ? "\\n" : "", out);
			put_quoted_label(settings->cuts[j]->from, settings->cuts[j]->to,
			                 settings->cuts[j]->both ? " x " : " x> ", out);
		}
		fputs("\", color=red];\n", out);
	}
}

static void put_shared(const Pv__LabState *state, FILE *out)
{
	for (size_t i = 0; i < state->n_vms; i++) {
		for (size_t j = 1; j < state->vms[i]->n_labs; j++)
			put_line(state->vms[i]->labs[j], "vm", state->vms[i]->id, out);
	}
	for (size_t i = 0; i < state->n_bridges; i++) {
		for (size_t j = 1; j < state->bridges[i]->n_labs; j++)
			put_line(state->bridges[i]->labs[j], "bridge", state->bridges[i]->id, out);
	}
	for (size_t i = 0; i < state->n_labs; i++) {
		for (size_t j = 0; j < state->n_labs; j++) {
			const Pv__LabNode *holder = state->labs[j];

			for (size_t k = 0; k < holder->n_sub_labs; k++) {
				if (holder->sub_labs[k] == state->labs[i]->id &&
				    place_of_lab(state, state->labs[i]) != holder->id)
					put_line(holder->id, "lab", state->labs[i]->id, out);
			}
		}
	}
}

void pv_dot_print(const struct pv_state *state, const struct pv_waits *waits, FILE *out)
{
	Pv__LabState *lab_state = pv_tree_message(state);

	fputs("graph provium {\n", out);
	for (size_t i = 0; i < lab_state->n_files; i++) {
		const Pv__FileState *file = lab_state->files[i];
		const struct pv_wait *wait = waits ? pv_waits_of(waits, file->id) : NULL;

		if (file->dispatched || wait)
			put_file(lab_state, file, wait, out);
	}
	put_shared(lab_state, out);
	put_networks(lab_state, out);
	fputs("}\n", out);
	pv__lab_state__free_unpacked(lab_state, NULL);
}
