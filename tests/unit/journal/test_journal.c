/* Appending, committing, reading. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fixture.h"

static struct pv_errmsg msg;

static struct pv_journal *create(const struct place *place, enum pv_durability durability)
{
	struct pv_journal *journal;

	OK(pv_journal_create(place->run, durability, &journal, &msg));
	return journal;
}

static void test_append__numbers_from_one_without_gaps(void **state)
{
	struct pv_journal *journal = create(*state, PV_DURABILITY_BATCH);
	uint64_t seq = 99;

	assert_int_equal(pv_journal_last_seq(journal), 0);
	OK(pv_journal_append_bytes(journal, "", 0, &seq, &msg));
	assert_int_equal(seq, 1);
	OK(pv_journal_append_bytes(journal, "", 0, &seq, &msg));
	assert_int_equal(seq, 2);
	OK(pv_journal_append_bytes(journal, "", 0, NULL, &msg));
	assert_int_equal(pv_journal_last_seq(journal), 3);
	assert_int_equal(pv_journal_committed_seq(journal), 0);
	OK(pv_journal_commit(journal, &msg));
	assert_int_equal(pv_journal_committed_seq(journal), 3);
	pv_journal_close(journal);
}

static void append_reopen_append(const struct place *place, enum pv_durability durability)
{
	struct pv_journal *journal = create(place, durability);

	append_up_to(journal, 150);
	OK(pv_journal_commit(journal, &msg));
	OK(pv_journal_sync(journal, &msg));
	append_up_to(journal, 151);
	OK(pv_journal_commit(journal, &msg));
	pv_journal_close(journal);
	assert_int_equal(check_dir(place->run, 151), 151);

	OK(pv_journal_open_append(place->run, durability, &journal, &msg));
	assert_int_equal(pv_journal_last_seq(journal), 151);
	assert_false(pv_journal_was_rolled_back(journal));
	for (uint64_t last = 152; last < 200; last++) {
		append_up_to(journal, last);
		OK(pv_journal_commit(journal, &msg));
		if (last % 16 == 0)
			OK(pv_journal_sync(journal, &msg));
	}
	pv_journal_close(journal);
	assert_int_equal(check_dir(place->run, 199), 199);
}

static void test_append__goes_on_after_reopening_batch(void **state)
{
	append_reopen_append(*state, PV_DURABILITY_BATCH);
}

static void test_append__goes_on_after_reopening_sync(void **state)
{
	append_reopen_append(*state, PV_DURABILITY_SYNC);
}

static void test_append__goes_on_after_reopening_none(void **state)
{
	append_reopen_append(*state, PV_DURABILITY_NONE);
}

static void test_append__is_dropped_without_commit(void **state)
{
	const struct place *place = *state;
	struct pv_journal *journal = create(place, PV_DURABILITY_BATCH);

	append_up_to(journal, 10);
	OK(pv_journal_commit(journal, &msg));
	append_up_to(journal, 20);
	pv_journal_close(journal);
	assert_int_equal(check_dir(place->run, 10), 10);
	/* and the chain goes on from event 10, not from the dropped ones */
	OK(pv_journal_open_append(place->run, PV_DURABILITY_BATCH, &journal, &msg));
	append_up_to(journal, 30);
	OK(pv_journal_commit(journal, &msg));
	pv_journal_close(journal);
	assert_int_equal(check_dir(place->run, 30), 30);
}

static void test_append__refuses_a_too_large_event_and_stays_usable(void **state)
{
	const struct place *place = *state;
	struct pv_journal *journal = create(place, PV_DURABILITY_BATCH);
	size_t len = (16u << 20) + 1;
	char *large = calloc(1, len);

	append_up_to(journal, 3);
	assert_int_equal(pv_journal_append_bytes(journal, large, len, NULL, &msg), PV_ERR_INVAL);
	assert_non_null(strstr(msg.text, "blob"));
	OK(pv_journal_append_bytes(journal, large, len - 1, NULL, &msg));
	OK(pv_journal_append_bytes(journal, "x", 1, NULL, &msg));
	OK(pv_journal_commit(journal, &msg));
	assert_int_equal(pv_journal_committed_seq(journal), 5);
	pv_journal_close(journal);
	free(large);
}

static void test_append__is_refused_by_a_reader(void **state)
{
	const struct place *place = *state;
	struct pv_journal *journal;

	make_journal(place->run, 2);
	OK(pv_journal_open_read(place->run, &journal, &msg));
	assert_int_equal(pv_journal_append_bytes(journal, "", 0, NULL, &msg), PV_ERR_STATE);
	assert_int_equal(pv_journal_commit(journal, &msg), PV_ERR_STATE);
	assert_int_equal(pv_journal_last_seq(journal), 2);
	pv_journal_close(journal);
}

static void test_commit__of_nothing_does_nothing(void **state)
{
	struct pv_journal *journal = create(*state, PV_DURABILITY_SYNC);

	OK(pv_journal_commit(journal, &msg));
	OK(pv_journal_commit(journal, &msg));
	OK(pv_journal_sync(journal, &msg));
	assert_int_equal(pv_journal_committed_seq(journal), 0);
	pv_journal_close(journal);
}

