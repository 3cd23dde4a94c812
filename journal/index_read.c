/* Reading the tables streams and calls; index.c has their rows. */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "journal/journal_internal.h"

#define ROW_HEAD       12
#define PAIR_SIZE      16
#define STREAM_KEY_LEN 12

/* ---- rows ---- */

bool pv_stream_row_open(const uint8_t *key, size_t key_len, const uint8_t *data, size_t len, struct pv_stream_row *out)
{
	uint32_t stream;

	if (key_len != STREAM_KEY_LEN || len < 8)
		return false;
	memcpy(&stream, key, 4);
	*out = (struct pv_stream_row){ .stream = be32toh(stream), .n = pv_get_be64(key + 4) };
	if (out->stream == PV_STREAM_NONE) {
		if (len != 8 || out->n != 0)
			return false;
		out->n = pv_get_le64(data);
		return true;
	}
	if (len < ROW_HEAD)
		return false;
	out->count = pv_get_le32(data);
	out->next = pv_get_le64(data + 4);
	out->at = data + ROW_HEAD;
	out->left = len - ROW_HEAD;
	return out->count > 0 && out->next > 0;
}

static bool get_leb128(struct pv_stream_row *row, uint64_t *value)
{
	*value = 0;
	for (unsigned shift = 0; shift < 64; shift += 7) {
		if (row->left == 0)
			return false;
		*value |= (uint64_t)(*row->at & 0x7f) << shift;
		row->left--;
		if ((*row->at++ & 0x80) == 0)
			return *value > 0;
	}
	return false;
}

bool pv_stream_row_next(struct pv_stream_row *row, uint64_t *seq)
{
	uint64_t distance;

	*seq = row->next;
	if (row->next == 0)
		return row->left == 0;
	if (--row->count == 0) {
		row->next = 0;
		return true;
	}
	if (!get_leb128(row, &distance) || row->next + distance < row->next)
		return false;
	row->next += distance;
	return true;
}

bool pv_call_row_pair(const uint8_t *data, size_t len, size_t i, uint64_t *intent, uint64_t *outcome)
{
	*intent = *outcome = 0;
	if (i >= PV_CALLS_PER_ROW || len % PAIR_SIZE != 0 || len > PV_CALLS_PER_ROW * PAIR_SIZE)
		return false;
	if (i >= len / PAIR_SIZE)
		return true;
	*intent = pv_get_le64(data + i * PAIR_SIZE);
	*outcome = pv_get_le64(data + i * PAIR_SIZE + 8);
	return true;
}

/* ---- look-ups ---- */

static enum pv_err fail(const struct pv_journal *journal, int rc, struct pv_errmsg *msg)
{
	return pv_lmdb_fail(msg, journal, rc, "cannot read the index of the journal of %s", pv_journal_name(journal));
}

uint64_t pv_journal_indexed_seq(struct pv_journal *journal)
{
	uint8_t key_bytes[STREAM_KEY_LEN] = { 0 };
	const MDB_val key = { .mv_size = sizeof(key_bytes), .mv_data = key_bytes };
	uint64_t seq = 0;
	MDB_val value;
	MDB_txn *txn;

	pv_journal_assert_own(journal);
	if (mdb_txn_begin(journal->env, NULL, MDB_RDONLY, &txn) != 0)
		return 0;
	if (pv_row_get(journal, txn, PV_TABLE_STREAMS, key, &value) == 0 && value.mv_size == 8)
		seq = pv_get_le64(value.mv_data);
	mdb_txn_abort(txn);
	return seq;
}

struct list {
	uint64_t *seqs;
	size_t n, size;
};

/* 0, or a code. */
static int add_row(struct list *list, struct pv_stream_row *row)
{
	uint64_t seq;

	for (;;) {
		if (!pv_stream_row_next(row, &seq))
			return MDB_CORRUPTED;
		if (seq == 0)
			return 0;
		if (list->n == list->size) {
			size_t size = list->size ? 2 * list->size : 64;
			uint64_t *seqs = realloc(list->seqs, size * sizeof(*seqs));

			if (seqs == NULL)
				return ENOMEM;
			list->seqs = seqs;
			list->size = size;
		}
		list->seqs[list->n++] = seq;
	}
}

static int read_stream(MDB_cursor *cursor, uint32_t stream, struct list *list)
{
	uint8_t wanted[STREAM_KEY_LEN] = { 0 };
	MDB_val key = { .mv_size = sizeof(wanted), .mv_data = wanted }, value;
	struct pv_stream_row row;
	uint32_t first = htobe32(stream);
	int rc;

	memcpy(wanted, &first, sizeof(first));
	rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
	while (rc == 0) {
		rc = pv_row_check(&key, &value);
		if (rc == 0 && !pv_stream_row_open(key.mv_data, key.mv_size, value.mv_data, value.mv_size, &row))
			rc = MDB_CORRUPTED;
		if (rc == 0 && row.stream != stream)
			return 0;
		if (rc == 0)
			rc = add_row(list, &row);
		if (rc == 0)
			rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
	}
	return rc == MDB_NOTFOUND ? 0 : rc;
}

enum pv_err pv_journal_stream(struct pv_journal *journal, uint32_t stream, uint64_t **seqs, size_t *n,
                              struct pv_errmsg *msg)
{
	struct list list = { .seqs = NULL };
	MDB_cursor *cursor;
	MDB_txn *txn;
	int rc;

	pv_journal_assert_own(journal);
	*seqs = NULL;
	*n = 0;
	if (!journal->has_table[PV_TABLE_STREAMS] || stream == PV_STREAM_NONE)
		return PV_OK;
	rc = mdb_txn_begin(journal->env, NULL, MDB_RDONLY, &txn);
	if (rc != 0)
		return fail(journal, rc, msg);
	rc = mdb_cursor_open(txn, journal->tables[PV_TABLE_STREAMS], &cursor);
	if (rc == 0) {
		rc = read_stream(cursor, stream, &list);
		mdb_cursor_close(cursor);
	}
	mdb_txn_abort(txn);
	if (rc != 0) {
		free(list.seqs);
		return fail(journal, rc, msg);
	}
	*seqs = list.seqs;
	*n = list.n;
	return PV_OK;
}

enum pv_err pv_journal_call(struct pv_journal *journal, uint64_t call, uint64_t *intent, uint64_t *outcome,
                            struct pv_errmsg *msg)
{
	uint8_t key_bytes[8];
	const MDB_val key = { .mv_size = sizeof(key_bytes), .mv_data = key_bytes };
	MDB_val value;
	MDB_txn *txn;
	int rc = mdb_txn_begin(journal->env, NULL, MDB_RDONLY, &txn);

	*intent = *outcome = 0;
	if (rc != 0)
		return fail(journal, rc, msg);
	pv_put_be64(key_bytes, call / PV_CALLS_PER_ROW);
	rc = pv_row_get(journal, txn, PV_TABLE_CALLS, key, &value);
	if (rc == 0 && !pv_call_row_pair(value.mv_data, value.mv_size, call % PV_CALLS_PER_ROW, intent, outcome))
		rc = MDB_CORRUPTED;
	mdb_txn_abort(txn);
	return rc == 0 || rc == MDB_NOTFOUND ? PV_OK : fail(journal, rc, msg);
}
