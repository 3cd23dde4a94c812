/* Processes that outlive the request that started them, in the real agent, which is a process of this host. */
#include "guest_fixture.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/agent_version.h"

/* Starts /bin/sh -c `script` and returns its id. */
static uint64_t start(struct fixture *f, const char *script, struct pv_bytes input)
{
	const struct pv_bytes argv[] = { text("/bin/sh"), text("-c"), text(script) };
	const struct pv_guest_run run = { .argv = argv, .n_argv = 3, .stdin_data = input };
	uint64_t id = pv_agent_reserve_id(f->agent);

	guest_wait(f, pv_guest_spawn(f->agent, id, PV_GUEST_NO_WORKER, &run, guest_on_end, f));
	assert_string_equal(f->text, "");
	assert_int_equal(f->err, PV_OK);
	assert_true(f->result.pid > 1);
	return id;
}

static void wait_exit(struct fixture *f, uint64_t id)
{
	guest_wait(f, pv_guest_wait(f->agent, id, guest_on_end, f));
}

static void read_at(struct fixture *f, uint64_t id, int fd, uint64_t offset, uint32_t max)
{
	guest_wait(f, pv_guest_read(f->agent, id, fd, offset, max, guest_on_end, f));
}

#define assert_read(f, bytes)                                                                                          \
	do {                                                                                                           \
		assert_string_equal((f)->text, "");                                                                    \
		assert_int_equal((f)->err, PV_OK);                                                                     \
		assert_false((f)->result.eof);                                                                         \
		assert_string_equal(pv_buf_str(&(f)->out), bytes);                                                     \
	} while (0)

#define assert_refused(f, number)                                                                                      \
	do {                                                                                                           \
		assert_int_equal((f)->err, PV_ERR_GUEST);                                                              \
		assert_int_equal((f)->sys_errno, number);                                                              \
	} while (0)

static void test_spawn__wait(void **state)
{
	struct fixture *f = *state;
	uint64_t id = start(f, "echo out; echo err >&2; exit 7", text(""));

	for (int i = 0; i < 2; i++) {
		wait_exit(f, id);
		assert_exited(f, 7);
		assert_string_equal(pv_buf_str(&f->out), "out\n");
		assert_string_equal(pv_buf_str(&f->errors), "err\n");
	}
}

static void test_spawn__unknown_program(void **state)
{
	struct fixture *f = *state;
	const struct pv_bytes argv[] = { text("no-such-program") };
	const struct pv_guest_run run = { .argv = argv, .n_argv = 1 };
	uint64_t id = pv_agent_reserve_id(f->agent);

	guest_wait(f, pv_guest_spawn(f->agent, id, PV_GUEST_NO_WORKER, &run, guest_on_end, f));
	assert_refused(f, ENOENT);
	assert_string_equal(f->text, "no-such-program: No such file or directory (ENOENT)");
	wait_exit(f, id);
	assert_refused(f, ESRCH);
}

/* What a runner does that was killed after it had asked. */
static void test_spawn__same_id_is_not_executed_again(void **state)
{
	struct fixture *f = *state;
	char script[256];
	const struct pv_bytes argv[] = { text("/bin/sh"), text("-c"), text(script) };
	const struct pv_guest_run run = { .argv = argv, .n_argv = 3 };
	uint64_t id;
	int64_t pid;

	snprintf(script, sizeof(script), "echo x >> %s/a; wc -l < %s/a", f->dir, f->dir);
	id = start(f, script, text(""));
	pid = f->result.pid;
	wait_exit(f, id);
	guest_hello_again(f);
	guest_wait(f, pv_guest_spawn(f->agent, id, PV_GUEST_NO_WORKER, &run, guest_on_end, f));
	assert_int_equal(f->err, PV_OK);
	assert_int_equal(f->result.pid, pid);
	wait_exit(f, id);
	assert_string_equal(pv_buf_str(&f->out), "1\n");
}

static void test_spawn__output_while_it_runs(void **state)
{
	struct fixture *f = *state;
	uint64_t id = start(f, "echo first; echo e >&2; read x; echo $x; exec >&-; read y; exit 4", text(""));

	read_at(f, id, 1, 0, 100);
	assert_read(f, "first\n");
	read_at(f, id, 1, 2, 2);
	assert_read(f, "rs");
	read_at(f, id, 2, 0, 100);
	assert_read(f, "e\n");
	guest_wait(f, pv_guest_stdin(f->agent, id, 0, text("second\n"), false, guest_on_end, f));
	assert_int_equal(f->result.count, 7);
	read_at(f, id, 1, 6, 100);
	assert_read(f, "second\n");
	/* Closed, and so at its end, while the program runs. */
	read_at(f, id, 1, 13, 100);
	assert_true(f->result.eof);
	read_at(f, id, 1, 14, 100);
	assert_refused(f, EINVAL);
	guest_wait(f, pv_guest_stdin(f->agent, id, 7, text(""), true, guest_on_end, f));
	assert_int_equal(f->err, PV_OK);
	wait_exit(f, id);
	assert_exited(f, 4);
	assert_string_equal(pv_buf_str(&f->out), "first\nsecond\n");
	read_at(f, id, 2, 2, 100);
	assert_true(f->result.eof);
	read_at(f, id, 1, 0, 100);
	assert_read(f, "first\nsecond\n");
}

