/* The disks of VMs: the lists, and what is read out of them. */
#include "engine/core/disks.h"

#include <string.h>

#include "engine/core/disks_internal.h"
#include "proto/copy.h"

const char *pv_disk_backing_name(Pv__DiskBacking backing)
{
	switch (backing) {
	case PV__DISK_BACKING__DISK_BACKING_BLANK:
		return "blank";
	case PV__DISK_BACKING__DISK_BACKING_SCRATCH:
		return "scratch";
	case PV__DISK_BACKING__DISK_BACKING_IMAGE:
		return "image";
	case PV__DISK_BACKING__DISK_BACKING_TEMPLATE:
		return "template";
	case PV__DISK_BACKING__DISK_BACKING_SAVED:
		return "saved";
	default:
		return "unknown";
	}
}

const char *pv_call_disk(const Pv__CallStarted *call)
{
	switch (call->op_case) {
	case PV__CALL_STARTED__OP_ATTACH_DISK:
		return call->attach_disk->disk != NULL ? call->attach_disk->disk->id : NULL;
	case PV__CALL_STARTED__OP_DETACH_DISK:
		return call->detach_disk->id;
	case PV__CALL_STARTED__OP_DISK_SIZE:
		return call->disk_size->id;
	case PV__CALL_STARTED__OP_READ_SECTORS:
		return call->read_sectors->id;
	case PV__CALL_STARTED__OP_WRITE_SECTORS:
		return call->write_sectors->id;
	default:
		return NULL;
	}
}

/* ---- lists ---- */

void pv_disks_add(struct pv_disk_list *list, const Pv__Disk *disk)
{
	list->items = pv_xrealloc(list->items, (list->n + 1) * sizeof(Pv__Disk *));
	list->items[list->n++] = pv_message_copy(&disk->base);
}

static void remove_at(struct pv_disk_list *list, size_t index)
{
	pv__disk__free_unpacked(list->items[index], NULL);
	list->n--;
	memmove(list->items + index, list->items + index + 1, (list->n - index) * sizeof(Pv__Disk *));
}

void pv_disks_free(struct pv_disk_list *list)
{
	while (list->n > 0)
		remove_at(list, list->n - 1);
	free(list->items);
	list->items = NULL;
}

uint32_t pv_disks_pcis(const struct pv_vm *vm)
{
	uint32_t taken = 0;

	for (size_t i = 0; i < vm->disks.n; i++)
		taken |= UINT32_C(1) << (vm->disks.items[i]->pci & 31);
	for (size_t i = 0; i < vm->restoring.n; i++)
		taken |= UINT32_C(1) << (vm->restoring.items[i]->pci & 31);
	return taken;
}

/* Does one of this boot stand in its place? */
static bool is_replaced(const struct pv_disk_list *list, size_t index)
{
	for (size_t i = 0; i < list->n && !list->items[index]->this_boot; i++)
		if (list->items[i]->this_boot && strcmp(list->items[i]->id, list->items[index]->id) == 0)
			return true;
	return false;
}

/* ---- what happens to them ---- */

void pv_disks_declared(struct pv_vm *vm, const Pv__VmSpec *spec)
{
	vm->next_disk_file = 1;
	for (size_t i = 0; spec != NULL && i < spec->n_disks; i++) {
		pv_disks_add(&vm->disks, spec->disks[i]);
		if (spec->disks[i]->file >= vm->next_disk_file)
			vm->next_disk_file = spec->disks[i]->file + 1;
	}
}

static void add_new(struct pv_vm *vm, struct pv_disk_list *list, const Pv__Disk *disk, uint64_t attach_call)
{
	Pv__Disk copy = *disk;

	copy.has_attach_call = attach_call != 0;
	copy.attach_call = attach_call;
	pv_disks_add(list, &copy);
	if (disk->file >= vm->next_disk_file)
		vm->next_disk_file = disk->file + 1;
}

