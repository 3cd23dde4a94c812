/* Every allocation of the journal fails in turn, N = 0, 1, ... until a whole life of a journal goes through. After each
 * failure: an error and no crash, nothing leaked (under the sanitizer), and everything that was committed is there. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fixture.h"
#include "journal/checkpoint.h"
#include "journal/tables.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *ptr, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *ptr, size_t size);

static int countdown = -1; /* allocations until one fails; negative: none does */

static bool fails_now(void)
{
	return countdown >= 0 && countdown-- == 0;
}

void *__wrap_malloc(size_t size)
{
	return fails_now() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return fails_now() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *ptr, size_t size)
{
	return fails_now() ? NULL : __real_realloc(ptr, size);
}

static struct pv_errmsg msg;
static uint64_t committed; /* in the run on disk */
static bool created;

/* Each step gives an error or PV_OK, and tidies up behind itself. */
static enum pv_err write_run(struct pv_journal *journal)
{
	uint8_t sha256[PV_SHA256_BYTES];
	const uint32_t stream = pv_stream_id(PV_STREAM_FILE, 1);
	const struct pv_journal_index entry = { .streams = &stream, .n_streams = 1, .call = 1 };
	struct test_event event;
	enum pv_err err;

	make_event(&event, pv_journal_last_seq(journal) + 1);
	err = pv_journal_checkpoints_start(journal, "provium/x", NULL, &msg);
	if (err == PV_OK)
		err = pv_journal_append_indexed(journal, &event.event, &entry, NULL, &msg);
	if (err == PV_OK)
		err = pv_journal_put_fold(journal, "state", 5, &msg);
	if (err == PV_OK)
		err = pv_journal_blob_put(journal, "payload", 7, sha256, &msg);
	if (err == PV_OK)
		err = pv_journal_commit(journal, &msg);
	if (err == PV_OK)
		err = pv_journal_sync(journal, &msg);
	if (err == PV_OK)
		err = pv_journal_checkpoint(journal, &msg);
	return err;
}

static enum pv_err read_run(struct pv_journal *journal)
{
	struct pv_journal_verdict verdict;
	struct pv_journal_cursor *cursor;
	uint8_t sha256[PV_SHA256_BYTES] = { 0x23, 0x9f, 0x59, 0xed, 0x55, 0xe7, 0x37, 0xc7, 0x71, 0x47, 0xcf,
		                            0x55, 0xad, 0x0c, 0x1b, 0x03, 0x0b, 0x6d, 0x7e, 0xe7, 0x48, 0xa7,
		                            0x42, 0x69, 0x52, 0xf9, 0xb8, 0x52, 0xd5, 0xa9, 0x35, 0xe5 };
	struct pv_record record = { 0 };
	enum pv_err err;
	void *data;
	size_t len;

	err = pv_journal_verify(journal, &verdict, &msg);
	if (err != PV_OK)
		return err;
	err = pv_journal_cursor_open(journal, 1, &cursor, &msg);
	if (err != PV_OK)
		return err;
	err = pv_journal_cursor_next(cursor, &record, &msg);
	pv_journal_cursor_close(cursor);
	if (err == PV_OK)
		err = pv_journal_blob_get(journal, sha256, &data, &len, &msg);
	if (err == PV_OK)
		free(data);
	return err;
}

static enum pv_err life_on_disk(const char *dir)
{
	struct pv_journal *journal;
	enum pv_err err;

	if (access(dir, F_OK) != 0)
		err = pv_journal_create(dir, PV_DURABILITY_BATCH, &journal, &msg);
	else
		err = pv_journal_open_append(dir, PV_DURABILITY_BATCH, &journal, &msg);
	if (err != PV_OK)
		return err;
	created = true;
	err = write_run(journal);
	committed = pv_journal_committed_seq(journal);
	pv_journal_close(journal);
	if (err != PV_OK)
		return err;
	err = pv_journal_open_read(dir, &journal, &msg);
	if (err != PV_OK)
		return err;
	err = read_run(journal);
	pv_journal_close(journal);
	return err;
}

static void test_nomem__on_disk(void **state)
{
	const struct place *place = *state;
	int failures = 0;
	enum pv_err err;
	bool fired = true;

	for (int n = 0; fired; n++) {
		assert_true(n < 1000);
		countdown = n;
		err = life_on_disk(place->run);
		fired = countdown < 0;
		countdown = -1;
		if (err == PV_OK) /* the index does without */
			continue;
		assert_int_equal(err, PV_ERR_IO);
		assert_non_null(strstr(msg.text, "out of memory"));
		failures++;
		if (created)
			assert_int_equal(check_dir(place->run, committed), committed);
		else
			assert_int_not_equal(access(place->run, F_OK), 0);
	}
	print_message("%d allocations failed in turn, %llu events\n", failures, (unsigned long long)committed);
	assert_true(failures >= 8);
	assert_int_equal(check_dir(place->run, committed), committed);
}

static enum pv_err life_in_memory(void)
{
	struct pv_journal *journal;
	enum pv_err err = pv_journal_create_memory(&journal, &msg);

	if (err != PV_OK)
		return err;
	err = write_run(journal);
	if (err == PV_OK)
		err = read_run(journal);
	pv_journal_close(journal);
	return err;
}

static void test_nomem__in_memory(void **state)
{
	int failures = 0;
	enum pv_err err;
	bool fired = true;

	(void)state;
	for (int n = 0; fired; n++) {
		assert_true(n < 1000);
		countdown = n;
		err = life_in_memory();
		fired = countdown < 0;
		countdown = -1;
		if (err != PV_OK) {
			assert_int_equal(err, PV_ERR_IO);
			assert_non_null(strstr(msg.text, "out of memory"));
			failures++;
		}
	}
	print_message("%d allocations failed in turn\n", failures);
	assert_true(failures >= 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_nomem__on_disk, place_setup, place_teardown),
		cmocka_unit_test(test_nomem__in_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
