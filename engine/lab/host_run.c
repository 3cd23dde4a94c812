#include "engine/lab/host_run.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/lab/driver.h"
#include "proto/mem.h"
#include "vmctl/process.h"

/* A command, from its host_run to the outcome. */
struct command {
	struct pv_host *host;
	uint64_t id;
	struct pv_process *process; /* NULL once it has ended */
	int status;                 /* of waitpid(2), then */
	bool canceled;
	int fd;              /* our end of the pipe; -1: closed, or none */
	struct event *ready; /* on `fd` */
	uint64_t io;         /* the host_read or host_write at work; 0: none */
	uint32_t max;        /* of a read */
	struct pv_buf out;   /* of a write: the rest */
	uint64_t n_written;
	bool close_after;        /* the write */
	struct pv_deferred over; /* looks whether it is */
	LIST_ENTRY(command) link;
};

/* An outcome that is known when the call begins; told from a turn. */
struct answer {
	struct pv_host *host;
	uint64_t id;
	bool eof; /* of a read; else an error */
	Pv__ErrorKind kind;
	struct pv_errmsg why;
	int sys_errno;
	struct pv_deferred later;
	LIST_ENTRY(answer) link;
};

LIST_HEAD(command_list, command);
LIST_HEAD(answer_list, answer);

struct pv_host {
	struct pv_engine *engine;
	struct command_list commands;
	struct answer_list answers;
};

/* ---- outcomes ---- */

static void tell_error(struct pv_host *host, uint64_t id, Pv__ErrorKind kind, const char *text, int sys_errno)
{
	Pv__CallEnded ended = PV__CALL_ENDED__INIT;
	Pv__CallError error = PV__CALL_ERROR__INIT;

	error.has_kind = 1;
	error.kind = kind;
	error.message = (char *)text;
	error.has_sys_errno = sys_errno != 0;
	error.sys_errno = sys_errno;
	ended.id = id;
	ended.outcome_case = PV__CALL_ENDED__OUTCOME_ERROR;
	ended.error = &error;
	pv_engine_call_done(host->engine, &ended);
}

#define CANCELED_TEXT "the command was killed: nobody waits for it any more"

static void tell_data(struct pv_host *host, uint64_t id, const void *bytes, size_t len, bool eof)
{
	Pv__CallEnded ended = PV__CALL_ENDED__INIT;
	Pv__StreamData data = PV__STREAM_DATA__INIT;
	Pv__Payload payload = PV__PAYLOAD__INIT;

	payload.kind_case = PV__PAYLOAD__KIND_DATA;
	payload.data.data = (uint8_t *)bytes;
	payload.data.len = len;
	data.data = len > 0 ? &payload : NULL;
	data.has_eof = eof;
	data.eof = eof;
	ended.id = id;
	ended.outcome_case = PV__CALL_ENDED__OUTCOME_STREAM_DATA;
	ended.stream_data = &data;
	pv_engine_call_done(host->engine, &ended);
}

static void tell_count(struct pv_host *host, uint64_t id, uint64_t n)
{
	Pv__CallEnded ended = PV__CALL_ENDED__INIT;
	Pv__CountResult count = PV__COUNT_RESULT__INIT;

	count.has_count = 1;
	count.count = n;
	ended.id = id;
	ended.outcome_case = PV__CALL_ENDED__OUTCOME_COUNT;
	ended.count = &count;
	pv_engine_call_done(host->engine, &ended);
}

static void tell_status(struct pv_host *host, uint64_t id, int status)
{
	Pv__CallEnded ended = PV__CALL_ENDED__INIT;
	Pv__RunResult run = PV__RUN_RESULT__INIT;

	run.has_status = 1;
	if (WIFSIGNALED(status)) {
		run.status = PV__RUN_STATUS__RUN_STATUS_SIGNALLED;
		run.has_signal = 1;
		run.signal = WTERMSIG(status);
	} else {
		run.status = PV__RUN_STATUS__RUN_STATUS_EXITED;
		run.has_exit_code = 1;
		run.exit_code = WEXITSTATUS(status);
	}
	ended.id = id;
	ended.outcome_case = PV__CALL_ENDED__OUTCOME_RUN;
	ended.run = &run;
	pv_engine_call_done(host->engine, &ended);
}

static void answer(void *arg)
{
	struct answer *a = arg;

	if (a->eof)
		tell_data(a->host, a->id, NULL, 0, true);
	else
		tell_error(a->host, a->id, a->kind, a->why.text, a->sys_errno);
	LIST_REMOVE(a, link);
	free(a);
}

static struct answer *answer_later(struct pv_host *host, uint64_t id)
{
	struct answer *a = PV_NEW(struct answer);

	a->host = host;
	a->id = id;
	a->kind = PV__ERROR_KIND__ERROR_KIND_FAILED;
	a->later = (struct pv_deferred){ .run = answer, .arg = a };
	LIST_INSERT_HEAD(&host->answers, a, link);
	pv_engine_defer(host->engine, &a->later);
	return a;
}

/* ---- commands ---- */

static struct command *find(struct pv_host *host, uint64_t id)
{
	struct command *command;

