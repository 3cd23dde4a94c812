/* A snapshot file that comes into being: under a name of its own with ".tmp" in it, held by a lock for as long as its maker lives, so that
 * anyone can tell what a killed process left (pv_store_evict()). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/crc32c.h"
#include "vmctl/snapshot_internal.h"

#define TRIES 16

enum pv_err pv_snapshot_write_at(int fd, const char *path, const void *data, size_t len, uint64_t at,
                                 struct pv_errmsg *msg)
{
	const uint8_t *from = data;

	while (len > 0) {
		ssize_t n = pwrite(fd, from, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return pv_err_sys(msg, pv_hostfile_err(errno), errno, "cannot write %s", path);
		from += n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return PV_OK;
}

static bool is_zero(const uint8_t *page)
{
	/* The first word tells of nearly every page that is in use. */
	uint64_t word;

	memcpy(&word, page, sizeof(word));
	return word == 0 && memcmp(page, page + sizeof(word), PV_SNAPSHOT_PAGE - sizeof(word)) == 0;
}

size_t pv_snapshot_run(const uint8_t *data, size_t len, bool *zero)
{
	size_t at = PV_SNAPSHOT_PAGE;

	*zero = is_zero(data);
	while (at < len && is_zero(data + at) == *zero)
		at += PV_SNAPSHOT_PAGE;
	return at;
}

enum pv_err pv_snapshot_temp(const char *final, struct pv_hostfile_temp *out, struct pv_errmsg *msg)
{
	for (int tries = 0; tries < TRIES; tries++) {
		enum pv_err err = pv_hostfile_temp(final, out, msg);
		struct stat st;

		if (err)
			return err;
		/* Whoever clears away leftovers may have found it before it was locked. */
		if (!flock(out->fd, LOCK_EX) && !fstat(out->fd, &st) && st.st_nlink > 0)
			return PV_OK;
		pv_hostfile_discard(out);
	}
	return pv_err_set(msg, PV_ERR_IO, "cannot make %s: its temporary file keeps being removed", final);
}

enum pv_err pv_snapshot_new_begin(struct pv_snapshot_new *file, const char *path, enum pv_snapshot_kind kind,
                                  struct pv_errmsg *msg)
{
	*file = (struct pv_snapshot_new){ .path = path, .kind = kind };
	return pv_snapshot_temp(path, &file->temp, msg);
}

enum pv_err pv_snapshot_new_add(struct pv_snapshot_new *file, const void *data, size_t len, uint64_t full_size,
                                Pvs__Section *section, struct pv_errmsg *msg)
{
	enum pv_err err = pv_snapshot_write_at(file->temp.fd, file->path, data, len, file->end, msg);

	if (err)
		return err;
	*section = (Pvs__Section)PVS__SECTION__INIT;
	section->has_offset = section->has_size = section->has_full_size = section->has_crc32c = true;
	section->offset = file->end;
	section->size = len;
	section->full_size = full_size;
	section->crc32c = pv_crc32c(0, data, len);
	file->end += len;
	return PV_OK;
}

static enum pv_err write_end(struct pv_snapshot_new *file, const Pvs__Manifest *manifest, bool durable,
                             struct pv_errmsg *msg)
{
	size_t len = pvs__manifest__get_packed_size(manifest);
	uint8_t *bytes = pv_xmalloc(len + PV_SNAPSHOT_FOOTER_BYTES);
	struct pv_snapshot_footer footer = {
		.kind = file->kind,
		.file_bytes = file->end + len + PV_SNAPSHOT_FOOTER_BYTES,
		.manifest_at = file->end,
		.manifest_bytes = (uint32_t)len,
	};
	enum pv_err err = durable ? PV_OK : pv_snapshot_boot_id(footer.boot_id, msg);

	pvs__manifest__pack(manifest, bytes);
	footer.manifest_crc = pv_crc32c(0, bytes, len);
	pv_snapshot_footer_encode(&footer, bytes + len);
	if (!err && len > PV_SNAPSHOT_MANIFEST_MAX)
		err = pv_err_set(msg, PV_ERR_UNSUPPORTED, "cannot write %s: its manifest would have %zu bytes",
		                 file->path, len);
	if (!err)
		err = pv_snapshot_write_at(file->temp.fd, file->path, bytes, len + PV_SNAPSHOT_FOOTER_BYTES, file->end,
		                           msg);
	free(bytes);
	return err;
}

static enum pv_err sync_dir_of(const char *path, struct pv_errmsg *msg)
{
	const char *slash = strrchr(path, '/');
	char *dir = slash ? pv_xasprintf("%.*s", slash == path ? 1 : (int)(slash - path), path) : pv_xstrdup(".");
	enum pv_err err = pv_hostfile_sync_dir(dir, msg);

	free(dir);
	return err;
}

/* Not by rename(2) alone: where there is another file of that name, ext4 begins to write all of the new one to the disk then, and a snapshot in
 * a loop would wait for it. The older one has the temporary name afterwards. */
static enum pv_err give_name(const struct pv_snapshot_new *file, bool durable, struct pv_errmsg *msg)
{
	const char *temp = file->temp.path, *path = file->path;
	const bool exchanged = !renameat2(AT_FDCWD, temp, AT_FDCWD, path, RENAME_EXCHANGE);
	enum pv_err err = PV_OK;

	if (!exchanged && rename(temp, path))
		return pv_err_sys(msg, pv_hostfile_err(errno), errno, "cannot give %s its name", path);
	if (durable)
		err = sync_dir_of(path, msg);
	if (err && (!exchanged || renameat2(AT_FDCWD, temp, AT_FDCWD, path, RENAME_EXCHANGE)))
		unlink(path);
	if (exchanged)
		unlink(temp);
	return err;
}

enum pv_err pv_snapshot_new_finish(struct pv_snapshot_new *file, const Pvs__Manifest *manifest, bool durable,
                                   uint64_t *file_bytes, struct pv_errmsg *msg)
{
	enum pv_err err = write_end(file, manifest, durable, msg);
	struct stat st;

	if (!err && ((durable && fdatasync(file->temp.fd)) || fstat(file->temp.fd, &st)))
		err = pv_err_sys(msg, pv_hostfile_err(errno), errno, "cannot write %s", file->path);
	if (!err)
		err = give_name(file, durable, msg);
	if (err) {
		pv_snapshot_new_discard(file);
		return err;
	}
	if (file_bytes)
		*file_bytes = (uint64_t)st.st_blocks * 512;
	close(file->temp.fd);
	free(file->temp.path);
	return PV_OK;
}

void pv_snapshot_new_discard(struct pv_snapshot_new *file)
{
	pv_hostfile_discard(&file->temp);
}
