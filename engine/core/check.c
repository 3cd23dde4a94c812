/* The invariants of the state, for loaded bytes (an error) and for tests (a bug). */
#include <string.h>

#include "engine/core/bridge.h"
#include "engine/core/disks_internal.h"

#define BREACH(...) return pv_err_set(msg, PV_ERR_CORRUPT, __VA_ARGS__)

/* ---- files ---- */

static enum pv_err check_file_test(const struct pv_state *state, const struct pv_file *file, struct pv_errmsg *msg)
{
	if ((file->test_name != NULL) != (file->attempt > 0))
		BREACH("file %u has a test without an attempt, or the reverse", file->id);
	if (file->test != 0 && (file->test_name == NULL || file->test >= state->next_test))
		BREACH("file %u runs test %u, which was never started", file->id, file->test);
	if (file->test == 0 && file->test_name != NULL && file->failed == 0)
		BREACH("file %u may try a test again, but none has failed", file->id);
	return PV_OK;
}

static enum pv_err check_file(const struct pv_state *state, const struct pv_file *file, struct pv_errmsg *msg)
{
	bool idle = file->test == 0 && file->test_name == NULL && file->root == NULL && file->test_lab == NULL &&
	            file->n_tasks == 0 && !file->has_claim;

	if (file->path == NULL || file->path[0] == '\0')
		BREACH("file %u has no path", file->id);
	switch (file->verdict) {
	case PV__VERDICT__VERDICT_UNSPECIFIED:
		break;
	case PV__VERDICT__VERDICT_PASSED:
	case PV__VERDICT__VERDICT_FAILED:
	case PV__VERDICT__VERDICT_TIMED_OUT:
	case PV__VERDICT__VERDICT_CRASHED:
		if (!idle || !file->dispatched)
			BREACH("file %u has completed, but is at work or was never dispatched", file->id);
		break;
	default:
		BREACH("file %u has the verdict %d", file->id, (int)file->verdict);
	}
	if (!file->dispatched && (!idle || file->passed + file->failed + file->skipped + file->flaky > 0))
		BREACH("file %u is at work, but was never dispatched", file->id);
	if (file->builds_for >= file->id)
		BREACH("file %u builds for file %u, which is no older one", file->id, file->builds_for);
	if (file->build_call != 0 &&
	    (file->builds_for == 0 || !file->dispatched || file->verdict != PV__VERDICT__VERDICT_UNSPECIFIED ||
	     file->build_call >= state->next_call))
		BREACH("file %u has a build under way, and is no builder at work", file->id);
	return check_file_test(state, file, msg);
}

/* ---- resources ---- */

static enum pv_err check_place(const struct pv_state *state, const struct pv_resource *resource, struct pv_errmsg *msg)
{
	const char *what = pv_kind_name(resource->kind);
	const struct pv_file *file = pv_file_find(state, resource->file);
	const struct pv_member *member;
	uint32_t last = 0, n = 0;

	if (file == NULL || !file->dispatched)
		BREACH("the %s %u belongs to file %u, which is not at work", what, resource->id, resource->file);
	if (resource->home == NULL || resource->home->res.file != resource->file)
		BREACH("the %s %u has no home in its file", what, resource->id);
	TAILQ_FOREACH (member, &resource->holders, in_resource) {
		if (member->resource != resource || member->lab->res.file != resource->file ||
		    member->lab->res.id <= last ||
		    pv_member_find(state, member->lab, resource->kind, resource->name) != member)
			BREACH("the %s %u is held wrongly by lab %u", what, resource->id, member->lab->res.id);
		last = member->lab->res.id;
		n++;
	}
	if (n != resource->n_holders || resource->n_closing != 0)
		BREACH("the %s %u is held by %u labs, but counts %u", what, resource->id, n, resource->n_holders);
	return PV_OK;
}

static enum pv_err check_scope(const struct pv_state *state, const struct pv_lab *lab, struct pv_errmsg *msg)
{
	const struct pv_file *file = pv_file_find(state, lab->res.file);
	bool is_root = lab->kind == PV__LAB_KIND__LAB_KIND_ROOT;

	if (strcmp(lab->res.name, PV_ROOT_NAME) != 0 || lab->res.n_holders > 0)
		BREACH("lab %u is a scope, but has a name of its own or is held", lab->res.id);
	if (file == NULL || !file->dispatched || (is_root ? file->root : file->test_lab) != lab)
		BREACH("lab %u is a scope, but not that of its file", lab->res.id);
	if (is_root ? lab->res.home != NULL : lab->res.home != file->root)
		BREACH("lab %u is a scope with a wrong parent", lab->res.id);
	return PV_OK;
}

