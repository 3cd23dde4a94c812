/* Disks of VMs in snapshots: what is saved of them, and the files that are made out of one. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/lab/driver_qemu_internal.h"
#include "proto/copy.h"
#include "proto/mem.h"
#include "vmctl/disk_file.h"
#include "vmctl/snapshot.h"

/* ---- saving ---- */

void qemu_disks_for_saving(const struct qemu_vm *vm, struct qemu_saving *out)
{
	const Pv__Disk *disks[PV_PLUGS_MAX];
	size_t n = pv_state_plugged_disks(pv_engine_state(vm->driver->engine), vm->id, disks);

	out->n = n;
	out->disks = pv_xcalloc(n + 1, sizeof(*out->disks));
	out->list = pv_xcalloc(n + 1, sizeof(*out->list));
	out->devices = pv_xcalloc(n + 1, sizeof(*out->devices));
	out->paths = pv_xcalloc(n + 1, sizeof(*out->paths));
	for (size_t i = 0; i < n; i++) {
		Pvs__Disk *disk = out->list[i] = &out->disks[i];
		Pvs__Device *device = &out->devices[i];

		pvs__disk__init(disk);
		disk->id = disks[i]->id;
		disk->has_addr = 1;
		disk->addr = disks[i]->pci;
		disk->has_blank = disk->blank = disks[i]->backing == PV__DISK_BACKING__DISK_BACKING_BLANK;
		disk->has_mediated = disk->mediated = disks[i]->mediated;
		pvs__device__init(device);
		device->id = pv_xasprintf("disk%" PRIu32, disks[i]->pci);
		device->driver = (char *)(uintptr_t) "virtio-blk-pci";
		device->has_addr = 1;
		device->addr = disks[i]->pci;
		device->detail = disks[i]->id;
		out->paths[i] = qemu_disk_path(vm, disks[i]);
	}
}

void qemu_saving_free(struct qemu_saving *saving)
{
	for (size_t i = 0; i < saving->n; i++) {
		free(saving->devices[i].id);
		free(saving->paths[i]);
	}
	free(saving->disks);
	free(saving->list);
	free(saving->devices);
	free(saving->paths);
}

void qemu_saved_disks(const Pvs__Manifest *manifest, Pv__VmSpec *spec)
{
	spec->saved_disks = pv_xcalloc(manifest->n_disks + 1, sizeof(*spec->saved_disks));
	for (size_t i = 0; i < manifest->n_disks; i++) {
		const Pvs__Disk *saved = manifest->disks[i];
		Pv__Disk disk = PV__DISK__INIT;

		disk.id = saved->id;
		disk.has_backing = disk.has_size = disk.has_pci = 1;
		disk.backing =
		    saved->blank ? PV__DISK_BACKING__DISK_BACKING_BLANK : PV__DISK_BACKING__DISK_BACKING_SAVED;
		disk.size = saved->size;
		disk.has_mediated = disk.mediated = saved->mediated;
		disk.pci = saved->addr;
		spec->saved_disks[spec->n_saved_disks++] = pv_message_copy(&disk.base);
	}
}

/* ---- restoring ---- */

/* The disks that a VM was declared with are to be in the snapshot that it goes on from, unless it was up in between: then it has those of that time. */
enum pv_err qemu_check_declared_disks(const struct qemu_vm *vm, const struct pv_snapshot *snapshot,
                                      struct pv_errmsg *msg)
{
	const struct pv_state *state = pv_engine_state(vm->driver->engine);
	Pv__Disk *const *disks;
	struct pv_vm_view view;
	size_t n;

	if (!pv_state_vm(state, vm->id, &view) || view.boots > 0)
		return PV_OK;
	disks = pv_state_disks(state, vm->id, &n);
	for (size_t i = 0; i < n; i++) {
		const Pvs__Disk *saved = pv_snapshot_disk(snapshot, disks[i]->id);

		if (saved == NULL)
			return pv_err_set(msg, PV_ERR_INVAL, "%s: disk '%s': the VM has it, the snapshot has not",
			                  pv_snapshot_path(snapshot), disks[i]->id);
		if (saved->size != disks[i]->size)
			return pv_err_set(msg, PV_ERR_INVAL, "%s: disk '%s': the snapshot has %llu bytes, the VM %llu",
			                  pv_snapshot_path(snapshot), disks[i]->id, (unsigned long long)saved->size,
			                  (unsigned long long)disks[i]->size);
	}
	return PV_OK;
}

void qemu_saved_files_init(struct qemu_vm *vm, struct qemu_saved_files *files)
{
	files->n = vm->spec->n_saved_disks;
	files->disks = qemu_disks_for_start(vm, vm->spec->saved_disks, files->n);
	files->ids = pv_xcalloc(files->n + 1, sizeof(*files->ids));
	for (size_t i = 0; i < files->n; i++)
		files->ids[i] = pv_xstrdup(vm->spec->saved_disks[i]->id);
	vm->disk_files |= files->n > 0;
}

void qemu_saved_files_free(struct qemu_saved_files *files)
{
	qemu_disks_free(files->disks, files->n);
	for (size_t i = 0; i < files->n; i++)
		free(files->ids[i]);
	free(files->ids);
}

enum pv_err qemu_saved_files_make(const struct qemu_saved_files *files, const struct pv_snapshot *snapshot,
                                  struct pv_errmsg *msg)
{
	const Pvs__Manifest *manifest = pv_snapshot_manifest(snapshot);
	const char *path = pv_snapshot_path(snapshot);
	enum pv_err err = PV_OK;

	if (manifest->n_disks != files->n)
		return pv_err_set(msg, PV_ERR_INVAL, "%s has %zu disks, and %zu when it was looked at", path,
		                  manifest->n_disks, files->n);
	for (size_t i = 0; i < files->n && err == PV_OK; i++) {
		const Pvs__Disk *disk = pv_snapshot_disk(snapshot, files->ids[i]);

		if (disk == NULL || disk->addr != files->disks[i].pci)
			return pv_err_set(msg, PV_ERR_INVAL, "%s has other disks than when it was looked at", path);
		err = pv_disk_file_make_from(files->disks[i].path, pv_snapshot_fd(snapshot), path, disk->data->offset,
		                             disk->size, msg);
	}
	return err;
}
