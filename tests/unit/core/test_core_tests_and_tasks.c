/* Files, tests and tasks: order, one at a time, counts. */
#include "core_events.h"

#define PASSED  PV__VERDICT__VERDICT_PASSED
#define FAILED  PV__VERDICT__VERDICT_FAILED
#define SKIPPED PV__VERDICT__VERDICT_SKIPPED
#define FLAKY   PV__VERDICT__VERDICT_FLAKY

static struct pv_file_view file_of(const struct pv_state *state)
{
	struct pv_file_view view;

	assert_true(pv_state_file(state, 1, &view));
	return view;
}

static void expect_counts(const struct pv_state *state, uint32_t passed, uint32_t failed, uint32_t skipped,
                          uint32_t flaky)
{
	struct pv_file_view view = file_of(state);

	assert_int_equal(view.passed, passed);
	assert_int_equal(view.failed, failed);
	assert_int_equal(view.skipped, skipped);
	assert_int_equal(view.flaky, flaky);
}

static void test_run__comes_first_and_ends_last(void **ctx)
{
	struct pv_state *state = pv_state_create();
	struct pv_errmsg msg = { 0 };
	Pv__Event *late = ev_file_discovered("x.lua");

	(void)ctx;
	refuse(state, ev_file_discovered("a.lua"), PV_ERR_STATE, "has not started");
	accept(state, ev_notice("before")); /* words are always fine */
	refuse(state, ev_run_started(NULL), PV_ERR_INVAL, "run_id");
	accept(state, ev_run_started("r1"));
	refuse(state, ev_run_started("r1"), PV_ERR_STATE, "started already");
	refuse(state, ev_run_ended(FLAKY), PV_ERR_INVAL, "verdict");
	accept(state, ev_run_ended(PASSED));
	refuse(state, ev_run_ended(PASSED), PV_ERR_STATE, "has ended");
	refuse(state, ev_file_discovered("a.lua"), PV_ERR_STATE, "has ended");
	accept(state, ev_notice("after"));
	late->body_case = (Pv__Event__BodyCase)99;
	assert_int_equal(pv_decide(state, late, &msg), PV_ERR_INVAL);
	assert_int_equal(pv_state_apply(state, late, &msg), PV_ERR_VERSION);
	late->body_case = PV__EVENT__BODY_FILE_DISCOVERED;
	pv__event__free_unpacked(late, NULL);
	pv_state_destroy(state);
}

static void test_files__go_from_discovered_to_completed(void **ctx)
{
	struct pv_state *state = started_state();

	(void)ctx;
	assert_int_equal(accept(state, ev_file_discovered("b.lua")), 2);
	refuse(state, ev_file_discovered(""), PV_ERR_INVAL, "needs a path");
	refuse(state, ev_file_dispatched(1), PV_ERR_STATE, "dispatched already");
	refuse(state, ev_file_dispatched(3), PV_ERR_NOENT, "no file 3");
	refuse(state, ev_file_completed(2, PASSED), PV_ERR_STATE, "never dispatched");
	refuse(state, ev_file_completed(1, SKIPPED), PV_ERR_INVAL, "verdict");
	refuse(state, ev_lab_created(2, ROOT, 0, NULL, 0), PV_ERR_STATE, "not been dispatched");
	refuse(state, ev_lab_created(1, ROOT, 0, NULL, 0), PV_ERR_EXISTS, "has its lab already");
	refuse(state, ev_lab_created(0, ROOT, 0, NULL, 0), PV_ERR_INVAL, "names no file");
	refuse(state, ev_file_completed(1, PASSED), PV_ERR_STATE, "its lab is still open");
	accept(state, ev_lab_closed(1));
	accept(state, ev_file_completed(1, PV__VERDICT__VERDICT_TIMED_OUT));
	assert_int_equal(file_of(state).verdict, PV__VERDICT__VERDICT_TIMED_OUT);
	refuse(state, ev_file_completed(1, PASSED), PV_ERR_STATE, "completed already");
	refuse(state, ev_test_started(1, "t", 1), PV_ERR_STATE, "completed already");
	refuse(state, ev_task_started(1, PV__TASK_KIND__TASK_KIND_CHUNK, 0, 0), PV_ERR_STATE, "completed already");
	pv_state_destroy(state);
}

