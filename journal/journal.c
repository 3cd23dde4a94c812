/* Creating, opening and closing. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "journal/journal_internal.h"

const char *pv_journal_name(const struct pv_journal *journal)
{
	return journal->dir != NULL ? journal->dir : "memory";
}

const char *pv_journal_dir(const struct pv_journal *journal)
{
	return journal->dir;
}

bool pv_journal_was_rolled_back(const struct pv_journal *journal)
{
	return journal->rolled_back;
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

static struct pv_journal *new_journal(const char *dir, enum pv_durability durability, struct pv_errmsg *msg)
{
	struct pv_journal *journal = calloc(1, sizeof(*journal));
	size_t size = dir != NULL ? strlen(dir) + 1 : 0;

	if (journal != NULL && dir != NULL) {
		journal->dir = malloc(size); /* not strdup: tests make malloc fail */
		if (journal->dir == NULL) {
			free(journal);
			journal = NULL;
		} else {
			memcpy(journal->dir, dir, size);
		}
	}
	if (journal == NULL) {
		(void)pv_out_of_memory(msg, "cannot open a journal");
		return NULL;
	}
	journal->durability = durability;
	journal->dir_fd = journal->lock_fd = journal->synced_fd = journal->blobs_fd = -1;
	return journal;
}

static void abort_transactions(struct pv_journal *journal)
{
	if (journal->txn != NULL)
		mdb_txn_abort(journal->txn);
	if (journal->peek != NULL)
		mdb_txn_abort(journal->peek);
	if (journal->pin != NULL)
		mdb_txn_abort(journal->pin);
	if (journal->next_pin != NULL)
		mdb_txn_abort(journal->next_pin);
	journal->txn = journal->peek = journal->pin = journal->next_pin = NULL;
}

/* Everything but the open transactions, which must go before the environment. */
static void free_journal(struct pv_journal *journal)
{
	pv_index_stop(journal);
	pv_journal_env_close(journal);
	pv_journal_blobs_close(journal);
	close_fd(journal->synced_fd);
	close_fd(journal->dir_fd);
	close_fd(journal->lock_fd); /* last: from here on another process may append */
	free(journal->tail);
	free(journal->dir);
	free(journal);
}

void pv_journal_close(struct pv_journal *journal)
{
	if (journal == NULL)
		return;
	pv_journal_assert_own(journal);
	if (journal->cursors > 0)
		PV_BUG("the journal of %s is closed with %u cursors open", pv_journal_name(journal), journal->cursors);
	pv_checkpoints_stop(journal);
	pv_journal_sync_stop(journal);
	abort_transactions(journal);
	free_journal(journal);
}

static enum pv_err open_dir(struct pv_journal *journal, struct pv_errmsg *msg)
{
	journal->dir_fd = open(journal->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (journal->dir_fd >= 0)
		return PV_OK;
	if (errno == ENOENT || errno == ENOTDIR)
		return pv_err_set(msg, PV_ERR_NOENT, "there is no journal in %s: %s; give the directory of a run",
		                  journal->dir, errno == ENOENT ? "it does not exist" : "it is not a directory");
	return pv_file_fail(msg, errno, "cannot open %s", journal->dir);
}

static enum pv_err open_env(struct pv_journal *journal, unsigned flags, const struct pv_journal_options *options,
                            struct pv_errmsg *msg)
{
	size_t size = strlen(journal->dir) + sizeof("/" PV_JOURNAL_FILE);
	char *path = malloc(size);
	enum pv_err err;

	if (path == NULL)
		return pv_out_of_memory(msg, "cannot open a journal");
	snprintf(path, size, "%s/" PV_JOURNAL_FILE, journal->dir);
	err = pv_journal_env_open(journal, path, flags, options, msg);
	free(path);
	return err;
}

/* Only the syncing durability lets LMDB wait for the disk at each commit. Without MDB_WRITEMAP every page goes through
 * pwrite(), so what was committed is in the kernel's hands and the death of the process does not touch it. */
static unsigned writer_flags(enum pv_durability durability)
{
	return durability == PV_DURABILITY_SYNC ? 0 : MDB_NOSYNC;
}

static enum pv_err start_index(struct pv_journal *journal, struct pv_errmsg *msg)
{
	int rc = pv_index_start(journal);

	return rc == 0 ? PV_OK
	               : pv_lmdb_fail(msg, journal, rc, "cannot open the journal of %s", pv_journal_name(journal));
}

/* Of a journal that is new: the chain begins with its head. */
static enum pv_err begin_writing(struct pv_journal *journal, struct pv_errmsg *msg)
{
	memcpy(journal->chain, journal->genesis, PV_SHA256_BYTES);
	return start_index(journal, msg);
}

/* ---- create ---- */

struct made { /* what creating has brought into the world and takes back if it fails */
	bool dir;
	bool lock;
	bool file;
};

static enum pv_err make_dir(struct pv_journal *journal, struct made *made, struct pv_errmsg *msg)
{
	made->dir = mkdir(journal->dir, 0700) == 0;
	if (!made->dir && errno != EEXIST)
		return pv_file_fail(msg, errno, "cannot create the run directory %s", journal->dir);
	return open_dir(journal, msg);
}

static enum pv_err make_journal(struct pv_journal *journal, const struct pv_journal_options *options, struct made *made,
                                struct pv_errmsg *msg)
{
	enum pv_err err = make_dir(journal, made, msg);
	struct stat st;

