/* The real agent, spoken to in raw frames: what it owes to a host that lost the channel, and what it does with a host that
 * does not keep to the protocol. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent_process.h"
#include "proto/agent.pb-c.h"
#include "proto/agent_version.h"
#include "proto/frame.h"

struct raw {
	int fd;
	pid_t pid;
	struct pv_frame_reader reader;
	Pva__ToHost *last;
	char counter[64]; /* a file that grows with each execution */
	int init_fd;      /* of a held agent: where its init would wait; else -1 */
};

static int setup_counter(void **state, struct raw *r)
{
	int fd;

	strcpy(r->counter, "/tmp/test_agent_protocol.XXXXXX");
	fd = mkstemp(r->counter);
	assert_true(fd >= 0);
	close(fd);
	*state = r;
	return 0;
}

static int setup(void **state)
{
	struct raw *r = PV_NEW(struct raw);

	r->init_fd = -1;
	r->fd = agent_process_start(&r->pid);
	return setup_counter(state, r);
}

static int setup_packets(void **state)
{
	struct raw *r = PV_NEW(struct raw);

	r->init_fd = -1;
	r->fd = agent_process_start_packets(&r->pid);
	return setup_counter(state, r);
}

static int setup_held(void **state)
{
	struct raw *r = PV_NEW(struct raw);

	r->fd = agent_process_start_held(&r->pid, &r->init_fd);
	return setup_counter(state, r);
}

static int teardown(void **state)
{
	struct raw *r = *state;

	close(r->fd);
	if (r->init_fd >= 0)
		close(r->init_fd);
	agent_process_wait(r->pid);
	pv_frame_reader_free(&r->reader);
	if (r->last != NULL)
		pva__to_host__free_unpacked(r->last, NULL);
	unlink(r->counter);
	free(r);
	return 0;
}

static void make_frame(struct pv_buf *out, const Pva__ToGuest *message)
{
	uint8_t *payload = pv_xmalloc(pva__to_guest__get_packed_size(message));

	pv_frame_add(out, payload, pva__to_guest__pack(message, payload));
	free(payload);
}

static void send_bytes(struct raw *r, const void *data, size_t len)
{
	assert_int_equal(send(r->fd, data, len, MSG_NOSIGNAL), len);
}

static void send_message(struct raw *r, const Pva__ToGuest *message)
{
	struct pv_buf frame = { 0 };

	make_frame(&frame, message);
	send_bytes(r, frame.data, frame.len);
	pv_buf_free(&frame);
}

/* The next message of the agent, or NULL if there is none for `patience_ms`. */
static Pva__ToHost *receive(struct raw *r, int patience_ms)
{
	uint8_t piece[4096];
	const uint8_t *payload;
	size_t len;

	if (r->last != NULL)
		pva__to_host__free_unpacked(r->last, NULL);
	r->last = NULL;
	for (;;) {
		ssize_t n;

		assert_int_equal(pv_frame_next(&r->reader, &payload, &len, NULL), PV_OK);
		if (payload != NULL)
			break;
		if (poll(&(struct pollfd){ .fd = r->fd, .events = POLLIN }, 1, patience_ms) != 1)
			return NULL;
		n = recv(r->fd, piece, sizeof(piece), 0);
		assert_true(n > 0);
		pv_frame_feed(&r->reader, piece, (size_t)n);
	}
	r->last = pva__to_host__unpack(NULL, len, payload);
	assert_non_null(r->last);
	return r->last;
}

static Pva__ToHost *expect(struct raw *r, uint64_t id, Pva__ToHost__BodyCase body)
{
	Pva__ToHost *message = receive(r, 10000);

	assert_non_null(message);
	assert_int_equal(message->id, id);
	assert_int_equal(message->body_case, body);
	return message;
}

static void expect_silence(struct raw *r)
{
	assert_null(receive(r, 100));
}

static Pva__ToGuest *hello_message(uint32_t protocol)
{
	static Pva__ToGuest message;
	static Pva__Hello hello;

	pva__to_guest__init(&message);
	pva__hello__init(&hello);
	hello.has_protocol = 1;
	hello.protocol = protocol;
	message.body_case = PVA__TO_GUEST__BODY_HELLO;
	message.hello = &hello;
	return &message;
}

