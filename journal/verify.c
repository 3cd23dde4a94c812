#include <stdlib.h>
#include <string.h>

#include "journal/journal_internal.h"

struct point { /* what a checkpoint and its row in `merkle` say */
	uint64_t size;
	bool has_edge;
	uint8_t root[PV_SHA256_BYTES]; /* of the note */
	uint8_t edge_root[PV_SHA256_BYTES];
};

struct walk {
	struct pv_journal *journal;
	struct pv_journal_verdict *verdict;
	struct pv_journal_watch *watch;
	struct pv_errmsg *msg;
	struct point *points; /* by size */
	size_t n_points, points_size;
	size_t next_point;
	bool is_live; /* another process goes on with it */
	enum pv_err err;
	struct pv_merkle tree;
};

static enum pv_err broken_chain(const struct pv_journal *journal, uint64_t seq, struct pv_errmsg *msg)
{
	unsigned long long n = seq;

	if (n == 1)
		return pv_err_set(
		    msg, PV_ERR_CORRUPT,
		    "event 1 of the journal of %s does not carry the hash of the journal's head: one of the two "
		    "was replaced; no event can be trusted",
		    pv_journal_name(journal));
	return pv_err_set(msg, PV_ERR_CORRUPT,
	                  "event %llu of the journal of %s does not carry the hash of event %llu: one of the two was "
	                  "replaced; events 1 to %llu are unbroken among themselves, the rest cannot be trusted",
	                  n, pv_journal_name(journal), n - 1, n - 1);
}

/* ---- checkpoints ---- */

static enum pv_err bad_point(const struct walk *walk, enum pv_table table, uint64_t size, const char *fault)
{
	return pv_err_set(walk->msg, PV_ERR_CORRUPT,
	                  "the row for %llu events in the table %s of the journal of %s %s: it was changed, or the "
	                  "events were",
	                  (unsigned long long)size, pv_table_name(table), pv_journal_name(walk->journal), fault);
}

static struct point *add_point(struct walk *walk, uint64_t size)
{
	if (walk->n_points == walk->points_size) {
		size_t wanted = walk->points_size ? 2 * walk->points_size : 16;
		struct point *points = realloc(walk->points, wanted * sizeof(*points));

		if (points == NULL) {
			walk->err = pv_out_of_memory(walk->msg, "cannot verify the checkpoints");
			return NULL;
		}
		walk->points = points;
		walk->points_size = wanted;
	}
	walk->points[walk->n_points] = (struct point){ .size = size };
	return &walk->points[walk->n_points++];
}

static bool take_note(void *arg, const uint8_t *key, size_t key_len, const uint8_t *data, size_t len)
{
	struct walk *walk = arg;
	struct pv_note note;
	struct point *point;

	if (pv_note_parse((const char *)data, len, &note, NULL) != PV_OK || key_len != 8 ||
	    pv_get_be64(key) != note.size) {
		walk->err =
		    bad_point(walk, PV_TABLE_CHECKPOINTS, key_len == 8 ? pv_get_be64(key) : 0, "is no checkpoint");
		return false;
	}
	point = add_point(walk, note.size);
	if (point == NULL)
		return false;
	memcpy(point->root, note.root, PV_SHA256_BYTES);
	return true;
}

/* The edge is kept as its root: other hashes on it would give another one. */
static bool take_edge(void *arg, const uint8_t *key, size_t key_len, const uint8_t *data, size_t len)
{
	struct walk *walk = arg;
	const uint64_t size = key_len == 8 ? pv_get_be64(key) : 0;
	struct pv_merkle tree;

	if (size == 0 || !pv_merkle_load(&tree, size, data, len)) {
		walk->err = bad_point(walk, PV_TABLE_MERKLE, size, "is no edge of a tree");
		return false;
	}
	/* both tables are in the order of sizes */
	while (walk->next_point < walk->n_points && walk->points[walk->next_point].size < size)
		walk->next_point++;
	if (walk->next_point < walk->n_points && walk->points[walk->next_point].size == size) {
		walk->points[walk->next_point].has_edge = true;
		pv_merkle_root(&tree, walk->points[walk->next_point].edge_root);
		return true;
	}
	if (walk->is_live && walk->next_point == walk->n_points)
		return false; /* committed since the checkpoints were read */
	walk->err = bad_point(walk, PV_TABLE_MERKLE, size, "has no checkpoint");
	return false;
}

