/* The real provium-keeper, with a runner that is killed and a QEMU that is played here: the other end of its monitor, and a process. */
#include <event2/event.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/mem.h"
#include "vmctl/keeper.h"
#include "vmctl/process.h"

#define GREETING                                                                                                       \
	"{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 0, \"minor\": 2, \"major\": 7}}, \"capabilities\": []}}\n"

struct fixture {
	struct event_base *base;
	char dir[64];
	char vm_dir[80];
	int listener; /* the VM's keeper.sock */
	int monitor;  /* what the keeper has connected to it */
	struct pv_process *qemu;
	bool qemu_ended;
	pid_t runner;
	struct pv_errmsg msg;
};

static void on_exit_of_qemu(void *arg, struct pv_process *process, int status)
{
	struct fixture *f = arg;

	(void)process;
	(void)status;
	f->qemu_ended = true;
	event_base_loopbreak(f->base);
}

static int setup(void **state)
{
	static const char *const argv[] = { "/bin/sleep", "1000", NULL };
	struct fixture *f = PV_NEW(struct fixture);
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	char log[96];

	strcpy(f->dir, "/tmp/pv-test-keeper-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->vm_dir, sizeof(f->vm_dir), "%s/v7", f->dir);
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/keeper.sock", f->vm_dir);
	snprintf(log, sizeof(log), "%s/qemu.log", f->dir);
	f->base = event_base_new();
	f->monitor = -1;
	f->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (mkdir(f->vm_dir, 0700) != 0 || bind(f->listener, (struct sockaddr *)&addr, sizeof(addr)) != 0 ||
	    listen(f->listener, 4) != 0)
		return -1;
	assert_int_equal(pv_process_start(f->base, argv, log, NULL, 0, on_exit_of_qemu, f, &f->qemu, &f->msg), PV_OK);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];
	int left;

	pv_process_destroy(f->qemu);
	close(f->listener);
	if (f->monitor >= 0)
		close(f->monitor);
	snprintf(command, sizeof(command), "%s/qemu.log", f->dir);
	unlink(command);
	snprintf(command, sizeof(command), "%s/keeper.log", f->dir);
	unlink(command);
	left = rmdir(f->dir); /* the keeper has removed what is its own */
	event_base_free(f->base);
	free(f);
	return left;
}

static struct pv_keeper_config config_of(const struct fixture *f, uint64_t orphan_ms)
{
	return (struct pv_keeper_config){
		.program = PV_KEEPER_PROGRAM, .run_dir = f->dir, .socket_dir = f->dir, .orphan_ms = orphan_ms
	};
}

