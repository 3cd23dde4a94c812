/* The LMDB environment of a journal, and the list of those that this process has open: LMDB forbids opening a file twice
 * in a process (its POSIX locks would fall) and using an environment behind a fork. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "journal/journal_internal.h"

#define MAX_TABLES 16
#define PROBE_SIZE 32 /* bytes: LMDB's page head (16), magic, version */

/* Of LMDB's first page, 64-bit little-endian hosts, the same in all of 0.9. */
#define LMDB_FLAGS_AT   10
#define LMDB_MAGIC_AT   16
#define LMDB_FLAG_META  0x08
#define LMDB_MAGIC      0xBEEFC0DEu
#define LMDB_METAS_SIZE (2 * 4096)

static LIST_HEAD(, pv_journal) open_journals = LIST_HEAD_INITIALIZER(open_journals);
static unsigned process_generation;

static void forget_in_child(void)
{
	process_generation++;
	LIST_INIT(&open_journals);
}

static void watch_forks_once(void)
{
	static bool watching;

	if (!watching)
		pthread_atfork(NULL, NULL, forget_in_child);
	watching = true;
}

void pv_journal_assert_own(const struct pv_journal *journal)
{
	if (journal->process_generation != process_generation)
		PV_BUG("the journal of %s was opened before a fork", pv_journal_name(journal));
}

static const struct pv_journal *find_open(dev_t dev, ino_t ino)
{
	const struct pv_journal *journal;

	LIST_FOREACH (journal, &open_journals, link)
		if (journal->dev == dev && journal->ino == ino)
			return journal;
	return NULL;
}

bool pv_journal_is_own_writer(dev_t dev, ino_t ino)
{
	const struct pv_journal *journal = find_open(dev, ino);

	return journal != NULL && journal->writable;
}

enum pv_err pv_journal_check_not_open(const char *dir, dev_t dev, ino_t ino, struct pv_errmsg *msg)
{
	if (find_open(dev, ino) == NULL)
		return PV_OK;
	return pv_err_set(msg, PV_ERR_STATE,
	                  "the journal of %s is open in this process already; use that handle or close it first", dir);
}

static enum pv_err check_start(const char *dir, const uint8_t *start, ssize_t len, off_t size, struct pv_errmsg *msg)
{
	if (size == 0)
		return pv_err_set(msg, PV_ERR_CORRUPT,
		                  "%s/" PV_JOURNAL_FILE
		                  " is empty: the run ended while it was being created, or the file "
		                  "was emptied; nothing can be read; remove the directory",
		                  dir);
	if (len < PROBE_SIZE || pv_get_le32(start + LMDB_MAGIC_AT) != LMDB_MAGIC ||
	    (start[LMDB_FLAGS_AT] & LMDB_FLAG_META) == 0)
		return pv_err_set(msg, PV_ERR_FOREIGN,
		                  "%s/" PV_JOURNAL_FILE
		                  " is not a journal of provium: it does not start like an LMDB file; "
		                  "give the directory of a run",
		                  dir);
	if (size < LMDB_METAS_SIZE)
		return pv_err_set(msg, PV_ERR_CORRUPT,
		                  "%s/" PV_JOURNAL_FILE " was cut off behind %lld bytes; nothing can be read; "
		                  "restore it from a copy",
		                  dir, (long long)size);
	return PV_OK;
}

enum pv_err pv_journal_check_file(const char *dir, int dir_fd, struct pv_errmsg *msg)
{
	uint8_t start[PROBE_SIZE];
	enum pv_err err;
	struct stat st;
	ssize_t len;
	int fd = openat(dir_fd, PV_JOURNAL_FILE, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 && errno == ENOENT)
		return pv_err_set(
		    msg, PV_ERR_NOENT,
		    "there is no journal in %s (" PV_JOURNAL_FILE " is missing); give the directory of a run", dir);
	if (fd < 0)
		return pv_file_fail(msg, errno, "cannot open %s/" PV_JOURNAL_FILE, dir);
	if (fstat(fd, &st) != 0 || (len = pread(fd, start, sizeof(start), 0)) < 0) {
		err = pv_file_fail(msg, errno, "cannot read %s/" PV_JOURNAL_FILE, dir);
	} else {
		err = pv_journal_check_not_open(dir, st.st_dev, st.st_ino, msg);
		if (err == PV_OK)
			err = check_start(dir, start, len, st.st_size, msg);
	}
	close(fd);
	return err;
}

