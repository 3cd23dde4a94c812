#include "vmctl/process.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define REAP_MS 10000 /* a killed process may have gigabytes of memory to give back */

struct pv_process {
	struct event *ended; /* on the pidfd */
	int pidfd;
	pid_t pid;
	uint64_t start_ticks;
	bool reaped;
	bool foreign;    /* no child of ours: there is no status, and nothing to reap */
	bool *destroyed; /* set while `exited` runs: tells the event handler that the object is gone */
	pv_process_exit_cb *exited;
	void *arg;
};

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* ---- starting ---- */

static int highest_fd(const struct pv_process_fd *fds, size_t n)
{
	int top = STDERR_FILENO;

	for (size_t i = 0; i < n; i++) {
		if (fds[i].parent_fd > top)
			top = fds[i].parent_fd;
		if (fds[i].child_fd > top)
			top = fds[i].child_fd;
	}
	return top;
}

static int highest_child_fd(const struct pv_process_fd *fds, size_t n)
{
	int top = STDERR_FILENO;

	for (size_t i = 0; i < n; i++) {
		if (fds[i].child_fd > top)
			top = fds[i].child_fd;
	}
	return top;
}

static bool wanted(const struct pv_process_fd *fds, size_t n, int fd)
{
	for (size_t i = 0; i < n; i++) {
		if (fds[i].child_fd == fd)
			return true;
	}
	return false;
}

/* Every descriptor is moved twice, first above all numbers in play and then to its place, so that a child's number may be
 * the parent's number of another one. */
static int add_fd_actions(posix_spawn_file_actions_t *actions, const struct pv_process_fd *fds, size_t n)
{
	int base = highest_fd(fds, n) + 1, top = highest_child_fd(fds, n), rc = 0;

	for (size_t i = 0; i < n && rc == 0; i++)
		rc = posix_spawn_file_actions_adddup2(actions, fds[i].parent_fd, base + (int)i);
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = posix_spawn_file_actions_adddup2(actions, base + (int)i, fds[i].child_fd);
	for (int fd = 0; fd <= top && rc == 0; fd++) {
		if (!wanted(fds, n, fd))
			rc = posix_spawn_file_actions_addclose(actions, fd);
	}
	if (rc == 0)
		rc = posix_spawn_file_actions_addclosefrom_np(actions, top + 1);
	return rc;
}

static int set_attributes(posix_spawnattr_t *attr)
{
	sigset_t all, none;
	int rc;

	sigfillset(&all);
	sigemptyset(&none);
	rc = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	if (rc == 0)
		rc = posix_spawnattr_setsigmask(attr, &none);
	if (rc == 0)
		rc = posix_spawnattr_setsigdefault(attr, &all);
	return rc;
}

/* posix_spawn(3) of glibc shares the address space until exec and reports a failed exec as its own result. */
static int spawn(const char *const *argv, const struct pv_process_fd *fds, size_t n, pid_t *pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	int rc;

	rc = posix_spawn_file_actions_init(&actions);
	if (rc != 0)
		return rc;
	rc = posix_spawnattr_init(&attr);
	if (rc == 0) {
		rc = set_attributes(&attr);
		if (rc == 0)
			rc = add_fd_actions(&actions, fds, n);
		if (rc == 0)
			rc = posix_spawnp(pid, argv[0], &actions, &attr, (char *const *)argv, environ);
		posix_spawnattr_destroy(&attr);
	}
	posix_spawn_file_actions_destroy(&actions);
	return rc;
}

/* Starts `argv` with the given descriptors as stdin (-1: /dev/null), stdout and stderr (-1: /dev/null). */
static enum pv_err launch(const char *const *argv, int in_fd, int out_fd, int err_fd, const struct pv_process_fd *fds,
                          size_t n_fds, pid_t *pid, int *pidfd, struct pv_errmsg *msg)
{
	struct pv_process_fd *map = pv_xcalloc(n_fds + 3, sizeof *map);
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC), rc;

	if (null < 0) {
		free(map);
		return pv_err_sys(msg, PV_ERR_IO, errno, "cannot open /dev/null");
	}
	map[0] = (struct pv_process_fd){ in_fd < 0 ? null : in_fd, STDIN_FILENO };
	map[1] = (struct pv_process_fd){ out_fd, STDOUT_FILENO };
	map[2] = (struct pv_process_fd){ err_fd < 0 ? null : err_fd, STDERR_FILENO };
	for (size_t i = 0; i < n_fds; i++) {
		PV_ASSERT(fds[i].child_fd >= 3 && fds[i].parent_fd >= 0);
		map[3 + i] = fds[i];
	}
	rc = spawn(argv, map, n_fds + 3, pid);
	close(null);
	free(map);
	if (rc == ENOENT || rc == EACCES || rc == ENOTDIR)
		return pv_err_sys(msg, PV_ERR_NOENT, rc, "cannot execute %s", argv[0]);
	if (rc != 0)
		return pv_err_sys(msg, PV_ERR_IO, rc, "cannot start %s", argv[0]);
	/* The child is not reaped before the pidfd exists, so the pid cannot be another process's. */
	*pidfd = pidfd_open(*pid, 0);
	if (*pidfd < 0) {
		rc = errno;
		kill(*pid, SIGKILL);
		waitpid(*pid, NULL, 0);
		return pv_err_sys(msg, PV_ERR_IO, rc, "cannot watch process %s (Linux 5.3 or newer is needed)",
		                  argv[0]);
	}
	return PV_OK;
}

