/* Which disks a VM may have: what events bring is checked, and the invariants of what stands in the state. */
#include <string.h>

#include "engine/core/bridge.h"
#include "engine/core/disks_internal.h"

#define BIT(pci) (UINT32_C(1) << ((pci)&31))

static bool has_host_file(Pv__DiskBacking backing)
{
	return backing == PV__DISK_BACKING__DISK_BACKING_IMAGE || backing == PV__DISK_BACKING__DISK_BACKING_TEMPLATE;
}

/* ---- one disk ---- */

static enum pv_err check_id(const char *id, struct pv_errmsg *msg)
{
	size_t len = id != NULL ? strlen(id) : 0;

	if (len == 0 || len > PV_DISK_ID_MAX)
		return pv_err_set(msg, PV_ERR_INVAL, "the id of a disk has 1 to %u bytes, not %zu", PV_DISK_ID_MAX,
		                  len);
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)id[i] <= ' ' || id[i] == 0x7f || id[i] == '/')
			return pv_err_set(msg, PV_ERR_INVAL,
			                  "the id \"%s\" of a disk has a byte that is blank, a slash or no text", id);
	return PV_OK;
}

static enum pv_err check_disk(const Pv__Disk *disk, struct pv_errmsg *msg)
{
	enum pv_err err = check_id(disk->id, msg);

	if (err != PV_OK)
		return err;
	if (disk->backing < PV__DISK_BACKING__DISK_BACKING_BLANK ||
	    disk->backing > PV__DISK_BACKING__DISK_BACKING_SAVED)
		return pv_err_set(msg, PV_ERR_INVAL, "the disk \"%s\" has a backing of unknown kind %d", disk->id,
		                  (int)disk->backing);
	if (disk->size == 0 || disk->size > INT64_MAX)
		return pv_err_set(msg, PV_ERR_INVAL, "the disk \"%s\" has %llu bytes", disk->id,
		                  (unsigned long long)disk->size);
	if (has_host_file(disk->backing) != (disk->path.len > 0 && disk->path.data[0] == '/'))
		return pv_err_set(msg, PV_ERR_INVAL,
		                  "the disk \"%s\" needs an absolute path, if a file of the host is "
		                  "behind it",
		                  disk->id);
	if (disk->pci < PV_PCI_LOW || disk->pci > PV_PCI_LAST || (disk->file != 0) != pv_disk_is_private(disk->backing))
		return pv_err_set(msg, PV_ERR_INVAL, "the disk \"%s\" has a wrong number", disk->id);
	return PV_OK;
}

static enum pv_err refuse_used_id(const char *id, struct pv_errmsg *msg)
{
	return pv_err_set(msg, PV_ERR_EXISTS, "the VM has a disk \"%s\" already: the id is used", id);
}

static enum pv_err refuse_many(unsigned n, struct pv_errmsg *msg)
{
	return pv_err_set(msg, PV_ERR_STATE, "the VM has %u NICs and disks: more than %u it cannot have", n,
	                  PV_PLUGS_MAX);
}

static unsigned count_bits(uint32_t bits)
{
	return (unsigned)__builtin_popcount(bits);
}

/* ---- lists ---- */

static bool stands_before(Pv__Disk *const *list, size_t index)
{
	for (size_t i = 0; i < index; i++)
		if (list[i]->id != NULL && strcmp(list[i]->id, list[index]->id) == 0)
			return true;
	return false;
}

/* Device numbers that are taken, and the last file, of the disks that came before in a list of new ones. */
struct numbers {
	uint32_t pcis, file;
};

static enum pv_err take_numbers(struct numbers *taken, const Pv__Disk *disk, struct pv_errmsg *msg)
{
	if ((taken->pcis & BIT(disk->pci)) != 0 || (disk->file != 0 && disk->file <= taken->file) || disk->this_boot ||
	    disk->attach_call != 0 || disk->detach_call != 0)
		return pv_err_set(msg, PV_ERR_INVAL, "the disk \"%s\" has a number of another", disk->id);
	taken->pcis |= BIT(disk->pci);
	taken->file = disk->file != 0 ? disk->file : taken->file;
	return PV_OK;
}

/* ---- declared with a VM ---- */

