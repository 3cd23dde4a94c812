/* The objects of the state: making, finding and freeing them. */
#include "engine/core/state.h"

#include <string.h>

#include "engine/core/bridge.h"
#include "engine/core/disks_internal.h"

struct pv_state *pv_state_create(void)
{
	struct pv_state *state = PV_NEW(struct pv_state);

	state->next_lab = 1;
	state->next_vm = 1;
	state->next_bridge = 1;
	state->next_task = 1;
	state->next_test = 1;
	state->next_call = 1;
	return state;
}

void pv_state_swap(struct pv_state *a, struct pv_state *b)
{
	struct pv_state other = *a; /* nothing points into the struct itself */

	*a = *b;
	*b = other;
}

static void lab_free_parts(struct pv_lab *lab)
{
	struct pv_barrier *barrier, *next;

	HASH_ITER (hh, lab->barriers, barrier, next) {
		pv_barrier_free(barrier);
	}
	for (int kind = 0; kind < PV_KIND_COUNT; kind++)
		free(lab->members[kind].ids);
}

static void vm_free_parts(struct pv_vm *vm)
{
	if (vm->spec != NULL)
		pv__vm_spec__free_unpacked(vm->spec, NULL);
	if (vm->last_spec != NULL)
		pv__vm_spec__free_unpacked(vm->last_spec, NULL);
	free(vm->dead_reason);
	pv_objects_free(vm);
	pv_disks_free(&vm->disks);
	pv_disks_free(&vm->restoring);
}

static void resource_free_memory(struct pv_resource *resource)
{
	if (resource->kind == PV__MEMBER_KIND__MEMBER_KIND_VM)
		vm_free_parts(pv_vm_of(resource));
	else if (resource->kind == PV__MEMBER_KIND__MEMBER_KIND_LAB)
		lab_free_parts(pv_lab_of(resource));
	else
		pv_bridge_free_parts((struct pv_bridge *)resource);
	free(resource);
}

static void destroy_graph(struct pv_state *state)
{
	struct pv_member *member, *next_member;
	struct pv_resource *resource, *next_resource;

	HASH_ITER (hh, state->names, member, next_member) {
		HASH_DEL(state->names, member);
		free(member);
	}
	for (int kind = 0; kind < PV_KIND_COUNT; kind++) {
		HASH_ITER (hh, state->resources[kind], resource, next_resource) {
			HASH_DEL(state->resources[kind], resource);
			resource_free_memory(resource);
		}
	}
}

void pv_state_destroy(struct pv_state *state)
{
	struct pv_task *task, *next_task;
	struct pv_call *call, *next_call;

	if (state == NULL)
		return;
	destroy_graph(state);
	HASH_ITER (hh, state->tasks, task, next_task) {
		HASH_DEL(state->tasks, task);
		free(task);
	}
	HASH_ITER (hh, state->calls, call, next_call) {
		pv_call_remove(state, call);
	}
	for (size_t i = 0; i < state->n_files; i++) {
		free(state->files[i]->path);
		free(state->files[i]->test_name);
		free(state->files[i]);
	}
	free(state->files);
	for (size_t i = 0; i < state->n_profiles; i++)
		free(state->profiles[i]);
	free(state->profiles);
	free(state->run_id);
	free(state);
}

/* ---- finding ---- */

struct pv_resource *pv_resource_find(const struct pv_state *state, Pv__MemberKind kind, uint32_t id)
{
	struct pv_resource *resource;

	HASH_FIND(hh, state->resources[kind], &id, sizeof(id), resource);
	return resource;
}

struct pv_lab *pv_lab_find(const struct pv_state *state, uint32_t id)
{
	return (struct pv_lab *)pv_resource_find(state, PV__MEMBER_KIND__MEMBER_KIND_LAB, id);
}

struct pv_vm *pv_vm_find(const struct pv_state *state, uint32_t id)
{
	return (struct pv_vm *)pv_resource_find(state, PV__MEMBER_KIND__MEMBER_KIND_VM, id);
}

struct pv_file *pv_file_find(const struct pv_state *state, uint32_t id)
{
	return id >= 1 && id <= state->n_files ? state->files[id - 1] : NULL;
}

struct pv_task *pv_task_find(const struct pv_state *state, uint32_t id)
{
	struct pv_task *task;

	HASH_FIND(hh, state->tasks, &id, sizeof(id), task);
	return task;
}

struct pv_call *pv_call_find(const struct pv_state *state, uint64_t id)
{
	struct pv_call *call;

	HASH_FIND(hh, state->calls, &id, sizeof(id), call);
	return call;
}

const char *pv_state_profile(const struct pv_state *state, const char *name)
{
	for (size_t i = 0; i < state->n_profiles; i++) {
		if (strcmp(state->profiles[i], name) == 0)
			return state->profiles[i];
	}
	return NULL;
}

/* ---- making ---- */

void pv_state_set_profiles(struct pv_state *state, char **names, size_t n)
{
	state->profiles = pv_xcalloc(n + 1, sizeof(*state->profiles));
	for (size_t i = 0; i < n; i++)
		state->profiles[i] = pv_xstrdup(names[i]);
	state->n_profiles = n;
}

