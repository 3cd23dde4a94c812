/* What a guest's memory has in common with the file that it is mapped from. */
#include <errno.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "vmctl/snapshot_internal.h"

#define BASE_NAME "the file that the memory is mapped from"

struct copy {
	const struct pv_guest_pages *pages;
	int fd;
	const char *path;
};

bool pv_guest_base_clone(const struct pv_guest_pages *pages, int fd)
{
	return pages->base >= 0 && pages->base_at == 0 && !ioctl(fd, FICLONE, pages->base);
}

static enum pv_err write_used(const struct copy *copy, const uint8_t *data, size_t len, uint64_t at,
                              struct pv_errmsg *msg)
{
	enum pv_err err = PV_OK;

	while (!err && len > 0) {
		bool zero;
		/* The last page may be cut short where the file ends. */
		size_t n = len < PV_SNAPSHOT_PAGE ? len : pv_snapshot_run(data, len - len % PV_SNAPSHOT_PAGE, &zero);

		if (len < PV_SNAPSHOT_PAGE || !zero)
			err = pv_snapshot_write_at(copy->fd, copy->path, data, n, at, msg);
		data += n;
		at += n;
		len -= n;
	}
	return err;
}

/* Plainly, where copy_file_range(2) will not (another file system, an older kernel). */
static enum pv_err copy_by_memory(const struct copy *copy, uint64_t at, uint64_t len, struct pv_errmsg *msg)
{
	uint8_t *bytes = pv_xmalloc(PV_SNAPSHOT_CHUNK_BYTES);
	enum pv_err err = PV_OK;

	while (!err && len > 0) {
		size_t n = len < PV_SNAPSHOT_CHUNK_BYTES ? (size_t)len : PV_SNAPSHOT_CHUNK_BYTES;

		err = pv_snapshot_read_at(copy->pages->base, BASE_NAME, bytes, n, copy->pages->base_at + at, msg);
		if (!err)
			err = write_used(copy, bytes, n, at, msg);
		at += n;
		len -= n;
	}
	free(bytes);
	return err;
}

static enum pv_err copy_data(const struct copy *copy, uint64_t at, uint64_t len, struct pv_errmsg *msg)
{
	while (len > 0) {
		off_t from = (off_t)(copy->pages->base_at + at), to = (off_t)at;
		ssize_t n = copy_file_range(copy->pages->base, &from, copy->fd, &to, len, 0);

		if (n <= 0)
			return copy_by_memory(copy, at, len, msg);
		at += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return PV_OK;
}

/* Copies the parts of [at, end) in which the base has data. */
static enum pv_err copy_between(const struct copy *copy, uint64_t at, uint64_t end, struct pv_errmsg *msg)
{
	const uint64_t base_at = copy->pages->base_at;
	enum pv_err err = PV_OK;

	while (!err && at < end) {
		off_t data = lseek(copy->pages->base, (off_t)(base_at + at), SEEK_DATA), hole;

		if (data < 0 && errno == ENXIO)
			return PV_OK;
		hole = data >= 0 ? lseek(copy->pages->base, data, SEEK_HOLE) : -1;
		if (data < 0 || hole < 0)
			return pv_err_sys(msg, PV_ERR_IO, errno, "cannot read " BASE_NAME);
		if ((uint64_t)data >= base_at + end)
			return PV_OK;
		if ((uint64_t)hole > base_at + end)
			hole = (off_t)(base_at + end);
		at = (uint64_t)data - base_at;
		err = copy_data(copy, at, (uint64_t)hole - (uint64_t)data, msg);
		at = (uint64_t)hole - base_at;
	}
	return err;
}

enum pv_err pv_guest_base_copy(const struct pv_guest_pages *pages, uint64_t size, int fd, const char *path,
                               struct pv_errmsg *msg)
{
	const struct copy copy = { .pages = pages, .fd = fd, .path = path };
	enum pv_err err = PV_OK;
	uint64_t at = 0;

	for (size_t i = 0; !err && i < pages->n; i++) {
		err = copy_between(&copy, at, pages->runs[i].at, msg);
		at = pages->runs[i].at + pages->runs[i].len;
	}
	return err ? err : copy_between(&copy, at, size, msg);
}
