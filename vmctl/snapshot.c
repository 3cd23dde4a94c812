/* Opening snapshot files, and what is in them. */
#include "vmctl/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "proto/crc32c.h"
#include "vmctl/snapshot_internal.h"

enum pv_err pv_snapshot_read_at(int fd, const char *path, void *out, size_t len, uint64_t at, struct pv_errmsg *msg)
{
	uint8_t *to = out;

	while (len > 0) {
		ssize_t n = pread(fd, to, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return pv_err_sys(msg, PV_ERR_IO, errno, "cannot read %s", path);
		if (n == 0)
			return pv_err_set(msg, PV_ERR_CORRUPT, "%s is shorter than its footer says", path);
		to += n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return PV_OK;
}

/* ---- opening ---- */

/* Not synced in time for what the host has gone through since: memory has no checksums there that would tell what never reached the disk. */
static enum pv_err check_boot(const struct pv_snapshot_footer *footer, struct pv_errmsg *msg)
{
	static const uint8_t synced[PV_SNAPSHOT_BOOT_ID];
	uint8_t now[PV_SNAPSHOT_BOOT_ID];
	enum pv_err err;

	if (memcmp(footer->boot_id, synced, sizeof(synced)) == 0)
		return PV_OK;
	err = pv_snapshot_boot_id(now, msg);
	if (err)
		return err;
	if (memcmp(footer->boot_id, now, sizeof(now)) == 0)
		return PV_OK;
	return pv_err_set(msg, PV_ERR_CORRUPT,
	                  "it is a temporary one, never synced, and the host has booted since; make it again");
}

/* A packed one tells at its beginning, too, that it is a snapshot. */
static bool has_head(int fd)
{
	char head[PV_SNAPSHOT_HEAD_BYTES];

	return pread(fd, head, sizeof(head), 0) == (ssize_t)sizeof(head) &&
	       !memcmp(head, PV_SNAPSHOT_HEAD, sizeof(head));
}

static enum pv_err read_footer(struct pv_snapshot *snapshot, struct pv_errmsg *msg)
{
	uint8_t bytes[PV_SNAPSHOT_FOOTER_BYTES];
	enum pv_err err;
	struct stat st;

	if (fstat(snapshot->fd, &st))
		return pv_err_sys(msg, PV_ERR_IO, errno, "cannot look at it");
	if (!S_ISREG(st.st_mode) || st.st_size < PV_SNAPSHOT_FOOTER_BYTES)
		return pv_err_set(msg, PV_ERR_FOREIGN, "it is no snapshot, or its end is missing");
	err = pv_snapshot_read_at(snapshot->fd, snapshot->path, bytes, sizeof(bytes),
	                          (uint64_t)st.st_size - sizeof(bytes), msg);
	if (!err)
		err = pv_snapshot_footer_decode(bytes, (uint64_t)st.st_size, &snapshot->footer, msg);
	if (err == PV_ERR_FOREIGN && has_head(snapshot->fd))
		err = pv_err_set(msg, PV_ERR_CORRUPT, "its end is missing or damaged");
	return err ? err : check_boot(&snapshot->footer, msg);
}

static enum pv_err read_manifest(struct pv_snapshot *snapshot, struct pv_errmsg *msg)
{
	const struct pv_snapshot_footer *footer = &snapshot->footer;
	uint8_t *bytes = pv_xmalloc(footer->manifest_bytes + 1);
	enum pv_err err;

	err =
	    pv_snapshot_read_at(snapshot->fd, snapshot->path, bytes, footer->manifest_bytes, footer->manifest_at, msg);
	if (!err && pv_crc32c(0, bytes, footer->manifest_bytes) != footer->manifest_crc)
		err = pv_err_set(msg, PV_ERR_CORRUPT, "the checksum of its manifest is wrong");
	if (!err)
		snapshot->manifest = pvs__manifest__unpack(NULL, footer->manifest_bytes, bytes);
	if (!err && !snapshot->manifest)
		err = pv_err_set(msg, PV_ERR_CORRUPT, "its manifest cannot be read");
	if (!err)
		err = pv_snapshot_check_manifest(snapshot->manifest, footer, msg);
	free(bytes);
	return err;
}

enum pv_err pv_snapshot_open_fd(int fd, const char *path, struct pv_snapshot **out, struct pv_errmsg *msg)
{
	struct pv_snapshot *snapshot = PV_NEW(struct pv_snapshot);
	enum pv_err err;

	snapshot->fd = fd;
	snapshot->path = pv_xstrdup(path);
	err = read_footer(snapshot, msg);
	if (!err)
		err = read_manifest(snapshot, msg);
	if (!err) {
		*out = snapshot;
		return PV_OK;
	}
	pv_snapshot_close(snapshot);
	return pv_err_wrap(msg, err, "snapshot %s", path);
}

enum pv_err pv_snapshot_open(const char *path, struct pv_snapshot **out, struct pv_errmsg *msg)
{
	/* O_NONBLOCK: a FIFO in place of a file must not stop us. */
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);

	*out = NULL;
	if (fd < 0)
		return pv_err_sys(msg, errno == EACCES || errno == EROFS ? PV_ERR_DENIED : pv_hostfile_err(errno),
		                  errno, "cannot open snapshot %s", path);
	return pv_snapshot_open_fd(fd, path, out, msg);
}

void pv_snapshot_close(struct pv_snapshot *snapshot)
{
	if (!snapshot)
		return;
	close(snapshot->fd);
	if (snapshot->manifest)
		pvs__manifest__free_unpacked(snapshot->manifest, NULL);
	free(snapshot->path);
	free(snapshot);
}

const Pvs__Manifest *pv_snapshot_manifest(const struct pv_snapshot *snapshot)
{
	return snapshot->manifest;
}

bool pv_snapshot_is_mappable(const struct pv_snapshot *snapshot)
{
	return snapshot->footer.kind == PV_SNAPSHOT_MAPPABLE;
}

int pv_snapshot_fd(const struct pv_snapshot *snapshot)
{
	return snapshot->fd;
}

const char *pv_snapshot_path(const struct pv_snapshot *snapshot)
{
	return snapshot->path;
}

const Pvs__Disk *pv_snapshot_disk(const struct pv_snapshot *snapshot, const char *id)
{
	const Pvs__Manifest *manifest = snapshot->manifest;

	for (size_t i = 0; i < manifest->n_disks; i++)
		if (!strcmp(manifest->disks[i]->id, id))
			return manifest->disks[i];
	return NULL;
}

/* ---- sections ---- */

static enum pv_err expand(const uint8_t *bytes, const Pvs__Section *section, struct pv_buf *out, struct pv_errmsg *msg)
{
	size_t n;

