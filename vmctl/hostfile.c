#include "vmctl/hostfile.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CHUNK (256u << 10)

enum pv_err pv_hostfile_err(int sys_errno)
{
	switch (sys_errno) {
	case ENOENT:
	case ENOTDIR:
		return PV_ERR_NOENT;
	case ENOSPC:
	case EDQUOT:
		return PV_ERR_NOSPACE;
	default:
		return PV_ERR_IO;
	}
}

enum pv_err pv_hostfile_open(const char *path, int *fd, struct pv_errmsg *msg)
{
	struct stat st;

	/* O_NONBLOCK: a FIFO in place of a file must not stop us. */
	*fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (*fd < 0)
		return pv_err_sys(msg, pv_hostfile_err(errno), errno, "cannot open %s", path);
	if (!fstat(*fd, &st) && S_ISREG(st.st_mode))
		return PV_OK;
	close(*fd);
	*fd = -1;
	return pv_err_set(msg, PV_ERR_INVAL, "%s is not a regular file", path);
}

static enum pv_err read_rest(int fd, const char *path, size_t limit, struct pv_buf *out, struct pv_errmsg *msg)
{
	size_t start = out->len;

	for (;;) {
		ssize_t n;

		pv_buf_reserve(out, CHUNK);
		n = read(fd, out->data + out->len, CHUNK);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return pv_err_sys(msg, PV_ERR_IO, errno, "cannot read %s", path);
		if (n == 0)
			return PV_OK;
		out->len += (size_t)n;
		if (out->len - start > limit)
			return pv_err_set(msg, PV_ERR_INVAL, "%s is larger than the %zu bytes allowed here", path,
			                  limit);
	}
}

enum pv_err pv_hostfile_read(const char *path, size_t limit, struct pv_buf *out, struct pv_errmsg *msg)
{
	size_t start = out->len;
	enum pv_err err;
	int fd;

	err = pv_hostfile_open(path, &fd, msg);
	if (err)
		return err;
	err = read_rest(fd, path, limit, out, msg);
	close(fd);
	if (err)
		out->len = start;
	if (out->data)
		out->data[out->len] = 0;
	return err;
}

enum pv_err pv_hostfile_write(int fd, const void *data, size_t len, const char *path, struct pv_errmsg *msg)
{
	const uint8_t *at = data;

	while (len) {
		ssize_t n = write(fd, at, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return pv_err_sys(msg, pv_hostfile_err(errno), errno, "cannot write %s", path);
		at += n;
		len -= (size_t)n;
	}
	return PV_OK;
}

static enum pv_err copy_through_memory(int in, const char *in_path, int out, const char *out_path, uint64_t *copied,
                                       struct pv_errmsg *msg)
{
	uint8_t *chunk = pv_xmalloc(CHUNK);
	enum pv_err err = PV_OK;

	while (!err) {
		ssize_t n = read(in, chunk, CHUNK);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			err = pv_err_sys(msg, PV_ERR_IO, errno, "cannot read %s", in_path);
		if (n <= 0)
			break;
		err = pv_hostfile_write(out, chunk, (size_t)n, out_path, msg);
		*copied += (uint64_t)n;
	}
	free(chunk);
	return err;
}

enum pv_err pv_hostfile_copy(int in, const char *in_path, int out, const char *out_path, uint64_t *copied,
                             struct pv_errmsg *msg)
{
	ssize_t n;

	*copied = 0;
	while ((n = copy_file_range(in, NULL, out, NULL, (size_t)1 << 30, 0)) > 0)
		*copied += (uint64_t)n;
	/* Whatever stops it (another file system, an old kernel, a full disk): plain reading and writing goes on from there
	 * and meets the error again if it is one. */
	return copy_through_memory(in, in_path, out, out_path, copied, msg);
}

enum pv_err pv_hostfile_mkdirs(const char *path, struct pv_errmsg *msg)
{
	char *copy = pv_xstrdup(path);
	enum pv_err err = PV_OK;

	for (char *at = copy + 1; !err; at++) {
		char was = *at;

		if (was != '/' && was != '\0')
			continue;
		*at = '\0';
		if (mkdir(copy, 0777) && errno != EEXIST)
			err = pv_err_sys(msg, pv_hostfile_err(errno), errno, "cannot make directory %s", copy);
		*at = was;
		if (!was)
			break;
	}
	free(copy);
	return err;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path) && errno != ENOENT ? -1 : 0;
}

