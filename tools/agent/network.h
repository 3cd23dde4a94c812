/* The guest's networks as the host wishes them: links, addresses, routes, names. */
#ifndef PV_TOOLS_AGENT_NETWORK_H
#define PV_TOOLS_AGENT_NETWORK_H

#include "server.h"

/* Waits for interfaces that are being plugged, within the limit of the request; nothing else is served meanwhile. */
void pv_network_apply(struct server *server, struct call *call, const Pva__Network *network);

/* ---- network_names.c: 0 or an errno ---- */

/* Appends what a hosts file of the content `before` is to be: pure. */
void pv_network_hosts(const char *before, const Pva__Network *network, struct pv_buf *after);
int pv_network_write_names(const Pva__Network *network);
int pv_network_write_resolver(const Pva__Network *network);

#endif
