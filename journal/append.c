#include <stdio.h>
#include <string.h>

#include "journal/journal_internal.h"

enum pv_err pv_journal_repeat_failure(const struct pv_journal *journal, struct pv_errmsg *msg)
{
	if (msg != NULL)
		*msg = journal->failure;
	return journal->failed;
}

enum pv_err pv_journal_poison(struct pv_journal *journal, int rc, const char *doing, struct pv_errmsg *msg)
{
	if (journal->txn != NULL)
		mdb_txn_abort(journal->txn);
	journal->txn = NULL;
	journal->append_cursor = NULL;
	journal->last_seq = journal->committed_seq;
	journal->failed =
	    pv_lmdb_fail(&journal->failure, journal, rc, "%s (the journal of %s stays whole up to event %llu)", doing,
	                 pv_journal_name(journal), (unsigned long long)journal->committed_seq);
	return pv_journal_repeat_failure(journal, msg);
}

static enum pv_err fail_append(struct pv_journal *journal, int rc, struct pv_errmsg *msg)
{
	char doing[64];

	snprintf(doing, sizeof(doing), "cannot append event %llu", (unsigned long long)journal->last_seq + 1);
	return pv_journal_poison(journal, rc, doing, msg);
}

static enum pv_err fail_commit(struct pv_journal *journal, int rc, struct pv_errmsg *msg)
{
	char doing[96];

	snprintf(doing, sizeof(doing), "cannot commit events %llu to %llu",
	         (unsigned long long)journal->committed_seq + 1, (unsigned long long)journal->last_seq);
	return pv_journal_poison(journal, rc, doing, msg);
}

static enum pv_err check_appendable(const struct pv_journal *journal, size_t event_len, struct pv_errmsg *msg)
{
	pv_journal_assert_own(journal);
	if (journal->failed != PV_OK)
		return pv_journal_repeat_failure(journal, msg);
	if (!journal->writable)
		return pv_err_set(msg, PV_ERR_STATE, "the journal of %s is open for reading only",
		                  pv_journal_name(journal));
	if (event_len > PV_EVENT_MAX_BYTES)
		return pv_err_set(msg, PV_ERR_INVAL,
		                  "an event of %zu bytes is too large for the journal of %s (at most %u); "
		                  "store its payload as a blob",
		                  event_len, pv_journal_name(journal), PV_EVENT_MAX_BYTES);
	return PV_OK;
}

int pv_journal_begin(struct pv_journal *journal)
{
	int rc;

	if (journal->txn != NULL)
		return 0;
	rc = mdb_txn_begin(journal->env, NULL, 0, &journal->txn);
	if (rc != 0) {
		journal->txn = NULL;
		return rc;
	}
	rc = mdb_cursor_open(journal->txn, journal->events, &journal->append_cursor);
	if (rc != 0)
		journal->append_cursor = NULL;
	return rc;
}

/* Makes room for a record in LMDB's page, so that the event is packed in place: no copy and no buffer of ours. */
static int reserve(struct pv_journal *journal, size_t record_len, uint8_t **record)
{
	uint8_t key_bytes[8];
	MDB_val key = { .mv_size = sizeof(key_bytes), .mv_data = key_bytes };
	MDB_val value = { .mv_size = record_len };
	int rc = pv_journal_begin(journal);

	if (rc != 0)
		return rc;
	pv_put_be64(key_bytes, journal->last_seq + 1);
	rc = mdb_cursor_put(journal->append_cursor, &key, &value, MDB_APPEND | MDB_RESERVE);
	*record = value.mv_data;
	return rc;
}

static void seal(struct pv_journal *journal, uint8_t *record, size_t record_len, uint64_t *seq)
{
	pv_record_seal(record, record_len, journal->chain);
	journal->last_seq++;
	if (seq != NULL)
		*seq = journal->last_seq;
}

enum pv_err pv_journal_append(struct pv_journal *journal, const Pv__Event *event, uint64_t *seq, struct pv_errmsg *msg)
{
	size_t len = pv__event__get_packed_size(event);
	enum pv_err err = check_appendable(journal, len, msg);
	uint8_t *record;
	int rc;

	if (err != PV_OK)
		return err;
	rc = reserve(journal, PV_RECORD_EVENT_AT + len, &record);
	if (rc != 0)
		return fail_append(journal, rc, msg);
	if (pv__event__pack(event, record + PV_RECORD_EVENT_AT) != len)
		PV_BUG("event %llu was packed into another number of bytes than foretold",
		       (unsigned long long)journal->last_seq + 1);
	seal(journal, record, PV_RECORD_EVENT_AT + len, seq);
	return PV_OK;
}

