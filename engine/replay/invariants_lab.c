/* Rules of labs and barriers. Which lab holds what is left to the fold. */
#include <stdlib.h>
#include <string.h>

#include "engine/replay/invariants_internal.h"

/* ---- labs ---- */

/* An open lab of the event's file. */
static struct inv_lab *open_lab(struct pv_invariants *inv, const Pv__Event *event, uint32_t id, enum pv_rule_id rule)
{
	struct inv_lab *lab = pv_inv_lab(inv, id);

	if (!lab || lab->closed)
		pv_inv_report(inv, rule, "lab", id, lab ? "it is used after it was closed" : "it is not there");
	else if (event->has_file && event->file != lab->file)
		pv_inv_report(inv, rule, "lab", id, "it is of file %u and is used in file %u", lab->file, event->file);
	else
		return lab;
	return NULL;
}

static void add_lab(struct pv_invariants *inv, uint32_t id, struct inv_file *file, Pv__LabKind kind)
{
	struct inv_lab *lab = PV_NEW(struct inv_lab);
	uint32_t *scope = kind == PV__LAB_KIND__LAB_KIND_ROOT ? &file->root_lab : &file->test_lab;

	lab->id = id;
	lab->file = file->id;
	HASH_ADD(hh, inv->labs, id, sizeof(lab->id), lab);
	if (kind == PV__LAB_KIND__LAB_KIND_SUB)
		return;
	if (*scope)
		pv_inv_report(inv, PV_RULE_LAB, "lab", id, "the file has lab %u of this kind open", *scope);
	if (kind == PV__LAB_KIND__LAB_KIND_TEST && !file->test)
		pv_inv_report(inv, PV_RULE_LAB, "lab", id, "it is the scope of a test, and none runs");
	*scope = id;
}

static void on_lab_created(struct pv_invariants *inv, const Pv__Event *event)
{
	const Pv__LabCreated *body = event->lab_created;
	bool sub = body->kind == PV__LAB_KIND__LAB_KIND_SUB;
	const struct inv_lab *parent = sub ? open_lab(inv, event, body->parent, PV_RULE_LAB) : NULL;
	struct inv_file *file = sub ? parent ? pv_inv_file(inv, parent->file) : NULL
	                            : pv_inv_running(inv, event, PV_RULE_LAB, "lab", body->id);

	pv_inv_new_id(inv, "lab", body->id, &inv->last_lab);
	if (file && !pv_inv_lab(inv, body->id))
		add_lab(inv, body->id, file, body->kind);
}

/* The lab of a file takes all that the file has with it. What a smaller lab takes is left to the fold. */
static void close_all(struct pv_invariants *inv, struct inv_file *file)
{
	struct inv_lab *lab;
	struct inv_vm *vm, *next;

	for (lab = inv->labs; lab; lab = lab->hh.next) {
		if (lab->file != file->id || lab->closed)
			continue;
		lab->closed = true;
		pv_inv_barriers_of_lab_free(inv, lab->id);
	}
	HASH_ITER (hh, inv->vms, vm, next) {
		if (vm->file != file->id)
			continue;
		HASH_DEL(inv->vms, vm);
		free(vm);
	}
	file->root_lab = file->test_lab = 0;
}

static void on_lab_closed(struct pv_invariants *inv, const Pv__Event *event)
{
	struct inv_lab *lab = open_lab(inv, event, event->lab_closed->id, PV_RULE_LAB);
	struct inv_file *file;

	if (!lab)
		return;
	file = pv_inv_file(inv, lab->file);
	if (file->root_lab == lab->id) {
		close_all(inv, file);
		return;
	}
	lab->closed = true;
	pv_inv_barriers_of_lab_free(inv, lab->id);
	if (file->test_lab == lab->id)
		file->test_lab = 0;
}

static void on_vm_declared(struct pv_invariants *inv, const Pv__Event *event)
{
	const Pv__VmDeclared *body = event->vm_declared;
	const struct inv_lab *lab = open_lab(inv, event, body->lab, PV_RULE_LAB);
	struct inv_vm *vm;

	pv_inv_new_id(inv, "vm", body->id, &inv->last_vm);
	if (!lab || pv_inv_vm(inv, body->id))
		return;
	vm = PV_NEW(struct inv_vm);
	vm->id = body->id;
	vm->file = lab->file;
	vm->state = PV__VM_STATE__VM_STATE_CREATED;
	HASH_ADD(hh, inv->vms, id, sizeof(vm->id), vm);
}

void pv_inv_lab_event(struct pv_invariants *inv, const Pv__Event *event)
{
	switch (event->body_case) {
	case PV__EVENT__BODY_LAB_CREATED:
		on_lab_created(inv, event);
		break;
	case PV__EVENT__BODY_LAB_CLOSED:
		on_lab_closed(inv, event);
		break;
	case PV__EVENT__BODY_VM_DECLARED:
		on_vm_declared(inv, event);
		break;
	default:
		(void)open_lab(inv, event, event->bridge_declared->lab, PV_RULE_LAB);
		pv_inv_new_id(inv, "bridge", event->bridge_declared->id, &inv->last_bridge);
	}
}

