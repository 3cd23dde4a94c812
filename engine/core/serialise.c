/* The state as bytes. The maps iterate in id order and protobuf-c writes fields in the order of their numbers, so equal states
 * give equal bytes. A scalar of 0 is left out. */
#include "engine/core/bridge.h"

#define SET(node, field, value) ((node)->field = (value), (node)->has_##field = (node)->field != 0)

static void put_file(Pv__FileState *node, Pv__Amount *claim, const struct pv_file *file)
{
	SET(node, id, file->id);
	node->path = file->path;
	SET(node, dispatched, file->dispatched);
	SET(node, verdict, file->verdict);
	SET(node, root_lab, file->root != NULL ? file->root->res.id : 0);
	SET(node, test, file->test);
	node->test_name = file->test_name;
	SET(node, attempt, file->attempt);
	SET(node, passed, file->passed);
	SET(node, failed, file->failed);
	SET(node, skipped, file->skipped);
	SET(node, flaky, file->flaky);
	SET(node, next_anonymous, file->next_anonymous);
	SET(node, builds_for, file->builds_for);
	SET(node, build_call, file->build_call);
	if (!file->has_claim)
		return;
	SET(claim, memory_bytes, file->claim.memory_bytes);
	SET(claim, cpus, file->claim.cpus);
	node->claim = claim;
}

static uint32_t *ids_of(const struct pv_lab *lab, Pv__MemberKind kind, size_t *n)
{
	/* The cached array is no part of what the lab is. */
	struct pv_lab *cached = (struct pv_lab *)(uintptr_t)lab;

	*n = lab->members[kind].n;
	return (uint32_t *)(uintptr_t)pv_member_ids(cached, kind);
}

static void put_lab(Pv__LabNode *node, const struct pv_lab *lab)
{
	SET(node, id, lab->res.id);
	SET(node, file, lab->res.file);
	SET(node, kind, lab->kind);
	SET(node, parent, lab->res.home != NULL ? lab->res.home->res.id : 0);
	node->name = (char *)(uintptr_t)lab->res.name;
	node->vms = ids_of(lab, PV__MEMBER_KIND__MEMBER_KIND_VM, &node->n_vms);
	node->bridges = ids_of(lab, PV__MEMBER_KIND__MEMBER_KIND_BRIDGE, &node->n_bridges);
	node->sub_labs = ids_of(lab, PV__MEMBER_KIND__MEMBER_KIND_LAB, &node->n_sub_labs);
}

/* The ids of the labs that hold it; the caller frees. */
static uint32_t *holders_of(const struct pv_resource *resource, size_t *n)
{
	uint32_t *ids = pv_xcalloc(resource->n_holders, sizeof(*ids));
	const struct pv_member *member;

	*n = 0;
	TAILQ_FOREACH (member, &resource->holders, in_resource) {
		ids[(*n)++] = member->lab->res.id;
	}
	return ids;
}

static void put_object(Pv__ObjectState *node, Pv__Site *site, const struct pv_object *object)
{
	SET(node, id, object->id);
	SET(node, kind, object->kind);
	SET(node, stream_kind, object->stream_kind);
	node->detail = object->detail;
	SET(node, owner, object->owner);
	SET(node, open, object->open);
	if (object->source == NULL)
		return;
	site->source = object->source;
	SET(site, line, object->line);
	node->site = site;
}

/* Both kinds of nodes of a list lie in one block, which starts at the first ObjectState. */
static Pv__ObjectState **put_objects(const struct pv_object_list *list, size_t *n_objects)
{
	const struct pv_object *object;
	Pv__ObjectState **nodes;
	struct pair {
		Pv__ObjectState object;
		Pv__Site site;
	} * pairs;
	size_t n = 0;

	TAILQ_FOREACH (object, list, link)
		n++;
	*n_objects = n;
	if (n == 0)
		return NULL;
	pairs = pv_xcalloc(n, sizeof(*pairs));
	nodes = pv_xcalloc(n, sizeof(Pv__ObjectState *));
	n = 0;
	TAILQ_FOREACH (object, list, link) {
		pairs[n] = (struct pair){ (Pv__ObjectState)PV__OBJECT_STATE__INIT, (Pv__Site)PV__SITE__INIT };
		nodes[n] = &pairs[n].object;
		put_object(&pairs[n].object, &pairs[n].site, object);
		n++;
	}
	return nodes;
}

static void free_objects(Pv__ObjectState **nodes, size_t n)
{
	if (n > 0)
		free(nodes[0]);
	free(nodes);
}