static enum pv_err load_points(struct walk *walk)
{
	enum pv_err err;

	walk->watch->doing = "the table checkpoints";
	err = pv_journal_rows(walk->journal, PV_TABLE_CHECKPOINTS, take_note, walk, walk->msg);
	if (err == PV_OK && walk->err == PV_OK) {
		walk->watch->doing = "the table merkle";
		err = pv_journal_rows(walk->journal, PV_TABLE_MERKLE, take_edge, walk, walk->msg);
	}
	walk->next_point = 0;
	return err != PV_OK ? err : walk->err;
}

static enum pv_err check_point(struct walk *walk)
{
	const struct point *point = &walk->points[walk->next_point];
	uint8_t root[PV_SHA256_BYTES];

	if (walk->next_point >= walk->n_points || point->size != walk->tree.size)
		return PV_OK;
	pv_merkle_root(&walk->tree, root);
	if (memcmp(root, point->root, sizeof(root)) != 0)
		return bad_point(walk, PV_TABLE_CHECKPOINTS, point->size, "has another root than the events");
	if (!point->has_edge)
		return bad_point(walk, PV_TABLE_MERKLE, point->size, "is missing");
	if (memcmp(root, point->edge_root, sizeof(root)) != 0)
		return bad_point(walk, PV_TABLE_MERKLE, point->size, "has another root than the events");
	walk->next_point++;
	walk->verdict->checkpoints++;
	return PV_OK;
}

/* ---- records ---- */

static enum pv_err walk_records(struct walk *walk, struct pv_journal_cursor *cursor)
{
	struct pv_journal_verdict *verdict = walk->verdict;
	struct pv_record record;
	enum pv_err err;

	walk->watch->doing = "event";
	for (;;) {
		verdict->bad_seq =
		    verdict->records + 1; /* if reading it ends this process, that is what is left to see */
		err = pv_journal_cursor_next(cursor, &record, walk->msg);
		if ((err == PV_OK && record.seq == 0) || (err != PV_OK && err != PV_ERR_CORRUPT))
			verdict->bad_seq = 0;
		if (err != PV_OK || record.seq == 0)
			return err;
		const uint8_t *bytes = record.event - PV_RECORD_EVENT_AT;
		const size_t len = record.event_len + PV_RECORD_EVENT_AT;

		if (memcmp(bytes + PV_RECORD_PREV_AT, verdict->head, PV_SHA256_BYTES) != 0)
			return broken_chain(walk->journal, record.seq, walk->msg);
		pv_sha256(bytes, len, verdict->head);
		pv_merkle_add(&walk->tree, bytes, len);
		verdict->records = record.seq;
		walk->watch->progress = record.seq;
		verdict->bad_seq = 0;
		err = check_point(walk);
		if (err != PV_OK)
			return err;
	}
}

/* Of a journal that is live: the checkpoints are looked up before the records, so there is none behind their end. */
static enum pv_err walk_all(struct walk *walk)
{
	struct pv_journal_cursor *cursor;
	enum pv_err points = load_points(walk), err;

	if (points != PV_OK) /* what the records are is told in any case; they come first if they are bad as well */
		walk->n_points = 0;
	struct pv_errmsg why = { .text = "" };
	if (points != PV_OK && walk->msg != NULL)
		why = *walk->msg;
	err = pv_journal_cursor_open(walk->journal, 1, &cursor, walk->msg);
	if (err != PV_OK)
		return err;
	err = walk_records(walk, cursor);
	pv_journal_cursor_close(cursor);
	if (err == PV_OK && points != PV_OK) {
		if (walk->msg != NULL)
			*walk->msg = why;
		return points;
	}
	if (err == PV_OK && walk->next_point < walk->n_points)
		err = bad_point(walk, PV_TABLE_CHECKPOINTS, walk->points[walk->next_point].size,
		                "tells of more events than there are");
	return err;
}

