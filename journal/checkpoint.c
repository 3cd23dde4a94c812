/* Making checkpoints.
 *
 *   merkle       key be64(size), content the right edge of the tree: pv_merkle_save()
 *   checkpoints  key be64(size), content the text of the note
 *   DIR/checkpoint  the text of the last note, written when pv_journal_checkpoint() is asked for it
 *
 * A tree that is loaded from the table is trusted here; an audit computes all of it again.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "journal/journal_internal.h"

#define NEW_FILE ".checkpoint-new"

struct pv_checkpoints {
	const struct pv_signer *signer;
	char origin[PV_ORIGIN_MAX + 1];
	uint64_t last;         /* size of the last one in the table */
	struct pv_merkle tree; /* the hasher's while it is busy */
};

static MDB_val be64_key(uint64_t number, uint8_t bytes[8])
{
	pv_put_be64(bytes, number);
	return (MDB_val){ .mv_size = 8, .mv_data = bytes };
}

/* ---- beginning ---- */

static int load_tree(struct pv_journal *journal, struct pv_checkpoints *points)
{
	uint8_t key_bytes[8];
	MDB_val key = be64_key(journal->last_seq, key_bytes), value;
	uint64_t size;
	MDB_txn *txn;
	int rc = mdb_txn_begin(journal->env, NULL, MDB_RDONLY, &txn);

	if (rc != 0)
		return rc;
	/* Without a row that is whole the tree is computed from the first event. */
	if (pv_row_last_up_to(journal, txn, PV_TABLE_MERKLE, &key, &value) == 0 && key.mv_size == 8) {
		size = pv_get_be64(key.mv_data);
		if (size <= journal->last_seq && pv_merkle_load(&points->tree, size, value.mv_data, value.mv_size))
			points->last = size;
	}
	mdb_txn_abort(txn);
	return 0;
}

enum pv_err pv_journal_checkpoints_start(struct pv_journal *journal, const char *origin, const struct pv_signer *signer,
                                         struct pv_errmsg *msg)
{
	const struct pv_note probe = { .origin = "x" };
	struct pv_checkpoints *points;
	char text[PV_NOTE_MAX];
	int rc;

	PV_ASSERT(journal->writable && journal->checkpoints == NULL);
	if (strlen(origin) > PV_ORIGIN_MAX || strpbrk(origin, " \n") != NULL || *origin == '\0')
		return pv_err_set(msg, PV_ERR_INVAL, "\"%s\" cannot name a journal in a checkpoint", origin);
	if (!pv_note_write(&probe, signer, text))
		return pv_err_set(msg, PV_ERR_INVAL, "the signing key cannot be used");
	points = calloc(1, sizeof(*points));
	if (points == NULL)
		return pv_out_of_memory(msg, "cannot make checkpoints");
	points->signer = signer;
	snprintf(points->origin, sizeof(points->origin), "%s", origin);
	rc = load_tree(journal, points);
	if (rc != 0) {
		free(points);
		return pv_lmdb_fail(msg, journal, rc, "cannot read the journal of %s", pv_journal_name(journal));
	}
	journal->checkpoints = points;
	return PV_OK;
}

void pv_checkpoints_stop(struct pv_journal *journal)
{
	pv_hasher_stop(journal);
	free(journal->checkpoints);
	journal->checkpoints = NULL;
}

/* ---- rows ---- */

static bool write_note(const struct pv_checkpoints *points, char text[PV_NOTE_MAX])
{
	struct pv_note note = { .size = points->tree.size };

	snprintf(note.origin, sizeof(note.origin), "%s", points->origin);
	pv_merkle_root(&points->tree, note.root);
	return pv_note_write(&note, points->signer, text);
}

static int put_rows(struct pv_journal *journal)
{
	struct pv_checkpoints *points = journal->checkpoints;
	uint8_t edge[PV_MERKLE_LEVELS * PV_SHA256_BYTES], key_bytes[8];
	const MDB_val key = be64_key(points->tree.size, key_bytes);
	char text[PV_NOTE_MAX];
	int rc;

	if (!write_note(points, text))
		return EIO;
	rc = pv_journal_begin(journal);
	if (rc == 0)
		rc = pv_row_put(journal, journal->txn, PV_TABLE_MERKLE, key, edge, pv_merkle_save(&points->tree, edge));
	if (rc == 0)
		rc = pv_row_put(journal, journal->txn, PV_TABLE_CHECKPOINTS, key, text, strlen(text));
	if (rc == 0)
		points->last = points->tree.size;
	return rc;
}