/* LMDB's own assertions mean a damaged file; the process that verifies one ends without a word. */
static void end_quietly(MDB_env *env, const char *text)
{
	(void)env;
	(void)text;
	_exit(EXIT_FAILURE_LMDB);
}

static int try_open(struct pv_journal *journal, const char *path, unsigned flags, uint64_t map_bytes, bool expendable)
{
	MDB_env *env;
	int rc = mdb_env_create(&env);

	if (rc != 0)
		return rc;
	if (expendable)
		mdb_env_set_assert(env, end_quietly);
	if ((rc = mdb_env_set_maxdbs(env, MAX_TABLES)) != 0 || (rc = mdb_env_set_mapsize(env, map_bytes)) != 0 ||
	    (rc = mdb_env_open(env, path, flags | MDB_NOSUBDIR | MDB_NOTLS, 0600)) != 0) {
		mdb_env_close(env);
		return rc;
	}
	journal->env = env;
	return 0;
}

/* Where address space is limited (ENOMEM with ulimit -v, EINVAL under valgrind) a smaller map does for a while. */
static int open_as_large_as_possible(struct pv_journal *journal, const char *path, unsigned flags, uint64_t map_bytes,
                                     bool expendable)
{
	int rc = try_open(journal, path, flags, map_bytes, expendable);

	for (uint64_t size = map_bytes / 4; (rc == ENOMEM || rc == EINVAL) && size >= UINT64_C(64) << 20; size /= 4)
		rc = try_open(journal, path, flags, size, expendable);
	return rc;
}

static enum pv_err enter_in_list(struct pv_journal *journal, struct pv_errmsg *msg)
{
	mdb_filehandle_t fd;
	struct stat st;
	int rc = mdb_env_get_fd(journal->env, &fd);

	if (rc == 0 && fstat(fd, &st) != 0)
		rc = errno;
	if (rc != 0)
		return pv_lmdb_fail(msg, journal, rc, "cannot look at the journal of %s", pv_journal_name(journal));
	journal->dev = st.st_dev;
	journal->ino = st.st_ino;
	watch_forks_once();
	journal->process_generation = process_generation;
	LIST_INSERT_HEAD(&open_journals, journal, link);
	return PV_OK;
}

enum pv_err pv_journal_env_open(struct pv_journal *journal, const char *path, unsigned flags,
                                const struct pv_journal_options *options, struct pv_errmsg *msg)
{
	enum pv_err err;
	int rc = open_as_large_as_possible(journal, path, flags, options->map_bytes, options->expendable);

	/* A reader marks itself in LMDB's lock file. Where that may not be written, reading goes on without it as long as nobody
	 * appends: then no page can be reused under the reader. */
	if (rc == EACCES && (flags & MDB_RDONLY) != 0 && !pv_journal_is_live(journal->dir))
		rc = open_as_large_as_possible(journal, path, flags | MDB_NOLOCK, options->map_bytes,
		                               options->expendable);
	if (rc != 0)
		return pv_lmdb_fail(msg, NULL, rc, "cannot open the journal of %s", pv_journal_name(journal));
	err = enter_in_list(journal, msg);
	if (err != PV_OK) {
		mdb_env_close(journal->env);
		journal->env = NULL;
	}
	return err;
}

void pv_journal_env_close(struct pv_journal *journal)
{
	if (journal->env == NULL)
		return;
	if (journal->process_generation == process_generation)
		LIST_REMOVE(journal, link);
	mdb_env_close(journal->env);
	journal->env = NULL;
}
