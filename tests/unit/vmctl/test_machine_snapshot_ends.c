/* Snapshots that go wrong or are crossed by something else, and machines that cannot go on: what was asked for is answered, nothing is left. */
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

static struct guest *restored(const char *name)
{
	struct guest *guest = guest_new(name, MEMORY);

	guest_restore(guest, "base");
	return guest;
}

/* The thread may still be at work; in the end no name is left of it. */
static void check_no_file(const char *part)
{
	for (int i = 0; i < 500 && guests_has_file(part); i++)
		nanosleep(&(struct timespec){ 0, 10000000 }, NULL);
	assert_false(guests_has_file(part));
}

/* Or shorter, if something is told. */
static void run_for(struct guest *guest, unsigned us)
{
	struct timeval tv = { 0, us };

	event_base_loopexit(guest->base, &tv);
	event_base_dispatch(guest->base);
}

/* Runs until "saved" and `other` have come, in whatever order. */
static void expect_saved_and(struct guest *guest, const char *other)
{
	for (int i = 0; i < 3000 && !(strstr(guest->trace, "saved") && strstr(guest->trace, other)); i++)
		run_for(guest, 20000);
	if (!strstr(guest->trace, "saved") || !strstr(guest->trace, other))
		fail_msg("'%s': %.600s", guest->trace, guest->msg.text);
	guest->trace[0] = '\0';
}

/* ---- the owner asks for something else meanwhile ---- */

static void test_cross__one_at_a_time(void **state)
{
	struct guest *a;

	(void)state;
	SKIP_WITHOUT_GUEST();
	a = restored("a");
	guest_save_begin(a, "one", false);
	guest_save_begin(a, "two", false);
	assert_string_equal(a->trace, "");
	guest_expect(a, "saved");
	assert_int_equal(a->err, PV_ERR_BUSY);
	guest_expect(a, "saved");
	assert_int_equal(a->err, PV_OK);
	assert_false(guests_has_file("two"));
	guest_save(a, "one"); /* replaces it */
	guest_free(a);
}

/* It waits until the guest may run: then it is paused, and the snapshot's own end does not change that. */
static void test_cross__pause(void **state)
{
	struct guest *a;

	(void)state;
	SKIP_WITHOUT_GUEST();
	a = restored("a");
	guest_save_begin(a, "cross-pause", false);
	pv_machine_pause(a->machine, guest_op, a);
	expect_saved_and(a, "op");
	assert_int_equal(a->err, PV_OK);
	pv_machine_reset(a->machine, 1000, guest_op, a);
	guest_expect(a, "op");
	assert_int_equal(a->err, PV_ERR_STATE);
	guest_resume(a);
	assert_true(guest_count(a) > 0);
	guest_free(a);
}

static void test_cross__resume_of_one_that_should_stay_paused(void **state)
{
	struct guest *a;

	(void)state;
	SKIP_WITHOUT_GUEST();
	a = restored("a");
	guest_save_begin(a, "cross-resume", true);
	pv_machine_resume(a->machine, guest_op, a);
	expect_saved_and(a, "op");
	assert_true(guest_count(a) > 0);
	guest_free(a);
}

static void test_cross__reset(void **state)
{
	struct guest *a;

	(void)state;
	SKIP_WITHOUT_GUEST();
	a = restored("a");
	guest_save_begin(a, "cross-reset", false);
	pv_machine_reset(a->machine, 60000, guest_op, a);
	expect_saved_and(a, "again op");
	assert_int_equal(a->err, PV_OK);
	assert_string_equal(guest_sh(a, "ls /count 2>/dev/null; echo new"), "new");
	guest_free(a);
	a = guest_new("a", MEMORY); /* what was saved is the time before */
	guest_restore(a, "cross-reset");
	assert_true(guest_count(a) > 0);
	guest_free(a);
}

