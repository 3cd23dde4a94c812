/* co.wrap, co.spawn and the Task that they give. */
#ifndef PV_SCRIPT_CO_H
#define PV_SCRIPT_CO_H

#include <lua.h>

struct pv_task;
struct pv_wait;

/* The task has ended: those that join it go on. */
void pv_task_wake_joins(struct pv_task *task);

/* Waits without limit until `task` has ended, then returns then(). */
int pv_task_await_end(lua_State *L, struct pv_task *task, int (*then)(lua_State *L, struct pv_wait *wait));

#endif
