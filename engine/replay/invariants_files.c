/* Rules of the run, its files and their claims. */
#include <string.h>

#include "engine/replay/invariants_internal.h"

/* ---- the run's end ---- */

struct sums {
	uint32_t files, passed, failed, skipped, flaky;
	bool clean;
};

static struct sums sum_up(const struct pv_invariants *inv)
{
	struct sums sums = { .clean = true };

	for (const struct inv_file *file = inv->files; file; file = file->hh.next) {
		if (!file->completed || file->builds_for)
			continue;
		sums.files++;
		sums.passed += file->passed;
		sums.failed += file->failed;
		sums.skipped += file->skipped;
		sums.flaky += file->flaky;
		sums.clean &= file->verdict == PV__VERDICT__VERDICT_PASSED;
	}
	return sums;
}

static void check_count(struct pv_invariants *inv, const char *what, bool has, uint32_t stated, uint32_t counted)
{
	if (has && stated != counted)
		pv_inv_report(inv, PV_RULE_VERDICT, "run", 0, "run_ended says %u %s; the events before it say %u",
		              stated, what, counted);
}

static void check_ended_in_order(struct pv_invariants *inv)
{
	const struct inv_call *call;
	const struct inv_file *file;

	for (call = inv->calls; call; call = call->hh.next)
		pv_inv_report(inv, PV_RULE_CALL, "call", call->id,
		              "the run ended in order, and this call has no outcome");
	for (file = inv->files; file; file = file->hh.next) {
		if (file->dispatched && !file->completed)
			pv_inv_report(inv, PV_RULE_FILE, "file", file->id,
			              "the run ended in order, and this file did not complete");
	}
}

void pv_inv_run_event(struct pv_invariants *inv, const Pv__Event *event)
{
	const Pv__RunEnded *body = event->run_ended;
	struct sums sums = sum_up(inv);

	inv->ended = true;
	inv->verdict.complete = body->verdict != PV__VERDICT__VERDICT_INTERRUPTED;
	check_count(inv, "files", body->has_files, body->files, sums.files);
	check_count(inv, "tests passed", body->has_passed, body->passed, sums.passed);
	check_count(inv, "tests failed", body->has_failed, body->failed, sums.failed);
	check_count(inv, "tests skipped", body->has_skipped, body->skipped, sums.skipped);
	check_count(inv, "tests flaky", body->has_flaky, body->flaky, sums.flaky);
	if (!inv->verdict.complete)
		return;
	check_ended_in_order(inv);
	if (body->verdict == PV__VERDICT__VERDICT_PASSED && !sums.clean)
		pv_inv_report(inv, PV_RULE_VERDICT, "run", 0, "the run passed, and a file of it did not");
	if (body->verdict == PV__VERDICT__VERDICT_FAILED && sums.clean)
		pv_inv_report(inv, PV_RULE_VERDICT, "run", 0, "the run failed, and no file of it did");
}

/* ---- files ---- */

static void on_discovered(struct pv_invariants *inv, const Pv__FileDiscovered *body)
{
	struct inv_file *file;

	if (inv->dispatching && !body->builds_for)
		pv_inv_report(inv, PV_RULE_DISCOVERY, "file", body->id,
		              "it was discovered after a file was dispatched");
	pv_inv_new_id(inv, "file", body->id, &inv->last_file);
	if (pv_inv_file(inv, body->id))
		return;
	file = PV_NEW(struct inv_file);
	file->id = body->id;
	file->builds_for = body->builds_for;
	if (body->builds_for && !pv_inv_file(inv, body->builds_for))
		pv_inv_report(inv, PV_RULE_ORIGIN, "file", body->id, "it builds for file %u, which is not there",
		              body->builds_for);
	HASH_ADD(hh, inv->files, id, sizeof(file->id), file);
}

static void on_dispatched(struct pv_invariants *inv, struct inv_file *file)
{
	inv->dispatching = true;
	if (file->dispatched)
		pv_inv_report(inv, PV_RULE_FILE, "file", file->id, "it is dispatched a second time");
	file->dispatched = true;
}

static void check_nothing_left(struct pv_invariants *inv, const struct inv_file *file)
{
	const struct {
		const char *what;
		uint32_t n;
	} left[] = {
		{ "test(s) without a verdict", file->test != 0 },
		{ "task(s) that have not ended", file->n_tasks },
		{ "call(s) without an outcome", file->n_calls },
		{ "VM(s) that are not down", file->n_up },
		{ "build(s) that have not ended", file->build_call != 0 },
		{ "open lab(s)", (file->root_lab ? 1u : 0) + (file->test_lab ? 1u : 0) },
	};

	for (size_t i = 0; i < sizeof(left) / sizeof(left[0]); i++) {
		if (left[i].n > 0)
			pv_inv_report(inv, PV_RULE_LEFT, "file", file->id, "it completes and leaves %u %s", left[i].n,
			              left[i].what);
	}
	if (file->claim_held)
		pv_inv_report(inv, PV_RULE_CLAIM, "file", file->id, "it completes and still holds its claim");
}

