/* The invariants of a journal: a good run breaks none, and each way to bend it breaks exactly the rule that forbids it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core_generator.h"
#include "engine/replay/invariants.h"
#include "story.h"

/* ---- running the checks ---- */

struct seen {
	char rules[512]; /* names, each once */
	char first[512];
	uint64_t seq;
};

static void note(void *arg, const struct pv_violation *violation)
{
	struct seen *seen = arg;

	if (seen->first[0] == '\0') {
		snprintf(seen->first, sizeof(seen->first), "event %llu, %s: %s", (unsigned long long)violation->seq,
		         violation->object, violation->text);
		seen->seq = violation->seq;
	}
	if (strstr(seen->rules, violation->rule) == NULL) {
		strncat(seen->rules, violation->rule, sizeof(seen->rules) - strlen(seen->rules) - 1);
		strncat(seen->rules, " ", sizeof(seen->rules) - strlen(seen->rules) - 1);
	}
}

static struct pv_invariants_verdict check(const struct story *story, struct seen *seen)
{
	struct pv_journal *journal = story_journal(story);
	struct pv_invariants_verdict verdict;
	struct pv_errmsg msg = { .text = "" };

	*seen = (struct seen){ .seq = 0 };
	if (pv_invariants_walk(journal, note, seen, &verdict, &msg) != PV_OK)
		fail_msg("%s", msg.text);
	pv_journal_close(journal);
	return verdict;
}

/* ---- good runs ---- */

static void test_invariants__good_run(void **state)
{
	struct pv_invariants_verdict verdict;
	struct story story;
	struct seen seen;

	(void)state;
	story_tell(&story);
	verdict = check(&story, &seen);
	assert_string_equal(seen.first, "");
	assert_int_equal(verdict.violations, 0);
	assert_int_equal(verdict.events, story.n);
	assert_true(verdict.complete);
	story_free(&story);
}

/* A runner may die at any event: what it left has no fault but that it is not complete. */
static void test_invariants__every_prefix(void **state)
{
	struct story story;
	struct seen seen;

	(void)state;
	story_tell(&story);
	for (size_t all = story.n; all > 1; all--) {
		struct story cut = story;

		cut.n = all - 1;
		struct pv_invariants_verdict verdict = check(&cut, &seen);
		if (verdict.violations > 0)
			fail_msg("cut before event %zu: %s", all, seen.first);
		assert_false(verdict.complete);
	}
	story_free(&story);
}

/* An interrupted run ends with everything open. */
static void test_invariants__interrupted_run(void **state)
{
	struct story story;
	struct seen seen;

	(void)state;
	story_tell(&story);
	while (story.n > story.ran)
		story_remove(&story, story.n - 1);
	story_insert(&story, story.n, ev_run_ended(PV__VERDICT__VERDICT_INTERRUPTED));
	assert_int_equal(check(&story, &seen).violations, 0);
	story_free(&story);
}

static Pv__Event *bare(Pv__Event__BodyCase body_case, void *body)
{
	Pv__Event *event = PV_NEW(Pv__Event);

	pv__event__init(event);
	event->body_case = body_case;
	event->run_started = body;
	return event;
}

static Pv__Event *resumed(void)
{
	Pv__RunResumed *body = PV_NEW(Pv__RunResumed);

	pv__run_resumed__init(body);
	return bare(PV__EVENT__BODY_RUN_RESUMED, body);
}

static Pv__Event *restarted(uint32_t id)
{
	Pv__FileRestarted *body = PV_NEW(Pv__FileRestarted);

	pv__file_restarted__init(body);
	body->has_id = 1;
	body->id = id;
	return bare(PV__EVENT__BODY_FILE_RESTARTED, body);
}