static void put_vm(Pv__VmNode *node, const struct pv_vm *vm)
{
	SET(node, id, vm->res.id);
	SET(node, file, vm->res.file);
	node->name = (char *)(uintptr_t)vm->res.name;
	node->profile = (char *)(uintptr_t)vm->profile;
	node->spec = vm->spec;
	node->last_spec = vm->last_spec;
	SET(node, state, vm->state);
	SET(node, lifecycle_call, vm->lifecycle_call);
	node->dead_reason = vm->dead_reason;
	SET(node, boots, vm->boots);
	SET(node, booted_mono_ns, vm->booted_mono_ns);
	node->labs = holders_of(&vm->res, &node->n_labs);
	SET(node, home, vm->res.home->res.id);
	SET(node, life, vm->life);
	node->objects = put_objects(&vm->objects, &node->n_objects);
	node->disks = vm->disks.items;
	node->n_disks = vm->disks.n;
	SET(node, next_disk_file, vm->next_disk_file > 1 ? vm->next_disk_file : 0);
	node->restoring = vm->restoring.items;
	node->n_restoring = vm->restoring.n;
}

static void put_bridge(Pv__BridgeNode *node, const struct pv_resource *bridge)
{
	SET(node, id, bridge->id);
	SET(node, file, bridge->file);
	node->name = (char *)(uintptr_t)bridge->name;
	node->labs = holders_of(bridge, &node->n_labs);
	SET(node, home, bridge->home->res.id);
	if (pv__bridge_settings__get_packed_size(((const struct pv_bridge *)bridge)->settings) > 0)
		node->settings = ((const struct pv_bridge *)bridge)->settings;
	node->hold = ((const struct pv_bridge *)bridge)->hold;
	node->captures = put_objects(&((const struct pv_bridge *)bridge)->captures, &node->n_captures);
}

static void put_task(Pv__TaskState *node, const struct pv_task *task)
{
	SET(node, id, task->id);
	SET(node, file, task->file);
	SET(node, kind, task->kind);
	SET(node, test, task->test);
}

static void put_call(Pv__CallState *node, Pv__Site *site, const struct pv_call *call)
{
	SET(node, id, call->id);
	SET(node, file, call->file);
	SET(node, task, call->task);
	SET(node, vm, call->vm);
	node->op = (char *)(uintptr_t)pv_call_op_name(call->op);
	SET(node, life, call->life);
	if (call->source == NULL)
		return;
	site->source = call->source;
	SET(site, line, call->line);
	node->site = site;
}

/* The tasks are an array of their own, which the caller frees. */
static void put_barrier(Pv__BarrierState *node, const struct pv_barrier *barrier)
{
	const struct pv_task *task;

	SET(node, lab, barrier->lab->res.id);
	node->name = barrier->name;
	SET(node, count, barrier->count);
	node->tasks = pv_xcalloc(barrier->n, sizeof(*node->tasks));
	TAILQ_FOREACH (task, &barrier->waiters, at_barrier) {
		node->tasks[node->n_tasks++] = task->id;
	}
}

/* Makes the n nodes of a repeated field and the array of pointers to them. */
#define MAKE_NODES(type, init, n, nodes, pointers)                                                                     \
	do {                                                                                                           \
		(pointers) = (n) > 0 ? pv_xcalloc((n), sizeof(type *)) : NULL;                                         \
		(nodes) = (n) > 0 ? pv_xcalloc((n), sizeof(type)) : NULL;                                              \
		for (size_t i_ = 0; i_ < (n); i_++) {                                                                  \
			(nodes)[i_] = (type)init;                                                                      \
			(pointers)[i_] = &(nodes)[i_];                                                                 \
		}                                                                                                      \
	} while (0)

/* The messages inside of nodes, which the nodes do not own. */
struct parts {
	Pv__Amount *claims; /* by index of the file */
	Pv__Site *sites;    /* by index of the call */
};

static void put_files(Pv__LabState *out, const struct pv_state *state, struct parts *parts)
{
	Pv__FileState *nodes;

	out->n_files = state->n_files;
	MAKE_NODES(Pv__FileState, PV__FILE_STATE__INIT, out->n_files, nodes, out->files);
	parts->claims = pv_xcalloc(out->n_files, sizeof(*parts->claims));
	for (size_t i = 0; i < out->n_files; i++) {
		parts->claims[i] = (Pv__Amount)PV__AMOUNT__INIT;
		put_file(&nodes[i], &parts->claims[i], state->files[i]);
	}
}

static void put_resources(Pv__LabState *out, const struct pv_state *state)
{
	struct pv_resource *const *maps = state->resources;
	struct pv_resource *resource;
	Pv__LabNode *lab;
	Pv__VmNode *vm;
	Pv__BridgeNode *bridge;

	out->n_labs = HASH_COUNT(maps[PV__MEMBER_KIND__MEMBER_KIND_LAB]);
	MAKE_NODES(Pv__LabNode, PV__LAB_NODE__INIT, out->n_labs, lab, out->labs);
	for (resource = maps[PV__MEMBER_KIND__MEMBER_KIND_LAB]; resource != NULL; resource = resource->hh.next)
		put_lab(lab++, pv_lab_of(resource));

	out->n_vms = HASH_COUNT(maps[PV__MEMBER_KIND__MEMBER_KIND_VM]);
	MAKE_NODES(Pv__VmNode, PV__VM_NODE__INIT, out->n_vms, vm, out->vms);
	for (resource = maps[PV__MEMBER_KIND__MEMBER_KIND_VM]; resource != NULL; resource = resource->hh.next)
		put_vm(vm++, pv_vm_of(resource));

	out->n_bridges = HASH_COUNT(maps[PV__MEMBER_KIND__MEMBER_KIND_BRIDGE]);
	MAKE_NODES(Pv__BridgeNode, PV__BRIDGE_NODE__INIT, out->n_bridges, bridge, out->bridges);
	for (resource = maps[PV__MEMBER_KIND__MEMBER_KIND_BRIDGE]; resource != NULL; resource = resource->hh.next)
		put_bridge(bridge++, resource);
}

