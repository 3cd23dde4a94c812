/* Rows of the tables beside the events: CRC-32C (u32 LE) of key and content, then the content. */
#include "journal/tables.h"

#include <string.h>

#include "journal/journal_internal.h"
#include "proto/crc32c.h"

#define CRC_SIZE 4

static const char *const names[PV_TABLES] = { "streams", "calls", "folds", "merkle", "checkpoints" };

const char *pv_table_name(enum pv_table table)
{
	return names[table];
}

bool pv_journal_has_table(const struct pv_journal *journal, enum pv_table table)
{
	return journal->has_table[table];
}

int pv_tables_open(struct pv_journal *journal, MDB_txn *txn, bool create)
{
	int rc;

	for (int i = 0; i < PV_TABLES; i++) {
		rc = mdb_dbi_open(txn, names[i], create ? MDB_CREATE : 0, &journal->tables[i]);
		if (rc != 0 && (create || (rc != MDB_NOTFOUND && rc != MDB_INCOMPATIBLE)))
			return rc;
		journal->has_table[i] = rc == 0;
	}
	return 0;
}

/* ---- rows ---- */

static uint32_t row_crc(const MDB_val *key, const void *data, size_t len)
{
	return pv_crc32c(pv_crc32c(0, key->mv_data, key->mv_size), data, len);
}

int pv_row_put(struct pv_journal *journal, MDB_txn *txn, enum pv_table table, MDB_val key, const void *data, size_t len)
{
	MDB_val value = { .mv_size = CRC_SIZE + len };
	int rc = mdb_put(txn, journal->tables[table], &key, &value, MDB_RESERVE);

	if (rc != 0)
		return rc;
	pv_put_le32(value.mv_data, row_crc(&key, data, len));
	if (len > 0)
		memcpy((uint8_t *)value.mv_data + CRC_SIZE, data, len);
	return 0;
}

int pv_row_check(const MDB_val *key, MDB_val *value)
{
	const uint8_t *bytes = value->mv_data;

	if (value->mv_size < CRC_SIZE ||
	    pv_get_le32(bytes) != row_crc(key, bytes + CRC_SIZE, value->mv_size - CRC_SIZE))
		return MDB_CORRUPTED;
	value->mv_data = (uint8_t *)value->mv_data + CRC_SIZE;
	value->mv_size -= CRC_SIZE;
	return 0;
}

int pv_row_get(const struct pv_journal *journal, MDB_txn *txn, enum pv_table table, MDB_val key, MDB_val *value)
{
	int rc;

	if (!journal->has_table[table])
		return MDB_NOTFOUND;
	rc = mdb_get(txn, journal->tables[table], &key, value);
	return rc == 0 ? pv_row_check(&key, value) : rc;
}

/* The row with the greatest key up to `key`. */
int pv_row_last_up_to(const struct pv_journal *journal, MDB_txn *txn, enum pv_table table, MDB_val *key, MDB_val *value)
{
	const MDB_val wanted = *key;
	MDB_cursor *cursor;
	int rc;

	if (!journal->has_table[table])
		return MDB_NOTFOUND;
	rc = mdb_cursor_open(txn, journal->tables[table], &cursor);
	if (rc != 0)
		return rc;
	rc = mdb_cursor_get(cursor, key, value, MDB_SET_RANGE);
	if (rc == MDB_NOTFOUND)
		rc = mdb_cursor_get(cursor, key, value, MDB_LAST);
	else if (rc == 0 &&
	         (key->mv_size != wanted.mv_size || memcmp(key->mv_data, wanted.mv_data, wanted.mv_size) != 0))
		rc = mdb_cursor_get(cursor, key, value, MDB_PREV);
	mdb_cursor_close(cursor);
	return rc == 0 ? pv_row_check(key, value) : rc;
}

/* ---- all of them ---- */

static enum pv_err bad_row(const struct pv_journal *journal, enum pv_table table, uint64_t number,
                           struct pv_errmsg *msg)
{
	return pv_err_set(msg, PV_ERR_CORRUPT,
	                  "row %llu of the table %s in the journal of %s is damaged: its checksum does not match; the "
	                  "events are not touched by this",
	                  (unsigned long long)number, names[table], pv_journal_name(journal));
}

static enum pv_err walk_rows(struct pv_journal *journal, MDB_cursor *cursor, enum pv_table table, pv_row_cb *cb,
                             void *arg, struct pv_errmsg *msg)
{
	uint64_t number = 0;
	MDB_val key, value;
	int rc;

	while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
		number++;
		if (pv_row_check(&key, &value) != 0)
			return bad_row(journal, table, number, msg);
		if (!cb(arg, key.mv_data, key.mv_size, value.mv_data, value.mv_size))
			return PV_OK;
	}
	if (rc == MDB_NOTFOUND)
		return PV_OK;
	return pv_lmdb_fail(msg, journal, rc, "cannot read the table %s in the journal of %s", names[table],
	                    pv_journal_name(journal));
}

enum pv_err pv_journal_rows(struct pv_journal *journal, enum pv_table table, pv_row_cb *cb, void *arg,
                            struct pv_errmsg *msg)
{
	MDB_cursor *cursor = NULL;
	MDB_txn *txn;
	enum pv_err err;
	int rc;

	pv_journal_assert_own(journal);
	if (!journal->has_table[table])
		return PV_OK;
	rc = mdb_txn_begin(journal->env, NULL, MDB_RDONLY, &txn);
	if (rc == 0) {
		rc = mdb_cursor_open(txn, journal->tables[table], &cursor);
		if (rc != 0)
			mdb_txn_abort(txn);
	}
	if (rc != 0)
		return pv_lmdb_fail(msg, journal, rc, "cannot read the table %s in the journal of %s", names[table],
		                    pv_journal_name(journal));
	err = walk_rows(journal, cursor, table, cb, arg, msg);
	mdb_cursor_close(cursor);
	mdb_txn_abort(txn);
	return err;
}
