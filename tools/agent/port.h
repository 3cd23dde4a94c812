/* The virtio-serial port to the host. */
#ifndef PV_TOOLS_AGENT_PORT_H
#define PV_TOOLS_AGENT_PORT_H

/* Waits for the port of the name PV_AGENT_PORT_NAME and opens it, non-blocking. `proc_fd` is for pv_root_follow(). `alone` is called if the
 * port cannot be waited for before init runs: no driver has it, so it may be init that loads one; or it takes too long. */
int pv_port_open(int proc_fd, void (*alone)(void *arg), void *arg);

#endif
