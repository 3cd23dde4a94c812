/* Snapshots of real guests, and guests that go on from them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "guest_fixture.h"

#define MEMORY (256u << 20)

/* The process that ran when the snapshot was taken runs on in both, each for itself. */
static void test_restore__twice_side_by_side(void **state)
{
	struct guest *a, *b;
	long at_a;

	(void)state;
	SKIP_WITHOUT_GUEST();
	a = guest_new("a", MEMORY);
	b = guest_new("b", MEMORY);
	guest_restore(a, "base");
	guest_restore(b, "base");
	assert_string_equal(a->boot_id, b->boot_id);
	assert_string_equal(guest_sh(a, "kill -0 $(cat /pid) && echo runs"), "runs");
	guest_sh(a, "echo a >/who; kill $(cat /pid)");
	guest_sh(b, "echo b >/who");
	at_a = guest_count(a);
	assert_true(at_a > 0);
	guest_sh(b, "n=$(wc -c </count); while [ $(wc -c </count) = $n ]; do sleep 0.02; done");
	assert_int_equal(guest_count(a), at_a);
	assert_string_equal(guest_sh(a, "cat /who"), "a");
	assert_string_equal(guest_sh(b, "cat /who"), "b");
	guest_free(a);
	guest_free(b);
}

static void test_snapshot__of_a_restored_machine(void **state)
{
	struct guest *a, *b;

	(void)state;
	SKIP_WITHOUT_GUEST();
	a = guest_new("a", MEMORY);
	guest_restore(a, "base");
	guest_sh(a, "echo changed >/file; kill $(cat /pid)");
	guest_save(a, "second");
	assert_string_equal(guest_sh(a, "cat /file"), "changed");
	guest_sh(a, "echo later >/file");
	b = guest_new("b", MEMORY);
	guest_restore(b, "second");
	assert_string_equal(guest_sh(b, "cat /file"), "changed");
	guest_free(b);
	/* and one generation more */
	b = guest_new("b", MEMORY);
	guest_restore(b, "second");
	guest_sh(b, "echo third >>/file");
	guest_save(b, "third");
	guest_free(b);
	unlink(guests_path("second"));
	b = guest_new("b", MEMORY);
	guest_restore(b, "third");
	assert_string_equal(guest_sh(b, "tr '\\n' ' ' </file"), "changed third ");
	guest_free(b);
	guest_free(a);
}

/* It boots cold: kernel and firmware are there. */
static void test_restore__then_reset(void **state)
{
	struct guest *a;
	char boot_id[64];

	(void)state;
	SKIP_WITHOUT_GUEST();
	a = guest_new("a", MEMORY);
	guest_restore(a, "base");
	memcpy(boot_id, a->boot_id, sizeof boot_id);
	pv_machine_reset(a->machine, 60000, guest_op, a);
	guest_expect(a, "reset again op");
	assert_int_equal(a->err, PV_OK);
	assert_string_not_equal(a->boot_id, boot_id);
	assert_string_equal(guest_sh(a, "ls /count 2>/dev/null; echo new"), "new");
	guest_save(a, "after-reset");
	guest_free(a);
	a = guest_new("a", MEMORY);
	guest_restore(a, "after-reset");
	guest_free(a);
}

/* Loaded, it stands still until it is resumed; it can be saved before it has ever run, and what comes from that is no different. */
static void test_restore__stays_paused_until_resumed(void **state)
{
	struct pv_snapshot *from;
	struct guest *a, *b;

	(void)state;
	SKIP_WITHOUT_GUEST();
	a = guest_new("a", MEMORY);
	assert_int_equal(pv_snapshot_open(guests_path("base"), &from, &a->msg), PV_OK);
	assert_int_equal(guest_start_from(a, from), PV_OK);
	pv_snapshot_close(from);
	assert_int_equal(a->machine != NULL && a->trace[0] == '\0', 1); /* never inside the call */
	guest_expect(a, "loaded");
	assert_int_equal(a->err, PV_OK);
	assert_false(guest_run(a, "ready", 500));
	guest_save_begin(a, "unrun", false);
	guest_expect(a, "saved");
	assert_int_equal(a->err, PV_OK);
	assert_int_equal(a->done.stopped_ns, 0);
	pv_machine_resume(a->machine, guest_op, a);
	guest_expect(a, "op ready");
	assert_string_equal(guest_sh(a, "hostname"), "a");
	b = guest_new("b", MEMORY);
	guest_restore(b, "unrun");
	assert_true(guest_count(b) > 0);
	guest_free(b);
	guest_free(a);
}

