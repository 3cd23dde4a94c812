#include "vmctl/agent.h"

#include <event2/event.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/agent_version.h"
#include "vmctl/agent_internal.h"

#define ACK_DELAY_USEC 10000

void pv_agent_request_free(struct pv_agent *agent, struct request *request)
{
	HASH_DELETE(hh, agent->by_id, request);
	if (request->where == UNSENT)
		TAILQ_REMOVE(&agent->unsent, request, link);
	else if (request->where == ENDED)
		TAILQ_REMOVE(&agent->ended, request, link);
	pv_buf_free(&request->frame);
	free(request);
}

static void agent_free(struct pv_agent *agent)
{
	struct request *request, *next;

	HASH_ITER (hh, agent->by_id, request, next)
		pv_agent_request_free(agent, request);
	event_free(agent->on_readable);
	event_free(agent->on_writable);
	event_free(agent->on_ack_due);
	event_free(agent->on_ended);
	if (agent->fd >= 0)
		close(agent->fd);
	pv_frame_reader_free(&agent->reader);
	pv_buf_free(&agent->out);
	free(agent);
}

/* Brackets around code that calls out. pv_agent_leave() is the last thing that touches the agent. */
void pv_agent_enter(struct pv_agent *agent)
{
	agent->depth++;
}

void pv_agent_leave(struct pv_agent *agent)
{
	if (--agent->depth == 0 && agent->destroyed)
		agent_free(agent);
}

/* Ends an open request; the callback runs from the loop. `text` is static; NULL stands for the failure of the channel. */
static void request_end(struct pv_agent *agent, struct request *request, enum pv_err err, const char *text)
{
	if (request->where == ENDED)
		return;
	if (request->where == UNSENT)
		TAILQ_REMOVE(&agent->unsent, request, link);
	pv_buf_free(&request->frame);
	request->where = ENDED;
	request->end = err;
	request->end_text = text;
	TAILQ_INSERT_TAIL(&agent->ended, request, link);
	event_active(agent->on_ended, EV_TIMEOUT, 0);
}

void pv_agent_fail(struct pv_agent *agent, enum pv_err err, const struct pv_errmsg *msg)
{
	struct request *request, *next;

	if (agent->state == PV_AGENT_FAILED)
		return;
	agent->state = PV_AGENT_FAILED;
	agent->failure = err;
	agent->failure_msg = *msg;
	event_del(agent->on_readable);
	event_del(agent->on_writable);
	event_del(agent->on_ack_due);
	close(agent->fd);
	agent->fd = -1;
	HASH_ITER (hh, agent->by_id, request, next)
		request_end(agent, request, err, NULL);
	event_active(agent->on_ended, EV_TIMEOUT, 0);
}

void pv_agent_fail_lost(struct pv_agent *agent, int sys_errno)
{
	struct pv_errmsg msg = { 0 };

	if (sys_errno == 0)
		pv_err_set(&msg, PV_ERR_LOST, "the channel to the guest's agent was closed at the other end");
	else
		pv_err_sys(&msg, PV_ERR_LOST, sys_errno, "the channel to the guest's agent broke");
	pv_agent_fail(agent, PV_ERR_LOST, &msg);
}

/* ---- callbacks that were put off ---- */

static void end_one(struct pv_agent *agent, struct request *request)
{
	struct pv_errmsg msg = { 0 };
	pv_agent_cb *cb = request->cb;
	void *arg = request->arg;
	enum pv_err err = request->end;

	if (request->end_text != NULL)
		pv_err_set(&msg, err, "%s", request->end_text);
	else
		msg = agent->failure_msg;
	pv_agent_request_free(agent, request);
	if (cb != NULL)
		cb(arg, err, NULL, 0, &msg);
}

static void ended_cb(evutil_socket_t fd, short what, void *arg)
{
	struct pv_agent *agent = arg;
	struct request *request;
	size_t n = 0;

	(void)fd;
	(void)what;
	/* Only those of now: a request made inside one of these callbacks ends in the next turn of the loop. */
	TAILQ_FOREACH (request, &agent->ended, link)
		n++;
	pv_agent_enter(agent);
	for (; n > 0 && !agent->destroyed && !TAILQ_EMPTY(&agent->ended); n--)
		end_one(agent, TAILQ_FIRST(&agent->ended));
	if (!agent->destroyed && agent->state == PV_AGENT_FAILED && !agent->failure_told) {
		agent->failure_told = true;
		agent->handler.failed(agent->arg, agent->failure, &agent->failure_msg);
	}
	pv_agent_leave(agent);
}

/* ---- for the callers ---- */

static uint64_t random_id(void)
{
	uint64_t id;

	/* Cannot fail: 8 bytes, and the pool is ready long before a runner starts. */
	PV_ASSERT(getrandom(&id, sizeof(id), 0) == sizeof(id));
	return (id & INT64_MAX) >> 1 | 1;
}

struct pv_agent *pv_agent_create(struct event_base *base, int fd, const struct pv_agent_handler *handler, void *arg)
{
	struct pv_agent *agent = PV_NEW(struct pv_agent);

	agent->fd = fd;
	agent->handler = *handler;
	agent->arg = arg;
	agent->state = PV_AGENT_NEW;
	agent->next_id = random_id();
	TAILQ_INIT(&agent->unsent);
	TAILQ_INIT(&agent->ended);
	agent->on_readable = event_new(base, fd, EV_READ | EV_PERSIST, pv_agent_readable, agent);
	agent->on_writable = event_new(base, fd, EV_WRITE | EV_PERSIST, pv_agent_writable, agent);
	agent->on_ack_due = event_new(base, -1, 0, pv_agent_ack_due, agent);
	agent->on_ended = event_new(base, -1, 0, ended_cb, agent);
	PV_ASSERT(agent->on_readable != NULL && agent->on_writable != NULL && agent->on_ack_due != NULL &&
	          agent->on_ended != NULL);
	event_add(agent->on_readable, NULL);
	return agent;
}

