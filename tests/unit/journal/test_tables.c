/* The tables beside the events, against a model: whatever was said with an append can be asked for. */
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "journal/journal_internal.h"

#define EVENTS  15000
#define STREAMS 40

static struct pv_errmsg msg;
static uint32_t seed;

static uint32_t draw(uint32_t below)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % below;
}

struct model {
	uint64_t n[STREAMS];
	uint64_t seqs[STREAMS][EVENTS];
	uint64_t intent[EVENTS], outcome[EVENTS];
	uint64_t n_calls;
};

static uint32_t stream_of(uint32_t i)
{
	return pv_stream_id((enum pv_stream_kind)(1 + i % 4), i / 4 * 1000);
}

/* The entry of event `seq`, which is a function of the number alone; `add`: also goes into the model. */
static void make_entry(struct model *model, uint64_t seq, bool add, struct pv_journal_index *entry, uint32_t streams[4])
{
	seed = (uint32_t)seq * 2654435769u;
	*entry = (struct pv_journal_index){ .streams = streams, .n_streams = draw(4) };
	for (size_t i = 0; i < entry->n_streams; i++) {
		uint32_t which = draw(seq % 3 ? 5 : STREAMS); /* some are rare */

		streams[i] = stream_of(which);
		if (add && (model->n[which] == 0 || model->seqs[which][model->n[which] - 1] != seq))
			model->seqs[which][model->n[which]++] = seq;
	}
	if (seq % 3 == 0) { /* outcomes come in another order, some late, some never */
		entry->call = seq / 3;
		if (add)
			model->intent[entry->call] = seq;
	} else if (seq % 3 == 1 && seq > 600 && seq % 7 != 0) {
		entry->call = seq / 3 - (seq / 3 % 5) * 37; /* no two give the same */
		entry->is_outcome = true;
		if (add)
			model->outcome[entry->call] = seq;
	}
}

static void append_indexed(struct pv_journal *journal, struct model *model, uint64_t last)
{
	struct test_event *event = malloc(sizeof(*event));
	struct pv_journal_index entry;
	uint32_t streams[4];

	assert_non_null(event);
	for (uint64_t seq = pv_journal_last_seq(journal) + 1; seq <= last; seq++) {
		make_event(event, seq % 90 + 1); /* no large ones */
		make_entry(model, seq, true, &entry, streams);
		OK(pv_journal_append_indexed(journal, &event->event, &entry, NULL, &msg));
		if (seq % 171 == 0 || seq == last)
			OK(pv_journal_commit(journal, &msg));
	}
	free(event);
}

/* What is asked for is the model, cut at the event up to which the index reaches. */
static void check_model(struct pv_journal *journal, const struct model *model)
{
	const uint64_t reach = pv_journal_indexed_seq(journal);

	for (uint32_t i = 0; i < STREAMS; i++) {
		uint64_t *seqs;
		size_t n, wanted = 0;

		OK(pv_journal_stream(journal, stream_of(i), &seqs, &n, &msg));
		while (wanted < model->n[i] && model->seqs[i][wanted] <= reach)
			wanted++;
		assert_int_equal(n, wanted);
		if (n > 0)
			assert_memory_equal(seqs, model->seqs[i], n * sizeof(*seqs));
		free(seqs);
	}
	for (uint64_t call = 1; call < EVENTS / 3 + 10; call++) {
		uint64_t intent, outcome;

		OK(pv_journal_call(journal, call, &intent, &outcome, &msg));
		assert_int_equal(intent, model->intent[call] <= reach ? model->intent[call] : 0);
		assert_int_equal(outcome, model->outcome[call] <= reach ? model->outcome[call] : 0);
	}
}

static void test_index__one_life(void **state)
{
	const struct place *place = *state;
	struct model *model = calloc(1, sizeof(*model));
	struct pv_journal *journal;

	assert_non_null(model);
	OK(pv_journal_create(place->run, PV_DURABILITY_BATCH, &journal, &msg));
	append_indexed(journal, model, EVENTS);
	assert_in_range(pv_journal_indexed_seq(journal), EVENTS - PV_INDEX_WINDOW, EVENTS);
	check_model(journal, model);
	OK(pv_journal_checkpoint(journal, &msg));
	assert_int_equal(pv_journal_indexed_seq(journal), EVENTS);
	check_model(journal, model);
	pv_journal_close(journal);
	OK(pv_journal_open_read(place->run, &journal, &msg));
	assert_int_equal(pv_journal_indexed_seq(journal), EVENTS);
	check_model(journal, model);
	pv_journal_close(journal);
	free(model);
}