static void test_read__waits_for_bytes(void **state)
{
	struct fixture *f = *state;
	uint64_t id = start(f, "read x; echo $x", text(""));
	struct guest_wait out = { .fixture = f }, end = { .fixture = f };

	pv_guest_read(f->agent, id, 1, 0, 100, guest_on_wait, &out);
	pv_guest_wait(f->agent, id, guest_on_wait, &end);
	guest_idle(f, 50);
	assert_false(out.ended);
	assert_false(end.ended);
	guest_wait(f, pv_guest_stdin(f->agent, id, 0, text("now\n"), false, guest_on_end, f));
	guest_wait_for(&out);
	assert_string_equal(pv_buf_str(&out.out), "now\n");
	guest_wait_for(&end);
	assert_int_equal(end.result.status, PV_GUEST_EXITED);
	guest_wait_free(&out);
	guest_wait_free(&end);
}

static void test_wait__large_output(void **state)
{
	struct fixture *f = *state;
	uint64_t id = start(f, "yes 0123456 | head -c 5000000", text(""));

	wait_exit(f, id);
	assert_exited(f, 0);
	assert_int_equal(f->out.len, 5000000);
	for (size_t i = 0; i < 5000000; i += 8)
		assert_memory_equal(f->out.data + i, "0123456\n", 8);
}

/* The program blocks at the bound, and nothing of what it wrote is lost: its numbered lines have no gap up to the last whole one. */
static void test_wait__output_bound_blocks(void **state)
{
	struct fixture *f = *state;
	uint64_t id = start(f, "exec seq 1000000 99999999", text(""));
	unsigned long number = 1000000;
	size_t lines = 0;

	read_at(f, id, 1, PV_AGENT_OUTPUT_MAX - 1, 100);
	assert_int_equal(f->out.len, 1);
	guest_idle(f, 100);
	guest_wait(f, pv_guest_signal(f->agent, 0, id, SIGKILL, guest_on_end, f));
	assert_int_equal(f->err, PV_OK);
	wait_exit(f, id);
	assert_int_equal(f->err, PV_OK);
	assert_int_equal(f->result.status, PV_GUEST_SIGNALLED);
	assert_int_equal(f->result.signal, SIGKILL);
	assert_true(f->out.len > PV_AGENT_OUTPUT_MAX);
	for (const char *line = pv_buf_str(&f->out); strchr(line, '\n') != NULL; line = strchr(line, '\n') + 1) {
		assert_int_equal(strtoul(line, NULL, 10), number++);
		lines++;
	}
	assert_true(lines > 8000000);
}

/* Also false for one that has ended and that nobody has waited for. */
static bool is_alive(int pid)
{
	char path[64], line[512] = "";
	const char *state;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "re");
	if (file == NULL)
		return false;
	if (fgets(line, sizeof(line), file) == NULL)
		line[0] = '\0';
	fclose(file);
	state = strrchr(line, ')');
	return state != NULL && strncmp(state, ") Z", 3) != 0 && strncmp(state, ") X", 3) != 0;
}

static void test_signal__whole_group(void **state)
{
	struct fixture *f = *state;
	uint64_t id = start(f, "sleep 1000 & echo $!; wait", text(""));
	int pid;

	read_at(f, id, 1, 0, 100);
	pid = atoi(pv_buf_str(&f->out));
	assert_true(is_alive(pid));
	guest_wait(f, pv_guest_signal(f->agent, 0, id, SIGTERM, guest_on_end, f));
	assert_int_equal(f->err, PV_OK);
	wait_exit(f, id);
	assert_int_equal(f->result.status, PV_GUEST_SIGNALLED);
	assert_int_equal(f->result.signal, SIGTERM);
	for (int i = 0; i < 1000 && is_alive(pid); i++)
		guest_idle(f, 10);
	assert_false(is_alive(pid));
	/* Gone: nothing is left to do. */
	guest_wait(f, pv_guest_signal(f->agent, 0, id, SIGKILL, guest_on_end, f));
	assert_int_equal(f->err, PV_OK);
}

