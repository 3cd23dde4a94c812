#include "channel_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <event2/event.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/agent_version.h"

static void destroy(struct channel *c)
{
	pv_agent_destroy(c->agent);
	c->agent = NULL;
}

static void on_ready(void *arg, const Pva__HelloReply *hello)
{
	struct channel *c = arg;

	assert_int_equal(hello->protocol, PV_AGENT_PROTOCOL);
	c->ready++;
	if (c->destroy_in_ready)
		destroy(c);
	event_base_loopbreak(c->base);
}

static void on_failed(void *arg, enum pv_err err, const struct pv_errmsg *msg)
{
	struct channel *c = arg;

	c->failed++;
	c->err = err;
	c->ended_when_failed = c->n_ended;
	snprintf(c->text, sizeof(c->text), "%s", msg->text);
	if (c->destroy_in_failed)
		destroy(c);
	event_base_loopbreak(c->base);
}

static void on_end(void *arg, enum pv_err err, const Pva__ToHost *response, int sys_errno, const struct pv_errmsg *msg)
{
	struct channel_tag *tag = arg;
	struct channel *c = tag->channel;
	struct channel_end *end = &c->ended[c->n_ended++];

	assert_true((err == PV_OK) == (response != NULL));
	end->tag = tag->tag;
	end->err = err;
	end->sys_errno = sys_errno;
	snprintf(end->text, sizeof(end->text), "%.255s", msg->text);
	if (c->destroy_in_end)
		destroy(c);
	event_base_loopbreak(c->base);
}

static void peer_readable(evutil_socket_t fd, short what, void *arg)
{
	static uint8_t piece[65536];
	struct channel *c = arg;
	ssize_t n = recv(fd, piece, sizeof(piece), MSG_DONTWAIT);
	const uint8_t *payload;
	size_t len;

	(void)what;
	if (n <= 0) {
		event_del(c->on_peer);
		return;
	}
	pv_frame_feed(&c->reader, piece, (size_t)n);
	for (;;) {
		assert_int_equal(pv_frame_next(&c->reader, &payload, &len, NULL), PV_OK);
		if (payload == NULL)
			break;
		assert_true(c->n_seen < CHANNEL_MAX);
		c->seen[c->n_seen] = pva__to_guest__unpack(NULL, len, payload);
		assert_non_null(c->seen[c->n_seen]);
		c->n_seen++;
	}
	event_base_loopbreak(c->base);
}

int channel_setup(void **state)
{
	struct channel *c = PV_NEW(struct channel);
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	c->base = event_base_new();
	c->handler = (struct pv_agent_handler){ on_ready, on_failed };
	c->agent = pv_agent_create(c->base, ends[0], &c->handler, c);
	c->peer = ends[1];
	c->on_peer = event_new(c->base, c->peer, EV_READ | EV_PERSIST, peer_readable, c);
	event_add(c->on_peer, NULL);
	*state = c;
	return 0;
}

int channel_teardown(void **state)
{
	struct channel *c = *state;

	channel_peer_close(c);
	pv_agent_destroy(c->agent);
	event_base_free(c->base);
	pv_frame_reader_free(&c->reader);
	for (int i = 0; i < c->n_seen; i++)
		pva__to_guest__free_unpacked(c->seen[i], NULL);
	free(c);
	return 0;
}

static void give_up(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	fail_msg("nothing happened for ten seconds");
}

void channel_wait(struct channel *c, const int *counter, int value)
{
	struct timeval patience = { .tv_sec = 10 };
	struct event *timer = evtimer_new(c->base, give_up, NULL);

	evtimer_add(timer, &patience);
	while (*counter < value)
		event_base_loop(c->base, EVLOOP_ONCE);
	event_free(timer);
	assert_int_equal(*counter, value);
}

static void set_flag(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	*(int *)arg = 1;
}

void channel_idle(struct channel *c)
{
	struct timeval longer = { .tv_usec = 30000 };
	struct event *timer;
	int over = 0;

	timer = evtimer_new(c->base, set_flag, &over);
	evtimer_add(timer, &longer);
	channel_wait(c, &over, 1);
	event_free(timer);
}

void channel_greet(struct channel *c)
{
	pv_agent_hello(c->agent, &(Pva__Hello)PVA__HELLO__INIT);
	channel_peer_wait(c, 1);
	channel_peer_hello(c, PV_AGENT_PROTOCOL);
	channel_wait(c, &c->ready, 1);
}

uint64_t channel_request_message(struct channel *c, Pva__ToGuest *message, int tag)
{
	PV_ASSERT(tag >= 0 && tag < CHANNEL_MAX);
	c->tags[tag] = (struct channel_tag){ c, tag };
	return pv_agent_request(c->agent, message, on_end, &c->tags[tag]);
}

uint64_t channel_request(struct channel *c, int tag)
{
	Pva__ToGuest message = PVA__TO_GUEST__INIT;
	Pva__ReadFile read = PVA__READ_FILE__INIT;

	message.body_case = PVA__TO_GUEST__BODY_READ_FILE;
	message.read_file = &read;
	return channel_request_message(c, &message, tag);
}

/* ---- peer ---- */

void channel_peer_wait(struct channel *c, int n)
{
	channel_wait(c, &c->n_seen, n);
}

void channel_peer_write(struct channel *c, const void *data, size_t len)
{
	const uint8_t *p = data;

	while (len > 0) {
		ssize_t n = send(c->peer, p, len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0) {
			event_base_loop(c->base, EVLOOP_ONCE);
			continue;
		}
		p += n;
		len -= (size_t)n;
	}
}

void channel_peer_send(struct channel *c, const Pva__ToHost *message)
{
	uint8_t *payload = pv_xmalloc(pva__to_host__get_packed_size(message));
	struct pv_buf frame = { 0 };

	pv_frame_add(&frame, payload, pva__to_host__pack(message, payload));
	channel_peer_write(c, frame.data, frame.len);
	pv_buf_free(&frame);
	free(payload);
}

void channel_peer_hello(struct channel *c, uint32_t protocol)
{
	Pva__ToHost message = PVA__TO_HOST__INIT;
	Pva__HelloReply hello = PVA__HELLO_REPLY__INIT;

	hello.has_protocol = 1;
	hello.protocol = protocol;
	hello.agent_version = (char *)(uintptr_t) "9.9";
	message.body_case = PVA__TO_HOST__BODY_HELLO;
	message.hello = &hello;
	channel_peer_send(c, &message);
}

void channel_peer_done(struct channel *c, uint64_t id)
{
	Pva__ToHost message = PVA__TO_HOST__INIT;
	Pva__Done done = PVA__DONE__INIT;

	message.has_id = 1;
	message.id = id;
	message.body_case = PVA__TO_HOST__BODY_DONE;
	message.done = &done;
	channel_peer_send(c, &message);
}

void channel_peer_close(struct channel *c)
{
	if (c->peer < 0)
		return;
	event_free(c->on_peer);
	close(c->peer);
	c->peer = -1;
}
