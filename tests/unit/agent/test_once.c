/* What one runner has asked for and another asks again happens once: the channel is cut at every frame in turn, in both directions, also in the
 * middle of a frame, and the call that has no outcome yet is asked again from a new channel, as after kill -9 of the runner. */
#include <event2/event.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent_process.h"
#include "proto/agent_version.h"
#include "proto/frame.h"
#include "proto/mem.h"
#include "vmctl/agent.h"
#include "vmctl/agent_ids.h"
#include "vmctl/guest_ops.h"

#define CONTENT (PV_AGENT_DATA_MAX + 1000) /* two pieces */

struct once {
	struct event_base *base;
	char dir[64];
	pid_t pid;
	int agent_fd; /* the agent's own connection: a virtio port does not end with its host */
	struct pv_frame_reader from_agent;
	struct event *on_agent;

	/* the present runner */
	struct pv_agent *channel;
	int host_fd; /* our end of it; -1: cut */
	struct pv_frame_reader from_host;
	struct event *on_host;
	struct pv_guest_op *op;
	struct pv_guest_result result;
	char out[64];
	enum pv_err err;
	char text[256];
	bool ended;

	uint64_t ids;
	unsigned frames;
	unsigned cut_at;
	bool half;     /* the frame that is cut gets through in part */
	bool cut;      /* it has been */
	bool consumed; /* a program of the guest took the file away meanwhile */
};

/* ---- the wire ---- */

static void cut(struct once *o)
{
	o->cut = true;
	event_free(o->on_host);
	o->on_host = NULL;
	close(o->host_fd);
	o->host_fd = -1;
	event_base_loopbreak(o->base);
}

static void put(int fd, const uint8_t *data, size_t len)
{
	while (len > 0) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

		assert_true(n > 0);
		data += n;
		len -= (size_t)n;
	}
}

/* Passes whole frames on until the one that is cut. */
static void relay(struct once *o, struct pv_frame_reader *reader, int from, int to, bool to_agent)
{
	uint8_t piece[65536];
	struct pv_errmsg msg = { 0 };
	const uint8_t *payload;
	size_t len;
	ssize_t n = recv(from, piece, sizeof(piece), MSG_DONTWAIT);

	if (n <= 0)
		return;
	pv_frame_feed(reader, piece, (size_t)n);
	while (pv_frame_next(reader, &payload, &len, &msg) == PV_OK && payload != NULL) {
		struct pv_buf frame = { 0 };
		bool now = !o->cut && ++o->frames == o->cut_at;

		pv_frame_add(&frame, payload, len);
		if (to >= 0 && (!now || (o->half && to_agent)))
			put(to, frame.data, now ? frame.len / 2 : frame.len);
		pv_buf_free(&frame);
		if (now) {
			cut(o);
			return;
		}
	}
}

static void on_agent(evutil_socket_t fd, short what, void *arg)
{
	struct once *o = arg;

	(void)what;
	relay(o, &o->from_agent, fd, o->host_fd, false);
}

static void on_host(evutil_socket_t fd, short what, void *arg)
{
	struct once *o = arg;

	(void)what;
	relay(o, &o->from_host, fd, o->agent_fd, true);
}

/* ---- runners ---- */

static void on_ready(void *arg, const Pva__HelloReply *hello)
{
	(void)arg;
	(void)hello;
}

static void on_failed(void *arg, enum pv_err err, const struct pv_errmsg *msg)
{
	(void)arg;
	(void)err;
	(void)msg;
}

static void runner_start(struct once *o)
{
	static const struct pv_agent_handler handler = { on_ready, on_failed };
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	o->host_fd = ends[0];
	o->on_host = event_new(o->base, ends[0], EV_READ | EV_PERSIST, on_host, o);
	event_add(o->on_host, NULL);
	o->channel = pv_agent_create(o->base, ends[1], &handler, o);
	pv_agent_hello(o->channel, &(Pva__Hello)PVA__HELLO__INIT);
}

static void runner_end(struct once *o)
{
	pv_guest_op_settle(o->op);
	o->op = NULL;
	pv_agent_destroy(o->channel);
	pv_frame_reader_free(&o->from_host);
	if (o->on_host != NULL)
		event_free(o->on_host);
	if (o->host_fd >= 0)
		close(o->host_fd);
	o->on_host = NULL;
	o->host_fd = -1;
}