/* Whoever waits, now or later, is told that its time was up; not if it had ended by itself before. */
static void test_time_out__is_remembered(void **state)
{
	struct fixture *f = *state;
	uint64_t id = start(f, "exec sleep 1000", text("")), early = start(f, "exit 6", text(""));

	guest_wait(f, pv_guest_time_out(f->agent, 0, id, guest_on_end, f));
	assert_int_equal(f->err, PV_OK);
	for (int i = 0; i < 2; i++) {
		wait_exit(f, id);
		assert_int_equal(f->result.status, PV_GUEST_TIMED_OUT);
	}
	wait_exit(f, early);
	guest_wait(f, pv_guest_time_out(f->agent, 0, early, guest_on_end, f));
	wait_exit(f, early);
	assert_exited(f, 6);
}

static void test_signal__errors(void **state)
{
	struct fixture *f = *state;
	uint64_t id = start(f, "exec sleep 1000", text(""));

	guest_wait(f, pv_guest_signal(f->agent, 0, id, 4711, guest_on_end, f));
	assert_refused(f, EINVAL);
	guest_wait(f, pv_guest_signal(f->agent, 0, id + 1000, SIGTERM, guest_on_end, f));
	assert_refused(f, ESRCH);
}

static void test_stdin__first_bytes(void **state)
{
	static const size_t sizes[] = { 1, 786433, 5u << 20 };
	struct fixture *f = *state;
	uint8_t *data = guest_pattern(5u << 20);

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint64_t id = start(f, "sleep 0.1; cat", (struct pv_bytes){ data, sizes[i] });

		guest_wait(f, pv_guest_stdin(f->agent, id, sizes[i], text("END"), true, guest_on_end, f));
		assert_string_equal(f->text, "");
		assert_int_equal(f->result.count, 3);
		wait_exit(f, id);
		assert_exited(f, 0);
		assert_int_equal(f->out.len, sizes[i] + 3);
		assert_memory_equal(f->out.data, data, sizes[i]);
		assert_memory_equal(f->out.data + sizes[i], "END", 3);
	}
	free(data);
}

/* A program that does not read takes what a pipe holds; the next write waits for it. A repeat adds nothing. */
static void test_stdin__full_pipe(void **state)
{
	struct fixture *f = *state;
	uint64_t id = start(f, "read x <&3; cat", text(""));
	uint8_t *data = guest_pattern(4u << 20);
	struct guest_wait more = { .fixture = f };
	size_t taken;

	guest_wait(f, pv_guest_signal(f->agent, 0, id, SIGSTOP, guest_on_end, f));
	guest_wait(f, pv_guest_stdin(f->agent, id, 0, (struct pv_bytes){ data, 4u << 20 }, false, guest_on_end, f));
	assert_int_equal(f->err, PV_OK);
	taken = (size_t)f->result.count;
	assert_in_range(taken, 4096, 786432);
	guest_wait(f, pv_guest_stdin(f->agent, id, 0, (struct pv_bytes){ data, taken }, false, guest_on_end, f));
	assert_int_equal(f->result.count, taken);
	pv_guest_stdin(f->agent, id, taken, (struct pv_bytes){ data + taken, (4u << 20) - taken }, true, guest_on_wait,
	               &more);
	guest_idle(f, 50);
	assert_false(more.ended);
	guest_wait(f, pv_guest_signal(f->agent, 0, id, SIGCONT, guest_on_end, f));
	guest_wait_for(&more);
	assert_int_equal(more.err, PV_OK);
	assert_int_equal(more.result.count, (4u << 20) - taken);
	wait_exit(f, id);
	assert_exited(f, 0);
	assert_int_equal(f->out.len, 4u << 20);
	assert_memory_equal(f->out.data, data, 4u << 20);
	guest_wait_free(&more);
	free(data);
}

static void test_stdin__broken(void **state)
{
	struct fixture *f = *state;
	uint64_t id = start(f, "exec <&-; echo; exec sleep 1000", text(""));

	read_at(f, id, 1, 0, 1);
	guest_wait(f, pv_guest_stdin(f->agent, id, 0, text("x"), false, guest_on_end, f));
	assert_refused(f, EPIPE);
	id = start(f, "true", text(""));
	wait_exit(f, id);
	guest_wait(f, pv_guest_stdin(f->agent, id, 0, text("x"), false, guest_on_end, f));
	assert_refused(f, EPIPE);
	guest_wait(f, pv_guest_stdin(f->agent, id, 0, text(""), true, guest_on_end, f));
	assert_int_equal(f->err, PV_OK);
	id = start(f, "exec sleep 1000", text(""));
	guest_wait(f, pv_guest_stdin(f->agent, id, 1, text("x"), false, guest_on_end, f));
	assert_refused(f, EINVAL);
	guest_wait(f, pv_guest_stdin(f->agent, id, 0, text("x"), true, guest_on_end, f));
	assert_int_equal(f->err, PV_OK);
	guest_wait(f, pv_guest_stdin(f->agent, id, 1, text("y"), false, guest_on_end, f));
	assert_refused(f, EPIPE);
}

