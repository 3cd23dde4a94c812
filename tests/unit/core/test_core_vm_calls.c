/* Calls and changes as events on a state: every position (state, operation in flight) meets every start, outcome and change. The table
 * below is written by hand, independently of vm_fsm.c. */
#include <stdio.h>
#include <string.h>

#include "core_events.h"

#define BOOT     PV__CALL_STARTED__OP_BOOT
#define SHUTDOWN PV__CALL_STARTED__OP_SHUTDOWN
#define PAUSE    PV__CALL_STARTED__OP_PAUSE
#define RESUME   PV__CALL_STARTED__OP_RESUME
#define RESET    PV__CALL_STARTED__OP_RESET
#define RUN      PV__CALL_STARTED__OP_RUN
#define SNAPSHOT PV__CALL_STARTED__OP_SNAPSHOT
#define RESTORE  PV__CALL_STARTED__OP_RESTORE

#define FAILED   PV__ERROR_KIND__ERROR_KIND_FAILED
#define GUEST    PV__ERROR_KIND__ERROR_KIND_GUEST
#define VM_DEAD  PV__ERROR_KIND__ERROR_KIND_VM_DEAD
#define CANCELED PV__ERROR_KIND__ERROR_KIND_CANCELED

#define LOST        PV__VM_CHANGE__VM_CHANGE_LOST
#define POWERED_OFF PV__VM_CHANGE__VM_CHANGE_POWERED_OFF
#define REBOOTED    PV__VM_CHANGE__VM_CHANGE_REBOOTED
#define PANICKED    PV__VM_CHANGE__VM_CHANGE_PANICKED

/* A position: state c b p s d, then the operation in flight . B(oot) S(hutdown) P(ause) R(esume) X (reset)
 * T (snapshot) E (restore). "--": refused; "  ": no
 * operation is in flight that could end. */
static const struct {
	const char *at;
	const char *start[8];   /* boot, shutdown, pause, resume, reset, run, snapshot, restore */
	const char *outcome[4]; /* ok, failed, VM dead, canceled */
	const char *change[4];  /* lost, powered off, rebooted, panicked */
} table[] = {
	{ "c.", { "cB", "cS", "--", "--", "--", "--", "--", "cE" }, { "", "", "", "" }, { "--", "--", "--", "--" } },
	{ "cB",
	  { "--", "cS", "--", "--", "--", "--", "--", "--" },
	  { "b.", "c.", "d.", "c." },
	  { "--", "--", "--", "--" } },
	{ "cS",
	  { "--", "cS", "--", "--", "--", "--", "--", "--" },
	  { "s.", "c.", "d.", "c." },
	  { "--", "--", "--", "--" } },
	{ "b.", { "--", "bS", "bP", "--", "bX", "b.", "bT", "--" }, { "", "", "", "" }, { "d.", "s.", "b.", "d." } },
	{ "bS",
	  { "--", "bS", "--", "--", "--", "--", "--", "--" },
	  { "s.", "b.", "d.", "b." },
	  { "dS", "sS", "bS", "dS" } },
	{ "bP",
	  { "--", "bS", "--", "--", "--", "--", "--", "--" },
	  { "p.", "b.", "d.", "b." },
	  { "d.", "s.", "bP", "d." } },
	{ "bX",
	  { "--", "bS", "--", "--", "--", "--", "--", "--" },
	  { "b.", "b.", "d.", "b." },
	  { "d.", "s.", "bX", "d." } },
	{ "p.", { "--", "pS", "--", "pR", "--", "--", "pT", "--" }, { "", "", "", "" }, { "d.", "s.", "p.", "d." } },
	{ "pS",
	  { "--", "pS", "--", "--", "--", "--", "--", "--" },
	  { "s.", "p.", "d.", "p." },
	  { "dS", "sS", "pS", "dS" } },
	{ "pR",
	  { "--", "pS", "--", "--", "--", "--", "--", "--" },
	  { "b.", "p.", "d.", "p." },
	  { "d.", "s.", "pR", "d." } },
	{ "s.", { "sB", "sS", "--", "--", "--", "--", "--", "sE" }, { "", "", "", "" }, { "--", "--", "--", "--" } },
	{ "sB",
	  { "--", "sS", "--", "--", "--", "--", "--", "--" },
	  { "b.", "s.", "d.", "s." },
	  { "--", "--", "--", "--" } },
	{ "sS",
	  { "--", "sS", "--", "--", "--", "--", "--", "--" },
	  { "s.", "s.", "d.", "s." },
	  { "--", "--", "--", "--" } },
	{ "d.", { "--", "dS", "--", "--", "--", "--", "--", "--" }, { "", "", "", "" }, { "d.", "s.", "--", "d." } },
	{ "dS",
	  { "--", "dS", "--", "--", "--", "--", "--", "--" },
	  { "s.", "d.", "d.", "d." },
	  { "dS", "sS", "--", "dS" } },
	{ "bT",
	  { "--", "bS", "--", "--", "--", "--", "--", "--" },
	  { "b.", "b.", "d.", "b." },
	  { "d.", "s.", "bT", "d." } },
	{ "pT",
	  { "--", "pS", "--", "--", "--", "--", "--", "--" },
	  { "p.", "p.", "d.", "p." },
	  { "d.", "s.", "pT", "d." } },
	{ "cE",
	  { "--", "cS", "--", "--", "--", "--", "--", "--" },
	  { "b.", "c.", "d.", "c." },
	  { "--", "--", "--", "--" } },
	{ "sE",
	  { "--", "sS", "--", "--", "--", "--", "--", "--" },
	  { "b.", "s.", "d.", "s." },
	  { "--", "--", "--", "--" } },
};