static enum pv_err check_barriers(const struct pv_lab *lab, struct pv_errmsg *msg)
{
	for (const struct pv_barrier *barrier = lab->barriers; barrier != NULL; barrier = barrier->hh.next) {
		const struct pv_task *task;
		uint32_t n = 0;

		TAILQ_FOREACH (task, &barrier->waiters, at_barrier) {
			n += task->barrier == barrier;
		}
		if (barrier->lab != lab || n == 0 || n != barrier->n || n > barrier->count)
			BREACH("at the barrier \"%s\" of lab %u, %u of %u have arrived, but %u wait", barrier->name,
			       lab->res.id, barrier->n, barrier->count, n);
	}
	return PV_OK;
}

static enum pv_err check_members(const struct pv_lab *lab, struct pv_errmsg *msg)
{
	for (int kind = 0; kind < PV_KIND_COUNT; kind++) {
		const struct pv_member_set *set = &lab->members[kind];
		const struct pv_member *member;
		uint32_t n = 0;

		TAILQ_FOREACH (member, &set->list, in_lab) {
			if (member->lab != lab || (int)member->resource->kind != kind ||
			    (set->ids_valid && set->ids[n] != member->resource->id))
				BREACH("lab %u has a wrong member", lab->res.id);
			n++;
		}
		if (n != set->n)
			BREACH("lab %u has %u members of a kind, but counts %u", lab->res.id, n, set->n);
	}
	return PV_OK;
}

static enum pv_err check_lab(const struct pv_state *state, struct pv_lab *lab, struct pv_errmsg *msg)
{
	uint32_t anonymous;
	enum pv_err err;

	if (lab->res.id >= state->next_lab)
		BREACH("lab %u is newer than the counter of labs", lab->res.id);
	err = check_members(lab, msg);
	if (err == PV_OK)
		err = check_barriers(lab, msg);
	if (err != PV_OK)
		return err;
	if (lab->kind != PV__LAB_KIND__LAB_KIND_SUB)
		return check_scope(state, lab, msg);
	err = pv_name_check(lab->res.kind, lab->res.name, msg);
	if (err == PV_OK)
		err = check_place(state, &lab->res, msg);
	if (err != PV_OK)
		return err;
	if (pv_name_is_anonymous(lab->res.name, &anonymous) &&
	    anonymous >= pv_file_find(state, lab->res.file)->next_anonymous)
		BREACH("lab %u is named \"%s\", which its file would give again", lab->res.id, lab->res.name);
	return PV_OK;
}

/* Takes labs away that nothing above keeps, until none is left: then there is no cycle. Each lab counts its edges from above in n_closing. */
static enum pv_err check_acyclic(const struct pv_state *state, struct pv_errmsg *msg)
{
	struct pv_resource *labs = state->resources[PV__MEMBER_KIND__MEMBER_KIND_LAB], *at;
	struct pv_buf queue = { 0 };
	size_t n = 0;

	for (at = labs; at != NULL; at = at->hh.next) {
		at->n_closing = at->n_holders + (at->home != NULL);
		if (at->n_closing == 0)
			pv_buf_add(&queue, &at, sizeof(struct pv_resource *));
	}
	for (; n < queue.len / sizeof(struct pv_resource *); n++) {
		struct pv_lab *lab = pv_lab_of(((struct pv_resource **)(void *)queue.data)[n]);
		struct pv_member *member;

		TAILQ_FOREACH (member, &lab->members[PV__MEMBER_KIND__MEMBER_KIND_LAB].list, in_lab) {
			if (--member->resource->n_closing == 0)
				pv_buf_add(&queue, &member->resource, sizeof(struct pv_resource *));
		}
		TAILQ_FOREACH (at, &lab->homed, in_home) {
			if (at->kind == PV__MEMBER_KIND__MEMBER_KIND_LAB && --at->n_closing == 0)
				pv_buf_add(&queue, &at, sizeof(struct pv_resource *));
		}
	}
	pv_buf_free(&queue);
	for (at = labs; at != NULL; at = at->hh.next)
		at->n_closing = 0;
	if (n != HASH_COUNT(labs))
		BREACH("the labs hold each other in a cycle");
	return PV_OK;
}

/* ---- VMs and calls ---- */

static enum pv_err check_in_flight(const struct pv_state *state, const struct pv_vm *vm, struct pv_errmsg *msg)
{
	const struct pv_call *call;

