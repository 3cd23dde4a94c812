/* A wait at a barrier of a lab. */
#ifndef PV_SCRIPT_BARRIER_H
#define PV_SCRIPT_BARRIER_H

#include <lua.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "proto/mem.h"

struct pv_barrier_wait; /* starts with a struct pv_wait */
TAILQ_HEAD(pv_barrier_wait_list, pv_barrier_wait);

/* The wait is over: true if the barrier opened. Else its time was up: says so in `trouble`, and the task waits there no more. */
bool pv_barrier_wait_settle(lua_State *L, struct pv_barrier_wait *barrier, struct pv_buf *trouble);

#endif