/* Throws away what is left of the conversation before. The agent says nothing unasked, so whatever can be read before a
 * Hello is sent is old, and it may end in the middle of a frame. */
static void drop_stale(struct pv_agent *agent)
{
	uint8_t piece[PV_AGENT_READ_PIECE];
	size_t total = 0;
	ssize_t n = 1;

	pv_frame_reader_free(&agent->reader);
	while (n > 0 && total < PV_AGENT_STALE_MAX) {
		n = recv(agent->fd, piece, sizeof(piece), MSG_DONTWAIT);
		total += n > 0 ? (size_t)n : 0;
	}
}

void pv_agent_hello(struct pv_agent *agent, const Pva__Hello *hello)
{
	Pva__Hello copy = *hello;
	Pva__ToGuest message = PVA__TO_GUEST__INIT;
	struct request *request, *next;

	if (agent->state == PV_AGENT_FAILED)
		return;
	if (agent->state != PV_AGENT_NEW) {
		HASH_ITER (hh, agent->by_id, request, next)
			if (request->where == SENT)
				request_end(agent, request, PV_ERR_CANCELED, "the guest was reset meanwhile");
	}
	drop_stale(agent);
	agent->n_acks = 0;
	agent->bogus = 0;
	agent->state = PV_AGENT_GREETING;
	event_del(agent->on_ack_due);
	copy.has_protocol = 1;
	copy.protocol = PV_AGENT_PROTOCOL;
	message.body_case = PVA__TO_GUEST__BODY_HELLO;
	message.hello = &copy;
	/* Requests that are still in `out` go first and are ignored: an agent serves nothing before Hello. Cutting them
	 * off here would leave half a frame in front of the Hello. */
	pv_agent_add_frame(&agent->out, &message);
	pv_agent_flush(agent);
}

uint64_t pv_agent_reserve_id(struct pv_agent *agent)
{
	return agent->next_id++;
}

/* Puts the frame of `message` into `frame`, with the acknowledgements that are due if both fit. */
static bool make_frame(struct pv_agent *agent, struct pv_buf *frame, const Pva__ToGuest *message)
{
	Pva__ToGuest copy = *message;

	copy.acks = agent->acks;
	copy.n_acks = agent->n_acks;
	if (agent->n_acks > 0 && pva__to_guest__get_packed_size(&copy) <= PV_FRAME_MAX) {
		agent->n_acks = 0;
		event_del(agent->on_ack_due);
	} else {
		copy.n_acks = 0;
		if (pva__to_guest__get_packed_size(&copy) > PV_FRAME_MAX)
			return false;
	}
	pv_agent_add_frame(frame, &copy);
	return true;
}

void pv_agent_request_as(struct pv_agent *agent, uint64_t id, Pva__ToGuest *message, pv_agent_cb *cb, void *arg)
{
	struct request *request = PV_NEW(struct request);
	struct request *same = NULL;

	HASH_FIND(hh, agent->by_id, &id, sizeof(id), same);
	PV_ASSERT(same == NULL && id != 0);
	message->has_id = 1;
	message->id = id;
	request->id = id;
	request->cb = cb;
	request->arg = arg;
	request->where = UNSENT;
	HASH_ADD(hh, agent->by_id, id, sizeof(request->id), request);
	TAILQ_INSERT_TAIL(&agent->unsent, request, link);
	if (agent->state == PV_AGENT_FAILED) {
		request_end(agent, request, agent->failure, NULL);
		return;
	}
	if (!make_frame(agent, &request->frame, message)) {
		request_end(agent, request, PV_ERR_INVAL,
		            "the arguments are too large: a request to the guest holds at most 1 MiB");
		return;
	}
	pv_agent_flush(agent);
}

uint64_t pv_agent_request(struct pv_agent *agent, Pva__ToGuest *request, pv_agent_cb *cb, void *arg)
{
	uint64_t id = pv_agent_reserve_id(agent);

	pv_agent_request_as(agent, id, request, cb, arg);
	return id;
}

void pv_agent_ack(struct pv_agent *agent, uint64_t id)
{
	static const struct timeval delay = { .tv_usec = ACK_DELAY_USEC };

	if (agent->state != PV_AGENT_READY)
		return;
	if (agent->n_acks == 0)
		event_add(agent->on_ack_due, &delay);
	agent->acks[agent->n_acks++] = id;
	if (agent->n_acks == PV_AGENT_ACKS_MAX) {
		pv_agent_add_acks(agent);
		pv_agent_flush(agent);
	}
}

void pv_agent_forget(struct pv_agent *agent, uint64_t id)
{
	struct request *request = NULL;

	HASH_FIND(hh, agent->by_id, &id, sizeof(id), request);
	if (request == NULL)
		return;
	request->cb = NULL;
	if (request->where != SENT)
		pv_agent_request_free(agent, request);
}

void pv_agent_destroy(struct pv_agent *agent)
{
	if (agent == NULL || agent->destroyed)
		return;
	agent->destroyed = true;
	event_del(agent->on_readable);
	event_del(agent->on_writable);
	event_del(agent->on_ack_due);
	event_del(agent->on_ended);
	if (agent->depth == 0)
		agent_free(agent);
}