enum pv_err pv_journal_append_indexed(struct pv_journal *journal, const Pv__Event *event,
                                      const struct pv_journal_index *index, uint64_t *seq, struct pv_errmsg *msg)
{
	enum pv_err err = pv_journal_append(journal, event, seq, msg);

	if (err == PV_OK)
		pv_index_add(journal, index, journal->last_seq);
	return err;
}

enum pv_err pv_journal_append_bytes(struct pv_journal *journal, const void *bytes, size_t len, uint64_t *seq,
                                    struct pv_errmsg *msg)
{
	enum pv_err err = check_appendable(journal, len, msg);
	uint8_t *record;
	int rc;

	if (err != PV_OK)
		return err;
	rc = reserve(journal, PV_RECORD_EVENT_AT + len, &record);
	if (rc != 0)
		return fail_append(journal, rc, msg);
	if (len > 0)
		memcpy(record + PV_RECORD_EVENT_AT, bytes, len);
	seal(journal, record, PV_RECORD_EVENT_AT + len, seq);
	return PV_OK;
}

enum pv_err pv_journal_append_record(struct pv_journal *journal, const uint8_t *record, size_t len,
                                     struct pv_errmsg *msg)
{
	uint8_t *place;
	int rc;

	if (memcmp(record + PV_RECORD_PREV_AT, journal->chain, PV_SHA256_BYTES) != 0)
		return pv_err_set(msg, PV_ERR_CORRUPT,
		                  "event %llu of the journal of %s does not follow the one before it",
		                  (unsigned long long)journal->last_seq + 1, pv_journal_name(journal));
	rc = reserve(journal, len, &place);
	if (rc != 0)
		return fail_append(journal, rc, msg);
	memcpy(place, record, len);
	pv_sha256(record, len, journal->chain);
	journal->last_seq++;
	return PV_OK;
}

enum pv_err pv_journal_commit(struct pv_journal *journal, struct pv_errmsg *msg)
{
	enum pv_err err = check_appendable(journal, 0, msg);
	int rc;

	if (err != PV_OK || journal->txn == NULL)
		return err;
	if (journal->durability == PV_DURABILITY_SYNC) { /* an event must not outlive the blob it names */
		rc = pv_journal_blobs_sync(journal);
		if (rc != 0)
			return fail_commit(journal, rc, msg);
	}
	rc = pv_index_is_due(journal) ? pv_index_flush(journal) : 0;
	if (rc == 0)
		rc = pv_checkpoints_before_commit(journal);
	if (rc != 0)
		return fail_commit(journal, rc, msg);
	rc = mdb_txn_commit(journal->txn);
	journal->txn = NULL; /* gone with its cursor, whatever the result */
	journal->append_cursor = NULL;
	if (rc != 0)
		return fail_commit(journal, rc, msg);
	journal->committed_seq = journal->last_seq;
	journal->commits++;
	pv_checkpoints_after_commit(journal);
	return PV_OK;
}

enum pv_err pv_journal_sync(struct pv_journal *journal, struct pv_errmsg *msg)
{
	enum pv_err err = pv_journal_sync_end(journal, msg);
	int rc;

	if (err == PV_OK)
		err = check_appendable(journal, 0, msg);

	if (err != PV_OK || journal->dir == NULL || journal->durability == PV_DURABILITY_NONE)
		return err;
	rc = pv_journal_blobs_sync(journal);
	if (rc != 0)
		return pv_journal_poison(journal, rc, "cannot sync the blobs", msg);
	return journal->durability == PV_DURABILITY_BATCH ? pv_journal_synced_advance(journal, msg) : PV_OK;
}

uint64_t pv_journal_committed_seq(struct pv_journal *journal)
{
	uint64_t seq = 0;
	int rc;

	pv_journal_assert_own(journal);
	if (journal->writable)
		return journal->committed_seq;
	rc = journal->peek == NULL ? mdb_txn_begin(journal->env, NULL, MDB_RDONLY, &journal->peek)
	                           : mdb_txn_renew(journal->peek);
	if (rc != 0) {
		journal->peek = NULL;
		return 0;
	}
	(void)pv_journal_last_in(journal, journal->peek, &seq, NULL);
	mdb_txn_reset(journal->peek);
	return seq;
}

uint64_t pv_journal_last_seq(struct pv_journal *journal)
{
	return journal->writable ? journal->last_seq : pv_journal_committed_seq(journal);
}