static void greet(struct raw *r)
{
	send_message(r, hello_message(PV_AGENT_PROTOCOL));
	assert_int_equal(expect(r, 0, PVA__TO_HOST__BODY_HELLO)->hello->protocol, PV_AGENT_PROTOCOL);
}

/* A shell that writes one line to the counter file, then runs `more`, then prints the number of lines. */
static void exec_counting(struct raw *r, uint64_t id, const char *more)
{
	Pva__ToGuest message = PVA__TO_GUEST__INIT;
	Pva__Exec exec = PVA__EXEC__INIT;
	ProtobufCBinaryData argv[3];
	char script[256];

	snprintf(script, sizeof(script), "echo x >> %s; %s; wc -l < %s", r->counter, more, r->counter);
	argv[0] = (ProtobufCBinaryData){ 7, (uint8_t *)(uintptr_t) "/bin/sh" };
	argv[1] = (ProtobufCBinaryData){ 2, (uint8_t *)(uintptr_t) "-c" };
	argv[2] = (ProtobufCBinaryData){ strlen(script), (uint8_t *)script };
	exec.argv = argv;
	exec.n_argv = 3;
	message.has_id = 1;
	message.id = id;
	message.body_case = PVA__TO_GUEST__BODY_EXEC;
	message.exec = &exec;
	send_message(r, &message);
}

static void acknowledge(struct raw *r, uint64_t id)
{
	Pva__ToGuest message = PVA__TO_GUEST__INIT;

	message.acks = &id;
	message.n_acks = 1;
	send_message(r, &message);
}

static void expect_count(struct raw *r, uint64_t id, char digit)
{
	Pva__ToHost *message = expect(r, id, PVA__TO_HOST__BODY_EXEC);

	assert_int_equal(message->exec->status, PVA__EXEC_STATUS__EXEC_STATUS_EXITED);
	assert_int_equal(message->exec->stdout_head.len, 2);
	assert_int_equal(message->exec->stdout_head.data[0], digit);
}

/* ---- exactly once ---- */

static void test_once__repeat_after_the_end(void **state)
{
	struct raw *r = *state;

	greet(r);
	exec_counting(r, 5, "true");
	expect_count(r, 5, '1');
	exec_counting(r, 5, "true");
	expect_count(r, 5, '1');
	exec_counting(r, 6, "true");
	expect_count(r, 6, '2');
}

static void test_once__repeat_while_at_work(void **state)
{
	struct raw *r = *state;

	greet(r);
	exec_counting(r, 5, "sleep 0.3");
	exec_counting(r, 5, "sleep 0.3");
	expect_count(r, 5, '1');
	expect_silence(r);
}

/* A host that was killed and came back: the answer that it never read is there for the next Hello. */
static void test_once__repeat_after_new_hello(void **state)
{
	struct raw *r = *state;

	greet(r);
	exec_counting(r, 5, "sleep 0.2");
	greet(r);
	exec_counting(r, 5, "sleep 0.2");
	expect_count(r, 5, '1');
}

static void test_once__error_is_kept_too(void **state)
{
	struct raw *r = *state;
	Pva__ToGuest message = PVA__TO_GUEST__INIT;
	Pva__ReadFile read = PVA__READ_FILE__INIT;

	greet(r);
	read.has_path = 1;
	read.path = (ProtobufCBinaryData){ strlen(r->counter), (uint8_t *)r->counter };
	read.has_max = 1;
	read.max = 100;
	message.has_id = 1;
	message.id = 9;
	message.body_case = PVA__TO_GUEST__BODY_READ_FILE;
	message.read_file = &read;
	assert_int_equal(unlink(r->counter), 0);
	send_message(r, &message);
	assert_int_equal(expect(r, 9, PVA__TO_HOST__BODY_ERROR)->error->sys_errno, ENOENT);
	exec_counting(r, 10, "true");
	expect_count(r, 10, '1');
	send_message(r, &message);
	assert_int_equal(expect(r, 9, PVA__TO_HOST__BODY_ERROR)->error->sys_errno, ENOENT);
}

/* What is acknowledged is forgotten: the memory of the agent is bounded by what is open. */
static void test_ack__forgets(void **state)
{
	struct raw *r = *state;

	greet(r);
	exec_counting(r, 5, "true");
	expect_count(r, 5, '1');
	acknowledge(r, 5);
	exec_counting(r, 5, "true");
	expect_count(r, 5, '2');
	acknowledge(r, 4711);
	acknowledge(r, 5);
	acknowledge(r, 5);
	exec_counting(r, 6, "true");
	expect_count(r, 6, '3');
}