static void on_end(void *arg, struct pv_guest_op *op, enum pv_err err, const struct pv_guest_result *result,
                   int sys_errno, const struct pv_errmsg *msg)
{
	struct once *o = arg;

	(void)op;
	(void)sys_errno;
	if (o->cut && o->host_fd < 0)
		return; /* nobody is there any more */
	o->ended = true;
	o->err = err;
	snprintf(o->text, sizeof(o->text), "%.255s", msg->text);
	if (result != NULL) {
		o->result = *result;
		snprintf(o->out, sizeof(o->out), "%.*s", (int)result->out.len, (const char *)result->out.data);
	}
	event_base_loopbreak(o->base);
}

/* ---- the calls of the test, in their order ---- */

enum {
	RUN = 1,
	WRITE,
	SPAWN,
	READY,
	SIGNAL,
	INPUT,
	WAIT,
	RELEASE,
	WORKER,
	IN_WORKER,
	RELEASE_WORKER,
	TAIL,
	READ_TAIL,
	N
};

static uint64_t id_of(const struct once *o, int call)
{
	return pv_agent_ids_of(o->ids, (uint64_t)call, 0);
}

static struct pv_bytes bytes(const char *text)
{
	return (struct pv_bytes){ text, strlen(text) };
}

static struct pv_guest_op *sh(struct once *o, int call, uint64_t worker, const char *script)
{
	const struct pv_bytes argv[] = { bytes("/bin/sh"), bytes("-c"), bytes(script) };
	struct pv_guest_run run = {
		.argv = argv, .n_argv = 3, .cwd = bytes(o->dir), .id = id_of(o, call), .worker = worker
	};

	if (call == SPAWN)
		return pv_guest_spawn(o->channel, id_of(o, call), PV_GUEST_NO_WORKER, &run, on_end, o);
	return pv_guest_run(o->channel, &run, on_end, o);
}

static struct pv_guest_op *ask(struct once *o, int call)
{
	static char content[CONTENT];
	char path[128];

	switch (call) {
	case RUN:
		return sh(o, call, 0, "printf x >>run; exit 3");
	case WRITE:
		memset(content, 'w', sizeof(content));
		snprintf(path, sizeof(path), "%s/file", o->dir);
		return pv_guest_write_file(o->channel, id_of(o, call), bytes(path),
		                           (struct pv_bytes){ content, sizeof(content) }, 0644, on_end, o);
	case SPAWN:
		return sh(o, call, 0,
		          "printf x >>spawn; trap 'printf t >>signal' USR1; echo ready; while ! read -r line; do :; "
		          "done; printf %s \"$line\" >>input; exit 4");
	case READY:
		return pv_guest_read(o->channel, id_of(o, SPAWN), 1, 0, 6, on_end, o);
	case SIGNAL:
		return pv_guest_signal(o->channel, id_of(o, call), id_of(o, SPAWN), SIGUSR1, on_end, o);
	case INPUT:
		return pv_guest_stdin(o->channel, id_of(o, SPAWN), 0, bytes("abc\n"), true, on_end, o);
	case WAIT:
		return pv_guest_wait(o->channel, id_of(o, SPAWN), on_end, o);
	case RELEASE:
		return pv_guest_release(o->channel, id_of(o, SPAWN), on_end, o);
	case WORKER:
		return pv_guest_worker(o->channel, id_of(o, call), on_end, o);
	case IN_WORKER:
		return sh(o, call, id_of(o, WORKER), "printf x >>worker; exit 5");
	case RELEASE_WORKER:
		return pv_guest_release(o->channel, id_of(o, WORKER), on_end, o);
	case TAIL:
		snprintf(path, sizeof(path), "%s/input", o->dir);
		return pv_guest_tail(o->channel, id_of(o, call), bytes(path), PV_TAIL_FROM_BEGINNING, 0, on_end, o);
	default:
		return pv_guest_read(o->channel, id_of(o, TAIL), 0, 0, 100, on_end, o);
	}
}

static void check_outcome(const struct once *o, int call)
{
	static const int codes[N] = { [RUN] = 3, [WAIT] = 4, [IN_WORKER] = 5 };

	if (o->err != PV_OK)
		fail_msg("call %d, cut at frame %u%s: %s", call, o->cut_at, o->half ? " (half of it)" : "", o->text);
	if (codes[call] != 0)
		assert_int_equal(o->result.exit_code, codes[call]);
	if (call == READY)
		assert_string_equal(o->out, "ready\n");
	if (call == READ_TAIL)
		assert_string_equal(o->out, "abc");
}

static long size_of(const struct once *o, const char *name)
{
	char path[128];
	FILE *file;
	long size;

	snprintf(path, sizeof(path), "%s/%s", o->dir, name);
	file = fopen(path, "r");
	if (file == NULL)
		return -1;
	fseek(file, 0, SEEK_END);
	size = ftell(file);
	fclose(file);
	return size;
}

