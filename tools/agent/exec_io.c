#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "exec_internal.h"
#include "object.h"
#include "proto/agent_version.h"
#include "server.h"

#define READ_PIECE (64u << 10)  /* what a pipe holds */
#define STDIN_LOW  (128u << 10) /* bytes waiting at which the host may send more */

/* ---- output ---- */

/* A process that has ended gets room for what was left in its pipe, so that nothing is lost. */
static size_t room_for(const struct exec *exec, const struct exec_output *out)
{
	size_t max = PV_AGENT_OUTPUT_MAX + (exec->object != NULL && exec->pid == 0 ? PV_AGENT_OUTPUT_REST : 0);

	return out->data.len < max ? max - out->data.len : 0;
}

static void keep_output(struct exec *exec, struct exec_output *out, const uint8_t *data, size_t len)
{
	size_t room = room_for(exec, out);

	pv_buf_add(&out->data, data, len < room ? len : room);
	if (len <= room || out->overflow)
		return;
	out->overflow = true;
	if (exec->pid > 0 && exec->object == NULL)
		kill(-exec->pid, SIGKILL);
}

/* A pipe whose program has ended, while a process it left behind still holds the other end. Reading on keeps that process
 * from blocking and from SIGPIPE. */
static void leftover_readable(struct watch *watch, uint32_t events)
{
	static uint8_t piece[READ_PIECE];
	struct server *server = watch->arg;

	(void)events;
	if (read(watch->fd, piece, sizeof(piece)) > 0)
		return;
	pv_loop_close(server->loop, watch);
	pv_loop_free_later(server->loop, watch);
}

static void leave_pipe(struct exec *exec, struct exec_output *out)
{
	struct watch *watch = PV_NEW(struct watch);

	watch->fn = leftover_readable;
	watch->arg = exec->server;
	if (exec->outputs_watched && !out->paused) {
		watch->fd = out->pipe.fd;
		pv_loop_change(exec->server->loop, watch, EPOLLIN);
	} else {
		pv_loop_add(exec->server->loop, watch, out->pipe.fd, EPOLLIN);
	}
	out->pipe.fd = -1;
}

static void output_readable(struct watch *watch, uint32_t events)
{
	static uint8_t piece[READ_PIECE];
	struct exec *exec = watch->arg;
	struct exec_output *out = watch == &exec->out[0].pipe ? &exec->out[0] : &exec->out[1];
	size_t room = exec->object != NULL ? room_for(exec, out) : sizeof(piece);
	ssize_t n = read(watch->fd, piece, room < sizeof(piece) ? room : sizeof(piece));

	(void)events;
	if (n > 0)
		keep_output(exec, out, piece, (size_t)n);
	else if (n == 0)
		pv_loop_close(exec->server->loop, watch);
	if (exec->object == NULL)
		return;
	if (n > 0 && (size_t)n == room) {
		out->paused = true;
		pv_loop_unwatch(exec->server->loop, watch);
	}
	pv_object_wake(exec->server, exec->object);
}

void pv_exec_watch_outputs(struct exec *exec)
{
	exec->outputs_watched = true;
	for (int i = 0; i < 2; i++) {
		struct watch *watch = &exec->out[i].pipe;

		watch->fn = output_readable;
		watch->arg = exec;
		pv_loop_add(exec->server->loop, watch, watch->fd, EPOLLIN);
	}
}

/* Reads what is in the pipe now, and no more: a process left behind may go on writing for ever. */
static void read_rest(struct exec *exec, struct exec_output *out)
{
	static uint8_t piece[READ_PIECE];
	int left = 0;

	if (ioctl(out->pipe.fd, FIONREAD, &left) != 0)
		return;
	while (left > 0) {
		size_t want = (size_t)left < sizeof(piece) ? (size_t)left : sizeof(piece);
		ssize_t n = read(out->pipe.fd, piece, want);

		if (n <= 0)
			return;
		keep_output(exec, out, piece, (size_t)n);
		left -= (int)n;
	}
}

