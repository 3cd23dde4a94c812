#include "engine/replay/tree.h"

#include <inttypes.h>
#include <string.h>

#include "engine/core/disks.h"
#include "engine/core/units.h"
#include "engine/core/vm_fsm.h"
#include "engine/replay/text.h"
#include "engine/replay/tree_internal.h"

#define TEXT_MAX 300 /* bytes of a name or a reason */

struct printer {
	const Pv__LabState *state;
	const struct pv_waits *waits;
	FILE *out;
};

static void indent(const struct printer *p, unsigned depth)
{
	fprintf(p->out, "%*s", (int)(2 * depth), "");
}

/* Names come from scripts, reasons from guests: nothing of them may reach a terminal as a control. */
static void bytes(const struct printer *p, const char *value, size_t len)
{
	struct pv_buf line = { .data = NULL };

	pv_text_line(&line, value, len, TEXT_MAX);
	fputs(pv_buf_str(&line), p->out);
	pv_buf_free(&line);
}

static void text(const struct printer *p, const char *value)
{
	bytes(p, value, strlen(value));
}

static void print_objects(const struct printer *p, const Pv__VmNode *vm, unsigned depth)
{
	for (size_t i = 0; i < vm->n_objects; i++) {
		const Pv__ObjectState *object = vm->objects[i];

		indent(p, depth);
		fprintf(p->out, "%s", pv_tree_object_word(object));
		if (object->detail && *object->detail) {
			fputc(' ', p->out);
			text(p, object->detail);
		}
		fprintf(p->out, " (call %" PRIu64 ")%s\n", object->id, object->open ? "" : "  being opened");
	}
}

static void print_disks(const struct printer *p, const Pv__VmNode *vm, unsigned depth)
{
	char size[32];

	for (size_t i = 0; i < vm->n_disks; i++) {
		const Pv__Disk *disk = vm->disks[i];

		indent(p, depth);
		fputs("disk ", p->out);
		text(p, disk->id ? disk->id : "?");
		fprintf(p->out, "  %s, %s", pv_disk_backing_name(disk->backing), pv_format_size(disk->size, size));
		if (disk->path.len > 0) {
			fputs(" ", p->out);
			bytes(p, (const char *)disk->path.data, disk->path.len);
		}
		fputs(disk->attach_call != 0   ? "  being attached\n"
		      : disk->detach_call != 0 ? "  being detached\n"
		                               : "\n",
		      p->out);
	}
}

static void print_vm(const struct printer *p, const Pv__VmNode *vm, unsigned depth)
{
	indent(p, depth);
	fputs("vm ", p->out);
	text(p, vm->name ? vm->name : "?");
	fprintf(p->out, "  %s", pv_vm_state_name(vm->state));
	if (vm->dead_reason) {
		fputs(" (", p->out);
		bytes(p, vm->dead_reason, strcspn(vm->dead_reason, "\n"));
		fputc(')', p->out);
	}
	fputs("  profile ", p->out);
	text(p, vm->profile ? vm->profile : "?");
	fputs(vm->n_labs == 0 ? "  removed\n" : "\n", p->out);
	for (size_t i = 0; i < p->state->n_calls; i++) {
		const Pv__CallState *call = p->state->calls[i];

		if (call->vm != vm->id)
			continue;
		indent(p, depth + 1);
		fprintf(p->out, "%s in flight (call %" PRIu64, call->op ? call->op : "?", call->id);
		if (call->task != 0)
			fprintf(p->out, ", task %u", call->task);
		fputs(")\n", p->out);
	}
	print_disks(p, vm, depth + 1);
	print_objects(p, vm, depth + 1);
}

static void print_barriers(const struct printer *p, const Pv__LabNode *lab, unsigned depth)
{
	for (size_t i = 0; i < p->state->n_barriers; i++) {
		const Pv__BarrierState *barrier = p->state->barriers[i];

		if (barrier->lab != lab->id)
			continue;
		indent(p, depth);
		fputs("barrier ", p->out);
		text(p, barrier->name ? barrier->name : "?");
		fprintf(p->out, "  %zu of %u, waiting: task%s", barrier->n_tasks, barrier->count,
		        barrier->n_tasks > 1 ? "s" : "");
		for (size_t t = 0; t < barrier->n_tasks; t++)
			fprintf(p->out, "%s %u", t > 0 ? "," : "", barrier->tasks[t]);
		fputc('\n', p->out);
	}
}

static void print_lab(const struct printer *p, const Pv__LabNode *lab, bool removed, unsigned depth);

static void print_bridge(const struct printer *p, const Pv__BridgeNode *bridge, unsigned depth)
{
	struct pv_buf lines = { 0 };

	indent(p, depth);
	fputs("bridge ", p->out);
	text(p, bridge->name ? bridge->name : "?");
	fputs(bridge->n_labs == 0 ? "  removed\n" : "\n", p->out);
	if (bridge->settings != NULL)
		pv_tree_bridge_lines(p->state, bridge->settings, &lines);
	for (const char *line = pv_buf_str(&lines); *line != '\0'; line += strcspn(line, "\n") + 1) {
		indent(p, depth + 1);
		fprintf(p->out, "%.*s\n", (int)strcspn(line, "\n"), line);
	}
	pv_buf_free(&lines);
	if (bridge->hold != NULL) {
		indent(p, depth + 1);
		fprintf(p->out, "time stands still (call %" PRIu64 ")\n", bridge->hold->call);
	}
	for (size_t i = 0; i < bridge->n_captures; i++) {
		indent(p, depth + 1);
		fprintf(p->out, "%s (call %" PRIu64 ")\n", pv_tree_object_word(bridge->captures[i]),
		        bridge->captures[i]->id);
	}
}

