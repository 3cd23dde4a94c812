#include "engine/replay/invariants.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/replay/invariants_internal.h"
#include "engine/replay/records.h"

const struct pv_invariant_rule pv_invariant_rules[] = {
#define X(symbol, name, text) [PV_RULE_##symbol] = { name, text },
	PV_INVARIANT_LIST(X)
#undef X
	    { NULL, NULL },
};

void pv_inv_report(struct pv_invariants *inv, enum pv_rule_id rule, const char *what, uint64_t id, const char *fmt, ...)
{
	struct pv_violation violation = { .rule = pv_invariant_rules[rule].name, .seq = inv->seq };
	char object[64];
	va_list ap;

	va_start(ap, fmt);
	char *text = pv_xvasprintf(fmt, ap);
	va_end(ap);
	if (id)
		snprintf(object, sizeof(object), "%s %llu", what, (unsigned long long)id);
	else
		snprintf(object, sizeof(object), "%s", what);
	violation.object = object;
	violation.text = text;
	if (inv->verdict.violations++ == 0) {
		inv->verdict.first_seq = inv->seq;
		snprintf(inv->verdict.first, sizeof(inv->verdict.first), "%s: %s: %s", violation.rule, object, text);
	}
	if (inv->cb)
		inv->cb(inv->arg, &violation);
	free(text);
}

void pv_inv_new_id(struct pv_invariants *inv, const char *what, uint64_t id, uint64_t *last)
{
	if (id <= *last)
		pv_inv_report(inv, PV_RULE_IDS, what, id, "a new %s has the id %llu; %llu was given out before", what,
		              (unsigned long long)id, (unsigned long long)*last);
	else
		*last = id;
}

struct inv_file *pv_inv_file(const struct pv_invariants *inv, uint32_t id)
{
	struct inv_file *file;

	HASH_FIND(hh, inv->files, &id, sizeof(id), file);
	return file;
}

struct inv_task *pv_inv_task(const struct pv_invariants *inv, uint32_t id)
{
	struct inv_task *task;

	HASH_FIND(hh, inv->tasks, &id, sizeof(id), task);
	return task;
}

struct inv_lab *pv_inv_lab(const struct pv_invariants *inv, uint32_t id)
{
	struct inv_lab *lab;

	HASH_FIND(hh, inv->labs, &id, sizeof(id), lab);
	return lab;
}

struct inv_vm *pv_inv_vm(const struct pv_invariants *inv, uint32_t id)
{
	struct inv_vm *vm;

	HASH_FIND(hh, inv->vms, &id, sizeof(id), vm);
	return vm;
}

struct inv_file *pv_inv_running(struct pv_invariants *inv, const Pv__Event *event, enum pv_rule_id rule,
                                const char *what, uint64_t id)
{
	struct inv_file *file = pv_inv_file(inv, event->file);

	if (!event->has_file)
		pv_inv_report(inv, rule, what, id, "it belongs to no file");
	else if (file && !file->dispatched)
		pv_inv_report(inv, rule, what, id, "its file %u was not dispatched", file->id);
	else if (file && file->completed)
		pv_inv_report(inv, rule, what, id, "its file %u has completed", file->id);
	else
		return file; /* an unknown file was told as a breach of "origin" */
	return NULL;
}

void pv_inv_forget(struct pv_invariants *inv, uint32_t file)
{
	struct inv_barrier *barrier, *next_barrier;
	struct inv_task *task, *next_task;
	struct inv_call *call, *next_call;
	struct inv_lab *lab, *next_lab;
	struct inv_vm *vm, *next_vm;

	HASH_ITER (hh, inv->tasks, task, next_task) {
		if (file && task->file != file)
			continue;
		pv_inv_barrier_leave(inv, task);
		HASH_DEL(inv->tasks, task);
		free(task);
	}
	HASH_ITER (hh, inv->labs, lab, next_lab) {
		if (file && lab->file != file)
			continue;
		pv_inv_barriers_of_lab_free(inv, lab->id);
		HASH_DEL(inv->labs, lab);
		free(lab);
	}
	HASH_ITER (hh, inv->vms, vm, next_vm) {
		if (file && vm->file != file)
			continue;
		HASH_DEL(inv->vms, vm);
		free(vm);
	}
	HASH_ITER (hh, inv->calls, call, next_call) {
		if (file && call->file != file)
			continue;
		HASH_DEL(inv->calls, call);
		free(call);
	}
	HASH_ITER (hh, inv->barriers, barrier, next_barrier) {
		if (file)
			continue;
		HASH_DEL(inv->barriers, barrier);
		free(barrier->key);
		free(barrier);
	}
}

/* ---- what every event owes ---- */

static void check_clock(struct pv_invariants *inv, const Pv__Event *event)
{
	if (event->mono_ns < inv->mono_ns)
		pv_inv_report(inv, PV_RULE_CLOCK, "run", 0, "the time is %.6f s, after %.6f s at the event before",
		              (double)event->mono_ns / 1e9, (double)inv->mono_ns / 1e9);
	else
		inv->mono_ns = event->mono_ns;
}

