/* The runner's end of the agent channel against a scripted peer, honest and hostile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <event2/event.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#include "channel_fixture.h"
#include "proto/agent_version.h"
#include "proto/crc32c.h"
#include "vmctl/agent_internal.h"

/* ---- conversation ---- */

static void test_hello__requests_wait_for_it(void **state)
{
	struct channel *c = *state;
	uint64_t id = channel_request(c, 0);

	pv_agent_hello(c->agent, &(Pva__Hello)PVA__HELLO__INIT);
	channel_peer_wait(c, 1);
	assert_int_equal(c->seen[0]->body_case, PVA__TO_GUEST__BODY_HELLO);
	assert_int_equal(c->seen[0]->hello->protocol, PV_AGENT_PROTOCOL);
	channel_idle(c);
	assert_int_equal(c->n_seen, 1);
	channel_peer_hello(c, PV_AGENT_PROTOCOL);
	channel_wait(c, &c->ready, 1);
	channel_peer_wait(c, 2);
	assert_int_equal(c->seen[1]->id, id);
	channel_peer_done(c, id);
	channel_wait(c, &c->n_ended, 1);
	assert_int_equal(c->ended[0].err, PV_OK);
	assert_int_equal(c->ended[0].tag, 0);
}

/* Ids of two channels differ even for their first request: an agent restored from a snapshot may still hold results under
 * the ids of the channel before. */
static void test_ids__never_start_equal(void **state)
{
	struct channel *c = *state;
	uint64_t first = pv_agent_reserve_id(c->agent);
	struct pv_agent *other = pv_agent_create(c->base, dup(c->peer), &c->handler, c);

	assert_int_not_equal(first, pv_agent_reserve_id(other));
	assert_int_equal(pv_agent_reserve_id(c->agent), first + 1);
	pv_agent_destroy(other);
}

static void test_hello__other_version(void **state)
{
	struct channel *c = *state;

	channel_request(c, 0);
	pv_agent_hello(c->agent, &(Pva__Hello)PVA__HELLO__INIT);
	channel_peer_hello(c, PV_AGENT_PROTOCOL + 41);
	channel_wait(c, &c->failed, 1);
	assert_int_equal(c->err, PV_ERR_VERSION);
	assert_non_null(strstr(c->text, "speaks protocol 42"));
	assert_non_null(strstr(c->text, "speaks 1"));
	assert_non_null(strstr(c->text, "rebuild"));
	assert_int_equal(c->ready, 0);
	assert_int_equal(c->ended[0].err, PV_ERR_VERSION);
	assert_int_equal(c->ended_when_failed, 1);
}

static void test_acks__ride_on_the_next_request(void **state)
{
	struct channel *c = *state;
	uint64_t first, second;

	channel_greet(c);
	first = channel_request(c, 0);
	channel_peer_wait(c, 2);
	channel_peer_done(c, first);
	channel_wait(c, &c->n_ended, 1);
	pv_agent_ack(c->agent, first);
	second = channel_request(c, 1);
	channel_peer_wait(c, 3);
	assert_int_equal(c->seen[2]->id, second);
	assert_int_equal(c->seen[2]->n_acks, 1);
	assert_int_equal(c->seen[2]->acks[0], first);
	channel_idle(c);
	assert_int_equal(c->n_seen, 3);
}

static void test_acks__go_alone_after_a_while_or_at_a_bound(void **state)
{
	struct channel *c = *state;

	channel_greet(c);
	pv_agent_ack(c->agent, 7);
	channel_peer_wait(c, 2);
	assert_int_equal(c->seen[1]->id, 0);
	assert_int_equal(c->seen[1]->n_acks, 1);
	for (uint64_t i = 0; i < 64; i++)
		pv_agent_ack(c->agent, 100 + i);
	channel_peer_wait(c, 3);
	assert_int_equal(c->seen[2]->n_acks, 64);
	assert_int_equal(c->seen[2]->acks[63], 163);
}

/* After a reset of the guest: open requests end, half a frame and answers of the agent before do no harm. */
static void test_reset__new_conversation(void **state)
{
	struct channel *c = *state;
	static const uint8_t payload[50000];
	struct pv_buf cut = { 0 };
	uint64_t old, new;

	channel_greet(c);
	old = channel_request(c, 0);
	channel_peer_wait(c, 2);
	pv_frame_add(&cut, payload, sizeof(payload));
	/* One is in the reader already, one still in the socket; what follows would count as the rest of either. */
	assert_int_equal(send(c->peer, cut.data, 30000, 0), 30000);
	channel_idle(c);
	assert_int_equal(send(c->peer, cut.data, 10000, 0), 10000);
	pv_agent_hello(c->agent, &(Pva__Hello)PVA__HELLO__INIT);
	assert_int_equal(c->n_ended, 0);
	channel_wait(c, &c->n_ended, 1);
	assert_int_equal(c->ended[0].err, PV_ERR_CANCELED);
	channel_peer_wait(c, 3);
	assert_int_equal(c->seen[2]->body_case, PVA__TO_GUEST__BODY_HELLO);
	channel_peer_hello(c, PV_AGENT_PROTOCOL);
	channel_wait(c, &c->ready, 2);
	channel_peer_done(c, old);
	new = channel_request(c, 1);
	assert_true(new > old);
	channel_peer_wait(c, 4);
	channel_peer_done(c, new);
	channel_wait(c, &c->n_ended, 2);
	assert_int_equal(c->ended[1].err, PV_OK);
	assert_int_equal(c->ended[1].tag, 1);
	assert_int_equal(c->failed, 0);
	pv_buf_free(&cut);
}

