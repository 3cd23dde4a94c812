/* Tables that do not say what the events say, though every checksum is right: only making them again finds that. */
#include <stdlib.h>
#include <string.h>

#include "engine/replay/audit.h"
#include "engine/replay/fold.h"
#include "fixture.h"
#include "journal/tables.h"
#include "sample.h"

#define ORIGIN "provium/20250131-142233-7f3a"

static struct pv_errmsg msg;
static struct pv_audit audit;

static void fails(const struct place *place, enum pv_audit_check check, const char *words)
{
	const struct pv_audit_request request = { .dir = place->run };

	assert_false(pv_audit_run(&request, &audit));
	for (int i = 0; i < PV_AUDIT_CHECKS; i++)
		if ((audit.lines[i].outcome == PV_AUDIT_FAILED) != (i == (int)check))
			fail_msg("check %s: %s", pv_audit_name((enum pv_audit_check)i), audit.lines[i].text);
	if (strstr(audit.lines[check].text, words) == NULL)
		fail_msg("\"%s\" says nothing of \"%s\"", audit.lines[check].text, words);
}

/* The sample and one more event, of file 1, with this entry in the index, and a state behind it if there is one. */
static void write_with(const struct place *place, const struct pv_journal_index *entry, const struct pv_state *stored)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__Notice notice = PV__NOTICE__INIT;
	struct pv_buf bytes = { .data = NULL };
	struct pv_journal *journal;

	write_sample(place->run, &(struct sample){ .seed = 7, .events = 20 });
	OK(pv_journal_open_append(place->run, PV_DURABILITY_BATCH, &journal, &msg));
	OK(pv_journal_checkpoints_start(journal, ORIGIN, NULL, &msg));
	notice.text = (char *)"more";
	event.has_file = 1;
	event.file = 1;
	event.body_case = PV__EVENT__BODY_NOTICE;
	event.notice = &notice;
	OK(pv_journal_append_indexed(journal, &event, entry, NULL, &msg));
	if (stored != NULL) {
		pv_state_serialise(stored, &bytes);
		OK(pv_journal_put_fold(journal, pv_buf_str(&bytes), bytes.len, &msg));
		pv_buf_free(&bytes);
	}
	OK(pv_journal_checkpoint(journal, &msg));
	pv_journal_close(journal);
}

static const uint32_t file_1 = (uint32_t)PV_STREAM_FILE << 28 | 1, vm_1 = (uint32_t)PV_STREAM_VM << 28 | 1,
                      vm_9 = (uint32_t)PV_STREAM_VM << 28 | 9;

static void test_index__right(void **state)
{
	const struct pv_audit_request request = { .dir = ((struct place *)*state)->run };

	write_with(*state, &(struct pv_journal_index){ .streams = &file_1, .n_streams = 1 }, NULL);
	if (!pv_audit_run(&request, &audit))
		fail_msg("%s", audit.lines[PV_AUDIT_INDEX].text);
	assert_int_equal(audit.lines[PV_AUDIT_INDEX].outcome, PV_AUDIT_PASSED);
}

static void test_index__event_missing_in_a_stream(void **state)
{
	write_with(*state, &(struct pv_journal_index){ .n_streams = 0 }, NULL);
	fails(*state, PV_AUDIT_INDEX, "events of file 1");
	assert_int_equal(audit.lines[PV_AUDIT_INDEX].seq, audit.chain.records);
}

static void test_index__event_too_many_in_a_stream(void **state)
{
	const uint32_t streams[] = { file_1, vm_1 };

	write_with(*state, &(struct pv_journal_index){ .streams = streams, .n_streams = 2 }, NULL);
	fails(*state, PV_AUDIT_INDEX, "events of VM 1");
}

static void test_index__stream_of_nothing(void **state)
{
	const uint32_t streams[] = { file_1, vm_9 };

	write_with(*state, &(struct pv_journal_index){ .streams = streams, .n_streams = 2 }, NULL);
	fails(*state, PV_AUDIT_INDEX, "events of VM 9");
}

static void test_index__call_of_nothing(void **state)
{
	write_with(*state,
	           &(struct pv_journal_index){ .streams = &file_1, .n_streams = 1, .call = 3, .is_outcome = true },
	           NULL);
	fails(*state, PV_AUDIT_INDEX, "call 3");
}

static void test_states__another(void **state)
{
	struct pv_state *empty = pv_state_create();

	write_with(*state, &(struct pv_journal_index){ .streams = &file_1, .n_streams = 1 }, empty);
	fails(*state, PV_AUDIT_STATES, "not the one that the events give");
	assert_int_equal(audit.lines[PV_AUDIT_STATES].seq, audit.chain.records);
	pv_state_destroy(empty);
}

/* The state at every event is the same, whether the walk begins with a stored one or with the first event. */
static bool go_on(void *arg, uint64_t seq, const Pv__Event *event, const struct pv_state *before)
{
	(void)arg;
	(void)seq;
	(void)event;
	(void)before;
	return true;
}

static void test_states__fold_from_the_nearest(void **state)
{
	const struct place *place = *state;
	struct pv_journal *journal;
	uint64_t at, stored_at;
	void *stored;
	size_t len;

	write_sample(place->run, &(struct sample){ .seed = 7 });
	OK(pv_journal_open_read(place->run, &journal, &msg));
	OK(pv_journal_fold_before(journal, UINT64_MAX, &stored_at, &stored, &len, &msg));
	assert_true(stored_at >= 16);
	free(stored);
	for (uint64_t seq = 1; seq <= pv_journal_last_seq(journal); seq++) {
		struct pv_state *slow = pv_state_create(), *fast = pv_state_create();
		uint8_t a[32], b[32];

		OK(pv_fold_walk(journal, seq, slow, go_on, NULL, &at, &msg));
		assert_int_equal(at, seq);
		OK(pv_fold_walk(journal, seq, fast, NULL, NULL, &at, &msg));
		assert_int_equal(at, seq);
		pv_fold_hash(slow, a);
		pv_fold_hash(fast, b);
		assert_memory_equal(a, b, sizeof(a));
		pv_state_check(fast);
		pv_state_destroy(slow);
		pv_state_destroy(fast);
	}
	pv_journal_close(journal);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_index__right),
		CASE(test_index__event_missing_in_a_stream),
		CASE(test_index__event_too_many_in_a_stream),
		CASE(test_index__stream_of_nothing),
		CASE(test_index__call_of_nothing),
		CASE(test_states__another),
		CASE(test_states__fold_from_the_nearest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