static void test_cross__while_it_boots(void **state)
{
	struct guest *a;

	(void)state;
	SKIP_WITHOUT_GUEST();
	a = restored("a");
	pv_machine_reset(a->machine, 60000, guest_op, a);
	guest_save_begin(a, "booting", false);
	guest_expect(a, "saved");
	assert_int_equal(a->err, PV_ERR_STATE);
	assert_non_null(strstr(a->msg.text, "is booting"));
	guest_expect(a, "reset again op");
	assert_false(guests_has_file("booting"));
	guest_free(a);
}

/* ---- the machine ends meanwhile ---- */

static void test_end__qemu_is_killed(void **state)
{
	static const unsigned after_us[] = { 0, 1000, 5000, 30000 };
	struct guest *a;

	(void)state;
	SKIP_WITHOUT_GUEST();
	for (size_t i = 0; i < sizeof after_us / sizeof after_us[0]; i++) {
		a = restored("a");
		guest_save_begin(a, "killed", false);
		run_for(a, after_us[i]);
		if (strstr(a->trace, "saved")) { /* a quick one */
			unlink(guests_path("killed"));
		} else {
			kill(pv_machine_pid(a->machine), SIGKILL);
			guest_expect(a, "saved failed");
			assert_int_equal(a->err, PV_ERR_LOST);
		}
		guest_free(a);
		check_no_file("killed");
	}
}

static void test_end__guest_powers_off(void **state)
{
	struct guest *a;

	(void)state;
	SKIP_WITHOUT_GUEST();
	a = restored("a");
	guest_sh(a, "(sleep 0.05; echo o >/proc/sysrq-trigger) >/dev/null 2>&1 &");
	run_for(a, 40000);
	guest_save_begin(a, "off", false);
	expect_saved_and(a, "off");
	guest_free(a);
}

static void test_end__guest_panics(void **state)
{
	struct guest *a;

	(void)state;
	SKIP_WITHOUT_GUEST();
	a = restored("a");
	guest_sh(a, "(sleep 0.05; echo c >/proc/sysrq-trigger) >/dev/null 2>&1 &");
	run_for(a, 40000);
	guest_save_begin(a, "panic", false);
	expect_saved_and(a, "failed");
	assert_int_equal(a->err, PV_ERR_GUEST);
	guest_free(a);
}

/* Nobody is told any more, and no file appears later. */
static void test_end__destroyed(void **state)
{
	static const unsigned after_us[] = { 0, 500, 2000, 10000, 40000, 80000 };
	struct guest *a;

	(void)state;
	SKIP_WITHOUT_GUEST();
	for (size_t i = 0; i < sizeof after_us / sizeof after_us[0]; i++) {
		a = restored("a");
		guest_save_begin(a, "destroyed", false);
		run_for(a, after_us[i]);
		if (strstr(a->trace, "saved"))
			unlink(guests_path("destroyed"));
		pv_machine_destroy(a->machine);
		a->machine = NULL;
		a->trace[0] = '\0';
		assert_false(guest_run(a, "saved", 100));
		guest_free(a);
		check_no_file("destroyed");
	}
}

static void test_end__destroyed_by_its_callback(void **state)
{
	struct guest *a;

	(void)state;
	SKIP_WITHOUT_GUEST();
	a = restored("a");
	a->destroy_in_callback = true;
	guest_save_begin(a, "last", false);
	guest_expect(a, "saved");
	assert_int_equal(a->err, PV_OK);
	assert_null(a->machine);
	guest_free(a);
	a = guest_new("a", MEMORY);
	guest_restore(a, "last");
	guest_free(a);
}

/* ---- it cannot be written ---- */

static void test_fail__no_such_directory(void **state)
{
	struct guest *a;

	(void)state;
	SKIP_WITHOUT_GUEST();
	a = restored("a");
	guest_save_begin(a, "nowhere/x", false);
	guest_expect(a, "saved");
	assert_int_not_equal(a->err, PV_OK);
	assert_non_null(strstr(a->msg.text, "VM a cannot be saved: "));
	assert_non_null(strstr(a->msg.text, "nowhere"));
	assert_true(guest_count(a) > 0); /* it runs on */
	guest_save(a, "nowhere-again");
	guest_free(a);
}

/* ---- it cannot go on ---- */

