/* The real provium-agent as a child process, at one end of a socketpair. */
#ifndef PV_TESTS_AGENT_PROCESS_H
#define PV_TESTS_AGENT_PROCESS_H

#include <sys/types.h>

/* Starts it and returns our end of the socket; *pid is its process. */
int agent_process_start(pid_t *pid);

/* The same; each read of the agent gives what one send() of ours had. */
int agent_process_start_packets(pid_t *pid);

/* The same; the agent believes that an init waits at the other end of *init_fd, which can be read. */
int agent_process_start_held(pid_t *pid, int *init_fd);

/* Waits for its end, which closing our end of the socket brings. Fails the test unless it exits with 0. */
void agent_process_wait(pid_t pid);

#endif
