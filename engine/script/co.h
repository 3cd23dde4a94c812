/* co.wrap, co.spawn and the Task that they give. */
#ifndef PV_SCRIPT_CO_H
#define PV_SCRIPT_CO_H

struct pv_task;

/* The task has ended: those that join it go on. */
void pv_task_wake_joins(struct pv_task *task);

#endif