enum pv_err pv_disks_check_declared(const Pv__VmSpec *spec, struct pv_errmsg *msg)
{
	struct numbers taken = { .pcis = 0 };

	if (spec->n_saved_disks > 0)
		return pv_err_set(msg, PV_ERR_INVAL, "only a restore has disks out of a snapshot");
	if (spec->n_disks > PV_PLUGS_MAX)
		return refuse_many((unsigned)spec->n_disks, msg);
	for (size_t i = 0; i < spec->n_disks; i++) {
		const Pv__Disk *disk = spec->disks[i];
		enum pv_err err = check_disk(disk, msg);

		if (err == PV_OK && stands_before(spec->disks, i))
			err = pv_err_set(msg, PV_ERR_EXISTS, "the disk \"%s\" stands twice in the list", disk->id);
		if (err == PV_OK && disk->attached)
			err = pv_err_set(msg, PV_ERR_INVAL, "the disk \"%s\" of a declaration is attached", disk->id);
		if (err == PV_OK)
			err = take_numbers(&taken, disk, msg);
		if (err != PV_OK)
			return err;
	}
	return PV_OK;
}

/* ---- boots ---- */

bool pv_disks_has_this_boot(const Pv__VmSpec *spec, const char *id)
{
	for (size_t i = 0; i < spec->n_disks; i++)
		if (spec->disks[i]->this_boot && spec->disks[i]->id != NULL && strcmp(spec->disks[i]->id, id) == 0)
			return true;
	return false;
}

static bool is_same(const Pv__Disk *a, const Pv__Disk *b)
{
	return strcmp(a->id, b->id) == 0 && a->pci == b->pci && a->file == b->file && a->backing == b->backing;
}

static const Pv__Disk *find_own(const struct pv_vm *vm, const char *id)
{
	for (size_t i = 0; i < vm->disks.n; i++)
		if (strcmp(vm->disks.items[i]->id, id) == 0)
			return vm->disks.items[i];
	return NULL;
}

static enum pv_err check_of_boot(const struct pv_vm *vm, const Pv__VmSpec *spec, size_t index, uint32_t *taken,
                                 struct pv_errmsg *msg)
{
	const Pv__Disk *disk = spec->disks[index], *own = find_own(vm, disk->id != NULL ? disk->id : "");
	enum pv_err err;

	if (disk->id != NULL && stands_before(spec->disks, index))
		return pv_err_set(msg, PV_ERR_EXISTS, "the disk \"%s\" stands twice in the list", disk->id);
	if (!disk->this_boot)
		return own != NULL && is_same(own, disk) && own->attach_call == 0
		           ? PV_OK
		           : pv_err_set(msg, PV_ERR_INVAL, "a boot has a disk that the VM \"%s\" has not",
		                        vm->res.name);
	if (own != NULL && own->attached)
		return refuse_used_id(disk->id, msg);
	if (disk->pci == 0)
		return refuse_many(count_bits(*taken), msg);
	err = check_disk(disk, msg);
	if (err == PV_OK && ((*taken & BIT(disk->pci)) != 0 || (disk->file != 0 && disk->file < vm->next_disk_file)))
		err = pv_err_set(msg, PV_ERR_INVAL, "the disk \"%s\" has a number of another", disk->id);
	*taken |= BIT(disk->pci);
	return err;
}

static enum pv_err check_boot(const struct pv_state *state, const struct pv_vm *vm, const Pv__VmSpec *spec,
                              struct pv_errmsg *msg)
{
	uint32_t taken = pv_bridge_pcis(state, vm) | pv_disks_pcis(vm);
	enum pv_err err = PV_OK;

	for (size_t i = 0; i < spec->n_disks && err == PV_OK; i++)
		err = check_of_boot(vm, spec, i, &taken, msg);
	for (size_t i = 0; i < vm->disks.n && err == PV_OK; i++) {
		bool there = pv_disks_has_this_boot(spec, vm->disks.items[i]->id);

		for (size_t j = 0; j < spec->n_disks && !there; j++)
			there = is_same(spec->disks[j], vm->disks.items[i]);
		if (!there)
			err = pv_err_set(msg, PV_ERR_INVAL, "a boot leaves out the disk \"%s\" of the VM \"%s\"",
			                 vm->disks.items[i]->id, vm->res.name);
	}
	return err;
}

