/* The agent's first life: the first program of a guest (rdinit=). */
#ifndef PV_TOOLS_AGENT_INIT_H
#define PV_TOOLS_AGENT_INIT_H

/* Mounts what is missing, loads modules, forks the agent, waits until it lets init start, and turns into the image's init. Returns only in
 * the agent, with the descriptor for pv_init_release(). */
int pv_init_start(char **argv);

/* Lets init start, and sets *fd to -1; nothing if it is that already. An agent that ends lets it start, too. */
void pv_init_release(int *fd);

#endif
