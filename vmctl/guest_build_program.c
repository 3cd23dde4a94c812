/* A program of the host, run to its end with a bound of time. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "vmctl/guest_build_internal.h"

#define OUTPUT_MAX (16u << 20)

enum { OUT, ERR, END, N_FDS };

struct program {
	pid_t pid;
	int fds[N_FDS]; /* pipe, pipe, pidfd */
	struct pv_buf output[2];
};

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* The environment with LC_ALL=C; only the array is new. */
static char **c_locale_environment(void)
{
	static char lc_all[] = "LC_ALL=C";
	size_t n = 0, kept = 0;
	char **copy;

	while (environ[n])
		n++;
	copy = pv_xcalloc(n + 2, sizeof(*copy));
	for (size_t i = 0; i < n; i++)
		if (strncmp(environ[i], "LC_ALL=", 7) != 0)
			copy[kept++] = environ[i];
	copy[kept] = lc_all;
	return copy;
}

static int spawn(struct program *program, const char *const *argv, const char *cwd, int out, int err)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	char **env = c_locale_environment();
	sigset_t none;
	int failed;

	sigemptyset(&none);
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attr);
	/* A process group of its own, so that its children can be ended with it. */
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, out, 1);
	posix_spawn_file_actions_adddup2(&actions, err, 2);
	if (cwd)
		posix_spawn_file_actions_addchdir_np(&actions, cwd);
	failed = posix_spawnp(&program->pid, argv[0], &actions, &attr, (char *const *)(uintptr_t)argv, env);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
	free(env);
	return failed;
}

/* Takes what is there; closes the pipe at its end. */
static void drain(struct program *program, int which)
{
	char chunk[8192];
	ssize_t n;

	while (program->fds[which] >= 0 && (n = read(program->fds[which], chunk, sizeof(chunk))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return;
		if (program->output[which].len < OUTPUT_MAX)
			pv_buf_add(&program->output[which], chunk, (size_t)n);
	}
	if (program->fds[which] >= 0)
		close(program->fds[which]);
	program->fds[which] = -1;
}

/* True when the program has ended; what it wrote is read then. Children that it leaves behind with the pipes open are not waited for. */
static bool wait_for_end(struct program *program, int timeout_ms)
{
	int64_t deadline = now_ms() + timeout_ms, left;

	while ((left = deadline - now_ms()) > 0) {
		struct pollfd polls[N_FDS];

		for (int i = 0; i < N_FDS; i++)
			polls[i] = (struct pollfd){ .fd = program->fds[i], .events = POLLIN };
		if (poll(polls, N_FDS, (int)left) < 0 && errno != EINTR)
			PV_BUG("poll: %s", pv_errno_name(errno));
		drain(program, OUT);
		drain(program, ERR);
		if (polls[END].revents) {
			drain(program, OUT);
			drain(program, ERR);
			return true;
		}
	}
	return false;
}

static const char *last_line(struct pv_buf *text)
{
	const char *newline;

	while (text->len && (text->data[text->len - 1] == '\n' || text->data[text->len - 1] == ' '))
		text->data[--text->len] = '\0';
	newline = strrchr(pv_buf_str(text), '\n');
	return newline ? newline + 1 : pv_buf_str(text);
}

static enum pv_err judge(struct program *program, const char *name, int status, struct pv_errmsg *msg)
{
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return PV_OK;
	if (WIFEXITED(status))
		return pv_err_set(msg, PV_ERR_IO, "%s failed with status %d: %s", name, WEXITSTATUS(status),
		                  last_line(&program->output[ERR]));
	return pv_err_set(msg, PV_ERR_IO, "%s was killed by signal %d", name, WTERMSIG(status));
}

static enum pv_err start(struct program *program, const char *const *argv, const char *cwd, struct pv_errmsg *msg)
{
	int out[2] = { -1, -1 }, err[2] = { -1, -1 };
	int failed = 0;

	if (pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC))
		failed = errno;
	if (!failed)
		failed = spawn(program, argv, cwd, out[1], err[1]);
	if (!failed) {
		program->fds[END] = pidfd_open(program->pid, 0);
		PV_ASSERT(program->fds[END] >= 0);
		PV_ASSERT(!fcntl(out[0], F_SETFL, O_NONBLOCK) && !fcntl(err[0], F_SETFL, O_NONBLOCK));
		program->fds[OUT] = out[0];
		program->fds[ERR] = err[0];
		out[0] = err[0] = -1;
	}
	for (int i = 0; i < 2; i++) {
		if (out[i] >= 0)
			close(out[i]);
		if (err[i] >= 0)
			close(err[i]);
	}
	return failed ? pv_err_sys(msg, pv_hostfile_err(failed), failed, "cannot run %s", argv[0]) : PV_OK;
}

enum pv_err pv_guest_program(const char *const *argv, const char *cwd, int timeout_ms, struct pv_buf *out,
                             struct pv_errmsg *msg)
{
	struct program program = { .fds = { -1, -1, -1 } };
	enum pv_err err = start(&program, argv, cwd, msg);
	int status;
	bool ended;

	if (err)
		return err;
	ended = wait_for_end(&program, timeout_ms);
	if (!ended)
		kill(-program.pid, SIGKILL);
	while (waitpid(program.pid, &status, 0) < 0 && errno == EINTR)
		;
	if (!ended)
		err = pv_err_set(msg, PV_ERR_TIMEOUT, "%s did not end within %d s", argv[0], timeout_ms / 1000);
	else
		err = judge(&program, argv[0], status, msg);
	if (!err)
		pv_buf_add(out, pv_buf_str(&program.output[OUT]), program.output[OUT].len);
	for (int i = 0; i < N_FDS; i++)
		if (program.fds[i] >= 0)
			close(program.fds[i]);
	pv_buf_free(&program.output[OUT]);
	pv_buf_free(&program.output[ERR]);
	return err;
}