/* The runner died inside a test; the file begins anew, with all ids behind those of before, and what was open is void. */
static void test_invariants__file_that_is_restarted(void **state)
{
	struct story first;
	struct seen seen;

	(void)state;
	story_tell(&first);
	while (first.n > first.ran)
		story_remove(&first, first.n - 1);
	story_insert(&first, first.n, resumed());
	story_insert(&first, first.n, restarted(1));
	story_insert(&first, first.n, ev_file_dispatched(1));
	story_insert(&first, first.n, ev_test_ended(1, 2, PV__VERDICT__VERDICT_SKIPPED, "again"));
	story_insert(&first, first.n, ev_file_completed(1, PV__VERDICT__VERDICT_PASSED));
	story_insert(&first, first.n, ev_run_ended(PV__VERDICT__VERDICT_PASSED));
	check(&first, &seen);
	assert_string_equal(seen.first, "");
	story_free(&first);
}

/* ---- bent runs: one a way to break a rule ---- */

#define EVENT(name) story->events[story->name]

static void twice_started(struct story *story)
{
	story_insert(story, 1, story_copy(story, 0));
}

static void no_start(struct story *story)
{
	story_remove(story, 0);
}

static void after_the_end(struct story *story)
{
	story_insert(story, story->n, ev_notice("still here"));
}

static void time_goes_back(struct story *story)
{
	EVENT(run)->mono_ns = EVENT(boot)->mono_ns;
}

static void call_id_again(struct story *story)
{
	uint64_t id = EVENT(boot)->call_started->id;

	EVENT(run)->call_started->id = id;
	story_remove(story, story->ran);
}

static void vm_id_again(struct story *story)
{
	story_insert(story, story->vm + 1, story_copy(story, story->vm));
}

static void late_discovery(struct story *story)
{
	story_swap(story, story->discovered2, story->dispatched);
}

static void dispatched_twice(struct story *story)
{
	story_insert(story, story->dispatched + 1, story_copy(story, story->dispatched));
}

static void completed_twice(struct story *story)
{
	story_insert(story, story->completed + 1, story_copy(story, story->completed));
}

static void completed_undispatched(struct story *story)
{
	story_insert(story, story->dispatched, ev_file_completed(2, PV__VERDICT__VERDICT_PASSED));
}

static void unknown_file(struct story *story)
{
	story_insert(story, story->completed, ev_notice("x"));
	story->events[story->completed]->has_file = 1;
	story->events[story->completed]->file = 9;
}

static void unknown_task(struct story *story)
{
	EVENT(logged)->task = 99;
}

static void ended_task(struct story *story)
{
	EVENT(logged)->task = EVENT(chunk_ended)->task_ended->id;
}

static void task_ends_twice(struct story *story)
{
	story_insert(story, story->chunk_ended + 1, story_copy(story, story->chunk_ended));
}

static void task_outlives_test(struct story *story)
{
	story_swap(story, story->body1_ended, story->test1_ended);
}

static void second_verdict(struct story *story)
{
	story_insert(story, story->test1_ended + 1, story_copy(story, story->test1_ended));
}

static void two_tests_at_once(struct story *story)
{
	story_insert(story, story->logged, ev_test_started(1, "other", 1));
	story->events[story->logged]->test_started->has_id = 1;
	story->events[story->logged]->test_started->id = 2;
	/* the ids behind it rise, so that this is the only fault */
	for (size_t i = story->logged + 1; i < story->n; i++) {
		Pv__Event *event = story->events[i];

		if (event->body_case == PV__EVENT__BODY_TEST_STARTED)
			event->test_started->id++;
		if (event->body_case == PV__EVENT__BODY_TEST_ENDED && event->test_ended->id > 1)
			event->test_ended->id++;
	}
}

static void not_started_but_passed(struct story *story)
{
	EVENT(skipped)->test_ended->verdict = PV__VERDICT__VERDICT_PASSED;
	story->events[story->ended]->run_ended->skipped--;
	story->events[story->ended]->run_ended->passed++;
}

static void attempt_after_pass(struct story *story)
{
	EVENT(attempt1)->test_started->attempt = 3;
}

static void passed_at_second_attempt(struct story *story)
{
	EVENT(attempt2_ended)->test_ended->verdict = PV__VERDICT__VERDICT_PASSED;
	EVENT(ended)->run_ended->passed++;
	EVENT(ended)->run_ended->flaky--;
}

static void test_in_file_not_dispatched(struct story *story)
{
	EVENT(skipped)->file = 2;
	EVENT(ended)->run_ended->skipped--;
}

