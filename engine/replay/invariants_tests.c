/* Rules of tasks and tests. */
#include <stdlib.h>

#include "engine/replay/invariants_internal.h"

/* ---- tasks ---- */

static void on_task_started(struct pv_invariants *inv, const Pv__Event *event)
{
	const Pv__TaskStarted *body = event->task_started;
	struct inv_file *file = pv_inv_running(inv, event, PV_RULE_TASK, "task", body->id);
	struct inv_task *task;

	pv_inv_new_id(inv, "task", body->id, &inv->last_task);
	if (!file || pv_inv_task(inv, body->id))
		return;
	if (body->test && body->test != file->test)
		pv_inv_report(inv, PV_RULE_TASK, "task", body->id,
		              "it starts for test %u, which does not run in file %u", body->test, file->id);
	task = PV_NEW(struct inv_task);
	task->id = body->id;
	task->file = file->id;
	task->test = body->test;
	file->n_tasks++;
	HASH_ADD(hh, inv->tasks, id, sizeof(task->id), task);
}

static void on_task_ended(struct pv_invariants *inv, const Pv__TaskEnded *body)
{
	struct inv_task *task = pv_inv_task(inv, body->id);

	if (!task) {
		pv_inv_report(inv, PV_RULE_TASK, "task", body->id, "it ends and does not live");
		return;
	}
	pv_inv_barrier_leave(inv, task);
	pv_inv_file(inv, task->file)->n_tasks--;
	HASH_DEL(inv->tasks, task);
	free(task);
}

void pv_inv_task_event(struct pv_invariants *inv, const Pv__Event *event)
{
	if (event->body_case == PV__EVENT__BODY_TASK_STARTED)
		on_task_started(inv, event);
	else
		on_task_ended(inv, event->task_ended);
}

/* ---- tests ---- */

static void on_test_started(struct pv_invariants *inv, const Pv__Event *event)
{
	const Pv__TestStarted *body = event->test_started;
	struct inv_file *file = pv_inv_running(inv, event, PV_RULE_TEST, "test", body->id);
	uint32_t attempt = body->has_attempt ? body->attempt : 1;

	pv_inv_new_id(inv, "test", body->id, &inv->last_test);
	if (!file)
		return;
	if (file->test) {
		pv_inv_report(inv, PV_RULE_TEST, "test", body->id, "it starts while test %u runs in the same file",
		              file->test);
		return;
	}
	if (attempt > 1 && !(file->failed_last && file->attempt == attempt - 1))
		pv_inv_report(inv, PV_RULE_TEST, "test", body->id,
		              "it is attempt %u and does not follow a failed attempt %u", attempt, attempt - 1);
	else if (attempt > 1)
		file->failed--; /* counts as tried again, no longer as failed */
	file->test = body->id;
	file->attempt = attempt;
	file->failed_last = false;
}

/* A test that was not started can be skipped, by its name. */
static bool may_end(struct pv_invariants *inv, const struct inv_file *file, const Pv__TestEnded *body)
{
	if (body->id && body->id == file->test)
		return true;
	if (body->id <= inv->last_test) {
		pv_inv_report(inv, PV_RULE_TEST, "test", body->id, "it gets a second verdict, or one in another file");
		return false;
	}
	pv_inv_new_id(inv, "test", body->id, &inv->last_test);
	if (body->verdict != PV__VERDICT__VERDICT_SKIPPED || !body->name)
		pv_inv_report(inv, PV_RULE_TEST, "test", body->id, "it was not started and is not skipped by name");
	else if (file->test)
		pv_inv_report(inv, PV_RULE_TEST, "test", body->id, "it is skipped while test %u runs in the same file",
		              file->test);
	return true;
}

static void count(struct pv_invariants *inv, struct inv_file *file, const Pv__TestEnded *body)
{
	switch (body->verdict) {
	case PV__VERDICT__VERDICT_PASSED:
		file->passed++;
		break;
	case PV__VERDICT__VERDICT_FAILED:
		file->failed++;
		break;
	case PV__VERDICT__VERDICT_SKIPPED:
		file->skipped++;
		break;
	case PV__VERDICT__VERDICT_FLAKY:
		file->flaky++;
		break;
	default:
		pv_inv_report(inv, PV_RULE_TEST, "test", body->id, "verdict %d is none of a test", (int)body->verdict);
	}
}

static void check_tasks(struct pv_invariants *inv, uint32_t test)
{
	for (const struct inv_task *task = inv->tasks; task; task = task->hh.next) {
		if (task->test == test)
			pv_inv_report(inv, PV_RULE_TASK, "task", task->id, "its test %u ends before it", test);
	}
}

static void on_test_ended(struct pv_invariants *inv, const Pv__Event *event)
{
	const Pv__TestEnded *body = event->test_ended;
	struct inv_file *file = pv_inv_running(inv, event, PV_RULE_TEST, "test", body->id);

	if (!file || !may_end(inv, file, body))
		return;
	count(inv, file, body);
	if (body->id != file->test)
		return;
	if ((body->verdict == PV__VERDICT__VERDICT_FLAKY) != (file->attempt > 1) &&
	    (body->verdict == PV__VERDICT__VERDICT_FLAKY || body->verdict == PV__VERDICT__VERDICT_PASSED))
		pv_inv_report(inv, PV_RULE_TEST, "test", body->id, "at attempt %u it cannot be %s", file->attempt,
		              file->attempt > 1 ? "passed, only flaky" : "flaky");
	check_tasks(inv, body->id);
	file->failed_last = body->verdict == PV__VERDICT__VERDICT_FAILED;
	file->test = 0;
}

void pv_inv_test_event(struct pv_invariants *inv, const Pv__Event *event)
{
	const struct inv_file *file = pv_inv_file(inv, event->file);

	if (event->body_case == PV__EVENT__BODY_TEST_STARTED)
		on_test_started(inv, event);
	else if (event->body_case == PV__EVENT__BODY_TEST_ENDED)
		on_test_ended(inv, event);
	else if (!file || event->test_logged->test == 0 || event->test_logged->test != file->test)
		pv_inv_report(inv, PV_RULE_TEST, "test", event->test_logged->test,
		              "it logs and does not run in this file");
}
