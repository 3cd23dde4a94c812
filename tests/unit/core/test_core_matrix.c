/* Every position of a VM meets every body of an event, once with ids that exist and once with ids that do not. decide and apply agree:
 * what one accepts the other folds, what one refuses is damage to the other and changes nothing. */
#include <string.h>

#include "core_events.h"

#define BOOT     PV__CALL_STARTED__OP_BOOT
#define SHUTDOWN PV__CALL_STARTED__OP_SHUTDOWN
#define PAUSE    PV__CALL_STARTED__OP_PAUSE
#define RESUME   PV__CALL_STARTED__OP_RESUME
#define RESET    PV__CALL_STARTED__OP_RESET
#define SNAPSHOT PV__CALL_STARTED__OP_SNAPSHOT
#define RESTORE  PV__CALL_STARTED__OP_RESTORE

/* The calls that lead to a position: the last stays open if `open`. */
static const struct {
	const char *name;
	Pv__CallStarted__OpCase ops[4]; /* NOT_SET ends */
	bool open;
	bool dead;
} positions[] = {
	{ "created", { 0 }, false, false },
	{ "created, booting", { BOOT }, true, false },
	{ "created, shutting down", { SHUTDOWN }, true, false },
	{ "booted", { BOOT }, false, false },
	{ "booted, pausing", { BOOT, PAUSE }, true, false },
	{ "booted, resetting", { BOOT, RESET }, true, false },
	{ "created, restoring", { RESTORE }, true, false },
	{ "booted, being saved", { RESTORE, SNAPSHOT }, true, false },
	{ "booted, shutting down", { BOOT, SHUTDOWN }, true, false },
	{ "paused", { BOOT, PAUSE }, false, false },
	{ "paused, resuming", { BOOT, PAUSE, RESUME }, true, false },
	{ "paused, shutting down", { BOOT, PAUSE, SHUTDOWN }, true, false },
	{ "shutdown", { SHUTDOWN }, false, false },
	{ "shutdown, booting", { SHUTDOWN, BOOT }, true, false },
	{ "paused, being saved", { BOOT, PAUSE, SNAPSHOT }, true, false },
	{ "shutdown, restoring", { SHUTDOWN, RESTORE }, true, false },
	{ "shutdown, shutting down", { SHUTDOWN, SHUTDOWN }, true, false },
	{ "dead", { BOOT }, false, true },
	{ "dead, shutting down", { BOOT, SHUTDOWN }, true, true },
};

/* VM 1 in root lab 1 at the position, sub-lab 2, bridge 1, chunk task 1, test 1 running. */
static struct pv_state *reach(size_t position, uint64_t *call, Pv__CallStarted__OpCase *op)
{
	struct pv_state *state = started_state();

	*call = 0;
	*op = PV__CALL_STARTED__OP_BOOT;
	accept(state, ev_lab_created(1, SUB, 1, "s", 0));
	accept(state, ev_vm_declared(1, "a", "tiny"));
	accept(state, ev_bridge_declared(1, "b"));
	accept(state, ev_task_started(1, PV__TASK_KIND__TASK_KIND_CHUNK, 0, 0));
	accept(state, ev_test_started(1, "t", 1));
	for (size_t i = 0; i < 4 && positions[position].ops[i] != 0; i++) {
		bool last = i == 3 || positions[position].ops[i + 1] == 0;

		*op = positions[position].ops[i];
		*call = accept(state, ev_call_started(1, *op, 0));
		if (!last || !positions[position].open)
			accept(state, ev_call_done(*call, *op));
	}
	if (positions[position].dead)
		accept(state, ev_vm_changed(1, PV__VM_CHANGE__VM_CHANGE_LOST, "gone"));
	return state;
}