/* ---- restores ---- */

static enum pv_err check_restore(const struct pv_state *state, const struct pv_vm *vm, const Pv__VmSpec *spec,
                                 struct pv_errmsg *msg)
{
	struct numbers taken = { .file = vm->next_disk_file - 1 };
	uint32_t nics = pv_bridge_pcis(state, vm);

	if (spec->n_disks > 0)
		return pv_err_set(msg, PV_ERR_INVAL, "a restore has the disks of its snapshot alone");
	for (size_t i = 0; i < spec->n_saved_disks; i++) {
		const Pv__Disk *disk = spec->saved_disks[i];
		enum pv_err err = check_disk(disk, msg);

		if (err == PV_OK && stands_before(spec->saved_disks, i))
			err = pv_err_set(msg, PV_ERR_EXISTS, "the snapshot has two disks \"%s\"", disk->id);
		if (err == PV_OK && (nics & BIT(disk->pci)) != 0)
			err = pv_err_set(
			    msg, PV_ERR_STATE,
			    "the disk \"%s\" of the snapshot sits at the device number 0x%x, where the VM \"%s\" "
			    "has a NIC now: detach that from its bridge first",
			    disk->id, disk->pci, vm->res.name);
		if (err == PV_OK)
			err = take_numbers(&taken, disk, msg);
		if (err != PV_OK)
			return err;
	}
	return PV_OK;
}

/* ---- calls on disks ---- */

static enum pv_err check_attach(const struct pv_state *state, const struct pv_vm *vm, const Pv__Disk *disk,
                                struct pv_errmsg *msg)
{
	uint32_t taken = pv_bridge_pcis(state, vm) | pv_disks_pcis(vm);
	enum pv_err err;

	if (disk == NULL)
		return pv_err_set(msg, PV_ERR_INVAL, "an attach_disk names no disk");
	if (disk->id != NULL && find_own(vm, disk->id) != NULL)
		return refuse_used_id(disk->id, msg);
	if (disk->pci == 0)
		return refuse_many(count_bits(taken), msg);
	err = check_disk(disk, msg);
	if (err == PV_OK && ((taken & BIT(disk->pci)) != 0 || (disk->file != 0 && disk->file < vm->next_disk_file) ||
	                     disk->attach_call != 0 || disk->detach_call != 0 || disk->this_boot || !disk->attached))
		err = pv_err_set(msg, PV_ERR_INVAL, "the disk \"%s\" has a number of another", disk->id);
	return err;
}

static enum pv_err check_there(const struct pv_state *state, const struct pv_vm *vm, const Pv__CallStarted *call,
                               struct pv_errmsg *msg)
{
	const char *id = pv_call_disk(call);
	const Pv__Disk *disk = id != NULL ? pv_state_disk(state, vm->res.id, id) : NULL;

	if (disk == NULL)
		return pv_err_set(msg, PV_ERR_NOENT, "disk is detached: the VM \"%s\" has no disk \"%s\"", vm->res.name,
		                  id != NULL ? id : "");
	if (disk->detach_call != 0)
		return pv_err_set(msg, PV_ERR_STATE, "the disk \"%s\" is being detached", id);
	if (disk->backing == PV__DISK_BACKING__DISK_BACKING_BLANK && call->op_case != PV__CALL_STARTED__OP_DETACH_DISK)
		return pv_err_set(msg, PV_ERR_STATE, "no backing image");
	return PV_OK;
}

/* Disks on their way keep a VM from going up: what it would have is not known. */
static enum pv_err check_settled(const struct pv_vm *vm, const Pv__CallStarted *call, struct pv_errmsg *msg)
{
	for (size_t i = 0; i < vm->disks.n; i++)
		if (vm->disks.items[i]->attach_call != 0 || vm->disks.items[i]->detach_call != 0)
			return pv_err_set(
			    msg, PV_ERR_STATE,
			    "the disk \"%s\" of the VM \"%s\" is being %s: a %s must wait for the end of that",
			    vm->disks.items[i]->id, vm->res.name,
			    vm->disks.items[i]->attach_call != 0 ? "attached" : "detached",
			    pv_call_op_name(call->op_case));
	return PV_OK;
}

