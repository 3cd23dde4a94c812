#include <event2/event.h>
#include <json-c/json.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/mem.h"
#include "vmctl/qmp.h"

#define GREETING                                                                                                       \
	"{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 22, \"minor\": 2, \"major\": 7}, \"package\": \"x\"}, "        \
	"\"capabilities\": [\"oob\"]}}\r\n"

/* The test plays QEMU on `peer`. `trace` tells what the client reported, in order. */
struct fixture {
	struct event_base *base;
	struct pv_qmp *qmp;
	int peer;
	struct pv_buf trace;
	char reason[256];
	char text[512];         /* message of the last failed command */
	const char *destroy_at; /* the report in which the client is destroyed */
};

static void note(struct fixture *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void note(struct fixture *f, const char *fmt, ...)
{
	char word[128];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(word, sizeof word, fmt, ap);
	va_end(ap);
	pv_buf_addf(&f->trace, "%s%s", f->trace.len ? " " : "", word);
	if (f->destroy_at && strcmp(word, f->destroy_at) == 0) {
		pv_qmp_destroy(f->qmp);
		f->qmp = NULL;
	}
}

static void on_ready(void *arg, const char *version)
{
	note(arg, "ready:%s", version);
}

static void on_event(void *arg, const char *name, struct json_object *data)
{
	note(arg, "event:%s%s", name, data ? "+" : "");
}

static void on_closed(void *arg, enum pv_err err, const char *reason)
{
	struct fixture *f = arg;

	snprintf(f->reason, sizeof f->reason, "%s", reason);
	note(f, "closed:%d", (int)err);
}

static const struct pv_qmp_handler handler = { on_ready, on_event, on_closed };

static void on_reply(void *arg, enum pv_err err, struct json_object *ret, const struct pv_errmsg *msg)
{
	struct fixture *f = arg;

	assert_int_equal(ret != NULL, err == PV_OK);
	if (err)
		snprintf(f->text, sizeof f->text, "%.511s", msg->text);
	note(f, "%d", err ? (int)err : json_object_get_int(json_object_object_get(ret, "n")));
}

static int setup(void **state)
{
	struct fixture *f = PV_NEW(struct fixture);
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	f->base = event_base_new();
	f->peer = pair[0];
	f->qmp = pv_qmp_create(f->base, pair[1], &handler, f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	pv_qmp_destroy(f->qmp);
	close(f->peer);
	pv_buf_free(&f->trace);
	event_base_free(f->base);
	free(f);
	return 0;
}

/* Lets the client work until nothing more happens. */
static void settle(struct fixture *f)
{
	for (int i = 0; i < 20; i++)
		event_base_loop(f->base, EVLOOP_NONBLOCK);
}

static void say(struct fixture *f, const char *text)
{
	assert_int_equal(write(f->peer, text, strlen(text)), (ssize_t)strlen(text));
	settle(f);
}

static void check(struct fixture *f, const char *want)
{
	settle(f);
	assert_string_equal(pv_buf_str(&f->trace), want);
	pv_buf_clear(&f->trace);
}

/* What the client has sent since the last call. */
static const char *heard(struct fixture *f)
{
	static char text[8192];
	ssize_t n;

	settle(f);
	n = recv(f->peer, text, sizeof text - 1, MSG_DONTWAIT);
	text[n < 0 ? 0 : n] = '\0';
	return text;
}

static void greet(struct fixture *f)
{
	say(f, GREETING);
	assert_string_equal(heard(f), "{\"execute\":\"qmp_capabilities\",\"id\":1}\n");
	say(f, "{\"return\": {}, \"id\": 1}\r\n");
	check(f, "ready:7.2.22");
}

static void test_greeting__negotiates(void **state)
{
	struct fixture *f = *state;

	assert_string_equal(heard(f), "");
	greet(f);
}

/* Commands that come early wait for the negotiation. */
static void test_execute__before_ready(void **state)
{
	struct fixture *f = *state;

	pv_qmp_execute(f->qmp, "stop", NULL, 0, on_reply, f);
	assert_string_equal(heard(f), "");
	say(f, GREETING);
	assert_string_equal(heard(f), "{\"execute\":\"qmp_capabilities\",\"id\":2}\n");
	say(f, "{\"return\": {}, \"id\": 2}\r\n");
	assert_string_equal(heard(f), "{\"execute\":\"stop\",\"id\":1}\n");
	say(f, "{\"return\": {\"n\": 5}, \"id\": 1}\r\n");
	check(f, "ready:7.2.22 5");
}

static void test_execute__arguments(void **state)
{
	struct fixture *f = *state;
	struct json_object *args = json_object_new_object();

	greet(f);
	json_object_object_add(args, "path", json_object_new_string("/a\n\"b\""));
	pv_qmp_execute(f->qmp, "x", args, 0, NULL, NULL);
	assert_string_equal(heard(f), "{\"execute\":\"x\",\"arguments\":{\"path\":\"/a\\n\\\"b\\\"\"},\"id\":2}\n");
	say(f, "{\"return\": {}, \"id\": 2}\n");
	check(f, "");
}

static void test_execute__answers_out_of_order_and_events_between(void **state)
{
	struct fixture *f = *state;

	greet(f);
	pv_qmp_execute(f->qmp, "a", NULL, 0, on_reply, f);
	pv_qmp_execute(f->qmp, "b", NULL, 0, on_reply, f);
	say(f, "{\"event\": \"STOP\"}\r\n{\"return\": {\"n\": 33}, \"id\": 3}\r\n"
	       "{\"event\": \"RESET\", \"data\": {\"guest\": true}}\r\n{\"return\": {\"n\": 22}, \"id\": 2}\r\n");
	check(f, "event:STOP 33 event:RESET+ 22");
	/* answers to nothing */
	say(f, "{\"return\": {}, \"id\": 2}\n{\"return\": {}, \"id\": \"x\"}\n{\"return\": {}}\n\r\n");
	check(f, "");
}

static void test_execute__error(void **state)
{
	struct fixture *f = *state;
	char want[16];

	greet(f);
	pv_qmp_execute(f->qmp, "device_add", NULL, 0, on_reply, f);
	say(f, "{\"error\": {\"class\": \"GenericError\", \"desc\": \"Bus 'x' not found\"}, \"id\": 2}\r\n");
	snprintf(want, sizeof want, "%d", (int)PV_ERR_INVAL);
	check(f, want);
	assert_string_equal(f->text, "QEMU refused device_add: Bus 'x' not found");
	pv_qmp_execute(f->qmp, "device_add", NULL, 0, on_reply, f);
	say(f, "{\"error\": {\"desc\": null}, \"id\": 3}\r\n");
	check(f, want);
}

static void test_execute__timeout(void **state)
{
	struct fixture *f = *state;
	struct timeval tv = { 0, 150000 };
	char want[32];

	greet(f);
	pv_qmp_execute(f->qmp, "slow", NULL, 30, on_reply, f);
	pv_qmp_execute(f->qmp, "patient", NULL, 0, on_reply, f);
	event_base_loopexit(f->base, &tv);
	event_base_dispatch(f->base);
	snprintf(want, sizeof want, "%d", (int)PV_ERR_TIMEOUT);
	check(f, want);
	assert_string_equal(f->text, "QMP command slow was not answered in time");
	/* The late answer is nobody's; the connection goes on. */
	say(f, "{\"return\": {\"n\": 1}, \"id\": 2}\n{\"return\": {\"n\": 9}, \"id\": 3}\n");
	check(f, "9");
}

/* QEMU is going away and reads no more: no SIGPIPE, and what it still says is read. */
static void test_execute__nobody_reads(void **state)
{
	struct fixture *f = *state;

	greet(f);
	shutdown(f->peer, SHUT_RD);
	pv_qmp_execute(f->qmp, "x", NULL, 0, on_reply, f);
	check(f, "");
	say(f, "{\"event\": \"SHUTDOWN\"}\n");
	check(f, "event:SHUTDOWN");
}

static void test_lines__cut_anywhere(void **state)
{
	struct fixture *f = *state;
	static const char text[] = GREETING "{\"return\": {}, \"id\": 1}\r\n{\"event\": \"A\"}\n{\"event\": \"B\"}\r\n";

	for (size_t i = 0; i < sizeof text - 1; i++) {
		assert_int_equal(write(f->peer, text + i, 1), 1);
		event_base_loop(f->base, EVLOOP_NONBLOCK);
	}
	check(f, "ready:7.2.22 event:A event:B");
}

static void check_closed(struct fixture *f, const char *text, enum pv_err err, const char *reason)
{
	char want[64];

	pv_qmp_execute(f->qmp, "open", NULL, 0, on_reply, f);
	if (text)
		say(f, text);
	else
		shutdown(f->peer, SHUT_RDWR);
	snprintf(want, sizeof want, "%d closed:%d", (int)PV_ERR_LOST, (int)err);
	check(f, want);
	if (!strstr(f->reason, reason))
		fail_msg("'%s' lacks '%s'", f->reason, reason);
	assert_non_null(strstr(f->text, "QMP command open was not answered: "));
	/* Later commands get their answer from the loop, too. */
	pv_qmp_execute(f->qmp, "late", json_object_new_object(), 0, on_reply, f);
	assert_int_equal(f->trace.len, 0);
	snprintf(want, sizeof want, "%d", (int)PV_ERR_LOST);
	check(f, want);
}

static void test_closed__by_the_peer(void **state)
{
	greet(*state);
	check_closed(*state, NULL, PV_ERR_LOST, "closed the connection");
}

static void test_closed__garbage(void **state)
{
	greet(*state);
	check_closed(*state, "hello?\n", PV_ERR_PROTOCOL, "no JSON object");
}

static void test_closed__no_object(void **state)
{
	greet(*state);
	check_closed(*state, "[1, 2]\n", PV_ERR_PROTOCOL, "no JSON object");
}

static void test_closed__trailing_bytes(void **state)
{
	greet(*state);
	check_closed(*state, "{\"event\": \"A\"} x\n", PV_ERR_PROTOCOL, "no JSON object");
}

static void test_closed__nul_in_a_line(void **state)
{
	struct fixture *f = *state;
	static const char line[] = "{\"event\": \"A\"}\0x\n";
	char want[32];

	greet(f);
	assert_int_equal(write(f->peer, line, sizeof line - 1), sizeof line - 1);
	snprintf(want, sizeof want, "closed:%d", (int)PV_ERR_PROTOCOL);
	check(f, want);
}

static void test_closed__unknown_message(void **state)
{
	greet(*state);
	check_closed(*state, "{\"news\": 1}\n", PV_ERR_PROTOCOL, "neither answer nor event");
}

static void test_closed__event_without_name(void **state)
{
	greet(*state);
	check_closed(*state, "{\"event\": null}\n", PV_ERR_PROTOCOL, "without a name");
}

static void test_closed__deep_nesting(void **state)
{
	char line[4096];

	greet(*state);
	memset(line, '[', sizeof line);
	memcpy(line, "{\"event\":", 9);
	line[sizeof line - 2] = '\n';
	line[sizeof line - 1] = '\0';
	check_closed(*state, line, PV_ERR_PROTOCOL, "no JSON object");
}

static void test_closed__other_greeting(void **state)
{
	check_closed(*state, "{\"return\": {}}\n", PV_ERR_PROTOCOL, "did not greet");
}

static void test_closed__greeting_without_version(void **state)
{
	check_closed(*state, "{\"QMP\": {\"version\": 7}}\n", PV_ERR_PROTOCOL, "names no version");
}

static void test_closed__capabilities_refused(void **state)
{
	struct fixture *f = *state;
	char want[32];

	say(f, GREETING);
	say(f, "{\"error\": {\"desc\": \"no\"}, \"id\": 1}\n");
	snprintf(want, sizeof want, "closed:%d", (int)PV_ERR_PROTOCOL);
	check(f, want);
	assert_non_null(strstr(f->reason, "qmp_capabilities"));
}

/* A line that never ends costs 16 MiB and no more. */
static void test_closed__endless_line(void **state)
{
	struct fixture *f = *state;
	static char piece[64 << 10];
	size_t sent = 0;

	greet(f);
	memset(piece, ' ', sizeof piece);
	while (f->trace.len == 0 && sent < (64u << 20)) {
		ssize_t n = send(f->peer, piece, sizeof piece, MSG_DONTWAIT | MSG_NOSIGNAL);

		sent += n > 0 ? (size_t)n : 0;
		event_base_loop(f->base, EVLOOP_NONBLOCK);
	}
	assert_in_range(sent, 16u << 20, 17u << 20);
	assert_non_null(strstr(f->reason, "16 MiB"));
}

/* A long line within the bound is taken. */
static void test_lines__long(void **state)
{
	struct fixture *f = *state;
	size_t len = 8u << 20, at = 0;
	char *line = malloc(len);

	greet(f);
	memset(line, 'x', len);
	memcpy(line, "{\"event\": \"A\", \"data\": {\"text\": \"", 33);
	memcpy(line + len - 4, "\"}}\n", 4);
	while (at < len) {
		ssize_t n = send(f->peer, line + at, len - at, MSG_DONTWAIT);

		at += n > 0 ? (size_t)n : 0;
		event_base_loop(f->base, EVLOOP_NONBLOCK);
	}
	check(f, "event:A+");
	free(line);
}

/* Commands that are never answered do not pile up. */
static void test_execute__too_many(void **state)
{
	struct fixture *f = *state;
	char want[32];

	greet(f);
	for (int i = 0; i < 1025; i++)
		pv_qmp_execute(f->qmp, "x", NULL, 0, on_reply, f);
	snprintf(want, sizeof want, "%d", (int)PV_ERR_BUSY);
	check(f, want);
}

static void test_destroy__in_each_callback(void **state)
{
	char lost[16], closed[32];
	const char *const at[] = { "ready:7.2.22", "event:A+", "7", lost, closed };

	snprintf(lost, sizeof lost, "%d", (int)PV_ERR_LOST);
	snprintf(closed, sizeof closed, "closed:%d", (int)PV_ERR_LOST);
	for (size_t i = 0; i < sizeof at / sizeof at[0]; i++) {
		struct fixture *f = *state;

		f->destroy_at = at[i];
		pv_qmp_execute(f->qmp, "a", NULL, 0, on_reply, f);
		pv_qmp_execute(f->qmp, "b", NULL, 0, on_reply, f);
		assert_true(write(f->peer, GREETING, sizeof GREETING - 1) > 0);
		settle(f);
		say(f,
		    "{\"return\": {}, \"id\": 3}\n{\"event\": \"A\", \"data\": {}}\n{\"return\": {\"n\": 7}, \"id\": 1}\n"
		    "{\"event\": \"B\"}\n");
		shutdown(f->peer, SHUT_RDWR);
		settle(f);
		assert_null(f->qmp);
		/* The callback that destroyed it was the last. */
		assert_string_equal(pv_buf_str(&f->trace) + f->trace.len - strlen(f->destroy_at), f->destroy_at);
		teardown(state);
		setup(state);
	}
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_greeting__negotiates),
		CASE(test_execute__before_ready),
		CASE(test_execute__arguments),
		CASE(test_execute__answers_out_of_order_and_events_between),
		CASE(test_execute__error),
		CASE(test_execute__timeout),
		CASE(test_execute__too_many),
		CASE(test_execute__nobody_reads),
		CASE(test_lines__cut_anywhere),
		CASE(test_lines__long),
		CASE(test_closed__by_the_peer),
		CASE(test_closed__garbage),
		CASE(test_closed__no_object),
		CASE(test_closed__trailing_bytes),
		CASE(test_closed__nul_in_a_line),
		CASE(test_closed__unknown_message),
		CASE(test_closed__event_without_name),
		CASE(test_closed__deep_nesting),
		CASE(test_closed__other_greeting),
		CASE(test_closed__greeting_without_version),
		CASE(test_closed__capabilities_refused),
		CASE(test_closed__endless_line),
		CASE(test_destroy__in_each_callback),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
