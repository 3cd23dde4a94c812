/* Making a mappable snapshot of a machine. */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmctl/disk_file.h"
#include "vmctl/snapshot_internal.h"

struct sections {
	Pvs__Section memory, devices, firmware, console;
};

static enum pv_err add(struct pv_snapshot_new *file, struct pv_bytes bytes, Pvs__Section *section,
                       Pvs__Section **in_manifest, struct pv_errmsg *msg)
{
	*in_manifest = NULL;
	if (bytes.len == 0)
		return PV_OK;
	*in_manifest = section;
	if (bytes.len > PV_SNAPSHOT_SECTION_MAX)
		return pv_err_set(msg, PV_ERR_UNSUPPORTED, "cannot write %s: a part of %zu bytes beside the memory",
		                  file->path, bytes.len);
	return pv_snapshot_new_add(file, bytes.data, bytes.len, bytes.len, section, msg);
}

static enum pv_err add_sections(struct pv_snapshot_new *file, const struct pv_snapshot_parts *parts,
                                struct sections *sections, Pvs__Manifest *manifest, struct pv_errmsg *msg)
{
	enum pv_err err;

	sections->memory = (Pvs__Section)PVS__SECTION__INIT;
	sections->memory.has_offset = sections->memory.has_size = sections->memory.has_full_size = true;
	sections->memory.size = sections->memory.full_size = parts->memory.size;
	manifest->memory = &sections->memory;
	err = add(file, parts->devices, &sections->devices, &manifest->devices, msg);
	if (!err)
		err = add(file, parts->firmware, &sections->firmware, &manifest->firmware, msg);
	if (!err)
		err = add(file, parts->console, &sections->console, &manifest->console, msg);
	return err;
}

/* ---- disks, while the guest stands still ---- */

struct disks {
	const struct pv_snapshot_parts *parts;
	struct pv_snapshot_new *file;
	Pvs__Manifest *manifest;
	struct pv_snapshot_sections sections;
	void (*may_run)(void *arg);
	void *arg;
	enum pv_err err;
	struct pv_errmsg msg;
};

static enum pv_err copy_disk(struct disks *disks, int fd, const char *path, uint64_t at, uint64_t size)
{
	return pv_disk_file_copy(fd, path, 0, disks->file->temp.fd, disks->file->path, at, size, &disks->msg);
}

static enum pv_err copy_disks(struct disks *disks, const int *fds, const struct stat *sts)
{
	Pvs__Manifest *manifest = disks->manifest;
	struct pv_snapshot_area *areas;
	enum pv_err err = PV_OK;
	uint64_t end;

	for (size_t i = 0; i < manifest->n_disks; i++) {
		manifest->disks[i]->has_size = true;
		manifest->disks[i]->size =
		    ((uint64_t)sts[i].st_size + PV_DISK_FILE_SECTOR - 1) / PV_DISK_FILE_SECTOR * PV_DISK_FILE_SECTOR;
	}
	areas = pv_snapshot_areas(manifest, &end);
	for (size_t i = 0; !err && i < manifest->n_disks; i++)
		err = copy_disk(disks, fds[i], disks->parts->disk_paths[i], areas[i + 1].at, (uint64_t)sts[i].st_size);
	pv_snapshot_carry_disks(manifest, &disks->sections, areas);
	disks->file->end = end;
	free(areas);
	return err;
}

static enum pv_err open_and_copy(struct disks *disks)
{
	size_t n = disks->manifest->n_disks, opened = 0;
	struct stat *sts = pv_xcalloc(n + 1, sizeof(*sts));
	int *fds = pv_xcalloc(n + 1, sizeof(*fds));
	enum pv_err err = PV_OK;

	while (!err && opened < n) {
		const char *path = disks->parts->disk_paths[opened];

		err = pv_hostfile_open(path, &fds[opened], &disks->msg);
		if (!err && fstat(fds[opened], &sts[opened]))
			err = pv_err_sys(&disks->msg, PV_ERR_IO, errno, "cannot look at %s", path);
		opened += fds[opened] >= 0;
	}
	if (!err)
		err = copy_disks(disks, fds, sts);
	for (size_t i = 0; i < opened; i++)
		close(fds[i]);
	free(fds);
	free(sts);
	return err;
}

/* The memory is read. */
static void then_disks(void *arg)
{
	struct disks *disks = arg;

	disks->err = open_and_copy(disks);
	if (!disks->err && disks->may_run)
		disks->may_run(disks->arg);
}

static enum pv_err write_all(struct disks *disks, struct pv_errmsg *msg)
{
	const struct pv_snapshot_parts *parts = disks->parts;
	bool any = disks->manifest->n_disks > 0;
	struct pv_guest_pages pages;
	enum pv_err err;

	err = pv_guest_pages_find(&parts->memory, &pages, msg);
	if (err)
		return err;
	err = pv_guest_memory_copy(&parts->memory, &pages, disks->file->temp.fd, disks->file->path,
	                           any ? then_disks : disks->may_run, any ? disks : disks->arg, msg);
	pv_guest_pages_free(&pages);
	if (!err && disks->err) {
		if (msg)
			*msg = disks->msg;
		err = disks->err;
	}
	return err;
}

enum pv_err pv_snapshot_write(const char *path, const struct pv_snapshot_parts *parts, void (*may_run)(void *arg),
                              void *arg, uint64_t *file_bytes, struct pv_errmsg *msg)
{
	Pvs__Manifest manifest = *parts->manifest; /* shares what it points to */
	Pvs__Section whole = PVS__SECTION__INIT;
	struct pv_snapshot_new file;
	struct sections sections;
	struct disks disks = { .parts = parts, .file = &file, .manifest = &manifest, .may_run = may_run, .arg = arg };
	enum pv_err err;

	PV_ASSERT(parts->memory.size > 0 && parts->memory.size % PV_SNAPSHOT_PAGE == 0 &&
	          parts->memory.address % PV_SNAPSHOT_PAGE == 0 && manifest.shape);
	err = pv_snapshot_new_begin(&file, path, PV_SNAPSHOT_MAPPABLE, msg);
	if (err)
		return err;
	manifest.has_format = true;
	manifest.format = manifest.n_disks > 0 ? PV_SNAPSHOT_FORMAT_DISKS : PV_SNAPSHOT_FORMAT;
	whole.full_size = parts->memory.size;
	manifest.memory = &whole;
	file.end = parts->memory.size;
	manifest.n_memory_chunks = manifest.n_memory_at = 0;
	err = write_all(&disks, msg);
	if (!err)
		err = add_sections(&file, parts, &sections, &manifest, msg);
	if (!err)
		err = pv_snapshot_new_finish(&file, &manifest, parts->durable, file_bytes, msg);
	else
		pv_snapshot_new_discard(&file);
	pv_snapshot_sections_free(&disks.sections);
	return err;
}
