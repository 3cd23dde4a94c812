/* Programs run by the real agent, which is a process of this host. */
#include "guest_fixture.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

static void test_run__output_and_code(void **state)
{
	struct fixture *f = *state;

	guest_sh(f, "echo out; echo err >&2; exit 7", (struct pv_guest_run){ 0 });
	assert_exited(f, 7);
	assert_string_equal(pv_buf_str(&f->out), "out\n");
	assert_string_equal(pv_buf_str(&f->errors), "err\n");
}

static void test_run__looks_in_path(void **state)
{
	struct fixture *f = *state;

	guest_direct(f, "true", (struct pv_guest_run){ 0 });
	assert_exited(f, 0);
	guest_direct(f, "false", (struct pv_guest_run){ 0 });
	assert_exited(f, 1);
}

/* PATH of the command's environment counts, and a name that is found only without permission says so. */
static void test_run__path_of_resulting_environment(void **state)
{
	struct fixture *f = *state;
	char path[80], program[96];
	struct pv_guest_env env = { "PATH", { 0 } };

	snprintf(program, sizeof(program), "%s/a", f->dir);
	snprintf(path, sizeof(path), "/nowhere:%s", f->dir);
	env.value = text(path);
	guest_wait(f, pv_guest_write_file(f->agent, 0, text(program), text("#!/bin/sh\necho found $0\n"), 0755,
	                                  guest_on_end, f));
	assert_int_equal(f->err, PV_OK);
	guest_direct(f, "a", (struct pv_guest_run){ .env = &env, .n_env = 1 });
	assert_exited(f, 0);
	assert_non_null(strstr(pv_buf_str(&f->out), "found /tmp/"));
	assert_int_equal(chmod(program, 0644), 0);
	guest_direct(f, "a", (struct pv_guest_run){ .env = &env, .n_env = 1 });
	assert_int_equal(f->err, PV_ERR_GUEST);
	assert_int_equal(f->sys_errno, EACCES);
	assert_string_equal(f->text, "a: Permission denied (EACCES)");
}

static void test_run__signal(void **state)
{
	struct fixture *f = *state;

	guest_sh(f, "echo before; kill -USR1 $$", (struct pv_guest_run){ 0 });
	assert_int_equal(f->err, PV_OK);
	assert_int_equal(f->result.status, PV_GUEST_SIGNALLED);
	assert_int_equal(f->result.signal, SIGUSR1);
	assert_string_equal(pv_buf_str(&f->out), "before\n");
}

/* The whole group dies: the background sleep would else hold this test up, as it holds the pipe. */
static void test_run__timeout_kills_the_group(void **state)
{
	struct fixture *f = *state;
	double start = guest_now_s();
	pid_t child;
	int pidfd;

	guest_sh(f, "sleep 1000 & echo $!; wait", (struct pv_guest_run){ .timeout_ms = 300 });
	assert_int_equal(f->err, PV_OK);
	assert_int_equal(f->result.status, PV_GUEST_TIMED_OUT);
	assert_true(guest_now_s() - start >= 0.3);
	assert_true(guest_now_s() - start < 30);
	child = (pid_t)atoi(pv_buf_str(&f->out));
	assert_true(child > 1);
	pidfd = pidfd_open(child, 0);
	if (pidfd >= 0) {
		assert_int_equal(poll(&(struct pollfd){ .fd = pidfd, .events = POLLIN }, 1, 10000), 1);
		close(pidfd);
	} else {
		assert_int_equal(errno, ESRCH);
	}
}

static void test_run__environment(void **state)
{
	struct fixture *f = *state;
	const struct pv_guest_env env[] = { { "A", text("1 2") }, { "B", text("") }, { "A", text("last wins") } };

	guest_sh(f, "echo \"$A|${B-unset}|${HOME-unset}\"", (struct pv_guest_run){ .env = env, .n_env = 3 });
	assert_exited(f, 0);
	assert_memory_equal(pv_buf_str(&f->out), "last wins||", 11);
	guest_direct(f, "/usr/bin/env", (struct pv_guest_run){ .env = env, .n_env = 2, .env_clear = true });
	assert_exited(f, 0);
	assert_string_equal(pv_buf_str(&f->out), "A=1 2\nB=\n");
}

static void test_run__bad_environment(void **state)
{
	struct fixture *f = *state;
	const struct pv_guest_env env = { "A=B", text("1") };

	guest_direct(f, "true", (struct pv_guest_run){ .env = &env, .n_env = 1 });
	assert_int_equal(f->err, PV_ERR_GUEST);
	assert_int_equal(f->sys_errno, EINVAL);
}

static void test_run__cwd(void **state)
{
	struct fixture *f = *state;

	guest_direct(f, "pwd", (struct pv_guest_run){ .cwd = text("/usr/bin") });
	assert_exited(f, 0);
	assert_string_equal(pv_buf_str(&f->out), "/usr/bin\n");
	guest_direct(f, "pwd", (struct pv_guest_run){ .cwd = text("/no/such/dir") });
	assert_int_equal(f->err, PV_ERR_GUEST);
	assert_int_equal(f->sys_errno, ENOENT);
	assert_string_equal(f->text, "/no/such/dir: No such file or directory (ENOENT)");
}

