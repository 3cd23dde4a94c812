/* Which numbers bridges and their members get: those that their names prefer, so that a name has the same address in each run. */
#ifndef PV_LAB_NETWORK_NUMBERS_H
#define PV_LAB_NETWORK_NUMBERS_H

#include <stddef.h>
#include <stdint.h>

#include "engine/core/network.h"

/* For a new bridge of `file`; 0: there are none left. */
uint32_t pv_bridge_number_for(const struct pv_state *state, uint32_t file, const char *name);

/* For a new member; the `n` at `taken` are to be members, too. 0: there are none left. */
uint32_t pv_host_number_for(const Pv__BridgeSettings *settings, const char *name, Pv__Attachment *const *taken,
                            size_t n);

/* "10.7.1.2" of a member. */
#define PV_ADDRESS_TEXT 16
const char *pv_member_address(const Pv__BridgeSettings *settings, const Pv__Attachment *member,
                              char out[PV_ADDRESS_TEXT]);
/* Is this its MAC, in whatever case? */
bool pv_member_has_mac(const Pv__BridgeSettings *settings, const Pv__Attachment *member, const char *mac);

#endif
