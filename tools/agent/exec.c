#include "exec.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "exec_internal.h"
#include "log.h"
#include "object.h"
#include "process.h"
#include "proto/agent_version.h"
#include "server.h"
#include "spawn.h"
#include "worker.h"

/* Most programs end before this, having written less than a pipe holds; then their pipes need no watching. One that writes
 * more waits so long, once. */
#define WATCH_DELAY_MS 15

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* ---- start ---- */

struct pipes {
	int ours[3];
	int theirs[3];
};

static void close_pair(struct pipes *pipes, int i)
{
	if (pipes->ours[i] >= 0)
		close(pipes->ours[i]);
	if (pipes->theirs[i] >= 0)
		close(pipes->theirs[i]);
}

/* Only our end of standard input is made non-blocking: outputs are read when poll(2) or epoll(7) says so, and the
 * agent is their only reader. The program's ends have to block. */
static int open_pipes(struct server *server, struct pipes *pipes, bool with_stdin)
{
	for (int i = 0; i < 3; i++)
		pipes->ours[i] = pipes->theirs[i] = -1;
	for (int i = with_stdin ? 0 : 1; i < 3; i++) {
		int ends[2];

		if (i > 0 && server->n_spare_pipes > 0) {
			memcpy(ends, server->spare_pipes[--server->n_spare_pipes], sizeof(ends));
		} else if (pipe2(ends, O_CLOEXEC) != 0) {
			int sys_errno = errno;

			for (int j = 0; j < i; j++)
				close_pair(pipes, j);
			return sys_errno;
		}
		pipes->ours[i] = ends[i == 0 ? 1 : 0];
		pipes->theirs[i] = ends[i == 0 ? 0 : 1];
	}
	if (with_stdin)
		fcntl(pipes->ours[0], F_SETFL, O_NONBLOCK);
	return 0;
}

void pv_exec_prepare(struct server *server)
{
	while (LIST_EMPTY(&server->execs) && server->n_spare_pipes < 2 &&
	       pipe2(server->spare_pipes[server->n_spare_pipes], O_CLOEXEC) == 0)
		server->n_spare_pipes++;
}

void pv_exec_drop_prepared(struct server *server)
{
	while (server->n_spare_pipes > 0) {
		server->n_spare_pipes--;
		close(server->spare_pipes[server->n_spare_pipes][0]);
		close(server->spare_pipes[server->n_spare_pipes][1]);
	}
}

static void set_oom_score(struct server *server, const char *score)
{
	if (server->options.oom_fd >= 0 && pwrite(server->options.oom_fd, score, strlen(score), 0) < 0)
		pv_log_sys(errno, "cannot set the OOM score");
}

/* Returns 0, or an errno and what it is about in *subject (of `argv` or `cwd`). */
static int spawn_with(struct server *server, char **argv, char **envp, const char *cwd, bool with_stdin,
                      struct pipes *pipes, pid_t *pid, const char **subject)
{
	const char *path = pv_exec_getenv(envp, "PATH");
	struct spawn spawn = {
		.argv = argv,
		.envp = envp,
		.path = path != NULL ? path : DEFAULT_PATH,
		.cwd = cwd,
	};
	bool cwd_failed = false;
	int sys_errno = open_pipes(server, pipes, with_stdin);

	*subject = argv[0];
	if (sys_errno != 0)
		return sys_errno;
	spawn.fds[0] = with_stdin ? pipes->theirs[0] : server->options.null_fd;
	spawn.fds[1] = pipes->theirs[1];
	spawn.fds[2] = pipes->theirs[2];
	/* The agent is safe from the OOM killer and its commands are not. A score is inherited, and to change the agent's for
	 * the moment costs far less than to look up the child in /proc. */
	set_oom_score(server, "0");
	sys_errno = pv_spawn(&spawn, pid, &cwd_failed);
	set_oom_score(server, "-1000");
	if (cwd_failed)
		*subject = cwd;
	for (int i = 0; i < 3; i++) {
		if (sys_errno == 0 && pipes->theirs[i] >= 0)
			close(pipes->theirs[i]);
		else if (sys_errno != 0)
			close_pair(pipes, i);
	}
	return sys_errno;
}

static struct exec *started(struct server *server, const Pva__Exec *request, const struct pipes *pipes, pid_t pid)
{
	struct exec *exec = PV_NEW(struct exec);