static const Pv__CallStarted__OpCase ops[] = { BOOT, SHUTDOWN, PAUSE, RESUME, RESET, RUN, SNAPSHOT, RESTORE };

static uint64_t start(struct pv_state *state, Pv__CallStarted__OpCase op)
{
	return accept(state, ev_call_started(1, op, 0));
}

static void finish(struct pv_state *state, uint64_t call, Pv__CallStarted__OpCase op)
{
	accept(state, ev_call_done(call, op));
}

static void run_op(struct pv_state *state, Pv__CallStarted__OpCase op)
{
	finish(state, start(state, op), op);
}

static struct pv_vm_view view_of(const struct pv_state *state)
{
	struct pv_vm_view view;

	assert_true(pv_state_vm(state, 1, &view));
	return view;
}

static const char *position(const struct pv_state *state)
{
	static char text[3];
	struct pv_vm_view view = view_of(state);

	text[0] = "?cbpsd"[view.state];
	text[1] = ".BSPRXTE"[view.in_flight];
	return text;
}

static Pv__CallStarted__OpCase op_of_letter(char letter)
{
	return ops[strchr("BSPRX?TE", letter) - "BSPRX?TE"];
}

/* A state whose VM 1 is at `at`, and the call in flight there (0: none). */
static struct pv_state *reach(const char *at, uint64_t *call)
{
	struct pv_state *state = started_state();

	accept(state, ev_vm_declared(1, "web", "default"));
	if (at[0] == 's') {
		run_op(state, SHUTDOWN);
	} else if (at[0] != 'c') {
		run_op(state, BOOT);
		if (at[0] == 'p')
			run_op(state, PAUSE);
		else if (at[0] == 'd')
			accept(state, ev_vm_changed(1, LOST, "QEMU exited"));
	}
	*call = at[1] != '.' ? start(state, op_of_letter(at[1])) : 0;
	assert_string_equal(position(state), at);
	return state;
}

