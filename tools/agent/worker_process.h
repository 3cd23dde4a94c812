/* The process of a worker: its side of the fork. */
#ifndef PV_TOOLS_AGENT_WORKER_PROCESS_H
#define PV_TOOLS_AGENT_WORKER_PROCESS_H

struct server_options;

/* Called in the child: leaves what is the agent's and serves on `fd` until that ends. `options` are the agent's. */
_Noreturn void pv_worker_process(const struct server_options *options, int fd);

#endif
