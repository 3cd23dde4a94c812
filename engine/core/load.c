/* The state from bytes. Three steps: build what the message says, check the invariants, and serialise again: only bytes that
 * pv_state_serialise() could have written come out the same. */
#include <string.h>

#include "engine/core/bridge.h"
#include "engine/core/disks_internal.h"
#include "proto/copy.h"

#define BREACH(...) return pv_err_set(msg, PV_ERR_CORRUPT, __VA_ARGS__)

static enum pv_err load_run(struct pv_state *state, const Pv__LabState *in, struct pv_errmsg *msg)
{
	for (size_t i = 0; i < in->n_profiles; i++) {
		for (size_t j = 0; j < i; j++) {
			if (strcmp(in->profiles[i], in->profiles[j]) == 0)
				BREACH("the profile \"%s\" stands twice", in->profiles[i]);
		}
	}
	if (in->run_id != NULL) {
		state->run_id = pv_xstrdup(in->run_id);
		pv_state_set_profiles(state, in->profiles, in->n_profiles);
	}
	state->ended = in->ended;
	state->next_lab = in->next_lab;
	state->next_vm = in->next_vm;
	state->next_bridge = in->next_bridge;
	state->next_task = in->next_task;
	state->next_test = in->next_test;
	state->next_call = in->next_call;
	return PV_OK;
}

/* root_lab is set when the labs are there. */
static enum pv_err load_file(struct pv_state *state, const Pv__FileState *node, struct pv_errmsg *msg)
{
	struct pv_file *file;

	if (node->id != state->n_files + 1 || node->path == NULL)
		BREACH("file %u stands out of order or has no path", node->id);
	file = pv_file_add(state, node->path, node->builds_for);
	file->build_call = node->build_call;
	file->dispatched = node->dispatched;
	file->verdict = node->verdict;
	file->test = node->test;
	file->test_name = node->test_name != NULL ? pv_xstrdup(node->test_name) : NULL;
	file->attempt = node->attempt;
	file->passed = node->passed;
	file->failed = node->failed;
	file->skipped = node->skipped;
	file->flaky = node->flaky;
	file->next_anonymous = node->next_anonymous;
	file->has_claim = node->claim != NULL;
	if (node->claim != NULL)
		file->claim =
		    (struct pv_amount){ .memory_bytes = node->claim->memory_bytes, .cpus = node->claim->cpus };
	return PV_OK;
}

/* What all resources need: an id above the last one's, and a name that fits. */
static enum pv_err check_node(const struct pv_state *state, Pv__MemberKind kind, uint32_t id, uint32_t file,
                              const char *name, uint32_t *last, struct pv_errmsg *msg)
{
	if (id <= *last)
		BREACH("the %s %u stands out of order", pv_kind_name(kind), id);
	if (pv_file_find(state, file) == NULL)
		BREACH("the %s %u belongs to no file", pv_kind_name(kind), id);
	*last = id;
	return pv_name_check(kind, name, msg);
}

/* A lab's parent may be younger than the lab, so homes are set when all labs are there. */
static enum pv_err load_labs(struct pv_state *state, const Pv__LabState *in, struct pv_errmsg *msg)
{
	uint32_t last = 0;

	for (size_t i = 0; i < in->n_labs; i++) {
		const Pv__LabNode *node = in->labs[i];
		struct pv_file *file;
		struct pv_lab *lab;
		enum pv_err err =
		    check_node(state, PV__MEMBER_KIND__MEMBER_KIND_LAB, node->id, node->file, node->name, &last, msg);

		if (err != PV_OK)
			return err;
		lab = pv_lab_add(state, node->id, node->file, node->kind, node->name, NULL);
		file = pv_file_find(state, node->file);
		if (lab->kind == PV__LAB_KIND__LAB_KIND_ROOT && file->root == NULL)
			file->root = lab;
		else if (lab->kind == PV__LAB_KIND__LAB_KIND_TEST && file->test_lab == NULL)
			file->test_lab = lab;
		else if (lab->kind != PV__LAB_KIND__LAB_KIND_SUB)
			BREACH("lab %u is of kind %d, which is unknown or there already", node->id, (int)node->kind);
	}
	return PV_OK;
}