static void check_origin(struct pv_invariants *inv, const Pv__Event *event)
{
	const struct inv_task *task = pv_inv_task(inv, event->task);

	if (event->has_file && !pv_inv_file(inv, event->file))
		pv_inv_report(inv, PV_RULE_ORIGIN, "file", event->file,
		              "an event is of a file that was never discovered");
	if (!event->has_task)
		return;
	/* The outcome of a call that was cancelled with its task comes behind the task's end. */
	if (!task && event->task <= inv->last_task &&
	    (event->body_case == PV__EVENT__BODY_CALL_ENDED || event->body_case == PV__EVENT__BODY_CALL_RECONCILED))
		return;
	if (!task)
		pv_inv_report(inv, PV_RULE_ORIGIN, "task", event->task,
		              event->task <= inv->last_task ? "an event is of a task that has ended"
		                                            : "an event is of a task that never started");
	else if (event->has_file && task->file != event->file)
		pv_inv_report(inv, PV_RULE_ORIGIN, "task", event->task, "an event of file %u is of a task of file %u",
		              event->file, task->file);
}

static void check_bounds(struct pv_invariants *inv, const Pv__Event *event)
{
	bool starts = event->body_case == PV__EVENT__BODY_RUN_STARTED;

	if (!inv->started && !starts)
		pv_inv_report(inv, PV_RULE_RUN, "run", 0, "the first event is not run_started");
	else if (inv->started && starts)
		pv_inv_report(inv, PV_RULE_RUN, "run", 0, "the run starts a second time");
	else if (inv->ended && event->body_case != PV__EVENT__BODY_RUN_RESUMED)
		pv_inv_report(inv, PV_RULE_RUN, "run", 0, "an event follows run_ended");
	inv->started = true;
	inv->ended = false;
}

/* ---- the walk ---- */

static void dispatch(struct pv_invariants *inv, const Pv__Event *event)
{
	switch (event->body_case) {
	case PV__EVENT__BODY_RUN_ENDED:
		pv_inv_run_event(inv, event);
		break;
	case PV__EVENT__BODY_FILE_DISCOVERED:
	case PV__EVENT__BODY_FILE_DISPATCHED:
	case PV__EVENT__BODY_FILE_COMPLETED:
	case PV__EVENT__BODY_FILE_RESTARTED:
	case PV__EVENT__BODY_FILE_BLOCKED:
		pv_inv_file_event(inv, event);
		break;
	case PV__EVENT__BODY_FIXTURE_BUILD_STARTED:
	case PV__EVENT__BODY_FIXTURE_BUILD_WAITING:
	case PV__EVENT__BODY_FIXTURE_BUILD_DONE:
	case PV__EVENT__BODY_FIXTURE_CACHE_HIT:
		pv_inv_fixture_event(inv, event);
		break;
	case PV__EVENT__BODY_CLAIM_ACQUIRED:
	case PV__EVENT__BODY_CLAIM_RELEASED:
		pv_inv_claim_event(inv, event);
		break;
	case PV__EVENT__BODY_TASK_STARTED:
	case PV__EVENT__BODY_TASK_ENDED:
		pv_inv_task_event(inv, event);
		break;
	case PV__EVENT__BODY_TEST_STARTED:
	case PV__EVENT__BODY_TEST_ENDED:
	case PV__EVENT__BODY_TEST_LOGGED:
		pv_inv_test_event(inv, event);
		break;
	case PV__EVENT__BODY_LAB_CREATED:
	case PV__EVENT__BODY_LAB_CLOSED:
	case PV__EVENT__BODY_VM_DECLARED:
	case PV__EVENT__BODY_BRIDGE_DECLARED:
		pv_inv_lab_event(inv, event);
		break;
	case PV__EVENT__BODY_BARRIER_ARRIVED:
	case PV__EVENT__BODY_BARRIER_OPENED:
	case PV__EVENT__BODY_BARRIER_WITHDRAWN:
		pv_inv_barrier_event(inv, event);
		break;
	case PV__EVENT__BODY_CALL_STARTED:
	case PV__EVENT__BODY_CALL_ENDED:
	case PV__EVENT__BODY_CALL_RECONCILED:
	case PV__EVENT__BODY_VM_CHANGED:
		pv_inv_call_event(inv, event);
		break;
	default:
		break;
	}
}

struct pv_invariants *pv_invariants_create(pv_violation_cb *cb, void *arg)
{
	struct pv_invariants *inv = PV_NEW(struct pv_invariants);

	inv->cb = cb;
	inv->arg = arg;
	return inv;
}

void pv_invariants_event(struct pv_invariants *inv, uint64_t seq, const Pv__Event *event)
{
	inv->seq = seq;
	inv->verdict.events++;
	inv->verdict.complete = false;
	check_bounds(inv, event);
	check_clock(inv, event);
	/* A union of pointers: any member tells. */
	if (event->body_case != PV__EVENT__BODY__NOT_SET && event->run_started == NULL)
		return;
	if (event->body_case != PV__EVENT__BODY_FILE_DISCOVERED)
		check_origin(inv, event);
	dispatch(inv, event);
}

struct pv_invariants_verdict pv_invariants_verdict(const struct pv_invariants *inv)
{
	return inv->verdict;
}

void pv_invariants_destroy(struct pv_invariants *inv)
{
	struct inv_file *file, *next;

	if (!inv)
		return;
	pv_inv_forget(inv, 0);
	HASH_ITER (hh, inv->files, file, next) {
		HASH_DEL(inv->files, file);
		free(file);
	}
	free(inv);
}

static bool on_record(void *arg, uint64_t seq, const Pv__Event *event)
{
	pv_invariants_event(arg, seq, event);
	return true;
}

enum pv_err pv_invariants_walk(struct pv_journal *journal, pv_violation_cb *cb, void *arg,
                               struct pv_invariants_verdict *verdict, struct pv_errmsg *msg)
{
	struct pv_invariants *inv = pv_invariants_create(cb, arg);
	enum pv_err err = pv_records_walk(journal, 0, on_record, inv, msg);

	*verdict = inv->verdict;
	pv_invariants_destroy(inv);
	return err;
}
