/* Every way in which a machine can come up, go on or end, with a program in QEMU's place that does it on demand. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "machine_fixture.h"

static struct fixture *start(void **state, const char *mode)
{
	struct fixture *f = *state;

	assert_int_equal(fixture_start(f, mode), PV_OK);
	return f;
}

/* Starts in `mode` and expects the trace `words`, the error and a part of its message. */
static struct fixture *expect(void **state, const char *mode, const char *words, enum pv_err err, const char *text)
{
	struct fixture *f = start(state, mode);

	if (strncmp(words, "ready ", 6) == 0)
		fixture_sign(f);
	if (!fixture_run(f, words, 8000))
		fail_msg("got '%s' instead of '%s'", f->trace, words);
	assert_string_equal(f->trace, words);
	assert_int_equal(f->err, err);
	if (text && !strstr(f->msg.text, text))
		fail_msg("'%s' lacks '%s'", f->msg.text, text);
	assert_false(f->kvm_failure);
	return f;
}

static void test_ready__first(void **state)
{
	struct fixture *f = expect(state, "ready", "ready", PV_OK, NULL);

	assert_int_equal(f->agains, 0);
	assert_string_equal(f->boot_id, "boot-odd");
	assert_non_null(pv_machine_agent(f->machine));
	assert_int_equal(kill(pv_machine_pid(f->machine), 0), 0);
	assert_true(pv_machine_start_ticks(f->machine) > 0);
}

static void release(struct fixture *f)
{
	Pva__Hello hello = PVA__HELLO__INIT;

	pv_machine_release(f->machine, &hello);
}

static void test_hold__until_released(void **state)
{
	struct fixture *f = *state;

	f->config.hold = true;
	expect(state, "ready", "held", PV_OK, NULL);
	assert_string_equal(f->boot_id, "");
	release(f);
	assert_true(fixture_run(f, "held ready", 2000));
	assert_string_equal(f->boot_id, "boot-even");
	assert_int_equal(f->agains, 0);
	/* Later conversations do not hold. */
	pv_machine_reset(f->machine, 2000, fixture_op, f);
	assert_true(fixture_run(f, "held ready reset ready op", 2000));
	assert_int_equal(f->agains, 1);
}

/* Time goes by for a guest whose owner does not release it, and for one that does not go on. */
static void test_hold__boot_deadline(void **state)
{
	struct fixture *f = *state;

	f->config.hold = true;
	f->config.boot_deadline_ms = 500;
	expect(state, "ready", "held failed", PV_ERR_TIMEOUT, "boot deadline");
}

static void test_hold__boot_deadline_after_release(void **state)
{
	struct fixture *f = *state;

	f->config.hold = true;
	f->config.boot_deadline_ms = 500;
	start(state, "does-not-release");
	assert_true(fixture_run(f, "held", 2000));
	release(f);
	assert_true(fixture_run(f, "held failed", 2000));
	assert_int_equal(f->err, PV_ERR_TIMEOUT);
}

static void test_pause__and_resume(void **state)
{
	struct fixture *f = expect(state, "ready", "ready", PV_OK, NULL);

	pv_machine_pause(f->machine, fixture_op, f);
	assert_int_equal(f->ops, 0);
	assert_true(fixture_run(f, "ready op", 2000));
	assert_int_equal(f->op_err, PV_OK);
	pv_machine_reset(f->machine, 1000, fixture_op, f);
	assert_int_equal(f->ops, 1);
	assert_true(fixture_run(f, "ready op op", 2000));
	assert_int_equal(f->op_err, PV_ERR_STATE);
	assert_non_null(strstr(f->op_text, "paused"));
	pv_machine_resume(f->machine, fixture_op, f);
	assert_true(fixture_run(f, "ready op op op", 2000));
	assert_int_equal(f->op_err, PV_OK);
}

static void test_pause__refused_by_qemu(void **state)
{
	struct fixture *f = expect(state, "refuse-stop", "ready", PV_OK, NULL);

	pv_machine_pause(f->machine, fixture_op, f);
	assert_true(fixture_run(f, "ready op", 2000));
	assert_int_equal(f->op_err, PV_ERR_INVAL);
	assert_non_null(strstr(f->op_text, "not now"));
}