/* A process that starts the keeper, tells it of VM 7 and waits to be killed. */
static void start_runner(struct fixture *f, uint64_t orphan_ms, bool tell_pid)
{
	struct pv_keeper_config config = config_of(f, orphan_ms);
	int ready[2];
	char byte;

	assert_int_equal(pipe(ready), 0);
	f->runner = fork();
	assert_true(f->runner >= 0);
	if (f->runner == 0) {
		struct event_base *base = event_base_new();
		struct pv_keeper *keeper;

		if (pv_keeper_start(base, &config, &keeper, &f->msg) != PV_OK ||
		    pv_keeper_watch(keeper, 7, "box", f->vm_dir, &f->msg) != PV_OK)
			_exit(1);
		if (tell_pid)
			pv_keeper_tell_pid(keeper, 7, pv_process_pid(f->qemu), pv_process_start_ticks(f->qemu));
		if (write(ready[1], "r", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	f->monitor = accept(f->listener, NULL, NULL);
	assert_true(f->monitor >= 0);
	assert_true(send(f->monitor, GREETING, strlen(GREETING), MSG_NOSIGNAL) > 0);
}

static void kill_runner(struct fixture *f)
{
	kill(f->runner, SIGKILL);
	assert_int_equal(waitpid(f->runner, NULL, 0), f->runner);
}

/* Waits for the command `name` and answers it, or not. */
static void expect_command(struct fixture *f, const char *name, bool do_answer)
{
	char line[512], answer[64], quoted[64];
	size_t len = 0;
	const char *id;

	while (len == 0 || line[len - 1] != '\n') {
		struct pollfd p = { .fd = f->monitor, .events = POLLIN };

		assert_int_equal(poll(&p, 1, 10000), 1);
		assert_int_equal(read(f->monitor, line + len, 1), 1);
		assert_true(++len < sizeof(line));
	}
	line[len] = '\0';
	snprintf(quoted, sizeof(quoted), "\"%s\"", name);
	if (strstr(line, quoted) == NULL)
		fail_msg("not %s: %s", name, line);
	id = strstr(line, "\"id\":");
	assert_non_null(id);
	snprintf(answer, sizeof(answer), "{\"return\":{},\"id\":%ld}\n", strtol(id + 5, NULL, 10));
	if (do_answer)
		assert_true(send(f->monitor, answer, strlen(answer), MSG_NOSIGNAL) > 0);
}

static struct pv_keeper_status ask(struct fixture *f)
{
	struct pv_keeper_status status;

	if (pv_keeper_ask(f->dir, &status, &f->msg) != PV_OK)
		fail_msg("%s", f->msg.text);
	return status;
}

/* The keeper shows in its answers what it has done; it does that at once after the answer of QEMU. */
static void wait_paused(struct fixture *f)
{
	for (int i = 0; i < 1000; i++) {
		struct pv_keeper_status status = ask(f);
		bool paused = status.n_vms == 1 && status.vms[0].paused;

		pv_keeper_status_free(&status);
		if (paused)
			return;
		poll(NULL, 0, 10);
	}
	fail_msg("the VM was never paused");
}

static void wait_gone(struct fixture *f)
{
	struct pv_keeper_status status;

	for (int i = 0; i < 1000 && pv_keeper_ask(f->dir, &status, &f->msg) == PV_OK; i++) {
		pv_keeper_status_free(&status);
		poll(NULL, 0, 10);
	}
	assert_int_equal(pv_keeper_ask(f->dir, &status, &f->msg), PV_ERR_NOENT);
	assert_int_equal(access(f->vm_dir, F_OK), -1);
}

static void wait_qemu_ended(struct fixture *f)
{
	struct timeval patience = { .tv_sec = 10 };

	if (!f->qemu_ended) {
		event_base_loopexit(f->base, &patience);
		event_base_dispatch(f->base);
	}
	assert_true(f->qemu_ended);
}

static void test_list__while_watched(void **state)
{
	struct fixture *f = *state;
	struct pv_keeper_config config = config_of(f, 60000);
	struct pv_keeper_status status;
	struct pv_keeper *keeper;

	start_runner(f, 60000, true);
	expect_command(f, "qmp_capabilities", true);
	status = ask(f);
	assert_int_equal(status.runner, f->runner);
	assert_int_equal(status.n_vms, 1);
	assert_int_equal(status.vms[0].id, 7);
	assert_string_equal(status.vms[0].name, "box");
	assert_false(status.vms[0].paused);
	pv_keeper_status_free(&status);
	/* It has its runner, so nobody else gets it. */
	assert_int_equal(pv_keeper_adopt(f->base, &config, &keeper, &f->msg), PV_ERR_BUSY);
	assert_int_equal(pv_keeper_stop(f->dir, 0, &f->msg), PV_ERR_BUSY);
	kill_runner(f);
	expect_command(f, "stop", true);
	/* A VM that ends by itself leaves it nothing to do. */
	pv_process_signal(f->qemu, SIGKILL);
	wait_qemu_ended(f);
	wait_gone(f);
}

static void test_orphan__quit_then_kill(void **state)
{
	struct fixture *f = *state;

	start_runner(f, 300, true);
	expect_command(f, "qmp_capabilities", true);
	kill_runner(f);
	expect_command(f, "stop", true);
	expect_command(f, "quit", false);
	/* It does not quit, so it is killed. */
	wait_qemu_ended(f);
	wait_gone(f);
}

/* The runner died before it could tell the process: the end of the monitor is the end of the VM. */
static void test_orphan__unknown_process(void **state)
{
	struct fixture *f = *state;

	start_runner(f, 300, false);
	expect_command(f, "qmp_capabilities", true);
	kill_runner(f);
	expect_command(f, "stop", true);
	expect_command(f, "quit", true);
	close(f->monitor);
	f->monitor = -1;
	wait_gone(f);
	assert_false(f->qemu_ended);
}

static void test_adopt__and_leave(void **state)
{
	struct fixture *f = *state;
	struct pv_keeper_config config = config_of(f, 60000);
	struct pv_keeper *keeper;
	uint64_t ticks;
	pid_t pid;

	start_runner(f, 1000, true);
	expect_command(f, "qmp_capabilities", true);
	kill_runner(f);
	expect_command(f, "stop", true);
	wait_paused(f);
	assert_int_equal(pv_keeper_adopt(f->base, &config, &keeper, &f->msg), PV_OK);
	assert_true(pv_keeper_knows(keeper, 7, &pid, &ticks));
	assert_int_equal(pid, pv_process_pid(f->qemu));
	assert_true(ticks == pv_process_start_ticks(f->qemu));
	assert_false(pv_keeper_knows(keeper, 8, &pid, &ticks));
	/* The clock of the dead runner is over; the new one has its own. */
	event_base_loopexit(f->base, &(struct timeval){ .tv_sec = 1, .tv_usec = 500000 });
	event_base_dispatch(f->base);
	assert_false(f->qemu_ended);
	pv_keeper_destroy(keeper);
	assert_int_equal(access(f->vm_dir, F_OK), 0); /* its runner's business */
	pv_keeper_remove_sockets(f->vm_dir);
}

static void test_stop__one_vm(void **state)
{
	struct fixture *f = *state;

	start_runner(f, 60000, true);
	expect_command(f, "qmp_capabilities", true);
	kill_runner(f);
	expect_command(f, "stop", true);
	wait_paused(f);
	assert_int_equal(pv_keeper_stop(f->dir, 8, &f->msg), PV_ERR_NOENT);
	/* It does not answer quit; stop waits until it is killed. */
	assert_int_equal(pv_keeper_stop(f->dir, 7, &f->msg), PV_OK);
	wait_qemu_ended(f);
	wait_gone(f);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_list__while_watched), CASE(test_orphan__quit_then_kill), CASE(test_orphan__unknown_process),
		CASE(test_adopt__and_leave),    CASE(test_stop__one_vm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
