/* Files that are not what they should be: each is told apart, in words that help. */
#include <fcntl.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fixture.h"
#include "journal/journal_internal.h"
#include "proto/crc32c.h"

static struct pv_errmsg msg;

static const char *file_of(const struct place *place)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/journal.mdb", place->run);
	return path;
}

/* Opens for reading and appending and verifies: all three must give `wanted` and say `words`. */
static void refused(const struct place *place, enum pv_err wanted, const char *words)
{
	struct pv_journal_verdict verdict;
	struct pv_journal *journal;

	assert_int_equal(pv_journal_open_read(place->run, &journal, &msg), wanted);
	assert_null(journal);
	assert_non_null(strstr(msg.text, words));
	assert_int_equal(pv_journal_open_append(place->run, PV_DURABILITY_BATCH, &journal, &msg), wanted);
	assert_null(journal);
	assert_non_null(strstr(msg.text, words));
	assert_int_equal(pv_journal_verify_dir(place->run, &verdict, &msg), wanted);
	assert_non_null(strstr(msg.text, words));
}

static void put_file(const struct place *place, const void *bytes, size_t len)
{
	int fd;

	mkdir(place->run, 0700);
	fd = open(file_of(place), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), (ssize_t)len);
	close(fd);
}

static void test_foreign__text(void **state)
{
	char text[10000];

	memset(text, 'x', sizeof(text));
	put_file(*state, text, sizeof(text));
	refused(*state, PV_ERR_FOREIGN, "not a journal of provium");
	put_file(*state, "short", 5);
	refused(*state, PV_ERR_FOREIGN, "not a journal of provium");
}

static void test_foreign__empty_file(void **state)
{
	put_file(*state, "", 0);
	refused(*state, PV_ERR_CORRUPT, "is empty");
}

/* Runs `change` in a write transaction on the file, as a stranger would. */
static void with_lmdb(const struct place *place, void (*change)(MDB_txn *txn))
{
	MDB_env *env;
	MDB_txn *txn;

	mkdir(place->run, 0700);
	assert_int_equal(mdb_env_create(&env), 0);
	mdb_env_set_maxdbs(env, 8);
	assert_int_equal(mdb_env_open(env, file_of(place), MDB_NOSUBDIR, 0600), 0);
	assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
	if (change != NULL)
		change(txn);
	assert_int_equal(mdb_txn_commit(txn), 0);
	mdb_env_close(env);
}

static void add_stranger(MDB_txn *txn)
{
	MDB_dbi dbi;
	MDB_val key = { 3, (char[]){ "abc" } }, value = { 3, (char[]){ "def" } };

	assert_int_equal(mdb_dbi_open(txn, "settings", MDB_CREATE, &dbi), 0);
	assert_int_equal(mdb_put(txn, dbi, &key, &value, 0), 0);
}

static void test_foreign__lmdb_of_another_program(void **state)
{
	with_lmdb(*state, add_stranger);
	refused(*state, PV_ERR_FOREIGN, "is an LMDB file, but not a journal");
}

/* The process died between LMDB's making of the file and our first transaction. */
static void test_foreign__never_finished(void **state)
{
	with_lmdb(*state, NULL);
	refused(*state, PV_ERR_CORRUPT, "while it was being created");
}

/* Calls `change` with a copy of the meta record, which it then replaces. */
static void (*meta_change)(uint8_t *meta, size_t len);

static void change_meta(MDB_txn *txn)
{
	uint8_t meta[256];
	MDB_dbi dbi;
	MDB_val key = { 7, (char[]){ "journal" } }, value;

	assert_int_equal(mdb_dbi_open(txn, "meta", 0, &dbi), 0);
	assert_int_equal(mdb_get(txn, dbi, &key, &value), 0);
	assert_true(value.mv_size <= sizeof(meta));
	memcpy(meta, value.mv_data, value.mv_size);
	meta_change(meta, value.mv_size);
	value.mv_data = meta;
	assert_int_equal(mdb_put(txn, dbi, &key, &value, 0), 0);
}

static void set_newer_format(uint8_t *meta, size_t len)
{
	(void)len;
	meta[8] = 2;
}

static void flip_random_bit(uint8_t *meta, size_t len)
{
	meta[len - 1] ^= 0x40;
}

static void test_version__newer_format_is_refused(void **state)
{
	make_journal(((const struct place *)*state)->run, 3);
	meta_change = set_newer_format;
	with_lmdb(*state, change_meta);
	refused(*state, PV_ERR_VERSION, "format 2");
}

static void test_meta__bit_flip(void **state)
{
	make_journal(((const struct place *)*state)->run, 3);
	meta_change = flip_random_bit;
	with_lmdb(*state, change_meta);
	refused(*state, PV_ERR_CORRUPT, "the head of the journal");
}