/* Between the two runners: what was written whole is taken by a program of the guest, and must not come again. */
static void meanwhile(struct once *o, int call)
{
	char path[128];

	if (call != WRITE || size_of(o, "file") != (long)CONTENT)
		return;
	snprintf(path, sizeof(path), "%s/file", o->dir);
	assert_int_equal(unlink(path), 0);
	o->consumed = true;
}

static void give_up(evutil_socket_t fd, short what, void *arg)
{
	const struct once *o = arg;

	(void)fd;
	(void)what;
	fail_msg("nothing happened for half a minute; cut at frame %u", o->cut_at);
}

/* Asks for one call until its outcome is there. */
static void carry_out(struct once *o, int call)
{
	struct timeval patience = { .tv_sec = 30 };
	struct event *timer = evtimer_new(o->base, give_up, o);

	evtimer_add(timer, &patience);
	o->ended = false;
	o->op = ask(o, call);
	while (!o->ended) {
		event_base_dispatch(o->base);
		if (o->host_fd >= 0)
			continue;
		runner_end(o);
		meanwhile(o, call);
		runner_start(o);
		o->ended = false;
		o->op = ask(o, call);
	}
	check_outcome(o, call);
	pv_guest_op_settle(o->op);
	o->op = NULL;
	event_free(timer);
}

static void check_side_effects(const struct once *o)
{
	assert_int_equal(size_of(o, "run"), 1);
	assert_int_equal(size_of(o, "spawn"), 1);
	assert_int_equal(size_of(o, "signal"), 1);
	assert_int_equal(size_of(o, "input"), 3);
	assert_int_equal(size_of(o, "worker"), 1);
	assert_int_equal(size_of(o, "file"), o->consumed ? -1 : (long)CONTENT);
}

static void clean_up(const struct once *o)
{
	static const char *const names[] = { "run", "file", "spawn", "signal", "input", "worker" };
	char path[128];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", o->dir, names[i]);
		unlink(path);
	}
	assert_int_equal(rmdir(o->dir), 0);
}

/* False if all was over before frame `cut_at`. */
static bool all_calls(unsigned cut_at, bool half, bool *consumed)
{
	struct once o = { .cut_at = cut_at, .half = half, .ids = pv_agent_ids_base("20260102-030405-abcd") };

	strcpy(o.dir, "/tmp/test_once.XXXXXX");
	assert_non_null(mkdtemp(o.dir));
	o.base = event_base_new();
	o.agent_fd = agent_process_start(&o.pid);
	o.on_agent = event_new(o.base, o.agent_fd, EV_READ | EV_PERSIST, on_agent, &o);
	event_add(o.on_agent, NULL);
	runner_start(&o);
	for (int call = RUN; call < N; call++)
		carry_out(&o, call);
	check_side_effects(&o);
	runner_end(&o);
	event_free(o.on_agent);
	close(o.agent_fd);
	agent_process_wait(o.pid);
	pv_frame_reader_free(&o.from_agent);
	event_base_free(o.base);
	clean_up(&o);
	*consumed |= o.consumed;
	return o.cut;
}

static void sweep(bool half)
{
	bool consumed = false;
	unsigned cut_at = 1;

	while (all_calls(cut_at, half, &consumed))
		cut_at++;
	assert_true(cut_at > 2 * N);
	assert_true(half || consumed);
}

static void test_once__whole_frames(void **state)
{
	(void)state;
	sweep(false);
}

static void test_once__halves_of_frames(void **state)
{
	(void)state;
	sweep(true);
}

static void test_ids__of_a_run(void **state)
{
	uint64_t base = pv_agent_ids_base("20260102-030405-abcd");

	(void)state;
	assert_true(base >> 61 == 2);
	assert_true(base == pv_agent_ids_base("20260102-030405-abcd"));
	assert_true(base != pv_agent_ids_base("20260102-030405-abce"));
	assert_true(pv_agent_ids_of(base, 1, 0) == base + 16);
	assert_true(pv_agent_ids_of(base, (1ull << 57) - 1, 15) > base);
	/* The bytes are those of `printf 'provium agent ids20260102-030405-abcd' | sha256sum`. */
	assert_true((base & ((1ull << 61) - 1)) == 0xaeefb94b1b2f124dull >> 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ids__of_a_run),
		cmocka_unit_test(test_once__whole_frames),
		cmocka_unit_test(test_once__halves_of_frames),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