static void claim_twice(struct story *story)
{
	story_insert(story, story->claim + 1, story_copy(story, story->claim));
}

static void claim_kept(struct story *story)
{
	story_remove(story, story->released);
}

static void claim_released_twice(struct story *story)
{
	story_insert(story, story->released + 1, story_copy(story, story->released));
}

static void vm_in_closed_lab(struct story *story)
{
	size_t at = story->shutdown;

	story_insert(story, at, story_copy(story, story->vm));
	story->events[at]->has_task = 0;
	story->events[at]->vm_declared->id = 2;
	story->events[at]->vm_declared->lab = EVENT(scope1)->lab_created->id;
}

static void lab_closed_twice(struct story *story)
{
	story_insert(story, story->root_closed + 1, story_copy(story, story->root_closed));
}

/* Another call like the one at `like`, begun and failed at `at`; the ids behind it rise. */
static void insert_call(struct story *story, size_t at, size_t like)
{
	Pv__Event *started = story_copy(story, like);
	uint64_t id = 1;

	for (size_t i = 0; i < at; i++)
		id += story->events[i]->body_case == PV__EVENT__BODY_CALL_STARTED;
	for (size_t i = at; i < story->n; i++) {
		Pv__Event *event = story->events[i];

		if (event->body_case == PV__EVENT__BODY_CALL_STARTED)
			event->call_started->id++;
		if (i == story->host_read && event->call_started->host_read->run >= id)
			event->call_started->host_read->run++;
		if (event->body_case == PV__EVENT__BODY_CALL_ENDED && event->call_ended->id >= id)
			event->call_ended->id++;
	}
	started->has_task = 0;
	started->call_started->id = id;
	story_insert(story, at, started);
	story_insert(story, at + 1, ev_call_error(id, PV__ERROR_KIND__ERROR_KIND_FAILED, "x"));
}

static void run_while_paused(struct story *story)
{
	insert_call(story, story->paused + 1, story->run);
}

static void booted_twice(struct story *story)
{
	insert_call(story, story->attempt1, story->boot);
}

static void run_after_shutdown(struct story *story)
{
	insert_call(story, story->root_closed, story->run);
}

static void run_before_boot(struct story *story)
{
	story_remove(story, story->booted);
	story_remove(story, story->boot);
}

static void run_while_booting(struct story *story)
{
	insert_call(story, story->booted, story->run);
}

static void lost_while_down(struct story *story)
{
	story_insert(story, story->root_closed, ev_vm_changed(1, PV__VM_CHANGE__VM_CHANGE_LOST, "x"));
}

static void outcome_twice(struct story *story)
{
	story_insert(story, story->ran + 1, story_copy(story, story->ran));
}

static void outcome_first(struct story *story)
{
	story_insert(story, story->run, story_copy(story, story->ran));
}

static void outcome_of_another_kind(struct story *story)
{
	Pv__Event *done = ev_call_done(EVENT(ran)->call_ended->id, PV__CALL_STARTED__OP_WRITE_FILE);

	story_insert(story, story->ran, done);
	story_remove(story, story->ran + 1);
}

static void intent_without_outcome(struct story *story)
{
	story_remove(story, story->ran);
}

static void read_of_a_guest_call(struct story *story)
{
	EVENT(host_read)->call_started->host_read->run = EVENT(run)->call_started->id;
}

static void host_command_without_file(struct story *story)
{
	EVENT(host_read)->has_file = 0;
	EVENT(host_read)->has_task = 0;
	/* its outcome comes to nothing then, which is the same rule */
}

static void opens_early(struct story *story)
{
	story_swap(story, story->arrived2, story->opened);
	/* arrives at a barrier of its own then, and leaves it with its task */
}

static void waits_twice(struct story *story)
{
	story_insert(story, story->arrived1 + 1, story_copy(story, story->arrived1));
	free(story->events[story->arrived1 + 1]->barrier_arrived->name);
	story->events[story->arrived1 + 1]->barrier_arrived->name = pv_xstrdup("other");
}