/* An acknowledgement of something at work comes from a confused host; the answer still comes. */
static void test_ack__too_early(void **state)
{
	struct raw *r = *state;

	greet(r);
	exec_counting(r, 5, "sleep 0.2");
	acknowledge(r, 5);
	expect_count(r, 5, '1');
}

/* ---- hello ---- */

/* A request that was still in the socket when the guest was reset must not run in the new boot. */
static void test_hello__nothing_is_served_before(void **state)
{
	struct raw *r = *state;

	exec_counting(r, 5, "true");
	expect_silence(r);
	greet(r);
	exec_counting(r, 6, "true");
	expect_count(r, 6, '1');
}

static void test_hello__other_version_is_told_ours_and_not_served(void **state)
{
	struct raw *r = *state;

	send_message(r, hello_message(PV_AGENT_PROTOCOL + 1));
	assert_int_equal(expect(r, 0, PVA__TO_HOST__BODY_HELLO)->hello->protocol, PV_AGENT_PROTOCOL);
	exec_counting(r, 5, "true");
	expect_silence(r);
}

/* A host that was killed while it wrote: its half frame swallows what follows, but not a Hello. At every cut of a small
 * frame, and in the middle of a large one. */
static void test_hello__after_half_a_frame(void **state)
{
	struct raw *r = *state;
	struct pv_buf small = { 0 }, large = { 0 };
	uint8_t *payload = calloc(1, PV_FRAME_MAX);

	memset(payload, 'P', PV_FRAME_MAX);
	pv_frame_add(&small, payload, 300);
	pv_frame_add(&large, payload, PV_FRAME_MAX);
	for (size_t cut = 1; cut < small.len; cut += 7) {
		send_bytes(r, small.data, cut);
		greet(r);
	}
	send_bytes(r, large.data, 100000);
	greet(r);
	exec_counting(r, 5, "true");
	expect_count(r, 5, '1');
	pv_buf_free(&small);
	pv_buf_free(&large);
	free(payload);
}

static void stop_agent(struct raw *r)
{
	int status;

	assert_int_equal(kill(r->pid, SIGSTOP), 0);
	assert_int_equal(waitpid(r->pid, &status, WUNTRACED), r->pid);
	assert_true(WIFSTOPPED(status));
}

/* The same at every number of reads that it takes to come to the Hello: the agent stops reading in between, and nothing would wake it up at the
 * end. */
static void test_hello__after_half_a_frame_in_pieces(void **state)
{
	struct raw *r = *state;
	struct pv_buf large = { 0 };
	uint8_t *payload = calloc(1, PV_FRAME_MAX);

	pv_frame_add(&large, payload, PV_FRAME_MAX);
	for (size_t pieces = 1; pieces <= 200; pieces++) {
		stop_agent(r);
		for (size_t i = 0; i < pieces; i++)
			send_bytes(r, large.data + 20 * i, 20);
		send_message(r, hello_message(PV_AGENT_PROTOCOL));
		kill(r->pid, SIGCONT);
		expect(r, 0, PVA__TO_HOST__BODY_HELLO);
	}
	pv_buf_free(&large);
	free(payload);
}

/* ---- a host that does not keep to the protocol ---- */

static void test_bad__noise_and_damage(void **state)
{
	struct raw *r = *state;
	struct pv_buf frame = { 0 };
	uint32_t x = 12345;

	greet(r);
	for (int round = 0; round < 15; round++) {
		pv_buf_clear(&frame);
		make_frame(&frame, hello_message(PV_AGENT_PROTOCOL));
		x = x * 1664525 + 1013904223;
		frame.data[(x >> 8) % frame.len] ^= (uint8_t)(1u << (x >> 29));
		send_bytes(r, frame.data, frame.len);
	}
	pv_buf_clear(&frame);
	pv_frame_add(&frame, "\xff\xff\xff", 3); /* a good frame around what is no message */
	send_bytes(r, frame.data, frame.len);
	greet(r);
	exec_counting(r, 5, "true");
	expect_count(r, 5, '1');
	pv_buf_free(&frame);
}