/* Field 22 of /proc/PID/stat; the program's name before it may hold blanks and parentheses. */
static uint64_t read_start_ticks(pid_t pid)
{
	char path[64], text[1024], *at;
	unsigned long long ticks = 0;
	ssize_t n;
	int fd;

	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, text, sizeof text - 1);
	close(fd);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	at = strrchr(text, ')');
	for (int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	if (at)
		ticks = strtoull(at + 1, NULL, 10);
	return ticks;
}

int pv_process_open(pid_t pid, uint64_t start_ticks)
{
	int pidfd = pid > 0 ? pidfd_open(pid, 0) : -1;

	if (pid <= 0)
		errno = ESRCH;
	/* Looked at after opening: as long as the pidfd shows no end, the number is still the same process's. */
	if (pidfd >= 0 && read_start_ticks(pid) != start_ticks) {
		close(pidfd);
		errno = ESRCH;
		return -1;
	}
	return pidfd;
}

/* ---- the object ---- */

static void on_ended(evutil_socket_t fd, short what, void *arg)
{
	struct pv_process *process = arg;
	bool destroyed = false;
	int status = 0;
	pid_t got;

	(void)fd;
	(void)what;
	if (process->foreign) {
		status = PV_PROCESS_STATUS_UNKNOWN;
	} else {
		do {
			got = waitpid(process->pid, &status, WNOHANG);
		} while (got < 0 && errno == EINTR);
		if (got == 0)
			return;
	}
	process->reaped = true;
	event_del(process->ended);
	process->destroyed = &destroyed;
	process->exited(process->arg, process, status);
	if (!destroyed)
		process->destroyed = NULL;
}

/* The object of a process that is to be launched: with `fds` beside its standard descriptors. */
static enum pv_err start(struct event_base *base, const char *const *argv, int in_fd, int out_fd, int err_fd,
                         const struct pv_process_fd *fds, size_t n_fds, pv_process_exit_cb *exited, void *arg,
                         struct pv_process **out, struct pv_errmsg *msg)
{
	struct pv_process *process = PV_NEW(struct pv_process);
	enum pv_err err = launch(argv, in_fd, out_fd, err_fd, fds, n_fds, &process->pid, &process->pidfd, msg);

	if (err) {
		free(process);
		return err;
	}
	process->start_ticks = read_start_ticks(process->pid);
	process->exited = exited;
	process->arg = arg;
	process->ended = event_new(base, process->pidfd, EV_READ | EV_PERSIST, on_ended, process);
	if (!process->ended || event_add(process->ended, NULL) != 0)
		PV_BUG("cannot watch pidfd %d", process->pidfd);
	*out = process;
	return PV_OK;
}

enum pv_err pv_process_start(struct event_base *base, const char *const *argv, const char *log_path,
                             const struct pv_process_fd *fds, size_t n_fds, pv_process_exit_cb *exited, void *arg,
                             struct pv_process **out, struct pv_errmsg *msg)
{
	enum pv_err err;
	int log_fd;

	log_fd = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0600);
	if (log_fd < 0)
		return pv_err_sys(msg, PV_ERR_IO, errno, "cannot open log %s", log_path);
	err = start(base, argv, -1, log_fd, log_fd, fds, n_fds, exited, arg, out, msg);
	close(log_fd);
	return err;
}

enum pv_err pv_process_start_with(struct event_base *base, const char *const *argv, int in_fd, int out_fd, int err_fd,
                                  pv_process_exit_cb *exited, void *arg, struct pv_process **out, struct pv_errmsg *msg)
{
	return start(base, argv, in_fd, out_fd, err_fd, NULL, 0, exited, arg, out, msg);
}

enum pv_err pv_process_attach(struct event_base *base, pid_t pid, uint64_t start_ticks, pv_process_exit_cb *exited,
                              void *arg, struct pv_process **out, struct pv_errmsg *msg)
{
	struct pv_process *process;
	int pidfd = pv_process_open(pid, start_ticks);

	if (pidfd < 0)
		return pv_err_sys(msg, errno == ESRCH ? PV_ERR_NOENT : PV_ERR_IO, errno,
		                  "process %d that was started at tick %llu", (int)pid,
		                  (unsigned long long)start_ticks);
	process = PV_NEW(struct pv_process);
	process->pid = pid;
	process->pidfd = pidfd;
	process->start_ticks = start_ticks;
	process->foreign = true;
	process->exited = exited;
	process->arg = arg;
	process->ended = event_new(base, pidfd, EV_READ | EV_PERSIST, on_ended, process);
	if (!process->ended || event_add(process->ended, NULL) != 0)
		PV_BUG("cannot watch pidfd %d", pidfd);
	*out = process;
	return PV_OK;
}