/* A reboot gives several resets in a row: what was asked between two of them waits for the conversation that comes about. */
static void test_hello__again_keeps_unsent_requests(void **state)
{
	struct channel *c = *state;
	uint64_t id;

	channel_greet(c);
	pv_agent_hello(c->agent, &(Pva__Hello)PVA__HELLO__INIT);
	id = channel_request(c, 0);
	pv_agent_hello(c->agent, &(Pva__Hello)PVA__HELLO__INIT);
	channel_peer_wait(c, 3);
	channel_peer_hello(c, PV_AGENT_PROTOCOL);
	channel_wait(c, &c->ready, 2);
	channel_peer_wait(c, 4);
	assert_int_equal(c->seen[3]->id, id);
	channel_peer_done(c, id);
	channel_wait(c, &c->n_ended, 1);
	assert_int_equal(c->ended[0].err, PV_OK);
}

/* ---- answers ---- */

static void test_answer__error_of_the_guest(void **state)
{
	struct channel *c = *state;
	Pva__ToHost answer = PVA__TO_HOST__INIT;
	Pva__Error error = PVA__ERROR__INIT;

	channel_greet(c);
	answer.has_id = 1;
	answer.id = channel_request(c, 0);
	channel_peer_wait(c, 2);
	error.has_sys_errno = 1;
	error.sys_errno = 2;
	error.message = (char *)(uintptr_t) "/x: No such file or directory (ENOENT)";
	answer.body_case = PVA__TO_HOST__BODY_ERROR;
	answer.error = &error;
	channel_peer_send(c, &answer);
	channel_wait(c, &c->n_ended, 1);
	assert_int_equal(c->ended[0].err, PV_ERR_GUEST);
	assert_int_equal(c->ended[0].sys_errno, 2);
	assert_string_equal(c->ended[0].text, "/x: No such file or directory (ENOENT)");
}

static void test_answer__of_unknown_kind(void **state)
{
	struct channel *c = *state;
	Pva__ToHost answer = PVA__TO_HOST__INIT;

	channel_greet(c);
	answer.has_id = 1;
	answer.id = channel_request(c, 0);
	channel_peer_wait(c, 2);
	channel_peer_send(c, &answer);
	channel_wait(c, &c->n_ended, 1);
	assert_int_equal(c->ended[0].err, PV_ERR_PROTOCOL);
	assert_int_equal(c->failed, 0);
}

static void test_answer__twice(void **state)
{
	struct channel *c = *state;
	uint64_t id;

	channel_greet(c);
	id = channel_request(c, 0);
	channel_peer_wait(c, 2);
	channel_peer_done(c, id);
	channel_peer_done(c, id);
	channel_wait(c, &c->n_ended, 1);
	channel_idle(c);
	assert_int_equal(c->n_ended, 1);
	assert_int_equal(c->failed, 0);
}

static void test_forget__answer_is_acknowledged(void **state)
{
	struct channel *c = *state;
	uint64_t id;

	channel_greet(c);
	id = channel_request(c, 0);
	channel_peer_wait(c, 2);
	pv_agent_forget(c->agent, id);
	channel_peer_done(c, id);
	channel_peer_wait(c, 3);
	assert_int_equal(c->seen[2]->n_acks, 1);
	assert_int_equal(c->seen[2]->acks[0], id);
	assert_int_equal(c->n_ended, 0);
}

static void test_request__too_large(void **state)
{
	struct channel *c = *state;
	Pva__ToGuest message = PVA__TO_GUEST__INIT;
	Pva__WriteFile write = PVA__WRITE_FILE__INIT;
	uint8_t *data = calloc(1, PV_FRAME_MAX);

	channel_greet(c);
	write.has_data = 1;
	write.data.data = data;
	write.data.len = PV_FRAME_MAX;
	message.body_case = PVA__TO_GUEST__BODY_WRITE_FILE;
	message.write_file = &write;
	channel_request_message(c, &message, 0);
	assert_int_equal(c->n_ended, 0);
	channel_wait(c, &c->n_ended, 1);
	assert_int_equal(c->ended[0].err, PV_ERR_INVAL);
	assert_int_equal(c->failed, 0);
	free(data);
}