static void test_bad__unknown_request(void **state)
{
	struct raw *r = *state;
	Pva__ToGuest message = PVA__TO_GUEST__INIT;

	greet(r);
	message.has_id = 1;
	message.id = 3;
	send_message(r, &message);
	assert_int_equal(expect(r, 3, PVA__TO_HOST__BODY_ERROR)->error->sys_errno, ENOSYS);
}

static void test_bad__about_unknown_command(void **state)
{
	struct raw *r = *state;
	Pva__ToGuest message = PVA__TO_GUEST__INIT;
	Pva__WriteStdin write = PVA__WRITE_STDIN__INIT;
	Pva__ReadOutput read = PVA__READ_OUTPUT__INIT;

	greet(r);
	message.has_id = 1;
	message.id = 3;
	message.body_case = PVA__TO_GUEST__BODY_WRITE_STDIN;
	message.write_stdin = &write;
	send_message(r, &message);
	assert_int_equal(expect(r, 3, PVA__TO_HOST__BODY_ERROR)->error->sys_errno, ESRCH);
	message.id = 4;
	message.body_case = PVA__TO_GUEST__BODY_READ_OUTPUT;
	message.read_output = &read;
	send_message(r, &message);
	assert_int_equal(expect(r, 4, PVA__TO_HOST__BODY_ERROR)->error->sys_errno, ESRCH);
	exec_counting(r, 5, "true");
	expect_count(r, 5, '1');
	read.has_exec = 1;
	read.exec = 5;
	read.has_fd = 1;
	read.has_max = 1;
	read.max = 10;
	for (uint32_t fd = 0; fd < 4; fd++) {
		message.id = 10 + fd;
		read.fd = fd;
		read.has_offset = 1;
		read.offset = UINT64_MAX;
		send_message(r, &message);
		assert_int_equal(expect(r, 10 + fd, PVA__TO_HOST__BODY_ERROR)->error->sys_errno, EINVAL);
	}
}

static void test_bad__exec_without_arguments(void **state)
{
	struct raw *r = *state;
	Pva__ToGuest message = PVA__TO_GUEST__INIT;
	Pva__Exec exec = PVA__EXEC__INIT;

	greet(r);
	message.has_id = 1;
	message.id = 3;
	message.body_case = PVA__TO_GUEST__BODY_EXEC;
	message.exec = &exec;
	send_message(r, &message);
	assert_int_equal(expect(r, 3, PVA__TO_HOST__BODY_ERROR)->error->sys_errno, EINVAL);
}

/* ---- objects ---- */

static void send_body(struct raw *r, uint64_t id, Pva__ToGuest *message)
{
	message->has_id = 1;
	message->id = id;
	send_message(r, message);
}

static void spawn(struct raw *r, uint64_t id, uint64_t worker, const char *script)
{
	Pva__ToGuest message = PVA__TO_GUEST__INIT;
	Pva__Exec exec = PVA__EXEC__INIT;
	ProtobufCBinaryData argv[3] = {
		{ 7, (uint8_t *)(uintptr_t) "/bin/sh" },
		{ 2, (uint8_t *)(uintptr_t) "-c" },
		{ strlen(script), (uint8_t *)(uintptr_t)script },
	};

	exec.argv = argv;
	exec.n_argv = 3;
	message.has_worker = worker != 0;
	message.worker = worker;
	message.body_case = PVA__TO_GUEST__BODY_SPAWN;
	message.spawn = &exec;
	send_body(r, id, &message);
}

static void start_worker(struct raw *r, uint64_t id, uint64_t worker)
{
	Pva__ToGuest message = PVA__TO_GUEST__INIT;
	Pva__WorkerStart start = PVA__WORKER_START__INIT;

	message.has_worker = worker != 0;
	message.worker = worker;
	message.body_case = PVA__TO_GUEST__BODY_WORKER_START;
	message.worker_start = &start;
	send_body(r, id, &message);
}

static void wait_exit(struct raw *r, uint64_t id, uint64_t process)
{
	Pva__ToGuest message = PVA__TO_GUEST__INIT;
	Pva__WaitExit wait = PVA__WAIT_EXIT__INIT;

	wait.has_process = 1;
	wait.process = process;
	message.body_case = PVA__TO_GUEST__BODY_WAIT_EXIT;
	message.wait_exit = &wait;
	send_body(r, id, &message);
}

