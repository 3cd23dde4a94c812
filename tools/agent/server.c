#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "exec.h"
#include "files.h"
#include "hello.h"
#include "init.h"
#include "log.h"
#include "network.h"
#include "object.h"
#include "process.h"
#include "proto/agent_version.h"
#include "root.h"
#include "tail.h"
#include "worker.h"

#define READ_PIECE  (64u << 10)
#define READ_ROUNDS 64u /* reads in a row before others get their turn; a virtio port gives one page each */
#define HELLO_MAX   4096u

/* ---- calls ---- */

struct call *pv_server_find(struct server *server, uint64_t id)
{
	struct call *call = NULL;

	HASH_FIND(hh, server->calls, &id, sizeof(id), call);
	return call;
}

static void call_free(struct server *server, struct call *call)
{
	if (call->id != 0)
		HASH_DELETE(hh, server->calls, call);
	if (call->exec != NULL)
		pv_exec_free(server, call->exec);
	if (call->worker != NULL)
		pv_worker_forget(call);
	pv_object_unpoll(call);
	pv_buf_free(&call->frame);
	free(call);
}

static void call_ack(struct server *server, uint64_t id)
{
	struct call *call = pv_server_find(server, id);

	if (call == NULL || !call->answered)
		return;
	call->acked = true;
	if (!call->queued)
		call_free(server, call);
}

/* ---- output ---- */

static void dequeue(struct server *server)
{
	struct call *call = STAILQ_FIRST(&server->out);

	STAILQ_REMOVE_HEAD(&server->out, out_link);
	server->out_pos = 0;
	call->queued = false;
	if (call->acked)
		call_free(server, call);
}

static void watch_port(struct server *server)
{
	uint32_t events = EPOLLIN;

	if (server->port_idle)
		events |= EPOLLET;
	if (server->port_blocked)
		events |= EPOLLOUT;
	pv_loop_change(server->loop, &server->port, events);
}

static void flush(struct server *server)
{
	bool blocked = false;

	while (!STAILQ_EMPTY(&server->out) && !blocked) {
		struct call *call = STAILQ_FIRST(&server->out);
		ssize_t n =
		    write(server->port.fd, call->frame.data + server->out_pos, call->frame.len - server->out_pos);

		if (n >= 0) {
			server->out_pos += (size_t)n;
			if (server->out_pos == call->frame.len)
				dequeue(server);
		} else if (errno == EAGAIN) {
			blocked = true;
		} else if (errno != EINTR) {
			/* The host is gone. The reader finds that, too; results stay for the next one. */
			dequeue(server);
		}
	}
	if (blocked != server->port_blocked) {
		server->port_blocked = blocked;
		watch_port(server);
	}
	if (!blocked)
		pv_exec_prepare(server);
}

static void enqueue(struct server *server, struct call *call)
{
	if (call->queued)
		return;
	call->queued = true;
	STAILQ_INSERT_TAIL(&server->out, call, out_link);
	flush(server);
}

void pv_server_answer(struct server *server, struct call *call, Pva__ToHost *response)
{
	size_t size;
	uint8_t *payload;

	response->has_id = 1;
	response->id = call->id;
	size = pva__to_host__get_packed_size(response);
	payload = pv_xmalloc(size);
	pva__to_host__pack(response, payload);
	pv_frame_add(&call->frame, payload, size);
	free(payload);
	call->answered = true;
	enqueue(server, call);
}

void pv_server_done(struct server *server, struct call *call)
{
	Pva__ToHost response = PVA__TO_HOST__INIT;
	Pva__Done done = PVA__DONE__INIT;

	response.body_case = PVA__TO_HOST__BODY_DONE;
	response.done = &done;
	pv_server_answer(server, call, &response);
}

void pv_server_data(struct server *server, struct call *call, const void *data, size_t len, bool eof)
{
	Pva__ToHost response = PVA__TO_HOST__INIT;
	Pva__Data piece = PVA__DATA__INIT;

	piece.has_data = 1;
	piece.data.data = (uint8_t *)(uintptr_t)data;
	piece.data.len = len;
	piece.has_eof = 1;
	piece.eof = eof;
	response.body_case = PVA__TO_HOST__BODY_DATA;
	response.data = &piece;
	pv_server_answer(server, call, &response);
}

