/* The root directory that requests act in: that of PID 1, which an initrd changes with switch_root. */
#ifndef PV_TOOLS_AGENT_ROOT_H
#define PV_TOOLS_AGENT_ROOT_H

/* A descriptor of a /proc mount that is attached nowhere, so that it works whatever happens to the guest's mounts and
 * keeps none of them busy. -1 if the kernel does not let us. */
int pv_root_open_proc(void);

/* Moves the agent to the root directory of PID 1 if it is in another one. `proc_fd` is from pv_root_open_proc(); with -1
 * nothing happens, as on a host. */
void pv_root_follow(int proc_fd);

#endif