static void read_stream(struct raw *r, uint64_t id, uint64_t object, uint32_t fd, uint64_t offset, uint32_t max)
{
	Pva__ToGuest message = PVA__TO_GUEST__INIT;
	Pva__ReadStream read = PVA__READ_STREAM__INIT;

	read.has_object = read.has_fd = read.has_offset = read.has_max = 1;
	read.object = object;
	read.fd = fd;
	read.offset = offset;
	read.max = max;
	message.body_case = PVA__TO_GUEST__BODY_READ_STREAM;
	message.read_stream = &read;
	send_body(r, id, &message);
}

static void cancel(struct raw *r, uint64_t id, uint64_t request)
{
	Pva__ToGuest message = PVA__TO_GUEST__INIT;
	Pva__CancelPoll poll_end = PVA__CANCEL_POLL__INIT;

	poll_end.has_request = 1;
	poll_end.request = request;
	message.body_case = PVA__TO_GUEST__BODY_CANCEL_POLL;
	message.cancel_poll = &poll_end;
	send_body(r, id, &message);
}

static void expect_error(struct raw *r, uint64_t id, int sys_errno)
{
	assert_int_equal(expect(r, id, PVA__TO_HOST__BODY_ERROR)->error->sys_errno, sys_errno);
}

/* A poll is answered once, or canceled; to cancel what is answered, unknown, or no poll changes nothing. */
static void test_poll__cancel(void **state)
{
	struct raw *r = *state;

	greet(r);
	start_worker(r, 2, 0);
	expect(r, 2, PVA__TO_HOST__BODY_SPAWNED);
	for (uint64_t worker = 0; worker <= 2; worker += 2) {
		uint64_t base = 100 + worker * 100;

		spawn(r, base, worker, "echo x; exec sleep 1000");
		expect(r, base, PVA__TO_HOST__BODY_SPAWNED);
		wait_exit(r, base + 1, base);
		cancel(r, base + 2, base + 1);
		expect_error(r, base + 1, ECANCELED);
		expect(r, base + 2, PVA__TO_HOST__BODY_DONE);
		read_stream(r, base + 3, base, 1, 0, 10);
		expect(r, base + 3, PVA__TO_HOST__BODY_DATA);
		for (uint64_t i = 0; i < 5; i++) {
			cancel(r, base + 10 + i, base + i);
			expect(r, base + 10 + i, PVA__TO_HOST__BODY_DONE);
		}
	}
	expect_silence(r);
}

/* The poll of a host that is gone is not answered to the next one, which may ask under the same id. */
static void test_poll__dropped_by_hello(void **state)
{
	struct raw *r = *state;
	char script[256];

	greet(r);
	start_worker(r, 2, 0);
	expect(r, 2, PVA__TO_HOST__BODY_SPAWNED);
	snprintf(script, sizeof(script), "while ! [ -s %s ]; do sleep 0.02; done; echo x", r->counter);
	for (uint64_t worker = 0; worker <= 2; worker += 2) {
		spawn(r, 10 + worker, worker, script);
		expect(r, 10 + worker, PVA__TO_HOST__BODY_SPAWNED);
		wait_exit(r, 20 + worker, 10 + worker);
		read_stream(r, 30 + worker, 10 + worker, 1, 0, 10);
	}
	greet(r);
	exec_counting(r, 5, "true");
	expect_count(r, 5, '1');
	expect_silence(r);
	for (uint64_t worker = 0; worker <= 2; worker += 2) {
		wait_exit(r, 20 + worker, 10 + worker);
		expect(r, 20 + worker, PVA__TO_HOST__BODY_EXEC);
		/* Known although acknowledged. */
		acknowledge(r, 10 + worker);
		spawn(r, 10 + worker, worker, script);
		expect(r, 10 + worker, PVA__TO_HOST__BODY_SPAWNED);
	}
}

