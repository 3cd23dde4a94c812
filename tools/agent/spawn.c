#include "spawn.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proto/mem.h"

/* What the child reports; it runs in the parent's memory until it execs. */
struct report {
	volatile int sys_errno;
	volatile bool cwd_failed;
};

/* execvp(3) without its allocation, its search in the wrong environment, and its second try with a shell. Looking before
 * execve(2) is worth it: a failing execve has already set up a new address space. */
static int exec_in_path(const struct spawn *spawn, char *candidate)
{
	const char *name = spawn->argv[0];
	size_t name_len = strlen(name);
	int result = ENOENT;

	for (const char *dir = spawn->path; dir != NULL;) {
		const char *end = strchrnul(dir, ':');
		size_t len = (size_t)(end - dir);

		memcpy(candidate, dir, len);
		if (len > 0)
			candidate[len++] = '/';
		memcpy(candidate + len, name, name_len + 1);
		if (access(candidate, F_OK) == 0)
			execve(candidate, spawn->argv, spawn->envp);
		if (errno == EACCES)
			result = EACCES;
		else if (errno != ENOENT && errno != ENOTDIR)
			return errno;
		dir = *end == ':' ? end + 1 : NULL;
	}
	return result;
}

static _Noreturn void child(const struct spawn *spawn, char *candidate, struct report *report)
{
	sigset_t none;

	setpgid(0, 0);
	for (int i = 0; i < 3; i++)
		dup2(spawn->fds[i], i);
	if (spawn->cwd != NULL && chdir(spawn->cwd) != 0) {
		report->cwd_failed = true;
		report->sys_errno = errno;
		_exit(127);
	}
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (spawn->argv[0][0] == '\0' || strchr(spawn->argv[0], '/') != NULL) {
		execve(spawn->argv[0], spawn->argv, spawn->envp);
		report->sys_errno = errno;
	} else {
		report->sys_errno = exec_in_path(spawn, candidate);
	}
	_exit(127);
}

/* Not inlined: after vfork(2) the child may not change what the parent's frame goes on to use. */
static __attribute__((noinline)) pid_t start(const struct spawn *spawn, char *candidate, struct report *report)
{
	pid_t pid = vfork();

	if (pid == 0)
		child(spawn, candidate, report);
	return pid;
}

int pv_spawn(const struct spawn *spawn, pid_t *pid, bool *cwd_failed)
{
	struct report report = { 0, false };
	char *candidate = pv_xmalloc(strlen(spawn->path) + strlen(spawn->argv[0]) + 2);

	*pid = start(spawn, candidate, &report);
	if (*pid < 0)
		report.sys_errno = errno;
	else if (report.sys_errno != 0)
		waitpid(*pid, NULL, 0);
	free(candidate);
	*cwd_failed = report.cwd_failed;
	return report.sys_errno;
}