	if (vm->lifecycle_call == 0) {
		if (vm->in_flight != PV_VM_OP_NONE)
			BREACH("VM %u has an operation in flight without a call", vm->res.id);
		return PV_OK;
	}
	call = pv_call_find(state, vm->lifecycle_call);
	if (call == NULL || call->vm != vm->res.id || pv_vm_op_of_case(call->op) != vm->in_flight ||
	    vm->in_flight == PV_VM_OP_NONE || vm->in_flight == PV_VM_OP_GUEST || vm->in_flight == PV_VM_OP_HOST ||
	    vm->in_flight == PV_VM_OP_DISK)
		BREACH("VM %u names a call in flight that is none of its operations", vm->res.id);
	if (!pv_vm_may_start(vm->state, PV_VM_OP_NONE, vm->in_flight))
		BREACH("VM %u is %s with a %s in flight", vm->res.id, pv_vm_state_name(vm->state),
		       pv_vm_op_name(vm->in_flight));
	if (vm->in_flight != PV_VM_OP_SHUTDOWN && call->life != vm->life)
		BREACH("VM %u has an operation of an earlier life in flight", vm->res.id);
	return PV_OK;
}

static enum pv_err check_vm(const struct pv_state *state, const struct pv_vm *vm, struct pv_errmsg *msg)
{
	enum pv_err err = pv_name_check(vm->res.kind, vm->res.name, msg);

	if (err == PV_OK)
		err = check_place(state, &vm->res, msg);
	if (err != PV_OK)
		return err;
	if (vm->res.id >= state->next_vm)
		BREACH("VM %u is newer than the counter of VMs", vm->res.id);
	if (vm->profile == NULL || pv_state_profile(state, vm->profile) != vm->profile)
		BREACH("VM %u has an unknown profile", vm->res.id);
	switch (vm->state) {
	case PV__VM_STATE__VM_STATE_CREATED:
	case PV__VM_STATE__VM_STATE_BOOTED:
	case PV__VM_STATE__VM_STATE_PAUSED:
	case PV__VM_STATE__VM_STATE_SHUTDOWN:
	case PV__VM_STATE__VM_STATE_DEAD:
		break;
	default:
		BREACH("VM %u has the state %d", vm->res.id, (int)vm->state);
	}
	if ((vm->dead_reason != NULL) != (vm->state == PV__VM_STATE__VM_STATE_DEAD))
		BREACH("VM %u is dead without a reason, or the reverse", vm->res.id);
	err = pv_objects_validate(state, vm, msg);
	if (err == PV_OK)
		err = pv_disks_validate(state, vm, msg);
	return err == PV_OK ? check_in_flight(state, vm, msg) : err;
}

static enum pv_err check_call(const struct pv_state *state, const struct pv_call *call, struct pv_errmsg *msg)
{
	const struct pv_vm *vm = pv_vm_find(state, call->vm);
	enum pv_vm_op op = pv_vm_op_of_case(call->op);

	if (call->id == 0 || call->id >= state->next_call || op == PV_VM_OP_NONE ||
	    (call->vm == 0) != pv_call_needs_no_vm(call->op) || call->vm >= state->next_vm ||
	    call->task >= state->next_task || pv_file_find(state, call->file) == NULL)
		BREACH("call %llu is malformed", (unsigned long long)call->id);
	if (vm == NULL || vm->lifecycle_call == call->id)
		return PV_OK;
	if (vm->res.file != call->file || call->life > vm->life)
		BREACH("call %llu does not fit VM %u", (unsigned long long)call->id, vm->res.id);
	if (call->life < vm->life || op == PV_VM_OP_HOST || op == PV_VM_OP_DISK)
		return PV_OK;
	if (op != PV_VM_OP_GUEST && vm->in_flight != PV_VM_OP_SHUTDOWN)
		BREACH("call %llu was overtaken by no shutdown", (unsigned long long)call->id);
	if (op == PV_VM_OP_GUEST && vm->state != PV__VM_STATE__VM_STATE_BOOTED &&
	    vm->state != PV__VM_STATE__VM_STATE_PAUSED)
		BREACH("call %llu is at work in VM %u, which is %s", (unsigned long long)call->id, vm->res.id,
		       pv_vm_state_name(vm->state));
	return PV_OK;
}

/* ---- tasks ---- */

static enum pv_err check_task(const struct pv_state *state, const struct pv_task *task, struct pv_errmsg *msg)
{
	const struct pv_file *file = pv_file_find(state, task->file);