static void print_members(const struct printer *p, const Pv__LabNode *lab, unsigned depth)
{
	for (size_t i = 0; i < lab->n_vms; i++) {
		const Pv__VmNode *vm = pv_tree_vm(p->state, lab->vms[i]);
		if (vm)
			print_vm(p, vm, depth);
	}
	for (size_t i = 0; i < lab->n_bridges; i++) {
		const Pv__BridgeNode *bridge = pv_tree_bridge(p->state, lab->bridges[i]);
		if (bridge)
			print_bridge(p, bridge, depth);
	}
	for (size_t i = 0; i < lab->n_sub_labs; i++) {
		const Pv__LabNode *sub = pv_tree_lab(p->state, lab->sub_labs[i]);
		if (sub)
			print_lab(p, sub, false, depth);
	}
}

/* What no lab holds any more ends with `lab`: it is still there. */
static void print_removed(const struct printer *p, const Pv__LabNode *lab, unsigned depth)
{
	for (size_t i = 0; i < p->state->n_vms; i++) {
		if (p->state->vms[i]->n_labs == 0 && p->state->vms[i]->home == lab->id)
			print_vm(p, p->state->vms[i], depth);
	}
	for (size_t i = 0; i < p->state->n_bridges; i++) {
		if (p->state->bridges[i]->n_labs == 0 && p->state->bridges[i]->home == lab->id)
			print_bridge(p, p->state->bridges[i], depth);
	}
	for (size_t i = 0; i < p->state->n_labs; i++) {
		const Pv__LabNode *sub = p->state->labs[i];

		if (sub->kind == PV__LAB_KIND__LAB_KIND_SUB && sub->parent == lab->id &&
		    pv_tree_is_removed(p->state, sub))
			print_lab(p, sub, true, depth);
	}
}

/* Membership has no cycles: the state machine refuses them, also in a journal that is read back. */
static void print_lab(const struct printer *p, const Pv__LabNode *lab, bool removed, unsigned depth)
{
	indent(p, depth);
	switch (lab->kind) {
	case PV__LAB_KIND__LAB_KIND_ROOT:
		fputs("provium\n", p->out);
		break;
	case PV__LAB_KIND__LAB_KIND_TEST:
		fputs("provium (scope of the test)\n", p->out);
		break;
	default:
		fputs("lab ", p->out);
		text(p, lab->name ? lab->name : "?");
		fputs(removed ? "  removed\n" : "\n", p->out);
	}
	print_members(p, lab, depth + 1);
	print_removed(p, lab, depth + 1);
	print_barriers(p, lab, depth + 1);
}

static void print_amount(const struct printer *p, uint64_t memory_bytes, uint32_t cpus)
{
	char size[32];

	fprintf(p->out, "%s, %u vCPU", pv_format_size(memory_bytes, size), cpus);
}

static void print_resources(const struct printer *p, const Pv__FileState *file, const struct pv_wait *wait)
{
	if (file->claim) {
		fputs("  claim: ", p->out);
		print_amount(p, file->claim->memory_bytes, file->claim->cpus);
		fputc('\n', p->out);
	}
	if (wait) {
		fputs("  waits for ", p->out);
		print_amount(p, wait->memory_bytes, wait->cpus);
		fprintf(p->out, " (%s)", pv_wait_reason(wait->reason));
		if (file->dispatched && wait->n > 1)
			fprintf(p->out, ", and for %u more", wait->n - 1);
		fputc('\n', p->out);
	}
}

static void print_file(const struct printer *p, const Pv__FileState *file)
{
	const struct pv_wait *wait = p->waits ? pv_waits_of(p->waits, file->id) : NULL;

	if (!file->dispatched && !wait)
		return;
	text(p, file->path ? file->path : "?");
	if (file->dispatched && file->builds_for)
		fprintf(p->out, "  (builds a fixture)%s\n", file->has_verdict ? "  completed" : "");
	else if (file->dispatched)
		fprintf(p->out, "  (%u passed, %u failed, %u skipped)%s\n", file->passed, file->failed, file->skipped,
		        file->has_verdict ? "  completed" : "");
	else
		fputs("  not dispatched\n", p->out);
	print_resources(p, file, wait);
	if (file->test_name && file->test) {
		fputs("  in test: ", p->out);
		text(p, file->test_name);
		fputc('\n', p->out);
	}
	for (size_t i = 0; i < p->state->n_labs; i++) {
		const Pv__LabNode *lab = p->state->labs[i];
		if (lab->file == file->id && lab->kind != PV__LAB_KIND__LAB_KIND_SUB)
			print_lab(p, lab, false, 1);
	}
}

void pv_tree_print(const struct pv_state *state, const struct pv_waits *waits, FILE *out)
{
	Pv__LabState *message = pv_tree_message(state);
	struct printer p = { message, waits, out };

	fprintf(out, "run %s%s\n", message->run_id ? message->run_id : "?", message->ended ? "  ended" : "");
	for (size_t i = 0; i < message->n_files; i++)
		print_file(&p, message->files[i]);
	pv__lab_state__free_unpacked(message, NULL);
}
