/* What the files of this room share. Not for other rooms.
 *
 *   journal.c     create, open, close          append.c      append, commit, sync
 *   env.c         the LMDB environment         cursor.c      reading
 *   meta.c        the meta table               verify.c      the walk over chain and tree
 *   record.c      the bytes of a record        verify_dir.c  work on a journal in a child process
 *   lock.c        the run's lock               blob*.c       large payloads
 *   synced.c      the way back after the machine died
 *   sync_thread.c syncs beside the writer      copy.c        a file of what is committed
 *   merkle.c      the tree over the records    hasher.c      its growth beside the writer
 *   checkpoint.c  when and how its root is kept
 *   note.c        a root as text               sign.c        Ed25519
 *   tables.c      rows of the tables beside the events
 *   pages.c       the pages of the file, without LMDB
 *   redact.c      blobs removed on purpose
 *   index.c       streams, calls               folds.c       snapshots of the state
 */
#ifndef PV_JOURNAL_JOURNAL_INTERNAL_H
#define PV_JOURNAL_JOURNAL_INTERNAL_H

#include <lmdb.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "journal/checkpoint.h"
#include "journal/journal.h"
#include "journal/merkle.h"
#include "journal/redact.h"
#include "journal/tables.h"

#define PV_JOURNAL_FORMAT 1 /* of the tables and of records; the meta table and every record name it */

#define PV_JOURNAL_FILE      "journal.mdb"
#define PV_JOURNAL_LMDB_LOCK "journal.mdb-lock"
#define PV_JOURNAL_SYNCED    "journal.synced"
#define PV_JOURNAL_LOCK      "run.lock"
#define PV_JOURNAL_BLOBS     "blobs"

/* Address space, not memory; on disk the file has the size of what it holds. */
#define PV_JOURNAL_MAP_BYTES        (UINT64_C(64) << 30)
#define PV_JOURNAL_MEMORY_MAP_BYTES (UINT64_C(4) << 30)

/* ---- record.c: the bytes ----
 *
 *   0  u8       format
 *   1  u32 LE   CRC-32C of everything behind it
 *   5  32 bytes SHA-256 of the previous record; in the first record: of the meta record
 *  37  ...      packed Pv__Event
 */
#define PV_RECORD_CRC_AT   1
#define PV_RECORD_PREV_AT  5
#define PV_RECORD_EVENT_AT 37

#define PV_EVENT_MAX_BYTES (16u << 20) /* larger payloads are blobs */
#define EXIT_FAILURE_LMDB  90          /* exit status of a verifying child in which LMDB gave up */

void pv_put_le32(uint8_t *at, uint32_t value);
uint32_t pv_get_le32(const uint8_t *at);
void pv_put_le64(uint8_t *at, uint64_t value);
uint64_t pv_get_le64(const uint8_t *at);
void pv_put_be64(uint8_t *at, uint64_t value);
uint64_t pv_get_be64(const uint8_t *at);

void pv_sha256(const void *data, size_t len, uint8_t out[PV_SHA256_BYTES]);
/* Of the byte `prefix` and `data` behind it. */
void pv_sha256_prefixed(uint8_t prefix, const void *data, size_t len, uint8_t out[PV_SHA256_BYTES]);

/* Fills in the head of a record whose event is already in place, and moves `chain` from the previous record's hash to this
 * one's. `len` counts the whole record. */
void pv_record_seal(uint8_t *record, size_t len, uint8_t chain[PV_SHA256_BYTES]);

/* NULL if the record is whole, else what is wrong with it ("its checksum does not match"). */
const char *pv_record_fault(const uint8_t *record, size_t len);

/* ---- the handle ---- */

#define PV_BLOBS_UNSYNCED_MAX 256 /* beyond that, one syncfs() instead of an fsync for each */

struct pv_memory_blob;
struct pv_sync_thread;
struct pv_hasher;
struct pv_checkpoints;
struct pv_index;

struct pv_journal {
	LIST_ENTRY(pv_journal) link; /* in the list of all that this process has open (env.c) */
	unsigned process_generation; /* an environment must not be used behind a fork (env.c) */

	char *dir;   /* NULL: in memory */
	int dir_fd;  /* -1: in memory */
	int lock_fd; /* run.lock, locked; -1 for readers and in memory */
	dev_t dev;   /* of journal.mdb */
	ino_t ino;
	bool writable;
	enum pv_durability durability;
	unsigned cursors; /* open ones */