static void test_tests__run_one_at_a_time_and_end_once(void **ctx)
{
	struct pv_state *state = started_state();
	uint32_t test = (uint32_t)accept(state, ev_test_started(1, "a", 1));

	(void)ctx;
	assert_int_equal(file_of(state).test, test);
	assert_string_equal(file_of(state).test_name, "a");
	refuse(state, ev_test_started(1, "b", 1), PV_ERR_STATE, "\"a\" is running");
	refuse(state, ev_test_ended(1, 0, SKIPPED, "b"), PV_ERR_STATE, "while \"a\" is running");
	refuse(state, ev_test_ended(1, test + 1, PASSED, NULL), PV_ERR_STATE, "while \"a\" is running");
	refuse(state, ev_test_ended(1, test, PV__VERDICT__VERDICT_CRASHED, NULL), PV_ERR_INVAL, "verdict");
	refuse(state, ev_test_ended(1, test, FLAKY, NULL), PV_ERR_INVAL, "first attempt");
	refuse(state, ev_file_completed(1, PASSED), PV_ERR_STATE, "its test \"a\" is still running");
	accept(state, ev_test_logged(test, "words"));
	accept(state, ev_test_ended(1, test, PASSED, NULL));
	refuse(state, ev_test_ended(1, test, FAILED, NULL), PV_ERR_STATE, "its verdict already");
	assert_null(file_of(state).test_name);
	test = (uint32_t)accept(state, ev_test_started(1, "b", 1));
	accept(state, ev_test_ended(1, test, SKIPPED, NULL));
	assert_int_equal(accept(state, ev_test_ended(1, 0, SKIPPED, "c")), test + 1);
	refuse(state, ev_test_ended(1, test + 1, SKIPPED, "c"), PV_ERR_STATE, "its verdict already");
	refuse(state, ev_test_ended(1, 0, PASSED, "d"), PV_ERR_INVAL, "only be skipped");
	refuse(state, ev_test_ended(1, 0, SKIPPED, NULL), PV_ERR_INVAL, "by its name");
	refuse(state, ev_test_started(1, NULL, 1), PV_ERR_INVAL, "no name");
	expect_counts(state, 1, 0, 2, 0);
	pv_state_destroy(state);
}

static void test_tests__a_second_attempt_takes_the_failure_back(void **ctx)
{
	struct pv_state *state = started_state();
	uint32_t test;

	(void)ctx;
	refuse(state, ev_test_started(1, "a", 0), PV_ERR_INVAL, "count from 1");
	refuse(state, ev_test_started(1, "a", 2), PV_ERR_STATE, "must follow its failed attempt 1");
	test = (uint32_t)accept(state, ev_test_started(1, "a", 1));
	accept(state, ev_test_ended(1, test, FAILED, NULL));
	expect_counts(state, 0, 1, 0, 0);
	refuse(state, ev_test_started(1, "b", 2), PV_ERR_STATE, "must follow");
	refuse(state, ev_test_started(1, "a", 3), PV_ERR_STATE, "must follow");
	test = (uint32_t)accept(state, ev_test_started(1, "a", 2));
	expect_counts(state, 0, 0, 0, 0);
	refuse(state, ev_test_ended(1, test, PASSED, NULL), PV_ERR_INVAL, "flaky, not passed");
	accept(state, ev_test_ended(1, test, FAILED, NULL));
	test = (uint32_t)accept(state, ev_test_started(1, "a", 3));
	accept(state, ev_test_ended(1, test, FLAKY, NULL));
	expect_counts(state, 0, 0, 0, 1);
	refuse(state, ev_test_started(1, "a", 4), PV_ERR_STATE, "must follow");
	pv_state_destroy(state);
}