/* A reader that closes while a write waits. */
static void test_stdin__breaks_while_waiting(void **state)
{
	struct fixture *f = *state;
	uint64_t id = start(f, "exec sleep 1000", text(""));
	uint8_t *data = guest_pattern(1u << 20);
	struct guest_wait more = { .fixture = f };
	size_t taken;

	guest_wait(f, pv_guest_stdin(f->agent, id, 0, (struct pv_bytes){ data, 1u << 20 }, false, guest_on_end, f));
	taken = (size_t)f->result.count;
	pv_guest_stdin(f->agent, id, taken, (struct pv_bytes){ data, 1u << 20 }, false, guest_on_wait, &more);
	guest_idle(f, 30);
	assert_false(more.ended);
	guest_wait(f, pv_guest_signal(f->agent, 0, id, SIGTERM, guest_on_end, f));
	guest_wait_for(&more);
	assert_int_equal(more.sys_errno, EPIPE);
	guest_wait_free(&more);
	free(data);
}

static void test_release__forgets(void **state)
{
	struct fixture *f = *state;
	uint64_t id = start(f, "read x; echo $x", text(""));

	guest_wait(f, pv_guest_release(f->agent, id, guest_on_end, f));
	assert_refused(f, EBUSY);
	guest_wait(f, pv_guest_stdin(f->agent, id, 0, text("on\n"), false, guest_on_end, f));
	wait_exit(f, id);
	assert_string_equal(pv_buf_str(&f->out), "on\n");
	for (int i = 0; i < 2; i++) {
		guest_wait(f, pv_guest_release(f->agent, id, guest_on_end, f));
		assert_int_equal(f->err, PV_OK);
	}
	wait_exit(f, id);
	assert_refused(f, ESRCH);
	read_at(f, id, 1, 0, 10);
	assert_refused(f, ESRCH);
}

/* A runner that comes back finds its process, and what waited for it before is gone. */
static void test_hello__keeps_processes(void **state)
{
	struct fixture *f = *state;
	uint64_t id = start(f, "echo a; read x; echo $x", text(""));
	struct guest_wait end = { .fixture = f };

	read_at(f, id, 1, 0, 10);
	pv_guest_wait(f->agent, id, guest_on_wait, &end);
	guest_idle(f, 30);
	guest_hello_again(f);
	guest_wait_for(&end);
	assert_int_equal(end.err, PV_ERR_CANCELED);
	read_at(f, id, 1, 0, 10);
	assert_read(f, "a\n");
	guest_wait(f, pv_guest_stdin(f->agent, id, 0, text("b\n"), false, guest_on_end, f));
	wait_exit(f, id);
	assert_exited(f, 0);
	assert_string_equal(pv_buf_str(&f->out), "a\nb\n");
	guest_wait_free(&end);
}

/* Waits that were given up neither disturb nor answer. */
static void test_settle__cancels_a_wait(void **state)
{
	struct fixture *f = *state;
	uint64_t id = start(f, "read x; echo $x", text(""));

	for (int i = 0; i < 100; i++) {
		pv_guest_op_settle(pv_guest_wait(f->agent, id, guest_on_end, f));
		pv_guest_op_settle(pv_guest_read(f->agent, id, 1, 0, 10, guest_on_end, f));
	}
	f->n_ended = 0;
	guest_idle(f, 50);
	assert_int_equal(f->n_ended, 0);
	guest_wait(f, pv_guest_stdin(f->agent, id, 0, text("b\n"), false, guest_on_end, f));
	wait_exit(f, id);
	assert_exited(f, 0);
	assert_string_equal(pv_buf_str(&f->out), "b\n");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, guest_setup, guest_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_spawn__wait),
		CASE(test_spawn__unknown_program),
		CASE(test_spawn__same_id_is_not_executed_again),
		CASE(test_spawn__output_while_it_runs),
		CASE(test_read__waits_for_bytes),
		CASE(test_wait__large_output),
		CASE(test_wait__output_bound_blocks),
		CASE(test_signal__whole_group),
		CASE(test_time_out__is_remembered),
		CASE(test_signal__errors),
		CASE(test_stdin__first_bytes),
		CASE(test_stdin__full_pipe),
		CASE(test_stdin__broken),
		CASE(test_stdin__breaks_while_waiting),
		CASE(test_release__forgets),
		CASE(test_hello__keeps_processes),
		CASE(test_settle__cancels_a_wait),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
