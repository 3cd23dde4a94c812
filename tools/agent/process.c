#include "process.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "exec.h"
#include "exec_internal.h"
#include "object.h"
#include "proto/agent_version.h"
#include "server.h"

#define STDIN_PIECE (64u << 10) /* bytes taken into memory while the pipe is full */

void pv_process_spawn(struct server *server, struct call *call, const Pva__Exec *request)
{
	struct object *object = pv_object_find(server, call->id);
	Pva__Exec start = *request;
	struct exec *exec;

	if (object != NULL && object->kind == OBJECT_PROCESS) {
		pv_server_spawned(server, call, object->pid);
		return;
	}
	if (object != NULL) {
		pv_server_error(server, call, EEXIST, "the id of a process");
		return;
	}
	start.stdin_more = true;
	start.timeout_ms = 0;
	exec = pv_exec_launch(server, call, &start);
	if (exec == NULL)
		return;
	object = pv_object_new(server, call->id, OBJECT_PROCESS);
	object->exec = exec;
	object->pid = exec->pid;
	exec->object = object;
	pv_exec_watch_outputs(exec);
	pv_server_spawned(server, call, exec->pid);
}

static struct exec *find(struct server *server, struct call *call, uint64_t id)
{
	struct object *object = pv_object_find(server, id);

	if (object != NULL && object->kind == OBJECT_PROCESS)
		return object->exec;
	pv_server_error(server, call, ESRCH, "a process that is not known");
	return NULL;
}

void pv_process_wait(struct server *server, struct call *call, const Pva__WaitExit *request)
{
	struct exec *exec = find(server, call, request->process);

	if (exec != NULL)
		pv_object_poll(server, exec->object, call, &(struct poll){ .kind = POLL_EXIT });
}

void pv_process_signal(struct server *server, struct call *call, const Pva__SendSignal *request)
{
	struct exec *exec = find(server, call, request->process);

	if (exec == NULL)
		return;
	/* Once it has been waited for, its number may be another one's. */
	if (exec->pid > 0 && kill(-exec->pid, request->signal) != 0 && errno != ESRCH) {
		pv_server_error(server, call, errno, "a signal");
		return;
	}
	if (exec->pid > 0 && request->time_limit)
		exec->timed_out = true;
	pv_server_done(server, call);
}

/* ---- standard input ---- */

/* Takes of `len` bytes what the pipe takes, or else a piece into memory. */
static size_t take(struct exec *exec, const uint8_t *data, size_t len, bool keep)
{
	struct exec_input *in = &exec->in;
	ssize_t n = 0;

	if (in->data.len == in->pos && len > 0) {
		n = write(in->pipe.fd, data, len);
		if (n < 0 && errno == EPIPE) {
			in->broken = true;
			return 0;
		}
	}
	if (n > 0 && !keep)
		return (size_t)n;
	n = n > 0 ? n : 0;
	data += n;
	len -= (size_t)n;
	if (!keep && len > STDIN_PIECE)
		len = STDIN_PIECE;
	pv_buf_add(&in->data, data, len);
	return (size_t)n + len;
}

static bool gone(const struct exec *exec)
{
	return exec->pid == 0 || exec->in.broken;
}

static void take_request(struct exec *exec, struct call *call, const Pva__WriteStdin *request)
{
	struct exec_input *in = &exec->in;
	uint64_t known = in->received - request->offset;
	uint64_t taken = request->data.len;

	if (known < taken && !gone(exec) && in->pipe.fd >= 0) {
		size_t more = take(exec, request->data.data + known, request->data.len - (size_t)known, request->keep);

		in->received += more;
		taken = known + more;
	}
	if (request->eof && taken == request->data.len)
		in->eof = true;
	/* Also closes, at once or later, if nothing is left. */
	if (in->pipe.fd >= 0)
		pv_exec_push_stdin(exec);
	/* A repeat of what was taken before is answered as before, even if the program has ended since; so is an end of file
	 * alone. */
	if (known >= request->data.len) {
		pv_server_taken(exec->server, call, taken);
		return;
	}
	if (request->keep && !gone(exec)) {
		pv_server_taken(exec->server, call, taken);
		return;
	}
	pv_object_poll(exec->server, exec->object, call, &(struct poll){ .kind = POLL_STDIN, .taken = taken });
}

bool pv_process_write_stdin(struct server *server, struct call *call, const Pva__WriteStdin *request)
{
	struct object *object = pv_object_find(server, request->exec);
	struct exec *exec = object != NULL && object->kind == OBJECT_PROCESS ? object->exec : NULL;
	const struct exec_input *in;

	if (exec == NULL)
		return false;
	in = &exec->in;
	if (request->offset > in->received)
		pv_server_error(server, call, EINVAL, "standard input with a gap");
	else if (in->eof && !gone(exec) && in->received - request->offset < request->data.len)
		pv_server_error(server, call, EPIPE, "standard input that is closed");
	else if (in->data.len - in->pos > PV_AGENT_OUTPUT_MAX)
		pv_server_error(server, call, ENOBUFS, "standard input");
	else
		take_request(exec, call, request);
	return true;
}

/* ---- polls ---- */

static bool serve_read(struct server *server, const struct poll *poll)
{
	const struct exec *exec = poll->object->exec;
	const struct exec_output *out = &exec->out[poll->fd - 1];
	size_t len = 0;

	if (poll->offset < out->data.len)
		len = out->data.len - (size_t)poll->offset;
	else if (!exec->over && out->pipe.fd >= 0)
		return false;
	if (poll->offset > out->data.len) {
		pv_server_error(server, poll->call, EINVAL, "output that is not there");
		return true;
	}
	if (len > poll->max)
		len = poll->max;
	pv_server_data(server, poll->call, len > 0 ? out->data.data + poll->offset : NULL, len, len == 0);
	return true;
}

static bool serve_stdin(struct server *server, const struct poll *poll)
{
	const struct exec *exec = poll->object->exec;

	if (gone(exec))
		pv_server_error(server, poll->call, EPIPE, "standard input of the process");
	else if (exec->in.data.len == exec->in.pos)
		pv_server_taken(server, poll->call, poll->taken);
	else
		return false;
	return true;
}

bool pv_process_serve(struct server *server, const struct poll *poll)
{
	switch (poll->kind) {
	case POLL_EXIT:
		if (poll->object->exec->over)
			pv_exec_answer_done(poll->object->exec, poll->call);
		return poll->object->exec->over;
	case POLL_READ:
		return serve_read(server, poll);
	case POLL_STDIN:
		return serve_stdin(server, poll);
	}
	PV_BUG("a poll of kind %d", poll->kind);
}

void pv_process_release(struct server *server, struct call *call, struct object *object)
{
	struct exec *exec = object->exec;

	if (!exec->over) {
		pv_server_error(server, call, EBUSY, "a process that runs");
		return;
	}
	pv_object_remove(server, object);
	exec->object = NULL;
	pv_exec_free(server, exec);
	pv_server_done(server, call);
}