static void test_tests__have_one_scope_at_a_time(void **ctx)
{
	struct pv_state *state = started_state();
	uint32_t test, scope;

	(void)ctx;
	refuse(state, ev_lab_created(1, TEST, 1, NULL, 1), PV_ERR_STATE, "not running");
	scope = open_test(state, "a", &test);
	refuse(state, ev_lab_created(1, TEST, 1, NULL, test), PV_ERR_EXISTS, "open already");
	refuse(state, ev_lab_created(1, TEST, scope, NULL, test), PV_ERR_INVAL, "the lab of its file");
	accept(state, ev_test_ended(1, test, PASSED, NULL)); /* the verdict may come before the scope's end */
	test = (uint32_t)accept(state, ev_test_started(1, "b", 1));
	refuse(state, ev_lab_created(1, TEST, 1, NULL, test), PV_ERR_EXISTS, "open already");
	accept(state, ev_lab_closed(scope));
	accept(state, ev_lab_created(1, TEST, 1, NULL, test));
	refuse(state, ev_lab_created(1, (Pv__LabKind)8, 1, "x", 0), PV_ERR_INVAL, "not known");
	pv_state_destroy(state);
}

static void test_tasks__belong_to_a_file_and_a_running_test(void **ctx)
{
	struct pv_state *state = started_state();
	uint32_t test, chunk, body, co;

	(void)ctx;
	chunk = (uint32_t)accept(state, ev_task_started(1, PV__TASK_KIND__TASK_KIND_CHUNK, 0, 0));
	refuse(state, ev_task_started(1, PV__TASK_KIND__TASK_KIND_CHUNK, 0, 0), PV_ERR_STATE, "running already");
	refuse(state, ev_task_started(1, PV__TASK_KIND__TASK_KIND_TEST, 0, 0), PV_ERR_INVAL, "names no test");
	refuse(state, ev_task_started(1, PV__TASK_KIND__TASK_KIND_TEST, 5, 0), PV_ERR_STATE, "not running");
	refuse(state, ev_task_started(1, (Pv__TaskKind)9, 0, 0), PV_ERR_INVAL, "not known");
	refuse(state, ev_task_ended(chunk + 1, PASSED), PV_ERR_NOENT, "not running");
	refuse(state, ev_task_ended(chunk, FLAKY), PV_ERR_INVAL, "verdict");
	accept(state, ev_task_ended(chunk, PASSED));
	refuse(state, ev_task_ended(chunk, PASSED), PV_ERR_NOENT, "not running");

	test = (uint32_t)accept(state, ev_test_started(1, "t", 1));
	body = (uint32_t)accept(state, ev_task_started(1, PV__TASK_KIND__TASK_KIND_TEST, test, 0));
	refuse(state, ev_task_started(1, PV__TASK_KIND__TASK_KIND_TEST, test, 0), PV_ERR_STATE, "running already");
	refuse(state, ev_task_started(1, PV__TASK_KIND__TASK_KIND_CO, test, chunk), PV_ERR_NOENT, "not running");
	co = (uint32_t)accept(state, ev_task_started(1, PV__TASK_KIND__TASK_KIND_CO, test, body));
	accept(state, ev_task_ended(body, FAILED));
	refuse(state, ev_test_ended(1, test, FAILED, NULL), PV_ERR_STATE, "1 of its tasks are still running");
	accept(state, ev_task_ended(co, PV__VERDICT__VERDICT_INTERRUPTED));
	accept(state, ev_test_ended(1, test, FAILED, NULL));
	pv_state_destroy(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_run__comes_first_and_ends_last),
		cmocka_unit_test(test_files__go_from_discovered_to_completed),
		cmocka_unit_test(test_tests__run_one_at_a_time_and_end_once),
		cmocka_unit_test(test_tests__a_second_attempt_takes_the_failure_back),
		cmocka_unit_test(test_tests__have_one_scope_at_a_time),
		cmocka_unit_test(test_tasks__belong_to_a_file_and_a_running_test),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