	MDB_env *env;
	MDB_dbi events;
	MDB_dbi meta;
	MDB_dbi tables[PV_TABLES]; /* those that has_table tells of */
	bool has_table[PV_TABLES];
	uint8_t genesis[PV_SHA256_BYTES]; /* hash of the meta record: what the first record carries as previous */

	/* writer: the open transaction, NULL between a commit and the next append */
	MDB_txn *txn;
	MDB_cursor *append_cursor; /* dies with txn */
	uint64_t last_seq;
	uint64_t committed_seq;
	uint64_t commits; /* successful ones; cursors in memory look at it */
	uint8_t chain[PV_SHA256_BYTES];
	struct pv_index *index;             /* NULL: no memory for it */
	struct pv_checkpoints *checkpoints; /* NULL: none are made */
	struct pv_hasher *hasher;           /* NULL until used */

	/* writer: after the first failure, what every later append and commit returns */
	enum pv_err failed;
	struct pv_errmsg failure;

	/* writer, batch durability: synced.c */
	int synced_fd;
	uint64_t synced_counter;
	uint64_t synced_commits;     /* value of `commits` at the last sync */
	MDB_txn *pin;                /* keeps LMDB from reusing pages of the last synced state */
	MDB_txn *next_pin;           /* the same for the state that is being synced */
	struct pv_sync_thread *sync; /* NULL until used */
	bool rolled_back;
	uint8_t *tail; /* while opening: records to be appended again */
	size_t tail_len;
	size_t tail_size;

	/* reader: a transaction for looking up the last number, reset between uses */
	MDB_txn *peek;

	/* blobs */
	int blobs_fd; /* -1 until used, or in memory */
	uint64_t blob_counter;
	size_t unsynced_count;
	uint8_t unsynced[PV_BLOBS_UNSYNCED_MAX][PV_SHA256_BYTES];
	struct pv_memory_blob *memory_blobs[256]; /* by first byte of the hash */
};

/* "<dir>", or "memory" */
const char *pv_journal_name(const struct pv_journal *journal);

/* What creating and opening can be told beyond the public functions; tests use it. */
struct pv_journal_options {
	enum pv_durability durability;
	uint64_t map_bytes;
	bool expendable; /* in the child of pv_journal_verify_dir: LMDB's assertions end the process quietly */
};

enum pv_err pv_journal_create_with(const char *dir, const struct pv_journal_options *options, struct pv_journal **out,
                                   struct pv_errmsg *msg) PV_MUST_CHECK;
enum pv_err pv_journal_open_read_with(const char *dir, const struct pv_journal_options *options,
                                      struct pv_journal **out, struct pv_errmsg *msg) PV_MUST_CHECK;

/* ---- env.c ---- */

/* Opens the environment at `path` into journal->env and enters `journal` in the list of open ones. */
enum pv_err pv_journal_env_open(struct pv_journal *journal, const char *path, unsigned flags,
                                const struct pv_journal_options *options, struct pv_errmsg *msg) PV_MUST_CHECK;
void pv_journal_env_close(struct pv_journal *journal);

/* PV_ERR_STATE if this process has the journal file (device, inode) open already: LMDB forbids a second time. */
enum pv_err pv_journal_check_not_open(const char *dir, dev_t dev, ino_t ino, struct pv_errmsg *msg) PV_MUST_CHECK;

/* True if this process has that journal file open for appending. */
bool pv_journal_is_own_writer(dev_t dev, ino_t ino);

/* Aborts if `journal` was opened before a fork and this is the child. */
void pv_journal_assert_own(const struct pv_journal *journal);

/* Looks at the file before LMDB does, for LMDB takes an empty one for new and any other for its own:
 * PV_ERR_NOENT, PV_ERR_FOREIGN, PV_ERR_CORRUPT (cut off in its first pages), PV_ERR_STATE (open already). */
enum pv_err pv_journal_check_file(const char *dir, int dir_fd, struct pv_errmsg *msg) PV_MUST_CHECK;

/* ---- lmdb_error.c ---- */

