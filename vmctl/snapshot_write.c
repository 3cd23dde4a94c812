/* Making a mappable snapshot of a machine. */
#include <string.h>

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
	file->end = parts->memory.size;
	err = add(file, parts->devices, &sections->devices, &manifest->devices, msg);
	if (!err)
		err = add(file, parts->firmware, &sections->firmware, &manifest->firmware, msg);
	if (!err)
		err = add(file, parts->console, &sections->console, &manifest->console, msg);
	return err;
}

static enum pv_err write_all(struct pv_snapshot_new *file, const struct pv_snapshot_parts *parts,
                             void (*may_run)(void *arg), void *arg, struct pv_errmsg *msg)
{
	struct pv_guest_pages pages;
	enum pv_err err;

	err = pv_guest_pages_find(&parts->memory, &pages, msg);
	if (err)
		return err;
	err = pv_guest_memory_copy(&parts->memory, &pages, file->temp.fd, file->path, may_run, arg, msg);
	pv_guest_pages_free(&pages);
	return err;
}

enum pv_err pv_snapshot_write(const char *path, const struct pv_snapshot_parts *parts, void (*may_run)(void *arg),
                              void *arg, uint64_t *file_bytes, struct pv_errmsg *msg)
{
	Pvs__Manifest manifest = *parts->manifest; /* shares what it points to */
	struct pv_snapshot_new file;
	struct sections sections;
	enum pv_err err;

	PV_ASSERT(parts->memory.size > 0 && parts->memory.size % PV_SNAPSHOT_PAGE == 0 &&
	          parts->memory.address % PV_SNAPSHOT_PAGE == 0 && manifest.shape);
	err = pv_snapshot_new_begin(&file, path, PV_SNAPSHOT_MAPPABLE, msg);
	if (err)
		return err;
	manifest.has_format = true;
	manifest.format = PV_SNAPSHOT_FORMAT;
	manifest.n_memory_chunks = manifest.n_memory_at = 0;
	err = write_all(&file, parts, may_run, arg, msg);
	if (!err)
		err = add_sections(&file, parts, &sections, &manifest, msg);
	if (!err)
		return pv_snapshot_new_finish(&file, &manifest, parts->durable, file_bytes, msg);
	pv_snapshot_new_discard(&file);
	return err;
}
