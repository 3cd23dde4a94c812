/* The agent's first life: the first program of a guest (rdinit=). */
#ifndef PV_TOOLS_AGENT_INIT_H
#define PV_TOOLS_AGENT_INIT_H

/* Mounts what is missing, loads modules, forks the agent and turns into the image's init. Returns only in the agent. */
void pv_init_start(char **argv);

#endif