static void expect(const char *at, Pv__Event *(*make)(uint64_t call, char op, size_t column), size_t column,
                   const char *wanted)
{
	uint64_t call;
	struct pv_state *state = reach(at, &call);
	Pv__Event *event = make(call, at[1], column);

	if (strcmp(wanted, "--") == 0) {
		refuse(state, event, PV_ERR_STATE, "\"web\"");
	} else {
		accept(state, event);
		if (strcmp(position(state), wanted) != 0)
			fail_msg("%s, column %zu: at %s instead of %s", at, column, position(state), wanted);
	}
	pv_state_destroy(state);
}

static Pv__Event *make_start(uint64_t call, char op, size_t column)
{
	(void)call;
	(void)op;
	return ev_call_started(1, ops[column], 0);
}

static Pv__Event *make_outcome(uint64_t call, char op, size_t column)
{
	static const Pv__ErrorKind kinds[] = { 0, FAILED, VM_DEAD, CANCELED };

	return column == 0 ? ev_call_done(call, op_of_letter(op)) : ev_call_error(call, kinds[column], "why");
}

static Pv__Event *make_change(uint64_t call, char op, size_t column)
{
	(void)call;
	(void)op;
	return ev_vm_changed(1, (Pv__VmChange)(column + 1), "why");
}

static void test_calls__each_position_meets_each_event(void **ctx)
{
	(void)ctx;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		for (size_t j = 0; j < 8; j++)
			expect(table[i].at, make_start, j, table[i].start[j]);
		for (size_t j = 0; j < 4 && table[i].at[1] != '.'; j++)
			expect(table[i].at, make_outcome, j, table[i].outcome[j]);
		for (size_t j = 0; j < 4; j++)
			expect(table[i].at, make_change, j, table[i].change[j]);
	}
}

/* Overtaken: the call in flight, a shutdown over it, and the two outcomes in both orders. The shutdown has the last word. */
static void test_calls__an_overtaken_call_ends_before_or_after_the_shutdown(void **ctx)
{
	static const char *const busy[] = { "cB", "sB", "bP", "bX", "pR", "bS", "bT", "pT", "cE", "sE" };

	(void)ctx;
	for (size_t i = 0; i < sizeof(busy) / sizeof(busy[0]); i++) {
		for (size_t column = 0; column < 4; column++) {
			for (int late = 0; late < 2; late++) {
				uint64_t call;
				struct pv_state *state = reach(busy[i], &call);
				uint64_t shutdown = start(state, SHUTDOWN);

				if (!late)
					accept(state, make_outcome(call, busy[i][1], column));
				assert_int_equal(position(state)[1], 'S');
				finish(state, shutdown, SHUTDOWN);
				assert_string_equal(position(state), "s.");
				if (late)
					accept(state, make_outcome(call, busy[i][1], column));
				assert_string_equal(position(state), "s.");
				refuse(state, make_outcome(call, busy[i][1], column), PV_ERR_NOENT, "not open");
				pv_state_destroy(state);
			}
		}
	}
}

/* What is left of an earlier life must not touch the present one. */
static void test_calls__an_outcome_from_an_earlier_life_changes_nothing(void **ctx)
{
	uint64_t first;
	struct pv_state *state = reach("cB", &first);
	uint64_t run;

	(void)ctx;
	run_op(state, SHUTDOWN);
	run_op(state, BOOT);
	run = start(state, RUN);
	accept(state, ev_call_error(first, VM_DEAD, "late"));
	assert_string_equal(position(state), "b.");
	assert_int_equal(view_of(state).boots, 1);
	run_op(state, SHUTDOWN);
	start(state, BOOT);
	accept(state, ev_call_error(run, VM_DEAD, "late"));
	assert_string_equal(position(state), "sB");
	pv_state_destroy(state);
}