	LIST_FOREACH (command, &host->commands, link) {
		if (command->id == id || command->io == id)
			return command;
	}
	return NULL;
}

static void close_pipe(struct command *command)
{
	if (command->ready != NULL)
		event_free(command->ready);
	command->ready = NULL;
	if (command->fd >= 0)
		close(command->fd);
	command->fd = -1;
}

static void free_command(struct command *command)
{
	close_pipe(command);
	pv_engine_undefer(command->host->engine, &command->over);
	pv_buf_free(&command->out);
	LIST_REMOVE(command, link);
	free(command);
}

/* Its outcome, once nothing more can come. */
static void end_if_over(void *arg)
{
	struct command *command = arg;
	struct pv_host *host = command->host;
	uint64_t id = command->id;
	int status = command->status;
	bool canceled = command->canceled;

	if (command->process != NULL || command->fd >= 0 || command->io != 0)
		return;
	free_command(command);
	if (canceled)
		tell_error(host, id, PV__ERROR_KIND__ERROR_KIND_CANCELED, CANCELED_TEXT, 0);
	else
		tell_status(host, id, status);
}

static void on_exit_of(void *arg, struct pv_process *process, int status)
{
	struct command *command = arg;

	command->status = status;
	command->process = NULL;
	pv_process_destroy(process);
	end_if_over(command);
}

/* The process leads its group. It is not reaped yet, so the number is no other's. */
static void kill_group(struct command *command)
{
	if (command->process != NULL)
		kill(-pv_process_pid(command->process), SIGKILL);
}

/* ---- reading and writing ---- */

static void end_io(struct command *command)
{
	command->io = 0;
	if (command->ready != NULL)
		event_del(command->ready);
}

static void read_some(struct command *command)
{
	static uint8_t block[PV_HOST_READ_MAX];
	uint64_t io = command->io;
	size_t max = command->max < sizeof(block) ? command->max : sizeof(block);
	ssize_t n = read(command->fd, block, max);
	int error = errno;

	if (n < 0 && (error == EAGAIN || error == EINTR))
		return;
	end_io(command);
	if (n < 0)
		tell_error(command->host, io, PV__ERROR_KIND__ERROR_KIND_FAILED, strerror(error), error);
	else
		tell_data(command->host, io, block, (size_t)n, n == 0);
	if (n > 0)
		return;
	close_pipe(command);
	end_if_over(command);
}

static void write_some(struct command *command)
{
	uint64_t io = command->io;
	ssize_t n = command->out.len == 0 ? 0 : write(command->fd, command->out.data, command->out.len);
	int error = errno;

	if (n < 0 && (error == EAGAIN || error == EINTR))
		return;
	if (n > 0) {
		command->n_written += (uint64_t)n;
		pv_buf_drain(&command->out, (size_t)n);
	}
	if (n >= 0 && command->out.len > 0)
		return;
	pv_buf_clear(&command->out);
	end_io(command);
	if (command->close_after)
		close_pipe(command);
	if (n < 0)
		tell_error(command->host, io, PV__ERROR_KIND__ERROR_KIND_FAILED, strerror(error), error);
	else
		tell_count(command->host, io, command->n_written);
	end_if_over(command);
}

static void on_ready(evutil_socket_t fd, short what, void *arg)
{
	struct command *command = arg;

	(void)fd;
	if (what & EV_READ)
		read_some(command);
	else
		write_some(command);
}

static void watch(struct command *command, uint64_t io)
{
	command->io = io;
	if (event_add(command->ready, NULL) != 0)
		PV_BUG("libevent cannot watch the pipe of a command");
}

/* The command of a host_read or host_write; NULL: the call is answered. */
static struct command *command_of(struct pv_host *host, uint64_t run, uint64_t id)
{
	struct command *command = find(host, run);
	struct answer *a;

	if (command != NULL && command->io == 0)
		return command;
	a = answer_later(host, id);
	if (command == NULL) {
		a->sys_errno = EPIPE;
		pv_err_set(&a->why, PV_ERR_STATE, "the command has ended");
	} else {
		a->sys_errno = EBUSY;
		pv_err_set(&a->why, PV_ERR_BUSY, "another task reads from the command, or writes to it");
	}
	return NULL;
}

static void start_read(struct pv_host *host, const Pv__CallStarted *call)
{
	struct command *command = command_of(host, call->host_read->run, call->id);

	if (command == NULL)
		return;
	if (!call->host_read->has_max)
		close_pipe(command);
	if (command->fd < 0) {
		answer_later(host, call->id)->eof = true;
		pv_engine_defer(host->engine, &command->over);
		return;
	}
	command->max = call->host_read->max > 0 ? call->host_read->max : 1;
	watch(command, call->id);
}

static void start_write(struct pv_host *host, const Pv__CallStarted *call)
{
	const Pv__HostWriteCall *write = call->host_write;
	struct command *command = command_of(host, write->run, call->id);

	if (command == NULL)
		return;
	if (command->fd < 0) {
		struct answer *a = answer_later(host, call->id);

		a->sys_errno = EPIPE;
		pv_err_set(&a->why, PV_ERR_STATE, "%s", strerror(EPIPE));
		return;
	}
	command->n_written = 0;
	command->close_after = write->eof;
	if (write->content != NULL && write->content->kind_case == PV__PAYLOAD__KIND_DATA)
		pv_buf_add(&command->out, write->content->data.data, write->content->data.len);
	watch(command, call->id);
}

