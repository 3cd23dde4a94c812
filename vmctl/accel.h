/* Which accelerator works here: tried by running a vCPU, since /dev/kvm existing proves nothing. */
#ifndef PV_VMCTL_ACCEL_H
#define PV_VMCTL_ACCEL_H

#include <stdbool.h>

#include "proto/err.h"

/* True if KVM executes guest code at the speed of a CPU: a small guest in 64-bit mode with paging runs a fixed loop on
 * one vCPU within a bound of wall time. On some nested hosts /dev/kvm opens and runs real-mode code, but emulates each
 * instruction or ends with an internal error: those give false. `why` gets one sentence in that case.
 * Takes a few ms where KVM works, at most 1 s. */
bool pv_accel_kvm_works(struct pv_errmsg *why);

#endif
