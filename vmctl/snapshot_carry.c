/* Sections other than the memory, and the places of disks, on their way from one snapshot file to another. */
#include <stdlib.h>

#include "vmctl/snapshot_internal.h"

static enum pv_err carry(Pvs__Section **place, Pvs__Section *section, pv_snapshot_carry *function, void *arg,
                         struct pv_errmsg *msg)
{
	const Pvs__Section *from = *place;

	if (!from || from->size == 0) {
		*place = NULL;
		return PV_OK;
	}
	*place = section;
	return function(arg, from, section, msg);
}

enum pv_err pv_snapshot_carry_sections(Pvs__Manifest *manifest, struct pv_snapshot_sections *sections,
                                       pv_snapshot_carry *function, void *arg, struct pv_errmsg *msg)
{
	enum pv_err err;

	err = carry(&manifest->devices, &sections->devices, function, arg, msg);
	if (!err)
		err = carry(&manifest->firmware, &sections->firmware, function, arg, msg);
	if (!err)
		err = carry(&manifest->console, &sections->console, function, arg, msg);
	return err;
}

/* ---- disks ---- */

static uint64_t whole_pages(uint64_t bytes)
{
	return (bytes + PV_SNAPSHOT_PAGE - 1) / PV_SNAPSHOT_PAGE * PV_SNAPSHOT_PAGE;
}

struct pv_snapshot_area *pv_snapshot_areas(const Pvs__Manifest *manifest, uint64_t *end)
{
	struct pv_snapshot_area *areas = pv_xcalloc(manifest->n_disks + 1, sizeof(*areas));

	areas[0].size = manifest->memory->full_size;
	*end = areas[0].size;
	for (size_t i = 0; i < manifest->n_disks; i++) {
		areas[i + 1] = (struct pv_snapshot_area){ .at = *end, .size = whole_pages(manifest->disks[i]->size) };
		*end += areas[i + 1].size;
	}
	return areas;
}

size_t pv_snapshot_chunks(const Pvs__Manifest *manifest, size_t index, Pvs__Section *const **chunks,
                          const uint64_t **places)
{
	if (index == 0) {
		*chunks = manifest->memory_chunks;
		*places = manifest->memory_at;
		return manifest->n_memory_chunks;
	}
	*chunks = manifest->disks[index - 1]->chunks;
	*places = manifest->disks[index - 1]->chunk_at;
	return manifest->disks[index - 1]->n_chunks;
}

void pv_snapshot_carry_disks(Pvs__Manifest *manifest, struct pv_snapshot_sections *sections,
                             const struct pv_snapshot_area *areas)
{
	sections->disks = pv_xcalloc(manifest->n_disks + 1, sizeof(sections->disks[0]));
	sections->disk_data = pv_xcalloc(manifest->n_disks + 1, sizeof(sections->disk_data[0]));
	sections->disk_list = pv_xcalloc(manifest->n_disks + 1, sizeof(sections->disk_list[0]));
	for (size_t i = 0; i < manifest->n_disks; i++) {
		Pvs__Disk *disk = &sections->disks[i];
		Pvs__Section *data = &sections->disk_data[i];

		*disk = *manifest->disks[i];
		disk->n_chunks = disk->n_chunk_at = 0;
		disk->data = NULL;
		sections->disk_list[i] = disk;
		if (!areas)
			continue;
		pvs__section__init(data);
		data->has_offset = data->has_size = data->has_full_size = true;
		data->offset = areas[i + 1].at;
		data->size = data->full_size = disk->size;
		disk->data = data;
	}
	manifest->disks = sections->disk_list;
}

void pv_snapshot_sections_free(struct pv_snapshot_sections *sections)
{
	free(sections->disks);
	free(sections->disk_data);
	free(sections->disk_list);
}