/* A peer that reads late gets everything, whole and in order. */
static void test_request__slow_peer(void **state)
{
	struct channel *c = *state;
	Pva__ToGuest message = PVA__TO_GUEST__INIT;
	Pva__WriteFile write = PVA__WRITE_FILE__INIT;
	uint8_t *data = calloc(1, PV_AGENT_DATA_MAX);
	uint64_t first = 0;

	channel_greet(c);
	event_del(c->on_peer);
	write.has_data = 1;
	write.data.data = data;
	write.data.len = PV_AGENT_DATA_MAX;
	message.body_case = PVA__TO_GUEST__BODY_WRITE_FILE;
	message.write_file = &write;
	for (int i = 0; i < 20; i++) {
		uint64_t id = channel_request_message(c, &message, i);

		first = i == 0 ? id : first;
		event_base_loop(c->base, EVLOOP_NONBLOCK);
	}
	event_add(c->on_peer, NULL);
	channel_peer_wait(c, 21);
	for (uint64_t i = 0; i < 20; i++) {
		assert_int_equal(c->seen[1 + i]->id, first + i);
		assert_int_equal(c->seen[1 + i]->write_file->data.len, PV_AGENT_DATA_MAX);
	}
	free(data);
}

/* ---- violations and ends ---- */

static void test_violation__two_gigabytes(void **state)
{
	struct channel *c = *state;
	uint8_t header[PV_FRAME_HEADER] = { 'P', 'V', 'A', '1', 0, 0, 0, 0x80 };
	uint32_t crc = pv_crc32c(0, header, 12);

	channel_greet(c);
	channel_request(c, 0);
	for (int i = 0; i < 4; i++)
		header[12 + i] = (uint8_t)(crc >> (8 * i));
	assert_int_equal(send(c->peer, header, sizeof(header), 0), sizeof(header));
	channel_wait(c, &c->failed, 1);
	assert_int_equal(c->err, PV_ERR_PROTOCOL);
	assert_non_null(strstr(c->text, "2147483648"));
	assert_int_equal(c->ended[0].err, PV_ERR_PROTOCOL);
	assert_int_equal(c->ended_when_failed, 1);
}

static void test_garbage__is_skipped(void **state)
{
	struct channel *c = *state;
	uint8_t noise[100000];
	uint64_t id;

	channel_greet(c);
	id = channel_request(c, 0);
	channel_peer_wait(c, 2);
	memset(noise, 'P', sizeof(noise));
	channel_peer_write(c, noise, sizeof(noise));
	channel_peer_done(c, id);
	channel_wait(c, &c->n_ended, 1);
	assert_int_equal(c->ended[0].err, PV_OK);
}

static void test_bogus__bound(void **state)
{
	struct channel *c = *state;

	channel_greet(c);
	for (uint64_t i = 0; i < 1024; i++)
		channel_peer_done(c, i);
	channel_idle(c);
	assert_int_equal(c->failed, 0);
	channel_peer_done(c, 4711);
	channel_wait(c, &c->failed, 1);
	assert_int_equal(c->err, PV_ERR_PROTOCOL);
}

static void test_talk_before_hello__bound(void **state)
{
	struct channel *c = *state;
	uint8_t *noise = calloc(1, 1u << 20);

	for (int i = 0; i < 4; i++)
		channel_peer_write(c, noise, 1u << 20);
	channel_idle(c);
	assert_int_equal(c->failed, 0);
	channel_peer_write(c, noise, 1);
	channel_wait(c, &c->failed, 1);
	assert_int_equal(c->err, PV_ERR_PROTOCOL);
	free(noise);
}

/* Two-byte fields that nobody knows: decoding them all would take forty times the frame. */
static void test_decode__bomb_is_refused(void **state)
{
	uint8_t *bomb = malloc(PV_FRAME_MAX);
	uint8_t fine[] = { 0x08, 0x05, 0xf8, 0x07, 0x01 }; /* id 5 and one unknown field */
	Pva__ToHost *message;

	(void)state;
	for (size_t i = 0; i < PV_FRAME_MAX; i += 2) {
		bomb[i] = 0x78; /* field 15, varint: of another type than the error that has this number */
		bomb[i + 1] = 0x00;
	}
	assert_null(pv_agent_decode(bomb, PV_FRAME_MAX));
	for (size_t i = 0; i < PV_FRAME_MAX; i += 4)
		memcpy(bomb + i, "\xf8\x07\x01", 4); /* unknown field 127; the fourth byte ends it as field 0 */
	assert_null(pv_agent_decode(bomb, PV_FRAME_MAX));
	for (size_t i = 0; i + 3 <= PV_FRAME_MAX; i += 3)
		memcpy(bomb + i, "\xf8\x07\x01", 3);
	assert_null(pv_agent_decode(bomb, PV_FRAME_MAX / 3 * 3));
	message = pv_agent_decode(fine, sizeof(fine));
	assert_non_null(message);
	assert_int_equal(message->id, 5);
	pv_agent_decode_free(message);
	free(bomb);
}

