#include "worker.h"
#include "exec.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "object.h"
#include "proto/agent_version.h"
#include "server.h"
#include "worker_process.h"

#define OUT_MAX     (8u << 20) /* bytes that wait for a worker; then its requests are refused */
#define READ_PIECE  (64u << 10)
#define READ_ROUNDS 16u  /* reads in a row before others get their turn */
#define PATIENCE_MS 2000 /* for a worker that was told to end */

struct worker {
	struct server *server;
	struct object *object;
	pid_t pid; /* 0: has ended */
	struct watch socket;
	struct pv_frame_reader reader;
	struct pv_buf out;
	size_t out_pos;
	bool blocked;
	struct call *release; /* answered when it has ended; NULL: nobody asked for its end */
	bool closing;
	uint64_t kill_ms;
	char reason[128]; /* with pid 0 */
	LIST_ENTRY(worker) link;
};

/* ---- sending ---- */

static void flush_out(struct worker *worker)
{
	bool blocked = false;

	if (worker->socket.fd < 0)
		return;
	while (worker->out_pos < worker->out.len && !blocked) {
		ssize_t n = send(worker->socket.fd, worker->out.data + worker->out_pos,
		                 worker->out.len - worker->out_pos, MSG_NOSIGNAL);

		if (n >= 0)
			worker->out_pos += (size_t)n;
		else if (errno == EAGAIN)
			blocked = true;
		else if (errno != EINTR)
			worker->out_pos = worker->out.len; /* it is gone, as the reader will find */
	}
	pv_buf_drain(&worker->out, worker->out_pos);
	worker->out_pos = 0;
	if (blocked == worker->blocked)
		return;
	worker->blocked = blocked;
	pv_loop_change(worker->server->loop, &worker->socket, blocked ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void send_message(struct worker *worker, const Pva__ToGuest *message)
{
	size_t size = pva__to_guest__get_packed_size(message);
	uint8_t *payload = pv_xmalloc(size);

	pva__to_guest__pack(message, payload);
	pv_frame_add(&worker->out, payload, size);
	free(payload);
	flush_out(worker);
}

static void acknowledge(struct worker *worker, uint64_t id)
{
	Pva__ToGuest message = PVA__TO_GUEST__INIT;

	message.acks = &id;
	message.n_acks = 1;
	send_message(worker, &message);
}

void pv_worker_forget(struct call *call)
{
	if (call->answered)
		acknowledge(call->worker, call->id);
	call->worker = NULL;
}

void pv_worker_hello(struct server *server)
{
	Pva__ToGuest message = PVA__TO_GUEST__INIT;
	Pva__Hello hello = PVA__HELLO__INIT;
	struct worker *worker;

	hello.has_protocol = 1;
	hello.protocol = PV_AGENT_PROTOCOL;
	message.body_case = PVA__TO_GUEST__BODY_HELLO;
	message.hello = &hello;
	LIST_FOREACH (worker, &server->workers, link) {
		if (worker->pid > 0)
			send_message(worker, &message);
	}
}

/* ---- answers ---- */

static void take_answer(struct worker *worker, Pva__ToHost *message)
{
	struct server *server = worker->server;
	struct call *call = pv_server_find(server, message->id);
	struct object *object;

	if (call == NULL || call->worker != worker || call->answered) {
		if (message->id != 0)
			acknowledge(worker, message->id);
		return;
	}
	object = pv_object_find(server, call->remote);
	if (object != NULL && object->kind == OBJECT_REMOTE && object->worker == worker) {
		bool failed = message->body_case == PVA__TO_HOST__BODY_ERROR;

		if (call->remote == call->id ? failed : !failed)
			pv_object_remove(server, object);
	}
	pv_server_answer(server, call, message);
}

/* False: what came is no frame. */
static bool take_frames(struct worker *worker)
{
	for (;;) {
		const uint8_t *payload;
		Pva__ToHost *message;
		size_t len;

		if (pv_frame_next(&worker->reader, &payload, &len, NULL) != PV_OK)
			return false;
		if (payload == NULL)
			return true;
		message = pva__to_host__unpack(NULL, len, payload);
		if (message == NULL)
			return false;
		take_answer(worker, message);
		pva__to_host__free_unpacked(message, NULL);
	}
}

/* Returns false when nothing more will come. */
static bool receive(struct worker *worker, unsigned rounds)
{
	static uint8_t piece[READ_PIECE];

	for (unsigned i = 0; i < rounds; i++) {
		ssize_t n = read(worker->socket.fd, piece, sizeof(piece));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return true;
		if (n <= 0)
			return false;
		pv_frame_feed(&worker->reader, piece, (size_t)n);
		if (!take_frames(worker))
			return false;
	}
	return true;
}

static void socket_ready(struct watch *watch, uint32_t events)
{
	struct worker *worker = watch->arg;

	if (events & EPOLLOUT)
		flush_out(worker);
	if (!(events & ~(uint32_t)EPOLLOUT) || receive(worker, READ_ROUNDS))
		return;
	/* It has ended, or does not keep to the protocol; what it was is known when it has been waited for. */
	pv_loop_close(worker->server->loop, watch);
	kill(worker->pid, SIGKILL);
}

/* ---- start and end ---- */

static int fork_worker(struct server *server, pid_t *pid)
{
	int ends[2];
	int sys_errno;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0)
		return -1;
	pv_loop_forks(server->loop);
	pv_exec_drop_prepared(server); /* a worker that held their ends would keep the outputs of commands open */
	*pid = fork();
	if (*pid == 0)
		pv_worker_process(&server->options, ends[1]);
	sys_errno = errno;
	close(ends[1]);
	if (*pid > 0)
		return ends[0];
	close(ends[0]);
	errno = sys_errno;
	return -1;
}

void pv_worker_start(struct server *server, struct call *call)
{
	struct object *object = pv_object_find(server, call->id);
	struct worker *worker;
	pid_t pid;
	int fd;

	if (object != NULL && object->kind == OBJECT_WORKER) {
		pv_server_spawned(server, call, object->pid);
		return;
	}
	if (object != NULL || server->options.worker) {
		pv_server_error(server, call, EINVAL, "a worker");
		return;
	}
	fd = fork_worker(server, &pid);
	if (fd < 0) {
		pv_server_error(server, call, errno, "a worker");
		return;
	}
	worker = PV_NEW(struct worker);
	worker->server = server;
	worker->pid = pid;
	worker->socket.fn = socket_ready;
	worker->socket.arg = worker;
	pv_loop_add(server->loop, &worker->socket, fd, EPOLLIN);
	LIST_INSERT_HEAD(&server->workers, worker, link);
	worker->object = pv_object_new(server, call->id, OBJECT_WORKER);
	worker->object->worker = worker;
	worker->object->pid = pid;
	pv_server_spawned(server, call, pid);
}

/* Ends the requests that are open in the worker. */
static void end_calls(struct worker *worker)
{
	struct call *call, *next;

	HASH_ITER (hh, worker->server->calls, call, next) {
		if (call->worker != worker)
			continue;
		call->worker = NULL;
		if (!call->answered)
			pv_server_refuse(worker->server, call, ESRCH, worker->reason);
	}
}

/* Takes everything of a worker that has ended out of the tables. */
static void worker_free(struct worker *worker)
{
	struct server *server = worker->server;
	struct object *object, *next;

	HASH_ITER (hh, server->objects, object, next) {
		if (object->worker == worker)
			pv_object_remove(server, object);
	}
	LIST_REMOVE(worker, link);
	pv_frame_reader_free(&worker->reader);
	pv_buf_free(&worker->out);
	pv_loop_free_later(server->loop, worker);
}

void pv_worker_end_all(struct server *server)
{
	struct worker *worker;

	while ((worker = LIST_FIRST(&server->workers)) != NULL) {
		if (worker->pid > 0)
			kill(worker->pid, SIGKILL);
		pv_loop_close(server->loop, &worker->socket);
		server->unowned = true;
		worker_free(worker);
	}
}

static void set_reason(struct worker *worker, int status)
{
	if (worker->closing)
		snprintf(worker->reason, sizeof(worker->reason), "worker is closed");
	else if (WIFSIGNALED(status))
		snprintf(worker->reason, sizeof(worker->reason), "worker was ended by signal %d (%s)", WTERMSIG(status),
		         strsignal(WTERMSIG(status)));
	else
		snprintf(worker->reason, sizeof(worker->reason), "worker exited with code %d", WEXITSTATUS(status));
}

bool pv_worker_ended(struct server *server, pid_t pid, int status)
{
	struct worker *worker;
	struct call *release;

	LIST_FOREACH (worker, &server->workers, link) {
		if (worker->pid == pid)
			break;
	}
	if (worker == NULL)
		return false;
	/* What it had said counts. Its socket holds no more than a socket's buffer. */
	if (worker->socket.fd >= 0)
		receive(worker, READ_ROUNDS);
	pv_loop_close(server->loop, &worker->socket);
	worker->pid = 0;
	pv_buf_free(&worker->out);
	worker->out_pos = 0;
	set_reason(worker, status);
	release = worker->release;
	end_calls(worker);
	if (worker->closing)
		worker_free(worker);
	if (release != NULL)
		pv_server_done(server, release);
	return true;
}

void pv_worker_release(struct server *server, struct call *call, struct object *object)
{
	struct worker *worker = object->worker;

	if (object->kind == OBJECT_REMOTE) {
		pv_object_remove(server, object);
		pv_server_done(server, call);
	} else if (worker->pid == 0) {
		worker_free(worker);
		pv_server_done(server, call);
	} else if (worker->closing) {
		/* The one who waits already may be a host that is gone. */
		pv_server_done(server, worker->release);
		worker->release = call;
	} else {
		worker->closing = true;
		worker->release = call;
		worker->kill_ms = pv_loop_deadline_ms(PATIENCE_MS);
		if (worker->socket.fd >= 0)
			shutdown(worker->socket.fd, SHUT_WR);
	}
}

uint64_t pv_worker_deadline(void *arg)
{
	struct server *server = arg;
	const struct worker *worker;
	uint64_t first = UINT64_MAX;

	LIST_FOREACH (worker, &server->workers, link) {
		if (worker->closing && worker->kill_ms < first)
			first = worker->kill_ms;
	}
	return first;
}

void pv_worker_expire(void *arg)
{
	struct server *server = arg;
	uint64_t now = pv_loop_now_ms();
	struct worker *worker;

	LIST_FOREACH (worker, &server->workers, link) {
		if (!worker->closing || worker->kill_ms > now)
			continue;
		worker->kill_ms = UINT64_MAX;
		kill(worker->pid, SIGKILL);
	}
}

/* ---- passing on ---- */

/* The object that a request is about; 0: none. */
static uint64_t target_of(const Pva__ToGuest *request)
{
	switch (request->body_case) {
	case PVA__TO_GUEST__BODY_WAIT_EXIT:
		return request->wait_exit->process;
	case PVA__TO_GUEST__BODY_READ_STREAM:
		return request->read_stream->object;
	case PVA__TO_GUEST__BODY_SEND_SIGNAL:
		return request->send_signal->process;
	case PVA__TO_GUEST__BODY_WRITE_STDIN:
		return request->write_stdin->exec;
	case PVA__TO_GUEST__BODY_RELEASE:
		return request->release->object;
	default:
		return 0;
	}
}

/* The worker that has the request which this one is about; NULL: none. */
static struct worker *worker_of_request(struct server *server, const Pva__ToGuest *request)
{
	uint64_t id = 0;
	struct call *target;

	if (request->body_case == PVA__TO_GUEST__BODY_READ_OUTPUT)
		id = request->read_output->exec;
	else if (request->body_case == PVA__TO_GUEST__BODY_WRITE_STDIN)
		id = request->write_stdin->exec;
	else if (request->body_case == PVA__TO_GUEST__BODY_CANCEL_POLL)
		id = request->cancel_poll->request;
	target = pv_server_find(server, id);
	return target != NULL ? target->worker : NULL;
}

/* Notes which object of the worker the request makes or forgets. */
static void note_object(struct server *server, struct worker *worker, struct call *call, const Pva__ToGuest *request)
{
	switch (request->body_case) {
	case PVA__TO_GUEST__BODY_SPAWN:
	case PVA__TO_GUEST__BODY_TAIL_OPEN:
		call->remote = call->id;
		if (pv_object_find(server, call->id) == NULL)
			pv_object_new(server, call->id, OBJECT_REMOTE)->worker = worker;
		break;
	case PVA__TO_GUEST__BODY_RELEASE:
		call->remote = request->release->object;
		break;
	case PVA__TO_GUEST__BODY_WAIT_EXIT:
	case PVA__TO_GUEST__BODY_READ_STREAM:
	case PVA__TO_GUEST__BODY_WRITE_STDIN:
		call->remote_poll = true;
		break;
	default:
		break;
	}
}

static void pass_on(struct server *server, struct worker *worker, struct call *call, const Pva__ToGuest *request)
{
	Pva__ToGuest copy = *request;

	if (worker->pid == 0 || worker->closing) {
		pv_server_refuse(server, call, ESRCH, worker->closing ? "worker is closed" : worker->reason);
		return;
	}
	if (worker->out.len > OUT_MAX) {
		pv_server_error(server, call, ENOBUFS, "the worker takes no requests");
		return;
	}
	note_object(server, worker, call, request);
	call->worker = worker;
	copy.n_acks = 0;
	copy.has_worker = 0;
	send_message(worker, &copy);
}

bool pv_worker_relay(struct server *server, struct call *call, const Pva__ToGuest *request)
{
	struct object *object = NULL;
	struct worker *worker;

	if (request->has_worker && request->worker != 0) {
		object = pv_object_find(server, request->worker);
		if (object == NULL || object->kind != OBJECT_WORKER)
			pv_server_refuse(server, call, ESRCH, "worker is closed");
		else
			pass_on(server, object->worker, call, request);
		return true;
	}
	object = pv_object_find(server, target_of(request));
	if (object != NULL && object->kind == OBJECT_REMOTE) {
		/* What was in a worker that has ended can still be forgotten. */
		if (request->body_case == PVA__TO_GUEST__BODY_RELEASE && object->worker->pid == 0)
			return false;
		pass_on(server, object->worker, call, request);
		return true;
	}
	worker = worker_of_request(server, request);
	if (worker == NULL)
		return false;
	pass_on(server, worker, call, request);
	return true;
}
