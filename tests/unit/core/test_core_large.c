/* A lab of 10,000 members: an operation costs the same as in a small one. The bound is 50 times what is needed here, and a
 * quadratic step anywhere breaks it. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "core_events.h"

#define MEMBERS 10000u

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void put(struct pv_state *state, Pv__Event *event)
{
	struct pv_errmsg msg = { 0 };

	if (pv_decide(state, event, &msg) != PV_OK || pv_state_apply(state, event, &msg) != PV_OK)
		fail_msg("%s", msg.text);
	pv__event__free_unpacked(event, NULL);
}

static void test_large__labs_cost_what_small_ones_do(void **ctx)
{
	struct pv_state *state = started_state();
	uint32_t sub = (uint32_t)accept(state, ev_lab_created(1, SUB, 1, "s", 0));
	Pv__Member *members = pv_xcalloc(MEMBERS, sizeof(*members));
	struct pv_lab_view view;
	double start = seconds(), took;
	char name[32];

	(void)ctx;
	for (uint32_t i = 0; i < MEMBERS; i++) {
		snprintf(name, sizeof(name), "vm%u", i);
		put(state, ev_vm_declared(1, name, "tiny"));
		assert_int_equal(pv_state_find(state, 1, VM, name), i + 1);
		assert_true(pv_state_lab(state, 1, &view)); /* a view asked for after each must not be built anew */
		assert_int_equal(view.vms[i], i + 1);
		members[i] = (Pv__Member)PV__MEMBER__INIT;
		members[i].kind = VM;
		members[i].id = MEMBERS - i;
	}
	put(state, ev_members_included(sub, MEMBERS, members));
	for (uint32_t i = 0; i < MEMBERS; i += 2) /* from the middle outwards, no view between */
		put(state, ev_member_removed(1, VM, 1 + (i + MEMBERS / 2) % MEMBERS));
	pv_state_check(state);
	assert_true(pv_state_lab(state, 1, &view));
	assert_int_equal(view.n_vms, MEMBERS / 2);
	assert_int_equal(view.vms[0], 2);
	assert_true(pv_state_lab(state, sub, &view));
	assert_int_equal(view.n_vms, MEMBERS);
	assert_int_equal(view.vms[0], MEMBERS);
	pv_state_destroy(clone(state));
	put(state, ev_lab_closed(1));
	took = seconds() - start;
	printf("%u members: %.3f s\n", MEMBERS, took);
	assert_true(took < 5);
	free(members);
	pv_state_destroy(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_large__labs_cost_what_small_ones_do),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
