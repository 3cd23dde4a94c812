/* Who makes an entry: an OFD lock on a file of its own, which the kernel drops with the process (and which can be asked for without being taken).
 * The text in the file only serves messages. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmctl/snapshot_store_internal.h"

#define HOLDER_MAX 1024

char *pv_store_lock_path(const struct pv_store *store, const char *key, enum pv_store_kind kind)
{
	return pv_xasprintf("%s/%s%s.lock", store->dir, key, pv_store_suffix[kind]);
}

/* 0, or an errno: EAGAIN if another one has it. */
static int take(int fd)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	return fcntl(fd, F_OFD_SETLK, &lock) == 0 ? 0 : errno == EACCES ? EAGAIN : errno;
}

/* Not taken for longer than it takes to let it go. */
void pv_store_await_lock(const char *path)
{
	struct flock lock = { .l_type = F_RDLCK, .l_whence = SEEK_SET };
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return; /* whoever had it has removed it */
	while (fcntl(fd, F_OFD_SETLKW, &lock) != 0 && errno == EINTR) {
	}
	close(fd);
}

/* Empty if it has only just taken the lock. */
static char *read_holder(int fd)
{
	char text[HOLDER_MAX + 1];
	ssize_t len = pread(fd, text, HOLDER_MAX, 0);

	text[len > 0 ? len : 0] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return pv_xstrdup(text);
}

/* Failing to write it is no failure: the lock holds all the same. */
static void write_holder(int fd, const char *holder)
{
	char *text = pv_xasprintf("%.*s\n", HOLDER_MAX - 1, holder);
	const ssize_t len = (ssize_t)strlen(text);

	if (ftruncate(fd, 0) == 0 && pwrite(fd, text, (size_t)len, 0) != len)
		(void)!ftruncate(fd, 0);
	free(text);
}

static struct pv_store_lock *add_lock(struct pv_store *store, char *path, int fd)
{
	struct pv_store_lock *lock = PV_NEW(struct pv_store_lock);

	lock->store = store;
	lock->path = path;
	lock->fd = fd;
	pthread_mutex_lock(&store->lock);
	LIST_INSERT_HEAD(&store->held, lock, link);
	pthread_mutex_unlock(&store->lock);
	return lock;
}

enum pv_err pv_store_lock(struct pv_store *store, const char *key, enum pv_store_kind kind, const char *holder,
                          struct pv_store_lock **out, char **held_by, struct pv_errmsg *msg)
{
	char *path = pv_store_lock_path(store, key, kind);
	enum pv_err err = PV_ERR_BUSY;

	*out = NULL;
	if (held_by)
		*held_by = NULL;
	pv_err_set(msg, PV_ERR_BUSY, "%s keeps being removed by other processes", path);
	for (int tries = 0; tries < PV_STORE_TRIES; tries++) {
		int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600), failed;

		if (fd < 0) {
			err = pv_err_sys(msg, pv_hostfile_err(errno), errno, "cannot open %s", path);
			break;
		}
		failed = take(fd);
		if (!failed && pv_store_is_named(path, fd)) {
			write_holder(fd, holder);
			*out = add_lock(store, path, fd);
			return PV_OK;
		}
		if (failed) {
			char *by = read_holder(fd);

			err = failed == EAGAIN
			          ? pv_err_set(msg, PV_ERR_BUSY, "%s is held by %s", path, *by ? by : "another process")
			          : pv_err_sys(msg, PV_ERR_IO, failed, "cannot lock %s", path);
			if (held_by && failed == EAGAIN)
				*held_by = by;
			else
				free(by);
			close(fd);
			break;
		}
		close(fd); /* whoever had it has removed the file meanwhile */
	}
	free(path);
	return err;
}

void pv_store_unlock(struct pv_store_lock *lock)
{
	if (!lock)
		return;
	pthread_mutex_lock(&lock->store->lock);
	LIST_REMOVE(lock, link);
	pthread_mutex_unlock(&lock->store->lock);
	/* While it is held, so that nobody takes one that loses its name then. */
	if (pv_store_is_named(lock->path, lock->fd))
		unlink(lock->path);
	close(lock->fd);
	free(lock->path);
	free(lock);
}

static bool is_ours(struct pv_store *store, const char *path)
{
	struct pv_store_lock *lock;
	bool found = false;

	pthread_mutex_lock(&store->lock);
	LIST_FOREACH (lock, &store->held, link)
		found = found || !strcmp(lock->path, path);
	pthread_mutex_unlock(&store->lock);
	return found;
}

bool pv_store_is_locked(struct pv_store *store, const char *key, enum pv_store_kind kind, bool by_others)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	char *path = pv_store_lock_path(store, key, kind);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	bool held = fd >= 0 && !fcntl(fd, F_OFD_GETLK, &lock) && lock.l_type != F_UNLCK;

	if (fd >= 0)
		close(fd);
	held = held && !(by_others && is_ours(store, path));
	free(path);
	return held;
}