/* A shutdown that failed leaves the VM as it was, but what it overtook has no say any more. */
static void test_calls__a_failed_shutdown_still_ends_what_it_overtook(void **ctx)
{
	uint64_t boot;
	struct pv_state *state = reach("cB", &boot);
	uint64_t shutdown = start(state, SHUTDOWN);

	(void)ctx;
	accept(state, ev_call_error(shutdown, FAILED, "no"));
	assert_string_equal(position(state), "c.");
	start(state, BOOT);
	finish(state, boot, BOOT);
	assert_string_equal(position(state), "cB");
	pv_state_destroy(state);
}

static void test_calls__guest_operations_overlap_and_survive_a_pause(void **ctx)
{
	uint64_t none, first, second, third;
	struct pv_state *state = reach("b.", &none);

	(void)ctx;
	first = start(state, RUN);
	second = start(state, PV__CALL_STARTED__OP_READ_FILE);
	third = start(state, PV__CALL_STARTED__OP_WRITE_FILE);
	run_op(state, PAUSE);
	finish(state, second, PV__CALL_STARTED__OP_READ_FILE);
	accept(state, ev_call_error(third, GUEST, "No space left"));
	assert_string_equal(position(state), "p.");
	accept(state, ev_call_error(first, VM_DEAD, "the agent is gone"));
	assert_string_equal(position(state), "d.");
	assert_string_equal(view_of(state).dead_reason, "the agent is gone");
	accept(state, ev_vm_changed(1, PANICKED, "Oops"));
	assert_string_equal(view_of(state).dead_reason, "Oops");
	accept(state, ev_vm_changed(1, LOST, NULL));
	assert_string_equal(view_of(state).dead_reason, "Oops");
	pv_state_destroy(state);
}

static void test_calls__a_loss_ends_the_operation_in_flight(void **ctx)
{
	uint64_t pause;
	struct pv_state *state = reach("bP", &pause);

	(void)ctx;
	accept(state, ev_vm_changed(1, POWERED_OFF, NULL));
	start(state, BOOT);
	finish(state, pause, PAUSE);
	assert_string_equal(position(state), "sB");
	pv_state_destroy(state);
}

static void test_calls__an_outcome_must_fit_its_call(void **ctx)
{
	uint64_t boot;
	struct pv_state *state = reach("cB", &boot);

	(void)ctx;
	refuse(state, ev_call_done(boot, PAUSE), PV_ERR_INVAL, "not one of a boot");
	refuse(state, ev_call_done(boot, RUN), PV_ERR_INVAL, "not one of a boot");
	refuse(state, ev_call_error(boot, (Pv__ErrorKind)9, "x"), PV_ERR_INVAL, "unknown kind");
	refuse(state, ev_call_done(boot + 1, BOOT), PV_ERR_NOENT, "not open");
	finish(state, boot, BOOT);
	refuse(state, ev_call_done(boot, BOOT), PV_ERR_NOENT, "not open");
	pv_state_destroy(state);
}

static void test_calls__refusals_tell_state_reason_and_way_out(void **ctx)
{
	static const struct {
		const char *at;
		Pv__CallStarted__OpCase op;
		const char *words;
	} cases[] = {
		{ "c.", RUN, "is created: a guest operation needs it booted" },
		{ "b.", BOOT, "is booted: a boot needs it created or shutdown" },
		{ "b.", RESUME, "is booted: a resume needs it paused" },
		{ "p.", RUN, "its vCPUs stand still" },
		{ "p.", PAUSE, "is paused" },
		{ "d.", RUN, "is dead: QEMU exited" },
		{ "d.", BOOT, "shutdown(), then boot() revives it" },
		{ "d.", RESTORE, "shutdown(), then restore() revives it" },
		{ "b.", RESTORE, "is booted: a restore needs it created or shutdown" },
		{ "c.", SNAPSHOT, "is created: a snapshot needs it booted or paused" },
		{ "bP", RUN, "a pause is in flight" },
		{ "bT", RUN, "a snapshot is in flight" },
	};

	(void)ctx;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t call;
		struct pv_state *state = reach(cases[i].at, &call);

		refuse(state, ev_call_started(1, cases[i].op, 0), PV_ERR_STATE, cases[i].words);
		pv_state_destroy(state);
	}
}

