/* Parts of the agent channel: agent.c holds requests and conversations, agent_wire.c sends and receives, agent_decode.c turns
 * bytes of a peer that is not trusted into messages. */
#ifndef PV_VMCTL_AGENT_INTERNAL_H
#define PV_VMCTL_AGENT_INTERNAL_H

#include <event2/util.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uthash.h>

#include "proto/frame.h"
#include "proto/mem.h"
#include "vmctl/agent.h"

#define PV_AGENT_READ_PIECE (64u << 10)
#define PV_AGENT_STALE_MAX  (4u << 20) /* bytes of an earlier conversation that are thrown away */
#define PV_AGENT_ACKS_MAX   64u        /* acknowledgements that are held back for the next request */

enum pv_agent_state { PV_AGENT_NEW, PV_AGENT_GREETING, PV_AGENT_READY, PV_AGENT_FAILED };

/* An open request. In `by_id` from its start to its callback; in `unsent` until its frame is in `out`, in `ended` from when its end
 * is known until the callback can run. */
struct request {
	uint64_t id;
	pv_agent_cb *cb; /* NULL: forgotten */
	void *arg;
	struct pv_buf frame; /* until it is in `out` */
	enum { UNSENT, SENT, ENDED } where;
	enum pv_err end;           /* with ENDED */
	const char *end_text;      /* with ENDED; static, or NULL for the text of the failure */
	TAILQ_ENTRY(request) link; /* with UNSENT and ENDED */
	UT_hash_handle hh;
};

TAILQ_HEAD(request_queue, request);

struct pv_agent {
	int fd; /* -1 after failure */
	struct event *on_readable;
	struct event *on_writable;
	struct event *on_ack_due;
	struct event *on_ended; /* activated by hand: callbacks that must not run inside a call */
	struct pv_agent_handler handler;
	void *arg;
	enum pv_agent_state state;
	struct pv_frame_reader reader;
	uint64_t stale; /* bytes thrown away before the first Hello */
	unsigned bogus; /* frames of this conversation that answer nothing */
	struct pv_buf out;
	size_t out_pos; /* bytes of `out` that are sent */
	uint64_t next_id;
	struct request *by_id;
	struct request_queue unsent;
	struct request_queue ended;
	uint64_t acks[PV_AGENT_ACKS_MAX];
	size_t n_acks;
	bool failure_told;
	enum pv_err failure;
	struct pv_errmsg failure_msg;
	unsigned depth; /* of our functions that are on the stack and touch the agent after a callback */
	bool destroyed; /* free when depth is 0 */
};

/* ---- agent.c ---- */

/* Takes a request out of all lists and frees it. */
void pv_agent_request_free(struct pv_agent *agent, struct request *request);

/* Ends the channel; callbacks run from the loop. pv_agent_fail_lost: with the errno of the socket, 0 for its end. */
void pv_agent_fail(struct pv_agent *agent, enum pv_err err, const struct pv_errmsg *msg);
void pv_agent_fail_lost(struct pv_agent *agent, int sys_errno);

/* Brackets around code that calls out. pv_agent_leave() is the last thing that touches the agent. */
void pv_agent_enter(struct pv_agent *agent);
void pv_agent_leave(struct pv_agent *agent);

/* ---- agent_wire.c ---- */

void pv_agent_add_frame(struct pv_buf *out, const Pva__ToGuest *message);

/* Puts the acknowledgements that are due into a frame of their own. */
void pv_agent_add_acks(struct pv_agent *agent);

/* Sends what the socket takes and asks to be called for the rest. */
void pv_agent_flush(struct pv_agent *agent);

/* Callbacks of the loop. */
void pv_agent_readable(evutil_socket_t fd, short what, void *arg);
void pv_agent_writable(evutil_socket_t fd, short what, void *arg);
void pv_agent_ack_due(evutil_socket_t fd, short what, void *arg);

/* ---- agent_decode.c ---- */

/* Decodes one payload within a fixed budget of memory, whatever the payload says. NULL if it is no message or wants
 * more. Free with pv_agent_decode_free(). */
Pva__ToHost *pv_agent_decode(const uint8_t *payload, size_t len);
void pv_agent_decode_free(Pva__ToHost *message);

#endif