static enum pv_err set_parents(struct pv_state *state, const Pv__LabState *in, struct pv_errmsg *msg)
{
	for (size_t i = 0; i < in->n_labs; i++) {
		struct pv_lab *lab = pv_lab_find(state, in->labs[i]->id);
		struct pv_lab *parent = pv_lab_find(state, in->labs[i]->parent);

		if ((parent == NULL) != (lab->kind == PV__LAB_KIND__LAB_KIND_ROOT))
			BREACH("lab %u has a wrong parent", lab->res.id);
		pv_resource_set_home(&lab->res, parent);
	}
	return PV_OK;
}

static enum pv_err load_objects(struct pv_object_list *list, Pv__ObjectState *const *nodes, size_t n,
                                struct pv_errmsg *msg)
{
	struct pv_object *copy;
	uint64_t last = 0;

	for (size_t i = 0; i < n; i++) {
		const Pv__ObjectState *in = nodes[i];
		struct pv_object object = {
			.id = in->id,
			.kind = in->kind,
			.stream_kind = in->stream_kind,
			.detail = in->detail != NULL ? pv_xstrdup(in->detail) : NULL,
			.owner = in->owner,
			.open = in->open,
		};

		if (in->site != NULL && in->site->source != NULL) {
			object.source = pv_xstrdup(in->site->source);
			object.line = in->site->line;
		}
		copy = pv_xmemdup(&object, sizeof(object));
		TAILQ_INSERT_TAIL(list, copy, link);
		if (in->id <= last)
			BREACH("the object %llu stands out of order", (unsigned long long)in->id);
		last = in->id;
	}
	return PV_OK;
}

static enum pv_err load_vm(struct pv_state *state, const Pv__VmNode *node, uint32_t *last, struct pv_errmsg *msg)
{
	enum pv_err err =
	    check_node(state, PV__MEMBER_KIND__MEMBER_KIND_VM, node->id, node->file, node->name, last, msg);
	struct pv_lab *home = pv_lab_find(state, node->home);
	const char *profile = node->profile != NULL ? pv_state_profile(state, node->profile) : NULL;
	struct pv_vm *vm;

	if (err != PV_OK)
		return err;
	if (home == NULL || profile == NULL)
		BREACH("VM %u has no home or no known profile", node->id);
	vm = PV_NEW(struct pv_vm);
	TAILQ_INIT(&vm->objects);
	pv_resource_add(state, &vm->res, PV__MEMBER_KIND__MEMBER_KIND_VM, node->id, node->file, node->name, home);
	vm->profile = profile;
	vm->spec = pv_vm_spec_copy(node->spec);
	vm->last_spec = pv_vm_spec_copy(node->last_spec);
	vm->state = node->state;
	vm->lifecycle_call = node->lifecycle_call;
	vm->dead_reason = node->dead_reason != NULL ? pv_xstrdup(node->dead_reason) : NULL;
	vm->boots = node->boots;
	vm->booted_mono_ns = node->booted_mono_ns;
	vm->life = node->life;
	for (size_t i = 0; i < node->n_disks; i++)
		pv_disks_add(&vm->disks, node->disks[i]);
	for (size_t i = 0; i < node->n_restoring; i++)
		pv_disks_add(&vm->restoring, node->restoring[i]);
	vm->next_disk_file = node->has_next_disk_file ? node->next_disk_file : 1;
	return load_objects(&vm->objects, node->objects, node->n_objects, msg);
}

static enum pv_err load_bridge(struct pv_state *state, const Pv__BridgeNode *node, uint32_t *last,
                               struct pv_errmsg *msg)
{
	enum pv_err err =
	    check_node(state, PV__MEMBER_KIND__MEMBER_KIND_BRIDGE, node->id, node->file, node->name, last, msg);
	struct pv_lab *home = pv_lab_find(state, node->home);
	struct pv_bridge *bridge;