/* A journal has all tables, or, if it is an old one, none. */
static enum pv_err check_tables(const struct pv_journal *journal, struct pv_errmsg *msg)
{
	int missing = -1, n = 0;

	for (int i = 0; i < PV_TABLES; i++) {
		n += journal->has_table[i];
		if (!journal->has_table[i])
			missing = i;
	}
	if (n == 0 || n == PV_TABLES)
		return PV_OK;
	return pv_err_set(msg, PV_ERR_CORRUPT,
	                  "the table %s is missing in the journal of %s; the events are not touched by this",
	                  pv_table_name((enum pv_table)missing), pv_journal_name(journal));
}

enum pv_err pv_journal_verify_watched(struct pv_journal *journal, struct pv_journal_verdict *verdict,
                                      struct pv_journal_watch *watch, struct pv_errmsg *msg)
{
	struct walk walk = { .journal = journal, .verdict = verdict, .watch = watch, .msg = msg };
	enum pv_err err;

	memset(verdict, 0, sizeof(*verdict));
	memcpy(verdict->head, journal->genesis, PV_SHA256_BYTES);
	walk.is_live = journal->dir != NULL && pv_journal_is_live(journal->dir);
	err = walk_all(&walk);
	if (err == PV_OK)
		err = check_tables(journal, msg);
	pv_merkle_root(&walk.tree, verdict->root);
	free(walk.points);
	return err;
}

enum pv_err pv_journal_verify(struct pv_journal *journal, struct pv_journal_verdict *verdict, struct pv_errmsg *msg)
{
	struct pv_journal_watch watch = { .progress = 0 };

	return pv_journal_verify_watched(journal, verdict, &watch, msg);
}

/* ---- against a note ---- */

static enum pv_err grow_to(struct pv_journal *journal, struct pv_merkle *tree, uint64_t size, struct pv_errmsg *msg)
{
	struct pv_journal_cursor *cursor;
	struct pv_record record;
	enum pv_err err = pv_journal_cursor_open(journal, 1, &cursor, msg);

	if (err != PV_OK)
		return err;
	while (err == PV_OK && tree->size < size) {
		err = pv_journal_cursor_next(cursor, &record, msg);
		if (err == PV_OK && record.seq == 0)
			break;
		if (err == PV_OK)
			pv_merkle_add(tree, record.event - PV_RECORD_EVENT_AT, record.event_len + PV_RECORD_EVENT_AT);
	}
	pv_journal_cursor_close(cursor);
	return err;
}

enum pv_err pv_journal_check_note(struct pv_journal *journal, const struct pv_note *note, struct pv_errmsg *msg)
{
	const unsigned long long size = note->size;
	struct pv_merkle tree = { 0 };
	uint8_t root[PV_SHA256_BYTES];
	enum pv_err err = grow_to(journal, &tree, note->size, msg);

	if (err != PV_OK)
		return err;
	if (tree.size < note->size)
		return pv_err_set(msg, PV_ERR_CORRUPT,
		                  "truncated: the checkpoint tells of %llu events and the journal of %s has %llu; "
		                  "events %llu to %llu were cut off",
		                  size, pv_journal_name(journal), (unsigned long long)tree.size,
		                  (unsigned long long)tree.size + 1, size);
	pv_merkle_root(&tree, root);
	if (memcmp(root, note->root, sizeof(root)) != 0)
		return pv_err_set(msg, PV_ERR_CORRUPT,
		                  "rewritten: events 1 to %llu of the journal of %s are not those that the checkpoint "
		                  "was made of",
		                  size, pv_journal_name(journal));
	return PV_OK;
}
