/* The runner's end of the agent channel: requests with ids over frames (proto/frame.h, proto/agent.proto).
 *
 * The channel talks over any connected stream socket: QEMU's chardev of the virtio-serial port, or a socketpair to an
 * agent that runs as a host process. The peer is not trusted: a violation of the protocol closes the channel with
 * the reason, and nothing is allocated from an unchecked length.
 */
#ifndef PV_VMCTL_AGENT_H
#define PV_VMCTL_AGENT_H

#include <stdint.h>

#include "proto/agent.pb-c.h"
#include "proto/err.h"

struct event_base;
struct pv_agent;

struct pv_agent_handler {
	/* The agent answered Hello; it serves requests from now on. `hello` dies with the callback. */
	void (*ready)(void *arg, const Pva__HelloReply *hello);
	/* The channel is of no more use (violation of the protocol, other version, socket closed); open requests have got `err`
	 * before. Called once. */
	void (*failed)(void *arg, enum pv_err err, const struct pv_errmsg *msg);
};

/* `response` is NULL unless err is PV_OK and dies with the callback. An Error of the agent arrives as PV_ERR_GUEST with
 * its text in `msg` and its errno in `sys_errno`. */
typedef void pv_agent_cb(void *arg, enum pv_err err, const Pva__ToHost *response, int sys_errno,
                         const struct pv_errmsg *msg);

/* Takes over `fd`. Nothing is sent before pv_agent_hello(). */
struct pv_agent *pv_agent_create(struct event_base *base, int fd, const struct pv_agent_handler *handler, void *arg);

/* Starts a conversation, at first and after each reset of the guest: requests that were sent in the conversation before end with
 * PV_ERR_CANCELED, from the loop; those that still wait for `ready` belong to the new one. What the agent of the conversation before
 * still says is ignored. `hello` is the caller's; `protocol` is filled in here. */
void pv_agent_hello(struct pv_agent *agent, const Pva__Hello *hello);

/* Sends `request` (the caller's; its id is set here from the channel's counter) and returns the id. The id is acknowledged
 * by pv_agent_ack(), after the result is safe. Requests before `ready` are queued. The callback never runs inside this
 * call; it gets PV_ERR_INVAL if the request does not fit into a frame. */
uint64_t pv_agent_request(struct pv_agent *agent, Pva__ToGuest *request, pv_agent_cb *cb, void *arg);

/* The next id of the channel's counter. The counter starts at a random number, never at one that an agent restored from
 * a snapshot may still hold a result for, and is never set back. */
uint64_t pv_agent_reserve_id(struct pv_agent *agent);

/* As pv_agent_request with an id that the caller has reserved, on this channel or on one before to the same boot of the
 * guest. An agent that knows the id does not execute the request again: it gives the result once more. This is how a
 * runner that was killed gets the results of what it had asked for. */
void pv_agent_request_as(struct pv_agent *agent, uint64_t id, Pva__ToGuest *request, pv_agent_cb *cb, void *arg);

/* Tells the agent (with the next frame, or soon) that the response to `id` may be forgotten. */
void pv_agent_ack(struct pv_agent *agent, uint64_t id);

/* Forgets the callback of an open request; its response will be acknowledged and dropped. */
void pv_agent_forget(struct pv_agent *agent, uint64_t id);

/* Closes without any further callback. NULL is fine. May be called inside a callback. */
void pv_agent_destroy(struct pv_agent *agent);

#endif
