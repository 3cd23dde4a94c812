/* Disks of VMs: what the state says of them, and how it is read. Nothing here changes anything; pointers as in state.h. */
#ifndef PV_CORE_DISKS_H
#define PV_CORE_DISKS_H

#include "engine/core/state.h"

#define PV_DISK_ID_MAX  63u /* bytes */
#define PV_SECTOR_BYTES 512u
#define PV_PLUGS_MAX    24u /* NICs and disks of a VM together */

/* All of a VM in the order in which they came, those that are being attached too. Of two with the same id the one of this boot stands behind the one that it
 * replaces for its time. */
Pv__Disk *const *pv_state_disks(const struct pv_state *state, uint32_t vm, size_t *n);
/* The one that `id` means now; NULL: none, or it is being attached. */
const Pv__Disk *pv_state_disk(const struct pv_state *state, uint32_t vm, const char *id);
/* Those that a VM that is up has plugged in, and one that is down would have in a boot; their number. */
size_t pv_state_plugged_disks(const struct pv_state *state, uint32_t vm, const Pv__Disk *out[PV_PLUGS_MAX]);
/* Has it the private file of that number, or will it have it when what is at work is done? */
bool pv_state_has_disk_file(const struct pv_state *state, uint32_t vm, uint32_t file);

/* The disk that a call on one names; NULL: the call is none. */
const char *pv_call_disk(const Pv__CallStarted *call);

/* "blank", "scratch", "image", "template", "saved". */
const char *pv_disk_backing_name(Pv__DiskBacking backing);

#endif