/* An open call ends with the machine's own reason, and before failed(). */
static void test_pause__qemu_dies(void **state)
{
	struct fixture *f = expect(state, "die-paused", "ready", PV_OK, NULL);

	pv_machine_pause(f->machine, fixture_op, f);
	pv_machine_resume(f->machine, fixture_op, f);
	assert_true(fixture_run(f, "failed", 4000));
	assert_int_equal(f->failures, 1);
	assert_int_equal(f->err, PV_ERR_LOST);
	assert_non_null(strstr(f->msg.text, "was killed by signal 6"));
	assert_int_equal(f->ops, 2);
	assert_int_equal(f->op_err, PV_ERR_LOST);
	assert_non_null(strstr(f->op_text, "QEMU of VM box ended unexpectedly"));
	assert_string_equal(f->trace, "ready op op failed");
}

static void test_reset__agent_answers_again(void **state)
{
	struct fixture *f = expect(state, "ready", "ready", PV_OK, NULL);

	pv_machine_reset(f->machine, 5000, fixture_op, f);
	pv_machine_reset(f->machine, 5000, fixture_op, f);
	assert_true(fixture_run(f, "ready op reset ready op", 4000));
	assert_int_equal(f->agains, 1);
	assert_string_equal(f->boot_id, "boot-even");
	assert_int_equal(f->op_err, PV_OK);
	/* The second call of the two was refused. */
	assert_int_equal(f->ops, 2);
}

static void test_reset__agent_is_silent(void **state)
{
	struct fixture *f = expect(state, "silent-after-reset", "ready", PV_OK, NULL);

	pv_machine_reset(f->machine, 300, fixture_op, f);
	assert_true(fixture_run(f, "failed", 4000));
	assert_string_equal(f->trace, "ready reset op failed");
	assert_int_equal(f->op_err, PV_ERR_TIMEOUT);
	assert_int_equal(f->err, PV_ERR_TIMEOUT);
	assert_non_null(strstr(f->msg.text, "0.3 s"));
	pv_machine_pause(f->machine, fixture_op, f);
	assert_true(fixture_run(f, "failed op", 1000));
	assert_int_equal(f->op_err, PV_ERR_STATE);
}

static void test_reset__of_the_guests_own(void **state)
{
	struct fixture *f = expect(state, "guest-reboots", "ready reset ready", PV_OK, NULL);

	assert_int_equal(f->agains, 1);
}

/* The boot deadline holds for a reboot, too. */
static void test_reset__of_the_guests_own_into_silence(void **state)
{
	struct fixture *f = *state;

	f->config.boot_deadline_ms = 500;
	expect(state, "guest-reboots-silently", "ready reset failed", PV_ERR_TIMEOUT,
	       "within the boot deadline of 0.5 s");
}

static void test_end__guest_powers_off(void **state)
{
	expect(state, "powers-off", "ready off", PV_OK, NULL);
}

/* QEMU announces its end and then takes its time. */
static void test_end__guest_powers_off_slowly(void **state)
{
	expect(state, "powers-off-slowly", "ready off", PV_OK, NULL);
}

static void test_end__at_start(void **state)
{
	struct fixture *f =
	    expect(state, "ends-at-start", "failed", PV_ERR_LOST,
	           "ended at its start: it exited with status 1; its last words: fake: no such machine");

	/* There is no console, so qemu.log is the tail. */
	assert_non_null(strstr(f->msg.text, "\nfirst line\nfake: no such machine"));
}

static void test_end__later(void **state)
{
	expect(state, "dies", "ready failed", PV_ERR_LOST,
	       "ended unexpectedly: it exited with status 3; its last words: fake: a bug in a device model");
}

static void test_end__host_signal(void **state)
{
	expect(state, "host-signal", "ready failed", PV_ERR_LOST, "cause host-signal");
}

/* On a busy host QEMU takes longer to end than we wait: the reason that it gave is told all the same. */
static void test_end__host_signal_slowly(void **state)
{
	expect(state, "host-signal-slowly", "ready failed", PV_ERR_LOST, "cause host-signal");
}

static void test_end__killed(void **state)
{
	struct fixture *f = expect(state, "ready", "ready", PV_OK, NULL);

	kill(pv_machine_pid(f->machine), SIGKILL);
	assert_true(fixture_run(f, "ready failed", 4000));
	assert_int_equal(f->err, PV_ERR_LOST);
	assert_non_null(strstr(f->msg.text, "killed by signal 9"));
}

static void test_end__qmp_closes(void **state)
{
	expect(state, "closes-qmp", "ready failed", PV_ERR_LOST, "QMP connection to VM box is lost");
}

static void test_end__no_qmp(void **state)
{
	expect(state, "garbage", "failed", PV_ERR_PROTOCOL, "no JSON object");
}