/* ---- barriers ---- */

static char *key_of(uint32_t lab, const char *name)
{
	return pv_xasprintf("%u/%s", lab, name ? name : "");
}

static struct inv_barrier *find(const struct pv_invariants *inv, uint32_t lab, const char *name)
{
	char *key = key_of(lab, name);
	struct inv_barrier *barrier;

	HASH_FIND_STR(inv->barriers, key, barrier);
	free(key);
	return barrier;
}

static void free_barrier(struct pv_invariants *inv, struct inv_barrier *barrier)
{
	for (struct inv_task *task = barrier->waiters, *next; task; task = next) {
		next = task->next_waiter;
		task->next_waiter = NULL;
		task->barrier = NULL;
	}
	HASH_DEL(inv->barriers, barrier);
	free(barrier->key);
	free(barrier);
}

void pv_inv_barriers_of_lab_free(struct pv_invariants *inv, uint32_t lab)
{
	struct inv_barrier *barrier, *next;

	HASH_ITER (hh, inv->barriers, barrier, next) {
		if (barrier->lab == lab)
			free_barrier(inv, barrier);
	}
}

void pv_inv_barrier_leave(struct pv_invariants *inv, struct inv_task *task)
{
	struct inv_barrier *barrier = task->barrier;

	if (!barrier)
		return;
	for (struct inv_task **at = &barrier->waiters; *at; at = &(*at)->next_waiter) {
		if (*at == task) {
			*at = task->next_waiter;
			break;
		}
	}
	task->next_waiter = NULL;
	task->barrier = NULL;
	if (--barrier->n == 0)
		free_barrier(inv, barrier);
}

static struct inv_barrier *add(struct pv_invariants *inv, const Pv__BarrierArrived *body)
{
	struct inv_barrier *barrier = PV_NEW(struct inv_barrier);

	barrier->key = key_of(body->lab, body->name);
	barrier->lab = body->lab;
	barrier->count = body->count;
	HASH_ADD_KEYPTR(hh, inv->barriers, barrier->key, strlen(barrier->key), barrier);
	return barrier;
}

static void on_arrived(struct pv_invariants *inv, const Pv__BarrierArrived *body)
{
	struct inv_task *task = pv_inv_task(inv, body->task);
	struct inv_barrier *barrier = find(inv, body->lab, body->name);

	if (!task || task->barrier) {
		pv_inv_report(inv, PV_RULE_BARRIER, "task", body->task,
		              task ? "it arrives at a barrier and waits at another one"
		                   : "it arrives at a barrier and does not live");
		return;
	}
	if (body->count == 0 || (barrier && (barrier->count != body->count || barrier->n == barrier->count)))
		pv_inv_report(inv, PV_RULE_BARRIER, "task", body->task,
		              "it arrives at \"%s\" as one of %u; %u of %u wait there", body->name ? body->name : "",
		              body->count, barrier ? barrier->n : 0, barrier ? barrier->count : 0);
	if (!barrier)
		barrier = add(inv, body);
	barrier->n++;
	task->barrier = barrier;
	task->next_waiter = barrier->waiters;
	barrier->waiters = task;
}

static void on_opened(struct pv_invariants *inv, const Pv__BarrierOpened *body)
{
	struct inv_barrier *barrier = find(inv, body->lab, body->name);

	if (!barrier || barrier->n < barrier->count)
		pv_inv_report(inv, PV_RULE_BARRIER, "lab", body->lab, "its barrier \"%s\" opens with %u of %u arrivals",
		              body->name ? body->name : "", barrier ? barrier->n : 0, barrier ? barrier->count : 1);
	if (barrier)
		free_barrier(inv, barrier);
}

static void on_withdrawn(struct pv_invariants *inv, const Pv__BarrierWithdrawn *body)
{
	struct inv_task *task = pv_inv_task(inv, body->task);

	if (!task || !task->barrier || task->barrier != find(inv, body->lab, body->name))
		pv_inv_report(inv, PV_RULE_BARRIER, "task", body->task,
		              "it leaves the barrier \"%s\" and does not wait there", body->name ? body->name : "");
	else
		pv_inv_barrier_leave(inv, task);
}

void pv_inv_barrier_event(struct pv_invariants *inv, const Pv__Event *event)
{
	uint32_t lab;

	if (event->body_case == PV__EVENT__BODY_BARRIER_ARRIVED)
		lab = event->barrier_arrived->lab;
	else if (event->body_case == PV__EVENT__BODY_BARRIER_OPENED)
		lab = event->barrier_opened->lab;
	else
		lab = event->barrier_withdrawn->lab;
	if (!open_lab(inv, event, lab, PV_RULE_BARRIER))
		return;
	if (event->body_case == PV__EVENT__BODY_BARRIER_ARRIVED)
		on_arrived(inv, event->barrier_arrived);
	else if (event->body_case == PV__EVENT__BODY_BARRIER_OPENED)
		on_opened(inv, event->barrier_opened);
	else
		on_withdrawn(inv, event->barrier_withdrawn);
}
