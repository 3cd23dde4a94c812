/* Networks of a lab: what the state says of bridges, and how it is read. Nothing here changes anything; pointers as in state.h. */
#ifndef PV_CORE_NETWORK_H
#define PV_CORE_NETWORK_H

#include "engine/core/state.h"

/* NULL if there is no such bridge. */
const Pv__BridgeSettings *pv_state_bridge_settings(const struct pv_state *state, uint32_t id);
/* The bridge of `file` (0: of any) with the next id above `after`; 0: none. */
uint32_t pv_state_next_bridge(const struct pv_state *state, uint32_t file, uint32_t after);
/* The VM that `name` means on that bridge, to the labs that hold it; 0: none yet. */
uint32_t pv_state_bridge_vm(const struct pv_state *state, uint32_t id, const char *name);

/* An open capture of the bridge, and the first above `after` in the order of creation. `owner` is the VM whose NIC it watches. */
bool pv_state_capture(const struct pv_state *state, uint32_t bridge, uint64_t id, struct pv_object_view *out);
bool pv_state_capture_after(const struct pv_state *state, uint32_t bridge, uint64_t after, struct pv_object_view *out);

/* Time stands still on a bridge, from the intent that stops it until the outcome of the one that lets it go on (or until the first fails). */
struct pv_hold_view {
	uint64_t call;
	bool done;                  /* the call has ended */
	bool ends;                  /* the call lets it go on */
	ProtobufCBinaryData loaded; /* path of the file whose frames it has; empty: none */
};
/* False: it does not. */
bool pv_state_hold(const struct pv_state *state, uint32_t bridge, struct pv_hold_view *out);

/* ---- in settings; NULL or false if there is none ---- */
const Pv__Attachment *pv_bridge_member(const Pv__BridgeSettings *settings, const char *name);
const Pv__Attachment *pv_bridge_member_vm(const Pv__BridgeSettings *settings, uint32_t vm);
/* Does nothing pass from one to the other, by whatever cut? */
bool pv_bridge_is_cut(const Pv__BridgeSettings *settings, const char *from, const char *to);
/* Is there this very cut? `both`: its order does not count. */
bool pv_bridge_has_cut(const Pv__BridgeSettings *settings, const char *from, const char *to, bool both);
/* Names NULL: of the whole bridge. */
const Pv__Impairment *pv_bridge_impairment(const Pv__BridgeSettings *settings, const char *from, const char *to);
bool pv_bridge_is_isolated(const Pv__BridgeSettings *settings, const char *name);

/* ---- calls ---- */

/* A call on a bridge: it belongs to a file and concerns no VM, but the driver carries it out. */
bool pv_call_is_of_bridge(Pv__CallStarted__OpCase op);
/* The bridge that a call names; 0: none. */
uint32_t pv_call_bridge(const Pv__CallStarted *call);

#endif
