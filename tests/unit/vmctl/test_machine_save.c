/* Saving a machine step by step, with a program in QEMU's place that fails at the one or the other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "machine_fixture.h"
#include "vmctl/snapshot.h"

static struct pv_machine_snapshot_done last;

static void on_saved(void *arg, enum pv_err err, const struct pv_machine_snapshot_done *done,
                     const struct pv_errmsg *msg)
{
	assert_int_equal(done != NULL, err == PV_OK);
	if (done)
		last = *done;
	fixture_op(arg, err, msg);
}

static const char *snap_path(const struct fixture *f)
{
	static char path[128];

	snprintf(path, sizeof path, "%s/snap", f->dir);
	return path;
}

static void begin(struct fixture *f)
{
	Pvs__Manifest manifest = PVS__MANIFEST__INIT;
	struct pv_machine_snapshot what = { .path = snap_path(f), .manifest = &manifest };

	pv_machine_snapshot(f->machine, &what, on_saved, f);
}

/* Starts the fake in `mode`, saves it, and expects the trace `words`. */
static struct fixture *save(void **state, const char *mode, const char *words)
{
	struct fixture *f = *state;

	f->config.memory_bytes = 1 << 20;
	assert_int_equal(fixture_start(f, mode), PV_OK);
	assert_true(fixture_run(f, "ready", 8000));
	begin(f);
	assert_string_equal(f->trace, "ready"); /* never inside the call */
	if (!fixture_run(f, words, 8000))
		fail_msg("got '%s' instead of '%s': %s", f->trace, words, f->op_text);
	return f;
}

/* What the fake was asked for, in order, of a few commands: "add-fd stop cont". */
static void check_asked(const struct fixture *f, const char *want)
{
	static const char *const shown[] = { "add-fd", "stop", "xen-save-devices-state", "cont" };
	struct pv_buf asked = { 0 };
	char path[128], line[64];
	FILE *log;

	snprintf(path, sizeof path, "%s/qemu.log", f->dir);
	log = fopen(path, "r");
	assert_non_null(log);
	while (fgets(line, sizeof line, log)) {
		line[strcspn(line, "\n")] = '\0';
		for (size_t i = 0; i < sizeof shown / sizeof shown[0]; i++) {
			if (strcmp(line, shown[i]) == 0)
				pv_buf_addf(&asked, "%s%s", asked.len ? " " : "", line);
		}
	}
	fclose(log);
	assert_string_equal(pv_buf_str(&asked), want);
	pv_buf_free(&asked);
}

/* It can be paused, resumed and asked for another snapshot. */
static void check_alive(struct fixture *f)
{
	f->trace[0] = '\0';
	pv_machine_pause(f->machine, fixture_op, f);
	assert_true(fixture_run(f, "op", 2000));
	assert_int_equal(f->op_err, PV_OK);
	assert_int_equal(access(snap_path(f), F_OK), -1);
}

static void test_save__as_it_should(void **state)
{
	struct fixture *f = save(state, "save", "ready op");
	const Pvs__Manifest *manifest;
	struct pv_snapshot *snapshot;
	struct pv_buf bytes = { 0 };
	char page[4096];

	assert_int_equal(f->op_err, PV_OK);
	check_asked(f, "add-fd stop xen-save-devices-state cont");
	assert_true(last.stopped_ns > 0);
	assert_int_equal(pv_snapshot_open(snap_path(f), &snapshot, &f->msg), PV_OK);
	manifest = pv_snapshot_manifest(snapshot);
	assert_string_equal(manifest->shape->qemu_version, "7.2.1");
	assert_int_equal(manifest->shape->memory_bytes, 1 << 20);
	assert_int_equal(pv_snapshot_read(snapshot, manifest->devices, &bytes, &f->msg), PV_OK);
	assert_string_equal(pv_buf_str(&bytes), "the devices");
	pv_buf_clear(&bytes);
	assert_int_equal(pv_snapshot_read(snapshot, manifest->firmware, &bytes, &f->msg), PV_OK);
	assert_int_equal(bytes.len, 256 << 10);
	assert_int_equal(bytes.data[1000], 'f');
	assert_int_equal(pread(pv_snapshot_fd(snapshot), page, sizeof page, 8192), sizeof page);
	assert_int_equal(page[0], 'r');
	pv_buf_free(&bytes);
	pv_snapshot_close(snapshot);
	begin(f); /* again, over it */
	assert_true(fixture_run(f, "ready op op", 8000));
	assert_int_equal(f->op_err, PV_OK);
	unlink(snap_path(f));
}