	if (err != PV_OK)
		return err;
	if (home == NULL)
		BREACH("bridge %u has no home", node->id);
	if (home->res.file != node->file)
		BREACH("bridge %u has a home in another file", node->id);
	bridge = pv_bridge_add(state, node->id, node->name, home, node->settings);
	bridge->hold = node->hold != NULL ? pv_message_copy(&node->hold->base) : NULL;
	return load_objects(&bridge->captures, node->captures, node->n_captures, msg);
}

static enum pv_err load_members(struct pv_state *state, struct pv_lab *lab, Pv__MemberKind kind, const uint32_t *ids,
                                size_t n, struct pv_errmsg *msg)
{
	for (size_t i = 0; i < n; i++) {
		struct pv_resource *resource = pv_resource_find(state, kind, ids[i]);

		if (resource == NULL || pv_member_find(state, lab, kind, resource->name) != NULL)
			BREACH("lab %u holds the %s %u, which is not there or has the name of another", lab->res.id,
			       pv_kind_name(kind), ids[i]);
		pv_member_add(state, lab, resource);
	}
	return PV_OK;
}

static enum pv_err load_memberships(struct pv_state *state, const Pv__LabState *in, struct pv_errmsg *msg)
{
	enum pv_err err = PV_OK;

	for (size_t i = 0; i < in->n_labs && err == PV_OK; i++) {
		const Pv__LabNode *node = in->labs[i];
		struct pv_lab *lab = pv_lab_find(state, node->id);

		err = load_members(state, lab, PV__MEMBER_KIND__MEMBER_KIND_VM, node->vms, node->n_vms, msg);
		if (err == PV_OK)
			err = load_members(state, lab, PV__MEMBER_KIND__MEMBER_KIND_BRIDGE, node->bridges,
			                   node->n_bridges, msg);
		if (err == PV_OK)
			err = load_members(state, lab, PV__MEMBER_KIND__MEMBER_KIND_LAB, node->sub_labs,
			                   node->n_sub_labs, msg);
	}
	return err;
}

static enum pv_err load_graph(struct pv_state *state, const Pv__LabState *in, struct pv_errmsg *msg)
{
	enum pv_err err = load_labs(state, in, msg);
	uint32_t last_vm = 0, last_bridge = 0;

	if (err == PV_OK)
		err = set_parents(state, in, msg);
	for (size_t i = 0; i < in->n_vms && err == PV_OK; i++)
		err = load_vm(state, in->vms[i], &last_vm, msg);
	for (size_t i = 0; i < in->n_bridges && err == PV_OK; i++)
		err = load_bridge(state, in->bridges[i], &last_bridge, msg);
	return err == PV_OK ? load_memberships(state, in, msg) : err;
}

static enum pv_err load_tasks(struct pv_state *state, const Pv__LabState *in, struct pv_errmsg *msg)
{
	uint32_t last = 0;

	for (size_t i = 0; i < in->n_tasks; i++) {
		const Pv__TaskState *node = in->tasks[i];
		struct pv_file *file = pv_file_find(state, node->file);

		if (node->id <= last || file == NULL)
			BREACH("task %u stands out of order or belongs to no file", node->id);
		last = node->id;
		pv_task_add(state, &(struct pv_task){
		                       .id = node->id, .file = node->file, .kind = node->kind, .test = node->test });
		file->n_tasks++;
		file->n_test_tasks += node->test != 0;
		file->has_chunk_task |= node->kind == PV__TASK_KIND__TASK_KIND_CHUNK;
		file->has_test_task |= node->kind == PV__TASK_KIND__TASK_KIND_TEST;
	}
	return PV_OK;
}

static enum pv_err load_calls(struct pv_state *state, const Pv__LabState *in, struct pv_errmsg *msg)
{
	uint64_t last = 0;

