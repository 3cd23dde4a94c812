/* Barriers: who waits is in the fold, and a barrier is there only while somebody does. */
#include "core_events.h"

#include <string.h>

#define CO       PV__TASK_KIND__TASK_KIND_CO
#define TIMED    PV__BARRIER_REASON__BARRIER_REASON_TIMED_OUT
#define CANCELED PV__BARRIER_REASON__BARRIER_REASON_CANCELED

static uint32_t start_task(struct pv_state *state)
{
	return (uint32_t)accept(state, ev_task_started(1, CO, 0, 0));
}

static void expect_waiting(const struct pv_state *state, uint32_t lab, const char *name, uint32_t n, uint32_t count)
{
	struct pv_barrier_view view = { 0 };
	struct pv_state *copy = clone(state);
	struct pv_buf a = bytes_of(state), b = bytes_of(copy);

	assert_int_equal(pv_state_barrier(state, lab, name, &view), n > 0);
	assert_int_equal(view.n, n);
	assert_int_equal(view.count, count);
	assert_same_bytes(&a, &b);
	pv_buf_free(&a);
	pv_buf_free(&b);
	pv_state_destroy(copy);
}

static void test_barrier__opens_when_all_are_there_and_starts_over(void **ctx)
{
	struct pv_state *state = started_state();
	uint32_t a = start_task(state), b = start_task(state), c = start_task(state);

	(void)ctx;
	for (int round = 0; round < 2; round++) {
		accept(state, ev_barrier_arrived(1, "ready", 2, b));
		expect_waiting(state, 1, "ready", 1, 2);
		refuse(state, ev_barrier_opened(1, "ready"), PV_ERR_STATE, "1 of 2 have arrived");
		accept(state, ev_barrier_arrived(1, "ready", 2, a));
		refuse(state, ev_barrier_arrived(1, "ready", 2, c), PV_ERR_STATE, "about to open");
		accept(state, ev_barrier_opened(1, "ready"));
		expect_waiting(state, 1, "ready", 0, 0);
		refuse(state, ev_barrier_opened(1, "ready"), PV_ERR_NOENT, "nobody waits");
	}
	/* After it opened, another count is fine. */
	accept(state, ev_barrier_arrived(1, "ready", 1, a));
	accept(state, ev_barrier_opened(1, "ready"));
	pv_state_destroy(state);
}

static void test_barrier__refuses(void **ctx)
{
	struct pv_state *state = started_state();
	uint32_t a = start_task(state), b = start_task(state);
	char name[257];

	(void)ctx;
	memset(name, 'x', 256);
	name[256] = '\0';
	refuse(state, ev_barrier_arrived(1, "ready", 0, a), PV_ERR_INVAL, "at least 1");
	refuse(state, ev_barrier_arrived(1, "", 2, a), PV_ERR_INVAL, "must not be empty");
	refuse(state, ev_barrier_arrived(1, NULL, 2, a), PV_ERR_INVAL, "must not be empty");
	refuse(state, ev_barrier_arrived(1, name, 2, a), PV_ERR_INVAL, "at most 255 bytes");
	refuse(state, ev_barrier_arrived(9, "ready", 2, a), PV_ERR_NOENT, "closed");
	refuse(state, ev_barrier_arrived(1, "ready", 2, 99), PV_ERR_NOENT, "not running");
	accept(state, ev_barrier_arrived(1, "ready", 2, a));
	refuse(state, ev_barrier_arrived(1, "ready", 3, b), PV_ERR_INVAL, "opens for 2");
	refuse(state, ev_barrier_arrived(1, "other", 2, a), PV_ERR_STATE, "waits at the barrier \"ready\" already");
	refuse(state, ev_barrier_withdrawn(1, "ready", b, TIMED), PV_ERR_NOENT, "does not wait");
	refuse(state, ev_barrier_withdrawn(1, "ready", a, (Pv__BarrierReason)7), PV_ERR_INVAL, "reason 7");
	pv_state_destroy(state);
}

static void test_barrier__waiters_leave(void **ctx)
{
	struct pv_state *state = started_state();
	uint32_t a = start_task(state), b = start_task(state), c = start_task(state), first = 0;
	struct pv_buf tasks = { 0 };

	(void)ctx;
	accept(state, ev_barrier_arrived(1, "ready", 4, a));
	accept(state, ev_barrier_arrived(1, "ready", 4, c));
	accept(state, ev_barrier_arrived(1, "ready", 4, b));
	accept(state, ev_barrier_withdrawn(1, "ready", a, CANCELED));
	expect_waiting(state, 1, "ready", 2, 4);
	pv_state_barrier_tasks(state, 1, "ready", &tasks);
	memcpy(&first, tasks.data, sizeof(first));
	assert_int_equal(tasks.len, 2 * sizeof(first));
	assert_int_equal(first, c);
	pv_buf_free(&tasks);
	/* The end of a task ends its waiting. */
	accept(state, ev_task_ended(c, PV__VERDICT__VERDICT_INTERRUPTED));
	expect_waiting(state, 1, "ready", 1, 4);
	accept(state, ev_barrier_withdrawn(1, "ready", b, TIMED));
	expect_waiting(state, 1, "ready", 0, 0);
	accept(state, ev_barrier_arrived(1, "ready", 2, b));
	pv_state_destroy(state);
}

static void test_barrier__belongs_to_a_lab_and_ends_with_it(void **ctx)
{
	struct pv_state *state = started_state();
	uint32_t test, a, b, scope;

	(void)ctx;
	scope = open_test(state, "it", &test);
	a = start_task(state);
	b = start_task(state);
	accept(state, ev_barrier_arrived(1, "ready", 2, a));
	accept(state, ev_barrier_arrived(scope, "ready", 5, b));
	expect_waiting(state, 1, "ready", 1, 2);
	expect_waiting(state, scope, "ready", 1, 5);
	accept(state, ev_test_ended(1, test, PV__VERDICT__VERDICT_PASSED, NULL));
	accept(state, ev_lab_closed(scope));
	expect_waiting(state, scope, "ready", 0, 0);
	accept(state, ev_barrier_arrived(1, "ready", 2, b));
	accept(state, ev_barrier_opened(1, "ready"));
	pv_state_destroy(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_barrier__opens_when_all_are_there_and_starts_over),
		cmocka_unit_test(test_barrier__refuses),
		cmocka_unit_test(test_barrier__waiters_leave),
		cmocka_unit_test(test_barrier__belongs_to_a_lab_and_ends_with_it),
	};

	return cmocka_run_group_tests_name("core barriers", tests, NULL, NULL);
}