static void test_save__qemu_tells_no_addresses(void **state)
{
	struct fixture *f = save(state, "save-nowhere", "ready op");

	assert_int_equal(f->op_err, PV_ERR_UNSUPPORTED);
	assert_non_null(strstr(f->op_text, "VM box cannot be saved: QEMU does not tell where the memory"));
	check_asked(f, "");
	check_alive(f);
}

static void test_save__no_descriptor_taken(void **state)
{
	struct fixture *f = save(state, "save-no-fd", "ready op");

	assert_int_equal(f->op_err, PV_ERR_INVAL);
	check_asked(f, "add-fd");
	check_alive(f);
}

/* A guest that was stopped for nothing goes on. */
static void test_save__state_refused(void **state)
{
	struct fixture *f = save(state, "save-refused", "ready op");

	assert_int_equal(f->op_err, PV_ERR_INVAL);
	assert_non_null(strstr(f->op_text, "not now"));
	check_asked(f, "add-fd stop xen-save-devices-state cont");
	check_alive(f);
}

static void test_save__state_empty(void **state)
{
	struct fixture *f = save(state, "save-empty", "ready op");

	assert_int_equal(f->op_err, PV_ERR_LOST);
	check_asked(f, "add-fd stop xen-save-devices-state cont");
	check_alive(f);
}

/* The file may be good, but the machine did not go on as before: that is no success. */
static void test_save__does_not_go_on(void **state)
{
	struct fixture *f = save(state, "save-no-cont", "ready op");

	assert_int_equal(f->op_err, PV_ERR_INVAL);
	check_alive(f);
}

static void test_save__qemu_dies(void **state)
{
	struct fixture *f = save(state, "save-dies", "ready op failed");

	assert_int_equal(f->op_err, PV_ERR_LOST);
	assert_int_equal(access(snap_path(f), F_OK), -1);
}

/* The guest that would be saved is not the one that was meant. */
static void test_save__guest_resets_itself(void **state)
{
	struct fixture *f = save(state, "save-reset", "op");

	assert_int_equal(f->op_err, PV_ERR_CANCELED);
	assert_non_null(strstr(f->op_text, "reset"));
	assert_int_equal(f->resets, 1);
	check_asked(f, "add-fd stop xen-save-devices-state cont");
	check_alive(f);
}

/* What is asked for meanwhile comes behind it, in order; none of its own words get lost. */
static void test_save__calls_wait(void **state)
{
	struct fixture *f = *state;

	f->config.memory_bytes = 1 << 20;
	assert_int_equal(fixture_start(f, "save"), PV_OK);
	assert_true(fixture_run(f, "ready", 8000));
	begin(f);
	pv_machine_pause(f->machine, fixture_op, f);
	pv_machine_resume(f->machine, fixture_op, f);
	begin(f); /* one at a time */
	assert_true(fixture_run(f, "ready op op op op", 8000));
	check_asked(f, "add-fd stop xen-save-devices-state cont stop cont");
	unlink(snap_path(f));
}

static void test_save__destroyed_in_callback(void **state)
{
	struct fixture *f = *state;

	f->config.memory_bytes = 1 << 20;
	assert_int_equal(fixture_start(f, "save"), PV_OK);
	assert_true(fixture_run(f, "ready", 8000));
	begin(f);
	f->destroy_in_callback = true;
	assert_true(fixture_run(f, "ready op", 8000));
	assert_null(f->machine);
	unlink(snap_path(f));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_save__as_it_should),        CASE(test_save__qemu_tells_no_addresses),
		CASE(test_save__no_descriptor_taken), CASE(test_save__state_refused),
		CASE(test_save__state_empty),         CASE(test_save__does_not_go_on),
		CASE(test_save__qemu_dies),           CASE(test_save__guest_resets_itself),
		CASE(test_save__calls_wait),          CASE(test_save__destroyed_in_callback),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
