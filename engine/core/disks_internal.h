/* Inside of core: how disks come and go. */
#ifndef PV_CORE_DISKS_INTERNAL_H
#define PV_CORE_DISKS_INTERNAL_H

#include "engine/core/disks.h"
#include "engine/core/state_internal.h"

/* ---- lists; what is added is copied ---- */
void pv_disks_add(struct pv_disk_list *list, const Pv__Disk *disk);
void pv_disks_free(struct pv_disk_list *list);
bool pv_disks_has_this_boot(const Pv__VmSpec *spec, const char *id);
static inline bool pv_disk_is_private(Pv__DiskBacking backing)
{
	return backing != PV__DISK_BACKING__DISK_BACKING_IMAGE;
}
/* A bit for each device number. */
uint32_t pv_disks_pcis(const struct pv_vm *vm);

/* ---- what a proposal leaves open: tried, and then kept or taken back. A boot gets all disks that it will have; memory of the proposal is made and freed with
 * malloc ---- */
struct pv_disks_plan {
	Pv__Disk **numbered;
	Pv__Disk *before; /* of those */
	size_t n;
	Pv__VmSpec *boot; /* whose list is another one; or NULL */
	Pv__Disk **list;  /* the one that it had */
	size_t n_list;
};
void pv_disks_plan_declared(Pv__VmSpec *spec, struct pv_disks_plan *plan);
void pv_disks_plan_call(const struct pv_state *state, const struct pv_vm *vm, Pv__CallStarted *call,
                        struct pv_disks_plan *plan);
void pv_disks_plan_end(struct pv_disks_plan *plan, bool keep);

/* ---- a VM is declared with these (PV_ERR_INVAL, PV_ERR_EXISTS) ---- */
enum pv_err pv_disks_check_declared(const Pv__VmSpec *spec, struct pv_errmsg *msg) PV_MUST_CHECK;
void pv_disks_declared(struct pv_vm *vm, const Pv__VmSpec *spec);

/* ---- calls: boots and restores, and those on disks ---- */
enum pv_err pv_disks_check_call(const struct pv_state *state, const struct pv_vm *vm, const Pv__CallStarted *call,
                                struct pv_errmsg *msg) PV_MUST_CHECK;
void pv_disks_call_started(struct pv_vm *vm, const Pv__CallStarted *call);
void pv_disks_call_ended(struct pv_vm *vm, const struct pv_call *call, bool succeeded);
/* The restore in flight has ended. */
void pv_disks_restored(struct pv_vm *vm, bool succeeded);
/* It is down: those of one boot go. */
void pv_disks_vm_down(struct pv_vm *vm);

/* PV_ERR_CORRUPT with the breach. */
enum pv_err pv_disks_validate(const struct pv_state *state, const struct pv_vm *vm,
                              struct pv_errmsg *msg) PV_MUST_CHECK;

#endif