/* A writer that ends without a checkpoint leaves events that are not indexed; the next one tells them again. */
static void test_index__many_lives(void **state)
{
	const struct place *place = *state;
	struct model *model = calloc(1, sizeof(*model));
	struct pv_journal_index entry;
	struct pv_journal *journal;
	uint32_t streams[4];

	assert_non_null(model);
	OK(pv_journal_create(place->run, PV_DURABILITY_NONE, &journal, &msg));
	for (unsigned life = 1; life < 6; life++) {
		append_indexed(journal, model, life * 2999);
		check_model(journal, model);
		pv_journal_close(journal);
		OK(pv_journal_open_append(place->run, PV_DURABILITY_NONE, &journal, &msg));
		assert_int_equal(pv_journal_index_next(journal), pv_journal_indexed_seq(journal) + 1);
		while (pv_journal_index_next(journal) <= pv_journal_last_seq(journal)) {
			make_entry(model, pv_journal_index_next(journal), false, &entry, streams);
			pv_journal_index_add(journal, &entry);
		}
	}
	OK(pv_journal_checkpoint(journal, &msg));
	assert_int_equal(pv_journal_indexed_seq(journal), 5 * 2999);
	check_model(journal, model);
	pv_journal_close(journal);
	free(model);
}

/* It never tells of an event behind one that it does not know. */
static void test_index__ends_at_an_event_without_entry(void **state)
{
	const struct place *place = *state;
	struct model *model = calloc(1, sizeof(*model));
	struct pv_journal *journal;

	assert_non_null(model);
	OK(pv_journal_create(place->run, PV_DURABILITY_NONE, &journal, &msg));
	append_indexed(journal, model, 50);
	append_up_to(journal, 51);
	append_indexed(journal, model, 100);
	OK(pv_journal_checkpoint(journal, &msg));
	assert_int_equal(pv_journal_indexed_seq(journal), 50);
	check_model(journal, model);
	pv_journal_close(journal);
	free(model);
}

static void test_index__in_memory(void **state)
{
	struct model *model = calloc(1, sizeof(*model));
	struct pv_journal *journal;

	(void)state;
	assert_non_null(model);
	OK(pv_journal_create_memory(&journal, &msg));
	append_indexed(journal, model, EVENTS);
	check_model(journal, model);
	pv_journal_close(journal);
	free(model);
}

/* ---- folds ---- */

static void check_fold(struct pv_journal *journal, uint64_t seq, uint64_t wanted_at)
{
	char wanted[64];
	uint64_t at;
	void *bytes;
	size_t len;

	OK(pv_journal_fold_before(journal, seq, &at, &bytes, &len, &msg));
	assert_int_equal(at, wanted_at);
	if (at > 0) {
		snprintf(wanted, sizeof(wanted), "state behind %llu", (unsigned long long)at);
		assert_int_equal(len, strlen(wanted));
		assert_memory_equal(bytes, wanted, len);
	} else {
		assert_null(bytes);
	}
	free(bytes);
}

static void test_folds__nearest_before(void **state)
{
	const struct place *place = *state;
	struct pv_journal *journal;
	char text[64];

	OK(pv_journal_create(place->run, PV_DURABILITY_NONE, &journal, &msg));
	for (uint64_t seq = 10; seq <= 300; seq += 10) {
		append_up_to(journal, seq);
		snprintf(text, sizeof(text), "state behind %llu", (unsigned long long)seq);
		if (seq != 100)
			OK(pv_journal_put_fold(journal, text, strlen(text), &msg));
		OK(pv_journal_commit(journal, &msg));
	}
	append_up_to(journal, 305);
	OK(pv_journal_commit(journal, &msg));
	check_fold(journal, 9, 0);
	check_fold(journal, 10, 10);
	check_fold(journal, 99, 90);
	check_fold(journal, 100, 90);
	check_fold(journal, 110, 110);
	check_fold(journal, 305, 300);
	check_fold(journal, 100000, 300);
	pv_journal_close(journal);
	OK(pv_journal_open_read(place->run, &journal, &msg));
	check_fold(journal, 119, 110);
	pv_journal_close(journal);
}

/* ---- strange files ---- */

static const char *file_of(const struct place *place)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/journal.mdb", place->run);
	return path;
}

