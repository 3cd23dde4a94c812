/* Cursors. Each holds a read transaction, which is its view; since records are never changed or removed, the number of
 * the last record in view bounds it just as well.
 *
 * In memory there is no LMDB lock file and so no table of readers: LMDB may use pages that a commit freed again while
 * a cursor still looks at them. There a cursor takes up a new transaction behind each commit and hands out copies, and
 * stays within its view by that number. */
#include <stdlib.h>
#include <string.h>

#include "journal/journal_internal.h"

struct pv_journal_cursor {
	struct pv_journal *journal;
	MDB_txn *txn; /* NULL: could not be renewed */
	MDB_cursor *cursor;
	uint64_t next_seq;
	uint64_t end_seq; /* the last record in view */
	bool positioned;  /* `cursor` is on record next_seq - 1 */
	uint64_t commits; /* in memory: journal->commits when `txn` was taken up */
	uint8_t *copy;    /* in memory: the record handed out last */
	size_t copy_size;
};

int pv_journal_last_in(const struct pv_journal *journal, MDB_txn *txn, uint64_t *seq, MDB_val *record)
{
	MDB_cursor *cursor;
	MDB_val key, value;
	int rc = mdb_cursor_open(txn, journal->events, &cursor);

	*seq = 0;
	if (rc != 0)
		return rc;
	rc = mdb_cursor_get(cursor, &key, &value, MDB_LAST);
	mdb_cursor_close(cursor);
	if (rc == MDB_NOTFOUND)
		return 0;
	if (rc == 0 && key.mv_size != 8)
		rc = MDB_CORRUPTED;
	if (rc != 0)
		return rc;
	*seq = pv_get_be64(key.mv_data);
	if (record != NULL)
		*record = value;
	return 0;
}

static enum pv_err fail(const struct pv_journal_cursor *cursor, int rc, struct pv_errmsg *msg)
{
	return pv_lmdb_fail(msg, cursor->journal, rc, "cannot read event %llu of the journal of %s",
	                    (unsigned long long)cursor->next_seq, pv_journal_name(cursor->journal));
}

static int begin_view(struct pv_journal_cursor *cursor)
{
	int rc = mdb_txn_begin(cursor->journal->env, NULL, MDB_RDONLY, &cursor->txn);

	if (rc != 0) {
		cursor->txn = NULL;
		return rc;
	}
	rc = mdb_cursor_open(cursor->txn, cursor->journal->events, &cursor->cursor);
	if (rc != 0)
		cursor->cursor = NULL;
	return rc != 0 ? rc : pv_journal_last_in(cursor->journal, cursor->txn, &cursor->end_seq, NULL);
}

static void end_view(struct pv_journal_cursor *cursor)
{
	if (cursor->cursor != NULL)
		mdb_cursor_close(cursor->cursor);
	if (cursor->txn != NULL)
		mdb_txn_abort(cursor->txn);
	cursor->cursor = NULL;
	cursor->txn = NULL;
}

enum pv_err pv_journal_cursor_open(struct pv_journal *journal, uint64_t from_seq, struct pv_journal_cursor **out,
                                   struct pv_errmsg *msg)
{
	struct pv_journal_cursor *cursor;
	enum pv_err err;
	int rc;

	pv_journal_assert_own(journal);
	*out = NULL;
	if (from_seq == 0)
		return pv_err_set(msg, PV_ERR_INVAL, "cannot read the journal of %s from event 0: the first is 1",
		                  pv_journal_name(journal));
	cursor = calloc(1, sizeof(*cursor));
	if (cursor == NULL)
		return pv_out_of_memory(msg, "cannot read the journal");
	cursor->journal = journal;
	cursor->next_seq = from_seq;
	cursor->commits = journal->commits;
	rc = begin_view(cursor);
	if (rc != 0) {
		err = fail(cursor, rc, msg);
		end_view(cursor);
		free(cursor);
		return err;
	}
	journal->cursors++;
	*out = cursor;
	return PV_OK;
}

void pv_journal_cursor_close(struct pv_journal_cursor *cursor)
{
	if (cursor == NULL)
		return;
	end_view(cursor);
	cursor->journal->cursors--;
	free(cursor->copy);
	free(cursor);
}

/* Takes up the present state; end_seq stays. */
static int take_up(struct pv_journal_cursor *cursor)
{
	int rc;

	mdb_txn_reset(cursor->txn);
	cursor->positioned = false;
	cursor->commits = cursor->journal->commits;
	rc = mdb_txn_renew(cursor->txn);
	return rc != 0 ? rc : mdb_cursor_renew(cursor->txn, cursor->cursor);
}

