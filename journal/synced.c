/* The way back after the machine died, for batch durability.
 *
 * LMDB with MDB_NOSYNC lets the kernel write pages in any order. When the machine dies, its two meta pages may lead to
 * pages that never reached the disk, and pages of the state that pv_journal_sync() made durable may have been freed and
 * used again. So a sync does three things, in this order:
 *
 *   1. fsync of the journal;
 *   2. a copy of the meta page to DIR/journal.synced, itself synced;
 *   3. a read transaction on exactly that state, held until the next sync ("pin"): LMDB does not reuse its pages. It begins
 *      before the fsync, so that a writer may go on meanwhile (sync_thread.c).
 *
 * The copy names the boot it was made in. Opened for appending in the same boot, the kernel still has everything that was
 * committed and the copy is not looked at. In another boot, unless the journal is in just the state that was synced, it goes
 * back to that state, by putting the copy where it came from. Even if all events turn out well, for nothing tells whether
 * LMDB's list of free pages did. Events that are whole behind the synced state are then appended again.
 *
 * The file has two slots of 512 bytes, at 0 and 4096, used in turn:
 *
 *    0  8 bytes   "PVSYNCED"
 *    8  u32 LE    format, 1
 *   12  u32 LE    CRC-32C of bytes 16 to 511
 *   16  u64 LE    counter; the larger one of the two slots counts
 *   24  u64 LE    number of the last event
 *   32  u64 LE    page size of LMDB
 *   40  36 bytes  boot id, as text
 *   76            0
 *  256  256 bytes start of LMDB's meta page; behind it that page holds nothing
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "journal/journal_internal.h"
#include "proto/crc32c.h"

#define MAGIC       "PVSYNCED"
#define MAGIC_LEN   8
#define FORMAT      1
#define FORMAT_AT   8
#define CRC_AT      12
#define COUNTER_AT  16
#define SEQ_AT      24
#define PSIZE_AT    32
#define BOOT_AT     40
#define BOOT_LEN    36
#define META_AT     256
#define META_LEN    256
#define SLOT_SIZE   512
#define SLOT_STRIDE 4096

#define LMDB_TXNID_AT                                                                                                  \
	144 /* in a meta page, 64-bit hosts: head of the page 16, number of the transaction 128 behind it */

/* Zeros if unknown, which equals no other. */
static void read_boot_id(uint8_t id[BOOT_LEN])
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read(fd, id, BOOT_LEN) != BOOT_LEN)
		memset(id, 0, BOOT_LEN);
	if (fd >= 0)
		close(fd);
}

static bool same_boot(const uint8_t slot[SLOT_SIZE])
{
	uint8_t id[BOOT_LEN];

	read_boot_id(id);
	return id[0] != 0 && memcmp(id, slot + BOOT_AT, BOOT_LEN) == 0;
}

/* The slot that counts; false if there is none. */
static bool load_slot(int fd, uint8_t slot[SLOT_SIZE])
{
	uint8_t read_slot[SLOT_SIZE];
	bool found = false;

	for (int i = 0; i < 2; i++) {
		if (pread(fd, read_slot, SLOT_SIZE, i * SLOT_STRIDE) != SLOT_SIZE)
			continue;
		if (memcmp(read_slot, MAGIC, MAGIC_LEN) != 0 || pv_get_le32(read_slot + FORMAT_AT) != FORMAT ||
		    pv_get_le32(read_slot + CRC_AT) != pv_crc32c(0, read_slot + COUNTER_AT, SLOT_SIZE - COUNTER_AT))
			continue;
		if (found && pv_get_le64(read_slot + COUNTER_AT) < pv_get_le64(slot + COUNTER_AT))
			continue;
		memcpy(slot, read_slot, SLOT_SIZE);
		found = true;
	}
	return found;
}

/* ---- going back ---- */

static bool write_meta_pages(int fd, const uint8_t meta[2][META_LEN], uint64_t page_size)
{
	for (uint64_t page = 0; page < 2; page++)
		if (pwrite(fd, meta[page], META_LEN, (off_t)(page * page_size)) != META_LEN)
			return false;
	return fdatasync(fd) == 0;
}

static bool read_meta_pages(int fd, uint8_t meta[2][META_LEN], uint64_t page_size)
{
	for (uint64_t page = 0; page < 2; page++)
		if (pread(fd, meta[page], META_LEN, (off_t)(page * page_size)) != META_LEN)
			return false;
	return true;
}

static uint64_t txnid_of(const uint8_t meta[META_LEN])
{
	uint64_t txnid;

	memcpy(&txnid, meta + LMDB_TXNID_AT, sizeof(txnid));
	return txnid;
}

