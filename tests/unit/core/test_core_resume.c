/* A run that another process goes on with: events of several files folded in another order, files that begin anew, a run that goes on
 * behind its end. */
#include <stdlib.h>
#include <string.h>

#include "core_generator.h"

#define FILES 4
#define STEPS 4000
#define IDS   20000

/* ---- any order ---- */

struct recorded {
	Pv__Event *event;
	uint32_t file; /* 0: the run's own */
};

struct record {
	struct recorded *events;
	size_t n;
	uint32_t file_of_call[IDS], file_of_task[IDS];
};

static uint32_t file_of_lab(const struct pv_state *state, uint32_t lab)
{
	struct pv_lab_view view;

	return pv_state_lab(state, lab, &view) ? view.file : 0;
}

static uint32_t file_of_vm(const struct pv_state *state, uint32_t vm)
{
	struct pv_vm_view view;

	return pv_state_vm(state, vm, &view) ? view.file : 0;
}

/* Of an event that fits the state before it. */
static uint32_t file_of(const struct record *record, const struct pv_state *before, const Pv__Event *event)
{
	switch (event->body_case) {
	case PV__EVENT__BODY_FILE_DISPATCHED:
		return event->file_dispatched->id;
	case PV__EVENT__BODY_FILE_COMPLETED:
		return event->file_completed->id;
	case PV__EVENT__BODY_LAB_CREATED:
		return event->lab_created->parent != 0 ? file_of_lab(before, event->lab_created->parent) : event->file;
	case PV__EVENT__BODY_LAB_CLOSED:
		return file_of_lab(before, event->lab_closed->id);
	case PV__EVENT__BODY_VM_DECLARED:
		return file_of_lab(before, event->vm_declared->lab);
	case PV__EVENT__BODY_BRIDGE_DECLARED:
		return file_of_lab(before, event->bridge_declared->lab);
	case PV__EVENT__BODY_MEMBERS_INCLUDED:
		return file_of_lab(before, event->members_included->lab);
	case PV__EVENT__BODY_MEMBER_REMOVED:
		return file_of_lab(before, event->member_removed->lab);
	case PV__EVENT__BODY_BARRIER_ARRIVED:
		return file_of_lab(before, event->barrier_arrived->lab);
	case PV__EVENT__BODY_BARRIER_OPENED:
		return file_of_lab(before, event->barrier_opened->lab);
	case PV__EVENT__BODY_BARRIER_WITHDRAWN:
		return file_of_lab(before, event->barrier_withdrawn->lab);
	case PV__EVENT__BODY_CALL_STARTED:
		return file_of_vm(before, event->call_started->vm);
	case PV__EVENT__BODY_CALL_ENDED:
		return record->file_of_call[event->call_ended->id];
	case PV__EVENT__BODY_VM_CHANGED:
		return file_of_vm(before, event->vm_changed->vm);
	case PV__EVENT__BODY_TASK_ENDED:
		return record->file_of_task[event->task_ended->id];
	default:
		return event->file;
	}
}

/* Keeps the event, which is then the record's. */
static void keep(struct record *record, const struct pv_state *before, Pv__Event *event)
{
	uint32_t file = file_of(record, before, event);

	if (event->body_case == PV__EVENT__BODY_CALL_STARTED)
		record->file_of_call[event->call_started->id] = file;
	else if (event->body_case == PV__EVENT__BODY_TASK_STARTED)
		record->file_of_task[event->task_started->id] = file;
	record->events = pv_xrealloc(record->events, (record->n + 1) * sizeof(*record->events));
	record->events[record->n++] = (struct recorded){ event, file };
}

static void apply(struct pv_state *state, const Pv__Event *event)
{
	struct pv_errmsg msg = { 0 };

	if (pv_state_apply(state, event, &msg) != PV_OK)
		fail_msg("body %d does not fold: %s", (int)event->body_case, msg.text);
}

/* A state with a random past of several files, and the events of that. Without barriers at which tasks of different files could be: there
 * are none, as a barrier is a lab's. */
static struct pv_state *make_past(struct record *record, uint64_t *seed)
{
	struct pv_state *state = pv_state_create();
	struct pv_errmsg msg;