enum pv_err pv_disks_check_call(const struct pv_state *state, const struct pv_vm *vm, const Pv__CallStarted *call,
                                struct pv_errmsg *msg)
{
	static const Pv__VmSpec none = PV__VM_SPEC__INIT;
	const Pv__VmSpec *spec = pv_call_spec(call);
	enum pv_err err;

	switch (call->op_case) {
	case PV__CALL_STARTED__OP_BOOT:
		err = check_settled(vm, call, msg);
		return err == PV_OK ? check_boot(state, vm, spec != NULL ? spec : &none, msg) : err;
	case PV__CALL_STARTED__OP_RESTORE:
		err = check_settled(vm, call, msg);
		return err == PV_OK ? check_restore(state, vm, spec != NULL ? spec : &none, msg) : err;
	case PV__CALL_STARTED__OP_ATTACH_DISK:
		return check_attach(state, vm, call->attach_disk->disk, msg);
	case PV__CALL_STARTED__OP_DETACH_DISK:
	case PV__CALL_STARTED__OP_DISK_SIZE:
	case PV__CALL_STARTED__OP_READ_SECTORS:
	case PV__CALL_STARTED__OP_WRITE_SECTORS:
		return check_there(state, vm, call, msg);
	default:
		return PV_OK;
	}
}

/* ---- invariants ---- */

#define BREACH(...) return pv_err_set(msg, PV_ERR_CORRUPT, __VA_ARGS__)

static enum pv_err validate_one(const struct pv_state *state, const struct pv_vm *vm, const struct pv_disk_list *list,
                                size_t index, uint32_t *taken, struct pv_errmsg *msg)
{
	const Pv__Disk *disk = list->items[index];
	enum pv_err err = check_disk(disk, msg);

	if (err != PV_OK)
		return err;
	if (*taken & BIT(disk->pci))
		BREACH("the disk \"%s\" of VM %u has the device number of another", disk->id, vm->res.id);
	*taken |= BIT(disk->pci);
	if (disk->file >= vm->next_disk_file)
		BREACH("the disk \"%s\" of VM %u has a file above the counter", disk->id, vm->res.id);
	for (size_t i = 0; i < index; i++)
		if ((list->items[i]->file != 0 && list->items[i]->file == disk->file) ||
		    (strcmp(list->items[i]->id, disk->id) == 0 && (!disk->this_boot || list->items[i]->this_boot)))
			BREACH("the disk \"%s\" of VM %u stands twice", disk->id, vm->res.id);
	if (disk->attach_call != 0 && pv_call_find(state, disk->attach_call) == NULL)
		BREACH("the disk \"%s\" of VM %u is attached by no call", disk->id, vm->res.id);
	if (disk->detach_call != 0 && pv_call_find(state, disk->detach_call) == NULL)
		BREACH("the disk \"%s\" of VM %u is detached by no call", disk->id, vm->res.id);
	if (disk->this_boot && !pv_bridge_vm_is_up(vm) && vm->in_flight != PV_VM_OP_SHUTDOWN)
		BREACH("VM %u is down and has the disk \"%s\" of a boot", vm->res.id, disk->id);
	return PV_OK;
}

enum pv_err pv_disks_validate(const struct pv_state *state, const struct pv_vm *vm, struct pv_errmsg *msg)
{
	uint32_t taken = pv_bridge_pcis(state, vm), restoring = taken;
	enum pv_err err = PV_OK;

	if (vm->next_disk_file == 0)
		BREACH("the counter of disks of VM %u stands at 0", vm->res.id);
	if (vm->restoring.n > 0 && vm->in_flight != PV_VM_OP_RESTORE && vm->in_flight != PV_VM_OP_SHUTDOWN)
		BREACH("VM %u gets disks from a restore that is not at work", vm->res.id);
	for (size_t i = 0; i < vm->disks.n && err == PV_OK; i++)
		err = validate_one(state, vm, &vm->disks, i, &taken, msg);
	for (size_t i = 0; i < vm->restoring.n && err == PV_OK; i++)
		err = validate_one(state, vm, &vm->restoring, i, &restoring, msg);
	return err;
}
