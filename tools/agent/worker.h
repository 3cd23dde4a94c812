/* Workers: processes of the agent that serve requests with credentials, umask, directory and descriptors of their own. The agent
 * passes on what names a worker or an object in it, and the answers. */
#ifndef PV_TOOLS_AGENT_WORKER_H
#define PV_TOOLS_AGENT_WORKER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/agent.pb-c.h"

struct call;
struct object;
struct server;
struct worker;

void pv_worker_start(struct server *server, struct call *call);

/* Passes the request on, or answers it, if it belongs to a worker. False: it is the agent's own. */
bool pv_worker_relay(struct server *server, struct call *call, const Pva__ToGuest *request);

/* Release of a worker, or of what was in one. Answered when its process has ended. */
void pv_worker_release(struct server *server, struct call *call, struct object *object);

/* A call that was passed on is freed. */
void pv_worker_forget(struct call *call);

/* A host began a new conversation: workers drop their polls, too. */
void pv_worker_hello(struct server *server);

/* A child has ended. False: it is no worker. */
bool pv_worker_ended(struct server *server, pid_t pid, int status);

/* Ends all workers at once and forgets what was in them; no call may be left. */
void pv_worker_end_all(struct server *server);

/* Hooks of the loop; the argument is the server. */
uint64_t pv_worker_deadline(void *arg);
void pv_worker_expire(void *arg);

#endif
