/* Starts one program, with as few system calls as it takes. */
#ifndef PV_TOOLS_AGENT_SPAWN_H
#define PV_TOOLS_AGENT_SPAWN_H

#include <stdbool.h>
#include <sys/types.h>

struct spawn {
	char *const *argv;
	char *const *envp;
	const char *path; /* directories in which argv[0] is looked up if it has no '/' */
	const char *cwd;  /* NULL: the agent's */
	int fds[3];       /* become 0, 1 and 2; all above 2 and close-on-exec */
};

/* The program gets a process group of its own, default signal dispositions and an empty signal mask. Returns 0 with *pid
 * set, or an errno; then *cwd_failed says whether `cwd` or the program was at fault. */
int pv_spawn(const struct spawn *spawn, pid_t *pid, bool *cwd_failed);

#endif
