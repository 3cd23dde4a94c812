#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "proto/agent_version.h"
#include "vmctl/agent_internal.h"

#define READ_BUDGET (256u << 10) /* bytes a callback takes in before the loop may look at others */
#define OUT_HIGH    (256u << 10) /* requests wait as long as this many bytes are in `out` */
#define BOGUS_MAX   1024u        /* frames of a conversation that answer nothing */

/* ---- sending ---- */

void pv_agent_add_frame(struct pv_buf *out, const Pva__ToGuest *message)
{
	size_t size = pva__to_guest__get_packed_size(message);
	uint8_t *payload = pv_xmalloc(size);

	pva__to_guest__pack(message, payload);
	pv_frame_add(out, payload, size);
	free(payload);
}

void pv_agent_add_acks(struct pv_agent *agent)
{
	Pva__ToGuest message = PVA__TO_GUEST__INIT;

	message.acks = agent->acks;
	message.n_acks = agent->n_acks;
	pv_agent_add_frame(&agent->out, &message);
	agent->n_acks = 0;
	event_del(agent->on_ack_due);
}

static void fill_out(struct pv_agent *agent)
{
	struct request *request;

	if (agent->state != PV_AGENT_READY)
		return;
	while (agent->out.len - agent->out_pos < OUT_HIGH && (request = TAILQ_FIRST(&agent->unsent)) != NULL) {
		TAILQ_REMOVE(&agent->unsent, request, link);
		pv_buf_add(&agent->out, request->frame.data, request->frame.len);
		pv_buf_free(&request->frame);
		request->where = SENT;
	}
}

void pv_agent_flush(struct pv_agent *agent)
{
	while (agent->state != PV_AGENT_FAILED) {
		ssize_t n;

		fill_out(agent);
		if (agent->out_pos == agent->out.len) {
			pv_buf_free(&agent->out);
			agent->out_pos = 0;
			event_del(agent->on_writable);
			return;
		}
		n = send(agent->fd, agent->out.data + agent->out_pos, agent->out.len - agent->out_pos,
		         MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
			/* Drop what is sent; less than one frame and OUT_HIGH is left to move. */
			pv_buf_drain(&agent->out, agent->out_pos);
			agent->out_pos = 0;
			event_add(agent->on_writable, NULL);
			return;
		}
		if (n < 0) {
			/* The other end may have said why before it went: let the reader find the end. */
			if (errno == EPIPE || errno == ECONNRESET) {
				event_del(agent->on_writable);
				event_active(agent->on_readable, EV_READ, 0);
			} else {
				pv_agent_fail_lost(agent, errno);
			}
			return;
		}
		agent->out_pos += (size_t)n;
	}
}

void pv_agent_writable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	pv_agent_flush(arg);
}

void pv_agent_ack_due(evutil_socket_t fd, short what, void *arg)
{
	struct pv_agent *agent = arg;

	(void)fd;
	(void)what;
	if (agent->state != PV_AGENT_READY || agent->n_acks == 0)
		return;
	pv_agent_add_acks(agent);
	pv_agent_flush(agent);
}

/* ---- receiving ---- */

static void count_bogus(struct pv_agent *agent)
{
	struct pv_errmsg msg = { 0 };

	if (++agent->bogus <= BOGUS_MAX)
		return;
	pv_err_set(&msg, PV_ERR_PROTOCOL, "the guest's agent sent more than %u frames that answer nothing", BOGUS_MAX);
	pv_agent_fail(agent, PV_ERR_PROTOCOL, &msg);
}

static void handle_hello(struct pv_agent *agent, const Pva__HelloReply *hello)
{
	struct pv_errmsg msg = { 0 };

	if (agent->state != PV_AGENT_GREETING || hello == NULL) {
		count_bogus(agent);
		return;
	}
	if (!hello->has_protocol || hello->protocol != PV_AGENT_PROTOCOL) {
		pv_err_set(&msg, PV_ERR_VERSION,
		           "the guest's agent (provium %.64s) speaks protocol %u, this runner (provium %s) speaks %u: "
		           "rebuild the agent overlay or the guest image with this version of provium",
		           hello->agent_version != NULL ? hello->agent_version : "of unknown version", hello->protocol,
		           PV_VERSION, PV_AGENT_PROTOCOL);
		pv_agent_fail(agent, PV_ERR_VERSION, &msg);
		return;
	}
	agent->state = PV_AGENT_READY;
	agent->handler.ready(agent->arg, hello);
	if (!agent->destroyed)
		pv_agent_flush(agent);
}