void pv_server_spawned(struct server *server, struct call *call, pid_t pid)
{
	Pva__ToHost response = PVA__TO_HOST__INIT;
	Pva__Spawned spawned = PVA__SPAWNED__INIT;

	spawned.has_pid = 1;
	spawned.pid = pid;
	response.body_case = PVA__TO_HOST__BODY_SPAWNED;
	response.spawned = &spawned;
	pv_server_answer(server, call, &response);
}

void pv_server_taken(struct server *server, struct call *call, uint64_t count)
{
	Pva__ToHost response = PVA__TO_HOST__INIT;
	Pva__Taken taken = PVA__TAKEN__INIT;

	taken.has_count = 1;
	taken.count = count;
	response.body_case = PVA__TO_HOST__BODY_TAKEN;
	response.taken = &taken;
	pv_server_answer(server, call, &response);
}

void pv_server_refuse(struct server *server, struct call *call, int sys_errno, const char *text)
{
	Pva__ToHost response = PVA__TO_HOST__INIT;
	Pva__Error error = PVA__ERROR__INIT;

	error.has_sys_errno = 1;
	error.sys_errno = sys_errno;
	error.message = (char *)(uintptr_t)text;
	response.body_case = PVA__TO_HOST__BODY_ERROR;
	response.error = &error;
	pv_server_answer(server, call, &response);
}

void pv_server_error(struct server *server, struct call *call, int sys_errno, const char *subject)
{
	struct pv_errmsg msg = { 0 };

	pv_err_sys(&msg, PV_ERR_GUEST, sys_errno, "%.4200s", subject);
	pv_server_refuse(server, call, sys_errno, msg.text);
}

/* ---- input ---- */

/* Long polls were for a host that is gone; the new one asks again for what it still wants. */
static void drop_polls(struct server *server)
{
	struct call *call, *next;

	HASH_ITER (hh, server->calls, call, next) {
		if (!call->answered && (call->poll != NULL || call->remote_poll))
			call_free(server, call);
	}
	pv_worker_hello(server);
}

/* The guest goes on from a snapshot: whoever asked for all this was the host of another guest. */
static void forget_all(struct server *server)
{
	struct call *call, *next;

	while (!STAILQ_EMPTY(&server->out))
		dequeue(server);
	pv_exec_disown_all(server);
	HASH_ITER (hh, server->calls, call, next) {
		call->worker = NULL; /* which gets no acknowledgement any more */
		call_free(server, call);
	}
	/* No call is left, so nobody is told. */
	pv_worker_end_all(server);
	pv_object_forget_all(server);
}

static void handle_hello(struct server *server, const Pva__Hello *hello)
{
	struct call *reply;

	if (server->options.worker) {
		drop_polls(server);
		return; /* from our agent, about its host: what goes to the agent is not lost */
	}
	if (hello->restored)
		forget_all(server);
	else
		drop_polls(server);
	reply = PV_NEW(struct call);
	/* An answer that is half written has to be finished, so that the host can find what follows. The rest was for a
	 * host that is gone: the new one asks again. */
	while (STAILQ_FIRST(&server->out) != NULL && server->out_pos == 0)
		dequeue(server);
	while (STAILQ_FIRST(&server->out) != NULL && STAILQ_NEXT(STAILQ_FIRST(&server->out), out_link) != NULL) {
		struct call *call = STAILQ_NEXT(STAILQ_FIRST(&server->out), out_link);

		STAILQ_REMOVE(&server->out, call, call, out_link);
		call->queued = false;
		if (call->acked)
			call_free(server, call);
	}
	pv_files_forget(server);
	server->greeted = hello->has_protocol && hello->protocol == PV_AGENT_PROTOCOL;
	if (server->greeted && server->options.guest)
		pv_hello_apply(hello);
	if (!hello->hold)
		pv_init_release(&server->options.hold_fd);
	reply->acked = true;
	pv_hello_reply(server, reply);
}