static void test_verify__of_an_empty_journal(void **state)
{
	static const uint8_t zeros[PV_SHA256_BYTES];
	const struct place *place = *state;
	struct pv_journal_verdict verdict, other;
	struct pv_journal *journal;
	char second[96];

	make_journal(place->run, 0);
	OK(pv_journal_verify_dir(place->run, &verdict, &msg));
	assert_int_equal(verdict.records, 0);
	assert_int_equal(verdict.bad_seq, 0);
	assert_memory_not_equal(verdict.head, zeros, PV_SHA256_BYTES);
	OK(pv_journal_open_read(place->run, &journal, &msg));
	assert_int_equal(pv_journal_last_seq(journal), 0);
	assert_int_equal(check_events(journal), 0);
	pv_journal_close(journal);
	/* two journals have nothing in common, not even empty */
	snprintf(second, sizeof(second), "%s-2", place->run);
	make_journal(second, 0);
	OK(pv_journal_verify_dir(second, &other, &msg));
	assert_memory_not_equal(verdict.head, other.head, PV_SHA256_BYTES);
}

static void test_cursor__starts_where_told_and_sees_its_view(void **state)
{
	struct pv_journal *journal = create(*state, PV_DURABILITY_BATCH);
	struct pv_journal_cursor *cursor;
	struct pv_record record;

	append_up_to(journal, 10);
	OK(pv_journal_commit(journal, &msg));
	OK(pv_journal_cursor_open(journal, 9, &cursor, &msg));
	append_up_to(journal, 300);
	OK(pv_journal_commit(journal, &msg));
	append_up_to(journal, 301); /* not committed: never seen */
	for (uint64_t seq = 9; seq <= 10; seq++) {
		OK(pv_journal_cursor_next(cursor, &record, &msg));
		assert_int_equal(record.seq, seq);
	}
	for (int i = 0; i < 2; i++) { /* the end stays the end */
		OK(pv_journal_cursor_next(cursor, &record, &msg));
		assert_int_equal(record.seq, 0);
	}
	OK(pv_journal_cursor_renew(cursor, &msg));
	for (uint64_t seq = 11; seq <= 300; seq++) {
		OK(pv_journal_cursor_next(cursor, &record, &msg));
		assert_int_equal(record.seq, seq);
	}
	OK(pv_journal_cursor_next(cursor, &record, &msg));
	assert_int_equal(record.seq, 0);
	pv_journal_cursor_close(cursor);
	pv_journal_close(journal);
}

static void test_cursor__before_the_first_is_refused_and_beyond_the_end_waits(void **state)
{
	struct pv_journal *journal = create(*state, PV_DURABILITY_BATCH);
	struct pv_journal_cursor *cursor;
	struct pv_record record;

	assert_int_equal(pv_journal_cursor_open(journal, 0, &cursor, &msg), PV_ERR_INVAL);
	assert_null(cursor);
	OK(pv_journal_cursor_open(journal, 5, &cursor, &msg));
	append_up_to(journal, 4);
	OK(pv_journal_commit(journal, &msg));
	OK(pv_journal_cursor_renew(cursor, &msg));
	OK(pv_journal_cursor_next(cursor, &record, &msg));
	assert_int_equal(record.seq, 0);
	append_up_to(journal, 5);
	OK(pv_journal_commit(journal, &msg));
	OK(pv_journal_cursor_renew(cursor, &msg));
	OK(pv_journal_cursor_next(cursor, &record, &msg));
	assert_int_equal(record.seq, 5);
	pv_journal_cursor_close(cursor);
	pv_journal_close(journal);
}

/* A view that stays open while thousands of commits free and reuse pages must not change under the reader. In memory,
 * LMDB gives no such promise by itself (see cursor.c). */
static void hold_a_view(struct pv_journal *journal)
{
	struct pv_journal_cursor *cursor;
	struct pv_record record;
	Pv__Event *event;

	append_up_to(journal, 600);
	OK(pv_journal_commit(journal, &msg));
	OK(pv_journal_cursor_open(journal, 600, &cursor, &msg));
	OK(pv_journal_cursor_next(cursor, &record, &msg));
	for (uint64_t last = 601; last <= 2000; last++) {
		append_up_to(journal, last);
		OK(pv_journal_commit(journal, &msg));
	}
	event = pv_record_decode(&record); /* valid until the next call on the cursor */
	assert_non_null(event);
	assert_int_equal(event->mono_ns, 600000);
	assert_memory_equal(event->notice->text, "event 600 ", 10);
	pv__event__free_unpacked(event, NULL);
	OK(pv_journal_cursor_next(cursor, &record, &msg));
	assert_int_equal(record.seq, 0);
	pv_journal_cursor_close(cursor);
	/* in the middle of a view, while the way down to its records is overwritten */
	OK(pv_journal_cursor_open(journal, 1, &cursor, &msg));
	for (uint64_t seq = 1; seq <= 2000; seq++) {
		OK(pv_journal_cursor_next(cursor, &record, &msg));
		assert_int_equal(record.seq, seq);
		event = pv_record_decode(&record);
		assert_non_null(event);
		assert_int_equal(event->mono_ns, seq * 1000);
		pv__event__free_unpacked(event, NULL);
		append_up_to(journal, pv_journal_last_seq(journal) + 1);
		OK(pv_journal_commit(journal, &msg));
	}
	OK(pv_journal_cursor_next(cursor, &record, &msg));
	assert_int_equal(record.seq, 0);
	pv_journal_cursor_close(cursor);
	assert_int_equal(check_events(journal), 4000);
	pv_journal_close(journal);
}

