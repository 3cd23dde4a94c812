/* Preloaded into the runner: kills it at one of its commits, so that a test can crash it at every one.
 *
 *   CRASH_AT=N:before   SIGKILL instead of the Nth mdb_txn_commit()
 *   CRASH_AT=N:after    SIGKILL right behind it
 *   CRASH_COUNT=PATH    the number of commits so far, in PATH
 *
 * Only the process that was started with these sees them; its children do not. */
#include <dlfcn.h>
#include <fcntl.h>
#include <lmdb.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static unsigned long crash_at;
static bool before;
static unsigned long commits;
static int count_fd = -1;

__attribute__((constructor)) static void init(void)
{
	const char *at = getenv("CRASH_AT"), *count = getenv("CRASH_COUNT");

	if (at != NULL) {
		crash_at = strtoul(at, NULL, 10);
		before = strstr(at, ":before") != NULL;
	}
	if (count != NULL)
		count_fd = open(count, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	unsetenv("LD_PRELOAD");
	unsetenv("CRASH_AT");
	unsetenv("CRASH_COUNT");
}

static void note(void)
{
	char text[32];
	int len = snprintf(text, sizeof(text), "%lu\n", commits);

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
	if (commits == crash_at && !before)
		raise(SIGKILL);
	return rc;
}
