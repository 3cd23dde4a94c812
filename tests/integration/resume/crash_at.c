/* Preloaded into the runner: kills it at one of its commits, or within what it does to files, so that a test can crash it at every one.
 *
 *   CRASH_AT=N:before   SIGKILL instead of the Nth mdb_txn_commit()
 *   CRASH_AT=N:after    SIGKILL right behind it
 *   CRASH_AT=N:file     SIGKILL instead of the Nth of the calls that change names, or make files durable, of paths with CRASH_FILE in them (fsync(2): of
 *                       any): rename, renameat2, unlink, mkdir, fsync, in whatever thread
 *   CRASH_COUNT=PATH    the number of commits so far, and that of such calls, in PATH
 *
 * Only the process that was started with these sees them; its children do not. */
#include <dlfcn.h>
#include <fcntl.h>
#include <lmdb.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static unsigned long crash_at;
static bool before, at_file;
static unsigned long commits;
static atomic_ulong changes;
static char part[256];
static int count_fd = -1;

__attribute__((constructor)) static void init(void)
{
	const char *at = getenv("CRASH_AT"), *count = getenv("CRASH_COUNT");

	if (at != NULL) {
		crash_at = strtoul(at, NULL, 10);
		before = strstr(at, ":before") != NULL;
		at_file = strstr(at, ":file") != NULL;
	}
	if (count != NULL)
		count_fd = open(count, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (getenv("CRASH_FILE") != NULL)
		snprintf(part, sizeof(part), "%s", getenv("CRASH_FILE"));
	unsetenv("LD_PRELOAD");
	unsetenv("CRASH_FILE");
	unsetenv("CRASH_AT");
	unsetenv("CRASH_COUNT");
}

static void note(void)
{
	char text[32];
	int len = snprintf(text, sizeof(text), "%lu %lu\n", commits, changes);

	if (count_fd >= 0 && pwrite(count_fd, text, (size_t)len, 0) != len)
		abort();
}

int mdb_txn_commit(MDB_txn *txn)
{
	static int (*real)(MDB_txn * txn);
	int rc;

	if (real == NULL)
		*(void **)&real = dlsym(RTLD_NEXT, "mdb_txn_commit");
	commits++;
	note();
	if (commits == crash_at && before)
		raise(SIGKILL);
	rc = real(txn);
	if (commits == crash_at && !before && !at_file)
		raise(SIGKILL);
	return rc;
}

/* ---- files ---- */

#define REAL(name)                                                                                                     \
	static __typeof__(name) *real;                                                                                 \
	if (real == NULL)                                                                                              \
	*(void **)&real = dlsym(RTLD_NEXT, #name)

/* `path` NULL: one that is not known. */
static void change(const char *path)
{
	if (path != NULL && strstr(path, part) == NULL)
		return;
	if (++changes == crash_at && at_file)
		raise(SIGKILL);
	note();
}

int rename(const char *from, const char *to)
{
	REAL(rename);
	change(to);
	return real(from, to);
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
	REAL(renameat2);
	change(to);
	return real(from_dir, from, to_dir, to, flags);
}

int unlink(const char *path)
{
	REAL(unlink);
	change(path);
	return real(path);
}

int mkdir(const char *path, mode_t mode)
{
	REAL(mkdir);
	change(path);
	return real(path, mode);
}

int fsync(int fd)
{
	REAL(fsync);
	change(NULL);
	return real(fd);
}