struct pv_file *pv_file_add(struct pv_state *state, const char *path, uint32_t builds_for)
{
	struct pv_file *file = PV_NEW(struct pv_file);

	if (state->n_files == state->files_cap) {
		state->files_cap = state->files_cap > 0 ? 2 * state->files_cap : 16;
		state->files = pv_xrealloc(state->files, state->files_cap * sizeof(struct pv_file *));
	}
	state->files[state->n_files++] = file;
	file->id = (uint32_t)state->n_files;
	file->path = pv_xstrdup(path);
	file->builds_for = builds_for;
	return file;
}

void pv_resource_set_home(struct pv_resource *resource, struct pv_lab *home)
{
	if (resource->home != NULL)
		TAILQ_REMOVE(&resource->home->homed, resource, in_home);
	resource->home = home;
	if (home != NULL)
		TAILQ_INSERT_TAIL(&home->homed, resource, in_home);
}

void pv_resource_add(struct pv_state *state, struct pv_resource *resource, Pv__MemberKind kind, uint32_t id,
                     uint32_t file, const char *name, struct pv_lab *home)
{
	size_t len = strlen(name);

	PV_ASSERT(len <= PV_NAME_MAX);
	resource->kind = kind;
	resource->id = id;
	resource->file = file;
	memcpy(resource->name, name, len + 1);
	TAILQ_INIT(&resource->holders);
	pv_resource_set_home(resource, home);
	HASH_ADD(hh, state->resources[kind], id, sizeof(resource->id), resource);
}

struct pv_lab *pv_lab_add(struct pv_state *state, uint32_t id, uint32_t file, Pv__LabKind kind, const char *name,
                          struct pv_lab *home)
{
	struct pv_lab *lab = PV_NEW(struct pv_lab);

	lab->kind = kind;
	for (int i = 0; i < PV_KIND_COUNT; i++)
		TAILQ_INIT(&lab->members[i].list);
	TAILQ_INIT(&lab->homed);
	pv_resource_add(state, &lab->res, PV__MEMBER_KIND__MEMBER_KIND_LAB, id, file, name, home);
	return lab;
}

void pv_task_add(struct pv_state *state, const struct pv_task *task)
{
	struct pv_task *copy = pv_xmemdup(task, sizeof(*task));

	HASH_ADD(hh, state->tasks, id, sizeof(copy->id), copy);
}

void pv_call_add(struct pv_state *state, const struct pv_call *call)
{
	struct pv_call *copy = pv_xmemdup(call, sizeof(*call));

	HASH_ADD(hh, state->calls, id, sizeof(copy->id), copy);
}

void pv_call_remove(struct pv_state *state, struct pv_call *call)
{
	HASH_DEL(state->calls, call);
	free(call->source);
	free(call);
}

Pv__VmSpec *pv_vm_spec_copy(const Pv__VmSpec *spec)
{
	size_t len = spec != NULL ? pv__vm_spec__get_packed_size(spec) : 0;
	Pv__VmSpec *copy;
	uint8_t *bytes;

	if (len == 0)
		return NULL;
	bytes = pv_xmalloc(len);
	pv__vm_spec__pack(spec, bytes);
	copy = pv__vm_spec__unpack(NULL, len, bytes);
	free(bytes);
	PV_ASSERT(copy != NULL);
	return copy;
}

Pv__VmSpec *pv_vm_spec_copy_without_disks(const Pv__VmSpec *spec)
{
	Pv__VmSpec kept;

	if (spec == NULL)
		return NULL;
	kept = *spec;
	kept.n_disks = kept.n_saved_disks = 0;
	return pv_vm_spec_copy(&kept);
}

/* What comes behind the first line of a reason, the tail of a console say, was told once and is in the journal. */
static char *first_line(const char *reason)
{
	size_t len = strcspn(reason, "\n");

	return len > 0 ? pv_xasprintf("%.*s", (int)len, reason) : pv_xstrdup("it was lost");
}

void pv_vm_end_life(const struct pv_state *state, struct pv_vm *vm, Pv__VmState next, const char *reason)
{
	char *kept = NULL;

	if (next == PV__VM_STATE__VM_STATE_DEAD)
		kept = first_line(reason != NULL ? reason : "");
	free(vm->dead_reason);
	vm->dead_reason = kept;
	vm->state = next;
	vm->life++;
	pv_objects_end(vm, true);
	pv_disks_vm_down(vm);
	if (vm->in_flight != PV_VM_OP_SHUTDOWN) {
		vm->in_flight = PV_VM_OP_NONE;
		vm->lifecycle_call = 0;
	}
	pv_bridges_vm_down(state, vm);
}

void pv_resource_free(struct pv_state *state, struct pv_resource *resource)
{
	PV_ASSERT(resource->n_holders == 0 && resource->home == NULL);
	HASH_DEL(state->resources[resource->kind], resource);
	resource_free_memory(resource);
}
