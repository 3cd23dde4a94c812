/* The run's lock: an OFD lock on DIR/run.lock. The kernel drops it with the process, so it is never stale; the text in the
 * file only serves messages. OFD and not POSIX: a POSIX lock would go with the first close() of any descriptor of
 * the file in this process. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "journal/journal_internal.h"

#define TAKE_TRIES 16

/* Field 22 of /proc/self/stat: clock ticks from boot to the start of this process; 0 if unknown. */
static unsigned long long own_start_ticks(void)
{
	unsigned long long ticks = 0;
	char text[1024];
	ssize_t len;
	char *at;
	int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return 0;
	len = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (len <= 0)
		return 0;
	text[len] = '\0';
	at = strrchr(text, ')'); /* the name before it may hold anything */
	for (int field = 2; at != NULL && field < 22; field++)
		at = strchr(at + 1, ' ');
	if (at != NULL)
		sscanf(at, " %llu", &ticks);
	return ticks;
}

static enum pv_err report_holder(const char *dir, int fd, struct pv_errmsg *msg)
{
	char text[128];
	int pid = 0;
	ssize_t len = pread(fd, text, sizeof(text) - 1, 0);

	if (len > 0) {
		text[len] = '\0';
		if (sscanf(text, "pid %d", &pid) != 1)
			pid = 0;
	}
	if (pid == 0) /* it has just taken the lock and not yet written who it is */
		return pv_err_set(msg, PV_ERR_BUSY, "the run in %s is in use by another process; wait until it ends",
		                  dir);
	return pv_err_set(msg, PV_ERR_BUSY, "the run in %s is in use by process %d; wait until it ends, or end it", dir,
	                  pid);
}

static int lock_whole_file(int fd)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	return fcntl(fd, F_OFD_SETLK, &lock);
}

/* True if the path still leads to `fd`: whoever removed the file meanwhile has left us the lock of a file without a name. */
static bool still_named(int dir_fd, int fd)
{
	struct stat by_name, by_fd;

	return fstatat(dir_fd, PV_JOURNAL_LOCK, &by_name, 0) == 0 && fstat(fd, &by_fd) == 0 &&
	       by_name.st_dev == by_fd.st_dev && by_name.st_ino == by_fd.st_ino;
}

static int open_lock_file(int dir_fd, bool *created)
{
	int fd = openat(dir_fd, PV_JOURNAL_LOCK, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

	*created = false;
	if (fd >= 0 || errno != ENOENT)
		return fd;
	fd = openat(dir_fd, PV_JOURNAL_LOCK, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	*created = fd >= 0;
	return fd;
}

/* Failing to write it is no failure: the lock holds all the same. */
static void write_holder(int fd)
{
	char text[128];
	int len = snprintf(text, sizeof(text), "pid %d start %llu\n", (int)getpid(), own_start_ticks());

	if (ftruncate(fd, 0) == 0 && pwrite(fd, text, (size_t)len, 0) != len)
		(void)!ftruncate(fd, 0);
}

enum pv_err pv_run_lock_take(const char *dir, int dir_fd, int *out, bool *created, struct pv_errmsg *msg)
{
	enum pv_err err;
	int fd;

	for (int tries = 0; tries < TAKE_TRIES; tries++) {
		fd = open_lock_file(dir_fd, created);
		if (fd < 0 && errno == EEXIST)
			continue;
		if (fd < 0)
			return pv_file_fail(msg, errno, "cannot open %s/" PV_JOURNAL_LOCK, dir);
		if (lock_whole_file(fd) != 0) {
			if (errno == EAGAIN || errno == EACCES)
				err = report_holder(dir, fd, msg);
			else
				err = pv_file_fail(msg, errno, "cannot lock %s/" PV_JOURNAL_LOCK, dir);
			close(fd);
			return err;
		}
		if (still_named(dir_fd, fd)) {
			write_holder(fd);
			*out = fd;
			return PV_OK;
		}
		close(fd);
	}
	return pv_err_set(msg, PV_ERR_BUSY, "%s/" PV_JOURNAL_LOCK " keeps being removed by another process", dir);
}

bool pv_journal_is_live(const char *dir)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	char path[4096];
	struct stat st;
	int fd;
	bool held;

	if (snprintf(path, sizeof(path), "%s/" PV_JOURNAL_FILE, dir) >= (int)sizeof(path))
		return false;
	if (stat(path, &st) == 0 && pv_journal_is_own_writer(st.st_dev, st.st_ino))
		return false;
	snprintf(path, sizeof(path), "%s/" PV_JOURNAL_LOCK, dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	held = fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
	close(fd);
	return held;
}
