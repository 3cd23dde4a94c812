/* Inside of core: the settings of bridges as lists that are searched and changed. Names are those of VMs. */
#ifndef PV_CORE_BRIDGE_H
#define PV_CORE_BRIDGE_H

#include "engine/core/state_internal.h"

/* NICs (and disks) are plugged into these device numbers of the guest's bus. */
#define PV_PCI_FIRST 0x10u
#define PV_PCI_LAST  0x1fu
#define PV_PCI_LOW   0x08u /* then PV_PCI_LOW .. PV_PCI_FIRST - 1 */
#define PV_PCI_COUNT (PV_PCI_LAST - PV_PCI_LOW + 1u)

#define PV_BRIDGE_NUMBER_MAX 254u
#define PV_BRIDGE_HOST_MIN   0x101u
#define PV_BRIDGE_HOST_MAX   0xfefeu

struct pv_bridge *pv_bridge_find(const struct pv_state *state, uint32_t id);
/* A new bridge with these settings (copied; NULL: none). */
struct pv_bridge *pv_bridge_add(struct pv_state *state, uint32_t id, const char *name, struct pv_lab *home,
                                const Pv__BridgeSettings *settings);
void pv_bridge_free_parts(struct pv_bridge *bridge);

/* The lowest number that no bridge of `file` has; 0: all are taken. */
uint32_t pv_bridge_free_number(const struct pv_state *state, uint32_t file);
/* The lowest that no other member has. */
uint32_t pv_bridge_free_host(const Pv__BridgeSettings *settings);
/* A device number that no NIC and no disk of the VM has, of those that are not in `taken` (a bit each); 0: there is none. */
uint32_t pv_bridge_free_pci(const struct pv_state *state, const struct pv_vm *vm, uint32_t taken);

/* The device numbers of its NICs, a bit each. */
uint32_t pv_bridge_pcis(const struct pv_state *state, const struct pv_vm *vm);

/* The VM that `name` means to the labs that hold the bridge; NULL: none yet. */
struct pv_vm *pv_bridge_resolve(const struct pv_state *state, const struct pv_bridge *bridge, const char *name);

/* Gone, or its link is down. */
static inline bool pv_is_off(const Pv__Attachment *member)
{
	return member->gone || member->down;
}

/* ---- lists; strings are copied ---- */
/* Of a member, and of one that is gone; n_members: none. */
size_t pv_members_index(const Pv__BridgeSettings *settings, const char *name);
size_t pv_members_index_gone(const Pv__BridgeSettings *settings, const char *name);
void pv_members_add(Pv__BridgeSettings *settings, const Pv__Attachment *member);
void pv_members_remove(Pv__BridgeSettings *settings, size_t index);

size_t pv_cuts_index(const Pv__BridgeSettings *settings, const char *from, const char *to, bool both);
void pv_cuts_add(Pv__BridgeSettings *settings, const char *from, const char *to, bool both);
void pv_cuts_remove(Pv__BridgeSettings *settings, size_t index);

/* Names NULL: of the whole bridge. */
size_t pv_impairments_index(const Pv__BridgeSettings *settings, const char *from, const char *to);
void pv_impairments_set(Pv__BridgeSettings *settings, const Pv__Impairment *values);
void pv_impairments_remove(Pv__BridgeSettings *settings, size_t index);

size_t pv_isolated_index(const Pv__BridgeSettings *settings, const char *name);
void pv_isolated_add(Pv__BridgeSettings *settings, const char *name);
void pv_isolated_remove(Pv__BridgeSettings *settings, size_t index);

bool pv_routes_has(const Pv__BridgeSettings *settings, uint32_t bridge);
void pv_routes_add(Pv__BridgeSettings *settings, uint32_t bridge);
void pv_routes_remove(Pv__BridgeSettings *settings, uint32_t bridge);

/* Everything that names `name` goes; with `one_way_only`, cuts of both ways and isolation stay. */
void pv_rules_forget(Pv__BridgeSettings *settings, const char *name, bool one_way_only);

/* ---- what happens around them ---- */

/* A VM has come into `lab`: bridges whose labs see it, and on which its name waits, have it now. */
void pv_bridges_vm_came(struct pv_state *state, const struct pv_lab *lab, struct pv_vm *vm);
/* Its life ends: what was detached from bridges meanwhile is gone at last. */
void pv_bridges_vm_down(const struct pv_state *state, const struct pv_vm *vm);
/* Is it up, or about to be, so that its NICs are there? */
bool pv_bridge_vm_is_up(const struct pv_vm *vm);
/* It goes for good, and leaves its bridges. */
void pv_bridges_vm_goes(struct pv_state *state, const struct pv_vm *vm);
/* A bridge goes: no route leads to it. */
void pv_bridges_bridge_goes(struct pv_state *state, const struct pv_bridge *bridge);

/* ---- bridge_check.c: PV_ERR_CORRUPT with the breach ---- */
enum pv_err pv_bridge_validate(const struct pv_state *state, const struct pv_bridge *bridge,
                               struct pv_errmsg *msg) PV_MUST_CHECK;
/* The parts that events bring, PV_ERR_INVAL. */
enum pv_err pv_impairment_check(const Pv__Impairment *values, struct pv_errmsg *msg) PV_MUST_CHECK;

/* ---- bridge_capture.c ---- */
enum pv_err pv_captures_check_call(const struct pv_state *state, const Pv__Event *event,
                                   struct pv_errmsg *msg) PV_MUST_CHECK;
void pv_captures_call_started(struct pv_state *state, const Pv__Event *event);
void pv_captures_call_ended(struct pv_state *state, const struct pv_call *call, bool succeeded);

/* ---- bridge_hold.c ---- */
enum pv_err pv_hold_check_call(const struct pv_bridge *bridge, const Pv__FramesCall *call,
                               struct pv_errmsg *msg) PV_MUST_CHECK;
void pv_hold_call_started(struct pv_bridge *bridge, uint64_t id, const Pv__FramesCall *call);
void pv_hold_call_ended(struct pv_state *state, const struct pv_call *call, bool succeeded);
enum pv_err pv_hold_validate(const struct pv_state *state, const struct pv_bridge *bridge,
                             struct pv_errmsg *msg) PV_MUST_CHECK;

#endif
