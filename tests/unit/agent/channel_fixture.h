/* A channel and its scripted peer on one event base. */
#ifndef PV_TESTS_CHANNEL_FIXTURE_H
#define PV_TESTS_CHANNEL_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/agent.pb-c.h"
#include "proto/frame.h"
#include "vmctl/agent.h"

#define CHANNEL_MAX 64

/* Argument of a request's callback. */
struct channel_tag {
	struct channel *channel;
	int tag;
};

struct channel_end {
	int tag;
	enum pv_err err;
	int sys_errno;
	char text[256];
};

struct channel {
	struct event_base *base;
	struct pv_agent *agent;
	struct pv_agent_handler handler;
	int peer; /* -1 when closed */
	struct event *on_peer;
	struct pv_frame_reader reader;
	Pva__ToGuest *seen[CHANNEL_MAX]; /* what the peer has got */
	int n_seen;
	int ready;  /* calls of the handler */
	int failed; /* calls of the handler */
	enum pv_err err;
	char text[PV_ERRMSG_MAX];
	struct channel_end ended[CHANNEL_MAX]; /* callbacks, in their order */
	int n_ended;
	struct channel_tag tags[CHANNEL_MAX];
	int ended_when_failed;
	bool destroy_in_ready;
	bool destroy_in_end;
	bool destroy_in_failed;
};

int channel_setup(void **state);
int channel_teardown(void **state);

/* Hello and its answer. */
void channel_greet(struct channel *c);

/* Sends a request that is recorded in `ended` with `tag`. */
uint64_t channel_request(struct channel *c, int tag);
uint64_t channel_request_message(struct channel *c, Pva__ToGuest *message, int tag);

/* Runs the loop until *counter is `value`; fails the test after ten seconds. */
void channel_wait(struct channel *c, const int *counter, int value);

/* Runs the loop until nothing has happened for longer than the channel holds anything back. */
void channel_idle(struct channel *c);

/* The peer: waits until it has seen `n` messages; sends; closes. Writing runs the loop when the socket is full. */
void channel_peer_wait(struct channel *c, int n);
void channel_peer_send(struct channel *c, const Pva__ToHost *message);
void channel_peer_hello(struct channel *c, uint32_t protocol);
void channel_peer_done(struct channel *c, uint64_t id);
void channel_peer_write(struct channel *c, const void *data, size_t len);
void channel_peer_close(struct channel *c);

#endif
