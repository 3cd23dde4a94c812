/* What must hold of a manifest before anything in it is used: a file may be damaged in ways that a checksum does not tell, or forged. */
#include <inttypes.h>
#include <string.h>

#include "vmctl/snapshot_internal.h"

static enum pv_err check_section(const Pvs__Section *section, const char *name, const struct pv_snapshot_footer *footer,
                                 struct pv_errmsg *msg)
{
	if (!section)
		return PV_OK;
	if (section->offset > footer->manifest_at || section->size > footer->manifest_at - section->offset)
		return pv_err_set(msg, PV_ERR_CORRUPT, "its section '%s' lies outside of the file", name);
	if (section->size > section->full_size || (section->size == 0) != (section->full_size == 0))
		return pv_err_set(msg, PV_ERR_CORRUPT,
		                  "its section '%s' has %" PRIu64 " bytes for a content of %" PRIu64, name,
		                  section->size, section->full_size);
	return PV_OK;
}

static enum pv_err check_memory(const Pvs__Manifest *manifest, const struct pv_snapshot_footer *footer,
                                struct pv_errmsg *msg)
{
	const Pvs__Section *memory = manifest->memory;

	if (!memory || memory->full_size == 0 || memory->full_size % PV_SNAPSHOT_PAGE != 0 ||
	    memory->full_size > INT64_MAX)
		return pv_err_set(msg, PV_ERR_CORRUPT, "its manifest does not tell the size of the memory");
	if (manifest->n_memory_chunks != manifest->n_memory_at)
		return pv_err_set(msg, PV_ERR_CORRUPT, "its manifest tells of %zu pieces of memory and %zu places",
		                  manifest->n_memory_chunks, manifest->n_memory_at);
	if (footer->kind == PV_SNAPSHOT_MAPPABLE &&
	    (memory->offset != 0 || memory->size != memory->full_size || manifest->n_memory_chunks > 0))
		return pv_err_set(msg, PV_ERR_CORRUPT, "its memory is not at its beginning");
	if (footer->kind == PV_SNAPSHOT_MAPPABLE)
		return check_section(memory, "memory", footer, msg);
	return PV_OK;
}

/* Of the memory, or of a disk, which has `bytes`. */
static enum pv_err check_chunks(const char *name, Pvs__Section *const *chunks, const uint64_t *places, size_t n,
                                uint64_t bytes, const struct pv_snapshot_footer *footer, struct pv_errmsg *msg)
{
	const uint64_t size = (bytes + PV_SNAPSHOT_PAGE - 1) / PV_SNAPSHOT_PAGE * PV_SNAPSHOT_PAGE;
	uint64_t end = 0;

	for (size_t i = 0; i < n; i++) {
		const Pvs__Section *chunk = chunks[i];
		uint64_t at = places[i];
		enum pv_err err = check_section(chunk, name, footer, msg);

		if (err)
			return err;
		if (chunk->full_size == 0 || chunk->full_size > PV_SNAPSHOT_CHUNK_BYTES ||
		    chunk->full_size % PV_SNAPSHOT_PAGE != 0 || at % PV_SNAPSHOT_PAGE != 0)
			return pv_err_set(msg, PV_ERR_CORRUPT, "its %s has a piece of %" PRIu64 " bytes at %" PRIu64,
			                  name, chunk->full_size, at);
		if (at < end || at > size || chunk->full_size > size - at)
			return pv_err_set(msg, PV_ERR_CORRUPT, "its %s has a piece at %" PRIu64 ", where none can be",
			                  name, at);
		end = at + chunk->full_size;
	}
	return PV_OK;
}

static enum pv_err check_disk(const Pvs__Disk *disk, const struct pv_snapshot_footer *footer, uint64_t memory,
                              struct pv_errmsg *msg)
{
	const Pvs__Section *data = disk->data;

	if (!disk->id || disk->size == 0 || disk->size > UINT64_C(1) << 55)
		return pv_err_set(msg, PV_ERR_CORRUPT, "one of its disks has no id or no size");
	if (disk->n_chunks != disk->n_chunk_at)
		return pv_err_set(msg, PV_ERR_CORRUPT, "its manifest tells of %zu pieces of a disk and %zu places",
		                  disk->n_chunks, disk->n_chunk_at);
	if (footer->kind == PV_SNAPSHOT_PACKED)
		return data ? pv_err_set(msg, PV_ERR_CORRUPT, "it is packed and has a disk that is not")
		            : check_chunks("disk", disk->chunks, disk->chunk_at, disk->n_chunks, disk->size, footer,
		                           msg);
	if (!data || disk->n_chunks > 0 || data->size != disk->size || data->full_size != disk->size ||
	    data->offset % PV_SNAPSHOT_PAGE != 0 || data->offset < memory)
		return pv_err_set(msg, PV_ERR_CORRUPT, "its disk '%s' is not where one can be", disk->id);
	return check_section(data, "disk", footer, msg);
}

static enum pv_err check_disks(const Pvs__Manifest *manifest, const struct pv_snapshot_footer *footer,
                               struct pv_errmsg *msg)
{
	enum pv_err err = PV_OK;

	if (manifest->n_disks > PV_SNAPSHOT_DISKS_MAX)
		return pv_err_set(msg, PV_ERR_CORRUPT, "it has %zu disks", manifest->n_disks);
	for (size_t i = 0; !err && i < manifest->n_disks; i++) {
		err = check_disk(manifest->disks[i], footer, manifest->memory->full_size, msg);
		for (size_t j = 0; !err && j < i; j++)
			if (!strcmp(manifest->disks[j]->id, manifest->disks[i]->id))
				err = pv_err_set(msg, PV_ERR_CORRUPT, "it has two disks '%s'", manifest->disks[i]->id);
	}
	return err;
}

static enum pv_err check_others(const Pvs__Manifest *manifest, const struct pv_snapshot_footer *footer,
                                struct pv_errmsg *msg)
{
	enum pv_err err = check_section(manifest->devices, "devices", footer, msg);

	if (!err)
		err = check_section(manifest->firmware, "firmware", footer, msg);
	if (!err)
		err = check_section(manifest->console, "console", footer, msg);
	return err;
}

enum pv_err pv_snapshot_check_manifest(const Pvs__Manifest *manifest, const struct pv_snapshot_footer *footer,
                                       struct pv_errmsg *msg)
{
	enum pv_err err;

	if (manifest->format != PV_SNAPSHOT_FORMAT && manifest->format != PV_SNAPSHOT_FORMAT_DISKS)
		return pv_err_set(msg, PV_ERR_VERSION,
		                  "its manifest has format %" PRIu32
		                  ", and this provium knows formats up to %u; make it again",
		                  manifest->format, PV_SNAPSHOT_FORMAT_DISKS);
	if (!manifest->shape)
		return pv_err_set(msg, PV_ERR_CORRUPT, "its manifest does not tell of what machine it is");
	err = check_memory(manifest, footer, msg);
	if (!err)
		err = check_chunks("memory", manifest->memory_chunks, manifest->memory_at, manifest->n_memory_chunks,
		                   manifest->memory->full_size, footer, msg);
	if (!err)
		err = check_disks(manifest, footer, msg);
	return err ? err : check_others(manifest, footer, msg);
}