	for (size_t i = 0; i < in->n_calls; i++) {
		const Pv__CallState *node = in->calls[i];
		Pv__CallStarted__OpCase op =
		    node->op != NULL ? pv_call_op_of_name(node->op) : PV__CALL_STARTED__OP__NOT_SET;
		struct pv_vm *vm = pv_vm_find(state, node->vm);
		const char *source = node->site != NULL ? node->site->source : NULL;

		if (node->id <= last || op == PV__CALL_STARTED__OP__NOT_SET)
			BREACH("call %llu stands out of order or is of an unknown kind", (unsigned long long)node->id);
		last = node->id;
		pv_call_add(state, &(struct pv_call){
		                       .id = node->id,
		                       .file = node->file,
		                       .task = node->task,
		                       .vm = node->vm,
		                       .life = node->life,
		                       .op = op,
		                       .source = source != NULL ? pv_xstrdup(source) : NULL,
		                       .line = source != NULL ? node->site->line : 0,
		                   });
		if (vm != NULL && vm->lifecycle_call == node->id)
			vm->in_flight = pv_vm_op_of_case(op);
	}
	return PV_OK;
}

static enum pv_err load_barrier(struct pv_state *state, const Pv__BarrierState *node, struct pv_errmsg *msg)
{
	struct pv_lab *lab = pv_lab_find(state, node->lab);
	struct pv_barrier *barrier;
	enum pv_err err = pv_barrier_check_name(node->name, msg);

	if (err != PV_OK)
		return err;
	if (lab == NULL || node->n_tasks == 0 || pv_barrier_find(lab, node->name) != NULL)
		BREACH("the barrier \"%s\" has no lab, has no waiter, or stands twice", node->name);
	barrier = pv_barrier_add(lab, node->name, node->count);
	for (size_t i = 0; i < node->n_tasks; i++) {
		struct pv_task *task = pv_task_find(state, node->tasks[i]);

		if (task == NULL || task->barrier != NULL)
			BREACH("task %u waits at the barrier \"%s\", but is not there or waits elsewhere",
			       node->tasks[i], node->name);
		pv_barrier_arrive(barrier, task);
	}
	return PV_OK;
}

static enum pv_err check_canonical(const struct pv_state *state, const void *bytes, size_t len, struct pv_errmsg *msg)
{
	struct pv_buf again = { 0 };
	bool same;

	pv_state_serialise(state, &again);
	same = again.len == len && memcmp(again.data, bytes, len) == 0;
	pv_buf_free(&again);
	if (!same)
		BREACH("they are not as provium writes them");
	return PV_OK;
}

static enum pv_err load(struct pv_state *state, const Pv__LabState *in, struct pv_errmsg *msg)
{
	enum pv_err err = load_run(state, in, msg);

	for (size_t i = 0; i < in->n_files && err == PV_OK; i++)
		err = load_file(state, in->files[i], msg);
	if (err == PV_OK)
		err = load_graph(state, in, msg);
	if (err == PV_OK)
		err = load_tasks(state, in, msg);
	if (err == PV_OK)
		err = load_calls(state, in, msg);
	for (size_t i = 0; i < in->n_barriers && err == PV_OK; i++)
		err = load_barrier(state, in->barriers[i], msg);
	return err == PV_OK ? pv_state_validate(state, msg) : err;
}

enum pv_err pv_state_load(const void *bytes, size_t len, struct pv_state **out, struct pv_errmsg *msg)
{
	Pv__LabState *in = pv__lab_state__unpack(NULL, len, bytes);
	struct pv_state *state;
	enum pv_err err;

	if (in == NULL)
		return pv_err_set(msg, PV_ERR_CORRUPT, "the bytes of the stored state are no LabState");
	state = pv_state_create();
	err = load(state, in, msg);
	pv__lab_state__free_unpacked(in, NULL);
	if (err == PV_OK)
		err = check_canonical(state, bytes, len, msg);
	if (err != PV_OK) {
		pv_state_destroy(state);
		return pv_err_wrap(msg, PV_ERR_CORRUPT, "the bytes of the stored state are inconsistent");
	}
	*out = state;
	return PV_OK;
}