/* Files are read in the context of the worker, and the answer is kept by the agent. */
static void test_worker__reads_files(void **state)
{
	struct raw *r = *state;
	Pva__ToGuest message = PVA__TO_GUEST__INIT;
	Pva__ReadFile read = PVA__READ_FILE__INIT;
	char path[] = "/proc/self/stat", text[32] = "";
	Pva__ToHost *answer;
	int pid;

	greet(r);
	start_worker(r, 3, 0);
	pid = expect(r, 3, PVA__TO_HOST__BODY_SPAWNED)->spawned->pid;
	read.has_path = read.has_max = 1;
	read.path = (ProtobufCBinaryData){ strlen(path), (uint8_t *)path };
	read.max = 1000;
	message.has_worker = 1;
	message.worker = 3;
	message.body_case = PVA__TO_GUEST__BODY_READ_FILE;
	message.read_file = &read;
	for (int i = 0; i < 2; i++) {
		send_body(r, 4, &message);
		answer = expect(r, 4, PVA__TO_HOST__BODY_DATA);
		assert_true(answer->data->data.len > sizeof(text));
		memcpy(text, answer->data->data.data, sizeof(text) - 1);
		assert_int_equal(atoi(text), pid);
	}
}

static void test_bad__order_of_objects(void **state)
{
	struct raw *r = *state;
	Pva__ToGuest message = PVA__TO_GUEST__INIT;
	Pva__Release release = PVA__RELEASE__INIT;
	Pva__TailOpen tail = PVA__TAIL_OPEN__INIT;

	greet(r);
	wait_exit(r, 1, 1); /* about itself */
	expect_error(r, 1, ESRCH);
	start_worker(r, 2, 2); /* in itself */
	expect_error(r, 2, ESRCH);
	start_worker(r, 3, 0);
	expect(r, 3, PVA__TO_HOST__BODY_SPAWNED);
	start_worker(r, 4, 3); /* a worker of a worker */
	expect_error(r, 4, EINVAL);
	spawn(r, 5, 0, "exit 1");
	expect(r, 5, PVA__TO_HOST__BODY_SPAWNED);
	spawn(r, 6, 5, "exit 1"); /* in a process */
	expect_error(r, 6, ESRCH);
	wait_exit(r, 7, 3); /* for a worker */
	expect_error(r, 7, ESRCH);
	read_stream(r, 8, 3, 1, 0, 10);
	expect_error(r, 8, EINVAL);
	acknowledge(r, 5);
	start_worker(r, 5, 0); /* the id of a process */
	expect_error(r, 5, EINVAL);
	for (uint32_t fd = 0; fd < 5; fd++) {
		read_stream(r, 20 + fd, 5, fd, UINT64_MAX, fd == 1 ? 0 : 10);
		expect_error(r, 20 + fd, EINVAL);
	}
	message.body_case = PVA__TO_GUEST__BODY_TAIL_OPEN;
	message.tail_open = &tail;
	send_body(r, 30, &message);
	expect_error(r, 30, ENOENT);
	message.body_case = PVA__TO_GUEST__BODY_RELEASE;
	message.release = &release;
	release.has_object = 1;
	release.object = 3;
	/* A request that goes to the worker, its end, and requests after it, in one go. */
	spawn(r, 40, 3, "exec sleep 1000");
	wait_exit(r, 41, 40);
	send_body(r, 42, &message);
	send_body(r, 43, &message);
	spawn(r, 44, 3, "true");
	for (int i = 0; i < 5; i++) {
		Pva__ToHost *answer = receive(r, 10000);

		assert_non_null(answer);
		assert_in_range(answer->id, 40, 44);
		if (answer->id == 41 || answer->id == 44)
			assert_string_equal(answer->error->message, "worker is closed");
	}
	exec_counting(r, 50, "true");
	expect_count(r, 50, '1');
}

/* ---- init waits ---- */

static void greet_with(struct raw *r, bool hold, bool restored)
{
	Pva__ToGuest *message = hello_message(PV_AGENT_PROTOCOL);

	message->hello->has_hold = hold;
	message->hello->hold = hold;
	message->hello->has_restored = restored;
	message->hello->restored = restored;
	send_message(r, message);
}

static void expect_held(struct raw *r, bool held)
{
	const Pva__HelloReply *reply = expect(r, 0, PVA__TO_HOST__BODY_HELLO)->hello;

	assert_int_equal(reply->held, held);
	if (held)
		assert_null(reply->boot_id); /* all clones of a snapshot would have the same */
	else
		assert_int_equal(strlen(reply->boot_id), 36);
}

static void expect_init(struct raw *r, bool starts)
{
	struct pollfd fd = { .fd = r->init_fd, .events = POLLIN };
	char byte;

	assert_int_equal(poll(&fd, 1, starts ? 10000 : 100), starts ? 1 : 0);
	if (starts)
		assert_int_equal(read(r->init_fd, &byte, 1), 1);
}