	for (int i = 0; i < STEPS; i++) {
		Pv__Event *proposal = i == 0           ? ev_run_started("random")
		                      : i <= FILES     ? ev_file_discovered("f.lua")
		                      : i <= 2 * FILES ? ev_file_dispatched((uint32_t)(i - FILES))
		                                       : random_proposal(state, seed);

		/* Most calls stay open. */
		if (proposal->body_case == PV__EVENT__BODY_CALL_ENDED && below(seed, 8) != 0) {
			pv__event__free_unpacked(proposal, NULL);
			continue;
		}
		if (proposal->body_case == PV__EVENT__BODY_RUN_ENDED ||
		    proposal->body_case == PV__EVENT__BODY_FILE_DISCOVERED)
			if (i > 2 * FILES) {
				pv__event__free_unpacked(proposal, NULL);
				continue;
			}
		if (pv_decide(state, proposal, &msg) != PV_OK) {
			pv__event__free_unpacked(proposal, NULL);
			continue;
		}
		keep(record, state, proposal);
		apply(state, proposal);
	}
	return state;
}

/* The next event of `file` from *at on, or NULL. */
static const Pv__Event *next_of(const struct record *record, uint32_t file, size_t *at)
{
	while (*at < record->n) {
		const struct recorded *recorded = &record->events[(*at)++];

		if (recorded->file == file)
			return recorded->event;
	}
	return NULL;
}

static void free_record(struct record *record)
{
	for (size_t i = 0; i < record->n; i++)
		pv__event__free_unpacked(record->events[i].event, NULL);
	free(record->events);
	free(record);
}

static Pv__LabState *stored(const struct pv_state *state)
{
	struct pv_buf bytes = bytes_of(state);
	Pv__LabState *message = pv__lab_state__unpack(NULL, bytes.len, bytes.data);

	assert_non_null(message);
	pv_buf_free(&bytes);
	return message;
}

/* The test is worth little if nothing is open at the end. */
static void expect_a_rich_past(const struct pv_state *state)
{
	Pv__LabState *message = stored(state);

	assert_true(message->n_calls > 3 && message->n_tasks > 3 && message->n_vms > 3);
	pv__lab_state__free_unpacked(message, NULL);
}

static size_t calls_of(const struct pv_state *state, uint32_t file)
{
	Pv__LabState *message = stored(state);
	size_t n = 0;

	for (size_t i = 0; i < message->n_calls; i++)
		n += message->calls[i]->file == file;
	pv__lab_state__free_unpacked(message, NULL);
	return n;
}

/* Each file keeps its order, they are interleaved at random: the state is the same, byte for byte. */
static void test_any_order__gives_the_same_state(void **ctx)
{
	uint64_t seed = test_seed(31);

	(void)ctx;
	for (int round = 0; round < 5; round++) {
		struct record *record = PV_NEW(struct record);
		struct pv_state *end = make_past(record, &seed), *state = pv_state_create();
		size_t at[FILES + 1] = { 0 };
		bool open[FILES + 1];
		const Pv__Event *event;
		uint32_t left = FILES;
		struct pv_buf a, b;

		pv_state_begin_any_order(state, end);
		while ((event = next_of(record, 0, &at[0])) != NULL)
			apply(state, event);
		memset(open, 1, sizeof(open));
		while (left > 0) {
			uint32_t file = 1 + (uint32_t)below(&seed, FILES);

			if (!open[file])
				continue;
			event = next_of(record, file, &at[file]);
			if (event != NULL)
				apply(state, event);
			else
				left -= open[file];
			open[file] = event != NULL;
		}
		pv_state_end_any_order(state);
		pv_state_check(state);
		expect_a_rich_past(end);
		a = bytes_of(end);
		b = bytes_of(state);
		assert_same_bytes(&a, &b);
		pv_buf_free(&a);
		pv_buf_free(&b);
		pv_state_destroy(state);
		pv_state_destroy(end);
		free_record(record);
	}
}

/* ---- a file begins anew ---- */

static Pv__Event *restarted(uint32_t file)
{
	Pv__Event *event = PV_NEW(Pv__Event);
	Pv__FileRestarted *body = PV_NEW(Pv__FileRestarted);

	pv__event__init(event);
	pv__file_restarted__init(body);
	event->has_file = body->has_id = 1;
	event->file = body->id = file;
	event->body_case = PV__EVENT__BODY_FILE_RESTARTED;
	event->file_restarted = body;
	return event;
}