static void put_work(Pv__LabState *out, const struct pv_state *state, struct parts *parts)
{
	Pv__TaskState *task_node;
	Pv__CallState *call_node;
	size_t n;

	out->n_tasks = HASH_COUNT(state->tasks);
	MAKE_NODES(Pv__TaskState, PV__TASK_STATE__INIT, out->n_tasks, task_node, out->tasks);
	for (const struct pv_task *task = state->tasks; task != NULL; task = task->hh.next)
		put_task(task_node++, task);

	out->n_calls = HASH_COUNT(state->calls);
	MAKE_NODES(Pv__CallState, PV__CALL_STATE__INIT, out->n_calls, call_node, out->calls);
	parts->sites = pv_xcalloc(out->n_calls, sizeof(*parts->sites));
	n = 0;
	for (const struct pv_call *call = state->calls; call != NULL; call = call->hh.next, n++) {
		parts->sites[n] = (Pv__Site)PV__SITE__INIT;
		put_call(call_node++, &parts->sites[n], call);
	}
}

static void put_barriers(Pv__LabState *out, const struct pv_state *state)
{
	struct pv_resource *labs = state->resources[PV__MEMBER_KIND__MEMBER_KIND_LAB], *at;
	Pv__BarrierState *node;

	for (at = labs; at != NULL; at = at->hh.next)
		out->n_barriers += HASH_COUNT(pv_lab_of(at)->barriers);
	MAKE_NODES(Pv__BarrierState, PV__BARRIER_STATE__INIT, out->n_barriers, node, out->barriers);
	for (at = labs; at != NULL; at = at->hh.next) {
		for (struct pv_barrier *barrier = pv_lab_of(at)->barriers; barrier != NULL; barrier = barrier->hh.next)
			put_barrier(node++, barrier);
	}
}

/* Nodes of one field lie in one block, which starts at the first. */
#define FREE_NODES(pointers, n)                                                                                        \
	do {                                                                                                           \
		if ((n) > 0)                                                                                           \
			free((pointers)[0]);                                                                           \
		free(pointers);                                                                                        \
	} while (0)

static void free_nodes(Pv__LabState *out, struct parts *parts)
{
	free(parts->claims);
	free(parts->sites);
	for (size_t i = 0; i < out->n_vms; i++) {
		free(out->vms[i]->labs);
		free_objects(out->vms[i]->objects, out->vms[i]->n_objects);
	}
	for (size_t i = 0; i < out->n_bridges; i++) {
		free(out->bridges[i]->labs);
		free_objects(out->bridges[i]->captures, out->bridges[i]->n_captures);
	}
	for (size_t i = 0; i < out->n_barriers; i++)
		free(out->barriers[i]->tasks);
	FREE_NODES(out->barriers, out->n_barriers);
	FREE_NODES(out->files, out->n_files);
	FREE_NODES(out->labs, out->n_labs);
	FREE_NODES(out->vms, out->n_vms);
	FREE_NODES(out->bridges, out->n_bridges);
	FREE_NODES(out->tasks, out->n_tasks);
	FREE_NODES(out->calls, out->n_calls);
}

void pv_state_serialise(const struct pv_state *state, struct pv_buf *out)
{
	Pv__LabState message = PV__LAB_STATE__INIT;
	struct parts parts = { 0 };
	size_t len;

	put_files(&message, state, &parts);
	put_resources(&message, state);
	put_work(&message, state, &parts);
	put_barriers(&message, state);
	SET(&message, next_lab, state->next_lab);
	SET(&message, next_vm, state->next_vm);
	SET(&message, next_bridge, state->next_bridge);
	SET(&message, next_task, state->next_task);
	SET(&message, next_test, state->next_test);
	SET(&message, next_call, state->next_call);
	SET(&message, ended, state->ended);
	message.run_id = state->run_id;
	message.profiles = state->profiles;
	message.n_profiles = state->n_profiles;

	len = pv__lab_state__get_packed_size(&message);
	pv_buf_reserve(out, len);
	pv__lab_state__pack(&message, out->data + out->len);
	out->len += len;
	out->data[out->len] = 0;
	free_nodes(&message, &parts);
}