static void test_end__qmp_silent(void **state)
{
	struct fixture *f = *state;

	f->config.boot_deadline_ms = 200;
	expect(state, "no-greeting", "failed", PV_ERR_TIMEOUT,
	       "has not answered on QMP within the boot deadline of 0.2 s");
}

static void test_end__boot_deadline(void **state)
{
	struct fixture *f = *state;

	f->config.boot_deadline_ms = 300;
	f->config.kvm = true;
	expect(state, "silent-agent", "failed", PV_ERR_TIMEOUT, "within the boot deadline of 0.3 s");
}

/* The clock of the boot deadline stands still in a pause. */
static void test_end__boot_deadline_and_pause(void **state)
{
	struct fixture *f = *state;

	f->config.boot_deadline_ms = 400;
	start(state, "silent-agent");
	pv_machine_pause(f->machine, fixture_op, f);
	assert_true(fixture_run(f, "op", 2000));
	assert_false(fixture_run(f, "failed", 800));
	pv_machine_resume(f->machine, fixture_op, f);
	assert_true(fixture_run(f, "op op failed", 2000));
	assert_int_equal(f->err, PV_ERR_TIMEOUT);
}

static void test_end__agent_of_another_version(void **state)
{
	expect(state, "other-version", "failed", PV_ERR_VERSION, "agent channel of VM box");
}

static void test_end__agent_announces_2_gib(void **state)
{
	expect(state, "huge-frame", "failed", PV_ERR_PROTOCOL, "agent channel of VM box");
}

static void test_end__agent_socket_closes(void **state)
{
	expect(state, "closes-agent", "ready failed", PV_ERR_LOST, "agent channel of VM box");
}

/* KVM may fail before QMP is up, when no event is sent: the state is asked for. */
static void test_end__kvm_fails_early(void **state)
{
	struct fixture *f = *state;

	f->config.kvm = true;
	start(state, "kvm-error");
	assert_true(fixture_run(f, "failed", 4000));
	assert_int_equal(f->err, PV_ERR_UNSUPPORTED);
	assert_true(f->kvm_failure);
	assert_non_null(strstr(f->msg.text, "internal error"));
}

static void test_end__kvm_fails_later(void **state)
{
	struct fixture *f = *state;

	f->config.kvm = true;
	start(state, "internal-error");
	assert_true(fixture_run(f, "failed", 4000));
	assert_true(f->kvm_failure);
}

/* QEMU itself gives up KVM; the same words without KVM are another matter. */
static void test_end__kvm_fails_at_start(void **state)
{
	struct fixture *f = *state;

	expect(state, "kvm-abort", "failed", PV_ERR_LOST, "ended at its start: it was killed by signal 6");
	pv_machine_destroy(f->machine);
	f->machine = NULL;
	f->trace[0] = '\0';
	f->config.kvm = true;
	start(state, "kvm-abort");
	assert_true(fixture_run(f, "failed", 4000));
	assert_true(f->kvm_failure);
}

static void test_end__internal_error_under_tcg(void **state)
{
	struct fixture *f = *state;

	start(state, "internal-error");
	assert_true(fixture_run(f, "failed", 4000));
	assert_int_equal(f->err, PV_ERR_LOST);
	assert_false(f->kvm_failure);
}

/* Whatever the callback, the machine may be destroyed in it, and no other follows. */
static void test_destroy__in_each_callback(void **state)
{
	static const char *const modes[] = { "ready",   "guest-reboots", "ends-at-start", "huge-frame",
		                             "garbage", "silent-agent",  "other-version", "no-greeting" };
	struct fixture *f = *state;

	f->destroy_in_callback = true;
	f->config.boot_deadline_ms = 300;
	f->config.kvm = true;
	for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
		f->trace[0] = '\0';
		start(state, modes[i]);
		if (!fixture_run(f, i < 2 ? "ready" : "failed", 4000))
			fail_msg("mode %s: '%s'", modes[i], f->trace);
		assert_null(f->machine);
		assert_false(fixture_run(f, " ", 30));
	}
}

static void test_destroy__in_callbacks_after_ready(void **state)
{
	static const char *const modes[] = { "guest-reboots", "powers-off", "closes-agent", "dies", "closes-qmp" };
	static const char *const words[] = { "ready reset", "ready off", "ready failed", "ready failed",
		                             "ready failed" };
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
		f->trace[0] = '\0';
		start(state, modes[i]);
		fixture_sign(f);
		f->destroy_in_callback = true;
		if (!fixture_run(f, words[i], 4000))
			fail_msg("mode %s: '%s'", modes[i], f->trace);
		f->destroy_in_callback = false;
		assert_null(f->machine);
		assert_false(fixture_run(f, "nothing", 30));
		assert_string_equal(f->trace, words[i]);
	}
}

