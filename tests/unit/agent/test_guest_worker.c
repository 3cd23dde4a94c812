/* Workers of the real agent, which is a process of this host. */
#include "guest_fixture.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static uint64_t start_worker(struct fixture *f, pid_t *pid)
{
	uint64_t id = pv_agent_reserve_id(f->agent);

	guest_wait(f, pv_guest_worker(f->agent, id, guest_on_end, f));
	assert_string_equal(f->text, "");
	assert_int_equal(f->err, PV_OK);
	*pid = (pid_t)f->result.pid;
	assert_true(*pid > 1);
	assert_int_not_equal(*pid, f->pid);
	return id;
}

static uint64_t start(struct fixture *f, uint64_t worker, const char *script)
{
	const struct pv_bytes argv[] = { text("/bin/sh"), text("-c"), text(script) };
	const struct pv_guest_run run = { .argv = argv, .n_argv = 3 };
	uint64_t id = pv_agent_reserve_id(f->agent);

	guest_wait(f, pv_guest_spawn(f->agent, id, worker, &run, guest_on_end, f));
	assert_string_equal(f->text, "");
	assert_int_equal(f->err, PV_OK);
	return id;
}

static void run_in(struct fixture *f, uint64_t worker, const char *script)
{
	guest_sh(f, script, (struct pv_guest_run){ .worker = worker });
}

static void test_worker__runs_programs(void **state)
{
	struct fixture *f = *state;
	pid_t pids[2];
	uint64_t one = start_worker(f, &pids[0]);
	uint64_t two = start_worker(f, &pids[1]);

	assert_int_not_equal(pids[0], pids[1]);
	run_in(f, one, "echo $PPID; umask; exit 3");
	assert_exited(f, 3);
	assert_int_equal(atoi(pv_buf_str(&f->out)), pids[0]);
	assert_non_null(strstr(pv_buf_str(&f->out), "\n0022\n"));
	run_in(f, two, "echo $PPID");
	assert_int_equal(atoi(pv_buf_str(&f->out)), pids[1]);
	run_in(f, PV_GUEST_NO_WORKER, "echo $PPID");
	assert_int_equal(atoi(pv_buf_str(&f->out)), f->pid);
}

/* The port and the pipes of the agent are not the worker's: it would keep them from ending. */
static void test_worker__own_descriptors(void **state)
{
	struct fixture *f = *state;
	uint64_t process = start(f, PV_GUEST_NO_WORKER, "exec sleep 1000");
	char script[160];
	pid_t pid;

	start_worker(f, &pid);
	snprintf(script, sizeof(script),
	         "for i in /proc/%d/fd/*; do [ ${i##*/} -gt 2 ] && readlink $i; done | grep -c -e pipe -e socket",
	         (int)pid);
	guest_sh(f, script, (struct pv_guest_run){ 0 });
	assert_string_equal(pv_buf_str(&f->out), "1\n");
	guest_wait(f, pv_guest_signal(f->agent, 0, process, SIGTERM, guest_on_end, f));
}

/* Output that an answer does not hold, and standard input that a request does not, find their way to the worker. */
static void test_worker__large_input_and_output(void **state)
{
	struct fixture *f = *state;
	uint8_t *data = guest_pattern(3u << 20);
	pid_t pid;
	uint64_t worker = start_worker(f, &pid);

	guest_sh(f, "cat; echo e >&2", (struct pv_guest_run){ .worker = worker, .stdin_data = { data, 3u << 20 } });
	assert_exited(f, 0);
	assert_int_equal(f->out.len, 3u << 20);
	assert_memory_equal(f->out.data, data, 3u << 20);
	assert_string_equal(pv_buf_str(&f->errors), "e\n");
	free(data);
}