/* Its clock of the boot begins at the resume, not at the start. */
static void test_restore__deadline_from_the_resume(void **state)
{
	struct pv_snapshot *from;
	struct guest *a;

	(void)state;
	SKIP_WITHOUT_GUEST();
	a = guest_new("a", MEMORY);
	a->config.boot_deadline_ms = 1500;
	assert_int_equal(pv_snapshot_open(guests_path("base"), &from, &a->msg), PV_OK);
	assert_int_equal(guest_start_from(a, from), PV_OK);
	pv_snapshot_close(from);
	guest_expect(a, "loaded");
	assert_false(guest_run(a, "failed", 2000));
	pv_machine_resume(a->machine, guest_op, a);
	guest_expect(a, "op ready");
	guest_free(a);
}

static void test_snapshot__of_a_paused_machine(void **state)
{
	struct guest *a, *b;
	long n;

	(void)state;
	SKIP_WITHOUT_GUEST();
	a = guest_new("a", MEMORY);
	guest_restore(a, "base");
	guest_pause(a);
	guest_save(a, "paused");
	assert_int_equal(a->done.stopped_ns, 0);
	guest_resume(a);
	n = guest_count(a);
	guest_sh(a, "n=$(wc -c </count); while [ $(wc -c </count) = $n ]; do sleep 0.02; done");
	assert_true(guest_count(a) > n);
	b = guest_new("b", MEMORY);
	guest_restore(b, "paused");
	guest_free(b);
	guest_free(a);
}

/* All machines of a lab stop before any is saved, and go on together: then none may go on by itself. */
static void test_snapshot__stays_paused(void **state)
{
	struct guest *a;

	(void)state;
	SKIP_WITHOUT_GUEST();
	a = guest_new("a", MEMORY);
	guest_restore(a, "base");
	guest_save_begin(a, "stays", true);
	guest_expect(a, "saved");
	assert_int_equal(a->err, PV_OK);
	pv_machine_reset(a->machine, 1000, guest_op, a);
	guest_expect(a, "op");
	assert_int_equal(a->err, PV_ERR_STATE);
	guest_resume(a);
	assert_true(guest_count(a) > 0);
	guest_free(a);
}

/* What the guest had written is in the log of the machine that goes on, and in that of the one that goes on from that. */
static void test_console__goes_along(void **state)
{
	struct guest *a, *b;
	char text[65536];
	FILE *log;
	size_t n;

	(void)state;
	SKIP_WITHOUT_GUEST();
	a = guest_new("a", MEMORY);
	guest_restore(a, "base");
	guest_sh(a, "echo hello from a >/dev/console");
	guest_save(a, "console");
	b = guest_new("b", MEMORY);
	guest_restore(b, "console");
	guest_sh(b, "echo hello from b >/dev/console");
	assert_int_equal(pv_machine_console_start(b->machine), 0);
	log = fopen(pv_machine_console_path(b->machine), "r");
	n = fread(text, 1, sizeof text - 1, log);
	fclose(log);
	text[n] = '\0';
	assert_non_null(strstr(text, "hello from origin"));
	assert_non_null(strstr(strstr(text, "hello from origin"), "hello from a"));
	assert_non_null(strstr(strstr(text, "hello from a"), "hello from b"));
	guest_free(b);
	guest_free(a);
}

static void test_manifest__is_filled_in(void **state)
{
	const Pvs__Manifest *manifest;
	struct pv_snapshot *from;
	struct pv_errmsg msg;

	(void)state;
	SKIP_WITHOUT_GUEST();
	assert_int_equal(pv_snapshot_open(guests_path("base"), &from, &msg), PV_OK);
	manifest = pv_snapshot_manifest(from);
	assert_string_equal(manifest->vm_name, "origin");
	assert_string_equal(manifest->shape->machine, "pc");
	assert_string_equal(manifest->shape->accel, "tcg");
	assert_int_equal(manifest->shape->memory_bytes, MEMORY);
	assert_non_null(strchr(manifest->shape->qemu_version, '.'));
	assert_true(manifest->saved_wall_ns > 0);
	assert_int_equal(manifest->firmware->full_size, 256 << 10);
	pv_snapshot_close(from);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_restore__twice_side_by_side),
		cmocka_unit_test(test_snapshot__of_a_restored_machine),
		cmocka_unit_test(test_restore__then_reset),
		cmocka_unit_test(test_restore__stays_paused_until_resumed),
		cmocka_unit_test(test_restore__deadline_from_the_resume),
		cmocka_unit_test(test_snapshot__of_a_paused_machine),
		cmocka_unit_test(test_snapshot__stays_paused),
		cmocka_unit_test(test_console__goes_along),
		cmocka_unit_test(test_manifest__is_filled_in),
	};

	return cmocka_run_group_tests(tests, guests_setup_base, guests_teardown);
}