static void other_count(struct story *story)
{
	EVENT(arrived2)->barrier_arrived->count = 3;
}

static void leaves_twice(struct story *story)
{
	story_insert(story, story->withdrawn + 1, story_copy(story, story->withdrawn));
}

static void vm_left_up(struct story *story)
{
	story_remove(story, story->shut);
	story_remove(story, story->shutdown);
}

static void lab_left_open(struct story *story)
{
	story_remove(story, story->root_closed);
}

static void wrong_count(struct story *story)
{
	EVENT(ended)->run_ended->passed = 2;
}

static void run_failed_for_nothing(struct story *story)
{
	EVENT(ended)->run_ended->verdict = PV__VERDICT__VERDICT_FAILED;
}

static void passed_with_a_failed_test(struct story *story)
{
	EVENT(test1_ended)->test_ended->verdict = PV__VERDICT__VERDICT_FAILED;
	EVENT(ended)->run_ended->passed = 0;
	EVENT(ended)->run_ended->failed = 1;
}

static void restarted_and_not_dispatched(struct story *story)
{
	story_insert(story, story->skipped, restarted(1));
	while (story->n > story->skipped + 2)
		story_remove(story, story->n - 1);
}

static const struct {
	const char *name;
	void (*bend)(struct story *story);
	const char *rules;
} cases[] = {
	{ "the run starts twice", twice_started, "run-bounds " },
	{ "the start is missing", no_start, "run-bounds " },
	{ "an event after the end", after_the_end, "run-bounds " },
	{ "time goes back", time_goes_back, "clock " },
	{ "a call's id again", call_id_again, "ids " },
	{ "a VM's id again", vm_id_again, "ids " },
	{ "discovered late", late_discovery, "discovery " },
	{ "dispatched twice", dispatched_twice, "file-life " },
	{ "completed twice", completed_twice, "file-life " },
	{ "completed, never dispatched", completed_undispatched, "file-life " },
	{ "unknown file", unknown_file, "origin " },
	{ "unknown task", unknown_task, "origin " },
	{ "task that has ended", ended_task, "origin " },
	{ "a task ends twice", task_ends_twice, "task-life " },
	{ "a task outlives its test", task_outlives_test, "task-life " },
	{ "a second verdict", second_verdict, "test-verdict " },
	{ "two tests at once", two_tests_at_once, "test-verdict " },
	{ "passed, never started", not_started_but_passed, "test-verdict " },
	{ "attempt 3 is the first", attempt_after_pass, "test-verdict " },
	{ "passed at its second attempt", passed_at_second_attempt, "test-verdict " },
	{ "test in a file not dispatched", test_in_file_not_dispatched, "test-verdict " },
	{ "test in a file that is to begin anew", restarted_and_not_dispatched, "test-verdict " },
	{ "claimed twice", claim_twice, "claim " },
	{ "claim kept", claim_kept, "claim " },
	{ "claim released twice", claim_released_twice, "claim " },
	{ "VM in a closed lab", vm_in_closed_lab, "lab-scope " },
	{ "lab closed twice", lab_closed_twice, "lab-scope " },
	{ "run while paused", run_while_paused, "vm-state " },
	{ "run after shutdown", run_after_shutdown, "vm-state " },
	{ "run before boot", run_before_boot, "vm-state " },
	{ "run while booting", run_while_booting, "vm-state " },
	{ "booted twice", booted_twice, "vm-state " },
	{ "lost while down", lost_while_down, "vm-state " },
	{ "two outcomes", outcome_twice, "call-outcome " },
	{ "outcome before intent", outcome_first, "call-outcome " },
	{ "outcome of another kind", outcome_of_another_kind, "outcome-kind " },
	{ "intent without outcome", intent_without_outcome, "left-over " },
	{ "read from what is no command", read_of_a_guest_call, "call-outcome " },
	{ "command of no file", host_command_without_file, "call-outcome " },
	{ "barrier opens early", opens_early, "barrier " },
	{ "waits at two barriers", waits_twice, "barrier " },
	{ "another count", other_count, "barrier " },
	{ "leaves a barrier twice", leaves_twice, "barrier " },
	{ "a VM is left up", vm_left_up, "left-over " },
	{ "a lab is left open", lab_left_open, "left-over " },
	{ "wrong count at the end", wrong_count, "verdict " },
	{ "the run failed for nothing", run_failed_for_nothing, "verdict " },
	{ "file passed with a failed test", passed_with_a_failed_test, "verdict " },
};