static void test_hold__until_a_hello_without(void **state)
{
	struct raw *r = *state;

	expect_init(r, false); /* nobody has said anything */
	for (int i = 0; i < 3; i++) {
		greet_with(r, true, i == 1);
		expect_held(r, true);
		exec_counting(r, (uint64_t)(5 + i), "true");
		expect_count(r, (uint64_t)(5 + i), (char)('1' + i));
	}
	expect_init(r, false);
	greet_with(r, false, false);
	expect_held(r, false);
	expect_init(r, true);
	/* It is too late for another. */
	greet_with(r, true, false);
	expect_held(r, false);
}

static void test_hold__first_hello_without(void **state)
{
	struct raw *r = *state;

	greet_with(r, false, true);
	expect_held(r, false);
	expect_init(r, true);
}

/* Whoever does not know how to hold does not want to. */
static void test_hold__hello_of_another_version(void **state)
{
	struct raw *r = *state;

	send_message(r, hello_message(PV_AGENT_PROTOCOL + 1));
	expect(r, 0, PVA__TO_HOST__BODY_HELLO);
	expect_init(r, true);
}

/* What the agent starts must not keep the pipe: the end of the agent would not let init start. */
static void test_hold__nobody_else_has_the_pipe(void **state)
{
	struct raw *r = *state;
	pid_t sleeper;
	char byte;
	int status;

	greet_with(r, true, false);
	expect_held(r, true);
	start_worker(r, 3, 0);
	expect(r, 3, PVA__TO_HOST__BODY_SPAWNED);
	spawn(r, 4, 0, "exec sleep 1000");
	sleeper = expect(r, 4, PVA__TO_HOST__BODY_SPAWNED)->spawned->pid;
	assert_int_equal(kill(r->pid, SIGKILL), 0);
	assert_int_equal(waitpid(r->pid, &status, 0), r->pid);
	assert_int_equal(poll(&(struct pollfd){ .fd = r->init_fd, .events = POLLIN }, 1, 10000), 1);
	assert_int_equal(read(r->init_fd, &byte, 1), 0);
	assert_int_equal(kill(sleeper, SIGKILL), 0);
	close(r->fd);
	r->fd = agent_process_start(&r->pid); /* for the teardown */
}

/* ---- from a snapshot ---- */

static void wait_for_file(const char *path, const char *content)
{
	char text[64];

	for (int i = 0; i < 1000; i++) {
		FILE *file = fopen(path, "re");
		size_t n = file != NULL ? fread(text, 1, sizeof(text) - 1, file) : 0;

		if (file != NULL)
			fclose(file);
		text[n] = '\0';
		if (strstr(text, content) != NULL)
			return;
		usleep(10000);
	}
	fail_msg("%s does not become \"%s\"", path, content);
}

/* Ids, results, processes, tails and workers were another host's. */
static void test_restored__everything_is_forgotten(void **state)
{
	struct raw *r = *state;
	Pva__ToGuest message = PVA__TO_GUEST__INIT;
	Pva__TailOpen tail = PVA__TAIL_OPEN__INIT;
	pid_t worker;

	greet(r);
	exec_counting(r, 5, "true");
	expect_count(r, 5, '1');
	start_worker(r, 6, 0);
	worker = expect(r, 6, PVA__TO_HOST__BODY_SPAWNED)->spawned->pid;
	spawn(r, 7, 6, "exec sleep 0.1");
	expect(r, 7, PVA__TO_HOST__BODY_SPAWNED);
	tail.has_path = 1;
	tail.path = (ProtobufCBinaryData){ strlen(r->counter), (uint8_t *)r->counter };
	message.body_case = PVA__TO_GUEST__BODY_TAIL_OPEN;
	message.tail_open = &tail;
	send_body(r, 8, &message);
	expect(r, 8, PVA__TO_HOST__BODY_DONE);
	spawn(r, 9, 0, "exit 3"); /* is over when the snapshot is taken */
	expect(r, 9, PVA__TO_HOST__BODY_SPAWNED);
	wait_exit(r, 10, 9);
	expect(r, 10, PVA__TO_HOST__BODY_EXEC);
	read_stream(r, 11, 8, 0, 0, 10); /* long polls, of the agent and in the worker */
	wait_exit(r, 12, 7);
	exec_counting(r, 13, "sleep 0.5");
	greet_with(r, false, true);
	expect_held(r, false);
	/* The ids are free, and nobody answers what was asked before. */
	exec_counting(r, 5, "sleep 1"); /* longer than the command before */
	expect_count(r, 5, '3');
	for (uint64_t object = 6; object < 10; object++) {
		wait_exit(r, 20 + object, object);
		expect_error(r, 20 + object, ESRCH);
	}
	spawn(r, 40, 6, "true");
	expect_error(r, 40, ESRCH);
	/* Also waited for. */
	assert_int_equal(kill(worker, 0), -1);
	assert_int_equal(errno, ESRCH);
}