void pv_disks_call_started(struct pv_vm *vm, const Pv__CallStarted *call)
{
	if (call->op_case == PV__CALL_STARTED__OP_BOOT && call->boot->spec != NULL) {
		for (size_t i = 0; i < call->boot->spec->n_disks; i++)
			if (call->boot->spec->disks[i]->this_boot)
				add_new(vm, &vm->disks, call->boot->spec->disks[i], 0);
	} else if (call->op_case == PV__CALL_STARTED__OP_RESTORE && call->restore->spec != NULL) {
		for (size_t i = 0; i < call->restore->spec->n_saved_disks; i++)
			add_new(vm, &vm->restoring, call->restore->spec->saved_disks[i], 0);
	} else if (call->op_case == PV__CALL_STARTED__OP_ATTACH_DISK) {
		add_new(vm, &vm->disks, call->attach_disk->disk, call->id);
	} else if (call->op_case == PV__CALL_STARTED__OP_DETACH_DISK) {
		for (size_t i = 0; i < vm->disks.n; i++)
			if (strcmp(vm->disks.items[i]->id, call->detach_disk->id) == 0 && !is_replaced(&vm->disks, i)) {
				vm->disks.items[i]->has_detach_call = 1;
				vm->disks.items[i]->detach_call = call->id;
			}
	}
}

/* Only an attach that failed and a detach that succeeded take one away. */
void pv_disks_call_ended(struct pv_vm *vm, const struct pv_call *call, bool succeeded)
{
	for (size_t i = vm->disks.n; i-- > 0;) {
		Pv__Disk *disk = vm->disks.items[i];

		if (disk->attach_call == call->id) {
			disk->attach_call = 0;
			disk->has_attach_call = 0;
			if (!succeeded)
				remove_at(&vm->disks, i);
		} else if (disk->detach_call == call->id) {
			disk->detach_call = 0;
			disk->has_detach_call = 0;
			if (succeeded)
				remove_at(&vm->disks, i);
		}
	}
}

void pv_disks_restored(struct pv_vm *vm, bool succeeded)
{
	if (succeeded) {
		pv_disks_free(&vm->disks);
		vm->disks = vm->restoring;
		vm->restoring = (struct pv_disk_list){ .items = NULL };
	}
	pv_disks_free(&vm->restoring);
}

void pv_disks_vm_down(struct pv_vm *vm)
{
	for (size_t i = vm->disks.n; i-- > 0;)
		if (vm->disks.items[i]->this_boot)
			remove_at(&vm->disks, i);
	pv_disks_free(&vm->restoring);
}

/* ---- queries ---- */

Pv__Disk *const *pv_state_disks(const struct pv_state *state, uint32_t id, size_t *n)
{
	const struct pv_vm *vm = pv_vm_find(state, id);

	*n = vm != NULL ? vm->disks.n : 0;
	return vm != NULL ? vm->disks.items : NULL;
}

const Pv__Disk *pv_state_disk(const struct pv_state *state, uint32_t id, const char *name)
{
	const struct pv_vm *vm = pv_vm_find(state, id);

	for (size_t i = vm != NULL ? vm->disks.n : 0; i-- > 0;)
		if (strcmp(vm->disks.items[i]->id, name) == 0)
			return vm->disks.items[i]->attach_call == 0 ? vm->disks.items[i] : NULL;
	return NULL;
}

size_t pv_state_plugged_disks(const struct pv_state *state, uint32_t id, const Pv__Disk *out[PV_PLUGS_MAX])
{
	const struct pv_vm *vm = pv_vm_find(state, id);
	size_t n = 0;

	for (size_t i = 0; vm != NULL && i < vm->disks.n && n < PV_PLUGS_MAX; i++)
		if (vm->disks.items[i]->attach_call == 0 && !is_replaced(&vm->disks, i))
			out[n++] = vm->disks.items[i];
	return n;
}

bool pv_state_has_disk_file(const struct pv_state *state, uint32_t id, uint32_t file)
{
	const struct pv_vm *vm = pv_vm_find(state, id);

	for (size_t i = 0; vm != NULL && i < vm->disks.n; i++)
		if (vm->disks.items[i]->file == file)
			return true;
	for (size_t i = 0; vm != NULL && i < vm->restoring.n; i++)
		if (vm->restoring.items[i]->file == file)
			return true;
	return false;
}