/* With a right checksum: then only the chain tells that the head is not the one event 1 was written behind. */
static void exchange_identity(uint8_t *meta, size_t len)
{
	meta[len - 1] ^= 0x40;
	pv_put_le32(meta + 12, pv_crc32c(0, meta + 16, len - 16));
}

static void test_meta__of_another_run_breaks_the_chain(void **state)
{
	const struct place *place = *state;
	struct pv_journal_verdict verdict;

	make_journal(place->run, 3);
	meta_change = exchange_identity;
	with_lmdb(*state, change_meta);
	assert_int_equal(pv_journal_verify_dir(place->run, &verdict, &msg), PV_ERR_CORRUPT);
	assert_int_equal(verdict.bad_seq, 1);
	assert_non_null(strstr(msg.text, "journal's head"));
}

static uint64_t changed_seq;
static void (*record_change)(uint8_t *record, size_t len);

static void change_record(MDB_txn *txn)
{
	uint8_t key_bytes[8], record[8192];
	MDB_dbi dbi;
	MDB_val key = { 8, key_bytes }, value;

	pv_put_be64(key_bytes, changed_seq);
	assert_int_equal(mdb_dbi_open(txn, "events", 0, &dbi), 0);
	assert_int_equal(mdb_get(txn, dbi, &key, &value), 0);
	assert_true(value.mv_size <= sizeof(record));
	memcpy(record, value.mv_data, value.mv_size);
	value.mv_data = record;
	if (record_change == NULL) {
		assert_int_equal(mdb_del(txn, dbi, &key, NULL), 0);
		return;
	}
	record_change(record, value.mv_size);
	assert_int_equal(mdb_put(txn, dbi, &key, &value, 0), 0);
}

/* Verifying finds `bad_seq`; reading gives the events before it, and the same error again and again. */
static void found(const struct place *place, uint64_t bad_seq, const char *words)
{
	struct pv_journal_verdict verdict;
	char number[32];

	assert_int_equal(pv_journal_verify_dir(place->run, &verdict, &msg), PV_ERR_CORRUPT);
	assert_int_equal(verdict.bad_seq, bad_seq);
	assert_int_equal(verdict.records, bad_seq - 1);
	assert_non_null(strstr(msg.text, words));
	snprintf(number, sizeof(number), "event %llu ", (unsigned long long)bad_seq);
	assert_non_null(strstr(msg.text, number));
}

static void readable_up_to(const struct place *place, uint64_t last)
{
	struct pv_journal *journal;
	struct pv_journal_cursor *cursor;
	struct pv_record record;

	OK(pv_journal_open_read(place->run, &journal, &msg));
	OK(pv_journal_cursor_open(journal, 1, &cursor, &msg));
	for (uint64_t seq = 1; seq <= last; seq++) {
		OK(pv_journal_cursor_next(cursor, &record, &msg));
		assert_int_equal(record.seq, seq);
	}
	for (int i = 0; i < 2; i++) {
		assert_int_equal(pv_journal_cursor_next(cursor, &record, &msg), PV_ERR_CORRUPT);
		assert_int_equal(record.seq, 0);
	}
	pv_journal_cursor_close(cursor);
	if (last > 0) { /* behind the damage it goes on, for who asks */
		OK(pv_journal_cursor_open(journal, last + 2, &cursor, &msg));
		OK(pv_journal_cursor_next(cursor, &record, &msg));
		assert_int_equal(record.seq, last + 2);
		pv_journal_cursor_close(cursor);
	}
	pv_journal_close(journal);
}

static size_t flip_at;

static void flip(uint8_t *record, size_t len)
{
	record[flip_at % len] ^= 0x04;
}

static void test_record__any_flipped_byte_is_found(void **state)
{
	const struct place *place = *state;
	static const size_t places[] = { 0, 1, 4, 5, 36, 37, 38, 60, 100000 };

	make_journal(place->run, 200);
	record_change = flip;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		changed_seq = 20 + i * 11; /* 97, in an overflow page, is among them */
		flip_at = places[i];
		with_lmdb(place, change_record);
		found(place, changed_seq, i == 0 ? "format byte" : "checksum");
		readable_up_to(place, changed_seq - 1);
		with_lmdb(place, change_record); /* back */
	}
	assert_int_equal(check_dir(place->run, 200), 200);
}

static void replace_event(uint8_t *record, size_t len)
{
	record[PV_RECORD_EVENT_AT + 5] ^= 1;
	pv_put_le32(record + PV_RECORD_CRC_AT, pv_crc32c(0, record + PV_RECORD_PREV_AT, len - PV_RECORD_PREV_AT));
}