void pv_exec_finish_outputs(struct exec *exec)
{
	struct pollfd fds[2];

	for (int i = 0; i < 2; i++)
		fds[i] = (struct pollfd){ .fd = exec->out[i].pipe.fd, .events = POLLIN };
	if (poll(fds, 2, 0) < 0)
		return;
	for (int i = 0; i < 2; i++) {
		if (fds[i].revents & POLLIN)
			read_rest(exec, &exec->out[i]);
		if (fds[i].fd >= 0 && fds[i].revents & POLLHUP)
			pv_loop_close(exec->server->loop, &exec->out[i].pipe);
		else if (fds[i].fd >= 0)
			leave_pipe(exec, &exec->out[i]);
	}
}

void pv_exec_leave_outputs(struct exec *exec)
{
	for (int i = 0; i < 2; i++) {
		if (exec->out[i].pipe.fd >= 0)
			leave_pipe(exec, &exec->out[i]);
	}
}

/* ---- input ---- */

static void answer_stdin_calls(struct exec *exec)
{
	while (!STAILQ_EMPTY(&exec->in.calls)) {
		struct stdin_call *waiting = STAILQ_FIRST(&exec->in.calls);

		STAILQ_REMOVE_HEAD(&exec->in.calls, link);
		pv_server_done(exec->server, waiting->call);
		free(waiting);
	}
}

void pv_exec_close_stdin(struct exec *exec)
{
	exec->in.eof = true;
	pv_loop_close(exec->server->loop, &exec->in.pipe);
	pv_buf_free(&exec->in.data);
	exec->in.pos = 0;
	answer_stdin_calls(exec);
	if (exec->object != NULL)
		pv_object_wake(exec->server, exec->object);
}

void pv_exec_drop_stdin(struct exec *exec)
{
	pv_loop_close(exec->server->loop, &exec->in.pipe);
	while (!STAILQ_EMPTY(&exec->in.calls)) {
		struct stdin_call *waiting = STAILQ_FIRST(&exec->in.calls);

		STAILQ_REMOVE_HEAD(&exec->in.calls, link);
		free(waiting);
	}
}

/* No reader is left. */
static void stdin_broken(struct exec *exec)
{
	exec->in.broken = true;
	pv_exec_close_stdin(exec);
}

static void stdin_writable(struct watch *watch, uint32_t events)
{
	if (events & EPOLLERR)
		stdin_broken(watch->arg);
	else
		pv_exec_push_stdin(watch->arg);
}

static void watch_stdin(struct exec *exec, bool watched)
{
	struct exec_input *in = &exec->in;

	if (in->pipe.fn == NULL) {
		in->pipe.fn = stdin_writable;
		in->pipe.arg = exec;
		pv_loop_add(exec->server->loop, &in->pipe, in->pipe.fd, watched ? EPOLLOUT : 0);
	} else if (in->watched != watched) {
		pv_loop_change(exec->server->loop, &in->pipe, watched ? EPOLLOUT : 0);
	}
	in->watched = watched;
}

void pv_exec_push_stdin(struct exec *exec)
{
	struct exec_input *in = &exec->in;
	ssize_t n = 0;

	while (in->pos < in->data.len && in->pipe.fd >= 0) {
		n = write(in->pipe.fd, in->data.data + in->pos, in->data.len - in->pos);
		if (n < 0)
			break;
		in->pos += (size_t)n;
	}
	if (n < 0 && errno != EAGAIN) {
		stdin_broken(exec);
		return;
	}
	if (in->pos == in->data.len) {
		pv_buf_clear(&in->data);
		in->pos = 0;
		if (in->eof) {
			pv_exec_close_stdin(exec);
			return;
		}
	}
	if (n < 0 || in->watched)
		watch_stdin(exec, n < 0);
	if (in->data.len - in->pos <= STDIN_LOW)
		answer_stdin_calls(exec);
	if (exec->object != NULL && in->data.len == 0)
		pv_object_wake(exec->server, exec->object);
}
