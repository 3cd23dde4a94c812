/* Sections other than the memory on their way from one snapshot file to another. */
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
	Pvs__Disk **from = manifest->disks;
	enum pv_err err;

	err = carry(&manifest->devices, &sections->devices, function, arg, msg);
	if (!err)
		err = carry(&manifest->firmware, &sections->firmware, function, arg, msg);
	if (!err)
		err = carry(&manifest->console, &sections->console, function, arg, msg);
	sections->disks = pv_xcalloc(manifest->n_disks + 1, sizeof(sections->disks[0]));
	sections->disk_data = pv_xcalloc(manifest->n_disks + 1, sizeof(sections->disk_data[0]));
	sections->disk_list = pv_xcalloc(manifest->n_disks + 1, sizeof(sections->disk_list[0]));
	for (size_t i = 0; !err && i < manifest->n_disks; i++) {
		sections->disks[i] = *from[i];
		sections->disk_list[i] = &sections->disks[i];
		err = carry(&sections->disks[i].data, &sections->disk_data[i], function, arg, msg);
	}
	manifest->disks = sections->disk_list;
	return err;
}

void pv_snapshot_sections_free(struct pv_snapshot_sections *sections)
{
	free(sections->disks);
	free(sections->disk_data);
	free(sections->disk_list);
}