static void test_worker__processes(void **state)
{
	struct fixture *f = *state;
	pid_t pid;
	uint64_t worker = start_worker(f, &pid);
	uint64_t id = start(f, worker, "echo $PPID; read x; echo $x; exec sleep 1000");
	struct guest_wait waiting = { .fixture = f };

	guest_wait(f, pv_guest_read(f->agent, id, 1, 0, 100, guest_on_end, f));
	assert_int_equal(atoi(pv_buf_str(&f->out)), pid);
	pv_guest_read(f->agent, id, 1, f->out.len, 100, guest_on_wait, &waiting);
	guest_idle(f, 30);
	assert_false(waiting.ended);
	guest_wait(f, pv_guest_stdin(f->agent, id, 0, text("go\n"), false, guest_on_end, f));
	assert_int_equal(f->result.count, 3);
	guest_wait_for(&waiting);
	assert_string_equal(pv_buf_str(&waiting.out), "go\n");
	guest_wait(f, pv_guest_signal(f->agent, 0, id, SIGTERM, guest_on_end, f));
	guest_wait(f, pv_guest_wait(f->agent, id, guest_on_end, f));
	assert_int_equal(f->result.signal, SIGTERM);
	guest_wait(f, pv_guest_release(f->agent, id, guest_on_end, f));
	assert_int_equal(f->err, PV_OK);
	guest_wait(f, pv_guest_wait(f->agent, id, guest_on_end, f));
	assert_int_equal(f->sys_errno, ESRCH);
	guest_wait_free(&waiting);
}

static void test_worker__program_error(void **state)
{
	struct fixture *f = *state;
	const struct pv_bytes argv[] = { text("no-such-program") };
	const struct pv_guest_run run = { .argv = argv, .n_argv = 1 };
	pid_t pid;
	uint64_t worker = start_worker(f, &pid);
	uint64_t id = pv_agent_reserve_id(f->agent);

	guest_wait(f, pv_guest_spawn(f->agent, id, worker, &run, guest_on_end, f));
	assert_string_equal(f->text, "no-such-program: No such file or directory (ENOENT)");
	assert_int_equal(f->sys_errno, ENOENT);
	guest_wait(f, pv_guest_wait(f->agent, id, guest_on_end, f));
	assert_int_equal(f->sys_errno, ESRCH);
}

static void test_worker__killed(void **state)
{
	struct fixture *f = *state;
	static const char reason[] = "worker was ended by signal 9 (Killed)";
	pid_t pid;
	uint64_t worker = start_worker(f, &pid);
	uint64_t id = start(f, worker, "exec sleep 1000");
	struct guest_wait open[3] = { { .fixture = f }, { .fixture = f }, { .fixture = f } };
	const struct pv_bytes argv[] = { text("sleep"), text("1000") };

	pv_guest_wait(f->agent, id, guest_on_wait, &open[0]);
	pv_guest_read(f->agent, id, 2, 0, 10, guest_on_wait, &open[1]);
	pv_guest_run(f->agent, &(struct pv_guest_run){ .argv = argv, .n_argv = 2, .worker = worker }, guest_on_wait,
	             &open[2]);
	guest_idle(f, 50);
	assert_int_equal(kill(pid, SIGKILL), 0);
	for (int i = 0; i < 3; i++) {
		guest_wait_for(&open[i]);
		assert_int_equal(open[i].err, PV_ERR_GUEST);
		assert_string_equal(open[i].text, reason);
		guest_wait_free(&open[i]);
	}
	run_in(f, worker, "true");
	assert_string_equal(f->text, reason);
	guest_wait(f, pv_guest_wait(f->agent, id, guest_on_end, f));
	assert_string_equal(f->text, reason);
	guest_wait(f, pv_guest_release(f->agent, id, guest_on_end, f));
	assert_int_equal(f->err, PV_OK);
	guest_wait(f, pv_guest_release(f->agent, worker, guest_on_end, f));
	assert_int_equal(f->err, PV_OK);
	run_in(f, worker, "true");
	assert_string_equal(f->text, "worker is closed");
	run_in(f, PV_GUEST_NO_WORKER, "exit 2");
	assert_exited(f, 2);
}

static void test_worker__closed(void **state)
{
	struct fixture *f = *state;
	pid_t pid;
	uint64_t worker = start_worker(f, &pid);
	uint64_t id = start(f, worker, "exec sleep 1000");
	struct guest_wait waiting = { .fixture = f };

	pv_guest_wait(f->agent, id, guest_on_wait, &waiting);
	guest_wait(f, pv_guest_release(f->agent, worker, guest_on_end, f));
	assert_int_equal(f->err, PV_OK);
	assert_int_equal(kill(pid, 0), -1);
	guest_wait_for(&waiting);
	assert_string_equal(waiting.text, "worker is closed");
	run_in(f, worker, "true");
	assert_string_equal(f->text, "worker is closed");
	guest_wait(f, pv_guest_wait(f->agent, id, guest_on_end, f));
	assert_int_equal(f->sys_errno, ESRCH);
	guest_wait(f, pv_guest_release(f->agent, worker, guest_on_end, f));
	assert_int_equal(f->err, PV_OK);
	guest_wait_free(&waiting);
}