/* ---- starting ---- */

/* fds[0], fds[1]: the child's input and output; -1 for /dev/null. Ours goes to command->fd. False with errno. */
static bool make_pipe(struct command *command, Pv__HostMode mode, int fds[2])
{
	bool reads = mode == PV__HOST_MODE__HOST_MODE_READ;
	int pipe_fds[2];

	if (mode != PV__HOST_MODE__HOST_MODE_READ && mode != PV__HOST_MODE__HOST_MODE_WRITE)
		return true;
	if (pipe2(pipe_fds, O_CLOEXEC) != 0)
		return false;
	command->fd = pipe_fds[reads ? 0 : 1];
	fds[reads ? 1 : 0] = pipe_fds[reads ? 1 : 0];
	if (fcntl(command->fd, F_SETFL, O_NONBLOCK) != 0)
		PV_BUG("a pipe cannot be made non-blocking: %s", strerror(errno));
	command->ready = event_new(pv_engine_base(command->host->engine), command->fd,
	                           (reads ? EV_READ : EV_WRITE) | EV_PERSIST, on_ready, command);
	if (command->ready == NULL)
		PV_BUG("libevent has no event to give");
	return true;
}

static void start_run(struct pv_host *host, const Pv__CallStarted *call)
{
	const Pv__HostRunCall *run = call->host_run;
	char *text = pv_xmalloc(run->command.len + 1);
	const char *argv[] = { "/bin/sh", "-c", text, NULL };
	int out = run->output_to_stderr ? STDERR_FILENO : STDOUT_FILENO, fds[2] = { -1, out };
	struct command *command = PV_NEW(struct command);
	struct pv_errmsg why;
	enum pv_err err;

	memcpy(text, run->command.data, run->command.len);
	text[run->command.len] = '\0';
	command->host = host;
	command->id = call->id;
	command->fd = -1;
	command->over = (struct pv_deferred){ .run = end_if_over, .arg = command };
	LIST_INSERT_HEAD(&host->commands, command, link);
	if (!make_pipe(command, run->mode, fds))
		err = pv_err_sys(&why, PV_ERR_IO, errno, "cannot make a pipe for a command");
	else
		err = pv_process_start_with(pv_engine_base(host->engine), argv, fds[0], fds[1], STDERR_FILENO,
		                            on_exit_of, command, &command->process, &why);
	if (fds[0] >= 0)
		close(fds[0]);
	if (fds[1] != out)
		close(fds[1]);
	if (err != PV_OK) {
		struct answer *a = answer_later(host, call->id);

		a->why = why;
		a->sys_errno = EAGAIN;
		free_command(command);
	}
	free(text);
}

void pv_host_start(struct pv_host *host, const Pv__CallStarted *call)
{
	switch (call->op_case) {
	case PV__CALL_STARTED__OP_HOST_RUN:
		start_run(host, call);
		break;
	case PV__CALL_STARTED__OP_HOST_READ:
		start_read(host, call);
		break;
	case PV__CALL_STARTED__OP_HOST_WRITE:
		start_write(host, call);
		break;
	default:
		PV_BUG("a call that is none of the host's");
	}
}

void pv_host_lost(struct pv_host *host, uint64_t call)
{
	pv_err_set(&answer_later(host, call)->why, PV_ERR_LOST, "was in flight when the runner died");
}

void pv_host_cancel(struct pv_host *host, uint64_t id)
{
	struct command *command = find(host, id);
	uint64_t io;

	if (command == NULL)
		return; /* it has its answer, which is under way */
	io = command->io;
	if (io != 0) {
		struct answer *a = answer_later(host, io);

		a->kind = PV__ERROR_KIND__ERROR_KIND_CANCELED;
		pv_err_set(&a->why, PV_ERR_CANCELED, CANCELED_TEXT);
		end_io(command);
		pv_buf_clear(&command->out);
	}
	if (io == id)
		return;
	command->canceled = true;
	close_pipe(command);
	kill_group(command);
	pv_engine_defer(host->engine, &command->over);
}

struct pv_host *pv_host_create(struct pv_engine *engine)
{
	struct pv_host *host = PV_NEW(struct pv_host);

	host->engine = engine;
	LIST_INIT(&host->commands);
	LIST_INIT(&host->answers);
	return host;
}

void pv_host_destroy(struct pv_host *host)
{
	struct command *command;
	struct answer *a;

	if (host == NULL)
		return;
	while ((command = LIST_FIRST(&host->commands)) != NULL) {
		kill_group(command);
		pv_process_destroy(command->process);
		free_command(command);
	}
	while ((a = LIST_FIRST(&host->answers)) != NULL) {
		pv_engine_undefer(host->engine, &a->later);
		LIST_REMOVE(a, link);
		free(a);
	}
	free(host);
}