static void test_calls__a_view_tells_boots_and_uptime(void **ctx)
{
	uint64_t none;
	struct pv_state *state = reach("c.", &none);
	uint64_t boot = start(state, BOOT);
	Pv__Event *done = ev_call_done(boot, BOOT);

	(void)ctx;
	assert_int_equal(view_of(state).lifecycle_call, boot);
	assert_int_equal(view_of(state).boots, 0);
	done->mono_ns = 99;
	accept(state, done);
	assert_int_equal(view_of(state).booted_mono_ns, 99);
	run_op(state, RESET);
	run_op(state, SHUTDOWN);
	/* who tells the length of the uptime does so after the shutdown */
	assert_int_equal(view_of(state).booted_mono_ns, 99);
	assert_int_equal(view_of(state).boots, 1);
	pv_state_destroy(state);
}

static void test_calls__come_from_a_live_task_of_the_file(void **ctx)
{
	uint64_t none;
	struct pv_state *state = reach("b.", &none);
	uint32_t task = (uint32_t)accept(state, ev_task_started(1, PV__TASK_KIND__TASK_KIND_CHUNK, 0, 0));
	uint64_t call = accept(state, ev_call_started(1, RUN, task));

	(void)ctx;
	accept(state, ev_task_ended(task, PV__VERDICT__VERDICT_INTERRUPTED));
	finish(state, call, RUN); /* cut, but told after its task's end */
	refuse(state, ev_call_started(1, RUN, task), PV_ERR_NOENT, "not running");
	pv_state_destroy(state);
}

/* A kind of call or outcome that only a newer version knows is no damage. */
static void test_calls__unknown_kinds_are_of_a_newer_version(void **ctx)
{
	uint64_t boot;
	struct pv_state *state = reach("cB", &boot);
	struct pv_errmsg msg = { 0 };
	Pv__Event *event = ev_call_started(1, PV__CALL_STARTED__OP__NOT_SET, 0);

	(void)ctx;
	assert_int_equal(pv_decide(state, event, &msg), PV_ERR_INVAL);
	assert_int_equal(pv_state_apply(state, event, &msg), PV_ERR_VERSION);
	pv__event__free_unpacked(event, NULL);
	event = ev_call_error(boot, FAILED, "x");
	pv__call_error__free_unpacked(event->call_ended->error, NULL);
	event->call_ended->error = NULL;
	event->call_ended->outcome_case = PV__CALL_ENDED__OUTCOME__NOT_SET;
	assert_int_equal(pv_decide(state, event, &msg), PV_ERR_INVAL);
	assert_int_equal(pv_state_apply(state, event, &msg), PV_ERR_VERSION);
	pv__event__free_unpacked(event, NULL);
	assert_string_equal(position(state), "cB");
	pv_state_destroy(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_calls__each_position_meets_each_event),
		cmocka_unit_test(test_calls__an_overtaken_call_ends_before_or_after_the_shutdown),
		cmocka_unit_test(test_calls__an_outcome_from_an_earlier_life_changes_nothing),
		cmocka_unit_test(test_calls__a_failed_shutdown_still_ends_what_it_overtook),
		cmocka_unit_test(test_calls__guest_operations_overlap_and_survive_a_pause),
		cmocka_unit_test(test_calls__a_loss_ends_the_operation_in_flight),
		cmocka_unit_test(test_calls__an_outcome_must_fit_its_call),
		cmocka_unit_test(test_calls__refusals_tell_state_reason_and_way_out),
		cmocka_unit_test(test_calls__a_view_tells_boots_and_uptime),
		cmocka_unit_test(test_calls__come_from_a_live_task_of_the_file),
		cmocka_unit_test(test_calls__unknown_kinds_are_of_a_newer_version),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