	exec->server = server;
	exec->pid = pid;
	STAILQ_INIT(&exec->in.calls);
	exec->in.pipe.fd = pipes->ours[0];
	exec->out[0].pipe.fd = pipes->ours[1];
	exec->out[1].pipe.fd = pipes->ours[2];
	exec->watch_ms = pv_loop_now_ms() + WATCH_DELAY_MS;
	exec->deadline_ms = request->timeout_ms > 0 ? pv_loop_deadline_ms(request->timeout_ms) : UINT64_MAX;
	LIST_INSERT_HEAD(&server->execs, exec, link);
	exec->in.eof = !request->stdin_more;
	if (pipes->ours[0] < 0)
		return exec;
	pv_buf_add(&exec->in.data, request->stdin_data.data, request->stdin_data.len);
	exec->in.received = request->stdin_data.len;
	pv_exec_push_stdin(exec);
	return exec;
}

struct exec *pv_exec_launch(struct server *server, struct call *call, const Pva__Exec *request)
{
	char **argv = pv_exec_argv(request);
	char **envp = pv_exec_envp(request, server->options.envp);
	char *cwd = NULL;
	const char *subject = "the arguments of a command";
	bool with_stdin = request->stdin_data.len > 0 || request->stdin_more;
	struct exec *exec = NULL;
	struct pipes pipes;
	pid_t pid = 0;
	int sys_errno = EINVAL;

	if (request->has_cwd)
		cwd = request->cwd.len > 0 ? strndup((const char *)request->cwd.data, request->cwd.len) : strdup("");
	if (argv != NULL && argv[0] != NULL && envp != NULL)
		sys_errno = spawn_with(server, argv, envp, cwd, with_stdin, &pipes, &pid, &subject);
	if (sys_errno != 0)
		pv_server_error(server, call, sys_errno, subject);
	else
		exec = started(server, request, &pipes, pid);
	free(cwd);
	pv_exec_strings_free(argv);
	pv_exec_strings_free(envp);
	return exec;
}

void pv_exec_start(struct server *server, struct call *call, const Pva__Exec *request)
{
	call->exec = pv_exec_launch(server, call, request);
	if (call->exec != NULL)
		call->exec->call = call;
}

/* ---- end ---- */

static void take_head(ProtobufCBinaryData *head, protobuf_c_boolean *has_head, uint64_t *size,
                      protobuf_c_boolean *has_size, const struct pv_buf *data)
{
	*has_size = 1;
	*size = data->len;
	*has_head = 1;
	head->data = data->data;
	head->len = data->len < PV_AGENT_HEAD_MAX ? data->len : PV_AGENT_HEAD_MAX;
}

void pv_exec_answer_done(struct exec *exec, struct call *call)
{
	int status = exec->status;
	Pva__ToHost response = PVA__TO_HOST__INIT;
	Pva__ExecDone done = PVA__EXEC_DONE__INIT;

	done.has_status = 1;
	if (exec->timed_out) {
		done.status = PVA__EXEC_STATUS__EXEC_STATUS_TIMED_OUT;
	} else if (WIFSIGNALED(status)) {
		done.status = PVA__EXEC_STATUS__EXEC_STATUS_SIGNALLED;
		done.has_signal = 1;
		done.signal = WTERMSIG(status);
	} else {
		done.status = PVA__EXEC_STATUS__EXEC_STATUS_EXITED;
		done.has_exit_code = 1;
		done.exit_code = WEXITSTATUS(status);
	}
	take_head(&done.stdout_head, &done.has_stdout_head, &done.stdout_size, &done.has_stdout_size,
	          &exec->out[0].data);
	take_head(&done.stderr_head, &done.has_stderr_head, &done.stderr_size, &done.has_stderr_size,
	          &exec->out[1].data);
	done.has_output_overflow = exec->out[0].overflow || exec->out[1].overflow;
	done.output_overflow = done.has_output_overflow;
	response.body_case = PVA__TO_HOST__BODY_EXEC;
	response.exec = &done;
	pv_server_answer(exec->server, call, &response);
}

static void ended(struct exec *exec, int status)
{
	exec->pid = 0;
	exec->status = status;
	LIST_REMOVE(exec, link);
	pv_exec_finish_outputs(exec);
	pv_exec_close_stdin(exec);
	exec->over = true;
	if (exec->object != NULL) {
		pv_object_wake(exec->server, exec->object);
		return;
	}
	/* What the first answer carries whole needs no second copy. */
	pv_exec_answer_done(exec, exec->call);
	for (int i = 0; i < 2; i++) {
		if (exec->out[i].data.len <= PV_AGENT_HEAD_MAX)
			pv_buf_free(&exec->out[i].data);
	}
}

