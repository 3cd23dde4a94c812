#include "vmctl/disk_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/mem.h"
#include "vmctl/hostfile.h"

#define CHUNK_BYTES (1u << 20)

/* ---- copying ---- */

struct copy {
	int from, to;
	const char *from_path, *to_path;
	uint8_t *chunk; /* NULL: the kernel copies by itself */
};

static enum pv_err write_all(const struct copy *copy, const uint8_t *data, size_t len, uint64_t at,
                             struct pv_errmsg *msg)
{
	while (len > 0) {
		ssize_t n = pwrite(copy->to, data, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return pv_err_sys(msg, pv_hostfile_err(errno), errno, "cannot write %s", copy->to_path);
		data += n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return PV_OK;
}

/* Bytes copied, 0 at the end of the file, -1 with errno. */
static ssize_t copy_some(struct copy *copy, uint64_t from_at, uint64_t to_at, uint64_t len, enum pv_err *err,
                         struct pv_errmsg *msg)
{
	off_t in = (off_t)from_at, out = (off_t)to_at;
	ssize_t n;

	if (copy->chunk == NULL) {
		n = copy_file_range(copy->from, &in, copy->to, &out, len < SSIZE_MAX ? (size_t)len : SSIZE_MAX, 0);
		if (n >= 0 || (errno != EXDEV && errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP))
			return n;
		copy->chunk = pv_xmalloc(CHUNK_BYTES);
	}
	n = pread(copy->from, copy->chunk, len < CHUNK_BYTES ? (size_t)len : CHUNK_BYTES, in);
	if (n > 0)
		*err = write_all(copy, copy->chunk, (size_t)n, to_at, msg);
	return n;
}

static enum pv_err copy_extent(struct copy *copy, uint64_t from_at, uint64_t to_at, uint64_t len, struct pv_errmsg *msg)
{
	enum pv_err err = PV_OK;

	while (len > 0 && err == PV_OK) {
		ssize_t n = copy_some(copy, from_at, to_at, len, &err, msg);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return pv_err_sys(msg, pv_hostfile_err(errno), errno, "cannot copy %s to %s", copy->from_path,
			                  copy->to_path);
		if (n == 0)
			return PV_OK; /* it was shortened meanwhile */
		from_at += (uint64_t)n;
		to_at += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return err;
}

static enum pv_err copy_extents(struct copy *copy, uint64_t from_at, uint64_t to_at, uint64_t size,
                                struct pv_errmsg *msg)
{
	uint64_t at = from_at, end = from_at + size;
	enum pv_err err = PV_OK;

	while (at < end && err == PV_OK) {
		off_t data = lseek(copy->from, (off_t)at, SEEK_DATA), hole;

		if (data < 0 && errno == ENXIO)
			return PV_OK;
		hole = data < 0 ? -1 : lseek(copy->from, data, SEEK_HOLE);
		if (hole < 0)
			return pv_err_sys(msg, PV_ERR_IO, errno, "cannot read %s", copy->from_path);
		if ((uint64_t)data >= end)
			return PV_OK;
		at = (uint64_t)hole < end ? (uint64_t)hole : end;
		err = copy_extent(copy, (uint64_t)data, to_at + ((uint64_t)data - from_at), at - (uint64_t)data, msg);
	}
	return err;
}

enum pv_err pv_disk_file_copy(int from, const char *from_path, uint64_t from_at, int to, const char *to_path,
                              uint64_t to_at, uint64_t size, struct pv_errmsg *msg)
{
	struct file_clone_range range = {
		.src_fd = from, .src_offset = from_at, .src_length = size, .dest_offset = to_at
	};
	struct copy copy = { .from = from, .to = to, .from_path = from_path, .to_path = to_path };
	enum pv_err err;

	if (ioctl(to, FICLONERANGE, &range) == 0)
		return PV_OK;
	err = copy_extents(&copy, from_at, to_at, size, msg);
	free(copy.chunk);
	return err;
}

/* ---- making ---- */

static uint64_t whole_sectors(uint64_t size)
{
	return (size + PV_DISK_FILE_SECTOR - 1) / PV_DISK_FILE_SECTOR * PV_DISK_FILE_SECTOR;
}

/* Under another name until it is whole. */
enum pv_err pv_disk_file_make_from(const char *path, int from, const char *from_path, uint64_t at, uint64_t size,
                                   struct pv_errmsg *msg)
{
	struct pv_hostfile_temp temp;
	enum pv_err err;

	if (access(path, F_OK) == 0)
		return PV_OK;
	err = pv_hostfile_temp(path, &temp, msg);
	if (err != PV_OK)
		return err;
	if (ftruncate(temp.fd, (off_t)whole_sectors(size)) != 0)
		err = pv_err_sys(msg, errno == EFBIG ? PV_ERR_NOSPACE : pv_hostfile_err(errno), errno, "cannot make %s",
		                 path);
	if (err == PV_OK && from >= 0)
		err = pv_disk_file_copy(from, from_path, at, temp.fd, path, 0, size, msg);
	if (err == PV_OK && rename(temp.path, path) != 0)
		err = pv_err_sys(msg, pv_hostfile_err(errno), errno, "cannot give %s its name", path);
	if (err != PV_OK) {
		pv_hostfile_discard(&temp);
		return err;
	}
	close(temp.fd);
	free(temp.path);
	return PV_OK;
}

enum pv_err pv_disk_file_make(const char *path, uint64_t size, struct pv_errmsg *msg)
{
	return pv_disk_file_make_from(path, -1, NULL, 0, size, msg);
}

enum pv_err pv_disk_file_clone(const char *path, const char *template_path, struct pv_errmsg *msg)
{
	struct stat st;
	enum pv_err err;
	int fd;

	if (access(path, F_OK) == 0)
		return PV_OK;
	err = pv_hostfile_open(template_path, &fd, msg);
	if (err != PV_OK)
		return err;
	if (fstat(fd, &st) != 0)
		err = pv_err_sys(msg, PV_ERR_IO, errno, "cannot look at %s", template_path);
	else
		err = pv_disk_file_make_from(path, fd, template_path, 0, (uint64_t)st.st_size, msg);
	close(fd);
	return err;
}
