/* The tables beside the events of a journal. Each can be made again from the events; they only save time.
 *
 *   streams      stream -> numbers of its events; a stream is a file, a VM, a bridge or a task
 *   calls        call -> numbers of its intent and its outcome
 *   folds        the state of the lab behind some events
 *   merkle       the right edge of the Merkle tree at each checkpoint
 *   checkpoints  notes: size and root of the tree (checkpoint.h)
 *
 * The journal does not know what an event means: whoever appends one says to what it belongs. `streams` and `calls` cover the events 1
 * to pv_journal_indexed_seq(); rows are written PV_INDEX_WINDOW events at a time and at pv_journal_checkpoint(), so what the
 * writer appended last is not covered yet, or never if it was killed. Who reads looks at the events behind that number.
 */
#ifndef PV_JOURNAL_TABLES_H
#define PV_JOURNAL_TABLES_H

#include "journal/journal.h"

#define PV_INDEX_WINDOW 4096  /* events */
#define PV_FOLD_EVERY   10000 /* events, at least, between states in `folds` */
#define PV_FOLD_BYTES   16    /* of a state, for each event until the next one */

enum pv_table {
	PV_TABLE_STREAMS,
	PV_TABLE_CALLS,
	PV_TABLE_FOLDS,
	PV_TABLE_MERKLE,
	PV_TABLE_CHECKPOINTS,
	PV_TABLES,
};

/* "streams", ... */
const char *pv_table_name(enum pv_table table);
/* A journal of before the tables has none. */
bool pv_journal_has_table(const struct pv_journal *journal, enum pv_table table);

/* ---- streams and calls ---- */

enum pv_stream_kind { PV_STREAM_FILE = 1, PV_STREAM_VM, PV_STREAM_BRIDGE, PV_STREAM_TASK };

#define PV_STREAM_NONE UINT32_C(0)

/* The kind in the top four bits, the id of the object below; PV_STREAM_NONE for an id that does not fit. */
static inline uint32_t pv_stream_id(enum pv_stream_kind kind, uint32_t id)
{
	return id < UINT32_C(1) << 28 ? (uint32_t)kind << 28 | id : PV_STREAM_NONE;
}

/* To what an event belongs. */
struct pv_journal_index {
	const uint32_t *streams; /* the same one twice counts once; PV_STREAM_NONE is passed over */
	size_t n_streams;
	uint64_t call;   /* 0: of none */
	bool is_outcome; /* of the call; else it is the intent */
};

/* pv_journal_append() with its entry in the index. An event appended without one ends the index for this writer. */
enum pv_err pv_journal_append_indexed(struct pv_journal *journal, const Pv__Event *event,
                                      const struct pv_journal_index *index, uint64_t *seq,
                                      struct pv_errmsg *msg) PV_MUST_CHECK;

/* Writer: for a journal that was opened again, the entry of event pv_journal_index_next(), which is in it already. */
uint64_t pv_journal_index_next(const struct pv_journal *journal);
void pv_journal_index_add(struct pv_journal *journal, const struct pv_journal_index *index);

/* Events 1 to here are in `streams` and `calls`; 0: none, or no such table. */
uint64_t pv_journal_indexed_seq(struct pv_journal *journal);

/* The events of a stream among those, in order; the caller frees *seqs. */
enum pv_err pv_journal_stream(struct pv_journal *journal, uint32_t stream, uint64_t **seqs, size_t *n,
                              struct pv_errmsg *msg) PV_MUST_CHECK;
/* The intent and the outcome of a call among those; 0 where there is none. */
enum pv_err pv_journal_call(struct pv_journal *journal, uint64_t call, uint64_t *intent, uint64_t *outcome,
                            struct pv_errmsg *msg) PV_MUST_CHECK;

/* ---- folds ---- */

/* Where the next state is worth its price, behind one of `len` bytes at `seq`. A state grows with all that a run ever made, and packing it
 * takes about 20 ns a byte: stored each so many events, it would in the end cost more than the events. */
static inline uint64_t pv_fold_next(uint64_t seq, size_t len)
{
	const uint64_t pause = (len / PV_FOLD_BYTES + PV_FOLD_EVERY - 1) / PV_FOLD_EVERY * PV_FOLD_EVERY;

	return seq + (pause > 0 ? pause : PV_FOLD_EVERY);
}

/* Stores the state behind the event that was appended last. The journal only keeps the bytes. Failure: as for append. */
enum pv_err pv_journal_put_fold(struct pv_journal *journal, const void *state, size_t len,
                                struct pv_errmsg *msg) PV_MUST_CHECK;
/* The last state stored behind an event up to `seq`: *at is that event, 0 if there is none or its row is damaged (an audit tells). The
 * caller frees *state. */
enum pv_err pv_journal_fold_before(struct pv_journal *journal, uint64_t seq, uint64_t *at, void **state, size_t *len,
                                   struct pv_errmsg *msg) PV_MUST_CHECK;

/* ---- all rows of a table, for those who compare them with the events ---- */

/* One row, its checksum looked at already; the bytes die with the call. False ends the walk. */
typedef bool pv_row_cb(void *arg, const uint8_t *key, size_t key_len, const uint8_t *data, size_t len);

/* In the order of the keys. PV_ERR_CORRUPT names the table and the row. A table that is not there has no rows. */
enum pv_err pv_journal_rows(struct pv_journal *journal, enum pv_table table, pv_row_cb *cb, void *arg,
                            struct pv_errmsg *msg) PV_MUST_CHECK;

/* A row of `streams`, taken apart. The row that tells how far the index reaches has stream PV_STREAM_NONE and n = that number. */
struct pv_stream_row {
	uint32_t stream;
	uint64_t n;     /* how many of the stream came before */
	uint32_t count; /* in this row */
	uint64_t next;  /* the first; 0 behind the last */
	const uint8_t *at;
	size_t left;
};
bool pv_stream_row_open(const uint8_t *key, size_t key_len, const uint8_t *data, size_t len, struct pv_stream_row *out);
/* The next number in it; 0 at the end; false if the row is not as it should be. */
bool pv_stream_row_next(struct pv_stream_row *row, uint64_t *seq);

#define PV_CALLS_PER_ROW 64

/* Pair `i` of a row of `calls`, whose key is be64(call / PV_CALLS_PER_ROW). */
bool pv_call_row_pair(const uint8_t *data, size_t len, size_t i, uint64_t *intent, uint64_t *outcome);

/* The bytes of a row of `folds`, whose key is be64(event); the caller frees *state. */
bool pv_fold_row_open(const uint8_t *data, size_t len, void **state, size_t *state_len);

#endif
