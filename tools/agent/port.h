/* The virtio-serial port to the host. */
#ifndef PV_TOOLS_AGENT_PORT_H
#define PV_TOOLS_AGENT_PORT_H

/* Waits for the port of the name PV_AGENT_PORT_NAME and opens it, non-blocking. `proc_fd` is for pv_root_follow(). */
int pv_port_open(int proc_fd);

#endif
