/* The life of a VM as one const table: which operation may start in which state, and where its outcome leads.
 *
 * The five states would be enough for a single caller; but an operation takes time, so the machine's position is the pair
 * (state, operation in flight). The state that scripts see changes only with the outcome.
 *
 *   - One lifecycle operation at a time; guest operations (any number) start only while none is in flight. A start that does
 *     not fit is refused, never queued.
 *   - A shutdown may start in every state and overtakes whatever is in flight, also an earlier shutdown: then both end
 *     well, and the last one started is the one in flight. The overtaken call stays open until its own outcome.
 *   - An outcome moves the VM if its call is the one in flight or belongs to the VM's present life. A life ends when the VM is
 *     lost, powers itself off, or a shutdown ends, whatever its outcome. So what an overtaken boot reports before the shutdown's
 *     end is told truthfully (the boot succeeded: booted, then shutdown), and after it is history.
 *   - A loss or power-off while an operation is in flight ends that operation's say; a shutdown goes on. */
#ifndef PV_CORE_VM_FSM_H
#define PV_CORE_VM_FSM_H

#include <stdbool.h>

#include "proto/journal.pb-c.h"

enum pv_vm_op {
	PV_VM_OP_NONE,
	PV_VM_OP_BOOT,
	PV_VM_OP_SHUTDOWN,
	PV_VM_OP_PAUSE,
	PV_VM_OP_RESUME,
	PV_VM_OP_RESET,
	PV_VM_OP_SNAPSHOT, /* changes no state, but nothing else may be at work */
	PV_VM_OP_RESTORE,
	PV_VM_OP_GUEST, /* run, read_file, ...: needs the guest, changes no state, any number at a time */
	PV_VM_OP_HOST, /* console, closing a stream: the host's side alone; in every state, changes none, waits for nothing */
	PV_VM_OP_DISK, /* attaching and detaching: changes no state, any number at a time; a VM goes up only when none is at work */
	PV_VM_OP_COUNT,
};

enum pv_vm_outcome {
	PV_VM_OUTCOME_OK,
	PV_VM_OUTCOME_FAILED,   /* the VM is as it was */
	PV_VM_OUTCOME_DEAD,     /* the VM was lost with it */
	PV_VM_OUTCOME_CANCELED, /* a shutdown overtook it, or nobody waited for it any more; the VM is as it was */
	PV_VM_OUTCOME_COUNT,
};

/* "boot", "shutdown", ...; "guest operation" for PV_VM_OP_GUEST. */
const char *pv_vm_op_name(enum pv_vm_op op);
/* "created", "booted", "paused", "shutdown", "dead". */
const char *pv_vm_state_name(Pv__VmState state);

/* May `op` start in `state` while `in_flight` is at work? PV_VM_OP_NONE as `in_flight` means idle. A shutdown may overtake any
 * operation; everything else waits for none: it is refused. */
bool pv_vm_may_start(Pv__VmState state, enum pv_vm_op in_flight, enum pv_vm_op op);

/* The state after `op`, at work in `state`, ended with `outcome`. An operation that cannot be at work in `state` leaves it as it is. A restore is
 * said to lead to booted: whether to paused, its result tells. */
Pv__VmState pv_vm_after(Pv__VmState state, enum pv_vm_op op, enum pv_vm_outcome outcome);

/* The state after an unsolicited `change` in `state`; UNSPECIFIED if the change cannot happen there (a bug or a damaged
 * journal). A dead VM may still be told lost or panicked (the calls that ended with it were reported first), or powered off: then it
 * is shutdown. A paused one may have rebooted or gone just before its vCPUs stood still. */
Pv__VmState pv_vm_changed(Pv__VmState state, Pv__VmChange change);

/* A command of the host, a fixture, or something of a bridge (network.h): it belongs to a file and concerns no VM. */
bool pv_call_needs_no_vm(Pv__CallStarted__OpCase op);

/* A boot or a restore: it gives the VM a QEMU of its own, and ends with a BootResult. */
bool pv_call_brings_up(Pv__CallStarted__OpCase op);
/* Its options; NULL if the call is none of those, or gives none. */
const Pv__VmSpec *pv_call_spec(const Pv__CallStarted *call);

/* The operation that a call's intent stands for; PV_VM_OP_NONE if it holds none. */
enum pv_vm_op pv_vm_op_of(const Pv__CallStarted *call);

#endif