static enum pv_err add_to_tail(struct pv_journal *journal, const struct pv_record *record, struct pv_errmsg *msg)
{
	const size_t len = PV_RECORD_EVENT_AT + record->event_len;
	uint8_t *tail;

	if (journal->tail_len + 4 + len > journal->tail_size) {
		size_t size = 2 * (journal->tail_len + 4 + len);

		tail = realloc(journal->tail, size);
		if (tail == NULL)
			return pv_out_of_memory(msg, "cannot go back to what was synced");
		journal->tail = tail;
		journal->tail_size = size;
	}
	pv_put_le32(journal->tail + journal->tail_len, (uint32_t)len);
	memcpy(journal->tail + journal->tail_len + 4, record->event - PV_RECORD_EVENT_AT, len);
	journal->tail_len += 4 + len;
	return PV_OK;
}

static bool is_synced_state(const uint8_t slot[SLOT_SIZE], const uint8_t meta[2][META_LEN])
{
	const uint64_t synced = txnid_of(slot + META_AT);

	return txnid_of(meta[synced & 1]) == synced && txnid_of(meta[(synced & 1) ^ 1]) < synced;
}

/* Both meta pages become the synced one: LMDB takes the first of two that are equally new, and overwrites the right one
 * next. A page starts with its own number. If even that state is damaged, the file is left as it was found. */
static enum pv_err go_back(struct pv_journal *journal, int fd, const uint8_t slot[SLOT_SIZE],
                           const uint8_t found[2][META_LEN], struct pv_errmsg *msg)
{
	const uint64_t page_size = pv_get_le64(slot + PSIZE_AT);
	struct pv_journal_verdict verdict;
	uint8_t synced[2][META_LEN];
	enum pv_err err;

	for (uint64_t page = 0; page < 2; page++) {
		memcpy(synced[page], slot + META_AT, META_LEN);
		memcpy(synced[page], &page, sizeof(page)); /* in the host's order, as LMDB does */
	}
	if (!write_meta_pages(fd, synced, page_size))
		return pv_file_fail(msg, errno, "cannot take the journal of %s back to what was synced", journal->dir);
	err = pv_journal_verify_dir(journal->dir, &verdict, msg);
	if (err == PV_OK && verdict.records == pv_get_le64(slot + SEQ_AT))
		return PV_OK;
	(void)!write_meta_pages(fd, found, page_size);
	return err != PV_OK ? err
	                    : pv_err_set(msg, PV_ERR_CORRUPT, "it and " PV_JOURNAL_SYNCED " do not belong together");
}

/* Copies the records behind the synced ones into journal->tail: each a u32 length and its bytes. */
static enum pv_err save_tail(struct pv_journal *journal, uint64_t from_seq, struct pv_errmsg *msg)
{
	struct pv_journal_cursor *cursor;
	struct pv_record record;
	struct pv_journal *whole;
	enum pv_err err = pv_journal_open_read(journal->dir, &whole, msg);

	if (err != PV_OK)
		return err;
	err = pv_journal_cursor_open(whole, from_seq, &cursor, msg);
	if (err == PV_OK) {
		do {
			err = pv_journal_cursor_next(cursor, &record, msg);
			if (err == PV_OK && record.seq != 0)
				err = add_to_tail(journal, &record, msg);
		} while (err == PV_OK && record.seq != 0);
		pv_journal_cursor_close(cursor);
	}
	pv_journal_close(whole);
	return err;
}

static enum pv_err recover_from(struct pv_journal *journal, int fd, const uint8_t slot[SLOT_SIZE],
                                struct pv_errmsg *msg)
{
	const uint64_t synced_seq = pv_get_le64(slot + SEQ_AT);
	struct pv_journal_verdict verdict;
	uint8_t found[2][META_LEN];
	enum pv_err state, err;

	if (!read_meta_pages(fd, found, pv_get_le64(slot + PSIZE_AT)))
		return pv_file_fail(msg, errno, "cannot read %s/" PV_JOURNAL_FILE, journal->dir);
	if (is_synced_state(slot, found))
		return PV_OK;
	state = pv_journal_verify_dir(journal->dir, &verdict, msg);
	if (state != PV_OK && state != PV_ERR_CORRUPT && state != PV_ERR_FOREIGN)
		return state; /* a page of zeros in the wrong place looks foreign; anything else is no damage */
	if (state == PV_OK && verdict.records > synced_seq) {
		err = save_tail(journal, synced_seq + 1, msg);
		if (err != PV_OK)
			return err;
	}
	err = go_back(journal, fd, slot, found, msg);
	if (err == PV_ERR_CORRUPT && state == PV_OK)
		return pv_err_set(msg, err,
		                  "the journal of %s ends with event %llu and its " PV_JOURNAL_SYNCED
		                  " tells of %llu: one of them was replaced; restore both from the same copy",
		                  journal->dir, (unsigned long long)verdict.records, (unsigned long long)synced_seq);
	journal->rolled_back = err == PV_OK && (state != PV_OK || verdict.records < synced_seq);
	return err;
}