	if (err == PV_OK)
		err = pv_run_lock_take(journal->dir, journal->dir_fd, &journal->lock_fd, &made->lock, msg);
	if (err != PV_OK)
		return err;
	if (fstatat(journal->dir_fd, PV_JOURNAL_FILE, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return pv_err_set(msg, PV_ERR_EXISTS,
		                  "%s holds a journal already; resume that run, or take another directory",
		                  journal->dir);
	made->file = true;
	journal->writable = true;
	err = open_env(journal, writer_flags(journal->durability), options, msg);
	if (err == PV_OK)
		err = pv_journal_meta_create(journal, msg);
	if (err == PV_OK)
		err = pv_journal_synced_start(journal, msg);
	return err == PV_OK ? begin_writing(journal, msg) : err;
}

static void unmake(struct pv_journal *journal, const struct made *made)
{
	if (made->file) {
		unlinkat(journal->dir_fd, PV_JOURNAL_FILE, 0);
		unlinkat(journal->dir_fd, PV_JOURNAL_LMDB_LOCK, 0);
	}
	if (made->lock)
		unlinkat(journal->dir_fd, PV_JOURNAL_LOCK, 0);
	if (made->dir)
		rmdir(journal->dir);
}

enum pv_err pv_journal_create_with(const char *dir, const struct pv_journal_options *options, struct pv_journal **out,
                                   struct pv_errmsg *msg)
{
	struct pv_journal *journal = new_journal(dir, options->durability, msg);
	struct made made = { false, false, false };
	enum pv_err err;

	*out = NULL;
	if (journal == NULL)
		return PV_ERR_IO;
	err = make_journal(journal, options, &made, msg);
	if (err != PV_OK) {
		abort_transactions(journal);
		pv_journal_env_close(journal);
		unmake(journal, &made);
		free_journal(journal);
		return err;
	}
	*out = journal;
	return PV_OK;
}

enum pv_err pv_journal_create(const char *dir, enum pv_durability durability, struct pv_journal **out,
                              struct pv_errmsg *msg)
{
	const struct pv_journal_options options = { .durability = durability, .map_bytes = PV_JOURNAL_MAP_BYTES };

	return pv_journal_create_with(dir, &options, out, msg);
}

/* LMDB opens files by name. A memfd has one under /proc; its lock file would not, hence MDB_NOLOCK. */
static enum pv_err make_in_memory(struct pv_journal *journal, struct pv_errmsg *msg)
{
	const struct pv_journal_options options = { .map_bytes = PV_JOURNAL_MEMORY_MAP_BYTES };
	enum pv_err err;
	char path[64];
	int fd = memfd_create("provium-journal", MFD_CLOEXEC);

	if (fd < 0)
		return pv_file_fail(msg, errno, "cannot create a journal in memory");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	journal->writable = true;
	err = pv_journal_env_open(journal, path, MDB_NOLOCK | MDB_NOSYNC, &options, msg);
	close(fd); /* LMDB holds its own */
	if (err == PV_OK)
		err = pv_journal_meta_create(journal, msg);
	return err == PV_OK ? begin_writing(journal, msg) : err;
}

enum pv_err pv_journal_create_memory(struct pv_journal **out, struct pv_errmsg *msg)
{
	struct pv_journal *journal = new_journal(NULL, PV_DURABILITY_NONE, msg);
	enum pv_err err;

	*out = NULL;
	if (journal == NULL)
		return PV_ERR_IO;
	err = make_in_memory(journal, msg);
	if (err != PV_OK) {
		free_journal(journal);
		return err;
	}
	*out = journal;
	return PV_OK;
}

/* ---- open ---- */

/* True if the file is shorter than its last commit says. Most such files were cut off, and LMDB would touch pages that are
 * not there (SIGBUS). A sound file can look like that as well, if LMDB freed the last pages before it ever wrote them. */
static bool looks_cut_off(const struct pv_journal *journal)
{
	mdb_filehandle_t fd;
	MDB_envinfo info;
	struct stat st;
	MDB_stat sizes;

	/* in this order: the file of a live run may grow meanwhile */
	return mdb_env_info(journal->env, &info) == 0 && mdb_env_stat(journal->env, &sizes) == 0 &&
	       mdb_env_get_fd(journal->env, &fd) == 0 && fstat(fd, &st) == 0 &&
	       (uint64_t)st.st_size / sizes.ms_psize < (uint64_t)info.me_last_pgno + 1;
}

static enum pv_err open_checked_env(struct pv_journal *journal, unsigned flags,
                                    const struct pv_journal_options *options, struct pv_errmsg *msg)
{
	struct pv_journal_verdict verdict;
	enum pv_err err = pv_journal_check_file(journal->dir, journal->dir_fd, msg);

	if (err == PV_OK)
		err = open_env(journal, flags, options, msg);
	if (err != PV_OK || options->expendable || !looks_cut_off(journal))
		return err;
	pv_journal_env_close(journal);
	err = pv_journal_verify_dir(journal->dir, &verdict, msg);
	if (err == PV_ERR_CORRUPT)
		return pv_err_wrap(msg, err, "%s/" PV_JOURNAL_FILE " is shorter than it was", journal->dir);
	return err == PV_OK ? open_env(journal, flags, options, msg) : err;
}

/* Where to append. In a write transaction: if a writer died between its commit and the announcement of it in LMDB's lock
 * file, only taking the write lock makes that commit visible. */
static enum pv_err load_tail(struct pv_journal *journal, struct pv_errmsg *msg)
{
	const char *fault = NULL;
	enum pv_err err = PV_OK;
	MDB_val record;
	MDB_txn *txn;
	int rc = mdb_txn_begin(journal->env, NULL, 0, &txn);

	if (rc == 0) {
		rc = pv_journal_last_in(journal, txn, &journal->last_seq, &record);
		if (rc == 0 && journal->last_seq > 0)
			fault = pv_record_fault(record.mv_data, record.mv_size);
		if (rc == 0 && journal->last_seq > 0 && fault == NULL)
			pv_sha256(record.mv_data, record.mv_size, journal->chain);
		mdb_txn_abort(txn);
	}
	if (rc != 0)
		err = pv_lmdb_fail(msg, journal, rc, "cannot read the end of the journal of %s", journal->dir);
	else if (fault != NULL)
		err = pv_err_set(msg, PV_ERR_CORRUPT,
		                 "event %llu, the last of the journal of %s, is damaged: %s; the run cannot go on; "
		                 "it can be read up to the event before, or restored from a copy",
		                 (unsigned long long)journal->last_seq, journal->dir, fault);
	else if (journal->last_seq == 0)
		memcpy(journal->chain, journal->genesis, PV_SHA256_BYTES);
	journal->committed_seq = journal->last_seq;
	return err;
}

static enum pv_err open_to_append(struct pv_journal *journal, const struct pv_journal_options *options,
                                  struct pv_errmsg *msg)
{
	bool created;
	int dead;
	enum pv_err err = open_dir(journal, msg);

	if (err == PV_OK)
		err = pv_journal_check_file(journal->dir, journal->dir_fd, msg);
	if (err == PV_OK)
		err = pv_run_lock_take(journal->dir, journal->dir_fd, &journal->lock_fd, &created, msg);
	if (err == PV_OK)
		err = pv_journal_synced_recover(journal, msg);
	if (err != PV_OK)
		return err;
	journal->writable = true;
	err = open_checked_env(journal, writer_flags(journal->durability), options, msg);
	if (err != PV_OK)
		return err;
	(void)mdb_reader_check(journal->env, &dead); /* pages that killed readers hold */
	pv_journal_blobs_tidy(journal);
	err = pv_journal_meta_load(journal, msg);
	if (err == PV_OK)
		err = pv_journal_tables_create(journal, msg);
	if (err == PV_OK)
		err = load_tail(journal, msg);
	if (err == PV_OK && journal->tail != NULL)
		err = pv_journal_synced_restore_tail(journal, msg);
	if (err == PV_OK)
		err = pv_journal_synced_start(journal, msg);
	if (err == PV_OK)
		err = start_index(journal, msg);
	return err;
}

enum pv_err pv_journal_open_append(const char *dir, enum pv_durability durability, struct pv_journal **out,
                                   struct pv_errmsg *msg)
{
	const struct pv_journal_options options = { .durability = durability, .map_bytes = PV_JOURNAL_MAP_BYTES };
	struct pv_journal *journal = new_journal(dir, durability, msg);
	enum pv_err err;

	*out = NULL;
	if (journal == NULL)
		return PV_ERR_IO;
	err = open_to_append(journal, &options, msg);
	if (err != PV_OK) {
		abort_transactions(journal);
		free_journal(journal);
		return err;
	}
	*out = journal;
	return PV_OK;
}

enum pv_err pv_journal_open_read_with(const char *dir, const struct pv_journal_options *options,
                                      struct pv_journal **out, struct pv_errmsg *msg)
{
	struct pv_journal *journal = new_journal(dir, PV_DURABILITY_NONE, msg);
	enum pv_err err;

	*out = NULL;
	if (journal == NULL)
		return PV_ERR_IO;
	err = open_dir(journal, msg);
	if (err == PV_OK)
		err = open_checked_env(journal, MDB_RDONLY, options, msg);
	if (err == PV_OK)
		err = pv_journal_meta_load(journal, msg);
	if (err != PV_OK) {
		free_journal(journal);
		return err;
	}
	*out = journal;
	return PV_OK;
}

enum pv_err pv_journal_open_read(const char *dir, struct pv_journal **out, struct pv_errmsg *msg)
{
	const struct pv_journal_options options = { .map_bytes = PV_JOURNAL_MAP_BYTES };

	return pv_journal_open_read_with(dir, &options, out, msg);
}