void pv_exec_reap(void *arg)
{
	struct server *server = arg;
	pid_t pid;
	int status;

	/* Children that nobody asked for are adopted ones, which only PID 1 of a namespace has. */
	while ((!LIST_EMPTY(&server->execs) || !LIST_EMPTY(&server->workers) || server->unowned || getpid() == 1) &&
	       (pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct exec *exec;

		if (pv_worker_ended(server, pid, status))
			continue;
		LIST_FOREACH (exec, &server->execs, link) {
			if (exec->pid == pid) {
				ended(exec, status);
				break;
			}
		}
	}
}

void pv_exec_free(struct server *server, struct exec *exec)
{
	pv_buf_free(&exec->out[0].data);
	pv_buf_free(&exec->out[1].data);
	pv_buf_free(&exec->in.data);
	pv_loop_free_later(server->loop, exec);
}

void pv_exec_disown_all(struct server *server)
{
	struct exec *exec;

	while ((exec = LIST_FIRST(&server->execs)) != NULL) {
		LIST_REMOVE(exec, link);
		if (exec->call != NULL)
			exec->call->exec = NULL;
		if (exec->object != NULL)
			exec->object->exec = NULL;
		pv_exec_drop_stdin(exec);
		pv_exec_leave_outputs(exec);
		pv_exec_free(server, exec);
		server->unowned = true;
	}
}

/* ---- time ---- */

uint64_t pv_exec_deadline(void *arg)
{
	struct server *server = arg;
	struct exec *exec;
	uint64_t first = UINT64_MAX;

	LIST_FOREACH (exec, &server->execs, link) {
		if (!exec->outputs_watched && exec->watch_ms < first)
			first = exec->watch_ms;
		if (!exec->timed_out && exec->deadline_ms < first)
			first = exec->deadline_ms;
	}
	return first;
}

void pv_exec_expire(void *arg)
{
	struct server *server = arg;
	uint64_t now = pv_loop_now_ms();
	struct exec *exec;

	LIST_FOREACH (exec, &server->execs, link) {
		if (!exec->outputs_watched && exec->watch_ms <= now)
			pv_exec_watch_outputs(exec);
		if (!exec->timed_out && exec->deadline_ms <= now) {
			exec->timed_out = true;
			kill(-exec->pid, SIGKILL);
		}
	}
}

void pv_exec_kill_all(struct server *server)
{
	struct exec *exec;

	LIST_FOREACH (exec, &server->execs, link)
		kill(-exec->pid, SIGKILL);
}

/* ---- requests about a program ---- */

void pv_exec_write_stdin(struct server *server, struct call *call, const Pva__WriteStdin *request)
{
	struct call *target = pv_server_find(server, request->exec);
	struct exec *exec = target != NULL ? target->exec : NULL;
	struct stdin_call *waiting;
	uint64_t known;

	if (pv_process_write_stdin(server, call, request))
		return;
	if (exec == NULL) {
		pv_server_error(server, call, ESRCH, "standard input of a command that is not known");
		return;
	}
	if (request->offset > exec->in.received) {
		pv_server_error(server, call, EINVAL, "standard input with a gap");
		return;
	}
	if (exec->pid == 0 || exec->in.pipe.fd < 0) {
		pv_server_done(server, call); /* nobody reads it any more */
		return;
	}
	known = exec->in.received - request->offset;
	if (known < request->data.len) {
		pv_buf_add(&exec->in.data, request->data.data + known, request->data.len - known);
		exec->in.received = request->offset + request->data.len;
	}
	exec->in.eof = exec->in.eof || request->eof;
	waiting = PV_NEW(struct stdin_call);
	waiting->call = call;
	STAILQ_INSERT_TAIL(&exec->in.calls, waiting, link);
	pv_exec_push_stdin(exec);
}

void pv_exec_read_output(struct server *server, struct call *call, const Pva__ReadOutput *request)
{
	struct call *target = pv_server_find(server, request->exec);
	struct exec *exec = target != NULL ? target->exec : NULL;
	const struct pv_buf *data;
	size_t len, max;

	if (exec == NULL || exec->pid != 0) {
		pv_server_error(server, call, ESRCH, "output of a command that is not known or still runs");
		return;
	}
	data = &exec->out[request->fd == 2 ? 1 : 0].data;
	if (request->fd < 1 || request->fd > 2 || request->offset > data->len) {
		pv_server_error(server, call, EINVAL, "output that is not there");
		return;
	}
	max = request->max < PV_AGENT_DATA_MAX ? request->max : PV_AGENT_DATA_MAX;
	len = data->len - (size_t)request->offset;
	if (len > max)
		len = max;
	pv_server_data(server, call, data->data + request->offset, len, request->offset + len == data->len);
}