static enum pv_err recover_file(struct pv_journal *journal, const uint8_t slot[SLOT_SIZE], struct pv_errmsg *msg)
{
	enum pv_err err;
	int fd = openat(journal->dir_fd, PV_JOURNAL_FILE, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return pv_file_fail(msg, errno, "cannot open %s/" PV_JOURNAL_FILE, journal->dir);
	err = recover_from(journal, fd, slot, msg);
	close(fd);
	return err;
}

enum pv_err pv_journal_synced_recover(struct pv_journal *journal, struct pv_errmsg *msg)
{
	uint8_t slot[SLOT_SIZE];
	bool found;
	int fd = openat(journal->dir_fd, PV_JOURNAL_SYNCED, O_RDONLY | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT)
		return PV_OK;
	if (fd < 0)
		return pv_file_fail(msg, errno, "cannot open %s/" PV_JOURNAL_SYNCED, journal->dir);
	found = load_slot(fd, slot);
	close(fd);
	if (!found || same_boot(slot))
		return PV_OK;
	return recover_file(journal, slot, msg);
}

uint64_t pv_journal_synced_seq(const char *dir)
{
	uint8_t slot[SLOT_SIZE];
	uint64_t seq = 0;
	int fd;
	int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir_fd < 0)
		return 0;
	fd = openat(dir_fd, PV_JOURNAL_SYNCED, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && load_slot(fd, slot))
		seq = pv_get_le64(slot + SEQ_AT);
	if (fd >= 0)
		close(fd);
	close(dir_fd);
	return seq;
}

enum pv_err pv_journal_synced_restore_tail(struct pv_journal *journal, struct pv_errmsg *msg)
{
	enum pv_err err = PV_OK;

	for (size_t at = 0; at < journal->tail_len && err == PV_OK;) {
		size_t len = pv_get_le32(journal->tail + at);

		err = pv_journal_append_record(journal, journal->tail + at + 4, len, msg);
		at += 4 + len;
	}
	free(journal->tail);
	journal->tail = NULL;
	journal->tail_len = journal->tail_size = 0;
	return err == PV_OK ? pv_journal_commit(journal, msg) : err;
}

/* ---- syncing ---- */

