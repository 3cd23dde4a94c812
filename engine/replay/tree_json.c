#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "engine/core/disks.h"
#include "engine/core/vm_fsm.h"
#include "engine/replay/text.h"
#include "engine/replay/tree.h"
#include "engine/replay/tree_internal.h"

static void add_text(struct json_object *object, const char *key, const char *value)
{
	char *clean = pv_text_utf8(value ? value : "");

	json_object_object_add(object, key, json_object_new_string(clean));
	free(clean);
}

static void add_number(struct json_object *object, const char *key, uint64_t value)
{
	json_object_object_add(object, key, json_object_new_uint64(value));
}

static struct json_object *add_list(struct json_object *object, const char *key)
{
	struct json_object *list = json_object_new_array();

	json_object_object_add(object, key, list);
	return list;
}

static struct json_object *amount_of(uint64_t memory_bytes, uint32_t cpus)
{
	struct json_object *object = json_object_new_object();

	add_number(object, "memory_bytes", memory_bytes);
	add_number(object, "cpus", cpus);
	return object;
}

static void add_calls(struct json_object *list, const Pv__LabState *state, uint32_t vm)
{
	for (size_t i = 0; i < state->n_calls; i++) {
		const Pv__CallState *call = state->calls[i];
		struct json_object *object;

		if (call->vm != vm)
			continue;
		object = json_object_new_object();
		add_number(object, "id", call->id);
		add_text(object, "op", call->op);
		if (call->task != 0)
			add_number(object, "task", call->task);
		json_object_array_add(list, object);
	}
}

static void add_objects(struct json_object *list, const Pv__VmNode *vm)
{
	for (size_t i = 0; i < vm->n_objects; i++) {
		const Pv__ObjectState *state = vm->objects[i];
		struct json_object *object = json_object_new_object();

		add_number(object, "id", state->id);
		add_text(object, "kind", pv_tree_object_word(state));
		if (state->detail && *state->detail)
			add_text(object, "detail", state->detail);
		if (state->owner != 0)
			add_number(object, "owner", state->owner);
		json_object_object_add(object, "open", json_object_new_boolean(state->open));
		json_object_array_add(list, object);
	}
}

static void add_disks(struct json_object *list, const Pv__VmNode *vm)
{
	for (size_t i = 0; i < vm->n_disks; i++) {
		const Pv__Disk *disk = vm->disks[i];
		struct json_object *object = json_object_new_object();

		add_text(object, "id", disk->id);
		add_text(object, "backing", pv_disk_backing_name(disk->backing));
		json_object_object_add(object, "size", json_object_new_uint64(disk->size));
		if (disk->path.len > 0)
			json_object_object_add(
			    object, "path",
			    json_object_new_string_len((const char *)disk->path.data, (int)disk->path.len));
		json_object_array_add(list, object);
	}
}

static struct json_object *vm_object(const Pv__LabState *state, const Pv__VmNode *vm)
{
	struct json_object *object = json_object_new_object();

	add_number(object, "id", vm->id);
	add_text(object, "name", vm->name);
	add_text(object, "profile", vm->profile);
	add_text(object, "state", pv_vm_state_name(vm->state));
	if (vm->dead_reason)
		add_text(object, "dead_reason", vm->dead_reason);
	add_number(object, "boots", vm->boots);
	if (vm->n_labs == 0)
		json_object_object_add(object, "removed", json_object_new_boolean(1));
	add_calls(add_list(object, "calls"), state, vm->id);
	if (vm->n_disks > 0)
		add_disks(add_list(object, "disks"), vm);
	add_objects(add_list(object, "objects"), vm);
	return object;
}

/* The lines of the tree, as they are. */
static void add_lines(struct json_object *list, const Pv__LabState *state, const Pv__BridgeSettings *settings)
{
	struct pv_buf lines = { 0 };

	pv_tree_bridge_lines(state, settings, &lines);
	for (const char *line = pv_buf_str(&lines); *line != '\0'; line += strcspn(line, "\n") + 1)
		json_object_array_add(list, json_object_new_string_len(line, (int)strcspn(line, "\n")));
	pv_buf_free(&lines);
}

static struct json_object *bridge_object(const Pv__LabState *state, const Pv__BridgeNode *bridge)
{
	struct json_object *object = json_object_new_object();

	add_number(object, "id", bridge->id);
	add_text(object, "name", bridge->name);
	if (bridge->settings != NULL) {
		add_number(object, "number", bridge->settings->number);
		add_lines(add_list(object, "network"), state, bridge->settings);
	}
	if (bridge->n_labs == 0)
		json_object_object_add(object, "removed", json_object_new_boolean(1));
	return object;
}

static void add_barriers(struct json_object *list, const Pv__LabState *state, uint32_t lab)
{
	for (size_t i = 0; i < state->n_barriers; i++) {
		const Pv__BarrierState *barrier = state->barriers[i];
		struct json_object *object, *tasks;

		if (barrier->lab != lab)
			continue;
		object = json_object_new_object();
		add_text(object, "name", barrier->name);
		add_number(object, "count", barrier->count);
		tasks = add_list(object, "tasks");
		for (size_t t = 0; t < barrier->n_tasks; t++)
			json_object_array_add(tasks, json_object_new_uint64(barrier->tasks[t]));
		json_object_array_add(list, object);
	}
}

