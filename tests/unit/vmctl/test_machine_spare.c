/* QEMUs that were started ahead. */
#include <event2/event.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "guest_fixture.h"

#define MEMORY (256u << 20)

/* `home`: whose directory and UUID it has as long as it is nobody's. */
static struct pv_machine_spare *start_spare(struct guest *home)
{
	struct pv_machine_spare *spare = NULL;
	struct pv_snapshot *from;

	if (pv_snapshot_open(guests_path("base"), &from, &home->msg) != PV_OK)
		fail_msg("%s", home->msg.text);
	home->config.from = from;
	if (pv_machine_spare_start(home->base, &home->config, &spare, &home->msg) != PV_OK)
		fail_msg("%s", home->msg.text);
	pv_snapshot_close(from);
	return spare;
}

static void wait_ready(struct guest *home, struct pv_machine_spare *spare)
{
	for (int i = 0; i < 500 && !pv_machine_spare_is_ready(spare); i++) {
		struct timeval tv = { 0, 20000 };

		event_base_loopexit(home->base, &tv);
		event_base_dispatch(home->base);
	}
	assert_true(pv_machine_spare_is_ready(spare));
}

static enum pv_err take(struct guest *guest, struct pv_machine_spare *spare)
{
	Pva__Hello hello;
	enum pv_err err;

	guest_hello(guest, &hello);
	err = pv_machine_start_spare(spare, &guest->config, &hello, &guest_handler, guest_loaded, guest,
	                             &guest->machine, &guest->msg);
	if (!err)
		pv_machine_resume(guest->machine, guest_op, guest);
	return err;
}

static bool is_there(const char *dir, const char *name)
{
	char path[160];

	snprintf(path, sizeof path, "%s/%s", dir, name);
	return access(path, F_OK) == 0;
}

/* It becomes a machine like any other: logs and sockets are in its own directory, its console is written, it resets. */
static void test_spare__becomes_a_machine(void **state)
{
	struct guest *home, *a;
	struct pv_machine_spare *spare;
	char text[65536];
	FILE *log;
	size_t n;

	(void)state;
	SKIP_WITHOUT_GUEST();
	home = guest_new("home", MEMORY);
	a = guest_new("a", MEMORY);
	spare = start_spare(home);
	wait_ready(home, spare);
	assert_int_equal(take(a, spare), PV_OK);
	guest_expect(a, "loaded op ready");
	assert_int_equal(a->err, PV_OK);
	assert_string_equal(guest_sh(a, "hostname; kill -0 $(cat /pid) && echo runs; echo from a >/dev/console"),
	                    "a\nruns");
	assert_false(is_there(home->dir, "qmp.sock") || is_there(home->dir, "agent.sock") ||
	             is_there(home->dir, "keeper.sock") || is_there(home->dir, "qemu.log"));
	assert_true(is_there(a->dir, "qmp.sock") && is_there(a->dir, "agent.sock") && is_there(a->dir, "keeper.sock") &&
	            is_there(a->dir, "console.sock") && is_there(a->dir, "qemu.log"));
	log = fopen(pv_machine_console_path(a->machine), "r");
	n = fread(text, 1, sizeof text - 1, log);
	fclose(log);
	text[n] = '\0';
	assert_non_null(strstr(text, "hello from origin"));
	assert_non_null(strstr(text, "from a"));
	guest_save(a, "of-a-spare");
	pv_machine_reset(a->machine, 60000, guest_op, a);
	guest_expect(a, "reset again op");
	guest_free(a);
	guest_restore(home, "of-a-spare");
	guest_free(home);
}

static void test_spare__taken_at_once(void **state)
{
	struct guest *home, *a;

	(void)state;
	SKIP_WITHOUT_GUEST();
	home = guest_new("home", MEMORY);
	a = guest_new("a", MEMORY);
	assert_int_equal(take(a, start_spare(home)), PV_OK);
	guest_expect(a, "loaded op ready");
	assert_true(guest_count(a) > 0);
	guest_free(a);
	guest_free(home);
}

static void test_spare__destroyed(void **state)
{
	struct pv_machine_spare *spare;
	struct guest *home;
	pid_t pid;

	(void)state;
	SKIP_WITHOUT_GUEST();
	home = guest_new("home", MEMORY);
	spare = start_spare(home);
	pid = pv_machine_spare_pid(spare);
	assert_true(pid > 0);
	wait_ready(home, spare);
	pv_machine_spare_destroy(spare);
	assert_int_equal(kill(pid, 0), -1);
	guest_free(home); /* which checks for sockets */
	pv_machine_spare_destroy(NULL);
}

/* One that has died is told from one that waits, and cannot be taken. */
static void test_spare__dead(void **state)
{
	struct pv_machine_spare *spare;
	struct guest *home, *a;

	(void)state;
	SKIP_WITHOUT_GUEST();
	home = guest_new("home", MEMORY);
	a = guest_new("a", MEMORY);
	spare = start_spare(home);
	wait_ready(home, spare);
	kill(pv_machine_spare_pid(spare), SIGKILL);
	for (int i = 0; i < 500 && pv_machine_spare_is_ready(spare); i++) {
		struct timeval tv = { 0, 10000 };

		event_base_loopexit(home->base, &tv);
		event_base_dispatch(home->base);
	}
	assert_false(pv_machine_spare_is_ready(spare));
	assert_int_equal(pv_machine_spare_pid(spare), 0);
	assert_int_equal(take(a, spare), PV_ERR_LOST);
	guest_free(a);
	guest_free(home);
}

/* Is the process gone, or dead and not yet buried? */
static bool has_ended(pid_t pid)
{
	char path[64], text[512] = "", *state;
	FILE *file;

	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	file = fopen(path, "r");
	if (!file)
		return true;
	if (!fgets(text, sizeof text, file))
		text[0] = '\0';
	fclose(file);
	state = strrchr(text, ')');
	return !state || state[2] == 'Z';
}

/* A runner that is killed leaves none behind, though no keeper knows of them. */
static void test_spare__ends_with_its_runner(void **state)
{
	struct guest *home;
	char path[128];
	int ends[2];
	pid_t child, pid = 0;

	(void)state;
	SKIP_WITHOUT_GUEST();
	home = guest_new("home", MEMORY);
	assert_int_equal(pipe(ends), 0);
	child = fork();
	if (child == 0) {
		struct pv_machine_spare *spare;

		event_reinit(home->base);
		spare = start_spare(home);
		wait_ready(home, spare);
		pid = pv_machine_spare_pid(spare);
		if (write(ends[1], &pid, sizeof pid) != sizeof pid)
			_exit(1);
		raise(SIGKILL);
	}
	assert_int_equal(read(ends[0], &pid, sizeof pid), sizeof pid);
	assert_int_equal(waitpid(child, NULL, 0), child);
	for (int i = 0; i < 500 && !has_ended(pid); i++)
		nanosleep(&(struct timespec){ 0, 10000000 }, NULL);
	assert_true(has_ended(pid));
	close(ends[0]);
	close(ends[1]);
	snprintf(path, sizeof path, "%s/qmp.sock", home->dir);
	unlink(path);
	guest_free(home);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_spare__becomes_a_machine),
		cmocka_unit_test(test_spare__taken_at_once),
		cmocka_unit_test(test_spare__destroyed),
		cmocka_unit_test(test_spare__dead),
		cmocka_unit_test(test_spare__ends_with_its_runner),
	};

	return cmocka_run_group_tests(tests, guests_setup_base, guests_teardown);
}