/* The names: journal.mdb and journal.synced in the directory, the directory in its parent. */
static int sync_names(const struct pv_journal *journal)
{
	int rc = 0;
	int parent;

	if (fsync(journal->dir_fd) != 0)
		return errno;
	parent = openat(journal->dir_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (parent < 0)
		return errno == EACCES ? 0 : errno; /* not ours to sync */
	if (fsync(parent) != 0)
		rc = errno;
	close(parent);
	return rc;
}

static int open_synced(struct pv_journal *journal)
{
	uint8_t slot[SLOT_SIZE];
	int rc;
	int fd = openat(journal->dir_fd, PV_JOURNAL_SYNCED, O_RDWR | O_CREAT | O_DSYNC | O_CLOEXEC, 0600);

	if (fd < 0)
		return errno;
	if (load_slot(fd, slot))
		journal->synced_counter = pv_get_le64(slot + COUNTER_AT);
	rc = posix_fallocate(fd, 0, SLOT_STRIDE + SLOT_SIZE); /* so that a full disk cannot stop later syncs */
	if (rc == 0)
		rc = sync_names(journal);
	if (rc != 0) {
		close(fd);
		return rc;
	}
	journal->synced_fd = fd;
	return 0;
}

static int take_note(struct pv_journal *journal, struct pv_synced_note *note)
{
	mdb_filehandle_t fd;
	MDB_envinfo info;
	MDB_stat sizes;
	int rc;

	if ((rc = mdb_env_info(journal->env, &info)) != 0 || (rc = mdb_env_stat(journal->env, &sizes)) != 0 ||
	    (rc = mdb_env_get_fd(journal->env, &fd)) != 0)
		return rc;
	note->seq = journal->committed_seq;
	note->page_size = sizes.ms_psize;
	/* transaction N writes meta page N & 1 */
	if (pread(fd, note->meta, META_LEN, (off_t)((info.me_last_txnid & 1) * sizes.ms_psize)) != META_LEN)
		return errno != 0 ? errno : EIO;
	PV_ASSERT(txnid_of(note->meta) == info.me_last_txnid);
	return 0;
}

static void fill_slot(const struct pv_journal *journal, const struct pv_synced_note *note, uint8_t slot[SLOT_SIZE])
{
	memset(slot, 0, SLOT_SIZE);
	memcpy(slot, MAGIC, MAGIC_LEN);
	pv_put_le32(slot + FORMAT_AT, FORMAT);
	pv_put_le64(slot + COUNTER_AT, journal->synced_counter + 1);
	pv_put_le64(slot + SEQ_AT, note->seq);
	pv_put_le64(slot + PSIZE_AT, note->page_size);
	read_boot_id(slot + BOOT_AT);
	memcpy(slot + META_AT, note->meta, META_LEN);
	pv_put_le32(slot + CRC_AT, pv_crc32c(0, slot + COUNTER_AT, SLOT_SIZE - COUNTER_AT));
}

static int write_slot(struct pv_journal *journal, const struct pv_synced_note *note)
{
	uint8_t slot[SLOT_SIZE];
	ssize_t written;

	fill_slot(journal, note, slot);
	written = pwrite(journal->synced_fd, slot, SLOT_SIZE, (off_t)((journal->synced_counter + 1) & 1) * SLOT_STRIDE);
	if (written != SLOT_SIZE)
		return written < 0 ? errno : ENOSPC;
	journal->synced_counter++;
	return 0;
}

int pv_journal_synced_take(struct pv_journal *journal, struct pv_synced_note *note)
{
	int rc = take_note(journal, note);

	if (rc != 0)
		return rc;
	/* Only this thread commits, so it is the state of the note. */
	mdb_txn_reset(journal->next_pin);
	return mdb_txn_renew(journal->next_pin);
}

int pv_journal_synced_write(struct pv_journal *journal, const struct pv_synced_note *note)
{
	int rc = mdb_env_sync(journal->env, 1);

	if (rc == 0 && journal->synced_fd < 0)
		rc = open_synced(journal);
	return rc == 0 ? write_slot(journal, note) : rc;
}

void pv_journal_synced_move_pin(struct pv_journal *journal)
{
	MDB_txn *before = journal->pin;

	journal->pin = journal->next_pin;
	journal->next_pin = before;
	mdb_txn_reset(before);
}

static int advance(struct pv_journal *journal)
{
	struct pv_synced_note note;
	int rc = pv_journal_synced_take(journal, &note);

	if (rc == 0)
		rc = pv_journal_synced_write(journal, &note);
	if (rc == 0)
		pv_journal_synced_move_pin(journal);
	return rc;
}

enum pv_err pv_journal_synced_advance(struct pv_journal *journal, struct pv_errmsg *msg)
{
	int rc;

	if (journal->synced_fd >= 0 && journal->synced_commits == journal->commits)
		return PV_OK;
	rc = advance(journal);
	if (rc != 0)
		return pv_journal_poison(journal, rc, "cannot sync", msg);
	journal->synced_commits = journal->commits;
	return PV_OK;
}

/* The note must not outlive its truth: the other durabilities let LMDB reuse any page. */
static int drop_note(struct pv_journal *journal)
{
	if (faccessat(journal->dir_fd, PV_JOURNAL_SYNCED, F_OK, 0) != 0)
		return 0;
	int rc = mdb_env_sync(journal->env, 1);

	if (rc == 0 && unlinkat(journal->dir_fd, PV_JOURNAL_SYNCED, 0) != 0)
		rc = errno;
	return rc;
}

/* The pins get their places in LMDB's table of readers now, so that a sync cannot fail for want of one. Until the first sync
 * of a new journal they hold nothing. */
static int start_pin(struct pv_journal *journal)
{
	MDB_txn **pins[] = { &journal->pin, &journal->next_pin };

	for (size_t i = 0; i < 2; i++) {
		int rc = mdb_txn_begin(journal->env, NULL, MDB_RDONLY, pins[i]);

		if (rc != 0) {
			*pins[i] = NULL;
			return rc;
		}
		mdb_txn_reset(*pins[i]);
	}
	return faccessat(journal->dir_fd, PV_JOURNAL_SYNCED, F_OK, 0) == 0 ? advance(journal) : 0;
}

enum pv_err pv_journal_synced_start(struct pv_journal *journal, struct pv_errmsg *msg)
{
	int rc = journal->durability == PV_DURABILITY_BATCH ? start_pin(journal) : drop_note(journal);

	if (rc == 0 && journal->durability == PV_DURABILITY_SYNC)
		rc = sync_names(journal);
	if (rc != 0)
		return pv_lmdb_fail(msg, journal, rc, "cannot make the journal of %s safe", journal->dir);
	return PV_OK;
}