static Pv__Event *make(Pv__Event__BodyCase body, bool known, uint64_t call, Pv__CallStarted__OpCase op)
{
	uint32_t one = known ? 1 : 88;

	switch (body) {
	case PV__EVENT__BODY_RUN_STARTED:
		return ev_run_started("again");
	case PV__EVENT__BODY_RUN_ENDED:
		return ev_run_ended(known ? PV__VERDICT__VERDICT_PASSED : 88);
	case PV__EVENT__BODY_FILE_DISCOVERED:
		return ev_file_discovered(known ? "b.lua" : NULL);
	case PV__EVENT__BODY_FILE_DISPATCHED:
		return ev_file_dispatched(one);
	case PV__EVENT__BODY_FILE_COMPLETED:
		return ev_file_completed(one, PV__VERDICT__VERDICT_PASSED);
	case PV__EVENT__BODY_TASK_STARTED:
		return ev_task_started(one, PV__TASK_KIND__TASK_KIND_TEST, 1, 0);
	case PV__EVENT__BODY_TASK_ENDED:
		return ev_task_ended(one, PV__VERDICT__VERDICT_PASSED);
	case PV__EVENT__BODY_TEST_STARTED:
		return ev_test_started(one, "u", 1);
	case PV__EVENT__BODY_TEST_ENDED:
		return ev_test_ended(1, one, PV__VERDICT__VERDICT_PASSED, NULL);
	case PV__EVENT__BODY_TEST_LOGGED:
		return ev_test_logged(one, "words");
	case PV__EVENT__BODY_LAB_CREATED:
		return ev_lab_created(1, TEST, one, NULL, 1);
	case PV__EVENT__BODY_LAB_CLOSED:
		return ev_lab_closed(one);
	case PV__EVENT__BODY_VM_DECLARED:
		return ev_vm_declared(one, "new", "tiny");
	case PV__EVENT__BODY_BRIDGE_DECLARED:
		return ev_bridge_declared(one, "new");
	case PV__EVENT__BODY_MEMBERS_INCLUDED:
		return ev_include(2, VM, one);
	case PV__EVENT__BODY_MEMBER_REMOVED:
		return ev_member_removed(1, VM, one);
	case PV__EVENT__BODY_CALL_STARTED:
		return ev_call_started(one, PV__CALL_STARTED__OP_RUN, 0);
	case PV__EVENT__BODY_CALL_ENDED:
		return ev_call_done(known ? call : 88, op);
	case PV__EVENT__BODY_VM_CHANGED:
		return ev_vm_changed(one, PV__VM_CHANGE__VM_CHANGE_LOST, NULL);
	case PV__EVENT__BODY_CLAIM_ACQUIRED:
		return ev_claim_acquired(one, true, 1, 1);
	case PV__EVENT__BODY_CLAIM_RELEASED:
		return ev_claim_released(one);
	case PV__EVENT__BODY_FILE_BLOCKED:
		return ev_file_blocked(one);
	case PV__EVENT__BODY_POOL_STATE:
		return ev_pool_state();
	case PV__EVENT__BODY_NOTICE:
		return ev_notice("words");
	default:
		fail_msg("no event for body %d", (int)body);
		return NULL;
	}
}

/* Is it accepted? Written by hand. The few that depend on the position ask for it. */
static bool expected(size_t position, Pv__Event__BodyCase body, bool known)
{
	const char *at = positions[position].name;

	switch (body) {
	case PV__EVENT__BODY_NOTICE:
	case PV__EVENT__BODY_TEST_LOGGED:
	case PV__EVENT__BODY_FILE_BLOCKED:
	case PV__EVENT__BODY_POOL_STATE:
		return true;
	case PV__EVENT__BODY_RUN_STARTED:     /* has started */
	case PV__EVENT__BODY_FILE_DISPATCHED: /* was */
	case PV__EVENT__BODY_FILE_COMPLETED:  /* its lab is open */
	case PV__EVENT__BODY_TEST_STARTED:    /* one is running */
	case PV__EVENT__BODY_CLAIM_RELEASED:  /* none is held */
		return false;
	case PV__EVENT__BODY_LAB_CLOSED:
		return known && (strcmp(at, "created") == 0 || strcmp(at, "shutdown") == 0 || strcmp(at, "dead") == 0);
	case PV__EVENT__BODY_CALL_STARTED:
		return known && strcmp(at, "booted") == 0;
	case PV__EVENT__BODY_CALL_ENDED:
		return known && positions[position].open;
	case PV__EVENT__BODY_VM_CHANGED:
		return known && (at[0] == 'b' || at[0] == 'p' || at[0] == 'd');
	default:
		return known;
	}
}

static void meet(size_t position, Pv__Event__BodyCase body, bool known)
{
	uint64_t call;
	Pv__CallStarted__OpCase op;
	struct pv_state *state = reach(position, &call, &op);
	Pv__Event *event = make(body, known, call, op);
	struct pv_buf before = bytes_of(state), after;
	struct pv_errmsg msg = { 0 };
	bool accepted = pv_decide(state, event, &msg) == PV_OK;

	if (accepted != expected(position, body, known))
		fail_msg("%s, body %d, ids %s: %s", positions[position].name, (int)body, known ? "known" : "unknown",
		         accepted ? "accepted" : msg.text);
	after = bytes_of(state);
	assert_same_bytes(&before, &after);
	assert_int_equal(pv_state_apply(state, event, &msg), accepted ? PV_OK : PV_ERR_CORRUPT);
	pv_state_check(state);
	if (!accepted) {
		pv_buf_free(&after);
		after = bytes_of(state);
		assert_same_bytes(&before, &after);
	}
	pv_buf_free(&before);
	pv_buf_free(&after);
	pv__event__free_unpacked(event, NULL);
	pv_state_destroy(state);
}

static void test_matrix__every_position_meets_every_body(void **ctx)
{
	(void)ctx;
	for (size_t i = 0; i < sizeof(positions) / sizeof(positions[0]); i++) {
		for (int body = PV__EVENT__BODY_RUN_STARTED; body <= PV__EVENT__BODY_POOL_STATE; body++) {
			meet(i, (Pv__Event__BodyCase)body, true);
			meet(i, (Pv__Event__BodyCase)body, false);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_matrix__every_position_meets_every_body),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