static struct json_object *lab_object(const Pv__LabState *state, const Pv__LabNode *lab, bool removed);

static void add_sub_labs(struct json_object *list, const Pv__LabState *state, const Pv__LabNode *lab)
{
	for (size_t i = 0; i < lab->n_sub_labs; i++) {
		const Pv__LabNode *sub = pv_tree_lab(state, lab->sub_labs[i]);

		if (sub)
			json_object_array_add(list, lab_object(state, sub, false));
	}
	for (size_t i = 0; i < state->n_labs; i++) {
		const Pv__LabNode *sub = state->labs[i];

		if (sub->kind == PV__LAB_KIND__LAB_KIND_SUB && sub->parent == lab->id && pv_tree_is_removed(state, sub))
			json_object_array_add(list, lab_object(state, sub, true));
	}
}

/* Membership has no cycles: see tree.c. */
static struct json_object *lab_object(const Pv__LabState *state, const Pv__LabNode *lab, bool removed)
{
	struct json_object *object = json_object_new_object(), *vms, *bridges;

	add_number(object, "id", lab->id);
	add_text(object, "kind", pv_tree_lab_kind(lab->kind));
	add_text(object, "name", lab->kind == PV__LAB_KIND__LAB_KIND_SUB ? lab->name : "provium");
	if (removed)
		json_object_object_add(object, "removed", json_object_new_boolean(1));
	vms = add_list(object, "vms");
	bridges = add_list(object, "bridges");
	for (size_t i = 0; i < state->n_vms; i++) {
		const Pv__VmNode *vm = state->vms[i];
		bool here = vm->n_labs == 0 && vm->home == lab->id;

		for (size_t j = 0; j < vm->n_labs; j++)
			here |= vm->labs[j] == lab->id;
		if (here)
			json_object_array_add(vms, vm_object(state, vm));
	}
	for (size_t i = 0; i < state->n_bridges; i++) {
		const Pv__BridgeNode *bridge = state->bridges[i];
		bool here = bridge->n_labs == 0 && bridge->home == lab->id;

		for (size_t j = 0; j < bridge->n_labs; j++)
			here |= bridge->labs[j] == lab->id;
		if (here)
			json_object_array_add(bridges, bridge_object(state, bridge));
	}
	add_sub_labs(add_list(object, "labs"), state, lab);
	add_barriers(add_list(object, "barriers"), state, lab->id);
	return object;
}

static void add_tasks(struct json_object *list, const Pv__LabState *state, uint32_t file)
{
	for (size_t i = 0; i < state->n_tasks; i++) {
		const Pv__TaskState *task = state->tasks[i];
		struct json_object *object;

		if (task->file != file)
			continue;
		object = json_object_new_object();
		add_number(object, "id", task->id);
		add_text(object, "kind", pv_tree_task_kind(task->kind));
		json_object_array_add(list, object);
	}
}

static struct json_object *wait_object(const struct pv_wait *wait)
{
	struct json_object *object = amount_of(wait->memory_bytes, wait->cpus);

	add_text(object, "reason", pv_wait_reason(wait->reason));
	add_number(object, "waits", wait->n);
	return object;
}

static struct json_object *file_object(const Pv__LabState *state, const Pv__FileState *file, const struct pv_wait *wait)
{
	struct json_object *object = json_object_new_object(), *labs;

	add_number(object, "id", file->id);
	add_text(object, "path", file->path);
	if (file->builds_for)
		add_number(object, "builds_for", file->builds_for);
	json_object_object_add(object, "dispatched", json_object_new_boolean(file->dispatched));
	json_object_object_add(object, "completed", json_object_new_boolean(file->has_verdict));
	add_number(object, "passed", file->passed);
	add_number(object, "failed", file->failed);
	add_number(object, "skipped", file->skipped);
	add_number(object, "flaky", file->flaky);
	if (file->test != 0)
		add_text(object, "test", file->test_name);
	if (file->claim)
		json_object_object_add(object, "claim", amount_of(file->claim->memory_bytes, file->claim->cpus));
	if (wait)
		json_object_object_add(object, "waits_for", wait_object(wait));
	add_tasks(add_list(object, "tasks"), state, file->id);
	labs = add_list(object, "labs");
	for (size_t i = 0; i < state->n_labs; i++) {
		const Pv__LabNode *lab = state->labs[i];

		if (lab->file == file->id && lab->kind != PV__LAB_KIND__LAB_KIND_SUB)
			json_object_array_add(labs, lab_object(state, lab, false));
	}
	return object;
}

void pv_tree_print_json(const struct pv_state *state, const struct pv_waits *waits, struct pv_tree_point point,
                        FILE *out)
{
	struct json_object *object = json_object_new_object(), *files;
	Pv__LabState *message = pv_tree_message(state);

	add_number(object, "seq", point.seq);
	add_number(object, "t_ns", point.mono_ns);
	add_text(object, "run", message->run_id);
	json_object_object_add(object, "ended", json_object_new_boolean(message->ended));
	files = add_list(object, "files");
	for (size_t i = 0; i < message->n_files; i++) {
		const struct pv_wait *wait = waits ? pv_waits_of(waits, message->files[i]->id) : NULL;

		json_object_array_add(files, file_object(message, message->files[i], wait));
	}
	fprintf(out, "%s\n",
	        json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(object);
	pv__lab_state__free_unpacked(message, NULL);
}