static void on_completed(struct pv_invariants *inv, struct inv_file *file, const Pv__FileCompleted *body)
{
	if (!file->dispatched || file->completed) {
		pv_inv_report(inv, PV_RULE_FILE, "file", file->id,
		              file->completed ? "it completes a second time"
		                              : "it completes without having been dispatched");
		return;
	}
	check_nothing_left(inv, file);
	if (body->verdict == PV__VERDICT__VERDICT_PASSED && (file->failed > 0 || body->chunk_error))
		pv_inv_report(inv, PV_RULE_VERDICT, "file", file->id, "it passed, with %u failed test(s)%s",
		              file->failed, body->chunk_error ? " and a broken main chunk" : "");
	file->completed = true;
	file->verdict = body->verdict;
	pv_inv_forget(inv, file->id);
}

/* What it had is gone, what it reported is void, and it is to be dispatched again. */
static void on_restarted(struct pv_invariants *inv, struct inv_file *file)
{
	UT_hash_handle hh = file->hh;
	uint32_t id = file->id, builds_for = file->builds_for;

	if (!file->dispatched)
		pv_inv_report(inv, PV_RULE_FILE, "file", file->id, "it is restarted without having been dispatched");
	pv_inv_forget(inv, file->id);
	*file = (struct inv_file){ .id = id, .builds_for = builds_for, .hh = hh };
}

void pv_inv_file_event(struct pv_invariants *inv, const Pv__Event *event)
{
	uint32_t id = 0;
	struct inv_file *file;

	if (event->body_case == PV__EVENT__BODY_FILE_DISCOVERED) {
		on_discovered(inv, event->file_discovered);
		return;
	}
	if (event->body_case == PV__EVENT__BODY_FILE_DISPATCHED)
		id = event->file_dispatched->id;
	else if (event->body_case == PV__EVENT__BODY_FILE_COMPLETED)
		id = event->file_completed->id;
	else if (event->body_case == PV__EVENT__BODY_FILE_RESTARTED)
		id = event->file_restarted->id;
	else
		id = event->file_blocked->id;
	file = pv_inv_file(inv, id);
	if (!file)
		pv_inv_report(inv, PV_RULE_ORIGIN, "file", id, "an event is about a file that was never discovered");
	else if (event->body_case == PV__EVENT__BODY_FILE_DISPATCHED)
		on_dispatched(inv, file);
	else if (event->body_case == PV__EVENT__BODY_FILE_COMPLETED)
		on_completed(inv, file, event->file_completed);
	else if (event->body_case == PV__EVENT__BODY_FILE_RESTARTED)
		on_restarted(inv, file);
	else if (file->completed)
		pv_inv_report(inv, PV_RULE_FILE, "file", id, "it waits after it has completed");
}

/* ---- builds of fixtures ---- */

void pv_inv_fixture_event(struct pv_invariants *inv, const Pv__Event *event)
{
	struct inv_file *file = pv_inv_running(inv, event, PV_RULE_FILE, "file", event->file);

	if (!file)
		return;
	if (event->body_case == PV__EVENT__BODY_FIXTURE_BUILD_STARTED) {
		if (!file->builds_for || file->build_call)
			pv_inv_report(inv, PV_RULE_FILE, "file", file->id, "it builds, and %s",
			              file->build_call ? "does already" : "is no builder");
		file->build_call = event->fixture_build_started->call;
	} else if (event->body_case == PV__EVENT__BODY_FIXTURE_BUILD_DONE) {
		if (!file->build_call || file->build_call != event->fixture_build_done->call)
			pv_inv_report(inv, PV_RULE_FILE, "file", file->id, "it ends a build that was not under way");
		file->build_call = 0;
	}
}

/* ---- claims ---- */

void pv_inv_claim_event(struct pv_invariants *inv, const Pv__Event *event)
{
	struct inv_file *file = pv_inv_running(inv, event, PV_RULE_CLAIM, "file", event->file);

	if (!file)
		return;
	if (event->body_case == PV__EVENT__BODY_CLAIM_ACQUIRED) {
		if (file->claim_had)
			pv_inv_report(inv, PV_RULE_CLAIM, "file", file->id, "it takes a second claim");
		file->claim_had = file->claim_held = true;
		return;
	}
	if (!file->claim_held)
		pv_inv_report(inv, PV_RULE_CLAIM, "file", file->id, "it gives back a claim that it does not hold");
	file->claim_held = false;
}
