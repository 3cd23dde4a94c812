/* The journal: the append-only record of one run, on LMDB.
 *
 * A journal lives in a run directory (mode 0700): `journal.mdb` holds the records, `blobs/` large payloads named by their
 * SHA-256. A record is format, CRC-32C, hash of the previous record, and one packed Pv__Event (proto/journal.proto);
 * docs/journal-format.md gives the bytes. Sequence numbers start at 1 and have no gaps.
 *
 * Appends collect in an open transaction and become visible, to this process's cursors and to other processes, with
 * pv_journal_commit(). What was committed survives the death of the process; what was synced, of the machine.
 * One process writes (the run's lock tells which), any number may read meanwhile.
 *
 * This room allocates with plain malloc and survives its failure (PV_ERR_IO, "out of memory").
 */
#ifndef PV_JOURNAL_JOURNAL_H
#define PV_JOURNAL_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/err.h"
#include "proto/journal.pb-c.h"

#define PV_SHA256_BYTES 32

struct pv_journal;
struct pv_journal_cursor;

enum pv_durability {
	PV_DURABILITY_BATCH, /* commit: safe against death of the process; fsync when pv_journal_sync() is called */
	PV_DURABILITY_SYNC,  /* commit: fsync as well */
	PV_DURABILITY_NONE,  /* never fsync */
};

/* Creates the run directory `dir` (its parents must exist) and an empty journal in it, open for appending.
 * Errors: PV_ERR_EXISTS if `dir` holds a journal already, PV_ERR_NOSPACE, PV_ERR_IO. Nothing is left after a failure
 * but directories that existed before. */
enum pv_err pv_journal_create(const char *dir, enum pv_durability durability, struct pv_journal **out,
                              struct pv_errmsg *msg) PV_MUST_CHECK;

/* An appendable journal that leaves nothing on disk (a memfd); blobs are kept in memory. Never fsyncs. */
enum pv_err pv_journal_create_memory(struct pv_journal **out, struct pv_errmsg *msg) PV_MUST_CHECK;

/* Opens the journal of a run directory for appending, after its last committed record. Takes the run's lock.
 * Errors: PV_ERR_NOENT, PV_ERR_BUSY (a live process, named, holds it), PV_ERR_FOREIGN, PV_ERR_VERSION, PV_ERR_CORRUPT,
 * PV_ERR_IO. */
enum pv_err pv_journal_open_append(const char *dir, enum pv_durability durability, struct pv_journal **out,
                                   struct pv_errmsg *msg) PV_MUST_CHECK;

/* Opens for reading, also while another process appends. Errors as above, without PV_ERR_BUSY. */
enum pv_err pv_journal_open_read(const char *dir, struct pv_journal **out, struct pv_errmsg *msg) PV_MUST_CHECK;

/* Closes; records not committed are dropped. NULL is fine. Cursors must have been closed. */
void pv_journal_close(struct pv_journal *journal);

/* The run directory; NULL for a journal in memory. */
const char *pv_journal_dir(const struct pv_journal *journal);

/* True if pv_journal_open_append() found the journal damaged by the death of the machine and went back to what the last
 * pv_journal_sync() had made durable: events behind it are gone. */
bool pv_journal_was_rolled_back(const struct pv_journal *journal);

/* True while another process has the journal open for appending. */
bool pv_journal_is_live(const char *dir);

/* Packs `event` behind the last record, inside the open transaction, and stores its number in *seq (may be NULL).
 * `event` is unchanged and stays the caller's. After PV_ERR_NOSPACE or PV_ERR_IO the transaction and all appends since the
 * last commit are gone, the journal is intact up to that commit, and every later append or commit returns the
 * same error. */
enum pv_err pv_journal_append(struct pv_journal *journal, const Pv__Event *event, uint64_t *seq,
                              struct pv_errmsg *msg) PV_MUST_CHECK;

/* As above for an event that is already packed. */
enum pv_err pv_journal_append_bytes(struct pv_journal *journal, const void *bytes, size_t len, uint64_t *seq,
                                    struct pv_errmsg *msg) PV_MUST_CHECK;

/* Makes all appends since the last commit permanent at once; without any it does nothing. Failure: as for append. */
enum pv_err pv_journal_commit(struct pv_journal *journal, struct pv_errmsg *msg) PV_MUST_CHECK;

/* fsync of what was committed (a no-op with PV_DURABILITY_NONE). */
enum pv_err pv_journal_sync(struct pv_journal *journal, struct pv_errmsg *msg) PV_MUST_CHECK;

/* The same beside the writer, which goes on appending and committing: begins a sync of what is committed now, in a thread of the
 * journal's own. Where nothing blocks, or no thread is to be had, it is done when the call returns: then pv_journal_is_syncing() is
 * false. None may be under way. Failure as for append, here or from pv_journal_sync_end(). pv_journal_sync() waits for one under way. */
enum pv_err pv_journal_sync_begin(struct pv_journal *journal, struct pv_errmsg *msg) PV_MUST_CHECK;
bool pv_journal_is_syncing(const struct pv_journal *journal);
/* Readable when the sync under way is done; the same descriptor always. -1 before the first. */
int pv_journal_sync_fd(const struct pv_journal *journal);
/* Takes the result; waits for it. PV_OK if none is under way. */
enum pv_err pv_journal_sync_end(struct pv_journal *journal, struct pv_errmsg *msg) PV_MUST_CHECK;

/* Number of the last record appended (writer) or committed (reader; looked up anew); 0 if there is none. */
uint64_t pv_journal_last_seq(struct pv_journal *journal);