static void handle_request(struct server *server, const Pva__ToGuest *message)
{
	struct call *call = pv_server_find(server, message->id);

	if (call != NULL) {
		if (call->answered)
			enqueue(server, call);
		return;
	}
	call = PV_NEW(struct call);
	call->id = message->id;
	HASH_ADD(hh, server->calls, id, sizeof(call->id), call);
	pv_root_follow(server->options.proc_fd);
	if (pv_worker_relay(server, call, message))
		return;
	switch (message->body_case) {
	case PVA__TO_GUEST__BODY_EXEC:
		pv_exec_start(server, call, message->exec);
		break;
	case PVA__TO_GUEST__BODY_WRITE_STDIN:
		pv_exec_write_stdin(server, call, message->write_stdin);
		break;
	case PVA__TO_GUEST__BODY_READ_OUTPUT:
		pv_exec_read_output(server, call, message->read_output);
		break;
	case PVA__TO_GUEST__BODY_READ_FILE:
		pv_files_read(server, call, message->read_file);
		break;
	case PVA__TO_GUEST__BODY_WRITE_FILE:
		pv_files_write(server, call, message->write_file);
		break;
	case PVA__TO_GUEST__BODY_SPAWN:
		pv_process_spawn(server, call, message->spawn);
		break;
	case PVA__TO_GUEST__BODY_WAIT_EXIT:
		pv_process_wait(server, call, message->wait_exit);
		break;
	case PVA__TO_GUEST__BODY_READ_STREAM:
		pv_object_read(server, call, message->read_stream);
		break;
	case PVA__TO_GUEST__BODY_SEND_SIGNAL:
		pv_process_signal(server, call, message->send_signal);
		break;
	case PVA__TO_GUEST__BODY_TAIL_OPEN:
		pv_tail_open(server, call, message->tail_open);
		break;
	case PVA__TO_GUEST__BODY_RELEASE:
		pv_object_release(server, call, message->release);
		break;
	case PVA__TO_GUEST__BODY_WORKER_START:
		pv_worker_start(server, call);
		break;
	case PVA__TO_GUEST__BODY_CANCEL_POLL:
		pv_object_cancel(server, call, message->cancel_poll);
		break;
	case PVA__TO_GUEST__BODY_NETWORK:
		pv_network_apply(server, call, message->network);
		break;
	default:
		pv_server_error(server, call, ENOSYS, "this agent does not know the request");
		break;
	}
}

static void handle_payload(struct server *server, const uint8_t *payload, size_t len)
{
	Pva__ToGuest *message = pva__to_guest__unpack(NULL, len, payload);

	if (message == NULL) {
		pv_log("a frame of %zu bytes is no message; ignored", len);
		return;
	}
	if (message->body_case == PVA__TO_GUEST__BODY_HELLO) {
		handle_hello(server, message->hello);
	} else if (server->greeted) {
		for (size_t i = 0; i < message->n_acks; i++)
			call_ack(server, message->acks[i]);
		if (message->id != 0)
			handle_request(server, message);
	}
	pva__to_guest__free_unpacked(message, NULL);
}

static void take_frames(struct server *server)
{
	for (;;) {
		struct pv_errmsg msg = { 0 };
		const uint8_t *payload;
		size_t len;

		if (pv_frame_next(&server->reader, &payload, &len, &msg) != PV_OK) {
			pv_log("%s; starting afresh", msg.text);
			pv_frame_reader_free(&server->reader);
			return;
		}
		if (payload == NULL)
			return;
		handle_payload(server, payload, len);
	}
}

/* If the host went away in the middle of a frame, the Hello of the next host seems to be part of it, and the rest of that
 * frame never comes. So a Hello at the very end of what has been received counts. In a frame that is merely slow those
 * bytes would have to be a complete Hello that ends exactly where the host paused. */
static void rescue_hello(struct server *server)
{
	const uint8_t *data = server->reader.in.data;
	size_t len = server->reader.in.len;
	size_t from = len > HELLO_MAX ? len - HELLO_MAX : 1;

	for (size_t at = from; at + PV_FRAME_HEADER <= len; at++) {
		struct pv_frame_reader tail = { 0 };
		const uint8_t *payload = NULL;
		size_t size = 0;
		Pva__ToGuest *message = NULL;
		bool found = false;

		if (memcmp(data + at, "PVA1", 4) != 0)
			continue;
		pv_frame_feed(&tail, data + at, len - at);
		if (pv_frame_next(&tail, &payload, &size, NULL) == PV_OK && payload != NULL &&
		    size + PV_FRAME_HEADER == len - at)
			message = pva__to_guest__unpack(NULL, size, payload);
		if (message != NULL && message->body_case == PVA__TO_GUEST__BODY_HELLO) {
			found = true;
			pv_frame_reader_free(&server->reader);
			handle_hello(server, message->hello);
		}
		if (message != NULL)
			pva__to_guest__free_unpacked(message, NULL);
		pv_frame_reader_free(&tail);
		if (found)
			return;
	}
}