static Pv__Event *resumed(void)
{
	Pv__Event *event = PV_NEW(Pv__Event);
	Pv__RunResumed *body = PV_NEW(Pv__RunResumed);

	pv__event__init(event);
	pv__run_resumed__init(body);
	event->body_case = PV__EVENT__BODY_RUN_RESUMED;
	event->run_resumed = body;
	return event;
}

/* Whatever it was in the midst of: nothing of it is left, the others have what they had. */
static void test_restart__leaves_nothing(void **ctx)
{
	uint64_t seed = test_seed(32);

	(void)ctx;
	for (int round = 0; round < 5; round++) {
		struct record *record = PV_NEW(struct record);
		struct pv_state *state = make_past(record, &seed);
		uint32_t file = 1 + (uint32_t)below(&seed, FILES);
		Pv__Event *event = restarted(file);
		struct pv_file_view view, other_before, other_after;
		struct pv_errmsg msg;
		uint32_t other = file % FILES + 1, vms = 0;
		size_t other_calls = calls_of(state, other);

		assert_true(pv_state_file(state, other, &other_before));
		for (uint32_t vm = 0; (vm = pv_state_next_vm(state, other, vm)) != 0;)
			vms++;
		assert_int_equal(pv_decide(state, event, &msg), PV_OK);
		apply(state, event);
		pv_state_check(state);
		assert_true(pv_state_file(state, file, &view));
		assert_int_equal(view.root_lab, 0);
		assert_int_equal(view.test, 0);
		assert_int_equal(view.verdict, PV__VERDICT__VERDICT_UNSPECIFIED);
		assert_int_equal(view.passed + view.failed + view.skipped + view.flaky, 0);
		assert_false(view.has_claim);
		assert_int_equal(pv_state_next_vm(state, file, 0), 0);
		assert_int_equal(calls_of(state, file), 0);
		assert_int_equal(calls_of(state, other), other_calls);
		assert_true(pv_state_file(state, other, &other_after));
		assert_int_equal(other_after.root_lab, other_before.root_lab);
		assert_int_equal(other_after.passed, other_before.passed);
		for (uint32_t vm = 0; (vm = pv_state_next_vm(state, other, vm)) != 0;)
			vms--;
		assert_int_equal(vms, 0);
		/* It may be dispatched as if it had never been. */
		pv__event__free_unpacked(event, NULL);
		event = ev_file_dispatched(file);
		assert_int_equal(pv_decide(state, event, &msg), PV_OK);
		pv__event__free_unpacked(event, NULL);
		pv_state_destroy(state);
		free_record(record);
	}
}

static void test_restart__of_a_file_that_has_not_begun(void **ctx)
{
	struct pv_state *state = pv_state_create();
	Pv__Event *event = restarted(1);
	struct pv_errmsg msg = { 0 };

	(void)ctx;
	accept(state, ev_run_started("r"));
	assert_int_equal(pv_decide(state, event, &msg), PV_ERR_NOENT);
	accept(state, ev_file_discovered("f.lua"));
	assert_int_equal(pv_decide(state, event, &msg), PV_ERR_STATE);
	pv__event__free_unpacked(event, NULL);
	pv_state_destroy(state);
}

/* ---- a run goes on behind its end ---- */

static void test_resumed__opens_a_run_that_has_ended(void **ctx)
{
	struct pv_state *state = pv_state_create();
	Pv__Event *late = ev_file_discovered("f.lua");
	struct pv_errmsg msg = { 0 };

	(void)ctx;
	accept(state, ev_run_started("r"));
	accept(state, ev_run_ended(PV__VERDICT__VERDICT_INTERRUPTED));
	assert_int_equal(pv_decide(state, late, &msg), PV_ERR_STATE);
	accept(state, resumed());
	assert_int_equal(pv_decide(state, late, &msg), PV_OK);
	pv__event__free_unpacked(late, NULL);
	pv_state_destroy(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_any_order__gives_the_same_state),
		cmocka_unit_test(test_restart__leaves_nothing),
		cmocka_unit_test(test_restart__of_a_file_that_has_not_begun),
		cmocka_unit_test(test_resumed__opens_a_run_that_has_ended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