/* What runs goes on: it gets end of file, but is not killed by what it writes. */
static void test_restored__processes_run_on(void **state)
{
	struct raw *r = *state;
	char script[256];

	greet(r);
	snprintf(script, sizeof(script), "cat; for i in 1 2 3; do echo more || exit; done; echo on >> %s", r->counter);
	spawn(r, 5, 0, script);
	expect(r, 5, PVA__TO_HOST__BODY_SPAWNED);
	exec_counting(r, 6, "sleep 0.3; echo quite; echo through");
	greet_with(r, false, true);
	expect_held(r, false);
	wait_for_file(r->counter, "on");
	expect_silence(r);
	exec_counting(r, 7, "true");
	expect_count(r, 7, '3');
}

/* A host that died in the middle of an answer; the rest of it is not for the next one. */
static void test_restored__half_an_answer(void **state)
{
	struct raw *r = *state;
	Pva__ToGuest message = PVA__TO_GUEST__INIT;
	Pva__ReadFile read = PVA__READ_FILE__INIT;
	static uint8_t piece[65536];
	ssize_t len = 0;
	size_t taken = 0;

	greet(r);
	read.has_path = read.has_max = 1;
	read.path = (ProtobufCBinaryData){ 9, (uint8_t *)(uintptr_t) "/dev/zero" };
	read.max = PV_AGENT_DATA_MAX;
	message.body_case = PVA__TO_GUEST__BODY_READ_FILE;
	message.read_file = &read;
	send_body(r, 5, &message);
	/* It is more than the socket holds. */
	assert_int_equal(poll(&(struct pollfd){ .fd = r->fd, .events = POLLIN }, 1, 10000), 1);
	usleep(100000);
	greet_with(r, false, true);
	/* No more than what was in the socket comes before the reply; the runner's end passes over what is cut. */
	while (memmem(piece, (size_t)len, PV_VERSION, strlen(PV_VERSION)) == NULL) {
		len = recv(r->fd, piece, sizeof(piece), 0);
		assert_true(len > 0);
		taken += (size_t)len;
		assert_true(taken < PV_AGENT_DATA_MAX);
	}
	exec_counting(r, 6, "true");
	expect_count(r, 6, '1');
}

#define CASE(name)      cmocka_unit_test_setup_teardown(name, setup, teardown)
#define CASE_HELD(name) cmocka_unit_test_setup_teardown(name, setup_held, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_once__repeat_after_the_end),
		CASE(test_once__repeat_while_at_work),
		CASE(test_once__repeat_after_new_hello),
		CASE(test_once__error_is_kept_too),
		CASE(test_ack__forgets),
		CASE(test_ack__too_early),
		CASE(test_hello__nothing_is_served_before),
		CASE(test_hello__other_version_is_told_ours_and_not_served),
		CASE(test_hello__after_half_a_frame),
		cmocka_unit_test_setup_teardown(test_hello__after_half_a_frame_in_pieces, setup_packets, teardown),
		CASE(test_bad__noise_and_damage),
		CASE(test_bad__unknown_request),
		CASE(test_bad__about_unknown_command),
		CASE(test_bad__exec_without_arguments),
		CASE(test_poll__cancel),
		CASE(test_poll__dropped_by_hello),
		CASE(test_worker__reads_files),
		CASE(test_bad__order_of_objects),
		CASE_HELD(test_hold__until_a_hello_without),
		CASE_HELD(test_hold__first_hello_without),
		CASE_HELD(test_hold__hello_of_another_version),
		CASE_HELD(test_hold__nobody_else_has_the_pipe),
		CASE(test_restored__everything_is_forgotten),
		CASE(test_restored__processes_run_on),
		CASE(test_restored__half_an_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
