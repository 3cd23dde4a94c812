/* What a Hello asks of the guest, and what the agent says about itself. */
#ifndef PV_TOOLS_AGENT_HELLO_H
#define PV_TOOLS_AGENT_HELLO_H

#include "proto/agent.pb-c.h"

struct call;
struct server;

/* Sets host name and clock and feeds the entropy pool. A failure is logged: the guest is usable without. */
void pv_hello_apply(const Pva__Hello *hello);

void pv_hello_reply(struct server *server, struct call *call);

#endif