pid_t pv_process_pid(const struct pv_process *process)
{
	return process->pid;
}

uint64_t pv_process_start_ticks(const struct pv_process *process)
{
	return process->start_ticks;
}

void pv_process_signal(struct pv_process *process, int sig)
{
	if (!process->reaped)
		(void)pidfd_send_signal(process->pidfd, sig, NULL, 0);
}

/* Waits until `deadline_ms`. False if the process has not ended by then. */
static bool await_end(int pidfd, uint64_t deadline_ms)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	for (;;) {
		uint64_t now = now_ms();
		int rc = poll(&p, 1, now < deadline_ms ? (int)(deadline_ms - now) : 0);

		if (rc > 0)
			return true;
		if (rc == 0 || errno != EINTR)
			return false;
	}
}

static bool reap(pid_t pid, int pidfd, uint64_t deadline_ms, int *status)
{
	return await_end(pidfd, deadline_ms) && waitpid(pid, status, WNOHANG) == pid;
}

static void forget(struct pv_process *process)
{
	if (process->destroyed)
		*process->destroyed = true;
	event_free(process->ended);
	close(process->pidfd);
	free(process);
}

void pv_process_destroy(struct pv_process *process)
{
	if (!process)
		return;
	if (!process->reaped) {
		(void)pidfd_send_signal(process->pidfd, SIGKILL, NULL, 0);
		if (process->foreign)
			(void)await_end(process->pidfd, now_ms() + REAP_MS);
		else
			(void)reap(process->pid, process->pidfd, now_ms() + REAP_MS, NULL);
	}
	forget(process);
}

void pv_process_abandon(struct pv_process *process)
{
	if (process)
		forget(process);
}

/* ---- running to the end ---- */

/* Reads `fd` to its end. */
static enum pv_err read_output(int fd, uint64_t deadline_ms, size_t max, const char *name, struct pv_buf *out,
                               struct pv_errmsg *msg)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	size_t before = out->len;
	char chunk[4096];
	ssize_t n;

	for (;;) {
		uint64_t now = now_ms();
		int rc = poll(&p, 1, now < deadline_ms ? (int)(deadline_ms - now) : 0);

		if (rc == 0)
			return pv_err_set(msg, PV_ERR_TIMEOUT, "%s did not end in time", name);
		n = rc < 0 ? -1 : read(fd, chunk, sizeof chunk);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return pv_err_sys(msg, PV_ERR_IO, errno, "cannot read the output of %s", name);
		if (n == 0)
			return PV_OK;
		if (out->len - before + (size_t)n > max)
			return pv_err_set(msg, PV_ERR_PROTOCOL, "%s wrote more than %zu bytes", name, max);
		pv_buf_add(out, chunk, (size_t)n);
	}
}

enum pv_err pv_process_output(const char *const *argv, unsigned timeout_ms, size_t max, struct pv_buf *out, int *status,
                              struct pv_errmsg *msg)
{
	uint64_t deadline_ms = now_ms() + timeout_ms;
	int pipefd[2], null, pidfd = -1;
	enum pv_err err;
	pid_t pid;

	if (pipe2(pipefd, O_CLOEXEC) < 0)
		return pv_err_sys(msg, PV_ERR_IO, errno, "cannot make a pipe for %s", argv[0]);
	null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (null < 0)
		err = pv_err_sys(msg, PV_ERR_IO, errno, "cannot open /dev/null");
	else
		err = launch(argv, -1, pipefd[1], null, NULL, 0, &pid, &pidfd, msg);
	close(pipefd[1]);
	if (null >= 0)
		close(null);
	if (err) {
		close(pipefd[0]);
		return err;
	}
	err = read_output(pipefd[0], deadline_ms, max, argv[0], out, msg);
	close(pipefd[0]);
	if (!err && !reap(pid, pidfd, deadline_ms, status))
		err = pv_err_set(msg, PV_ERR_TIMEOUT, "%s did not end in time", argv[0]);
	if (err) {
		kill(pid, SIGKILL);
		(void)reap(pid, pidfd, now_ms() + REAP_MS, NULL);
	}
	close(pidfd);
	return err;
}

void pv_process_describe_status(int status, char out[64])
{
	if (status == PV_PROCESS_STATUS_UNKNOWN)
		snprintf(out, 64, "ended");
	else if (WIFEXITED(status))
		snprintf(out, 64, "exited with status %d", WEXITSTATUS(status));
	else if (WIFSIGNALED(status))
		snprintf(out, 64, "was killed by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		snprintf(out, 64, "ended with wait status 0x%x", (unsigned)status);
}

void pv_process_kill(int pidfd)
{
	if (pidfd_send_signal(pidfd, SIGKILL, NULL, 0) == 0)
		(void)await_end(pidfd, now_ms() + REAP_MS);
}