/* One that does not follow is ended after a while. */
static void test_worker__closed_while_stopped(void **state)
{
	struct fixture *f = *state;
	pid_t pid;
	uint64_t worker = start_worker(f, &pid);

	assert_int_equal(kill(pid, SIGSTOP), 0);
	guest_wait(f, pv_guest_release(f->agent, worker, guest_on_end, f));
	assert_int_equal(f->err, PV_OK);
	assert_int_equal(kill(pid, 0), -1);
}

/* A worker that takes nothing does not stop the agent, nor grow it without end. */
static void test_worker__does_not_read(void **state)
{
	struct fixture *f = *state;
	uint8_t *data = guest_pattern(700u << 10);
	const struct pv_bytes argv[] = { text("true") };
	struct guest_wait open[40] = { 0 };
	pid_t pid;
	uint64_t worker = start_worker(f, &pid);
	const struct pv_guest_run run = {
		.argv = argv, .n_argv = 1, .worker = worker, .stdin_data = { data, 700u << 10 }
	};
	int refused = 0;

	assert_int_equal(kill(pid, SIGSTOP), 0);
	for (int i = 0; i < 40; i++) {
		open[i].fixture = f;
		pv_guest_run(f->agent, &run, guest_on_wait, &open[i]);
	}
	run_in(f, PV_GUEST_NO_WORKER, "exit 2");
	assert_exited(f, 2);
	assert_int_equal(kill(pid, SIGCONT), 0);
	for (int i = 0; i < 40; i++) {
		guest_wait_for(&open[i]);
		if (open[i].err != PV_OK) {
			assert_int_equal(open[i].sys_errno, ENOBUFS);
			refused++;
		}
		guest_wait_free(&open[i]);
	}
	assert_in_range(refused, 1, 39);
	free(data);
}

static void test_hello__keeps_workers(void **state)
{
	struct fixture *f = *state;
	pid_t pid;
	uint64_t worker = start_worker(f, &pid);
	uint64_t id = start(f, worker, "read x; echo $x");
	struct guest_wait waiting = { .fixture = f };

	pv_guest_wait(f->agent, id, guest_on_wait, &waiting);
	guest_idle(f, 30);
	guest_hello_again(f);
	guest_wait_for(&waiting);
	assert_int_equal(waiting.err, PV_ERR_CANCELED);
	guest_wait(f, pv_guest_worker(f->agent, worker, guest_on_end, f));
	assert_int_equal(f->result.pid, pid);
	guest_wait(f, pv_guest_stdin(f->agent, id, 0, text("go\n"), false, guest_on_end, f));
	guest_wait(f, pv_guest_wait(f->agent, id, guest_on_end, f));
	assert_exited(f, 0);
	assert_string_equal(pv_buf_str(&f->out), "go\n");
	guest_wait_free(&waiting);
}

static void test_settle__cancels_in_a_worker(void **state)
{
	struct fixture *f = *state;
	pid_t pid;
	uint64_t worker = start_worker(f, &pid);
	uint64_t id = start(f, worker, "read x; echo $x");

	for (int i = 0; i < 100; i++)
		pv_guest_op_settle(pv_guest_read(f->agent, id, 1, 0, 10, guest_on_end, f));
	guest_wait(f, pv_guest_stdin(f->agent, id, 0, text("go\n"), false, guest_on_end, f));
	guest_wait(f, pv_guest_wait(f->agent, id, guest_on_end, f));
	assert_string_equal(pv_buf_str(&f->out), "go\n");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, guest_setup, guest_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_worker__runs_programs),
		CASE(test_worker__own_descriptors),
		CASE(test_worker__large_input_and_output),
		CASE(test_worker__processes),
		CASE(test_worker__program_error),
		CASE(test_worker__killed),
		CASE(test_worker__closed),
		CASE(test_worker__closed_while_stopped),
		CASE(test_worker__does_not_read),
		CASE(test_hello__keeps_workers),
		CASE(test_settle__cancels_in_a_worker),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
