/* What proposals leave open of disks: the device numbers and the numbers of private files; and the VM's own disks in a boot. */
#include <string.h>

#include "engine/core/bridge.h"
#include "engine/core/disks_internal.h"
#include "proto/copy.h"

/* Disks take their device numbers from other ends than NICs, which begin at PV_PCI_FIRST: so one that comes back from a snapshot seldom finds its place
 * taken. Ascending, so that the guest finds them in their order. 0: none is free. */
static uint32_t take_pci(uint32_t *taken)
{
	const uint32_t low = PV_PCI_FIRST - PV_PCI_LOW, half = (PV_PCI_LAST - PV_PCI_FIRST + 1) / 2;

	for (uint32_t i = 0; i < PV_PCI_COUNT; i++) {
		uint32_t pci = i < low          ? PV_PCI_LOW + i
		               : i < low + half ? PV_PCI_FIRST + half + (i - low)
		                                : PV_PCI_FIRST + (i - low - half);

		if ((*taken & (UINT32_C(1) << pci)) != 0)
			continue;
		*taken |= UINT32_C(1) << pci;
		return pci;
	}
	return 0;
}

static void remember(struct pv_disks_plan *plan, Pv__Disk *disk)
{
	plan->numbered = pv_xrealloc(plan->numbered, (plan->n + 1) * sizeof(*plan->numbered));
	plan->before = pv_xrealloc(plan->before, (plan->n + 1) * sizeof(*plan->before));
	plan->numbered[plan->n] = disk;
	plan->before[plan->n++] = *disk;
}

static void number(struct pv_disks_plan *plan, Pv__Disk *disk, uint32_t *taken, uint32_t *next_file)
{
	remember(plan, disk);
	disk->pci = take_pci(taken);
	disk->has_pci = disk->pci != 0;
	disk->has_file = pv_disk_is_private(disk->backing);
	disk->file = disk->has_file ? (*next_file)++ : 0;
}

void pv_disks_plan_declared(Pv__VmSpec *spec, struct pv_disks_plan *plan)
{
	uint32_t taken = 0, next_file = 1;

	*plan = (struct pv_disks_plan){ .n = 0 };
	for (size_t i = 0; spec != NULL && i < spec->n_disks; i++)
		number(plan, spec->disks[i], &taken, &next_file);
}

/* The VM's own, but for those that are replaced, then those of this boot. Others are what a proposal that had to wait has from then. */
static void plan_boot(const struct pv_state *state, const struct pv_vm *vm, Pv__VmSpec *spec,
                      struct pv_disks_plan *plan)
{
	uint32_t taken = pv_bridge_pcis(state, vm) | pv_disks_pcis(vm), next_file = vm->next_disk_file;
	Pv__Disk **list;
	size_t n = 0;

	if (vm->disks.n + spec->n_disks == 0)
		return;
	list = pv_xcalloc(vm->disks.n + spec->n_disks, sizeof(*list));
	for (size_t i = 0; i < vm->disks.n; i++)
		if (!pv_disks_has_this_boot(spec, vm->disks.items[i]->id))
			list[n++] = pv_message_copy(&vm->disks.items[i]->base);
	for (size_t i = 0; i < spec->n_disks; i++) {
		if (!spec->disks[i]->this_boot)
			continue;
		number(plan, spec->disks[i], &taken, &next_file);
		list[n++] = spec->disks[i];
	}
	plan->boot = spec;
	plan->list = spec->disks;
	plan->n_list = spec->n_disks;
	spec->disks = list;
	spec->n_disks = n;
}

static void plan_restore(const struct pv_vm *vm, Pv__VmSpec *spec, struct pv_disks_plan *plan)
{
	uint32_t next_file = vm->next_disk_file;

	for (size_t i = 0; i < spec->n_saved_disks; i++) {
		remember(plan, spec->saved_disks[i]);
		spec->saved_disks[i]->has_file = 1;
		spec->saved_disks[i]->file = next_file++;
	}
}

void pv_disks_plan_call(const struct pv_state *state, const struct pv_vm *vm, Pv__CallStarted *call,
                        struct pv_disks_plan *plan)
{
	*plan = (struct pv_disks_plan){ .n = 0 };
	if (call->op_case == PV__CALL_STARTED__OP_BOOT && call->boot != NULL && call->boot->spec != NULL) {
		plan_boot(state, vm, call->boot->spec, plan);
	} else if (call->op_case == PV__CALL_STARTED__OP_RESTORE && call->restore != NULL &&
	           call->restore->spec != NULL) {
		plan_restore(vm, call->restore->spec, plan);
	} else if (call->op_case == PV__CALL_STARTED__OP_ATTACH_DISK && call->attach_disk != NULL &&
	           call->attach_disk->disk != NULL) {
		uint32_t taken = pv_bridge_pcis(state, vm) | pv_disks_pcis(vm), next_file = vm->next_disk_file;

		number(plan, call->attach_disk->disk, &taken, &next_file);
	}
}

/* Those of this boot are in both lists. */
static void free_list(Pv__Disk **list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!list[i]->this_boot)
			pv__disk__free_unpacked(list[i], NULL);
	free(list);
}

void pv_disks_plan_end(struct pv_disks_plan *plan, bool keep)
{
	if (plan->boot != NULL && keep) {
		free_list(plan->list, plan->n_list);
	} else if (plan->boot != NULL) {
		free_list(plan->boot->disks, plan->boot->n_disks);
		plan->boot->disks = plan->list;
		plan->boot->n_disks = plan->n_list;
	}
	for (size_t i = 0; i < plan->n && !keep; i++)
		*plan->numbered[i] = plan->before[i];
	free(plan->numbered);
	free(plan->before);
}