static void test_eof__ends_requests_first(void **state)
{
	struct channel *c = *state;

	channel_greet(c);
	channel_request(c, 0);
	channel_request(c, 1);
	channel_peer_close(c);
	channel_wait(c, &c->failed, 1);
	assert_int_equal(c->err, PV_ERR_LOST);
	assert_int_equal(c->ended_when_failed, 2);
	assert_int_equal(c->ended[0].err, PV_ERR_LOST);
	assert_int_equal(c->ended[0].tag, 0);
	assert_int_equal(c->ended[1].tag, 1);
	/* Later ones end, too, and never inside the call. */
	channel_request(c, 2);
	assert_int_equal(c->n_ended, 2);
	channel_wait(c, &c->n_ended, 3);
	assert_int_equal(c->ended[2].err, PV_ERR_LOST);
	channel_idle(c);
	assert_int_equal(c->failed, 1);
}

/* What the peer said before it closed is still heard. */
static void test_eof__after_an_answer(void **state)
{
	struct channel *c = *state;
	uint64_t id;

	channel_greet(c);
	id = channel_request(c, 0);
	channel_peer_wait(c, 2);
	channel_peer_done(c, id);
	channel_peer_close(c);
	channel_request(c, 1); /* finds the socket closed before the answer is read */
	channel_wait(c, &c->failed, 1);
	assert_int_equal(c->ended[0].err, PV_OK);
	assert_int_equal(c->ended[0].tag, 0);
	assert_int_equal(c->ended[1].err, PV_ERR_LOST);
}

/* ---- destroy inside each callback; ASan watches ---- */

static void test_destroy__in_ready(void **state)
{
	struct channel *c = *state;

	c->destroy_in_ready = true;
	channel_request(c, 0);
	pv_agent_hello(c->agent, &(Pva__Hello)PVA__HELLO__INIT);
	channel_peer_hello(c, PV_AGENT_PROTOCOL);
	channel_wait(c, &c->ready, 1);
	channel_idle(c);
	assert_int_equal(c->n_ended, 0);
}

static void test_destroy__in_answer(void **state)
{
	struct channel *c = *state;
	uint64_t first;

	channel_greet(c);
	first = channel_request(c, 0);
	channel_request(c, 1);
	channel_peer_wait(c, 3);
	c->destroy_in_end = true;
	channel_peer_done(c, first);
	channel_peer_done(c, first + 1);
	channel_wait(c, &c->n_ended, 1);
	channel_idle(c);
	assert_int_equal(c->n_ended, 1);
}

static void test_destroy__in_end_by_failure(void **state)
{
	struct channel *c = *state;

	channel_greet(c);
	channel_request(c, 0);
	channel_request(c, 1);
	c->destroy_in_end = true;
	channel_peer_close(c);
	channel_wait(c, &c->n_ended, 1);
	channel_idle(c);
	assert_int_equal(c->n_ended, 1);
	assert_int_equal(c->failed, 0);
}

static void test_destroy__in_failed(void **state)
{
	struct channel *c = *state;

	c->destroy_in_failed = true;
	channel_peer_close(c);
	channel_wait(c, &c->failed, 1);
	channel_idle(c);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, channel_setup, channel_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_hello__requests_wait_for_it),
		CASE(test_ids__never_start_equal),
		CASE(test_hello__again_keeps_unsent_requests),
		CASE(test_hello__other_version),
		CASE(test_acks__ride_on_the_next_request),
		CASE(test_acks__go_alone_after_a_while_or_at_a_bound),
		CASE(test_reset__new_conversation),
		CASE(test_answer__error_of_the_guest),
		CASE(test_answer__of_unknown_kind),
		CASE(test_answer__twice),
		CASE(test_forget__answer_is_acknowledged),
		CASE(test_request__too_large),
		CASE(test_request__slow_peer),
		CASE(test_violation__two_gigabytes),
		CASE(test_garbage__is_skipped),
		CASE(test_bogus__bound),
		CASE(test_talk_before_hello__bound),
		cmocka_unit_test(test_decode__bomb_is_refused),
		CASE(test_eof__ends_requests_first),
		CASE(test_eof__after_an_answer),
		CASE(test_destroy__in_ready),
		CASE(test_destroy__in_answer),
		CASE(test_destroy__in_end_by_failure),
		CASE(test_destroy__in_failed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