/* Takes the tables away: a journal as it was before there were any. */
static void drop_tables(const struct place *place)
{
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;

	assert_int_equal(mdb_env_create(&env), 0);
	mdb_env_set_maxdbs(env, 16);
	assert_int_equal(mdb_env_open(env, file_of(place), MDB_NOSUBDIR, 0600), 0);
	assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
	for (int i = 0; i < PV_TABLES; i++) {
		assert_int_equal(mdb_dbi_open(txn, pv_table_name((enum pv_table)i), 0, &dbi), 0);
		assert_int_equal(mdb_drop(txn, dbi, 1), 0);
	}
	assert_int_equal(mdb_txn_commit(txn), 0);
	mdb_env_close(env);
}

static void test_old__without_tables(void **state)
{
	const struct place *place = *state;
	struct pv_journal *journal;
	uint64_t a, b, *seqs;
	size_t n;

	make_journal(place->run, 200);
	drop_tables(place);
	OK(pv_journal_open_read(place->run, &journal, &msg));
	assert_int_equal(check_events(journal), 200);
	assert_false(pv_journal_has_table(journal, PV_TABLE_STREAMS));
	assert_int_equal(pv_journal_indexed_seq(journal), 0);
	OK(pv_journal_stream(journal, stream_of(1), &seqs, &n, &msg));
	assert_int_equal(n, 0);
	OK(pv_journal_call(journal, 1, &a, &b, &msg));
	assert_int_equal(a + b, 0);
	check_fold(journal, 200, 0);
	pv_journal_close(journal);

	/* whoever appends to it makes them */
	OK(pv_journal_open_append(place->run, PV_DURABILITY_BATCH, &journal, &msg));
	assert_true(pv_journal_has_table(journal, PV_TABLE_STREAMS));
	assert_int_equal(pv_journal_index_next(journal), 1);
	OK(pv_journal_checkpoints_start(journal, "provium/old", NULL, &msg));
	append_up_to(journal, 201);
	OK(pv_journal_checkpoint(journal, &msg));
	pv_journal_close(journal);
	assert_int_equal(check_dir(place->run, 201), 201);
}

static bool count_rows(void *arg, const uint8_t *key, size_t key_len, const uint8_t *data, size_t len)
{
	(void)key;
	(void)key_len;
	(void)data;
	(void)len;
	++*(unsigned *)arg;
	return true;
}

/* A row that rotted is not believed. */
static void test_rows__bad_checksum(void **state)
{
	const struct place *place = *state;
	struct pv_journal *journal;
	MDB_val key, value;
	MDB_cursor *cursor;
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;
	unsigned rows = 0;

	OK(pv_journal_create(place->run, PV_DURABILITY_NONE, &journal, &msg));
	append_up_to(journal, 5);
	OK(pv_journal_put_fold(journal, "state behind 5", 14, &msg));
	OK(pv_journal_commit(journal, &msg));
	OK(pv_journal_rows(journal, PV_TABLE_FOLDS, count_rows, &rows, &msg));
	assert_int_equal(rows, 1);
	pv_journal_close(journal);

	assert_int_equal(mdb_env_create(&env), 0);
	mdb_env_set_maxdbs(env, 16);
	assert_int_equal(mdb_env_open(env, file_of(place), MDB_NOSUBDIR, 0600), 0);
	assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
	assert_int_equal(mdb_dbi_open(txn, "folds", 0, &dbi), 0);
	assert_int_equal(mdb_cursor_open(txn, dbi, &cursor), 0);
	assert_int_equal(mdb_cursor_get(cursor, &key, &value, MDB_FIRST), 0);
	uint8_t copy[256];
	memcpy(copy, value.mv_data, value.mv_size);
	copy[value.mv_size - 1] ^= 4;
	value.mv_data = copy;
	assert_int_equal(mdb_cursor_put(cursor, &key, &value, MDB_CURRENT), 0);
	mdb_cursor_close(cursor);
	assert_int_equal(mdb_txn_commit(txn), 0);
	mdb_env_close(env);

	OK(pv_journal_open_read(place->run, &journal, &msg));
	assert_int_equal(pv_journal_rows(journal, PV_TABLE_FOLDS, count_rows, &rows, &msg), PV_ERR_CORRUPT);
	assert_non_null(strstr(msg.text, "row 1 of the table folds"));
	check_fold(journal, 5, 0);
	pv_journal_close(journal);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_index__one_life),
		CASE(test_index__many_lives),
		CASE(test_index__ends_at_an_event_without_entry),
		CASE(test_index__in_memory),
		CASE(test_folds__nearest_before),
		CASE(test_old__without_tables),
		CASE(test_rows__bad_checksum),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