static void deliver(struct pv_agent *agent, struct request *request, const Pva__ToHost *message)
{
	struct pv_errmsg msg = { 0 };
	pv_agent_cb *cb = request->cb;
	void *arg = request->arg;
	uint64_t id = request->id;

	pv_agent_request_free(agent, request);
	if (cb == NULL) {
		pv_agent_ack(agent, id);
		return;
	}
	switch (message->body_case) {
	case PVA__TO_HOST__BODY_EXEC:
	case PVA__TO_HOST__BODY_DATA:
	case PVA__TO_HOST__BODY_DONE:
	case PVA__TO_HOST__BODY_SPAWNED:
	case PVA__TO_HOST__BODY_TAKEN:
		cb(arg, PV_OK, message, 0, &msg);
		break;
	case PVA__TO_HOST__BODY_ERROR:
		pv_err_set(&msg, PV_ERR_GUEST, "%s",
		           message->error->message != NULL ? message->error->message : "refused without a reason");
		cb(arg, PV_ERR_GUEST, NULL, message->error->sys_errno, &msg);
		break;
	default:
		pv_err_set(&msg, PV_ERR_PROTOCOL, "the guest's agent gave an answer of an unknown kind");
		cb(arg, PV_ERR_PROTOCOL, NULL, 0, &msg);
		break;
	}
}

static void handle_payload(struct pv_agent *agent, const uint8_t *payload, size_t len)
{
	Pva__ToHost *message = pv_agent_decode(payload, len);
	struct request *request = NULL;

	if (message == NULL) {
		count_bogus(agent);
		return;
	}
	if (message->body_case == PVA__TO_HOST__BODY_HELLO) {
		handle_hello(agent, message->hello);
	} else {
		HASH_FIND(hh, agent->by_id, &message->id, sizeof(message->id), request);
		if (agent->state == PV_AGENT_READY && request != NULL && request->where == SENT)
			deliver(agent, request, message);
		else
			count_bogus(agent);
	}
	pv_agent_decode_free(message);
}

static void take_frames(struct pv_agent *agent)
{
	while (!agent->destroyed && agent->state != PV_AGENT_FAILED) {
		struct pv_errmsg msg = { 0 };
		const uint8_t *payload;
		size_t len;
		enum pv_err err = pv_frame_next(&agent->reader, &payload, &len, &msg);

		if (err != PV_OK) {
			pv_err_wrap(&msg, err, "the guest's agent broke the protocol");
			pv_agent_fail(agent, err, &msg);
			return;
		}
		if (payload == NULL)
			return;
		handle_payload(agent, payload, len);
	}
}

static void take_bytes(struct pv_agent *agent, const uint8_t *data, size_t len)
{
	struct pv_errmsg msg = { 0 };

	if (agent->state != PV_AGENT_NEW) {
		pv_frame_feed(&agent->reader, data, len);
		take_frames(agent);
		return;
	}
	agent->stale += len;
	if (agent->stale <= PV_AGENT_STALE_MAX)
		return;
	pv_err_set(&msg, PV_ERR_PROTOCOL, "the guest's agent talks although nobody asked");
	pv_agent_fail(agent, PV_ERR_PROTOCOL, &msg);
}

void pv_agent_readable(evutil_socket_t fd, short what, void *arg)
{
	struct pv_agent *agent = arg;
	uint8_t piece[PV_AGENT_READ_PIECE];
	size_t total = 0;

	(void)fd;
	(void)what;
	pv_agent_enter(agent);
	while (!agent->destroyed && agent->state != PV_AGENT_FAILED && total < READ_BUDGET) {
		ssize_t n = recv(agent->fd, piece, sizeof(piece), MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			break;
		if (n <= 0) {
			pv_agent_fail_lost(agent, n < 0 ? errno : 0);
			break;
		}
		total += (size_t)n;
		take_bytes(agent, piece, (size_t)n);
		if ((size_t)n < sizeof(piece))
			break;
	}
	pv_agent_leave(agent);
}