/* ---- beside the writer ---- */

int pv_checkpoints_before_commit(struct pv_journal *journal)
{
	int rc;

	if (journal->checkpoints == NULL || !pv_hasher_is_busy(journal) || !pv_hasher_end(journal, false, &rc))
		return 0;
	if (rc != 0) { /* it could not read: the next job begins where the last whole one ended */
		memset(&journal->checkpoints->tree, 0, sizeof(journal->checkpoints->tree));
		return load_tree(journal, journal->checkpoints);
	}
	return put_rows(journal);
}

void pv_checkpoints_after_commit(struct pv_journal *journal)
{
	struct pv_checkpoints *points = journal->checkpoints;

	if (points == NULL || journal->dir == NULL || pv_hasher_is_busy(journal) ||
	    journal->committed_seq < points->tree.size + PV_CHECKPOINT_EVERY)
		return;
	/* Without a thread the next commit tries again, and the last checkpoint does without. */
	(void)!pv_hasher_begin(journal, &points->tree,
	                       journal->committed_seq - journal->committed_seq % PV_CHECKPOINT_EVERY);
}

/* ---- of all there is ---- */

static int finish_tree(struct pv_journal *journal)
{
	struct pv_checkpoints *points = journal->checkpoints;
	int rc = 0;

	if (pv_hasher_is_busy(journal))
		(void)pv_hasher_end(journal, true, &rc);
	if (rc == 0)
		rc = pv_merkle_grow(journal, &points->tree, journal->committed_seq);
	return rc;
}

static int write_file(const struct pv_journal *journal, const char *text)
{
	const size_t len = strlen(text);
	int rc = 0;
	int fd = openat(journal->dir_fd, NEW_FILE, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0)
		return errno;
	errno = 0;
	if (write(fd, text, len) != (ssize_t)len)
		rc = errno != 0 ? errno : ENOSPC;
	if (rc == 0 && journal->durability != PV_DURABILITY_NONE && fsync(fd) != 0)
		rc = errno;
	if (close(fd) != 0 && rc == 0)
		rc = errno;
	if (rc == 0 && renameat(journal->dir_fd, NEW_FILE, journal->dir_fd, PV_CHECKPOINT_FILE) != 0)
		rc = errno;
	if (rc == 0 && journal->durability != PV_DURABILITY_NONE && fsync(journal->dir_fd) != 0)
		rc = errno;
	if (rc != 0)
		unlinkat(journal->dir_fd, NEW_FILE, 0);
	return rc;
}

static enum pv_err put_last(struct pv_journal *journal, struct pv_errmsg *msg)
{
	struct pv_checkpoints *points = journal->checkpoints;
	int rc = points != NULL ? finish_tree(journal) : 0;

	if (rc == 0)
		rc = pv_index_flush(journal);
	if (rc == 0 && points != NULL && points->tree.size > points->last)
		rc = put_rows(journal);
	if (rc != 0)
		return pv_journal_poison(journal, rc, "cannot make a checkpoint", msg);
	return pv_journal_commit(journal, msg);
}

enum pv_err pv_journal_checkpoint(struct pv_journal *journal, struct pv_errmsg *msg)
{
	enum pv_err err = pv_journal_commit(journal, msg);
	char text[PV_NOTE_MAX];
	int rc;

	if (err == PV_OK)
		err = put_last(journal, msg);
	if (err ==
	    PV_OK) /* a file that tells of more than is on the disk would accuse whoever goes on behind a power cut */
		err = pv_journal_sync(journal, msg);
	if (err != PV_OK || journal->checkpoints == NULL || journal->dir == NULL || journal->committed_seq == 0)
		return err;
	rc = write_note(journal->checkpoints, text) ? write_file(journal, text) : EIO;
	if (rc != 0)
		return pv_file_fail(msg, rc, "cannot write %s/" PV_CHECKPOINT_FILE, journal->dir);
	return PV_OK;
}

enum pv_err pv_journal_final_note(const char *dir, struct pv_note *out, struct pv_errmsg *msg)
{
	const size_t size = strlen(dir) + sizeof("/" PV_CHECKPOINT_FILE);
	char *path = malloc(size);
	enum pv_err err;

	if (path == NULL)
		return pv_out_of_memory(msg, "cannot read a checkpoint");
	snprintf(path, size, "%s/" PV_CHECKPOINT_FILE, dir);
	err = pv_note_load(path, out, msg);
	free(path);
	return err;
}