static void test_cursor__view_is_steady_on_disk(void **state)
{
	hold_a_view(create(*state, PV_DURABILITY_BATCH));
}

static void test_cursor__view_is_steady_in_memory(void **state)
{
	struct pv_journal *journal;

	(void)state;
	OK(pv_journal_create_memory(&journal, &msg));
	assert_null(pv_journal_dir(journal));
	hold_a_view(journal);
}

static void test_memory__two_at_once_are_apart(void **state)
{
	struct pv_journal *one, *two;
	struct pv_journal_verdict verdict;

	(void)state;
	OK(pv_journal_create_memory(&one, &msg));
	OK(pv_journal_create_memory(&two, &msg));
	append_up_to(one, 40);
	OK(pv_journal_commit(one, &msg));
	OK(pv_journal_sync(one, &msg));
	assert_int_equal(check_events(one), 40);
	assert_int_equal(check_events(two), 0);
	OK(pv_journal_verify(one, &verdict, &msg));
	assert_int_equal(verdict.records, 40);
	pv_journal_close(one);
	pv_journal_close(two);
}

/* A second process follows along while this one writes; each tells the other where it is over a pipe. */
static void follow(const char *dir, int from_writer, int to_writer)
{
	struct pv_journal_cursor *cursor;
	struct pv_journal *journal;
	struct pv_record record;
	uint64_t committed, seen = 0;

	if (pv_journal_open_read(dir, &journal, &msg) != PV_OK ||
	    pv_journal_cursor_open(journal, 1, &cursor, &msg) != PV_OK)
		_exit(1);
	while (read(from_writer, &committed, sizeof(committed)) == sizeof(committed)) {
		if (pv_journal_last_seq(journal) != committed || pv_journal_cursor_renew(cursor, &msg) != PV_OK)
			_exit(2);
		while (pv_journal_cursor_next(cursor, &record, &msg) == PV_OK && record.seq != 0)
			if (record.seq != ++seen)
				_exit(3);
		if (seen != committed)
			_exit(4);
		if (write(to_writer, &seen, sizeof(seen)) != sizeof(seen))
			_exit(5);
	}
	pv_journal_cursor_close(cursor);
	pv_journal_close(journal);
	_exit(0);
}

static void test_read__by_another_process_while_it_is_written(void **state)
{
	const struct place *place = *state;
	int down[2], up[2], status;
	struct pv_journal *journal;
	uint64_t seen;
	pid_t pid;

	make_journal(place->run, 5);
	assert_int_equal(pipe(down), 0);
	assert_int_equal(pipe(up), 0);
	pid = fork();
	if (pid == 0) {
		close(down[1]);
		follow(place->run, down[0], up[1]);
	}
	close(up[1]);
	OK(pv_journal_open_append(place->run, PV_DURABILITY_BATCH, &journal, &msg));
	for (uint64_t last = 6; last < 500; last += 7) {
		append_up_to(journal, last);
		OK(pv_journal_commit(journal, &msg));
		append_up_to(journal, last + 1); /* must not be seen by the other yet */
		assert_int_equal(write(down[1], &last, sizeof(last)), sizeof(last));
		assert_int_equal(read(up[0], &seen, sizeof(seen)), sizeof(seen));
		assert_int_equal(seen, last);
	}
	close(down[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	close(down[0]);
	close(up[0]);
	pv_journal_close(journal);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_append__numbers_from_one_without_gaps),
		CASE(test_append__goes_on_after_reopening_batch),
		CASE(test_append__goes_on_after_reopening_sync),
		CASE(test_append__goes_on_after_reopening_none),
		CASE(test_append__is_dropped_without_commit),
		CASE(test_append__refuses_a_too_large_event_and_stays_usable),
		CASE(test_append__is_refused_by_a_reader),
		CASE(test_commit__of_nothing_does_nothing),
		CASE(test_verify__of_an_empty_journal),
		CASE(test_cursor__starts_where_told_and_sees_its_view),
		CASE(test_cursor__before_the_first_is_refused_and_beyond_the_end_waits),
		CASE(test_cursor__view_is_steady_on_disk),
		CASE(test_cursor__view_is_steady_in_memory),
		CASE(test_memory__two_at_once_are_apart),
		CASE(test_read__by_another_process_while_it_is_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
