/* Snapshots of the state: key be64(event), content one zstd frame that tells its size. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "journal/journal_internal.h"

#define LEVEL           1
#define STATE_MAX_BYTES (UINT64_C(1) << 30)

static MDB_val be64_key(uint64_t number, uint8_t bytes[8])
{
	pv_put_be64(bytes, number);
	return (MDB_val){ .mv_size = 8, .mv_data = bytes };
}

enum pv_err pv_journal_put_fold(struct pv_journal *journal, const void *state, size_t len, struct pv_errmsg *msg)
{
	const size_t bound = ZSTD_compressBound(len);
	uint8_t key[8];
	size_t packed;
	void *frame;
	int rc;

	PV_ASSERT(journal->writable);
	if (journal->failed != PV_OK)
		return pv_journal_repeat_failure(journal, msg);
	rc = pv_journal_begin(journal);
	if (rc != 0)
		return pv_journal_poison(journal, rc, "cannot store a state", msg);
	frame = malloc(bound);
	if (frame == NULL)
		return pv_out_of_memory(msg, "cannot store a state");
	packed = ZSTD_compress(frame, bound, state, len, LEVEL);
	if (ZSTD_isError(packed))
		rc = ENOMEM;
	else
		rc = pv_row_put(journal, journal->txn, PV_TABLE_FOLDS, be64_key(journal->last_seq, key), frame, packed);
	free(frame);
	return rc == 0 ? PV_OK : pv_journal_poison(journal, rc, "cannot store a state", msg);
}

bool pv_fold_row_open(const uint8_t *data, size_t len, void **state, size_t *state_len)
{
	unsigned long long size = ZSTD_getFrameContentSize(data, len);

	*state = NULL;
	if (size > STATE_MAX_BYTES) /* also: no frame, or one that does not tell */
		return false;
	*state = malloc((size_t)size + 1);
	if (*state == NULL)
		return false;
	*state_len = ZSTD_decompress(*state, (size_t)size, data, len);
	if (!ZSTD_isError(*state_len) && *state_len == size)
		return true;
	free(*state);
	*state = NULL;
	return false;
}

enum pv_err pv_journal_fold_before(struct pv_journal *journal, uint64_t seq, uint64_t *at, void **state, size_t *len,
                                   struct pv_errmsg *msg)
{
	uint8_t key_bytes[8];
	MDB_val key = be64_key(seq, key_bytes), value;
	MDB_txn *txn;
	int rc = mdb_txn_begin(journal->env, NULL, MDB_RDONLY, &txn);

	*at = 0;
	*state = NULL;
	*len = 0;
	if (rc != 0)
		return pv_lmdb_fail(msg, journal, rc, "cannot read the journal of %s", pv_journal_name(journal));
	rc = pv_row_last_up_to(journal, txn, PV_TABLE_FOLDS, &key, &value);
	if (rc == 0 && key.mv_size == 8 && pv_get_be64(key.mv_data) <= seq &&
	    pv_fold_row_open(value.mv_data, value.mv_size, state, len))
		*at = pv_get_be64(key.mv_data);
	mdb_txn_abort(txn);
	return PV_OK;
}
