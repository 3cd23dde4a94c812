/* Between the files that handle BridgeChanged. */
#ifndef PV_CORE_EVENT_BRIDGE_H
#define PV_CORE_EVENT_BRIDGE_H

#include "engine/core/bridge.h"

/* event_bridge_rules.c: cut, impair, clear, isolate. */
enum pv_err pv_bridge_rule_check(const struct pv_bridge *bridge, const Pv__BridgeChanged *body,
                                 struct pv_errmsg *msg) PV_MUST_CHECK;
void pv_bridge_rule_apply(struct pv_bridge *bridge, const Pv__BridgeChanged *body);

#endif