static void test_record__a_forged_one_breaks_the_chain_behind_it(void **state)
{
	const struct place *place = *state;

	make_journal(place->run, 50);
	record_change = replace_event;
	changed_seq = 31;
	with_lmdb(place, change_record);
	found(place, 32, "does not carry the hash of event 31");
}

static void test_record__a_missing_one_is_found(void **state)
{
	const struct place *place = *state;

	make_journal(place->run, 50);
	record_change = NULL;
	changed_seq = 17;
	with_lmdb(place, change_record);
	found(place, 17, "it is missing");
	readable_up_to(place, 16);
}

static void test_record__damaged_last_one_stops_appending(void **state)
{
	const struct place *place = *state;
	struct pv_journal *journal;

	make_journal(place->run, 50);
	record_change = flip;
	flip_at = 50;
	changed_seq = 50;
	with_lmdb(place, change_record);
	assert_int_equal(pv_journal_open_append(place->run, PV_DURABILITY_BATCH, &journal, &msg), PV_ERR_CORRUPT);
	assert_non_null(strstr(msg.text, "event 50"));
	OK(pv_journal_open_read(place->run, &journal, &msg));
	pv_journal_close(journal);
}

/* Cutting the file at every page: never a crash of this process, and never a wrong "all is well". The last pages may be
 * free ones, without which the journal is still whole. */
static void test_file__cut_off_anywhere(void **state)
{
	const struct place *place = *state;
	struct pv_journal_verdict verdict;
	struct pv_journal *journal;
	struct stat st;
	int lost = 0;

	make_journal(place->run, 300);
	assert_int_equal(stat(file_of(place), &st), 0);
	for (off_t size = st.st_size - 4096; size > 0; size -= 4096) {
		assert_int_equal(truncate(file_of(place), size), 0);
		if (pv_journal_verify_dir(place->run, &verdict, &msg) == PV_OK) {
			assert_int_equal(lost, 0);
			OK(pv_journal_open_read(place->run, &journal, &msg));
			assert_int_equal(check_events(journal), 300);
			pv_journal_close(journal);
			continue;
		}
		lost++;
		assert_true(verdict.records < 300);
		assert_int_equal(pv_journal_open_read(place->run, &journal, &msg), PV_ERR_CORRUPT);
		assert_non_null(strstr(msg.text, size >= 8192 ? "is shorter than it was" : "was cut off"));
		assert_int_equal(pv_journal_open_append(place->run, PV_DURABILITY_BATCH, &journal, &msg),
		                 PV_ERR_CORRUPT);
	}
	assert_true(lost > 10);
}

/* Random bytes over random pages. LMDB may do anything with them, in the child process. */
static void test_file__random_garbage_never_hurts_the_caller(void **state)
{
	const struct place *place = *state;
	struct pv_journal_verdict verdict;
	uint8_t garbage[64];
	unsigned seed = (unsigned)getpid();
	struct stat st;
	int fd, bad = 0;

	print_message("seed %u\n", seed);
	srandom(seed);
	for (int round = 0; round < 60; round++) {
		make_journal(place->run, 120);
		fd = open(file_of(place), O_WRONLY | O_CLOEXEC);
		assert_int_equal(fstat(fd, &st), 0);
		for (int i = 0; i < 8; i++) {
			for (size_t k = 0; k < sizeof(garbage); k++)
				garbage[k] = (uint8_t)random();
			/* behind the page heads of the meta pages, which check_file looks at itself */
			assert_true(pwrite(fd, garbage, sizeof(garbage), 8192 + random() % (st.st_size - 8192)) > 0);
		}
		close(fd);
		if (pv_journal_verify_dir(place->run, &verdict, &msg) != PV_OK) {
			assert_int_not_equal(strlen(msg.text), 0);
			bad++;
		}
		remove_tree(place->run);
	}
	assert_true(bad > 30); /* some garbage lands in pages that are free */
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_foreign__text),
		CASE(test_foreign__empty_file),
		CASE(test_foreign__lmdb_of_another_program),
		CASE(test_foreign__never_finished),
		CASE(test_version__newer_format_is_refused),
		CASE(test_meta__bit_flip),
		CASE(test_meta__of_another_run_breaks_the_chain),
		CASE(test_record__any_flipped_byte_is_found),
		CASE(test_record__a_forged_one_breaks_the_chain_behind_it),
		CASE(test_record__a_missing_one_is_found),
		CASE(test_record__damaged_last_one_stops_appending),
		CASE(test_file__cut_off_anywhere),
		CASE(test_file__random_garbage_never_hurts_the_caller),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