static struct pv_snapshot *open_base(struct guest *guest)
{
	struct pv_snapshot *from;

	if (pv_snapshot_open(guests_path("base"), &from, &guest->msg) != PV_OK)
		fail_msg("%s", guest->msg.text);
	return from;
}

static void test_from__another_memory_size(void **state)
{
	struct pv_snapshot *from;
	struct guest *a;

	(void)state;
	SKIP_WITHOUT_GUEST();
	a = guest_new("a", MEMORY * 2);
	from = open_base(a);
	assert_int_equal(guest_start_from(a, from), PV_ERR_INVAL);
	assert_non_null(strstr(a->msg.text, "bytes of memory"));
	pv_snapshot_close(from);
	guest_free(a);
}

/* QEMU itself refuses the state, and its words are told. Calls that waited end with the same. */
static void test_from__state_that_qemu_refuses(void **state)
{
	struct pv_snapshot *from;
	struct guest *a;

	(void)state;
	SKIP_WITHOUT_GUEST();
	a = guest_new("a", MEMORY);
	a->config.machine = "q35";
	from = open_base(a);
	assert_int_equal(guest_start_from(a, from), PV_OK);
	pv_snapshot_close(from);
	pv_machine_resume(a->machine, guest_op, a);
	guest_expect(a, "loaded op failed");
	assert_int_equal(a->err, PV_ERR_LOST);
	print_message("%s\n", a->msg.text);
	assert_non_null(strstr(a->msg.text, "over the state of "));
	assert_non_null(strstr(a->msg.text, "load of migration failed"));
	assert_non_null(strstr(a->msg.text, "\nqemu-system-x86_64: ")); /* all that QEMU said */
	assert_null(strstr(a->msg.text, "hello from origin"));
	guest_free(a);
}

static void test_from__destroyed_before_it_is_loaded(void **state)
{
	struct pv_snapshot *from;
	struct guest *a;

	(void)state;
	SKIP_WITHOUT_GUEST();
	for (unsigned us = 0; us < 60000; us += 15000) {
		a = guest_new("a", MEMORY);
		from = open_base(a);
		assert_int_equal(guest_start_from(a, from), PV_OK);
		pv_snapshot_close(from);
		pv_machine_resume(a->machine, guest_op, a);
		run_for(a, us);
		guest_free(a);
	}
	a = guest_new("a", MEMORY);
	a->destroy_in_callback = true;
	from = open_base(a);
	assert_int_equal(guest_start_from(a, from), PV_OK);
	pv_snapshot_close(from);
	pv_machine_resume(a->machine, guest_op, a);
	guest_expect(a, "loaded");
	assert_null(a->machine);
	guest_free(a);
}

static void test_from__killed_before_it_is_loaded(void **state)
{
	struct pv_snapshot *from;
	struct guest *a;

	(void)state;
	SKIP_WITHOUT_GUEST();
	a = guest_new("a", MEMORY);
	from = open_base(a);
	assert_int_equal(guest_start_from(a, from), PV_OK);
	pv_snapshot_close(from);
	kill(pv_machine_pid(a->machine), SIGKILL);
	guest_expect(a, "loaded failed");
	assert_int_equal(a->err, PV_ERR_LOST);
	guest_free(a);
}

/* ---- the runner has died ---- */

struct orphan {
	pid_t pid;
	uint64_t ticks;
	char dir[96], uuid[40];
};

/* A child of ours starts it and dies by SIGKILL: its QEMU goes on. */
static struct orphan make_orphan(bool has_run)
{
	struct guest *a = guest_new("a", MEMORY);
	struct orphan orphan = { 0 };
	int ends[2];
	pid_t child;