/* Writes "<fmt>: <why>; <what to do>" for LMDB's or the system's code `rc`, and gives its class. */
enum pv_err pv_lmdb_fail(struct pv_errmsg *msg, const struct pv_journal *journal, int rc, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* The same for a failed system call on a file of the journal. */
enum pv_err pv_file_fail(struct pv_errmsg *msg, int sys_errno, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
enum pv_err pv_out_of_memory(struct pv_errmsg *msg, const char *doing);

/* ---- meta.c ---- */

/* Makes the tables and the meta record, in a transaction of its own. Sets events, meta, genesis. */
enum pv_err pv_journal_meta_create(struct pv_journal *journal, struct pv_errmsg *msg) PV_MUST_CHECK;
/* Makes the tables that an older provium did not. */
enum pv_err pv_journal_tables_create(struct pv_journal *journal, struct pv_errmsg *msg) PV_MUST_CHECK;
/* Finds them: PV_ERR_FOREIGN, PV_ERR_VERSION, PV_ERR_CORRUPT. */
enum pv_err pv_journal_meta_load(struct pv_journal *journal, struct pv_errmsg *msg) PV_MUST_CHECK;

/* ---- lock.c ---- */

/* Takes DIR/run.lock for as long as *fd is open: PV_ERR_BUSY names the holder. *created: the file was not there before. */
enum pv_err pv_run_lock_take(const char *dir, int dir_fd, int *fd, bool *created, struct pv_errmsg *msg) PV_MUST_CHECK;

/* ---- append.c ---- */

/* Drops the open transaction and remembers the failure: `doing` and the code `rc` of LMDB or the system. Every later append,
 * commit and sync returns it. */
enum pv_err pv_journal_poison(struct pv_journal *journal, int rc, const char *doing, struct pv_errmsg *msg);

/* Appends the bytes of a record that followed the present last one. PV_ERR_CORRUPT if it does not. */
enum pv_err pv_journal_append_record(struct pv_journal *journal, const uint8_t *record, size_t len,
                                     struct pv_errmsg *msg) PV_MUST_CHECK;

/* Opens the transaction if there is none. A code of LMDB. */
int pv_journal_begin(struct pv_journal *journal) PV_MUST_CHECK;
/* Says once more why nothing can be written. */
enum pv_err pv_journal_repeat_failure(const struct pv_journal *journal, struct pv_errmsg *msg);

/* ---- tables.c: all give a code of LMDB; MDB_NOTFOUND if the table is not there, MDB_CORRUPTED for a bad checksum ---- */

/* Finds the tables that there are; with `create`, all of them. */
int pv_tables_open(struct pv_journal *journal, MDB_txn *txn, bool create) PV_MUST_CHECK;
int pv_row_put(struct pv_journal *journal, MDB_txn *txn, enum pv_table table, MDB_val key, const void *data,
               size_t len) PV_MUST_CHECK;
/* *value: the content, without the checksum. */
int pv_row_get(const struct pv_journal *journal, MDB_txn *txn, enum pv_table table, MDB_val key,
               MDB_val *value) PV_MUST_CHECK;
/* The row with the greatest key that is not above *key, which becomes its key. */
int pv_row_last_up_to(const struct pv_journal *journal, MDB_txn *txn, enum pv_table table, MDB_val *key,
                      MDB_val *value) PV_MUST_CHECK;
/* Checks a row and takes the checksum off *value. */
int pv_row_check(const MDB_val *key, MDB_val *value) PV_MUST_CHECK;

/* ---- index.c ---- */

int pv_index_start(struct pv_journal *journal) PV_MUST_CHECK;
void pv_index_stop(struct pv_journal *journal);
/* Event `seq` was appended with this entry. */
void pv_index_add(struct pv_journal *journal, const struct pv_journal_index *entry, uint64_t seq);
/* A window is full. */
bool pv_index_is_due(const struct pv_journal *journal);
/* Writes what was collected into the open transaction. */
int pv_index_flush(struct pv_journal *journal) PV_MUST_CHECK;

/* ---- checkpoint.c, hasher.c ---- */

void pv_checkpoints_stop(struct pv_journal *journal);
/* Puts the rows of a checkpoint whose tree is there into the open transaction. */
int pv_checkpoints_before_commit(struct pv_journal *journal) PV_MUST_CHECK;
/* Begins the next one. */
void pv_checkpoints_after_commit(struct pv_journal *journal);

/* Adds the committed records up to `to`. */
int pv_merkle_grow(const struct pv_journal *journal, struct pv_merkle *tree, uint64_t to) PV_MUST_CHECK;

/* The same beside the writer, one job at a time; `tree` must not be touched before its end was taken. */
int pv_hasher_begin(struct pv_journal *journal, struct pv_merkle *tree, uint64_t to) PV_MUST_CHECK;
bool pv_hasher_is_busy(const struct pv_journal *journal);
/* Takes the result of the job under way: *rc; false if it is not done. */
bool pv_hasher_end(struct pv_journal *journal, bool wait, int *rc);
void pv_hasher_stop(struct pv_journal *journal);

/* ---- sign.c ---- */

#define PV_NOTE_NAME "provium" /* of the key, in the signature line of a note */

bool pv_sign(const struct pv_signer *signer, const void *data, size_t len, uint8_t id[4], uint8_t signature[64]);
enum pv_err pv_verify(const struct pv_verifier *verifier, const void *data, size_t len, const uint8_t id[4],
                      const uint8_t signature[64], struct pv_errmsg *msg) PV_MUST_CHECK;

/* ---- cursor.c ---- */

/* The number of the last record in `txn`, 0 if none, and its bytes (may be NULL). An LMDB code. */
int pv_journal_last_in(const struct pv_journal *journal, MDB_txn *txn, uint64_t *seq, MDB_val *record);

/* ---- synced.c ---- */

/* Before the environment is opened for appending: if the machine died since the last sync, goes back to what was synced. Sets
 * journal->rolled_back if events were lost, else journal->tail. */
enum pv_err pv_journal_synced_recover(struct pv_journal *journal, struct pv_errmsg *msg) PV_MUST_CHECK;
/* When it is open: appends journal->tail again and commits it. */
enum pv_err pv_journal_synced_restore_tail(struct pv_journal *journal, struct pv_errmsg *msg) PV_MUST_CHECK;
/* Behind opening for appending with batch durability: syncs what is there and keeps it safe from then on. With the other
 * durabilities: removes the file, which would no longer be true. */
enum pv_err pv_journal_synced_start(struct pv_journal *journal, struct pv_errmsg *msg) PV_MUST_CHECK;
/* fsync, note, pin. */
enum pv_err pv_journal_synced_advance(struct pv_journal *journal, struct pv_errmsg *msg) PV_MUST_CHECK;

/* What journal.synced is to hold of the state that is committed now. */
struct pv_synced_note {
	uint64_t seq;
	uint64_t page_size;
	uint8_t meta[256];
};

/* The three steps of a sync, for one that is split over threads: takes the note and pins its state; fsync, and the note to the disk (the
 * step that blocks); gives up the pin before. Errno or a code of LMDB. */
int pv_journal_synced_take(struct pv_journal *journal, struct pv_synced_note *note) PV_MUST_CHECK;
int pv_journal_synced_write(struct pv_journal *journal, const struct pv_synced_note *note) PV_MUST_CHECK;
void pv_journal_synced_move_pin(struct pv_journal *journal);

/* ---- sync_thread.c ---- */

/* Waits for a sync under way, whose result is lost, and ends the thread. */
void pv_journal_sync_stop(struct pv_journal *journal);

/* ---- blob.c, blob_memory.c ---- */

void pv_hash_name(const uint8_t sha256[PV_SHA256_BYTES], char name[2 * PV_SHA256_BYTES + 1]);
/* fsync of all blobs stored since the last time. An errno. */
int pv_journal_blobs_sync(struct pv_journal *journal) PV_MUST_CHECK;
/* fsync of these. Touches nothing that a writer changes. */
int pv_journal_blobs_sync_list(const struct pv_journal *journal, uint8_t (*list)[PV_SHA256_BYTES],
                               size_t n) PV_MUST_CHECK;
/* Removes what a killed writer left half-written. */
void pv_journal_blobs_tidy(struct pv_journal *journal);
void pv_journal_blobs_close(struct pv_journal *journal);

enum pv_err pv_memory_blob_put(struct pv_journal *journal, const void *data, size_t len,
                               const uint8_t sha256[PV_SHA256_BYTES], struct pv_errmsg *msg) PV_MUST_CHECK;
enum pv_err pv_memory_blob_get(struct pv_journal *journal, const uint8_t sha256[PV_SHA256_BYTES], void **data,
                               size_t *len, struct pv_errmsg *msg) PV_MUST_CHECK;
void pv_memory_blobs_free(struct pv_journal *journal);

#endif