	if (section->size == section->full_size) {
		pv_buf_add(out, bytes, section->size);
		return PV_OK;
	}
	pv_buf_reserve(out, section->full_size);
	n = ZSTD_decompress(out->data + out->len, section->full_size, bytes, section->size);
	if (ZSTD_isError(n))
		return pv_err_set(msg, PV_ERR_CORRUPT, "%s", ZSTD_getErrorName(n));
	if (n != section->full_size)
		return pv_err_set(msg, PV_ERR_CORRUPT, "it has %zu bytes and should have %" PRIu64, n,
		                  section->full_size);
	out->len += n;
	out->data[out->len] = 0;
	return PV_OK;
}

enum pv_err pv_snapshot_read(const struct pv_snapshot *snapshot, const Pvs__Section *section, struct pv_buf *out,
                             struct pv_errmsg *msg)
{
	uint8_t *bytes;
	enum pv_err err;

	if (!section || section->size == 0)
		return PV_OK;
	if (section->full_size > PV_SNAPSHOT_SECTION_MAX || section->size > section->full_size)
		return pv_err_set(msg, PV_ERR_CORRUPT, "snapshot %s: a section of %" PRIu64 " bytes", snapshot->path,
		                  section->full_size);
	bytes = pv_xmalloc(section->size);
	err = pv_snapshot_read_at(snapshot->fd, snapshot->path, bytes, section->size, section->offset, msg);
	if (!err && pv_crc32c(0, bytes, section->size) != section->crc32c)
		err = pv_err_set(msg, PV_ERR_CORRUPT, "the checksum is wrong");
	if (!err)
		err = expand(bytes, section, out, msg);
	free(bytes);
	return err ? pv_err_wrap(msg, err, "snapshot %s: section at %" PRIu64, snapshot->path, section->offset) : err;
}
