/* Programs that outlive the request that started them: Spawn, WaitExit, SendSignal. */
#ifndef PV_TOOLS_AGENT_PROCESS_H
#define PV_TOOLS_AGENT_PROCESS_H

#include <stdbool.h>

#include "proto/agent.pb-c.h"

struct call;
struct object;
struct poll;
struct server;

void pv_process_spawn(struct server *server, struct call *call, const Pva__Exec *request);
void pv_process_wait(struct server *server, struct call *call, const Pva__WaitExit *request);
void pv_process_signal(struct server *server, struct call *call, const Pva__SendSignal *request);

/* False: the request is not about a process. */
bool pv_process_write_stdin(struct server *server, struct call *call, const Pva__WriteStdin *request);

/* Answers the poll if the process lets it. */
bool pv_process_serve(struct server *server, const struct poll *poll);

void pv_process_release(struct server *server, struct call *call, struct object *object);

#endif
