/* The meta table holds one record, under the key "journal":
 *
 *   0  8 bytes   "PVJOURNL"
 *   8  u32 LE    format
 *  12  u32 LE    CRC-32C of everything behind it
 *  16  u64 LE    time of creation, ns since the epoch
 *  24  32 bytes  random: no two journals have the same chain
 *
 * Longer records of the same format are fine: the rest is not looked at, but hashed.
 */
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "journal/journal_internal.h"
#include "proto/crc32c.h"

#define MAGIC      "PVJOURNL"
#define MAGIC_LEN  8
#define FORMAT_AT  8
#define CRC_AT     12
#define CREATED_AT 16
#define RANDOM_AT  24
#define META_SIZE  56

#define META_TABLE   "meta"
#define EVENTS_TABLE "events"

static char meta_key_text[] = "journal"; /* MDB_val wants a non-const pointer */

static MDB_val meta_key(void)
{
	return (MDB_val){ .mv_size = sizeof(meta_key_text) - 1, .mv_data = meta_key_text };
}

static int fill_meta(uint8_t meta[META_SIZE])
{
	struct timespec now;

	memcpy(meta, MAGIC, MAGIC_LEN);
	pv_put_le32(meta + FORMAT_AT, PV_JOURNAL_FORMAT);
	clock_gettime(CLOCK_REALTIME, &now);
	pv_put_le64(meta + CREATED_AT, (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec);
	if (getrandom(meta + RANDOM_AT, META_SIZE - RANDOM_AT, 0) != META_SIZE - RANDOM_AT)
		return errno != 0 ? errno : EIO;
	pv_put_le32(meta + CRC_AT, pv_crc32c(0, meta + CREATED_AT, META_SIZE - CREATED_AT));
	return 0;
}

static int put_meta(struct pv_journal *journal, MDB_txn *txn)
{
	uint8_t meta[META_SIZE];
	MDB_val key = meta_key();
	MDB_val value = { .mv_size = META_SIZE, .mv_data = meta };
	int rc = fill_meta(meta);

	if (rc == 0)
		rc = mdb_dbi_open(txn, META_TABLE, MDB_CREATE, &journal->meta);
	if (rc == 0)
		rc = mdb_dbi_open(txn, EVENTS_TABLE, MDB_CREATE, &journal->events);
	if (rc == 0)
		rc = pv_tables_open(journal, txn, true);
	if (rc == 0)
		rc = mdb_put(txn, journal->meta, &key, &value, 0);
	if (rc == 0)
		pv_sha256(meta, META_SIZE, journal->genesis);
	return rc;
}

enum pv_err pv_journal_meta_create(struct pv_journal *journal, struct pv_errmsg *msg)
{
	MDB_txn *txn;
	int rc = mdb_txn_begin(journal->env, NULL, 0, &txn);

	if (rc == 0) {
		rc = put_meta(journal, txn);
		if (rc == 0)
			rc = mdb_txn_commit(txn);
		else
			mdb_txn_abort(txn);
	}
	if (rc != 0)
		return pv_lmdb_fail(msg, journal, rc, "cannot create the journal of %s", pv_journal_name(journal));
	return PV_OK;
}

static enum pv_err check_meta(struct pv_journal *journal, const MDB_val *value, struct pv_errmsg *msg)
{
	const char *name = pv_journal_name(journal);
	const uint8_t *meta = value->mv_data;
	uint32_t format;

	if (value->mv_size < CREATED_AT || memcmp(meta, MAGIC, MAGIC_LEN) != 0)
		return pv_err_set(msg, PV_ERR_FOREIGN,
		                  "%s/" PV_JOURNAL_FILE " is an LMDB file, but not a journal of provium; "
		                  "give the directory of a run",
		                  name);
	format = pv_get_le32(meta + FORMAT_AT);
	if (format > PV_JOURNAL_FORMAT)
		return pv_err_set(msg, PV_ERR_VERSION,
		                  "the journal of %s is in format %u and this provium (" PV_VERSION
		                  ") reads up to format %d; read it with the provium that wrote it, or a later one",
		                  name, format, PV_JOURNAL_FORMAT);
	if (value->mv_size < META_SIZE ||
	    pv_crc32c(0, meta + CREATED_AT, value->mv_size - CREATED_AT) != pv_get_le32(meta + CRC_AT))
		return pv_err_set(msg, PV_ERR_CORRUPT,
		                  "the head of the journal of %s is damaged: its checksum does not match; "
		                  "restore the journal from a copy",
		                  name);
	pv_sha256(meta, value->mv_size, journal->genesis);
	return PV_OK;
}

/* No table at all: LMDB has made its file, and then the process died. */
static enum pv_err explain_missing(struct pv_journal *journal, MDB_txn *txn, struct pv_errmsg *msg)
{
	MDB_stat stat;
	MDB_dbi main_table;

	if (mdb_dbi_open(txn, NULL, 0, &main_table) == 0 && mdb_stat(txn, main_table, &stat) == 0 &&
	    stat.ms_entries == 0)
		return pv_err_set(msg, PV_ERR_CORRUPT,
		                  "the journal of %s holds nothing: the run ended while it was being created; "
		                  "remove the directory",
		                  pv_journal_name(journal));
	return pv_err_set(msg, PV_ERR_FOREIGN,
	                  "%s/" PV_JOURNAL_FILE " is an LMDB file, but not a journal of provium; "
	                  "give the directory of a run",
	                  pv_journal_name(journal));
}

static enum pv_err load(struct pv_journal *journal, MDB_txn *txn, struct pv_errmsg *msg)
{
	MDB_val key = meta_key();
	MDB_val value;
	int rc = mdb_dbi_open(txn, META_TABLE, 0, &journal->meta);

	if (rc == 0)
		rc = mdb_dbi_open(txn, EVENTS_TABLE, 0, &journal->events);
	if (rc == 0)
		rc = pv_tables_open(journal, txn, false);
	if (rc == 0)
		rc = mdb_get(txn, journal->meta, &key, &value);
	if (rc == MDB_NOTFOUND || rc == MDB_INCOMPATIBLE)
		return explain_missing(journal, txn, msg);
	if (rc != 0)
		return pv_lmdb_fail(msg, journal, rc, "cannot read the head of the journal of %s",
		                    pv_journal_name(journal));
	return check_meta(journal, &value, msg);
}

enum pv_err pv_journal_meta_load(struct pv_journal *journal, struct pv_errmsg *msg)
{
	enum pv_err err;
	MDB_txn *txn;
	int rc = mdb_txn_begin(journal->env, NULL, MDB_RDONLY, &txn);

	if (rc != 0)
		return pv_lmdb_fail(msg, journal, rc, "cannot read the journal of %s", pv_journal_name(journal));
	err = load(journal, txn, msg);
	if (err != PV_OK) {
		mdb_txn_abort(txn);
		return err;
	}
	rc = mdb_txn_commit(txn); /* keeps the table handles */
	if (rc != 0)
		return pv_lmdb_fail(msg, journal, rc, "cannot read the journal of %s", pv_journal_name(journal));
	return PV_OK;
}

enum pv_err pv_journal_tables_create(struct pv_journal *journal, struct pv_errmsg *msg)
{
	bool has_all = true;
	MDB_txn *txn;
	int rc;

	for (int i = 0; i < PV_TABLES; i++)
		has_all = has_all && journal->has_table[i];
	if (has_all)
		return PV_OK;
	rc = mdb_txn_begin(journal->env, NULL, 0, &txn);
	if (rc == 0) {
		rc = pv_tables_open(journal, txn, true);
		if (rc == 0)
			rc = mdb_txn_commit(txn);
		else
			mdb_txn_abort(txn);
	}
	return rc == 0
	           ? PV_OK
	           : pv_lmdb_fail(msg, journal, rc, "cannot add tables to the journal of %s", pv_journal_name(journal));
}