static void test_destroy__in_callback_of_an_op(void **state)
{
	struct fixture *f = expect(state, "ready", "ready", PV_OK, NULL);

	f->destroy_in_callback = true;
	pv_machine_pause(f->machine, fixture_op, f);
	pv_machine_pause(f->machine, fixture_op, f);
	assert_true(fixture_run(f, "op", 2000));
	assert_null(f->machine);
	assert_int_equal(f->ops, 1);
}

static void test_start__missing(void **state)
{
	struct fixture *f = *state;

	f->config.qemu = "/nonexistent/qemu-system-x86_64";
	assert_int_equal(fixture_start(f, "ready"), PV_ERR_NOENT);
	assert_non_null(strstr(f->msg.text, "/nonexistent/qemu-system-x86_64"));
	assert_non_null(strstr(f->msg.text, "install"));
	f->config.qemu = FAKE_QEMU;
	f->config.kernel = "/nonexistent/vmlinuz";
	assert_int_equal(fixture_start(f, "ready"), PV_ERR_NOENT);
	assert_non_null(strstr(f->msg.text, "the kernel of VM box cannot be read: /nonexistent/vmlinuz"));
	f->config.kernel = f->config.initrd;
	f->config.initrd = f->dir;
	assert_int_equal(fixture_start(f, "ready"), PV_ERR_INVAL);
	f->config.initrd = f->config.kernel;
	f->config.dir = "/nonexistent";
	assert_int_equal(fixture_start(f, "ready"), PV_ERR_IO);
	assert_null(f->machine);
}

static void test_start__socket_path_too_long(void **state)
{
	struct fixture *f = *state;
	char dir[200] = "/tmp/";

	memset(dir + 5, 'x', 120);
	f->config.socket_dir = dir;
	assert_int_equal(fixture_start(f, "ready"), PV_ERR_INVAL);
	assert_non_null(strstr(f->msg.text, "shorter directory"));
}

/* A machine that starts again in the same directory: stale sockets are replaced, messages show only its own log. */
static void test_start__again_in_the_same_directory(void **state)
{
	struct fixture *f = *state;

	fixture_file(f, "console.log", "old boot\n", 9);
	fixture_file(f, "qemu.log", "old words\n", 10);
	fixture_file(f, "qmp.sock", "", 0);
	expect(state, "ends-at-start", "failed", PV_ERR_LOST, "first line");
	assert_null(strstr(f->msg.text, "old boot"));
	assert_null(strstr(f->msg.text, "old words"));
	pv_machine_destroy(f->machine);
	f->machine = NULL;
	f->trace[0] = '\0';
	f->err = PV_OK;
	expect(state, "ready", "ready", PV_OK, NULL);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_ready__first),
		CASE(test_pause__and_resume),
		CASE(test_pause__refused_by_qemu),
		CASE(test_hold__until_released),
		CASE(test_hold__boot_deadline),
		CASE(test_hold__boot_deadline_after_release),
		CASE(test_pause__qemu_dies),
		CASE(test_reset__agent_answers_again),
		CASE(test_reset__agent_is_silent),
		CASE(test_reset__of_the_guests_own),
		CASE(test_reset__of_the_guests_own_into_silence),
		CASE(test_end__guest_powers_off),
		CASE(test_end__guest_powers_off_slowly),
		CASE(test_end__at_start),
		CASE(test_end__later),
		CASE(test_end__host_signal),
		CASE(test_end__host_signal_slowly),
		CASE(test_end__killed),
		CASE(test_end__qmp_closes),
		CASE(test_end__no_qmp),
		CASE(test_end__qmp_silent),
		CASE(test_end__boot_deadline),
		CASE(test_end__boot_deadline_and_pause),
		CASE(test_end__agent_of_another_version),
		CASE(test_end__agent_announces_2_gib),
		CASE(test_end__agent_socket_closes),
		CASE(test_end__kvm_fails_early),
		CASE(test_end__kvm_fails_later),
		CASE(test_end__kvm_fails_at_start),
		CASE(test_end__internal_error_under_tcg),
		CASE(test_destroy__in_each_callback),
		CASE(test_destroy__in_callbacks_after_ready),
		CASE(test_destroy__in_callback_of_an_op),
		CASE(test_start__missing),
		CASE(test_start__socket_path_too_long),
		CASE(test_start__again_in_the_same_directory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