enum pv_err pv_journal_cursor_renew(struct pv_journal_cursor *cursor, struct pv_errmsg *msg)
{
	int rc = take_up(cursor);

	if (rc == 0)
		rc = pv_journal_last_in(cursor->journal, cursor->txn, &cursor->end_seq, NULL);
	return rc == 0 ? PV_OK : fail(cursor, rc, msg);
}

static enum pv_err damaged(struct pv_journal_cursor *cursor, const char *fault, struct pv_errmsg *msg)
{
	unsigned long long seq = cursor->next_seq;
	const char *name = pv_journal_name(cursor->journal);

	cursor->positioned = false;
	if (seq == 1)
		return pv_err_set(msg, PV_ERR_CORRUPT,
		                  "event 1 of the journal of %s is damaged: %s; nothing before it; "
		                  "restore the journal from a copy",
		                  name, fault);
	return pv_err_set(msg, PV_ERR_CORRUPT,
	                  "event %llu of the journal of %s is damaged: %s; events 1 to %llu can be read; "
	                  "restore the journal from a copy to have the rest",
	                  seq, name, fault, seq - 1);
}

/* Moves onto record next_seq. */
static int seek(struct pv_journal_cursor *cursor, MDB_val *key, MDB_val *value)
{
	uint8_t wanted[8];

	if (cursor->positioned)
		return mdb_cursor_get(cursor->cursor, key, value, MDB_NEXT);
	pv_put_be64(wanted, cursor->next_seq);
	*key = (MDB_val){ .mv_size = sizeof(wanted), .mv_data = wanted };
	return mdb_cursor_get(cursor->cursor, key, value, MDB_SET_KEY);
}

static enum pv_err keep_copy(struct pv_journal_cursor *cursor, MDB_val *value, struct pv_errmsg *msg)
{
	uint8_t *copy;

	if (value->mv_size > cursor->copy_size) {
		copy = realloc(cursor->copy, 2 * value->mv_size);
		if (copy == NULL)
			return pv_out_of_memory(msg, "cannot read an event");
		cursor->copy = copy;
		cursor->copy_size = 2 * value->mv_size;
	}
	memcpy(cursor->copy, value->mv_data, value->mv_size);
	value->mv_data = cursor->copy;
	return PV_OK;
}

/* Appending fills page after page, so what will be read next usually lies a page further on; the CPU's own prefetching ends
 * at the page. A scan of a million events of 256 bytes was three times faster with this. An address that is not mapped does no
 * harm. */
static void fetch_ahead(const uint8_t *record)
{
	const int cache_lines = 6; /* a record of usual size */

	for (int i = 0; i < cache_lines; i++)
		__builtin_prefetch(record + 4096 + 64 * i);
}

enum pv_err pv_journal_cursor_next(struct pv_journal_cursor *cursor, struct pv_record *record, struct pv_errmsg *msg)
{
	const bool in_memory = cursor->journal->dir == NULL;
	const char *fault;
	MDB_val key, value;
	enum pv_err err;
	int rc = 0;

	record->seq = 0;
	if (cursor->next_seq > cursor->end_seq)
		return PV_OK;
	if (in_memory && cursor->commits != cursor->journal->commits)
		rc = take_up(cursor);
	if (rc == 0)
		rc = seek(cursor, &key, &value);
	if (rc == MDB_NOTFOUND || (rc == 0 && (key.mv_size != 8 || pv_get_be64(key.mv_data) != cursor->next_seq)))
		return damaged(cursor, "it is missing", msg);
	if (rc != 0) {
		cursor->positioned = false;
		return fail(cursor, rc, msg);
	}
	fault = pv_record_fault(value.mv_data, value.mv_size);
	if (fault != NULL)
		return damaged(cursor, fault, msg);
	err = in_memory ? keep_copy(cursor, &value, msg) : PV_OK;
	cursor->positioned = err == PV_OK;
	if (err != PV_OK)
		return err;
	fetch_ahead(value.mv_data);
	record->seq = cursor->next_seq++;
	record->event = (const uint8_t *)value.mv_data + PV_RECORD_EVENT_AT;
	record->event_len = value.mv_size - PV_RECORD_EVENT_AT;
	return PV_OK;
}

Pv__Event *pv_record_decode(const struct pv_record *record)
{
	return pv__event__unpack(NULL, record->event_len, record->event);
}
