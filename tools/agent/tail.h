/* Files that are followed as they grow: TailOpen, and ReadStream of a tail. */
#ifndef PV_TOOLS_AGENT_TAIL_H
#define PV_TOOLS_AGENT_TAIL_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/agent.pb-c.h"

struct call;
struct object;
struct poll;
struct server;
struct tail;

void pv_tail_open(struct server *server, struct call *call, const Pva__TailOpen *request);

/* Answers the poll if there are bytes for it. */
bool pv_tail_serve(struct server *server, const struct poll *poll);

void pv_tail_release(struct server *server, struct call *call, struct object *object);

/* Forgets the tail of an object that is removed. */
void pv_tail_free(struct server *server, struct tail *tail);

/* Hooks of the loop, for files whose changes are not announced; the argument is the server. */
uint64_t pv_tail_deadline(void *arg);
void pv_tail_expire(void *arg);

#endif
