/* Networks in the QEMU driver: switches as the state says, NICs of VMs that are up, calls on bridges. */
#ifndef PV_LAB_DRIVER_QEMU_NET_H
#define PV_LAB_DRIVER_QEMU_NET_H

#include "engine/core/network.h"
#include "engine/lab/driver_qemu_internal.h"

/* ---- driver_qemu_net.c ---- */

/* pv_driver_ops.networks. */
void qemu_networks(void *self);
/* The switch of a bridge of the state, made if need be. NULL: it cannot be made, which was told. */
struct qemu_bridge *qemu_bridge_get(struct qemu_driver *driver, uint32_t id);
struct qemu_bridge *qemu_bridge_find(struct qemu_driver *driver, uint32_t id);
/* Ports have come or gone: rules between members act on those that are there. */
void qemu_bridge_apply_rules(struct qemu_driver *driver, struct qemu_bridge *bridge);
/* The switch has rules of a snapshot: it gets those of the state instead. */
void qemu_bridge_renew_rules(struct qemu_driver *driver, struct qemu_bridge *bridge);
void qemu_nets_destroy(struct qemu_driver *driver);

/* ---- driver_qemu_nic.c ---- */

/* What the state says of its NICs may have changed. */
void qemu_nics_update(struct qemu_vm *vm);
/* The NICs that a machine is to have, their ports bound; those of a `cold` one are there from its start, as the list says, which the caller
 * frees. */
struct pv_machine_nic *qemu_nics_for_start(struct qemu_vm *vm, bool cold, size_t *n);
/* The same for a machine that goes on from a snapshot with these devices: whatever NICs that had are there. */
struct pv_machine_nic *qemu_nics_for_restore(struct qemu_vm *vm, Pvs__Device *const *devices, size_t n_devices,
                                             size_t *n);
/* The NICs of the machine as devices of a snapshot; the caller frees the array. The strings are the NICs'. */
Pvs__Device *qemu_nics_as_devices(const struct qemu_vm *vm, size_t *n);
/* The agent has answered: the boot is reported when the guest's networks are as the state says. */
void qemu_nics_booted(struct qemu_vm *vm, const Pva__HelloReply *hello);
/* The same before a reset, or a resume of what was restored, is done. */
void qemu_nics_reset_done(struct qemu_vm *vm, struct qemu_call *call);
/* The guest has begun anew, or another runner has told it things: it is told all. */
void qemu_nics_guest_is_new(struct qemu_vm *vm, bool answers);
void qemu_nics_set_paused(struct qemu_vm *vm, bool paused);
/* The machine ends, or has; calls that wait for its NICs are done. */
void qemu_nics_end(struct qemu_vm *vm);
void qemu_nics_free(struct qemu_vm *vm);
/* A NicCall or NicCountersCall. False if it is none. */
bool qemu_nic_call(struct qemu_call *call, const Pv__CallStarted *started);
bool qemu_is_nic_call(const struct qemu_call *call);
/* QEMU has the NICs that it is to have, as far as it can now. */
bool qemu_nics_are_settled(const struct qemu_vm *vm);
struct qemu_nic *qemu_nic_on(struct qemu_vm *vm, uint32_t bridge);

/* ---- driver_qemu_nic_guest.c ---- */

struct qemu_telling {
	Pva__Network network;
	void **blocks; /* what it points to */
	size_t n_blocks;
};
/* All of a guest's networks, for a zeroed struct; of NICs those that QEMU has. */
void qemu_telling_compose(struct qemu_vm *vm, struct qemu_telling *telling);
void qemu_telling_free(struct qemu_telling *telling);

/* ---- driver_qemu_frames.c ---- */
/* Time stands still on it, or goes on. Repeating it is fine. */
void qemu_bridge_hold(struct qemu_bridge *bridge, bool held);

/* ---- driver_qemu_net_call.c: calls on bridges ---- */
void qemu_net_call(struct qemu_driver *driver, const Pv__CallStarted *started);
/* False if there is no such call. */
bool qemu_net_cancel(struct qemu_driver *driver, uint64_t id);
/* The bridge goes. */
void qemu_captures_end(struct qemu_driver *driver, struct qemu_bridge *bridge);
void qemu_net_calls_drop(struct qemu_driver *driver);

#endif
