/* What must hold of a manifest before anything in it is used: a file may be damaged in ways that a checksum does not tell, or forged. */
#include <inttypes.h>

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

static enum pv_err check_chunks(const Pvs__Manifest *manifest, const struct pv_snapshot_footer *footer,
                                struct pv_errmsg *msg)
{
	const uint64_t memory = manifest->memory->full_size;
	uint64_t end = 0;

	for (size_t i = 0; i < manifest->n_memory_chunks; i++) {
		const Pvs__Section *chunk = manifest->memory_chunks[i];
		uint64_t at = manifest->memory_at[i];
		enum pv_err err = check_section(chunk, "memory", footer, msg);

		if (err)
			return err;
		if (chunk->full_size == 0 || chunk->full_size > PV_SNAPSHOT_CHUNK_BYTES ||
		    chunk->full_size % PV_SNAPSHOT_PAGE != 0 || at % PV_SNAPSHOT_PAGE != 0)
			return pv_err_set(msg, PV_ERR_CORRUPT,
			                  "its memory has a piece of %" PRIu64 " bytes at %" PRIu64, chunk->full_size,
			                  at);
		if (at < end || at > memory || chunk->full_size > memory - at)
			return pv_err_set(msg, PV_ERR_CORRUPT,
			                  "its memory has a piece at %" PRIu64 ", where none can be", at);
		end = at + chunk->full_size;
	}
	return PV_OK;
}

static enum pv_err check_others(const Pvs__Manifest *manifest, const struct pv_snapshot_footer *footer,
                                struct pv_errmsg *msg)
{
	enum pv_err err = check_section(manifest->devices, "devices", footer, msg);

	if (!err)
		err = check_section(manifest->firmware, "firmware", footer, msg);
	if (!err)
		err = check_section(manifest->console, "console", footer, msg);
	for (size_t i = 0; !err && i < manifest->n_disks; i++)
		err = check_section(manifest->disks[i]->data, "disk", footer, msg);
	return err;
}

enum pv_err pv_snapshot_check_manifest(const Pvs__Manifest *manifest, const struct pv_snapshot_footer *footer,
                                       struct pv_errmsg *msg)
{
	enum pv_err err;

	if (manifest->format != PV_SNAPSHOT_FORMAT)
		return pv_err_set(msg, PV_ERR_VERSION,
		                  "its manifest has format %" PRIu32
		                  ", and this provium knows format %u; make it again",
		                  manifest->format, PV_SNAPSHOT_FORMAT);
	if (!manifest->shape)
		return pv_err_set(msg, PV_ERR_CORRUPT, "its manifest does not tell of what machine it is");
	err = check_memory(manifest, footer, msg);
	if (!err)
		err = check_chunks(manifest, footer, msg);
	return err ? err : check_others(manifest, footer, msg);
}