/* Number of the last record committed. */
uint64_t pv_journal_committed_seq(struct pv_journal *journal);

/* ---- reading ---- */

struct pv_record {
	uint64_t seq;
	const uint8_t *event; /* packed Pv__Event */
	size_t event_len;
};

/* A cursor before record `from_seq` (1 = the first). It sees what was committed when it was opened;
 * pv_journal_cursor_renew() moves that point to now. */
enum pv_err pv_journal_cursor_open(struct pv_journal *journal, uint64_t from_seq, struct pv_journal_cursor **out,
                                   struct pv_errmsg *msg) PV_MUST_CHECK;
void pv_journal_cursor_close(struct pv_journal_cursor *cursor);
enum pv_err pv_journal_cursor_renew(struct pv_journal_cursor *cursor, struct pv_errmsg *msg) PV_MUST_CHECK;

/* The next record, its CRC checked. At the end: PV_OK and record->seq 0. The bytes are valid until the next call on this
 * cursor. PV_ERR_CORRUPT names the record, what is still readable and what to do; the cursor stays before it. */
enum pv_err pv_journal_cursor_next(struct pv_journal_cursor *cursor, struct pv_record *record,
                                   struct pv_errmsg *msg) PV_MUST_CHECK;

/* Decodes; the caller frees with pv__event__free_unpacked(event, NULL). NULL on bytes that are no Event. */
Pv__Event *pv_record_decode(const struct pv_record *record);

struct pv_journal_verdict {
	uint64_t records;              /* whole and chained, from the first */
	uint8_t head[PV_SHA256_BYTES]; /* hash of the last of them */
	uint8_t root[PV_SHA256_BYTES]; /* of the Merkle tree over them */
	uint64_t bad_seq;              /* first bad record, 0 if none */
	uint32_t checkpoints;          /* in the table, each with the root that the records up to it give */
};

/* Walks all records: CRC, gapless numbers, hash chain; and the checkpoints: each has the root of the records up to it, and none tells of
 * more records than there are. PV_ERR_CORRUPT with the first that is bad in `msg` and `verdict`; `verdict` is filled in any
 * case. A damaged file can crash LMDB itself: for untrusted files use pv_journal_verify_dir(). */
enum pv_err pv_journal_verify(struct pv_journal *journal, struct pv_journal_verdict *verdict,
                              struct pv_errmsg *msg) PV_MUST_CHECK;

/* Opens and verifies `dir` in a child process, which may crash harmlessly (then PV_ERR_CORRUPT says so).
 * Must not be called in a process that has the same journal open. */
enum pv_err pv_journal_verify_dir(const char *dir, struct pv_journal_verdict *verdict,
                                  struct pv_errmsg *msg) PV_MUST_CHECK;

/* Any other work on a journal that may be damaged, in the same manner. */
struct pv_journal_watch {
	volatile uint64_t progress; /* set by the work as it goes on: a child that stands still for a minute is ended */
	const char *doing;          /* what it reads, for the message if it crashes: "event", "the table streams" */
};
/* pv_journal_verify() as part of it. */
enum pv_err pv_journal_verify_watched(struct pv_journal *journal, struct pv_journal_verdict *verdict,
                                      struct pv_journal_watch *watch, struct pv_errmsg *msg) PV_MUST_CHECK;
/* `shared` is what the caller gave, and is copied back to it when the child has ended, in whatever way. */
typedef enum pv_err pv_journal_work(struct pv_journal *journal, void *shared, struct pv_journal_watch *watch,
                                    struct pv_errmsg *msg);
enum pv_err pv_journal_in_child(const char *dir, pv_journal_work *work, void *shared, size_t size,
                                struct pv_errmsg *msg) PV_MUST_CHECK;

/* Follows the pages of journal.mdb without LMDB and without trust: heads, tables, the keys and sizes in each page, and that every
 * page is in use or free and never both. PV_ERR_CORRUPT names the table and the page. Rot that leads LMDB to an older state, or
 * out of its file, is found here and only here. The journal must not be live, else PV_ERR_BUSY. */
enum pv_err pv_journal_check_pages(const char *dir, struct pv_errmsg *msg) PV_MUST_CHECK;

/* The number of the last event that journal.synced knows to be on the disk; 0: unknown. */
uint64_t pv_journal_synced_seq(const char *dir);

/* ---- blobs: large payloads by content ---- */

/* Stores `len` bytes under their SHA-256, which goes to `sha256`; storing the same bytes again is cheap. zstd-compressed at
 * rest; complete on disk (by rename) before the call returns, synced with the next pv_journal_sync(). */
enum pv_err pv_journal_blob_put(struct pv_journal *journal, const void *data, size_t len,
                                uint8_t sha256[PV_SHA256_BYTES], struct pv_errmsg *msg) PV_MUST_CHECK;

/* Reads a blob back, its hash checked; the caller frees *data. PV_ERR_NOENT if it is not (or no longer) there. */
enum pv_err pv_journal_blob_get(struct pv_journal *journal, const uint8_t sha256[PV_SHA256_BYTES], void **data,
                                size_t *len, struct pv_errmsg *msg) PV_MUST_CHECK;

/* ---- copies ---- */

/* Writes what is committed now as a journal file of its own, `path`, which must not exist: records, chain and everything else in it are the
 * same, pages that nothing uses are left out, and equal journals give equal files. Works while another process appends. Blobs are not
 * copied. After a failure there is no file. */
enum pv_err pv_journal_copy(struct pv_journal *journal, const char *path, struct pv_errmsg *msg) PV_MUST_CHECK;

#endif