enum pv_err pv_hostfile_remove_tree(const char *path, struct pv_errmsg *msg)
{
	if (nftw(path, remove_one, 32, FTW_DEPTH | FTW_PHYS) && errno != ENOENT)
		return pv_err_sys(msg, PV_ERR_IO, errno, "cannot remove %s", path);
	return PV_OK;
}

enum pv_err pv_hostfile_sync_dir(const char *path, struct pv_errmsg *msg)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int failed = fd < 0 || fsync(fd);
	int sys_errno = errno;

	if (fd >= 0)
		close(fd);
	/* Some file systems cannot sync a directory and say EINVAL. */
	if (failed && sys_errno != EINVAL)
		return pv_err_sys(msg, pv_hostfile_err(sys_errno), sys_errno, "cannot sync directory %s", path);
	return PV_OK;
}

enum pv_err pv_hostfile_temp(const char *final, struct pv_hostfile_temp *out, struct pv_errmsg *msg)
{
	enum pv_err err;

	out->path = pv_xasprintf("%s.tmp-XXXXXX", final);
	out->fd = mkostemp(out->path, O_CLOEXEC);
	if (out->fd >= 0)
		return PV_OK;
	err = pv_err_sys(msg, pv_hostfile_err(errno), errno, "cannot make a temporary file for %s", final);
	free(out->path);
	out->path = NULL;
	return err;
}

static enum pv_err sync_parent(const char *path, struct pv_errmsg *msg)
{
	const char *slash = strrchr(path, '/');
	char *dir = slash ? pv_xasprintf("%.*s", slash == path ? 1 : (int)(slash - path), path) : pv_xstrdup(".");
	enum pv_err err = pv_hostfile_sync_dir(dir, msg);

	free(dir);
	return err;
}

enum pv_err pv_hostfile_install(struct pv_hostfile_temp *temp, mode_t perm, const char *final, struct pv_errmsg *msg)
{
	int sys_errno;

	if (fchmod(temp->fd, perm) || fsync(temp->fd) || rename(temp->path, final)) {
		sys_errno = errno;
		pv_hostfile_discard(temp);
		return pv_err_sys(msg, pv_hostfile_err(sys_errno), sys_errno, "cannot write %s", final);
	}
	close(temp->fd);
	free(temp->path);
	*temp = (struct pv_hostfile_temp){ .fd = -1 };
	return sync_parent(final, msg);
}

void pv_hostfile_discard(struct pv_hostfile_temp *temp)
{
	unlink(temp->path);
	close(temp->fd);
	free(temp->path);
	*temp = (struct pv_hostfile_temp){ .fd = -1 };
}

enum pv_err pv_hostfile_put(const char *final, mode_t perm, const void *data, size_t len, struct pv_errmsg *msg)
{
	struct pv_hostfile_temp temp;
	enum pv_err err = pv_hostfile_temp(final, &temp, msg);

	if (err)
		return err;
	err = pv_hostfile_write(temp.fd, data, len, final, msg);
	if (!err)
		return pv_hostfile_install(&temp, perm, final, msg);
	pv_hostfile_discard(&temp);
	return err;
}

static int64_t ns_of(const struct timespec *ts)
{
	return (int64_t)ts->tv_sec * 1000000000 + ts->tv_nsec;
}

struct pv_hostfile_id pv_hostfile_id(const struct stat *st)
{
	return (struct pv_hostfile_id){
		.dev = st->st_dev,
		.ino = st->st_ino,
		.size = (uint64_t)st->st_size,
		.mtime_ns = ns_of(&st->st_mtim),
		.ctime_ns = ns_of(&st->st_ctim),
	};
}

bool pv_hostfile_same(const struct pv_hostfile_id *a, const struct pv_hostfile_id *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->size == b->size && a->mtime_ns == b->mtime_ns &&
	       a->ctime_ns == b->ctime_ns;
}

int64_t pv_hostfile_clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	return ns_of(&now);
}

bool pv_hostfile_settled(const struct pv_hostfile_id *id, int64_t clock_ns)
{
	return id->ctime_ns < clock_ns;
}