	assert_int_equal(pipe(ends), 0);
	child = fork();
	if (child == 0) {
		event_reinit(a->base);
		if (has_run) {
			guest_restore(a, "base");
			guest_pause(a); /* as the keeper does it */
		} else {
			if (guest_start_from(a, open_base(a)) != PV_OK)
				_exit(1);
			guest_expect(a, "loaded");
		}
		orphan.pid = pv_machine_pid(a->machine);
		orphan.ticks = pv_machine_start_ticks(a->machine);
		if (write(ends[1], &orphan, sizeof orphan) != sizeof orphan)
			_exit(1);
		raise(SIGKILL);
	}
	close(ends[1]);
	assert_int_equal(read(ends[0], &orphan, sizeof orphan), sizeof orphan);
	close(ends[0]);
	assert_int_equal(waitpid(child, NULL, 0), child);
	memcpy(orphan.dir, a->dir, sizeof orphan.dir);
	memcpy(orphan.uuid, a->uuid, sizeof orphan.uuid);
	free(a);
	return orphan;
}

static struct guest *adopt(const struct orphan *orphan, bool restored_hello)
{
	struct guest *b = guest_new("b", MEMORY);
	struct pv_machine_attach config = { .name = "b",
		                            .dir = orphan->dir,
		                            .socket_dir = orphan->dir,
		                            .uuid = orphan->uuid,
		                            .pid = orphan->pid,
		                            .start_ticks = orphan->ticks,
		                            .boot_deadline_ms = 60000 };
	Pva__Hello hello;

	guest_hello(b, &hello);
	hello.has_restored = hello.restored = restored_hello;
	if (pv_machine_attach(b->base, &config, &hello, &guest_handler, guest_op, b, &b->machine, &b->msg) != PV_OK)
		fail_msg("%s", b->msg.text);
	guest_expect(b, "op");
	assert_int_equal(b->err, PV_OK);
	return b;
}

static void end_orphan(const struct orphan *orphan, struct guest *b)
{
	char path[128];

	guest_free(b);
	for (int i = 0; i < 3; i++) {
		snprintf(path, sizeof path, "%s/%s", orphan->dir,
		         (const char *const[]){ "console.log", "qemu.log", "" }[i]);
		assert_int_equal(remove(path), 0);
	}
}

/* It can be saved before it runs, it runs, it can be saved again, and it resets. */
static void check_adopted(bool has_run)
{
	struct orphan orphan = make_orphan(has_run);
	struct guest *b = adopt(&orphan, !has_run), *c;

	guest_save_begin(b, "adopted", false);
	guest_expect(b, "saved");
	assert_int_equal(b->err, PV_OK);
	pv_machine_resume(b->machine, guest_op, b);
	guest_expect(b, "op again");
	assert_true(guest_count(b) > 0);
	guest_save(b, "adopted-later");
	c = guest_new("c", MEMORY);
	guest_restore(c, "adopted");
	guest_free(c);
	pv_machine_reset(b->machine, 60000, guest_op, b);
	guest_expect(b, "reset again op");
	end_orphan(&orphan, b);
}

static void test_attach__to_one_that_ran(void **state)
{
	(void)state;
	SKIP_WITHOUT_GUEST();
	check_adopted(true);
}

static void test_attach__to_one_that_never_ran(void **state)
{
	(void)state;
	SKIP_WITHOUT_GUEST();
	check_adopted(false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cross__one_at_a_time),
		cmocka_unit_test(test_cross__pause),
		cmocka_unit_test(test_cross__resume_of_one_that_should_stay_paused),
		cmocka_unit_test(test_cross__reset),
		cmocka_unit_test(test_cross__while_it_boots),
		cmocka_unit_test(test_end__qemu_is_killed),
		cmocka_unit_test(test_end__guest_powers_off),
		cmocka_unit_test(test_end__guest_panics),
		cmocka_unit_test(test_end__destroyed),
		cmocka_unit_test(test_end__destroyed_by_its_callback),
		cmocka_unit_test(test_fail__no_such_directory),
		cmocka_unit_test(test_from__another_memory_size),
		cmocka_unit_test(test_from__state_that_qemu_refuses),
		cmocka_unit_test(test_from__destroyed_before_it_is_loaded),
		cmocka_unit_test(test_from__killed_before_it_is_loaded),
		cmocka_unit_test(test_attach__to_one_that_ran),
		cmocka_unit_test(test_attach__to_one_that_never_ran),
	};

	return cmocka_run_group_tests(tests, guests_setup_base, guests_teardown);
}