static void test_invariants__each_rule(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct story story;
		struct seen seen;

		story_tell(&story);
		cases[i].bend(&story);
		struct pv_invariants_verdict verdict = check(&story, &seen);
		if (strcmp(seen.rules, cases[i].rules) != 0)
			fail_msg("%s: broke \"%s\", not \"%s\"; %s", cases[i].name, seen.rules, cases[i].rules,
			         seen.first);
		assert_true(seen.seq > 0);
		assert_int_equal(verdict.first_seq, seen.seq);
		assert_int_equal(strncmp(verdict.first, cases[i].rules, strlen(cases[i].rules) - 1), 0);
		story_free(&story);
	}
}

/* A rule without a case above could be dropped unnoticed. */
static void test_invariants__no_rule_without_a_case(void **state)
{
	(void)state;
	for (const struct pv_invariant_rule *rule = pv_invariant_rules; rule->name != NULL; rule++) {
		size_t i, len = strlen(rule->name);

		for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
			if (strncmp(cases[i].rules, rule->name, len) == 0 && cases[i].rules[len] == ' ')
				break;
		if (i == sizeof(cases) / sizeof(cases[0]))
			fail_msg("no case breaks the rule %s", rule->name);
	}
}

/* What the state machine accepts, the second opinion accepts too; the generator gives verdicts and discoveries at random, which the state
 * machine does not judge. */
static void test_invariants__agree_with_the_state_machine(void **ctx)
{
	uint64_t seed = test_seed(7);
	struct pv_state *state = pv_state_create();
	struct seen seen = { .seq = 0 };
	struct pv_invariants *inv = pv_invariants_create(note, &seen);
	uint64_t accepted = 0;

	(void)ctx;
	for (int i = 0; i < 20000; i++) {
		Pv__Event *event = i == 0   ? ev_run_started("random")
		                   : i < 7  ? ev_file_discovered("f.lua")
		                   : i < 13 ? ev_file_dispatched((uint32_t)i - 6)
		                            : random_proposal(state, &seed);
		struct pv_errmsg msg = { .text = "" };
		bool judged = event->body_case != PV__EVENT__BODY_FILE_COMPLETED &&
		              event->body_case != PV__EVENT__BODY_RUN_ENDED &&
		              (i < 7 || event->body_case != PV__EVENT__BODY_FILE_DISCOVERED);

		if (judged && pv_decide(state, event, &msg) == PV_OK) {
			assert_int_equal(pv_state_apply(state, event, &msg), PV_OK);
			pv_invariants_event(inv, ++accepted, event);
		}
		pv__event__free_unpacked(event, NULL);
	}
	assert_string_equal(seen.first, "");
	assert_true(accepted > 2000);
	pv_invariants_destroy(inv);
	pv_state_destroy(state);
}

/* A run whose calls are open at an end in order, the file having been left out of it. */
static void test_invariants__open_call_at_the_end(void **state)
{
	struct story story;
	struct seen seen;

	(void)state;
	story_tell(&story);
	while (story.n > story.ran)
		story_remove(&story, story.n - 1);
	story_insert(&story, story.n, ev_run_ended(PV__VERDICT__VERDICT_PASSED));
	check(&story, &seen);
	assert_string_equal(seen.rules, "call-outcome file-life ");
	story_free(&story);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_invariants__good_run),
		cmocka_unit_test(test_invariants__every_prefix),
		cmocka_unit_test(test_invariants__interrupted_run),
		cmocka_unit_test(test_invariants__file_that_is_restarted),
		cmocka_unit_test(test_invariants__each_rule),
		cmocka_unit_test(test_invariants__no_rule_without_a_case),
		cmocka_unit_test(test_invariants__agree_with_the_state_machine),
		cmocka_unit_test(test_invariants__open_call_at_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