	if (task->id == 0 || task->id >= state->next_task || file == NULL)
		BREACH("task %u is malformed", task->id);
	if (task->barrier != NULL && task->barrier->lab->res.file != task->file)
		BREACH("task %u waits at a barrier of another file", task->id);
	if (task->test != 0 && task->test != file->test)
		BREACH("task %u belongs to test %u, which is not running", task->id, task->test);
	switch (task->kind) {
	case PV__TASK_KIND__TASK_KIND_CHUNK:
		if (task->test != 0 || !file->has_chunk_task)
			BREACH("task %u is a wrong main chunk", task->id);
		return PV_OK;
	case PV__TASK_KIND__TASK_KIND_TEST:
		if (task->test == 0 || !file->has_test_task)
			BREACH("task %u is a wrong test", task->id);
		return PV_OK;
	case PV__TASK_KIND__TASK_KIND_CO:
		return PV_OK;
	default:
		BREACH("task %u has the kind %d", task->id, (int)task->kind);
	}
}

/* The counts that files keep of their tasks. */
static enum pv_err check_task_counts(const struct pv_state *state, struct pv_errmsg *msg)
{
	struct counts {
		uint32_t all, in_test, chunks, tests;
	} *counts = pv_xcalloc(state->n_files, sizeof(*counts));
	enum pv_err err = PV_OK;

	for (const struct pv_task *task = state->tasks; task != NULL; task = task->hh.next) {
		struct counts *of = &counts[task->file - 1];

		of->all++;
		of->in_test += task->test != 0;
		of->chunks += task->kind == PV__TASK_KIND__TASK_KIND_CHUNK;
		of->tests += task->kind == PV__TASK_KIND__TASK_KIND_TEST;
	}
	for (size_t i = 0; i < state->n_files && err == PV_OK; i++) {
		const struct pv_file *file = state->files[i];

		if (counts[i].all != file->n_tasks || counts[i].in_test != file->n_test_tasks ||
		    counts[i].chunks != file->has_chunk_task || counts[i].tests != file->has_test_task)
			err = pv_err_set(msg, PV_ERR_CORRUPT, "the tasks of file %u are miscounted", file->id);
	}
	free(counts);
	return err;
}

/* ---- all ---- */

static enum pv_err check_resource(const struct pv_state *state, struct pv_resource *resource, struct pv_errmsg *msg)
{
	enum pv_err err;

	if (resource->id == 0)
		BREACH("a %s has no id", pv_kind_name(resource->kind));
	if (resource->kind == PV__MEMBER_KIND__MEMBER_KIND_LAB)
		return check_lab(state, pv_lab_of(resource), msg);
	if (resource->kind == PV__MEMBER_KIND__MEMBER_KIND_VM)
		return check_vm(state, pv_vm_of(resource), msg);
	err = pv_name_check(resource->kind, resource->name, msg);
	if (err == PV_OK)
		err = check_place(state, resource, msg);
	if (err == PV_OK && resource->id >= state->next_bridge)
		BREACH("bridge %u is newer than the counter of bridges", resource->id);
	return err == PV_OK ? pv_bridge_validate(state, (struct pv_bridge *)resource, msg) : err;
}

static enum pv_err check_run(const struct pv_state *state, struct pv_errmsg *msg)
{
	if (state->run_id == NULL &&
	    (state->ended || state->n_files > 0 || state->n_profiles > 0 ||
	     state->next_lab + state->next_vm + state->next_bridge + state->next_task + state->next_test > 5 ||
	     state->next_call > 1))
		BREACH("the run was never started, but has a past");
	if (state->next_lab == 0 || state->next_vm == 0 || state->next_bridge == 0 || state->next_task == 0 ||
	    state->next_test == 0 || state->next_call == 0)
		BREACH("a counter of ids stands at 0");
	return PV_OK;
}

enum pv_err pv_state_validate(const struct pv_state *state, struct pv_errmsg *msg)
{
	enum pv_err err = check_run(state, msg);

	for (size_t i = 0; i < state->n_files && err == PV_OK; i++)
		err = check_file(state, state->files[i], msg);
	for (int kind = 0; kind < PV_KIND_COUNT; kind++) {
		for (struct pv_resource *at = state->resources[kind]; at != NULL && err == PV_OK; at = at->hh.next)
			err = check_resource(state, at, msg);
	}
	for (const struct pv_task *at = state->tasks; at != NULL && err == PV_OK; at = at->hh.next)
		err = check_task(state, at, msg);
	for (const struct pv_call *at = state->calls; at != NULL && err == PV_OK; at = at->hh.next)
		err = check_call(state, at, msg);
	if (err == PV_OK)
		err = check_task_counts(state, msg);
	return err == PV_OK ? check_acyclic(state, msg) : err;
}

void pv_state_check(const struct pv_state *state)
{
	struct pv_errmsg msg = { 0 };

	if (pv_state_validate(state, &msg) != PV_OK)
		PV_BUG("the state is inconsistent: %s", msg.text);
}