static void test_run__unusable_program(void **state)
{
	struct fixture *f = *state;

	guest_direct(f, "/no/such/program", (struct pv_guest_run){ 0 });
	assert_int_equal(f->err, PV_ERR_GUEST);
	assert_int_equal(f->sys_errno, ENOENT);
	assert_string_equal(f->text, "/no/such/program: No such file or directory (ENOENT)");
	guest_direct(f, "no-such-program", (struct pv_guest_run){ 0 });
	assert_string_equal(f->text, "no-such-program: No such file or directory (ENOENT)");
	guest_direct(f, "/usr", (struct pv_guest_run){ 0 });
	assert_string_equal(f->text, "/usr: Permission denied (EACCES)");
	guest_direct(f, "", (struct pv_guest_run){ 0 });
	assert_int_equal(f->sys_errno, ENOENT);
	guest_sh(f, "no-such-program", (struct pv_guest_run){ 0 });
	assert_exited(f, 127);
}

/* What a command gets: a group of its own, no ignored or blocked signals, descriptors 0 to 2 only. */
static void test_run__clean_process(void **state)
{
	struct fixture *f = *state;

	guest_sh(f, "cut -d' ' -f5 /proc/$$/stat; echo $$; ls /proc/$$/fd; umask", (struct pv_guest_run){ 0 });
	assert_exited(f, 0);
	assert_int_equal(atoi(pv_buf_str(&f->out)), atoi(strchr(pv_buf_str(&f->out), '\n') + 1));
	assert_non_null(strstr(pv_buf_str(&f->out), "\n0\n1\n2\n0022\n"));
	/* exec: a shell that waits for a child blocks signals for a moment. */
	guest_sh(f, "exec grep -E 'Sig(Blk|Ign)' /proc/self/status", (struct pv_guest_run){ 0 });
	assert_exited(f, 0);
	assert_string_equal(pv_buf_str(&f->out), "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

static void test_run__stdin_in_pieces(void **state)
{
	static const size_t sizes[] = { 0, 1, 65536, 65537, 786432, 786433, 5u << 20 };
	struct fixture *f = *state;
	uint8_t *data = guest_pattern(5u << 20);

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		guest_direct(f, "cat", (struct pv_guest_run){ .stdin_data = { data, sizes[i] } });
		assert_exited(f, 0);
		assert_int_equal(f->out.len, sizes[i]);
		assert_true(sizes[i] == 0 || memcmp(f->out.data, data, sizes[i]) == 0);
	}
	free(data);
}

/* A program that does not read its input neither hangs nor fails for it. */
static void test_run__stdin_not_read(void **state)
{
	struct fixture *f = *state;
	uint8_t *data = guest_pattern(5u << 20);

	guest_sh(f, "exec <&-; sleep 0.2; echo done", (struct pv_guest_run){ .stdin_data = { data, 5u << 20 } });
	assert_exited(f, 0);
	assert_string_equal(pv_buf_str(&f->out), "done\n");
	guest_sh(f, "sleep 0.1; exit 3", (struct pv_guest_run){ .stdin_data = { data, 5u << 20 } });
	assert_exited(f, 3);
	guest_sh(f, "head -c 3 | wc -c", (struct pv_guest_run){ .stdin_data = { data, 5u << 20 } });
	assert_exited(f, 0);
	assert_string_equal(pv_buf_str(&f->out), "3\n");
	free(data);
}

static void test_run__large_output(void **state)
{
	struct fixture *f = *state;
	struct pv_guest_run run = { 0 };
	const size_t size = 10u << 20;

	guest_sh(f, "yes 0123456 | head -c 10485760 & yes abcdefg | head -c 10485760 >&2; wait", run);
	assert_exited(f, 0);
	assert_int_equal(f->out.len, size);
	assert_int_equal(f->errors.len, size);
	for (size_t i = 0; i < size; i += 8) {
		assert_memory_equal(f->out.data + i, "0123456\n", 8);
		assert_memory_equal(f->errors.data + i, "abcdefg\n", 8);
	}
}

static void test_run__output_bound(void **state)
{
	struct fixture *f = *state;

	guest_direct(f, "yes", (struct pv_guest_run){ 0 });
	assert_int_equal(f->err, PV_ERR_GUEST);
	assert_int_equal(f->sys_errno, EFBIG);
	assert_non_null(strstr(f->text, "yes: killed after more than 64 MiB"));
	assert_non_null(strstr(f->text, "(EFBIG)"));
}

/* A process left behind holds the pipes: the run ends with its program, what was written until then is there, and writing
 * on neither blocks nor kills what was left behind. */
static void test_run__background_child(void **state)
{
	struct fixture *f = *state;
	char script[640], path[96];

	snprintf(path, sizeof(path), "%s/a", f->dir);
	snprintf(script, sizeof(script),
	         "mkfifo %s/b; (read x < %s/b; head -c 1000000 /dev/zero; echo $? > %s; echo wrote > %s/b) & "
	         "echo started",
	         f->dir, f->dir, path, f->dir);
	guest_sh(f, script, (struct pv_guest_run){ 0 });
	assert_exited(f, 0);
	assert_string_equal(pv_buf_str(&f->out), "started\n");
	snprintf(script, sizeof(script), "echo go > %s/b; read x < %s/b; echo $x; cat %s", f->dir, f->dir, path);
	guest_sh(f, script, (struct pv_guest_run){ .timeout_ms = 20000 });
	assert_exited(f, 0);
	assert_string_equal(pv_buf_str(&f->out), "wrote\n0\n");
}

static void test_run__many_at_once(void **state)
{
	struct fixture *f = *state;
	struct pv_guest_op *ops[40];
	const struct pv_bytes argv[] = { text("sleep"), text("0.2") };
	const struct pv_guest_run run = { .argv = argv, .n_argv = 2 };
	double start = guest_now_s();

	for (int i = 0; i < 40; i++)
		ops[i] = pv_guest_run(f->agent, &run, guest_on_end, f);
	guest_wait_ended(f, 40);
	assert_exited(f, 0);
	for (int i = 0; i < 40; i++)
		pv_guest_op_settle(ops[i]);
	f->op = NULL;
	assert_true(guest_now_s() - start < 6); /* one after the other would take 8 s */
}

static void test_run__arguments_too_large(void **state)
{
	struct fixture *f = *state;
	char *large = pv_xcalloc(1, 2u << 20);
	struct pv_bytes argv[] = { text("true"), { large, 2u << 20 } };

	memset(large, 'x', 2u << 20);
	guest_wait(f, pv_guest_run(f->agent, &(struct pv_guest_run){ .argv = argv, .n_argv = 2 }, guest_on_end, f));
	assert_int_equal(f->err, PV_ERR_INVAL);
	/* Fits into a frame, but not into what Linux takes for one argument. */
	argv[1].len = 200000;
	guest_wait(f, pv_guest_run(f->agent, &(struct pv_guest_run){ .argv = argv, .n_argv = 2 }, guest_on_end, f));
	assert_int_equal(f->err, PV_ERR_GUEST);
	assert_int_equal(f->sys_errno, E2BIG);
	free(large);
}

/* Ending an operation early leaves a channel that works. */
static void test_run__settled_while_at_work(void **state)
{
	struct fixture *f = *state;
	uint8_t *data = guest_pattern(3u << 20);
	const struct pv_bytes argv[] = { text("sh"), text("-c"), text("sleep 0.1; cat") };
	const struct pv_guest_run run = { .argv = argv, .n_argv = 3, .stdin_data = { data, 3u << 20 } };

	pv_guest_op_settle(pv_guest_run(f->agent, &run, guest_on_end, f));
	pv_guest_op_settle(pv_guest_read_file(f->agent, text("/proc/kallsyms"), guest_on_end, f));
	guest_sh(f, "sleep 0.3; echo fine", (struct pv_guest_run){ 0 });
	assert_exited(f, 0);
	assert_string_equal(pv_buf_str(&f->out), "fine\n");
	free(data);
}

/* The way of a runner that was killed: a second channel asks with the id of the first and gets the result of what was
 * executed once. Here the agent is the same and the channel, too: the id alone decides. */
static void test_run__same_id_is_not_executed_again(void **state)
{
	struct fixture *f = *state;
	uint64_t id = pv_agent_reserve_id(f->agent);
	char script[256];
	struct pv_guest_run run = { .n_argv = 3, .id = id };
	struct pv_guest_op *first;

	snprintf(script, sizeof(script), "echo x >> %s/a; wc -l < %s/a", f->dir, f->dir);
	run.argv = (const struct pv_bytes[]){ text("/bin/sh"), text("-c"), text(script) };
	f->n_ended = 0;
	first = pv_guest_run(f->agent, &run, guest_on_end, f);
	guest_wait_ended(f, 1);
	assert_ptr_equal(f->op, first);
	assert_string_equal(pv_buf_str(&f->out), "1\n");
	guest_wait(f, pv_guest_run(f->agent, &run, guest_on_end, f));
	assert_string_equal(pv_buf_str(&f->out), "1\n");
	run.id = 0;
	guest_wait(f, pv_guest_run(f->agent, &run, guest_on_end, f));
	assert_string_equal(pv_buf_str(&f->out), "2\n");
	pv_guest_op_settle(first);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, guest_setup, guest_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_run__output_and_code),
		CASE(test_run__looks_in_path),
		CASE(test_run__path_of_resulting_environment),
		CASE(test_run__signal),
		CASE(test_run__timeout_kills_the_group),
		CASE(test_run__environment),
		CASE(test_run__bad_environment),
		CASE(test_run__cwd),
		CASE(test_run__unusable_program),
		CASE(test_run__clean_process),
		CASE(test_run__stdin_in_pieces),
		CASE(test_run__stdin_not_read),
		CASE(test_run__large_output),
		CASE(test_run__output_bound),
		CASE(test_run__background_child),
		CASE(test_run__many_at_once),
		CASE(test_run__arguments_too_large),
		CASE(test_run__settled_while_at_work),
		CASE(test_run__same_id_is_not_executed_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