static bool frame_pending(const struct server *server)
{
	return server->reader.in.len > server->reader.taken;
}

/* A port of virtio-serial without a host is readable, hung up and at its end all the time: then only edges are watched,
 * and a host that connects is one. Nothing is thrown away: Linux (6.1) hands out the first bytes of a new host before it
 * knows that there is one, and until it knows, reads end and writes block again. The new host's Hello clears up. A socket
 * that has ended is the end of the agent. */
static void host_gone(struct server *server)
{
	if (!server->options.guest) {
		pv_loop_stop(server->loop);
		return;
	}
	if (frame_pending(server))
		rescue_hello(server);
	if (!server->port_idle) {
		server->port_idle = true;
		watch_port(server);
	}
}

/* True if the loop will come back without a new byte, for more to read or for the end. */
static bool has_more(const struct server *server)
{
	struct pollfd port = { .fd = server->port.fd, .events = POLLIN };

	return poll(&port, 1, 0) != 0;
}

/* One read for a request that comes in one piece; more only while a frame is incomplete. */
static void receive(struct server *server)
{
	static uint8_t piece[READ_PIECE];

	for (unsigned i = 0; i < READ_ROUNDS; i++) {
		ssize_t n = read(server->port.fd, piece, sizeof(piece));

		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0 || (n < 0 && errno != EAGAIN)) {
			host_gone(server);
			return;
		}
		if (server->port_idle) {
			server->port_idle = false;
			watch_port(server);
		}
		if (n < 0) {
			if (frame_pending(server))
				rescue_hello(server);
			return;
		}
		pv_frame_feed(&server->reader, piece, (size_t)n);
		take_frames(server);
		if (!frame_pending(server))
			return;
	}
	/* The last of these reads may have been the last that there is. */
	if (!has_more(server))
		rescue_hello(server);
}

static void port_ready(struct watch *watch, uint32_t events)
{
	struct server *server = watch->arg;

	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		receive(server);
	if (events & EPOLLOUT && server->port_blocked)
		flush(server);
}

static void terminate(void *arg)
{
	struct server *server = arg;

	/* In a guest SIGTERM to everybody is how an init ends; the agent answers until the machine is off. A worker ends with
	 * its socket. */
	if (!server->options.guest && !server->options.worker)
		pv_loop_stop(server->loop);
}

static uint64_t deadline(void *arg)
{
	uint64_t exec = pv_exec_deadline(arg);
	uint64_t tail = pv_tail_deadline(arg);
	uint64_t worker = pv_worker_deadline(arg);
	uint64_t first = exec < tail ? exec : tail;

	return worker < first ? worker : first;
}

static void expired(void *arg)
{
	pv_exec_expire(arg);
	pv_tail_expire(arg);
	pv_worker_expire(arg);
}

void pv_server_run(const struct server_options *options)
{
	static struct server server;
	const struct loop_hooks hooks = {
		.child = pv_exec_reap,
		.terminate = terminate,
		.deadline_ms = deadline,
		.expired = expired,
		.arg = &server,
	};

	memset(&server, 0, sizeof(server)); /* in a worker it was the agent's */
	server.options = *options;
	server.greeted = options->worker;
	server.inotify.fd = -1;
	LIST_INIT(&server.tails);
	LIST_INIT(&server.workers);
	STAILQ_INIT(&server.out);
	LIST_INIT(&server.execs);
	server.loop = pv_loop_create(&hooks);
	server.port.fn = port_ready;
	server.port.arg = &server;
	pv_loop_add(server.loop, &server.port, options->fd, EPOLLIN);
	pv_loop_run(server.loop);
	pv_exec_kill_all(&server);
}
