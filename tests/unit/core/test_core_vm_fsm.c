/* The table of vm_fsm.h against one written out here by hand: every state, operation, outcome and change. */
#include <string.h>

#include "core_events.h"
#include "engine/core/vm_fsm.h"

#define STATES 5
#define OPS    8

static const char states[] = "?cbpsd"; /* created, booted, paused, shutdown, dead, at their numbers */

static Pv__VmState state_of(char letter)
{
	return (Pv__VmState)(strchr(states, letter) - states);
}

/* Rows: what an operation at work makes of each state, by outcome ok, failed, dead, canceled; '*' before a row: it may start there. */
static const struct {
	enum pv_vm_op op;
	const char *rows[STATES];
} expected[OPS] = {
	{ PV_VM_OP_BOOT, { "*c bcdc", " b bbbb", " p pppp", "*s bsds", " d dddd" } },
	{ PV_VM_OP_SHUTDOWN, { "*c scdc", "*b sbdb", "*p spdp", "*s ssds", "*d sddd" } },
	{ PV_VM_OP_PAUSE, { " c cccc", "*b pbdb", " p pppp", " s ssss", " d dddd" } },
	{ PV_VM_OP_RESUME, { " c cccc", " b bbbb", "*p bpdp", " s ssss", " d dddd" } },
	{ PV_VM_OP_RESET, { " c cccc", "*b bbdb", " p pppp", " s ssss", " d dddd" } },
	{ PV_VM_OP_SNAPSHOT, { " c cccc", "*b bbdb", "*p ppdp", " s ssss", " d dddd" } },
	{ PV_VM_OP_RESTORE, { "*c bcdc", " b bbbb", " p pppp", "*s bsds", " d dddd" } },
	{ PV_VM_OP_GUEST, { " c cccc", "*b bbdb", " p ppdp", " s ssss", " d dddd" } },
};

static void test_fsm__outcomes_follow_the_table(void **ctx)
{
	(void)ctx;
	for (size_t i = 0; i < OPS; i++) {
		for (size_t j = 0; j < STATES; j++) {
			const char *row = expected[i].rows[j];

			for (int outcome = 0; outcome < PV_VM_OUTCOME_COUNT; outcome++)
				assert_int_equal(
				    pv_vm_after(state_of(row[1]), expected[i].op, (enum pv_vm_outcome)outcome),
				    state_of(row[3 + outcome]));
		}
	}
}

static void test_fsm__starts_follow_the_table(void **ctx)
{
	(void)ctx;
	for (size_t i = 0; i < OPS; i++) {
		for (size_t j = 0; j < STATES; j++) {
			const char *row = expected[i].rows[j];
			bool idle = row[0] == '*';

			assert_int_equal(pv_vm_may_start(state_of(row[1]), PV_VM_OP_NONE, expected[i].op), idle);
			for (int busy = PV_VM_OP_BOOT; busy <= PV_VM_OP_RESTORE; busy++)
				assert_int_equal(pv_vm_may_start(state_of(row[1]), (enum pv_vm_op)busy, expected[i].op),
				                 idle && expected[i].op == PV_VM_OP_SHUTDOWN);
		}
	}
}

static void test_fsm__changes_follow_the_table(void **ctx)
{
	/* lost, powered off, rebooted, panicked */
	static const char *const rows[STATES] = { "c ????", "b dsbd", "p dspd", "s ????", "d ds?d" };

	(void)ctx;
	for (size_t i = 0; i < STATES; i++) {
		for (int change = 1; change <= 4; change++)
			assert_int_equal(pv_vm_changed(state_of(rows[i][0]), (Pv__VmChange)change),
			                 state_of(rows[i][1 + change]));
	}
}

/* A journal of a newer version may hold any number. */
static void test_fsm__unknown_numbers_do_nothing(void **ctx)
{
	(void)ctx;
	for (int number = -2; number < 300; number += 7) {
		if (number >= 1 && number <= 5)
			continue;
		assert_false(pv_vm_may_start((Pv__VmState)number, PV_VM_OP_NONE, PV_VM_OP_SHUTDOWN));
		assert_true(pv_vm_after((Pv__VmState)number, PV_VM_OP_BOOT, PV_VM_OUTCOME_OK) == (Pv__VmState)number);
		assert_int_equal(pv_vm_changed((Pv__VmState)number, PV__VM_CHANGE__VM_CHANGE_LOST), 0);
		assert_int_equal(pv_vm_changed(PV__VM_STATE__VM_STATE_BOOTED, (Pv__VmChange)(number | 8)), 0);
		assert_string_equal(pv_vm_state_name((Pv__VmState)number), "unknown");
	}
	assert_int_equal(pv_vm_changed(PV__VM_STATE__VM_STATE_BOOTED, PV__VM_CHANGE__VM_CHANGE_UNSPECIFIED), 0);
	assert_string_equal(pv_vm_op_name(PV_VM_OP_COUNT), "unknown");
}

static void test_fsm__names_are_those_of_the_api(void **ctx)
{
	static const char *const names[] = { "created", "booted", "paused", "shutdown", "dead" };
	static const char *const ops[] = { "boot",  "shutdown", "pause",   "resume",
		                           "reset", "snapshot", "restore", "guest operation" };

	(void)ctx;
	for (int i = 0; i < STATES; i++)
		assert_string_equal(pv_vm_state_name((Pv__VmState)(i + 1)), names[i]);
	for (int i = 0; i < OPS; i++)
		assert_string_equal(pv_vm_op_name((enum pv_vm_op)(i + 1)), ops[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fsm__outcomes_follow_the_table),
		cmocka_unit_test(test_fsm__starts_follow_the_table),
		cmocka_unit_test(test_fsm__changes_follow_the_table),
		cmocka_unit_test(test_fsm__unknown_numbers_do_nothing),
		cmocka_unit_test(test_fsm__names_are_those_of_the_api),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
